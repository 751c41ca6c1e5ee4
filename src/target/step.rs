//! What a deployment does, step by step: plain data, carried out by `deploy`.

use std::path::PathBuf;
use std::time::Duration;

use regex::Regex;

use super::template::{Field, Part, Template};

/// One step of a deployment.
#[derive(Debug)]
pub(crate) enum Step {
    Command(CommandStep),
    Http(HttpStep),
}

/// A program that is run without a shell; exit status 0 is success.
#[derive(Debug)]
pub(crate) struct CommandStep {
    /// The program and its arguments; never empty, no secrets.
    pub(crate) argv: Vec<Template>,
    /// Variables beside the inherited environment and `TAGSHIP_*`.
    pub(crate) env: Vec<(String, Template)>,
    /// Where it runs, and where a program written `./x` is looked for; absolute.
    pub(crate) dir: PathBuf,
    /// From its start until TERM; KILL follows 10 s later.
    pub(crate) timeout: Duration,
}

/// One request to a deploy endpoint; redirects are never followed.
#[derive(Debug)]
pub(crate) struct HttpStep {
    /// Upper case: `POST`.
    pub(crate) method: String,
    pub(crate) url: Template,
    pub(crate) headers: Vec<(String, Template)>,
    pub(crate) body: Body,
    /// For the whole exchange.
    pub(crate) timeout: Duration,
    pub(crate) success: Success,
}

/// What an [`HttpStep`] sends.
#[derive(Debug)]
pub(crate) enum Body {
    /// The documented JSON object with every placeholder but secrets (none for GET and HEAD).
    Standard,
    Json(JsonTemplate),
    Form(Vec<(String, Template)>),
    Text(Template),
}

/// A JSON value whose strings may have placeholders.
#[derive(Debug)]
pub(crate) enum JsonTemplate {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(Template),
    Array(Vec<JsonTemplate>),
    Object(Vec<(String, JsonTemplate)>),
}

/// When an answer means that the step succeeded. All that is given must hold.
#[derive(Debug, Default)]
pub(crate) struct Success {
    /// Empty: any 2xx.
    pub(crate) status: Vec<u16>,
    /// A JSON pointer (RFC 6901) into the body that must exist and not be null.
    pub(crate) pointer: Option<String>,
    /// What the pointer must give.
    pub(crate) equals: Option<serde_json::Value>,
    /// Found anywhere in the body.
    pub(crate) matches: Option<Regex>,
}

impl Step {
    /// Whether what it does depends on the stage by more than the environment of its command.
    pub(crate) fn names_its_stage(&self) -> bool {
        let is_stage = |part: &Part| matches!(part, Part::Field(Field::Stage | Field::Target));
        let is_standard = matches!(self, Step::Http(step) if matches!(step.body, Body::Standard));
        is_standard || self.templates().iter().any(|template| template.parts.iter().any(is_stage))
    }

    fn templates(&self) -> Vec<&Template> {
        match self {
            Step::Command(step) => step.argv.iter().chain(step.env.iter().map(|(_, value)| value)).collect(),
            Step::Http(step) => {
                let headers = step.headers.iter().map(|(_, value)| value);
                std::iter::once(&step.url).chain(headers).chain(step.body.templates()).collect()
            }
        }
    }
}

impl Body {
    /// Whether a secret is anywhere in it.
    pub(crate) fn has_secret(&self) -> bool {
        self.templates().iter().any(|template| template.has_secret())
    }

    fn templates(&self) -> Vec<&Template> {
        match self {
            Body::Standard => Vec::new(),
            Body::Json(json) => json.templates(),
            Body::Form(fields) => fields.iter().map(|(_, value)| value).collect(),
            Body::Text(text) => vec![text],
        }
    }
}

impl JsonTemplate {
    fn templates(&self) -> Vec<&Template> {
        match self {
            JsonTemplate::Null | JsonTemplate::Bool(_) | JsonTemplate::Number(_) => Vec::new(),
            JsonTemplate::Text(text) => vec![text],
            JsonTemplate::Array(values) => values.iter().flat_map(JsonTemplate::templates).collect(),
            JsonTemplate::Object(fields) => fields.iter().flat_map(|(_, value)| value.templates()).collect(),
        }
    }
}
