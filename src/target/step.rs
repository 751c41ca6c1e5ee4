//! The steps of a deployment. Plain data; `deploy` runs them.

use std::path::PathBuf;
use std::time::Duration;

use regex::Regex;

use super::template::{AnswerPointer, DeploymentField, Part, SecretId, Template};

/// One step of a deployment.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Command(CommandStep),
    Http(Box<HttpStep>),
}

impl From<HttpStep> for Step {
    fn from(step: HttpStep) -> Step {
        Step::Http(Box::new(step))
    }
}

/// A program run without a shell; exit status 0 is success.
#[derive(Clone, Debug)]
pub(crate) struct CommandStep {
    /// The program and its arguments; never empty, no secrets.
    pub(crate) argv: Vec<Template>,
    /// Variables in addition to the inherited environment and `TAGSHIP_*`.
    pub(crate) env: Vec<(String, Template)>,
    /// The folder it runs in, and that `./x` is relative to; absolute.
    pub(crate) dir: PathBuf,
    /// From its start to TERM; KILL follows 10 s later.
    pub(crate) timeout: Duration,
}

/// One request to a deploy endpoint; redirects are never followed.
#[derive(Clone, Debug)]
pub(crate) struct HttpStep {
    /// Upper case: `POST`.
    pub(crate) method: String,
    pub(crate) url: Template,
    pub(crate) headers: Vec<(String, Template)>,
    pub(crate) body: Body,
    /// For one request and its response.
    pub(crate) timeout: Duration,
    pub(crate) sign: Sign,
    /// Repeat the request until its response says that the work is over.
    pub(crate) until: Option<Until>,
    pub(crate) success: Success,
}

/// The secrets that sign a request; several while one replaces another.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sign {
    /// For `X-Hub-Signature-256`.
    pub(crate) github: Vec<SecretId>,
    /// For the headers of Standard Webhooks.
    pub(crate) standard_webhooks: Vec<SecretId>,
}

/// When the work that an endpoint queued is over, whether it succeeded or failed.
#[derive(Clone, Debug)]
pub(crate) struct Until {
    /// A JSON pointer (RFC 6901) into the response.
    pub(crate) pointer: String,
    /// The work is over when the pointer gives one of these.
    pub(crate) values: Vec<serde_json::Value>,
    /// The pause between a response and the next request.
    pub(crate) every: Duration,
    /// From the first request to the response that says so.
    pub(crate) within: Duration,
}

/// What an [`HttpStep`] sends.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// The documented JSON object with every placeholder but secrets (none for GET and HEAD).
    Standard,
    Json(JsonTemplate),
    Form(Vec<(String, Template)>),
    Text(Template),
}

/// A JSON value whose strings may contain placeholders.
#[derive(Clone, Debug)]
pub(crate) enum JsonTemplate {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(Template),
    Array(Vec<JsonTemplate>),
    Object(Vec<(String, JsonTemplate)>),
}

/// When a response means that the step succeeded. Every condition that is given must hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Success {
    /// Empty: any 2xx.
    pub(crate) status: Vec<u16>,
    /// A JSON pointer (RFC 6901) into the body that must exist and not be null.
    pub(crate) pointer: Option<String>,
    /// The value that the pointer must give.
    pub(crate) equals: Option<serde_json::Value>,
    /// Text anywhere in the body.
    pub(crate) matches: Option<Regex>,
}

impl Step {
    /// Whether the step names its stage, not counting the environment of its command.
    pub(crate) fn names_its_stage(&self) -> bool {
        let is_stage =
            |part: &Part| matches!(part, Part::Field(DeploymentField::Stage | DeploymentField::Target));
        let is_standard = matches!(self, Step::Http(step) if matches!(step.body, Body::Standard));
        is_standard || self.templates().iter().any(|template| template.parts.iter().any(is_stage))
    }

    /// The values that it uses from the responses of other steps.
    pub(crate) fn answers(&self) -> impl Iterator<Item = &AnswerPointer> {
        self.parts().filter_map(|part| match part {
            Part::Answer(answer) => Some(answer),
            _ => None,
        })
    }

    /// Those of [`Step::answers`] that are credentials, by their use (in a header, in a variable of a
    /// command, or together with a secret) or by their name in the response.
    pub(crate) fn credentials(&self) -> impl Iterator<Item = &AnswerPointer> {
        let hidden = match self {
            Step::Command(step) => &step.env,
            Step::Http(step) => &step.headers,
        };
        let is_hidden = |template: &Template| {
            template.has_secret() || hidden.iter().any(|(_, value)| std::ptr::eq(value, template))
        };
        self.templates().into_iter().flat_map(move |template| {
            let is_hidden = is_hidden(template);
            template.parts.iter().filter_map(move |part| match part {
                Part::Answer(answer) if is_hidden || answer.names_a_credential() => Some(answer),
                _ => None,
            })
        })
    }

    /// The parts of all its templates.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &Part> {
        self.templates().into_iter().flat_map(|template| &template.parts)
    }

    /// The program, or the address without its query, as written in the configuration, without secrets.
    pub(crate) fn shown(&self) -> String {
        let template = match self {
            Step::Command(step) => step.argv.first(),
            Step::Http(step) => Some(&step.url),
        };
        let part = |part: &Part| match part {
            Part::Literal(text) | Part::Var(text) => text.clone(),
            Part::Field(_) | Part::Secret(_) | Part::Answer(_) => "…".to_owned(),
        };
        let shown: String = template.iter().flat_map(|template| &template.parts).map(part).collect();
        match self {
            Step::Command(_) => shown,
            Step::Http(_) => shown.split('?').next().unwrap_or_default().to_owned(),
        }
    }

    /// The longest time it can take, without the grace period after TERM.
    pub(crate) fn longest(&self) -> Duration {
        match self {
            Step::Command(step) => step.timeout,
            Step::Http(step) => step.until.as_ref().map_or(step.timeout, |until| until.within),
        }
    }

    pub(super) fn templates(&self) -> Vec<&Template> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn request(body: Body) -> HttpStep {
        HttpStep {
            method: "GET".to_owned(),
            url: Template { parts: Vec::new() },
            headers: Vec::new(),
            body,
            timeout: Duration::from_secs(7),
            sign: Sign::default(),
            until: None,
            success: Success::default(),
        }
    }

    #[test]
    fn longest_time_of_a_step_includes_the_wait_for_its_work() {
        let seconds = Duration::from_secs;
        let command = CommandStep { argv: Vec::new(), env: Vec::new(), dir: "/".into(), timeout: seconds(5) };
        assert_eq!(Step::Command(command).longest(), seconds(5));
        assert_eq!(Step::from(request(Body::Standard)).longest(), seconds(7));
        let (every, within) = (seconds(1), seconds(600));
        let until = Some(Until { pointer: String::new(), values: Vec::new(), every, within });
        assert_eq!(Step::from(HttpStep { until, ..request(Body::Standard) }).longest(), seconds(600));
    }

    #[test]
    fn step_names_its_stage_in_any_template() {
        let command = |argv, env| {
            let (dir, timeout) = ("/".into(), Duration::ZERO);
            Step::Command(CommandStep { argv, env, dir, timeout })
        };
        let plain =
            || Template { parts: vec![Part::Literal("x".to_owned()), Part::Field(DeploymentField::Tag)] };
        let text = || Body::Text(plain());
        for named in [DeploymentField::Stage, DeploymentField::Target] {
            let stage = || Template { parts: vec![Part::Literal("x".to_owned()), Part::Field(named)] };
            let field = || ("a".to_owned(), stage());
            let json = JsonTemplate::Array(vec![JsonTemplate::Null, JsonTemplate::Text(stage())]);
            for step in [
                command(vec![plain(), stage()], Vec::new()),
                command(vec![plain()], vec![field()]),
                HttpStep { url: stage(), ..request(text()) }.into(),
                HttpStep { headers: vec![field()], ..request(text()) }.into(),
                request(Body::Text(stage())).into(),
                request(Body::Form(vec![field()])).into(),
                request(Body::Json(JsonTemplate::Object(vec![("a".to_owned(), json)]))).into(),
                request(Body::Standard).into(),
            ] {
                assert!(step.names_its_stage(), "{step:?}");
            }
        }
        assert!(!command(vec![plain()], vec![("a".to_owned(), plain())]).names_its_stage());
        assert!(!Step::from(request(text())).names_its_stage());
    }

    #[test]
    fn answers_of_a_step_and_secrets_of_a_body_are_found() {
        let answer = AnswerPointer { step: 1, pointer: "/id".to_owned() };
        let secret = Part::Secret(SecretId("key".to_owned()));
        let url = Template { parts: vec![Part::Literal("x".to_owned()), Part::Answer(answer.clone())] };
        let step = Step::from(HttpStep { url, ..request(Body::Text(Template { parts: vec![secret] })) });
        assert_eq!(step.answers().collect::<Vec<_>>(), [&answer]);
        let Step::Http(step) = step else { panic!("it is a request") };
        assert!(step.body.has_secret() && !step.url.has_secret() && !Body::Standard.has_secret());
    }
}
