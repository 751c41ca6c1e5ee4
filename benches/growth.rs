//! What grows with what: `cargo bench --bench growth`. Prints what a unit costs, with the exponent of a fit
//! (1 is linear), and draws the curves into `docs/growth.svg`. `GROWTH_MOST=1000` makes it quick.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark makes its own server, files and processes, prints what it measures, and panics"
)]

#[allow(dead_code, reason = "the other benchmark uses the rest")]
mod measure;
mod plot;
#[allow(dead_code, reason = "the other benchmark uses the rest")]
mod server;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use measure::{Program, configuration, layout, run, tagship};
use plot::{Curve, Panel};
use rusqlite::{Connection, params};
use server::{FakeGitea, Stock};

/// The least of this many counts, which other work of the machine disturbs least.
const RUNS: usize = 3;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    println!("| what grows | work | size: ms | us a unit, at last | exponent |\n|---|---|---|--:|--:|");
    let panels = [targets(dir), owners(dir), tags(dir), history(dir)];
    let most = most(usize::MAX);
    if most == usize::MAX {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/growth.svg");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, plot::svg(&panels)).unwrap();
        println!("drawn: docs/growth.svg");
    }
}

fn most(of_axis: usize) -> usize {
    let wanted = std::env::var("GROWTH_MOST").ok().map(|most| most.parse().expect("GROWTH_MOST is a number"));
    wanted.unwrap_or(usize::MAX).min(of_axis)
}

fn decades(from: usize, to: usize) -> impl Iterator<Item = usize> {
    let to = most(to);
    std::iter::successors(Some(from), |size| size.checked_mul(10)).take_while(move |size| *size <= to)
}

fn least(dir: &Path, program: &Program) -> f64 {
    let times = (0..RUNS).map(|_| run(dir, program).wall);
    times.min().unwrap_or(Duration::ZERO).as_secs_f64() * 1000.0
}

/// Curves as they are measured.
struct Series {
    axis: &'static str,
    curves: Vec<Curve>,
}

impl Series {
    fn new(axis: &'static str) -> Series {
        Series { axis, curves: Vec::new() }
    }

    fn add(&mut self, name: &str, size: usize, ms: f64) {
        let point = (size as f64, ms);
        match self.curves.iter_mut().find(|curve| curve.name == name) {
            Some(curve) => curve.points.push(point),
            None => self.curves.push(Curve { name: name.to_owned(), points: vec![point] }),
        }
    }

    fn print(self) -> Panel {
        for Curve { name, points } in &self.curves {
            let times: Vec<String> = points.iter().map(|(size, ms)| format!("{size}: {ms:.2}")).collect();
            let a_unit = points.last().map_or(0.0, |(size, ms)| ms * 1000.0 / size);
            let exponent = exponent(points);
            let verdict = if exponent > 1.1 { ", MORE THAN LINEAR" } else { "" };
            println!(
                "| {} | {name} | {} | {a_unit:.2} | {exponent:.2}{verdict} |",
                self.axis,
                times.join(", ")
            );
        }
        Panel { title: self.axis.to_owned(), curves: self.curves }
    }
}

/// The slope of the line through the logarithms of the three largest sizes: below them the start counts most.
fn exponent(points: &[(f64, f64)]) -> f64 {
    let last: Vec<(f64, f64)> =
        points.iter().skip(points.len().saturating_sub(3)).map(|(size, ms)| (size.ln(), ms.ln())).collect();
    let count = last.len() as f64;
    let mean_x = last.iter().map(|point| point.0).sum::<f64>() / count;
    let mean_y = last.iter().map(|point| point.1).sum::<f64>() / count;
    let over: f64 = last.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let under: f64 = last.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    if under == 0.0 { 0.0 } else { over / under }
}

/// A configuration of images on disk, and a state after a first poll.
fn on_disk(dir: &Path, targets: usize, tags: usize, stage: &str) -> (PathBuf, PathBuf) {
    let folder = tempfile::Builder::new().tempdir_in(dir).unwrap().keep();
    layout(&folder.join("images"), tags);
    let (config, state) = (folder.join("tagship.toml"), folder.join("state.db"));
    let text = configuration(targets, 10, None).replace("tags = \"v*\"\norder = \"semver\"\n", stage);
    fs::write(&config, text).unwrap();
    run(dir, &tagship(&config, &state, &["poll"]));
    (config, state)
}

const SEMVER: &str = "tags = \"v*\"\norder = \"semver\"\n";

fn targets(dir: &Path) -> Panel {
    let mut series = Series::new("targets");
    for size in decades(10, 100_000) {
        let (config, state) = on_disk(dir, size, 3, SEMVER);
        let mut measure = |name: &str, arguments: &[&str]| {
            series.add(name, size, least(dir, &tagship(&config, &state, arguments)));
        };
        measure("check", &["check"]);
        measure("poll --due, none due", &["poll", "--due"]);
        measure("status", &["status", "--format", "json"]);
        measure("history --limit 20", &["history", "--limit", "20"]);
        measure("poll of all, on disk", &["poll"]);
    }
    series.print()
}

fn owners(dir: &Path) -> Panel {
    let mut series = Series::new("owners");
    for owners in decades(1, 1_000) {
        let stock = Stock { images: 1_000, owners, tags: 3, latency: Duration::ZERO, is_young: false };
        let server = FakeGitea::start(stock);
        let folder = tempfile::Builder::new().tempdir_in(dir).unwrap().keep();
        let (config, state) = (folder.join("tagship.toml"), folder.join("state.db"));
        fs::write(&config, configuration(stock.images, owners, Some(server.port))).unwrap();
        let poll = tagship(&config, &state, &["poll"]);
        run(dir, &poll);
        run(dir, &poll);
        let before = server.counts().0;
        series.add("idle poll of 1,000 images", owners, least(dir, &poll));
        assert_eq!(server.counts().0 - before, RUNS * owners, "one request an owner");
    }
    series.print()
}

fn tags(dir: &Path) -> Panel {
    let mut series = Series::new("tags");
    for size in decades(10, 100_000) {
        for (name, stage) in [
            ("semver", SEMVER),
            ("semver, regex", "tags = \"v*\"\nregex = 'v(\\d+\\.\\d+\\.\\d+)'\norder = \"semver\"\n"),
            (
                "numeric, many globs",
                "tags = [\"v1.*\", \"v2.*\", \"*7\", \"v?.*.*\"]\nexclude = [\"*-*\", \"v*3\"]\norder = \"numeric\"\n",
            ),
        ] {
            let (config, state) = on_disk(dir, 1, size, stage);
            series.add(&format!("poll, {name}"), size, least(dir, &tagship(&config, &state, &["poll"])));
            if stage == SEMVER {
                let program = tagship(&config, &state, &["tags", "app0/prod", "--format", "json"]);
                series.add("tags", size, least(dir, &program));
            }
        }
    }
    series.print()
}

fn history(dir: &Path) -> Panel {
    let mut series = Series::new("history");
    let stock = Stock { images: 10, owners: 1, tags: 3, latency: Duration::ZERO, is_young: false };
    let server = FakeGitea::start(stock);
    let config = dir.join("history.toml");
    fs::write(&config, configuration(stock.images, stock.owners, Some(server.port))).unwrap();
    let state = dir.join("history.db");
    run(dir, &tagship(&config, &state, &["poll"]));
    let mut there = 0;
    for size in [1].into_iter().chain(decades(10, 1_000_000)) {
        deploy(&state, there, size, stock.images);
        there = size;
        let mut measure = |name: &str, arguments: &[&str]| {
            series.add(name, size, least(dir, &tagship(&config, &state, arguments)));
        };
        measure("idle poll of 10", &["poll"]);
        measure("poll --due", &["poll", "--due"]);
        measure("status", &["status", "--format", "json"]);
        measure("history --limit 20", &["history", "--limit", "20"]);
        Connection::open(&state).unwrap().execute("DELETE FROM housekeeping", []).unwrap();
        let begun = run(dir, &tagship(&config, &state, &["poll"])).wall;
        series.add("the poll that prunes, daily", size, begun.as_secs_f64() * 1000.0);
    }
    series.print()
}

/// Deployments, of every target by turns, one each second until yesterday, each with an attempt.
fn deploy(state: &Path, from: usize, to: usize, targets: usize) {
    let mut connection = Connection::open(state).unwrap();
    let yesterday = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24);
    let transaction = connection.transaction().unwrap();
    for number in from..to {
        let at = yesterday - jiff::SignedDuration::from_secs(i64::try_from(number).unwrap());
        let (id, at) = (format!("{number:036}"), format!("{at:.3}"));
        let project = format!("app{}", number % targets);
        transaction
            .prepare_cached(
                "INSERT INTO deployment (id, project, stage, registry, repository, tag, decided_by, state, attempts,
                 created_at, ended_at, goes_back) VALUES (?1, ?2, 'prod', 'git', 'owner0/app', 'v1.0.0', 'poll',
                 'succeeded', 1, ?3, ?3, 0)",
            )
            .unwrap()
            .execute(params![id, project, at])
            .unwrap();
        transaction
            .prepare_cached(
                "INSERT INTO attempt (deployment_id, number, started_at, ended_at, output) VALUES (?1, 1, ?2, ?2, 'done')",
            )
            .unwrap()
            .execute(params![id, at])
            .unwrap();
    }
    transaction.commit().unwrap();
}
