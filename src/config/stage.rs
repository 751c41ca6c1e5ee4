//! `[projects.NAME.stages.NAME]`, with the defaults of `[settings.stage]`.

use std::cell::{OnceCell, RefCell};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use strum::VariantNames as _;

use super::key::{OTHER_ORDERS, Section};
use super::read::{Field, Table};
use super::step::Reader;
use super::window::windows;
use super::{RegistryConfig, RegistryKind};
use crate::policy::{Bump, InvalidRule, Order, Policy, Rule};
use crate::reference::{ImageRef, Repository};
use crate::target::gate::{After, Gates};
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
