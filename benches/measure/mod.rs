//! Programs that are run, and what that takes.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};

/// The measured program: this build, or another one that `BENCH_BINARY` names.
pub(crate) fn binary() -> String {
    std::env::var("BENCH_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_tagship").to_owned())
}

/// A program with its arguments.
pub(crate) type Program = Vec<String>;

/// `tagship --config … --state …` and these arguments.
pub(crate) fn tagship(config: &Path, state: &Path, arguments: &[&str]) -> Program {
    let place = |path: &Path| path.to_str().unwrap().to_owned();
    let mut program = vec![binary(), "--config".to_owned(), place(config)];
    program.extend(["--state".to_owned(), place(state)]);
    program.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    program
}

/// Wall and CPU time of one run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Time {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
}

/// Runs a program to its end; it must succeed.
pub(crate) fn run(dir: &Path, program: &Program) -> Time {
    let mut command = command(dir, program);
    let (before, begun) = (children(), Instant::now());
    let status = command.status().unwrap();
    let wall = begun.elapsed();
    assert!(status.success(), "{}", program.join(" "));
    Time { wall, cpu: children().saturating_sub(before) }
}

/// The most memory it had, in KiB.
pub(crate) fn peak(dir: &Path, program: &Program) -> u64 {
    let report = dir.join("peak");
    let mut wrapped: Program = ["/usr/bin/time", "-f", "%M", "-o"].map(str::to_owned).to_vec();
    wrapped.push(report.to_str().unwrap().to_owned());
    wrapped.extend(program.iter().cloned());
    run(dir, &wrapped);
    fs::read_to_string(report).unwrap().trim().parse().unwrap()
}

/// How often it waited for the disk, and how many transactions it wrote: each ends with its journal unlinked.
pub(crate) fn writes(dir: &Path, program: &Program) -> (usize, usize) {
    let report = dir.join("calls");
    let mut traced: Program = ["strace", "-f", "-qq", "-e", "trace=fsync,fdatasync,unlink,unlinkat", "-o"]
        .map(str::to_owned)
        .to_vec();
    traced.push(report.to_str().unwrap().to_owned());
    traced.extend(program.iter().cloned());
    run(dir, &traced);
    let calls = fs::read_to_string(report).unwrap();
    let count = |wanted: &dyn Fn(&str) -> bool| calls.lines().filter(|line| wanted(line)).count();
    (
        count(&|line| line.contains("sync(") && !line.contains("resumed")),
        count(&|line| line.contains("unlink") && line.contains("-journal\"")),
    )
}

fn command(dir: &Path, program: &Program) -> Command {
    let mut command = Command::new(&program[0]);
    command.args(&program[1..]).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", dir);
    command.env("BENCH_TOKEN", "bench");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// CPU time of all that were waited for.
fn children() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let of = |time: nix::sys::time::TimeVal| {
        Duration::new(u64::try_from(time.tv_sec()).unwrap(), u32::try_from(time.tv_usec()).unwrap() * 1000)
    };
    of(usage.user_time()) + of(usage.system_time())
}

/// Least, middle and most of some runs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spread {
    pub(crate) min: Duration,
    pub(crate) median: Duration,
    pub(crate) max: Duration,
}

impl Spread {
    pub(crate) fn of(times: impl Iterator<Item = Duration>) -> Spread {
        let mut times: Vec<Duration> = times.collect();
        times.sort_unstable();
        Spread { min: times[0], median: times[times.len() / 2], max: times[times.len() - 1] }
    }
}

pub(crate) fn ms(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1000.0;
    if ms < 100.0 { format!("{ms:.1}") } else { format!("{ms:.0}") }
}

/// Every project has an image of its own; its one stage goes by versions. Without a port: on disk.
pub(crate) fn configuration(targets: usize, owners: usize, port: Option<u16>) -> String {
    let mut text = registry(port);
    for image in 0..targets {
        write!(
            text,
            "[projects.app{image}]\nregistry = \"git\"\nimage = \"owner{}/app{image}\"\n[projects.app{image}.stages.prod]\n",
            image % owners
        )
        .unwrap();
    }
    text
}

/// The same stages for all images of the owners, which tagship discovers.
pub(crate) fn table(owners: usize, port: u16) -> String {
    let globs: Vec<String> = (0..owners).map(|owner| format!("\"owner{owner}/*\"")).collect();
    let globs = globs.join(", ");
    registry(Some(port))
        + &format!("[projects.all]\nregistry = \"git\"\nimages = [{globs}]\n[projects.all.stages.prod]\n")
}

fn registry(port: Option<u16>) -> String {
    let place = match port {
        Some(port) => format!(
            "kind = \"gitea\"\nurl = \"http://127.0.0.1:{port}\"\ntoken = {{ env = \"BENCH_TOKEN\" }}\nconnections = 64\n"
        ),
        None => "kind = \"oci-layout\"\npath = \"images\"\n".to_owned(),
    };
    let stage = "tags = \"v*\"\norder = \"semver\"\ndeploy = { command = [\"true\"] }";
    format!("[settings.stage]\n{stage}\n[registries.git]\n{place}")
}

/// An image layout of these tags, which are of whatever repository is asked for.
pub(crate) fn layout(folder: &Path, tags: usize) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}").unwrap();
    let manifest = |number: usize| {
        format!(
            "{{\"digest\":\"sha256:{number:064x}\",\"annotations\":{{\"org.opencontainers.image.ref.name\":\"v{}.{}.{}\"}}}}",
            number / 10_000,
            number / 100 % 100,
            number % 100
        )
    };
    // Neither in order nor in its reverse.
    let manifests: Vec<String> = (0..tags).map(|number| manifest(number * 7919 % tags)).collect();
    let index = format!("{{\"schemaVersion\":2,\"manifests\":[{}]}}", manifests.join(","));
    fs::write(folder.join("index.json"), index).unwrap();
}
