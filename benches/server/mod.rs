//! A fake Gitea that is only fast: every image has the same few tags, or a given number. It waits before each
//! answer, as a network does, and counts what it is asked.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What the server has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stock {
    pub(crate) images: usize,
    /// Image `app7` is owner 7 modulo this one's.
    pub(crate) owners: usize,
    /// Of each image.
    pub(crate) tags: usize,
    /// Before each answer.
    pub(crate) latency: Duration,
    /// Whether every image was pushed some seconds ago. Else: long ago.
    pub(crate) is_young: bool,
}

pub(crate) struct FakeGitea {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    stock: Stock,
    requests: AtomicUsize,
    connections: AtomicUsize,
    /// Method and target of the requests.
    asked: Mutex<Vec<(String, String)>>,
    /// How many new tags [`BUSY`] got.
    pushed: AtomicUsize,
    list: String,
}

/// The image with new tags.
const BUSY: usize = 3;

/// Seconds: of the first image's push, and of the first new tag's.
const OLD: usize = 1_750_000_000;
const PUSHED: usize = 1_760_000_000;

impl FakeGitea {
    pub(crate) fn start(stock: Stock) -> FakeGitea {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut list = "\"latest\"".to_owned();
        for number in 0..stock.tags {
            // Neither in order nor in its reverse.
            let number = number * 7919 % stock.tags;
            write!(list, ",\"v1.{}.{}\"", number / 100, number % 100).unwrap();
        }
        let shared = Arc::new(Shared {
            stock,
            requests: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            asked: Mutex::default(),
            pushed: AtomicUsize::new(0),
            list,
        });
        let of_threads = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&of_threads);
                shared.connections.fetch_add(1, Ordering::Relaxed);
                // A connection that ends in an error has ended.
                thread::spawn(move || drop(shared.serve(stream.unwrap())));
            }
        });
        FakeGitea { port, shared }
    }

    /// Pushes a new tag.
    pub(crate) fn push(&self) {
        self.shared.pushed.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests and connections so far.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.shared.requests.load(Ordering::Relaxed), self.shared.connections.load(Ordering::Relaxed))
    }

    /// Method and target of the requests since the last call.
    pub(crate) fn take_asked(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.shared.asked.lock().unwrap())
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut bytes = Vec::new();
        let mut piece = [0; 4096];
        loop {
            let count = stream.read(&mut piece)?;
            if count == 0 {
                return Ok(());
            }
            bytes.extend_from_slice(&piece[..count]);
            if !bytes.ends_with(b"\r\n\r\n") {
                continue;
            }
            self.requests.fetch_add(1, Ordering::Relaxed);
            let request = String::from_utf8_lossy(&bytes);
            let mut words = request.split(' ');
            let (method, target) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
            let answer = self.answer(&target);
            self.asked.lock().unwrap().push((method, target));
            bytes.clear();
            // The measured program waits for this.
            thread::sleep(self.stock.latency);
            stream.write_all(answer.as_bytes())?;
        }
    }

    fn answer(&self, target: &str) -> String {
        let pushed = self.pushed.load(Ordering::Relaxed);
        let (header, body) = if target.starts_with("/v2/token") {
            (String::new(), "{\"token\":\"jwt\"}\n".to_owned())
        } else if let Some(name) =
            target.strip_prefix("/v2/").and_then(|rest| rest.strip_suffix("/tags/list"))
        {
            let is_busy = name.ends_with(&format!("/app{BUSY}"));
            let new = (0..pushed).filter(|_| is_busy).map(|number| format!(",\"v2.{number}.0\""));
            let new: String = new.collect();
            (String::new(), format!("{{\"name\":\"{name}\",\"tags\":[{}{new}]}}\n", self.list))
        } else if let Some((_, last)) = target.split_once("/v2/_catalog?n=100&last=") {
            (String::new(), self.catalog(last))
        } else if target.contains("/manifests/") {
            (format!("Docker-Content-Digest: sha256:{}\r\n", "0".repeat(64)), String::new())
        } else {
            let (owner, query) = target.strip_prefix("/api/v1/packages/").unwrap().split_once('?').unwrap();
            let number = |key: &str| query.split('&').find_map(|pair| pair.strip_prefix(key)?.parse().ok());
            self.feed(owner, number("limit=").unwrap(), number("page=").unwrap_or(1), pushed)
        };
        let date =
            jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&jiff::Timestamp::now());
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: {}\r\n{header}Content-Length: {}\r\n\r\n{body}",
            date.unwrap(),
            body.len()
        )
    }

    /// A page of the names of all images, behind the last one of the page before.
    fn catalog(&self, last: &str) -> String {
        let Stock { images, owners, .. } = self.stock;
        let names: BTreeSet<String> =
            (0..images).map(|image| format!("\"owner{}/app{image}\"", image % owners)).collect();
        let last = format!("\"{last}\"");
        let page: Vec<String> = names.into_iter().filter(|name| *name > last).take(100).collect();
        format!("{{\"repositories\":[{}]}}\n", page.join(","))
    }

    /// The newest versions of an owner's images: one of each long ago, ten minutes apart, and those pushed since.
    fn feed(&self, owner: &str, limit: usize, page: usize, pushed: usize) -> (String, String) {
        let Stock { images, owners, .. } = self.stock;
        let owner: usize = owner.trim_start_matches("owner").parse().unwrap();
        let own = (0..images).skip(owner).step_by(owners).count();
        let new = if owner == BUSY % owners { pushed } else { 0 };
        let rows = (0..new).rev().map(|tag| (own + tag, BUSY, format!("v2.{tag}.0"), PUSHED + 600 * tag));
        let young = usize::try_from(jiff::Timestamp::now().as_second()).unwrap() - 5;
        let pushed_at = |image| if self.stock.is_young { young } else { OLD + 600 * image };
        let old = (0..own)
            .rev()
            .map(|image| (image, image * owners + owner, "v1.0.0".to_owned(), pushed_at(image)));
        let rows: Vec<String> = rows
            .chain(old)
            .skip((page - 1) * limit)
            .take(limit)
            .map(|(id, image, version, second)| {
                let at = jiff::Timestamp::from_second(i64::try_from(second).unwrap()).unwrap();
                format!("{{\"id\":{id},\"type\":\"container\",\"name\":\"app{image}\",\"version\":\"{version}\",\"created_at\":\"{at}\"}}")
            })
            .collect();
        (format!("X-Total-Count: {}\r\n", own + new), format!("[{}]\n", rows.join(",")))
    }
}
