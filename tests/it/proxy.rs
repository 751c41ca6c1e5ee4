//! Proxies that lead every tunnel to one server on loopback: by CONNECT, and by SOCKS 5.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Ends with the test's process; a tunnel ends when either side closes.
pub(crate) struct Proxy {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Leads to this port.
    pub(crate) fn connecting(port: u16) -> Proxy {
        Proxy::start(Some(port), "HTTP/1.1 200 Connection established\r\n\r\n")
    }

    /// Refuses with this answer.
    pub(crate) fn refusing(answer: &'static str) -> Proxy {
        Proxy::start(None, answer)
    }

    /// Takes connections and never answers. Notes each when its first byte came.
    pub(crate) fn silent() -> Proxy {
        Proxy::listen(|client, noted| {
            client.read_exact(&mut [0])?;
            noted.lock().unwrap().push("connected".to_owned());
            io::copy(client, &mut io::sink()).map(drop)
        })
    }

    /// Says the head of its answer a byte at a time, and never ends it.
    pub(crate) fn dripping() -> Proxy {
        Proxy::listen(|client, _| {
            // A read that times out is a pause that ends early when the client goes away.
            client.set_read_timeout(Some(std::time::Duration::from_millis(100)))?;
            client.write_all(b"HTTP/1.1 200 OK\r\nX: ")?;
            let mut request = [0; 4096];
            while !matches!(client.read(&mut request), Ok(0)) {
                client.write_all(b"y")?;
            }
            Ok(())
        })
    }

    fn start(backend: Option<u16>, answer: &'static str) -> Proxy {
        Proxy::listen(move |client, noted| {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") {
                client.read_exact(&mut byte)?;
                head.push(byte[0]);
            }
            noted.lock().unwrap().push(String::from_utf8_lossy(&head).into_owned());
            client.write_all(answer.as_bytes())?;
            match backend {
                Some(port) => tunnel(client, port),
                None => Ok(()),
            }
        })
    }

    fn listen(
        serve: impl Fn(&mut TcpStream, &Mutex<Vec<String>>) -> io::Result<()> + Send + Sync + 'static,
    ) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let (noted, serve) = (Arc::clone(&heads), Arc::new(serve));
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let (noted, serve) = (Arc::clone(&noted), Arc::clone(&serve));
                thread::spawn(move || {
                    // A client that goes away is none of the proxy's business.
                    drop(serve(&mut stream, &noted));
                });
            }
        });
        Proxy { port, heads }
    }

    /// Leads to this port. Receives host and port by name, as SOCKS 5 defines it (RFC 1928).
    pub(crate) fn socks(port: u16) -> Proxy {
        Proxy::listen(move |client, noted| {
            let mut greeting = [0; 2];
            client.read_exact(&mut greeting)?;
            client.read_exact(&mut vec![0; greeting[1].into()])?;
            client.write_all(&[5, 0])?;
            let mut request = [0; 5];
            client.read_exact(&mut request)?;
            assert_eq!(request[..4], [5, 1, 0, 3], "connect, to a name");
            let mut target = vec![0; usize::from(request[4]) + 2];
            client.read_exact(&mut target)?;
            let (host, port_asked) = target.split_at(request[4].into());
            let port_asked = u16::from_be_bytes([port_asked[0], port_asked[1]]);
            noted.lock().unwrap().push(format!("{}:{port_asked}", String::from_utf8_lossy(host)));
            client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
            tunnel(client, port)
        })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What it was asked so far, in order: heads of CONNECT, or host and port; of a silent one, `connected`.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn tunnel(client: &mut TcpStream, port: u16) -> io::Result<()> {
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    let (mut from_server, mut to_client) = (server.try_clone()?, client.try_clone()?);
    thread::spawn(move || {
        drop(io::copy(&mut from_server, &mut to_client));
        drop(to_client.shutdown(Shutdown::Both));
    });
    let copied = io::copy(client, &mut server);
    server.shutdown(Shutdown::Both)?;
    copied.map(|_| ())
}
