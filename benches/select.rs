//! What choosing among 100,000 tags costs beyond reading them, for every order, and how large the
//! state grows with 10,000 images of 1,000 tags: `cargo bench --bench select`.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark makes its own files and processes, prints what it measures, and panics"
)]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const TAGS: usize = 100_000;
const RUNS: usize = 15;
const IMAGES: usize = 10_000;
const TAGS_OF_IMAGE: usize = 1_000;

/// What the design allows.
const SELECTING: Duration = Duration::from_millis(50);
const STATE: u64 = 20_000_000;

/// Reads the same listing and takes nothing of it.
const REFERENCE: &str = "tags = \"nothing-at-all\"\norder = \"alphabetical\"\n";

fn main() {
    let dir = tempfile::tempdir().unwrap();
    layout(&dir.path().join("images"), TAGS);
    selecting(dir.path());
    println!();
    state_size(dir.path());
}

fn selecting(dir: &Path) {
    let stages = [
        ("semver", "tags = \"v*\"\norder = \"semver\"\n"),
        ("numeric", "tags = \"v*\"\norder = \"numeric\"\n"),
        ("alphabetical", "tags = \"v*\"\norder = \"alphabetical\"\n"),
        ("newest", "tags = \"v*\"\norder = \"newest\"\n"),
        ("semver, regex", "tags = \"v*\"\nregex = 'v(\\d+\\.\\d+\\.\\d+)'\norder = \"semver\"\n"),
    ];
    // In turn, so that all see the same machine.
    let mut times = vec![Vec::new(); stages.len()];
    let mut reading = Vec::new();
    for _ in 0..RUNS {
        reading.push(poll(dir, REFERENCE));
        for (stage, times) in stages.iter().zip(&mut times) {
            times.push(poll(dir, stage.1));
        }
    }
    println!("a dry run over {TAGS} tags; beyond reading them (by the minima): at most {SELECTING:?}");
    println!("{:<16} {:>9} {:>9} {:>9} {:>9}", "order", "min", "median", "max", "beyond");
    let reading = row("(reading)", &mut reading, Duration::ZERO);
    println!();
    for (stage, times) in stages.iter().zip(&mut times) {
        row(stage.0, times, reading);
        println!();
    }
}

/// Prints a row, and gives back the least of the times, which the machine's other work disturbs least.
fn row(name: &str, times: &mut [Duration], reading: Duration) -> Duration {
    times.sort();
    let (least, median, most) = (times[0], times[times.len() / 2], times[times.len() - 1]);
    print!("{name:<16} {:>6} ms {:>6} ms {:>6} ms", least.as_millis(), median.as_millis(), most.as_millis());
    if reading > Duration::ZERO {
        print!(" {:>6} ms", least.saturating_sub(reading).as_millis());
    }
    least
}

/// How long a dry run of one stage takes.
fn poll(dir: &Path, stage: &str) -> Duration {
    let config = dir.join("tagship.toml");
    fs::write(&config, configuration(1, stage)).unwrap();
    let begun = Instant::now();
    let status = tagship(&config, &dir.join("dry.db")).arg("--dry-run").status().unwrap();
    assert!(status.success());
    begun.elapsed()
}

fn state_size(dir: &Path) {
    fs::remove_dir_all(dir.join("images")).unwrap();
    layout(&dir.join("images"), TAGS_OF_IMAGE);
    let config = dir.join("many.toml");
    fs::write(&config, configuration(IMAGES, "tags = \"v*\"\norder = \"semver\"\n")).unwrap();
    let state = dir.join("many.db");
    let begun = Instant::now();
    assert!(tagship(&config, &state).status().unwrap().success());
    let first = begun.elapsed();
    let begun = Instant::now();
    assert!(tagship(&config, &state).arg("--due").status().unwrap().success());
    let due = begun.elapsed();
    let size = fs::metadata(&state).unwrap().len();
    println!(
        "{IMAGES} images of {TAGS_OF_IMAGE} tags, semver: state of {:.1} MB (at most {} MB)",
        size as f64 / 1e6,
        STATE / 1_000_000
    );
    println!("first poll {first:?}, then poll --due with nothing due {due:?}");
    assert!(size <= STATE, "the state is too large");
}

fn tagship(config: &Path, state: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tagship"));
    command.arg("--config").arg(config).arg("--state").arg(state).arg("poll");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn configuration(images: usize, stage: &str) -> String {
    let mut text = "[registries.disk]\nkind = \"oci-layout\"\npath = \"images\"\n".to_owned();
    for number in 0..images {
        write!(
            text,
            "[projects.p{number}]\nregistry = \"disk\"\nimage = \"acme/image-{number}\"\n\
             [projects.p{number}.stages.prod]\n{stage}deploy = {{ command = [\"true\"] }}\n"
        )
        .unwrap();
    }
    text
}

/// An image layout with bare tags, which are of whatever repository is asked for.
fn layout(folder: &Path, tags: usize) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}").unwrap();
    let mut index = "{\"schemaVersion\":2,\"manifests\":[".to_owned();
    for number in 0..tags {
        // Neither in order nor in its reverse.
        let number = number * 7919 % tags;
        let comma = if index.ends_with('[') { "" } else { "," };
        write!(
            index,
            "{comma}{{\"digest\":\"sha256:{number:064x}\",\"annotations\":{{\
             \"org.opencontainers.image.ref.name\":\"v{}.{}.{}\",\
             \"org.opencontainers.image.created\":\"2026-01-{:02}T{:02}:{:02}:{:02}Z\"}}}}",
            number / 10_000,
            number / 100 % 100,
            number % 100,
            1 + number / 86_400 % 28,
            number / 3_600 % 24,
            number / 60 % 60,
            number % 60
        )
        .unwrap();
    }
    index.push_str("]}");
    fs::write(folder.join("index.json"), index).unwrap();
}
