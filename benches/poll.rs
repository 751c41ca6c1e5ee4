//! Polls of 1,000 targets on 1,000 images of ten owners, against a fake Gitea that waits 50 ms before each
//! answer, beside curl fetching the same URLs in the same run: `cargo bench --bench poll`.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark makes its own server, files and processes, prints what it measures, and panics"
)]

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const IMAGES: usize = 1_000;
const CONNECTIONS: usize = 64;
const LATENCY: Duration = Duration::from_millis(50);
const RUNS: usize = 5;

const OWNERS: usize = 10;

/// A first poll may take so many times the bound.
const FIRST_ALLOWED: f64 = 1.15;

fn main() {
    let server = FakeGitea::start();
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("tagship.toml");
    fs::write(&config, configuration(server.port)).unwrap();
    println!(
        "{IMAGES} targets on {IMAGES} images of {OWNERS} owners, {CONNECTIONS} connections, {LATENCY:?} before each answer; {RUNS} runs"
    );
    let first = compare(&server, dir.path(), "first poll", &config, State::New);
    let bound = LATENCY * u32::try_from(IMAGES.div_ceil(CONNECTIONS)).unwrap();
    println!("bound: ceil({IMAGES}/{CONNECTIONS}) * {LATENCY:?} = {bound:?}");
    println!("tagship / bound: {:.2} (reach {FIRST_ALLOWED})", ratio(first.median, bound));

    // The state that the first run left, settled by one more.
    let idle = compare(&server, dir.path(), "idle poll", &config, |_| State::Known);
    println!("reach: {OWNERS} requests, 150 ms, 40 ms CPU, 24 MiB");
    assert_eq!(idle.worst.requests, OWNERS, "an idle poll asks each owner once");

    let one = compare(&server, dir.path(), "one new tag", &config, |_| State::OneNew);
    println!("reach: at most 3 requests more than idle");
    assert!(one.worst.requests <= OWNERS + 3, "{} requests", one.worst.requests);
}

/// Which state a run begins with.
#[derive(Clone, Copy)]
enum State {
    New(usize),
    Known,
    /// Known, and one image has a tag that was pushed a while ago.
    OneNew,
}

/// Runs tagship, then curl on the URLs that tagship asked for; in turn, so that both see the same machine.
fn compare(
    server: &FakeGitea,
    dir: &Path,
    what: &str,
    config: &Path,
    state: impl Fn(usize) -> State,
) -> Figures {
    let mut tagship = Vec::new();
    let mut curl = Vec::new();
    for run in 0..RUNS {
        let file = match state(run) {
            State::New(number) => dir.join(format!("{number}.db")),
            State::Known | State::OneNew => dir.join("0.db"),
        };
        if matches!(state(run), State::OneNew) {
            server.push();
        }
        if !matches!(state(run), State::New(_)) && run == 0 {
            // What an earlier series left to look at.
            server.measure("tagship", dir, &poll(config, &file));
            if matches!(state(run), State::OneNew) {
                server.push();
            }
        }
        server.urls.lock().unwrap().clear();
        tagship.push(server.measure("tagship", dir, &poll(config, &file)));
        let urls = dir.join("urls");
        fs::write(&urls, curl_list(server)).unwrap();
        curl.push(server.measure("curl", dir, &fetch(&urls)));
    }
    println!();
    println!(
        "{what:<12} {:>9} {:>9} {:>9} {:>9} {:>12} {:>9} {:>10}",
        "min", "median", "max", "requests", "connections", "CPU", "peak"
    );
    let (tagship, curl) = (Figures::of(tagship), Figures::of(curl));
    tagship.print("  tagship");
    curl.print("  curl");
    println!("tagship / curl: {:.2}", ratio(tagship.median, curl.median));
    tagship
}

fn ratio(median: Duration, reference: Duration) -> f64 {
    median.as_secs_f64() / reference.as_secs_f64()
}

/// Every project has one image, and one stage by versions.
fn configuration(port: u16) -> String {
    let mut text = format!(
        "[settings.stage]\ntags = \"v*\"\norder = \"semver\"\ndeploy = {{ command = [\"true\"] }}\n\
         [registries.git]\nkind = \"gitea\"\nurl = \"http://127.0.0.1:{port}\"\n\
         token = {{ env = \"BENCH_TOKEN\" }}\nconnections = {CONNECTIONS}\n"
    );
    for image in 0..IMAGES {
        write!(
            text,
            "[projects.app{image}]\nregistry = \"git\"\nimage = \"owner{}/app{image}\"\n\
             [projects.app{image}.stages.prod]\n",
            image % 10
        )
        .unwrap();
    }
    text
}

/// What tagship asked for in its last run, for curl, which reads its options from a file.
fn curl_list(server: &FakeGitea) -> String {
    let mut text = String::new();
    for (method, target) in server.urls.lock().unwrap().iter() {
        let head = if method == "HEAD" { "head\n" } else { "" };
        writeln!(
            text,
            "url = \"http://127.0.0.1:{}{target}\"\noutput = \"/dev/null\"\n{head}next",
            server.port
        )
        .unwrap();
    }
    text.truncate(text.len().saturating_sub("next\n".len()));
    text
}

fn poll(config: &Path, state: &Path) -> Vec<String> {
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let binary = env!("CARGO_BIN_EXE_tagship");
    [binary, "--config", &text(config), "--state", &text(state), "poll"].map(str::to_owned).to_vec()
}

fn fetch(urls: &Path) -> Vec<String> {
    let connections = CONNECTIONS.to_string();
    let list = urls.to_str().unwrap();
    let arguments = ["curl", "--silent", "--fail", "--parallel", "--parallel-immediate", "--parallel-max"];
    let token = ["--config"];
    let arguments = [&arguments[..], &[&connections], &token, &[list]].concat();
    arguments.into_iter().map(str::to_owned).collect()
}

/// One run of a program.
struct Measured {
    wall: Duration,
    cpu: Duration,
    peak_kib: u64,
    requests: usize,
    connections: usize,
}

/// What all runs of a program come to.
struct Figures {
    min: Duration,
    median: Duration,
    max: Duration,
    worst: Measured,
}

impl Figures {
    fn of(mut runs: Vec<Measured>) -> Figures {
        runs.sort_by_key(|run| run.wall);
        let (min, median, max) = (runs[0].wall, runs[runs.len() / 2].wall, runs[runs.len() - 1].wall);
        let worst = Measured {
            wall: max,
            cpu: runs.iter().map(|run| run.cpu).max().unwrap(),
            peak_kib: runs.iter().map(|run| run.peak_kib).max().unwrap(),
            requests: runs.iter().map(|run| run.requests).max().unwrap(),
            connections: runs.iter().map(|run| run.connections).max().unwrap(),
        };
        Figures { min, median, max, worst }
    }

    fn print(&self, name: &str) {
        let ms = |time: Duration| format!("{} ms", time.as_millis());
        println!(
            "{name:<12} {:>9} {:>9} {:>9} {:>9} {:>12} {:>9} {:>10}",
            ms(self.min),
            ms(self.median),
            ms(self.max),
            self.worst.requests,
            self.worst.connections,
            ms(self.worst.cpu),
            format!("{:.1} MiB", self.worst.peak_kib as f64 / 1024.0),
        );
    }
}

/// Answers every list with the same tags but for one image. Nothing here is recorded: it must only be fast.
struct FakeGitea {
    port: u16,
    counts: Arc<Counts>,
    /// What was asked for, with its method.
    urls: Arc<Mutex<Vec<(String, String)>>>,
    /// How many tags the one image got since the beginning.
    pushed: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Counts {
    requests: AtomicUsize,
    connections: AtomicUsize,
}

impl FakeGitea {
    fn start() -> FakeGitea {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let counts: Arc<Counts> = Arc::default();
        let urls: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
        let pushed: Arc<AtomicUsize> = Arc::default();
        let shared = (Arc::clone(&counts), Arc::clone(&urls), Arc::clone(&pushed));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (counts, urls, pushed) =
                    (Arc::clone(&shared.0), Arc::clone(&shared.1), Arc::clone(&shared.2));
                counts.connections.fetch_add(1, Ordering::Relaxed);
                // A connection that ends in an error has ended.
                thread::spawn(move || drop(serve(stream.unwrap(), &counts, &urls, &pushed)));
            }
        });
        FakeGitea { port, counts, urls, pushed }
    }

    fn push(&self) {
        self.pushed.fetch_add(1, Ordering::Relaxed);
    }

    /// Runs a program under GNU time, which knows what only its parent is told.
    fn measure(&self, name: &str, dir: &Path, program: &[String]) -> Measured {
        let before =
            [&self.counts.requests, &self.counts.connections].map(|count| count.load(Ordering::Relaxed));
        let report = dir.join("time");
        let started = Instant::now();
        let output = Command::new("/usr/bin/time")
            .args(["-f", "%U %S %M", "-o"])
            .arg(&report)
            .args(program)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", dir)
            .env("BENCH_TOKEN", "bench")
            .stdin(Stdio::null())
            .output()
            .expect("GNU time is installed: apt-get install time");
        let wall = started.elapsed();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let report = fs::read_to_string(report).unwrap();
        let words: Vec<&str> = report.split_whitespace().collect();
        let [user, system, peak] = words[..] else { panic!("{report}") };
        let seconds: f64 = user.parse::<f64>().unwrap() + system.parse::<f64>().unwrap();
        let requests = self.counts.requests.load(Ordering::Relaxed) - before[0];
        Measured {
            wall,
            cpu: Duration::from_secs_f64(seconds),
            peak_kib: peak.parse().unwrap(),
            requests,
            connections: self.counts.connections.load(Ordering::Relaxed) - before[1],
        }
    }
}

fn serve(
    mut stream: TcpStream,
    counts: &Counts,
    urls: &Mutex<Vec<(String, String)>>,
    pushed: &AtomicUsize,
) -> std::io::Result<()> {
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
        counts.requests.fetch_add(1, Ordering::Relaxed);
        let request = String::from_utf8_lossy(&bytes);
        let mut words = request.split(' ');
        let (method, target) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
        let answer = answer(&target, pushed.load(Ordering::Relaxed));
        urls.lock().unwrap().push((method, target));
        bytes.clear();
        // The latency is what is measured.
        thread::sleep(LATENCY);
        stream.write_all(answer.as_bytes())?;
    }
}

/// The image that gets new tags, and its owner.
const BUSY: (&str, &str) = ("owner3", "app123");

fn answer(target: &str, pushed: usize) -> String {
    let tags = |image: &str| {
        let new = (0..pushed).filter(|_| image == BUSY.1).map(|number| format!(",\"v2.{number}.0\""));
        format!("\"latest\",\"v1.0.0\",\"v1.1.0\"{}", new.collect::<String>())
    };
    let (header, body) = if target.starts_with("/v2/token") {
        (String::new(), "{\"token\":\"jwt\"}\n".to_owned())
    } else if let Some(name) = target.strip_prefix("/v2/").and_then(|rest| rest.strip_suffix("/tags/list")) {
        let image = name.rsplit('/').next().unwrap();
        (String::new(), format!("{{\"name\":\"{name}\",\"tags\":[{}]}}\n", tags(image)))
    } else if target.contains("/manifests/") {
        (format!("Docker-Content-Digest: sha256:{}\r\n", "0".repeat(64)), String::new())
    } else {
        let (owner, query) = target.strip_prefix("/api/v1/packages/").unwrap().split_once('?').unwrap();
        let limit = query.split('&').find_map(|pair| pair.strip_prefix("limit=")).unwrap().parse().unwrap();
        feed(owner, limit, pushed)
    };
    let date =
        jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&jiff::Timestamp::now());
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: {}\r\n{header}Content-Length: {}\r\n\r\n{body}",
        date.unwrap(),
        body.len()
    )
}

/// The newest versions of an owner's images: one of each long ago, ten minutes apart, and those pushed since.
fn feed(owner: &str, limit: usize, pushed: usize) -> (String, String) {
    let images = IMAGES / OWNERS;
    let number: usize = owner.trim_start_matches("owner").parse().unwrap();
    let new = if owner == BUSY.0 { pushed } else { 0 };
    let rows = (0..new)
        .rev()
        .map(|tag| (images + tag, BUSY.1.to_owned(), format!("v2.{tag}.0"), PUSHED + 600 * tag));
    let old = (0..images).rev().map(|image| {
        (image, format!("app{}", image * OWNERS + number), "v1.1.0".to_owned(), OLD + 600 * image)
    });
    let rows: Vec<String> = rows
        .chain(old)
        .take(limit)
        .map(|(id, name, version, second)| {
            let at = jiff::Timestamp::from_second(i64::try_from(second).unwrap()).unwrap();
            format!("{{\"id\":{id},\"type\":\"container\",\"name\":\"{name}\",\"version\":\"{version}\",\"created_at\":\"{at}\"}}")
        })
        .collect();
    (format!("X-Total-Count: {}\r\n", images + new), format!("[{}]\n", rows.join(",")))
}

/// Seconds: of the first image's push, and of the first new tag's.
const OLD: usize = 1_750_000_000;
const PUSHED: usize = 1_760_000_000;
