//! A proxy that knows CONNECT, and leads every tunnel to one server on loopback.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Ends with the test's process; a tunnel ends when either side closes.
pub(crate) struct ConnectProxy {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl ConnectProxy {
    /// Leads to this port.
    pub(crate) fn to(port: u16) -> ConnectProxy {
        ConnectProxy::start(Some(port), "HTTP/1.1 200 Connection established\r\n\r\n")
    }

    /// Refuses with this answer.
    pub(crate) fn refusing(answer: &'static str) -> ConnectProxy {
        ConnectProxy::start(None, answer)
    }

    /// Takes connections and says nothing.
    pub(crate) fn silent() -> ConnectProxy {
        ConnectProxy::start(None, "")
    }

    fn start(backend: Option<u16>, answer: &'static str) -> ConnectProxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = Arc::clone(&heads);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let noted = Arc::clone(&noted);
                thread::spawn(move || {
                    // A client that goes away is none of the proxy's business.
                    drop(serve(stream, backend, answer, &noted));
                });
            }
        });
        ConnectProxy { port, heads }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The heads of what it was asked so far, in order.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn serve(
    mut client: TcpStream,
    backend: Option<u16>,
    answer: &str,
    noted: &Mutex<Vec<String>>,
) -> io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    noted.lock().unwrap().push(String::from_utf8_lossy(&head).into_owned());
    client.write_all(answer.as_bytes())?;
    let Some(port) = backend else {
        if answer.is_empty() {
            client.read_exact(&mut byte)?;
        }
        return Ok(());
    };
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    let (mut from_server, mut to_client) = (server.try_clone()?, client.try_clone()?);
    thread::spawn(move || {
        drop(io::copy(&mut from_server, &mut to_client));
        drop(to_client.shutdown(Shutdown::Both));
    });
    let copied = io::copy(&mut client, &mut server);
    server.shutdown(Shutdown::Both)?;
    copied.map(|_| ())
}
