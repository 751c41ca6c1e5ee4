//! From files to a configuration: what is read, in which order, and what must fit together.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::danger::run_by_root;
use super::key::Section;
use super::read::{Field, Found, Table};
use super::stage::{Defaults, Stage};
use super::step::Reader;
use super::tree::{Node, Source};
use super::used::{programs, secret_programs};
use super::variable::{in_scope, read_vars, texts};
use super::{
    Config, Fault, Faults, Location, PingUrl, RegistryConfig, RegistryKind, SecretSource, Settings,
    StateSetting,
};
use super::{address, file, notify, registry, source};
use crate::policy::Order;
use crate::reference::{ImageRef, Repository};
use crate::target::filter::TargetNames;
use crate::target::notifier::Notifier;
use crate::target::template::{Part, Scope, SecretId};
use crate::target::{FirstPoll, Name, Target, TargetId, Vars};

/// Reads and validates the file and everything that it includes.
///
/// # Errors
/// Every fault at once.
pub(crate) fn load(path: &Path) -> Result<Config, Faults> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let main = file::read(&path).map_err(|fault| {
        let help = (!path.exists())
            .then(|| "name another with --config FILE, or write one with: tagship init".to_owned());
        Faults(vec![Fault { help, ..fault }])
    })?;
    validate(path, main)
}

/// Validates the text of a main file that is yet to be written at `path`, which is absolute.
///
/// # Errors
/// Every fault at once.
pub(crate) fn parse(path: &Path, text: String) -> Result<Config, Faults> {
    validate(path.to_owned(), Source::new(path.to_owned(), text))
}

fn validate(path: PathBuf, main: Source) -> Result<Config, Faults> {
    let root = main.parse().map_err(in_order)?;
    let found = Found::default();
    let main_table = Table::root(&root, &main, &found);
    let included = match file::included(&main_table) {
        Ok(sources) => sources,
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
    let Found { faults, warnings } = found;
    let (faults, warnings) = (faults.into_inner(), warnings.into_inner());
    if !faults.is_empty() {
        return Err(in_order(faults));
    }
    let Faults(warnings) = in_order(warnings);
    let config = config.expect("what is missing has a fault");
    let sources = std::iter::once(&main).chain(&included);
    let files: Vec<PathBuf> = sources.map(|source| source.file.clone()).collect();
    let programs: BTreeSet<PathBuf> = programs(&config).collect();
    let mut run: BTreeSet<PathBuf> = secret_programs(&config).collect();
    run.extend(files.iter().chain(&programs).cloned());
    // One folder is said once.
    let dangers: BTreeMap<PathBuf, Fault> =
        run.iter().filter_map(|file| run_by_root(file)).map(|fault| (fault.file.clone(), fault)).collect();
    let dangers = dangers.into_values().collect();
    Ok(Config { files, programs, warnings, dangers, ..config })
}

/// By file and line, each once: a default that is wrong is found at every stage that it serves.
fn in_order(mut faults: Vec<Fault>) -> Faults {
    faults.sort_by(|a, b| (&a.file, a.line, &a.message).cmp(&(&b.file, b.line, &b.message)));
    faults.dedup();
    Faults(faults)
}

fn refuse_main_only(table: &Table<'_>) {
    for name in ["include", "settings", "notify"] {
        if table.get(name).is_some() {
            table.fault_at(table.at_name(name), format!("{name} may stand in the main file only"), "");
        }
    }
}

/// The stages that wait for themselves, `next` being which each one waits for. Each is visited once.
fn in_circles<'s>(next: &HashMap<&'s str, &'s str>) -> HashSet<&'s str> {
    let mut circles = HashSet::new();
    // By which walk a stage was visited first.
    let mut visited: HashMap<&str, usize> = HashMap::new();
    for (walk, start) in next.keys().enumerate() {
        let mut stage = *start;
        while !visited.contains_key(stage) {
            visited.insert(stage, walk);
            match next.get(stage) {
                Some(following) => stage = following,
                None => break,
            }
        }
        // The walk came back to a stage of its own: from there on it is a circle.
        if visited.get(stage) == Some(&walk) {
            while let Some(following) = next.get(stage)
                && circles.insert(stage)
            {
                stage = following;
            }
        }
    }
    circles
}

struct Loader<'a> {
    main: &'a Table<'a>,
    /// The main file's first.
    tables: &'a [Table<'a>],
    found: &'a Found,
}

impl<'a> Loader<'a> {
    fn load(&self, path: PathBuf) -> Option<Config> {
        let settings_table = self.main.get("settings").and_then(|field| field.table(Section::Settings));
        let settings = self.settings(settings_table.as_ref());
        let timeout = settings.as_ref().map_or(Duration::from_secs(10), |(settings, _)| settings.timeout);
        let interval = settings.as_ref().map_or(Duration::from_secs(300), |(_, interval)| *interval);
        let registries = self.registries(timeout);
        let mut secrets = self.secrets();
        let defaults = settings_table
            .as_ref()
            .and_then(|table| table.get("stage"))
            .and_then(|field| field.table(Section::Stage));
        if let Some(defaults) = &defaults
            && let Some(vars) = defaults.get("vars")
        {
            vars.fault("variables belong to a project or a stage", "");
        }
        let defaults = Defaults::new(defaults);
        let targets = self.projects(&registries, &mut secrets, &defaults, interval);
        let notifiers = self.notifiers(&targets);
        self.warn_of_unused(&registries, &targets);
        let (settings, _) = settings?;
        self.check_nothing_kept(&settings, settings_table.as_ref(), &targets, &registries);
        let registries =
            registries.into_iter().filter_map(|(name, registry)| Some((name, registry?))).collect();
        Some(Config {
            path,
            settings,
            registries,
            secrets,
            targets,
            notifiers,
            files: Vec::new(),
            programs: BTreeSet::new(),
            warnings: Vec::new(),
            dangers: Vec::new(),
        })
    }

    /// The settings, and how often a stage is due where it does not say.
    fn settings(&self, table: Option<&Table<'a>>) -> Option<(Settings, Duration)> {
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
                path => StateSetting::File(folder.join(path)),
            })
        });
        let metrics_file = get("metrics_file")
            .map_or(Some(None), |field| field.some_text().map(|path| Some(folder.join(path))));
        let scope = Scope { secrets: self.named_secrets(), ..Scope::default() };
        let ping = |field: &Field<'_>| {
            let url = Reader { scope: &scope, folder }.url(field)?;
            let is_fixed = |part: &Part| matches!(part, Part::Literal(_) | Part::Secret(_));
            if url.parts.iter().all(is_fixed) {
                return Some(url);
            }
            field.fault("a run is of no project and no tag", "only {secret.NAME} can stand in it");
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
                field.fault("nobody would be told", "write start, success or failure");
                return None;
            }
            Some(Some(PingUrl::AsWritten { start: start?, success: success?, failure: failure? }))
        });
        let settings = Settings {
            metrics_file: metrics_file?,
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

    /// The entries of a table of named things, over all files; a name that is no name or written twice is a fault.
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
                        all.fault_at(at, format!("{section}: {error}"), "");
                        continue;
                    }
                };
                if let Some((source, earlier)) = places.insert(text, (all.source, at)) {
                    let earlier = format!("{}:{}", source.file.display(), source.line(earlier));
                    all.fault_at(
                        at,
                        format!("{section}.{text} is there already, at {earlier}"),
                        "choose another name for one of them",
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
                "there are no registries",
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

    fn projects(
        &self,
        registries: &BTreeMap<Name, Option<RegistryConfig>>,
        secrets: &mut BTreeMap<SecretId, SecretSource>,
        defaults: &Defaults<'a>,
        interval: Duration,
    ) -> Vec<Target> {
        let entries = self.named("projects");
        if entries.is_empty() {
            self.main.fault_at(
                0,
                "there are no projects",
                "write [projects.shop] with registry, image and stages",
            );
        }
        let named_secrets = self.named_secrets();
        // Without its registry or image a stage is read all the same, for its own faults.
        let unknown = RegistryConfig::unknown();
        let placeholder =
            ImageRef { host: String::new(), repository: Repository::new("unknown").expect("a valid name") };
        let mut targets = Vec::new();
        for (name, field) in entries {
            let Some(table) = field.table(Section::Project) else {
                continue;
            };
            let registry = self.registry_of(&table, registries);
            let image = self.image_of(&table, registry);
            let vars = read_vars(table.get("vars").as_ref(), || name.to_string(), secrets);
            // There may be thousands of them, and of stages.
            let (shared_vars, shared_texts) = (Rc::new(in_scope(&vars)), Arc::new(texts(&vars)));
            let Some(stages) =
                table.get("stages").and_then(|field| field.any_table()).filter(|stages| !stages.is_empty())
            else {
                table.fault(
                    format!("{} has no stages", table.path),
                    format!("write [{}.stages.dev]", table.path),
                );
                continue;
            };
            let first = targets.len();
            for (text, at, field) in stages.placed_fields() {
                let Some(stage) = field.table(Section::Stage) else {
                    continue;
                };
                let stage_name = match Name::new(text) {
                    Ok(name) => name,
                    Err(error) => {
                        stages.fault_at(at, format!("{}: {error}", stages.path), "");
                        continue;
                    }
                };
                let whose = || format!("{name}/{stage_name}");
                let own = read_vars(stage.get("vars").as_ref(), whose, secrets);
                let scope = Scope {
                    fields: &[],
                    vars: in_scope(&own),
                    shared_vars: Rc::clone(&shared_vars),
                    secrets: Rc::clone(&named_secrets),
                };
                let vars = Vars { shared: Arc::clone(&shared_texts), own: texts(&own) };
                let id = TargetId { project: name.clone(), stage: stage_name };
                let stage = Stage {
                    table: stage,
                    defaults,
                    registry: registry.unwrap_or(&unknown),
                    scope: &scope,
                    interval,
                };
                let image_or_placeholder = image.as_ref().unwrap_or(&placeholder).clone();
                let target = stage.read(id, image_or_placeholder, vars);
                targets.extend(target.filter(|_| registry.is_some() && image.is_some()));
            }
            self.check_after(&stages, &targets[first..]);
        }
        targets
    }

    fn notifiers(&self, targets: &[Target]) -> Vec<Notifier> {
        let Some(items) = self.main.get("notify").and_then(|field| field.list()) else {
            return Vec::new();
        };
        let secrets = self.named_secrets();
        let names = TargetNames::new(targets.iter().map(|target| &target.id));
        let mut notifiers: Vec<Notifier> =
            items.iter().filter_map(|item| notify::read(item, &secrets, &names)).collect();
        // Two chats of one API have the same url and differ in the body. The first keeps its name in the state.
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

    fn registry_of<'r>(
        &self,
        table: &Table<'_>,
        registries: &'r BTreeMap<Name, Option<RegistryConfig>>,
    ) -> Option<&'r RegistryConfig> {
        let Some(field) = table.get("registry") else {
            table.fault(
                format!("{} has no registry", table.path),
                self.found.suggest("", registries.keys().map(Name::as_str)),
            );
            return None;
        };
        let text = field.some_text()?;
        match Name::new(text).ok().and_then(|name| registries.get(&name)) {
            Some(registry) => registry.as_ref(),
            None => {
                field.fault(
                    format!("there is no registry {text:?}"),
                    self.found.suggest(text, registries.keys().map(Name::as_str)),
                );
                None
            }
        }
    }

    fn image_of(&self, table: &Table<'_>, registry: Option<&RegistryConfig>) -> Option<ImageRef> {
        let Some(field) = table.get("image") else {
            table.fault(format!("{} has no image", table.path), "write image = \"owner/name\"");
            return None;
        };
        let repository = match Repository::new(field.some_text()?) {
            Ok(repository) => repository,
            Err(error) => {
                field.fault(error.to_string(), "write it without host and tag, such as \"acme/shop\"");
                return None;
            }
        };
        let registry = registry?;
        let has_owners = matches!(registry.kind, RegistryKind::Gitea | RegistryKind::Github);
        if has_owners && repository.name().is_none() {
            field.fault(
                format!("{:?} has no owner", repository.as_str()),
                "on Gitea, Forgejo and GitHub write \"owner/name\"",
            );
            return None;
        }
        let host = match &registry.location {
            // As people and container engines call it.
            Location::Url(url)
                if registry.kind == RegistryKind::Dockerhub
                    && url.host_str() == Some("registry-1.docker.io") =>
            {
                "docker.io".to_owned()
            }
            Location::Url(url) => address::host(url),
            Location::Folder(_) => String::new(),
        };
        Some(ImageRef { host, repository })
    }

    /// `after` names a stage of the project, and no two wait for each other.
    fn check_after(&self, stages: &Table<'_>, targets: &[Target]) {
        let places: HashMap<&str, usize> = stages.placed_fields().map(|(name, at, _)| (name, at)).collect();
        let next: HashMap<&str, &str> = targets
            .iter()
            .filter_map(|target| {
                Some((target.id.stage.as_str(), target.gates.after.as_ref()?.stage.as_str()))
            })
            .collect();
        let circles = in_circles(&next);
        for target in targets {
            let stage = target.id.stage.as_str();
            let Some(wanted) = next.get(stage) else {
                continue;
            };
            let at = places.get(stage).copied().unwrap_or(stages.at);
            let path = format!("{}.{stage}.after", stages.path);
            if !places.contains_key(wanted) {
                stages.fault_at(
                    at,
                    format!("{path}: there is no stage {wanted:?}"),
                    self.found.suggest(wanted, stages.names()),
                );
            } else if circles.contains(stage) {
                stages.fault_at(at, format!("{path}: the stages wait for each other"), "");
            }
        }
    }

    /// `state = "none"` cannot remember what a baseline, a gate or an order by first sight needs.
    fn check_nothing_kept(
        &self,
        settings: &Settings,
        table: Option<&Table<'_>>,
        targets: &[Target],
        registries: &BTreeMap<Name, Option<RegistryConfig>>,
    ) {
        let (StateSetting::Nothing, Some(table)) = (&settings.state, table) else {
            return;
        };
        let at = table.at_name("state");
        for target in targets {
            let has_times =
                registries[&target.registry].as_ref().is_none_or(RegistryConfig::may_have_push_times);
            let Some(what) = needs_state(target, has_times) else {
                continue;
            };
            table.fault_at(
                at,
                format!("state = \"none\" keeps nothing between runs, and {}: {what}", target.id),
                "name a file",
            );
        }
    }

    fn warn_of_unused(&self, registries: &BTreeMap<Name, Option<RegistryConfig>>, targets: &[Target]) {
        if !self.found.faults.borrow().is_empty() {
            return;
        }
        let used: BTreeSet<&Name> = targets.iter().map(|target| &target.registry).collect();
        for (name, field) in self.named("registries") {
            if registries.contains_key(&name) && !used.contains(&name) {
                field.warning("no project uses this registry", "");
            }
        }
    }
}

/// Why a target cannot be polled without a state, if so. `has_times`: its registry reports push times.
pub(super) fn needs_state(target: &Target, has_times: bool) -> Option<&'static str> {
    if target.first_poll != FirstPoll::Deploy && target.running.is_none() {
        Some("every stage needs running or first_poll = \"deploy\"")
    } else if target.gates.after.is_some() {
        Some("after needs to know what a stage ran")
    } else if target.gates.min_age.is_some() && !has_times {
        Some(
            "min_age needs to know when a tag was first seen, for the registry does not tell when it was pushed",
        )
    } else if target.policy.order() == Order::Newest && !has_times {
        Some(
            "order = \"newest\" needs to know when a tag was first seen, for the registry does not tell when it was pushed",
        )
    } else {
        None
    }
}
