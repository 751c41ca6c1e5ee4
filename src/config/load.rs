//! Loads a configuration from its files: reads them in order, and checks rules that involve several tables.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::danger::run_by_root;
use super::key::Section;
use super::read::{Field, Findings, Table};
use super::stage::{Defaults, Stage};
use super::step::Reader;
use super::tree::{Node, Source};
use super::used::{programs, secret_programs};
use super::variable::{in_scope, read_vars, texts};
use super::{
    Config, Fault, Faults, Location, PingUrl, RegistryConfig, RegistryKind, SecretSource, Settings,
    StateSetting,
};
use super::{file, notify, registry, source};
use crate::images;
use crate::policy::Order;
use crate::reference::{ImageRef, Repository};
use crate::target::filter::TargetNames;
use crate::target::notifier::Notifier;
use crate::target::template::{Part, Scope, SecretId};
use crate::target::{FirstPoll, Name, Target, TargetId, Vars};

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

/// The stages on a cycle of `after`. `next`: the stage that each stage waits for. Visits each stage once.
fn in_circles<'s>(next: &HashMap<&'s str, &'s str>) -> HashSet<&'s str> {
    let mut circles = HashSet::new();
    // The number of the walk that visited a stage first.
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
        // The walk returned to one of its own stages: a cycle begins there.
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

    fn projects(
        &self,
        registries: &BTreeMap<Name, Option<RegistryConfig>>,
        secrets: &mut BTreeMap<SecretId, SecretSource>,
        defaults: &Defaults<'a>,
        interval: Duration,
    ) -> (Vec<Target>, Vec<images::ImageTable>) {
        let entries = self.named("projects");
        if entries.is_empty() {
            self.main.fault_at(
                0,
                "requires at least one project",
                "write [projects.shop] with registry, image and stages",
            );
        }
        let named_secrets = self.named_secrets();
        // A stage without a valid registry or image is still read, to report its own errors.
        let unknown = RegistryConfig::unknown();
        let placeholder =
            ImageRef { host: String::new(), repository: Repository::new("unknown").expect("a valid name") };
        let (mut targets, mut tables): (Vec<Target>, Vec<images::ImageTable>) = (Vec::new(), Vec::new());
        for (name, field) in entries {
            let Some(table) = field.table(Section::Project) else {
                continue;
            };
            let registry = self.registry_of(&table, registries);
            let images = super::images::read(&table, registry);
            let image = match &images {
                Some(images) => images.as_ref().and_then(|images| images.stand_in(registry?)),
                None => self.image_of(&table, registry),
            };
            let vars = read_vars(table.get("vars").as_ref(), || name.to_string(), secrets);
            // A configuration may have thousands of projects and stages.
            let (shared_vars, shared_texts) = (Rc::new(in_scope(&vars)), Arc::new(texts(&vars)));
            let Some(stages) =
                table.get("stages").and_then(|field| field.any_table()).filter(|stages| !stages.is_empty())
            else {
                table.requires("stages", format!("write [{}.stages.dev]", table.path));
                continue;
            };
            let mut of_project = Vec::new();
            for (text, at, field) in stages.placed_fields() {
                let Some(stage) = field.table(Section::Stage) else {
                    continue;
                };
                let stage_name = match Name::new(text) {
                    Ok(name) => name,
                    Err(error) => {
                        stages.fault_at(at, error.to_string(), "");
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
                of_project.extend(target.filter(|_| registry.is_some() && image.is_some()));
            }
            self.check_after(&stages, &of_project);
            match (images, registry) {
                (Some(Some(images)), Some(registry)) => {
                    tables.push(images.into_table(name, registry, of_project, targets.len()));
                }
                _ => targets.extend(of_project),
            }
        }
        (targets, tables)
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

    fn registry_of<'r>(
        &self,
        table: &Table<'_>,
        registries: &'r BTreeMap<Name, Option<RegistryConfig>>,
    ) -> Option<&'r RegistryConfig> {
        let known = || registries.keys().map(Name::as_str);
        let Some(field) = table.get("registry") else {
            let help = match registries.len() {
                1 => known().map(|name| format!("write registry = {name:?}")).collect(),
                _ => self.found.suggest("", known()),
            };
            table.requires("registry", help);
            return None;
        };
        let text = field.some_text()?;
        match Name::new(text).ok().and_then(|name| registries.get(&name)) {
            Some(registry) => registry.as_ref(),
            // If the configuration has no registry, that is the only error.
            None if registries.is_empty() => None,
            None => {
                field.fault(format!("unknown registry {text:?}"), self.found.suggest(text, known()));
                None
            }
        }
    }

    fn image_of(&self, table: &Table<'_>, registry: Option<&RegistryConfig>) -> Option<ImageRef> {
        let Some(field) = table.get("image") else {
            table.requires(
                "image",
                "write image = \"owner/name\", or images = \"owner/*\" for all images of an owner",
            );
            return None;
        };
        let text = field.some_text()?;
        let repository = match Repository::new(text) {
            Ok(repository) => repository,
            Err(error) => {
                field.fault(error.to_string(), image_help(&field, text));
                return None;
            }
        };
        let registry = registry?;
        let has_owners = matches!(registry.kind, RegistryKind::Gitea | RegistryKind::Github);
        if has_owners && repository.name().is_none() {
            let owner = format!("\"OWNER/{}\"", repository.as_str());
            field.fault(format!("{:?} has no owner", repository.as_str()), field.write(owner));
            return None;
        }
        let image = ImageRef { host: registry.host(), repository };
        if let Some((host, rest)) = image.behind_host() {
            field.warning(format!("{host:?} looks like a host"), field.write(format!("{rest:?}")));
        }
        Some(image)
    }

    /// `after` names a stage of the project, and no two stages wait for each other.
    fn check_after(&self, stages: &Table<'_>, targets: &[Target]) {
        if targets.iter().all(|target| target.gates.after.is_none()) {
            return;
        }
        let known: HashSet<&str> = stages.names().collect();
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
            let (message, help) = if !known.contains(wanted) {
                let others = stages.names().filter(|name| *name != stage);
                (format!("unknown stage {wanted:?}"), self.found.suggest(wanted, others))
            } else if *wanted == stage {
                ("a stage cannot wait for itself".to_owned(), String::new())
            } else if circles.contains(stage) {
                let help = "remove `after` from one of these stages".to_owned();
                (format!("{stage} and {wanted} wait for each other"), help)
            } else {
                continue;
            };
            // The position of the stage's own `after`, else of the default in [settings.stage].
            if let Some(field) = stages.get(stage) {
                let own = field.any_table().and_then(|table| table.get("after"));
                own.unwrap_or(field).fault(message, help);
            }
        }
    }

    /// Reports stages that need a state for a baseline, a gate or an order by first seen, if `state = "none"`.
    fn check_nothing_kept<'t>(
        &self,
        settings: &Settings,
        table: Option<&Table<'_>>,
        targets: impl Iterator<Item = &'t Target>,
        registries: &BTreeMap<Name, Option<RegistryConfig>>,
    ) {
        let (StateSetting::Nothing, Some(table)) = (&settings.state, table) else {
            return;
        };
        let Some(field) = table.get("state") else {
            return;
        };
        for target in targets {
            let has_times =
                registries[&target.registry].as_ref().is_none_or(RegistryConfig::may_have_push_times);
            let Some((what, help)) = needs_state(target, has_times) else {
                continue;
            };
            let message =
                format!("`none` keeps nothing between runs, and {} needs a state for {what}", target.id);
            field.fault(message, format!("write state = \"state.db\"{help}"));
        }
    }

    /// Warns of registries that no project uses, and of a URL that includes the owner of an image.
    fn warn_of_registries<'t>(
        &self,
        registries: &BTreeMap<Name, Option<RegistryConfig>>,
        targets: impl Iterator<Item = &'t Target> + Clone,
    ) {
        if !self.found.faults.borrow().is_empty() {
            return;
        }
        let used: BTreeSet<&Name> = targets.clone().map(|target| &target.registry).collect();
        for (name, field) in self.named("registries") {
            if registries.contains_key(&name) && !used.contains(&name) {
                field.warning("no project uses this registry", "remove it");
            }
            let mut of_registry = targets.clone().filter(|target| target.registry == name);
            if let Some(Some(RegistryConfig { location: Location::Url(url), .. })) = registries.get(&name)
                && let Some(target) = of_registry.find(|target| is_of_owner(url, &target.image))
                && let Some(url_field) = field.any_table().and_then(|table| table.get("url"))
            {
                let mut root = url.clone();
                root.set_path("");
                let root = root.as_str().trim_end_matches('/');
                let image = target.image.repository.as_str();
                let message = format!("the path is also in image = {image:?}");
                url_field.warning(message, url_field.write(format!("{root:?}")));
            }
        }
    }
}

/// The key for which a target needs a state, and the alternative to a state. None: it needs no state.
/// `has_times`: the registry reports push times.
pub(super) fn needs_state(target: &Target, has_times: bool) -> Option<(&'static str, &'static str)> {
    if target.first_poll != FirstPoll::Deploy && target.running.is_none() {
        Some(("a baseline", "; or add `running` or first_poll = \"deploy\" to the stage"))
    } else if target.gates.after.is_some() {
        Some(("`after`", ""))
    } else if target.gates.min_age.is_some() && !has_times {
        Some(("`min_age` (this registry has no push times)", ""))
    } else if target.policy.order() == Order::Newest && !has_times {
        Some(("order = \"newest\" (this registry has no push times)", ""))
    } else {
        None
    }
}

/// The corrected image, if it is known: `acme/shop` for `git.example.com:3000/acme/Shop:v1`.
fn image_help(field: &Field<'_>, text: &str) -> String {
    let path = text.rsplit_once("://").map_or(text, |(_, rest)| rest);
    let path = match path.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) => rest,
        _ => path,
    };
    let path = path.split(['@', ':']).next().unwrap_or_default().trim_matches('/').to_ascii_lowercase();
    match Repository::new(&path) {
        Ok(_) => field.write(format!("{path:?}")),
        Err(_) => "write it without host and tag, such as \"acme/shop\"".to_owned(),
    }
}

/// Whether the path of a registry's URL is the beginning of an image, such as `/acme` for `acme/shop`.
fn is_of_owner(url: &Url, image: &ImageRef) -> bool {
    let path = url.path().trim_matches('/');
    let rest = image.repository.as_str().strip_prefix(path);
    !path.is_empty() && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
