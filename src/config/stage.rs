//! `[projects.NAME.stages.NAME]`, with the defaults of `[settings.stage]`.

use std::cell::{OnceCell, RefCell};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::civil::{Time, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use strum::VariantNames as _;

use super::key::{DAYS, OTHER_ORDERS, Section};
use super::read::{Field, Table, nearest};
use super::step::Reader;
use super::{RegistryConfig, RegistryKind};
use crate::policy::{Bump, InvalidRule, Order, Policy, Rule};
use crate::reference::{ImageRef, Repository};
use crate::target::gate::{After, Gates, Window};
use crate::target::lint::list;
use crate::target::probe::Probe;
use crate::target::retry::Retry;
use crate::target::step::Step;
use crate::target::template::Scope;
use crate::target::{FirstPoll, Name, OnFailure, Target, TargetId, Vars};

/// A stage's table and its defaults.
pub(super) struct Stage<'a> {
    pub(super) table: Table<'a>,
    pub(super) defaults: &'a Defaults<'a>,
    pub(super) registry: &'a RegistryConfig,
    pub(super) scope: &'a Scope<'a>,
    pub(super) interval: Duration,
}

/// `[settings.stage]` and the values read from it. Stages without their own keys share them.
#[derive(Default)]
pub(super) struct Defaults<'a> {
    table: Option<Table<'a>>,
    /// The kind of registry decides which globs are valid.
    policies: RefCell<Vec<(RegistryKind, Arc<Policy>)>>,
    deploy: OnceCell<Arc<[Step]>>,
}

impl<'a> Defaults<'a> {
    pub(super) fn new(table: Option<Table<'a>>) -> Defaults<'a> {
        Defaults { table, ..Defaults::default() }
    }
}

impl<'a> Stage<'a> {
    /// None: it has an error.
    pub(super) fn read(&self, id: TargetId, image: ImageRef, vars: Vars) -> Option<Target> {
        let policy = self.policy();
        let poll = self.boolean("poll", true);
        let auto_deploy = self.boolean("auto_deploy", true);
        let allow_downgrade = self.boolean("allow_downgrade", false);
        let digest = self.boolean("digest", false);
        let first_poll = self
            .get("first_poll")
            .map_or(Some(FirstPoll::Baseline), |field| field.word("word", FirstPoll::VARIANTS, &[]));
        let on_failure = self
            .get("on_failure")
            .map_or(Some(OnFailure::Keep), |field| field.word("word", OnFailure::VARIANTS, &[]));
        let interval = self.get("interval").map_or(Some(self.interval), |field| field.duration());
        let gates = self.gates(policy.as_deref().map(Policy::order));
        let deploy = self.deploy();
        let (retry, running) = (self.retry(), self.running());
        Some(Target {
            id,
            registry: self.registry.name.clone(),
            image,
            policy: policy?,
            poll: poll?,
            auto_deploy: auto_deploy?,
            first_poll: first_poll?,
            on_failure: on_failure?,
            allow_downgrade: allow_downgrade?,
            digest: digest?,
            gates: gates?,
            interval: interval?,
            vars,
            deploy: deploy?,
            retry: retry?,
            running: running?,
        })
    }

    /// The stage's own key, else the default.
    fn get(&self, name: &str) -> Option<Field<'a>> {
        self.table.get(name).or_else(|| self.defaults.table.as_ref()?.get(name))
    }

    /// Reports a required key that is missing here and in the defaults.
    fn requires(&self, key: &str, help: &str) {
        if !self.defaults.table.as_ref().is_some_and(|table| table.has_instead_of(key)) {
            self.table.requires(key, help);
        }
    }

    fn boolean(&self, name: &str, default: bool) -> Option<bool> {
        self.get(name).map_or(Some(default), |field| field.boolean())
    }

    fn policy(&self) -> Option<Arc<Policy>> {
        const KEYS: [&str; 6] = ["tags", "exclude", "regex", "order", "range", "prerelease"];
        if self.table.names().any(|name| KEYS.contains(&name)) {
            return self.read_policy().map(Arc::new);
        }
        let kind = self.registry.kind;
        let mut shared = self.defaults.policies.borrow_mut();
        if let Some((_, policy)) = shared.iter().find(|(of, _)| *of == kind) {
            return Some(Arc::clone(policy));
        }
        let policy = Arc::new(self.read_policy()?);
        shared.push((kind, Arc::clone(&policy)));
        Some(policy)
    }

    fn read_policy(&self) -> Option<Policy> {
        let tags = self.tags();
        let exclude = self.get("exclude").map_or(Some(Vec::new()), |field| self.globs(&field));
        let order = self.order();
        let text = |name: &str| {
            self.get(name).map_or(Some(None), |field| field.some_text().map(|text| Some(text.to_owned())))
        };
        let (regex, range) = (text("regex"), text("range"));
        let prerelease = self.boolean("prerelease", false);
        let (tags, exclude) = (tags?, exclude?);
        let Some(order) = order else {
            // The rest of the rule is checked even if the order is missing.
            let rule = Rule { tags, exclude, regex: regex.flatten(), ..Rule::default() };
            self.check(&rule);
            return None;
        };
        self.check(&Rule { tags, exclude, regex: regex?, order, range: range?, prerelease: prerelease? })
    }

    fn check(&self, rule: &Rule) -> Option<Policy> {
        let wrong = match Policy::new(rule) {
            Ok(policy) => return Some(policy),
            Err(wrong) => wrong,
        };
        for InvalidRule { key, message, help } in wrong {
            match self.get(key) {
                Some(field) => field.fault(message, help),
                None => self.table.fault(format!("{key}: {message}"), help),
            }
        }
        None
    }

    fn tags(&self) -> Option<Vec<String>> {
        const EVERY: &str = "write tags = \"*\" for every tag";
        let Some(field) = self.get("tags") else {
            self.requires("tags", "write a glob such as tags = \"v*\", or tags = \"*\" for every tag");
            return None;
        };
        let globs = self.globs(&field)?;
        if globs.is_empty() || globs.iter().any(String::is_empty) {
            field.fault("an empty glob matches no tag", EVERY);
            return None;
        }
        Some(globs)
    }

    fn globs(&self, field: &Field<'_>) -> Option<Vec<String>> {
        let items = if field.is_list() { field.list()? } else { vec![field.clone()] };
        let globs: Vec<Option<String>> = items
            .iter()
            .map(|item| {
                let glob = item.text()?;
                let upper = glob.chars().any(|character| character.is_ascii_uppercase());
                if upper && self.registry.kind == RegistryKind::Gitea {
                    item.fault(
                        format!("{glob:?} matches no tag: Gitea and Forgejo store tags in lower case"),
                        item.write(format!("{:?}", glob.to_ascii_lowercase())),
                    );
                    return None;
                }
                Some(glob.to_owned())
            })
            .collect();
        globs.into_iter().collect()
    }

    fn order(&self) -> Option<Order> {
        let Some(field) = self.get("order") else {
            self.requires(
                "order",
                "write order = \"newest\" (by push time), \"semver\", \"numeric\" or \"alphabetical\"",
            );
            return None;
        };
        field.word("order", Order::VARIANTS, OTHER_ORDERS)
    }

    fn deploy(&self) -> Option<Arc<[Step]>> {
        // Not shared: each stage has its own variables.
        let has_vars = !self.scope.vars.is_empty() || !self.scope.shared_vars.is_empty();
        let is_shared = !has_vars && self.table.names().all(|name| name != "deploy");
        match self.defaults.deploy.get().filter(|_| is_shared) {
            Some(steps) => Some(Arc::clone(steps)),
            None => {
                let steps: Arc<[Step]> = self.read_deploy()?.into();
                if is_shared {
                    // The cell is empty, because this is its only writer.
                    let _ = self.defaults.deploy.set(Arc::clone(&steps));
                }
                Some(steps)
            }
        }
    }

    fn read_deploy(&self) -> Option<Vec<Step>> {
        let Some(field) = self.get("deploy") else {
            self.requires(
                "deploy",
                "write deploy = { command = [\"./deploy.sh\", \"{tag}\"] } or deploy = { url = \"https://…\" }",
            );
            return None;
        };
        let folder = field.source.file.parent().unwrap_or(Path::new("/"));
        Reader { scope: self.scope, folder }.steps(&field)
    }

    fn retry(&self) -> Option<Retry> {
        let Some(field) = self.get("retry") else {
            return Some(Retry::default());
        };
        let table = field.table(Section::Retry)?;
        let default = Retry::default();
        let attempts = table
            .get("attempts")
            .map_or(Some(default.attempts), |field| u32::try_from(field.integer(1, 1000)?).ok());
        let duration = |name: &str, default| table.get(name).map_or(Some(default), |field| field.duration());
        let (backoff, max_backoff) =
            (duration("backoff", default.backoff), duration("max_backoff", default.max_backoff));
        let mut retry = Retry { attempts: attempts?, backoff: backoff?, max_backoff: max_backoff? };
        if table.get("max_backoff").is_none() {
            retry.max_backoff = retry.max_backoff.max(retry.backoff);
        }
        if retry.max_backoff < retry.backoff {
            field.fault("`max_backoff` is shorter than `backoff`", "");
            return None;
        }
        Some(retry)
    }

    fn running(&self) -> Option<Option<Probe>> {
        let verify_timeout = self.get("verify_timeout");
        let verify_timeout = verify_timeout.map_or(Some(Duration::from_secs(300)), |field| field.duration());
        let Some(field) = self.get("running") else {
            return verify_timeout.map(|_| None);
        };
        let folder = field.source.file.parent().unwrap_or(Path::new("/"));
        let (probe, pointer) = Reader { scope: self.scope, folder }.probe(&field)?;
        Some(Some(Probe { probe, pointer, verify_timeout: verify_timeout? }))
    }

    fn gates(&self, order: Option<Order>) -> Option<Gates> {
        // Zero removes the gate of [settings.stage].
        let min_age = self.get("min_age").map_or(Some(None), |field| {
            field.duration_or_zero().map(|age| Some(age).filter(|age| !age.is_zero()))
        });
        let after = self.get("after").map_or(Some(None), |field| after(&field).map(Some));
        let with = self.get("with").map_or(Some(Vec::new()), |field| repositories(&field));
        let platforms = self.get("platforms").map_or(Some(Vec::new()), |field| platforms(&field));
        let max_bump = self.get("max_bump").map_or(Some(None), |field| {
            let bump = field.word("bump", Bump::VARIANTS, &[])?;
            if order.is_some_and(|order| order != Order::Semver) {
                field.fault("requires order = \"semver\"", "");
                return None;
            }
            // The largest step there is: no limit.
            Some(Some(bump).filter(|bump| *bump != Bump::Major))
        });
        let steps = self.get("gate").map_or(Some(Vec::new()), |field| {
            let folder = field.source.file.parent().unwrap_or(Path::new("/"));
            Reader { scope: self.scope, folder }.gates(&field)
        });
        let windows = self.get("window").map_or(Some(Vec::new()), |field| windows(&field));
        Some(Gates {
            min_age: min_age?,
            after: after?,
            with: with?,
            platforms: platforms?,
            max_bump: max_bump?,
            steps: steps?,
            windows: windows?,
        })
    }
}

fn after(field: &Field<'_>) -> Option<After> {
    if let Some(stage) = field.is_text().then(|| field.shown()) {
        let stage = stage.filter(|text| Name::new(text).is_ok()).unwrap_or("dev");
        field.expected("a table", field.write(format!("{{ stage = {stage:?}, for = \"24h\" }}")));
        return None;
    }
    let table = field.table(Section::After)?;
    let missing = |name: &str| {
        table.requires(name, field.write("{ stage = \"dev\", for = \"24h\" }"));
    };
    let stage = match table.get("stage") {
        Some(stage) => stage
            .some_text()
            .and_then(|text| Name::new(text).map_err(|error| stage.fault(error.to_string(), "")).ok()),
        None => {
            missing("stage");
            None
        }
    };
    let lasting = match table.get("for") {
        Some(lasting) => lasting.duration_or_zero(),
        None => {
            missing("for");
            None
        }
    };
    Some(After { stage: stage?, lasting: lasting? })
}

fn repositories(field: &Field<'_>) -> Option<Vec<Repository>> {
    let read = |item: &Field<'_>| match Repository::new(item.text()?) {
        Ok(repository) => Some(repository),
        Err(error) => {
            item.fault(error.to_string(), "write it without host and tag, such as \"acme/shop-worker\"");
            None
        }
    };
    let repositories: Vec<Option<Repository>> = field.list()?.iter().map(read).collect();
    repositories.into_iter().collect()
}

fn platforms(field: &Field<'_>) -> Option<Vec<String>> {
    let read = |item: &Field<'_>| {
        let text = item.text()?;
        let parts: Vec<&str> = text.split('/').collect();
        let is_word = |part: &&str| {
            !part.is_empty()
                && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'.')
        };
        if (2..=3).contains(&parts.len()) && parts.iter().all(is_word) {
            return Some(text.to_owned());
        }
        let linux = ["amd64", "arm64", "386", "arm/v7", "ppc64le", "s390x", "riscv64"].contains(&text);
        let help = match linux {
            true => item.write(format!("\"linux/{text}\"")),
            false => "write it as \"linux/amd64\" or \"linux/arm64/v8\"".to_owned(),
        };
        item.fault(format!("expected a platform, found {text:?}"), help);
        None
    };
    let platforms: Vec<Option<String>> = field.list()?.iter().map(read).collect();
    platforms.into_iter().collect()
}

fn windows(field: &Field<'_>) -> Option<Vec<Window>> {
    // An empty list removes the windows of [settings.stage].
    let windows: Vec<Option<Window>> = field.list()?.iter().map(window).collect();
    windows.into_iter().collect()
}

fn window(field: &Field<'_>) -> Option<Window> {
    const EVERY_DAY: [Weekday; 7] = [
        Weekday::Monday,
        Weekday::Tuesday,
        Weekday::Wednesday,
        Weekday::Thursday,
        Weekday::Friday,
        Weekday::Saturday,
        Weekday::Sunday,
    ];
    let table = field.table(Section::Window)?;
    let days = table.get("days").map_or(Some(EVERY_DAY.to_vec()), |field| {
        if field.is_text() {
            let days = field.text().and_then(days_of).unwrap_or_else(|| vec![DAYS[0], DAYS[1]]);
            field.expected("a list of days", field.write(list(&days)));
            return None;
        }
        let days: Vec<Option<Weekday>> = field.list()?.iter().map(weekday).collect();
        if days.is_empty() {
            field.fault("a window without days never opens", "remove `days` for every day");
            return None;
        }
        days.into_iter().collect()
    });
    let from = clock(&table, "from", field);
    let to = match table.get("to") {
        Some(to) if to.is_text() && to.text() == Some("24:00") => Some(None),
        _ => clock(&table, "to", field).map(Some),
    };
    let zone = table.get("timezone").map_or(Some(TimeZone::UTC), |field| zone(&field));
    Some(Window { days: days?, from: from?, to: to?, zone: zone? })
}

fn weekday(field: &Field<'_>) -> Option<Weekday> {
    let text = field.text()?;
    let Some(day) = DAYS.iter().position(|day| *day == text) else {
        let help = match days_of(text) {
            Some(days) => days.iter().map(|day| format!("{day:?}")).collect::<Vec<_>>().join(", "),
            None => DAYS.map(|day| format!("{day:?}")).join(", "),
        };
        field.fault(format!("unknown day {text:?}"), format!("write {help}"));
        return None;
    };
    Weekday::from_monday_zero_offset(i8::try_from(day).ok()?).ok()
}

/// Days in other notations: `monday`, `Mon-Fri`, `mon,tue`, `weekdays`.
fn days_of(text: &str) -> Option<Vec<&'static str>> {
    const NAMES: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let lower = text.to_ascii_lowercase();
    match lower.as_str() {
        "weekdays" | "workdays" => return Some(DAYS[..5].to_vec()),
        "weekend" => return Some(DAYS[5..].to_vec()),
        "daily" | "*" => return Some(DAYS.to_vec()),
        _ => {}
    }
    let day = |word: &str| NAMES.iter().position(|name| word.len() >= 2 && name.starts_with(word));
    let mut days = Vec::new();
    for part in lower.split([',', ' ']).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        let span = (last + 7 - first) % 7;
        days.extend((first..=first + span).map(|day| DAYS[day % 7]));
    }
    Some(days).filter(|days| !days.is_empty())
}

/// `09:00`
fn clock(table: &Table<'_>, name: &str, window: &Field<'_>) -> Option<Time> {
    let Some(field) = table.get(name) else {
        table.requires(name, window.write("{ days = [\"Mon\"], from = \"09:00\", to = \"16:00\" }"));
        return None;
    };
    let text = field.text()?;
    let time = text.split_once(':').and_then(|(hour, minute)| {
        let is_two = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        let parsed = || Some((hour.parse().ok()?, minute.parse().ok()?));
        let (hour, minute) = parsed().filter(|_| is_two(hour) && is_two(minute))?;
        Time::new(hour, minute, 0, 0).ok()
    });
    if time.is_none() {
        let help = field.write(format!("{:?}", time_meant(text).unwrap_or("09:00".to_owned())));
        field.fault(format!("expected a time of day, found {text:?}"), help);
    }
    time
}

/// `09:00` for `9:00`, `9` and `9am`.
fn time_meant(text: &str) -> Option<String> {
    let lower = text.trim().to_ascii_lowercase();
    let (digits, is_pm) = match (lower.strip_suffix("am"), lower.strip_suffix("pm")) {
        (Some(digits), _) => (digits.trim(), Some(false)),
        (_, Some(digits)) => (digits.trim(), Some(true)),
        _ => (lower.as_str(), None),
    };
    let (hour, minute) = digits.split_once([':', '.']).unwrap_or((digits, "0"));
    let (hour, minute): (i8, i8) = (hour.parse().ok()?, minute.parse().ok()?);
    let hour = match is_pm {
        Some(is_pm) => (1..=12).contains(&hour).then_some(hour % 12 + if is_pm { 12 } else { 0 })?,
        None => hour,
    };
    Time::new(hour, minute, 0, 0).is_ok().then(|| format!("{hour:02}:{minute:02}"))
}

/// Looks the zone up in the system's database, then in the built-in one: a system may have no zones, or only
/// some.
fn zone(field: &Field<'_>) -> Option<TimeZone> {
    let name = field.some_text()?;
    if let Ok(zone) = TimeZone::get(name).or_else(|_| TimeZoneDatabase::bundled().get(name)) {
        return Some(zone);
    }
    let meant = zone_meant(name);
    let help = match meant.as_slice() {
        [] => "write a name of the IANA database, such as \"Europe/Berlin\" or \"UTC\"".to_owned(),
        [one] => field.write(format!("{one:?}")),
        several => format!("write one of {}", list(several)),
    };
    field.fault(format!("unknown time zone {name:?}"), help);
    None
}

/// The zones that were probably intended, at most three: `Europe/Berlin` for `Berlin`.
fn zone_meant(name: &str) -> Vec<String> {
    let names: Vec<String> =
        TimeZoneDatabase::bundled().available().map(|name| name.as_str().to_owned()).collect();
    let wanted = name.replace(' ', "_").to_ascii_lowercase();
    let is_city = |zone: &&String| {
        let zone = zone.to_ascii_lowercase();
        zone == wanted || zone.rsplit('/').next() == wanted.rsplit('/').next()
    };
    let cities: Vec<String> = names.iter().filter(is_city).take(3).cloned().collect();
    if !cities.is_empty() {
        return cities;
    }
    // Zones with names similar to `CEST` or `UTC+1` have other offsets.
    let has_lower_case = name.contains(|character: char| character.is_ascii_lowercase());
    if !name.contains('/') && (!has_lower_case || name.contains(|character: char| character.is_ascii_digit()))
    {
        return Vec::new();
    }
    let known: Vec<&str> = names.iter().map(String::as_str).collect();
    nearest(name, &known).into_iter().map(str::to_owned).collect()
}
