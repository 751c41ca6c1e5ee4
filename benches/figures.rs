//! The figures to reach, line by line, each beside its reference in the same run, in turn, so that both see the
//! same machine: `cargo bench`. Nothing is asserted but counts. With `BENCH_BUILD=1` the program is rebuilt as
//! well, which takes minutes.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark makes its own server, files and processes, prints what it measures, and panics"
)]

mod measure;
mod server;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use measure::{Program, Spread, Time, configuration, layout, ms, peak, run, table, tagship, writes};
use server::{FakeGitea, Stock};

const RUNS: usize = 7;
const IMAGES: usize = 1_000;
const OWNERS: usize = 10;
const LATENCY: Duration = Duration::from_millis(50);

/// With this argument and a file: what `toml::from_str` alone costs, in a process of its own like what it is beside.
const PARSE: &str = "--parse";

fn main() {
    if let Some(file) = std::env::args().skip_while(|argument| argument != PARSE).nth(1) {
        let table: toml::Table = toml::from_str(&fs::read_to_string(file).unwrap()).unwrap();
        assert_eq!(table.len(), 3);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    println!("{RUNS} runs of each; times in ms; {LATENCY:?} before each answer, but on loopback\n");
    Row::print_head();
    starting(dir);
    let idle_beside_due = polling(dir);
    due(dir);
    many_tags(dir);
    println!("\n{idle_beside_due}");
    server_alone(dir);
    size();
}

/// A line of the table.
struct Row<'a> {
    work: &'a str,
    goal: String,
    times: Vec<Time>,
    peak: u64,
    /// Requests and connections.
    asked: (usize, usize),
    /// Waits for the disk, and write transactions.
    writes: (usize, usize),
    reference: &'a str,
    reference_time: Spread,
}

impl Row<'_> {
    fn print_head() {
        let names = [
            "work",
            "reach",
            "min",
            "median",
            "max",
            "CPU",
            "MiB",
            "reqs",
            "conns",
            "fsyncs",
            "writes",
            "reference (median)",
            "ratio",
        ];
        println!("| {} |", names.join(" | "));
        println!("|---|---|{}---|--:|", "--:|".repeat(names.len() - 4));
    }

    fn print(&self) {
        let wall = Spread::of(self.times.iter().map(|time| time.wall));
        let cpu = Spread::of(self.times.iter().map(|time| time.cpu));
        println!(
            "| {} | {} | {} | {} | {} | {} | {:.1} | {} | {} | {} | {} | {}: {} | {:.2} |",
            self.work,
            self.goal,
            ms(wall.min),
            ms(wall.median),
            ms(wall.max),
            ms(cpu.median),
            self.peak as f64 / 1024.0,
            self.asked.0,
            self.asked.1,
            self.writes.0,
            self.writes.1,
            self.reference,
            ms(self.reference_time.median),
            wall.median.as_secs_f64() / self.reference_time.median.as_secs_f64(),
        );
    }
}

/// Runs a program and its reference in turn.
fn alternate(
    dir: &Path,
    program: impl Fn(usize) -> Program,
    mut reference: impl FnMut() -> Duration,
) -> (Vec<Time>, Spread) {
    let mut times = Vec::new();
    let mut references = Vec::new();
    for number in 0..RUNS {
        times.push(run(dir, &program(number)));
        references.push(reference());
    }
    (times, Spread::of(references.into_iter()))
}

fn starting(dir: &Path) {
    let version = vec![measure::binary(), "--version".to_owned()];
    let empty = vec!["/bin/true".to_owned()];
    let (times, reference_time) = alternate(dir, |_| version.clone(), || run(dir, &empty).wall);
    Row {
        work: "tagship --version",
        goal: "2 ms".to_owned(),
        times,
        peak: peak(dir, &version),
        asked: (0, 0),
        writes: writes(dir, &version),
        reference: "an empty process",
        reference_time,
    }
    .print();
    let near = Bench::new(
        dir,
        "near",
        Stock { images: 1, owners: 1, tags: 3, latency: Duration::ZERO, is_young: false },
    );
    near.settle();
    near.idle("idle poll of one, on loopback", "5 ms", 1);
}

/// A server, a configuration for it, and a state.
struct Bench<'a> {
    dir: &'a Path,
    server: FakeGitea,
    stock: Stock,
    config: PathBuf,
    state: PathBuf,
}

impl<'a> Bench<'a> {
    fn new(dir: &'a Path, name: &str, stock: Stock) -> Bench<'a> {
        Bench::with(dir, name, stock, |port| configuration(stock.images, stock.owners, Some(port)))
    }

    fn with(dir: &'a Path, name: &str, stock: Stock, config_for: impl Fn(u16) -> String) -> Bench<'a> {
        let server = FakeGitea::start(stock);
        let config = dir.join(format!("{name}.toml"));
        fs::write(&config, config_for(server.port)).unwrap();
        Bench { dir, server, stock, config, state: dir.join(format!("{name}.db")) }
    }

    fn poll(&self, arguments: &[&str]) -> Program {
        tagship(&self.config, &self.state, &[&["poll"], arguments].concat())
    }

    /// The first poll, and one more that finds nothing.
    fn settle(&self) {
        run(self.dir, &self.poll(&[]));
        run(self.dir, &self.poll(&[]));
        self.server.take_asked();
    }

    /// The requests of a run.
    fn asked(&self, program: &Program) -> (usize, usize) {
        let before = self.server.counts();
        run(self.dir, program);
        let after = self.server.counts();
        (after.0 - before.0, after.1 - before.1)
    }

    /// curl, for the requests since the last call; all at once, as many at a time as tagship.
    fn curl(&self) -> Program {
        let list = self.dir.join("urls");
        let mut text = String::new();
        for (method, target) in self.server.take_asked() {
            let head = if method == "HEAD" { "head\n" } else { "" };
            let url = format!(
                "url = \"http://127.0.0.1:{}{target}\"\noutput = \"/dev/null\"\n{head}",
                self.server.port
            );
            text.push_str(if text.is_empty() { "" } else { "next\n" });
            text.push_str(&url);
        }
        fs::write(&list, text).unwrap();
        let arguments =
            ["curl", "--silent", "--fail", "--parallel", "--parallel-immediate", "--parallel-max"];
        let mut program: Program = arguments.map(str::to_owned).to_vec();
        program.extend(["64", "--config", list.to_str().unwrap()].map(str::to_owned));
        program
    }

    fn idle(&self, work: &str, goal: &str, requests: usize) {
        let program = self.poll(&[]);
        let asked = self.asked(&program);
        assert_eq!(asked.0, requests, "an idle poll asks each owner once");
        let curl = self.curl();
        let (times, reference_time) = alternate(self.dir, |_| program.clone(), || run(self.dir, &curl).wall);
        let (peak, writes) = (peak(self.dir, &program), writes(self.dir, &program));
        assert!(writes.1 <= 1, "an idle poll writes in one transaction");
        let goal = goal.to_owned();
        Row { work, goal, times, peak, asked, writes, reference: "curl, the same", reference_time }.print();
        self.server.take_asked();
    }

    /// The CPU time of an idle poll, beside that of one that finds nothing due.
    fn idle_beside_due(&self) -> String {
        let (idle, due) = (self.poll(&[]), self.poll(&["--due"]));
        let mut times = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            times.0.push(run(self.dir, &idle).cpu);
            times.1.push(run(self.dir, &due).cpu);
        }
        assert_eq!(self.asked(&due).0, 0, "nothing is due");
        self.server.take_asked();
        let [idle, due] = [times.0, times.1].map(|times| Spread::of(times.into_iter()).median);
        format!(
            "CPU time of an idle poll of {}: {} ms; of poll --due with nothing due: {} ms; ratio {:.2}",
            self.stock.images,
            ms(idle),
            ms(due),
            idle.as_secs_f64() / due.as_secs_f64()
        )
    }
}

fn polling(dir: &Path) -> String {
    let stock = Stock { images: IMAGES, owners: OWNERS, tags: 3, latency: LATENCY, is_young: false };
    let bench = Bench::new(dir, "many", stock);
    first(&bench, "first poll of the same");
    let young = Bench::new(dir, "young", Stock { is_young: true, ..stock });
    first(&young, "the same, all pushed in the last minute");
    bench.settle();
    bench.idle("idle poll, 1,000 of 10 owners", "10 reqs 150 CPU 40 24 MiB", OWNERS);
    let beside_due = bench.idle_beside_due();
    discovered(&bench);
    one_new(&bench);
    beside_due
}

/// The images are those of a table. The reference has the same images written out.
fn discovered(written: &Bench<'_>) {
    let Bench { dir, stock, .. } = *written;
    let bench = Bench::with(dir, "table", stock, |port| table(stock.owners, port));
    bench.settle();
    let program = bench.poll(&[]);
    let asked = bench.asked(&program);
    assert_eq!(asked.0, OWNERS, "an idle poll asks each owner once");
    let reference = written.poll(&[]);
    let (times, reference_time) = alternate(dir, |_| program.clone(), || run(dir, &reference).wall);
    let (peak, writes) = (peak(dir, &program), writes(dir, &program));
    assert!(writes.1 <= 1, "an idle poll writes in one transaction");
    Row {
        work: "idle poll of the same, discovered",
        goal: "the same".to_owned(),
        times,
        peak,
        asked,
        writes,
        reference: "the same, written out",
        reference_time,
    }
    .print();
    written.server.take_asked();
}

fn first(bench: &Bench<'_>, work: &str) {
    let dir = bench.dir;
    let program = |number: usize| {
        tagship(
            &bench.config,
            &dir.join(format!("{}-{number}.db", bench.state.file_stem().unwrap().to_str().unwrap())),
            &["poll"],
        )
    };
    let asked = bench.asked(&program(RUNS));
    let curl = bench.curl();
    let (times, reference_time) = alternate(dir, program, || run(dir, &curl).wall);
    let bound = LATENCY * u32::try_from(bench.stock.images.div_ceil(64)).unwrap();
    Row {
        work,
        goal: format!("1.15 x {} = {}", ms(bound), ms(bound.mul_f64(1.15))),
        times,
        peak: peak(dir, &program(RUNS + 1)),
        asked,
        writes: writes(dir, &program(RUNS + 2)),
        reference: "curl, the same",
        reference_time,
    }
    .print();
}

/// Without its wait the server must answer many times faster than anybody asked it above.
fn server_alone(dir: &Path) {
    let stock = Stock { images: IMAGES, owners: OWNERS, tags: 3, latency: Duration::ZERO, is_young: false };
    let quick = Bench::new(dir, "quick", stock);
    let asked = quick.asked(&quick.poll(&[]));
    let curl = quick.curl();
    let alone = Spread::of((0..RUNS).map(|_| run(dir, &curl).wall));
    println!("server alone, without its wait: {} requests of curl in {} ms", asked.0, ms(alone.median));
}

fn one_new(bench: &Bench<'_>) {
    let program = bench.poll(&[]);
    bench.server.push();
    let asked = bench.asked(&program);
    assert!(asked.0 <= OWNERS + 3, "{} requests", asked.0);
    let curl = bench.curl();
    let pushed = |_| {
        bench.server.push();
        program.clone()
    };
    let (times, reference_time) = alternate(bench.dir, pushed, || run(bench.dir, &curl).wall);
    let (peak, writes) = (peak(bench.dir, &pushed(0)), writes(bench.dir, &pushed(0)));
    Row {
        work: "one of them has a new tag",
        goal: "13 reqs".to_owned(),
        times,
        peak,
        asked,
        writes,
        reference: "curl, the same, at once",
        reference_time,
    }
    .print();
}

fn due(dir: &Path) {
    const TARGETS: usize = 10_000;
    let folder = dir.join("due");
    layout(&folder.join("images"), 3);
    let config = folder.join("tagship.toml");
    let text = configuration(TARGETS, OWNERS, None);
    fs::write(&config, &text).unwrap();
    let state = folder.join("state.db");
    run(dir, &tagship(&config, &state, &["poll"]));
    let program = tagship(&config, &state, &["poll", "--due"]);
    let this = std::env::current_exe().unwrap();
    let parse = [this.to_str().unwrap(), PARSE, config.to_str().unwrap()].map(str::to_owned).to_vec();
    let (times, reference_time) = alternate(dir, |_| program.clone(), || run(dir, &parse).wall);
    Row {
        work: "poll --due of 10,000, none due",
        goal: "1.5 times".to_owned(),
        times,
        peak: peak(dir, &program),
        asked: (0, 0),
        writes: writes(dir, &program),
        reference: "a process that does toml::from_str alone",
        reference_time,
    }
    .print();
    let program = tagship(&config, &state, &["status", "--format", "json"]);
    let shell = ["sqlite3", state.to_str().unwrap(), "SELECT * FROM poll_state"].map(str::to_owned).to_vec();
    let (times, reference_time) = alternate(dir, |_| program.clone(), || run(dir, &shell).wall);
    Row {
        work: "status of the same",
        goal: "-".to_owned(),
        times,
        peak: peak(dir, &program),
        asked: (0, 0),
        writes: writes(dir, &program),
        reference: "sqlite3, its rows",
        reference_time,
    }
    .print();
}

fn many_tags(dir: &Path) {
    let stock = Stock { images: 1, owners: 1, tags: 100_000, latency: LATENCY, is_young: false };
    let bench = Bench::new(dir, "tags", stock);
    bench.settle();
    let program = bench.poll(&["--refresh"]);
    let asked = bench.asked(&program);
    bench.server.take_asked();
    let list = format!("http://127.0.0.1:{}/v2/owner0/app0/tags/list", bench.server.port);
    let curl = ["curl", "--silent", "--fail", "--output", "/dev/null", &list].map(str::to_owned).to_vec();
    let (times, reference_time) = alternate(dir, |_| program.clone(), || run(dir, &curl).wall);
    Row {
        work: "an image with 100,000 tags",
        goal: "3 times, 64 MiB".to_owned(),
        times,
        peak: peak(dir, &program),
        asked,
        writes: writes(dir, &program),
        reference: "curl, the list",
        reference_time,
    }
    .print();
}

fn size() {
    let size = fs::metadata(measure::binary()).unwrap().len();
    println!(
        "binary, with what its tests ask of dependencies: {:.2} MB (BENCH_BUILD=1 builds it without)",
        size as f64 / 1e6
    );
    if std::env::var_os("BENCH_BUILD").is_none() {
        return;
    }
    let target = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "--all-features", "--manifest-path"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .arg("--target-dir")
        .arg(target.path())
        .stderr(Stdio::null())
        .status();
    assert!(built.unwrap().success());
    println!("built from nothing in {:.0} s", begun.elapsed().as_secs_f64());
}
