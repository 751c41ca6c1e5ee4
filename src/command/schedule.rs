//! `tagship schedule`: prints a crontab line, units, manifests or a workflow for this configuration.

mod job;

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, bail};

use super::{Exit, load, user_name};
use crate::cli::{self, Global, Scheduler};
use crate::config::Config;
use crate::file;
use crate::report::Console;
use crate::schedule::{self, Account, Cluster, File};
use job::{job, text};

/// Prints the text, or writes the units.
///
/// # Errors
/// An error in the configuration, or a file already exists.
pub(crate) fn schedule(
    global: &Global,
    arguments: &cli::Schedule,
    console: &Console,
) -> anyhow::Result<Exit> {
    let config = load(global)?;
    let job = job(global, &config)?;
    match &arguments.what {
        Scheduler::Cron => console.data(&schedule::crontab(&job, &host())),
        Scheduler::Systemd { dir } => {
            let account = if rustix::process::geteuid().is_root() {
                Account::Service
            } else {
                let number = || rustix::process::geteuid().as_raw().to_string();
                Account::Named(user_name().unwrap_or_else(number))
            };
            let units = schedule::units(&job, &account);
            match dir {
                Some(dir) => write(dir, &units, console)?,
                None => {
                    for (name, text) in units {
                        console.data(&format!("# {name}\n{text}"));
                    }
                }
            }
        }
        Scheduler::Kubernetes { image, namespace, shards } => {
            let cluster = Cluster {
                image: image.clone(),
                namespace: namespace.clone(),
                shards: *shards,
                files: files(&config)?,
            };
            let text = schedule::manifests(&job, &cluster).map_err(anyhow::Error::msg)?;
            console.data(text.trim_end());
        }
        Scheduler::GiteaActions { steps } => {
            let root = root(&config.path)?;
            let text = if *steps {
                schedule::steps(&job, &root)
            } else {
                schedule::workflow(&job, &root, root.rsplit('/').next().unwrap_or_default())
            };
            console.data(text.trim_end());
        }
    }
    Ok(Exit::Done)
}

fn host() -> String {
    whoami::hostname().unwrap_or_default()
}

/// The files of the configuration, and the scripts below its folder that it runs.
fn files(config: &Config) -> anyhow::Result<Vec<File>> {
    let folder = config.path.parent().unwrap_or(Path::new("/"));
    let below = |path: &Path| {
        let plain: PathBuf = path.components().collect();
        let below = plain.strip_prefix(folder).ok()?;
        below.components().all(|part| matches!(part, Component::Normal(_))).then(|| below.to_owned())
    };
    let mut files = Vec::new();
    for path in &config.files {
        let below = below(path).with_context(|| {
            format!(
                "{} is not below {}; a ConfigMap contains only the main file and files below its folder",
                path.display(),
                folder.display()
            )
        })?;
        let content = content(path).with_context(|| format!("{} cannot be read", path.display()))?;
        files.push(File { path: text(&below)?, text: content, is_program: false });
    }
    // A program that is not text, or not on this machine, belongs to the image.
    for path in &config.programs {
        if let (Some(below), Ok(content)) = (below(path), content(path)) {
            files.push(File { path: text(&below)?, text: content, is_program: true });
        }
    }
    Ok(files)
}

/// The text of a file. It may be too large for a ConfigMap.
fn content(path: &Path) -> io::Result<String> {
    const LONGEST: u64 = 32 * 1024 * 1024;
    String::from_utf8(file::read(path, LONGEST)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not valid UTF-8"))
}

/// The root of the file's repository, or the file's own folder without a repository.
fn root(config: &Path) -> anyhow::Result<String> {
    let mut folders = config.ancestors().skip(1);
    let own = config.parent().unwrap_or(Path::new("/"));
    text(folders.find(|folder| folder.join(".git").exists()).unwrap_or(own))
}

/// Writes units, unless files with their names exist.
fn write(dir: &Path, units: &[(&str, String)], console: &Console) -> anyhow::Result<()> {
    let paths: Vec<PathBuf> = units.iter().map(|(name, _)| dir.join(name)).collect();
    if let Some(path) = paths.iter().find(|path| path.symlink_metadata().is_ok()) {
        bail!(
            "{} already exists; nothing was written; move it away, or omit --dir to print the text",
            path.display()
        );
    }
    fs::create_dir_all(dir).with_context(|| format!("could not create {}", dir.display()))?;
    for (path, (_, text)) in paths.iter().zip(units) {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .with_context(|| format!("could not write {}", path.display()))?;
        console.message(&format!("wrote {}", path.display()));
    }
    console.message("next: systemctl daemon-reload && systemctl enable --now tagship.timer");
    Ok(())
}
