//! HTTP/1.1 on loopback, one thread a connection, with the faults that a network has.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query, as sent.
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Every value of a header, in order.
    pub(crate) fn header_values(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
    }

    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap()
    }

    /// One parameter of the query, percent-decoded.
    pub(crate) fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.target.split_once('?')?;
        url::form_urlencoded::parse(query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }

    /// The password of `Authorization: Basic`; the user name is not looked at.
    pub(crate) fn basic_password(&self) -> Option<String> {
        self.basic().map(|(_, password)| password)
    }

    /// User name and password of `Authorization: Basic`.
    pub(crate) fn basic(&self) -> Option<(String, String)> {
        let encoded = self.header("authorization")?.strip_prefix("Basic ")?;
        let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
        text.split_once(':').map(|(username, password)| (username.to_owned(), password.to_owned()))
    }

    pub(crate) fn bearer(&self) -> Option<&str> {
        self.header("authorization")?.strip_prefix("Bearer ")
    }

    /// `GET /v2/acme/shop/tags/list`, as counted and as named in failures.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }
}

/// A whole answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) reason: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Answer {
        let answer = Answer { status, reason: "Scripted".to_owned(), headers: Vec::new(), body: body.into() };
        if content_type.is_empty() { answer } else { answer.with("Content-Type", content_type) }
    }

    pub(crate) fn json(status: u16, body: impl Into<Vec<u8>>) -> Answer {
        Answer::new(status, "application/json", body)
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Answer {
        self.headers.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    fn head(&self, length: Option<usize>) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, self.reason);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(length) = length {
            head.push_str(&format!("Content-Length: {length}\r\n"));
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    /// Go's servers count a body of up to 2,048 bytes and send a longer one in chunks.
    pub(crate) fn bytes(&self, head_only: bool) -> Vec<u8> {
        let counted = self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        if head_only || counted || matches!(self.status, 204 | 304) {
            let length = (!counted && self.status != 204).then_some(self.body.len());
            let mut bytes = self.head(length);
            if !head_only {
                bytes.extend_from_slice(&self.body);
            }
            return bytes;
        }
        if self.body.len() <= 2048 {
            let mut bytes = self.head(Some(self.body.len()));
            bytes.extend_from_slice(&self.body);
            return bytes;
        }
        let mut bytes = self.clone().with("Transfer-Encoding", "chunked").head(None);
        for chunk in self.body.chunks(4096) {
            bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        bytes
    }
}

/// What a server does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Answer(Answer),
    /// The connection is reset after the request came.
    Reset,
    /// Nothing comes until the client gives up.
    Hang,
    /// The head, then the body a byte at a time with this pause before each.
    Drip(Answer, Duration),
    /// The length is announced in full, the connection closed after this many bytes of the body.
    Truncated(Answer, usize),
    /// No HTTP at all.
    Garbage,
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Reply {
        Reply::Answer(answer)
    }
}

/// The gzip form of a text.
pub(crate) fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// A listening server; it ends, with every connection, when dropped.
pub(crate) struct Server {
    port: u16,
    stopped: Arc<AtomicBool>,
    streams: Arc<Mutex<HashMap<usize, TcpStream>>>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    /// `decide` is called on the connection's own thread.
    pub(crate) fn start(decide: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let server = Server {
            port: listener.local_addr().unwrap().port(),
            stopped: Arc::default(),
            streams: Arc::default(),
            connections: Arc::default(),
        };
        let (stopped, streams) = (Arc::clone(&server.stopped), Arc::clone(&server.streams));
        let connections = Arc::clone(&server.connections);
        let decide = Arc::new(decide);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                let number = connections.fetch_add(1, Ordering::SeqCst);
                streams.lock().unwrap().insert(number, stream.try_clone().unwrap());
                let (decide, streams) = (Arc::clone(&decide), Arc::clone(&streams));
                thread::spawn(move || {
                    serve(stream, &*decide);
                    // The last handle: the connection closes here.
                    streams.lock().unwrap().remove(&number);
                });
            }
        });
        server
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How many connections were accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // The listener only looks at the flag when a connection comes.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
        for stream in self.streams.lock().unwrap().values() {
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

fn serve(mut stream: TcpStream, decide: &dyn Fn(&Request) -> Reply) {
    stream.set_nodelay(true).unwrap();
    while let Some(request) = read_request(&mut stream) {
        let reply = decide(&request);
        if matches!(reply, Reply::Reset) {
            // Linux resets a connection that is closed while a byte of it is unread.
            return;
        }
        // The byte that read_request left.
        if stream.read_exact(&mut [0]).is_err() {
            return;
        }
        let head_only = request.method == "HEAD";
        let kept = match reply {
            Reply::Answer(answer) => stream.write_all(&answer.bytes(head_only)).is_ok(),
            Reply::Drip(answer, pause) => drip(&mut stream, &answer, pause),
            Reply::Truncated(answer, kept) => {
                drop(stream.write_all(&answer.head(Some(answer.body.len()))));
                drop(stream.write_all(&answer.body[..kept.min(answer.body.len())]));
                false
            }
            Reply::Garbage => {
                drop(stream.write_all(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n\0\x01\x02"));
                false
            }
            Reply::Hang => {
                drop(stream.read(&mut [0]));
                false
            }
            Reply::Reset => unreachable!("handled before the last byte was read"),
        };
        if !kept || request.header("connection") == Some("close") {
            break;
        }
    }
    drop(stream.shutdown(Shutdown::Both));
}

/// Reads a request but for its last byte, so that a reset is still possible. None at the end.
fn read_request(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let mut piece = [0; 16 * 1024];
    loop {
        let count = match stream.peek(&mut piece) {
            Ok(0) => return None,
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return None,
        };
        bytes.extend_from_slice(&piece[..count]);
        let whole = parse(&bytes);
        let taken = if whole.is_some() { count - 1 } else { count };
        stream.read_exact(&mut piece[..taken]).ok()?;
        if whole.is_some() {
            return whole;
        }
    }
}

pub(crate) fn parse(bytes: &[u8]) -> Option<Request> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(head) = parsed.parse(bytes).expect("the client speaks HTTP") else {
        return None;
    };
    let headers: Vec<_> = parsed
        .headers
        .iter()
        .map(|header| (header.name.to_lowercase(), String::from_utf8_lossy(header.value).into_owned()))
        .collect();
    let request = Request {
        method: parsed.method.unwrap().to_owned(),
        target: parsed.path.unwrap().to_owned(),
        headers,
        body: bytes[head..].to_vec(),
    };
    assert!(request.header("transfer-encoding").is_none(), "{}: a body without a length", request.line());
    let length: usize = request.header("content-length").map_or(0, |text| text.parse().unwrap());
    (request.body.len() >= length).then_some(request)
}

fn drip(stream: &mut TcpStream, answer: &Answer, pause: Duration) -> bool {
    if stream.write_all(&answer.head(Some(answer.body.len()))).is_err() {
        return false;
    }
    // A read that times out is a pause that ends early when the client goes away.
    stream.set_read_timeout(Some(pause)).unwrap();
    for byte in &answer.body {
        let waits = matches!(stream.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock);
        if !waits || stream.write_all(&[*byte]).is_err() {
            return false;
        }
    }
    stream.set_read_timeout(None).unwrap();
    true
}
