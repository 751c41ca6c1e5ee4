//! Shared fixtures of the deployment tests.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Mutex;
use std::time::Duration;

use secrecy::SecretString;

use super::step_secrets::StepSecrets;
use super::{DeployRequest, Outcome, Patience, Stop, Watch, carry_out};
use crate::mask::{Cut, Masks, Redactor};
use crate::policy::{Policy, Rule};
use crate::reference::{ImageRef, Labels, Repository, Tag};
use crate::secret::SecretError;
use crate::target::retry::Retry;
use crate::target::step::Step;
use crate::target::template::{Scope, SecretId, Template, Var};
use crate::target::{FirstPoll, Name, OnFailure, Target, TargetId, Vars};

pub(super) const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
pub(super) const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// Secrets by name.
pub(super) struct KnownSecrets {
    values: BTreeMap<String, String>,
    masks: Masks,
    pub(super) environment: Vec<String>,
}

impl KnownSecrets {
    pub(super) fn none() -> KnownSecrets {
        KnownSecrets::new(&[])
    }

    pub(super) fn new(values: &[(&str, &str)]) -> KnownSecrets {
        let mut masks = Masks::default();
        values.iter().for_each(|(_, value)| masks.add(value));
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        KnownSecrets { values, masks, environment: Vec::new() }
    }
}

impl Redactor for KnownSecrets {
    fn find(&self, text: &str, cut: Cut) -> Vec<Range<usize>> {
        self.masks.find(text, cut)
    }
}

impl StepSecrets for KnownSecrets {
    fn get(&self, id: &SecretId) -> Result<SecretString, SecretError> {
        let value = self.values.get(&id.0).cloned();
        value.map(SecretString::from).ok_or_else(|| SecretError::from(format!("{id} is missing")))
    }

    fn environment_names(&self) -> Vec<String> {
        self.environment.clone()
    }
}

pub(super) fn target(deploy: Vec<Step>) -> Target {
    let name = |text| Name::new(text).unwrap();
    Target {
        id: TargetId { project: name("shop"), stage: name("dev") },
        registry: name("git"),
        image: ImageRef {
            host: "git.example.com".to_owned(),
            repository: Repository::new("acme/shop").unwrap(),
        },
        policy: Policy::new(&Rule { tags: vec!["*".to_owned()], ..Rule::default() }).unwrap().into(),
        poll: true,
        auto_deploy: true,
        first_poll: FirstPoll::Baseline,
        on_failure: OnFailure::Keep,
        allow_downgrade: false,
        digest: false,
        gates: crate::target::gate::Gates::default(),
        interval: Duration::from_secs(300),
        vars: Vars { own: BTreeMap::from([("app".to_owned(), Some("a b".to_owned()))]), ..Vars::default() },
        deploy: deploy.into(),
        retry: Retry::default(),
        running: None,
    }
}

pub(super) fn request<'a>(target: &'a Target, tag: &'a Tag) -> DeployRequest<'a> {
    static NONE: Labels = Labels::new();
    let (labels, deployment_id) = (&NONE, ID);
    DeployRequest { target, tag, digest: None, labels, previous_tag: None, deployment_id, attempt: 3 }
}

/// Parses a template. `{var.app}` is "a b"; every `{secret.…}` in the text is known.
pub(super) fn template(text: &str) -> Template {
    let secrets = text.split("{secret.").skip(1).filter_map(|rest| Some(rest.split_once('}')?.0));
    let vars = BTreeMap::from([("app", Var::Text("a b"))]);
    Template::parse(text, &Scope { vars, secrets: Rc::new(secrets.collect()), ..Scope::default() }).unwrap()
}

/// What a test deploys with; a test may replace any field.
pub(super) struct Rig {
    pub(super) secrets: KnownSecrets,
    pub(super) lock: File,
    pub(super) stop: Stop,
    pub(super) patience: Patience,
}

impl Rig {
    pub(super) fn new() -> Rig {
        Rig {
            secrets: KnownSecrets::none(),
            lock: tempfile::tempfile().unwrap(),
            stop: Stop::default(),
            patience: Patience {
                grace: Duration::from_millis(300),
                linger: Some(Duration::from_millis(300)),
            },
        }
    }

    /// Deploys `v2` after `v1`. Returns the outcome and the lines that were passed on.
    pub(super) fn deploy(&self, steps: Vec<Step>) -> (Outcome, Vec<String>) {
        let target = target(steps);
        let (tag, previous) = (Tag::new("v2").unwrap(), Tag::new("v1").unwrap());
        let request = DeployRequest { previous_tag: Some(&previous), ..request(&target, &tag) };
        let lines = Mutex::new(Vec::new());
        let on_output = |text: &str| lines.lock().unwrap().extend(text.lines().map(str::to_owned));
        let watch = Watch { on_output: Some(&on_output), ..Watch::NOBODY };
        let outcome = carry_out(&request, &self.secrets, &self.lock, &self.stop, self.patience, watch);
        (outcome, lines.into_inner().unwrap())
    }
}
