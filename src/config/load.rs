//! Loads a configuration from its files: reads them in order, and checks rules that involve several tables.

pub(super) mod checks;
mod projects;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::danger::run_by_root;
use super::key::Section;
use super::read::{Field, Findings, Table};
use super::stage::Defaults;
use super::step::Reader;
use super::tree::{Node, Source};
use super::used::{programs, secret_programs};
use super::{Config, Fault, Faults, PingUrl, RegistryConfig, SecretSource, Settings, StateSetting};
use super::{file, notify, registry, source};
use crate::images;
use crate::target::filter::TargetNames;
use crate::target::notifier::Notifier;
use crate::target::template::{Part, Scope, SecretId};
use crate::target::{Name, Target};

/// Reads and validates the file and its included files.
///
/// # Errors
/// All of them together.
pub(crate) fn load(path: &Path) -> Result<Config, Faults> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let main = file::read(&path).map_err(|fault| {
        let help = (!path.exists())
            .then(|| "name another file with --config FILE, or create one with: tagship init".to_owned());
        Faults(vec![Fault { help, ..fault }])
    })?;
    validate(path, main)
}

/// Validates the text of a main file before it is written to `path`, an absolute path.
///
/// # Errors
/// All of them together.
pub(crate) fn parse(path: &Path, text: String) -> Result<Config, Faults> {
    validate(path.to_owned(), Source::new(path.to_owned(), text))
}

fn validate(path: PathBuf, main: Source) -> Result<Config, Faults> {
    let root = main.parse().map_err(in_order)?;
    let found = Findings::default();
    let main_table = Table::root(&root, &main, &found);
    let file::Included { sources: included, globs } = match file::included(&main_table) {
        Ok(included) => included,
        Err(faults) => return Err(Faults(faults)),
    };
    let mut nodes: Vec<(&Source, Node<'_>)> = Vec::new();
    let mut syntax = Vec::new();
    for source in &included {
        match source.parse() {
            Ok(node) => nodes.push((source, node)),
            Err(faults) => syntax.extend(faults),
        }
    }
    if !syntax.is_empty() {
        return Err(in_order(syntax));
    }
    let mut tables = vec![main_table.clone()];
    for (source, node) in &nodes {
        let table = Table::root(node, source, &found);
        refuse_main_only(&table);
        tables.push(table);
    }
    let config = Loader { main: &main_table, tables: &tables, found: &found }.load(path);
    let Findings { faults, warnings } = found;
    let (faults, warnings) = (faults.into_inner(), warnings.into_inner());
    if !faults.is_empty() {
        return Err(in_order(faults));
    }
    let Faults(warnings) = in_order(warnings);
    let config = config.expect("without an error there is a configuration");
    let sources = std::iter::once(&main).chain(&included);
    let files: Vec<PathBuf> = sources.map(|source| source.file.clone()).collect();
    let programs: BTreeSet<PathBuf> = programs(&config).collect();
    let mut run: BTreeSet<PathBuf> = secret_programs(&config).collect();
    run.extend(files.iter().chain(&programs).cloned());
    // One warning a folder.
    let dangers: BTreeMap<PathBuf, Fault> =
        run.iter().filter_map(|file| run_by_root(file)).map(|fault| (fault.file.clone(), fault)).collect();
    let dangers = dangers.into_values().collect();
    Ok(Config { files, globs, programs, warnings, dangers, ..config })
}

/// Sorted by file and line, each once: every stage that uses a faulty default reports it.
fn in_order(mut faults: Vec<Fault>) -> Faults {
    let place = |fault: &Fault| fault.place.as_ref().map(|place| (place.line, place.column));
    faults.sort_by(|a, b| (&a.file, place(a), &a.message).cmp(&(&b.file, place(b), &b.message)));
    faults.dedup();
    Faults(faults)
}

fn refuse_main_only(table: &Table<'_>) {
    for name in ["include", "settings", "notify"] {
        if table.get(name).is_some() {
            let message = format!("`{name}` must be in the main file; this file is included");
            table.fault_at(table.at_name(name), message, "");
        }
    }
}

struct Loader<'a> {
    main: &'a Table<'a>,
    /// The main file's first.
    tables: &'a [Table<'a>],
    found: &'a Findings,
}

impl<'a> Loader<'a> {
    fn load(&self, path: PathBuf) -> Option<Config> {
        let settings_table = self.main.get("settings").and_then(|field| field.table(Section::Settings));
        let mut secrets = self.secrets();
        let settings = self.settings(settings_table.as_ref(), &mut secrets);
        let timeout = settings.as_ref().map_or(Duration::from_secs(10), |(settings, _)| settings.timeout);
        let interval = settings.as_ref().map_or(Duration::from_secs(300), |(_, interval)| *interval);
        let registries = self.registries(timeout);
        let defaults = settings_table
            .as_ref()
            .and_then(|table| table.get("stage"))
            .and_then(|field| field.table(Section::Stage));
        if let Some(defaults) = &defaults
            && let Some(vars) = defaults.get("vars")
        {
            vars.fault("`vars` belong to a project or a stage", "");
        }
        let defaults = Defaults::new(defaults);
        let (targets, tables) = self.projects(&registries, &mut secrets, &defaults, interval);
        let notifiers = self.notifiers(&targets, &tables);
        let all = || targets.iter().chain(tables.iter().flat_map(|table| &table.stages));
        self.warn_of_registries(&registries, all());
        let (settings, _) = settings?;
        self.check_nothing_kept(&settings, settings_table.as_ref(), all(), &registries);
        let registries =
            registries.into_iter().filter_map(|(name, registry)| Some((name, registry?))).collect();
        Some(Config {
            path,
            settings,
            registries,
            secrets,
            targets,
            tables,
            discovered: BTreeMap::new(),
            image_faults: BTreeMap::new(),
            notifiers,
            files: Vec::new(),
            globs: Vec::new(),
            programs: BTreeSet::new(),
            warnings: Vec::new(),
            dangers: Vec::new(),
        })
    }

    /// The settings, and the interval of stages without their own.
    fn settings(
        &self,
        table: Option<&Table<'a>>,
        secrets: &mut BTreeMap<SecretId, SecretSource>,
    ) -> Option<(Settings, Duration)> {
        let get = |name: &str| table.and_then(|table| table.get(name));
        let duration = |name: &str, default: u64| {
            get(name).map_or(Some(Duration::from_secs(default)), |field| field.duration())
        };
        let (interval, timeout) = (duration("interval", 300), duration("timeout", 10));
        let (max_runtime, history) = (duration("max_runtime", 600), duration("history", 180 * 24 * 3600));
        let resync = duration("resync", 12 * 3600);
        let parallel_deploys =
            get("parallel_deploys").map_or(Some(4), |field| usize::try_from(field.integer(1, 64)?).ok());
        let folder = self.main.source.file.parent().unwrap_or(Path::new("/"));
        let state = get("state").map_or(Some(StateSetting::Default), |field| {
            Some(match field.some_text()? {
                "none" => StateSetting::Nothing,
                _ => StateSetting::File(field.file_path(folder)?),
            })
        });
        let metrics_file = get("metrics_file").map_or(Some(None), |field| field.file_path(folder).map(Some));
        let scope = Scope { secrets: self.named_secrets(), ..Scope::default() };
        let ping = |field: &Field<'_>| {
            let url = Reader { scope: &scope, folder }.url(field)?;
            let is_fixed = |part: &Part| matches!(part, Part::Literal(_) | Part::Secret(_));
            if url.parts.iter().all(is_fixed) {
                return Some(url);
            }
            field.fault("a run has neither a project nor a tag", "use {secret.NAME} only");
            None
        };
        let ping_url = get("ping_url").map_or(Some(None), |field| {
            if field.is_text() {
                return Some(Some(PingUrl::Convention(ping(&field)?)));
            }
            let table = field.table(Section::Ping)?;
            let url = |name: &str| table.get(name).map_or(Some(None), |field| ping(&field).map(Some));
            let (start, success, failure) = (url("start"), url("success"), url("failure"));
            if table.names().next().is_none() {
                field.fault("expected at least one URL", "write start, success or failure");
                return None;
            }
            Some(Some(PingUrl::AsWritten { start: start?, success: success?, failure: failure? }))
        });
        let webhook = get("webhook").map_or(Some(None), |field| {
            let table = field.table(Section::Webhook)?;
            let Some(secret) = table.get("secret") else {
                table.requires("secret", "write secret = { file = \"webhook-secret\" }");
                return None;
            };
            let source = source::read(&secret, folder)?;
            secrets.insert(SecretId::of_webhooks(), source);
            Some(Some(SecretId::of_webhooks()))
        });
        let settings = Settings {
            metrics_file: metrics_file?,
            webhook: webhook?,
            ping_url: ping_url?,
            state: state?,
            timeout: timeout?,
            max_runtime: max_runtime?,
            parallel_deploys: parallel_deploys?,
            resync: resync?,
            history: history?,
        };
        Some((settings, interval?))
    }

    /// The entries of a table of named tables, from all files. An invalid or repeated name is an error.
    fn named(&self, section: &str) -> Vec<(Name, Field<'a>)> {
        let mut entries: Vec<(Name, Field<'a>)> = Vec::new();
        let mut places: HashMap<&str, (&Source, usize)> = HashMap::new();
        for table in self.tables {
            let Some(all) = table.get(section).and_then(|field| field.any_table()) else {
                continue;
            };
            for (text, at, field) in all.placed_fields() {
                let name = match Name::new(text) {
                    Ok(name) => name,
                    Err(error) => {
                        all.fault_at(at, error.to_string(), "");
                        continue;
                    }
                };
                if let Some((source, earlier)) = places.insert(text, (all.source, at)) {
                    let earlier = format!("{}:{}", source.file.display(), source.line(earlier));
                    all.fault_at(
                        at,
                        format!("`{text}` is already defined at {earlier}"),
                        "rename one of them",
                    );
                    continue;
                }
                entries.push((name, field));
            }
        }
        entries
    }

    fn registries(&self, timeout: Duration) -> BTreeMap<Name, Option<RegistryConfig>> {
        let entries = self.named("registries");
        if entries.is_empty() {
            self.main.fault_at(
                0,
                "requires at least one registry",
                "write [registries.git] with kind = \"gitea\" and url = \"https://…\"",
            );
        }
        entries
            .into_iter()
            .map(|(name, field)| (name.clone(), registry::read(name, &field, timeout)))
            .collect()
    }

    fn secrets(&self) -> BTreeMap<SecretId, SecretSource> {
        let read = |(name, field): (Name, Field<'_>)| {
            let folder = field.source.file.parent().unwrap_or(Path::new("/"));
            Some((SecretId(name.as_str().to_owned()), source::read(&field, folder)?))
        };
        let entries: Vec<Option<(SecretId, SecretSource)>> =
            self.named("secrets").into_iter().map(read).collect();
        entries.into_iter().flatten().collect()
    }

    fn notifiers(&self, targets: &[Target], tables: &[images::ImageTable]) -> Vec<Notifier> {
        let Some(items) = self.main.get("notify").and_then(|field| field.list()) else {
            return Vec::new();
        };
        let secrets = self.named_secrets();
        let open = tables.iter().flat_map(|table| &table.stages).map(|stage| stage.id.stage.as_str());
        let names = TargetNames::new(targets.iter().map(|target| &target.id)).with_open_stages(open);
        let mut notifiers: Vec<Notifier> =
            items.iter().filter_map(|item| notify::read(item, &secrets, &names)).collect();
        // Two entries may have the same url, such as two chats of one API, and differ in the body. The first
        // one keeps its name in the state.
        let mut written: HashMap<String, usize> = HashMap::new();
        for notifier in &mut notifiers {
            let number = written.entry(notifier.receiver.clone()).or_default();
            *number += 1;
            if *number > 1 {
                notifier.receiver = format!("{} #{number}", notifier.receiver);
            }
        }
        notifiers
    }

    fn named_secrets(&self) -> Rc<BTreeSet<&'a str>> {
        let tables = self.tables.iter().filter_map(|table| table.get("secrets")?.any_table());
        Rc::new(tables.flat_map(|table| table.names()).collect())
    }
}
