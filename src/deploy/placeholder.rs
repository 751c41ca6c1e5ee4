//! Renders templates, by the place where each is used.

use std::borrow::Cow;
use std::cell::RefCell;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use url::form_urlencoded;

use super::step_secrets::StepSecrets;
use super::{DeployError, DeployRequest};
use crate::engine::{ErrorCode, Failure};
use crate::reference::{Digest, Labels, Tag};
use crate::target::Target;
use crate::target::path::{climbing, push_encoded};
use crate::target::step::{JsonTemplate, Step};
use crate::target::template::{AnswerPointer, DeploymentField, Part, SecretId, Template};

/// The values of the placeholders in one attempt.
pub(super) struct Values<'a> {
    pub(super) target: &'a Target,
    pub(super) subject: Subject<'a>,
    pub(super) secrets: &'a dyn StepSecrets,
    /// The responses of the steps so far, as JSON; None: before the first step, and placeholders for them are
    /// empty.
    pub(super) answers: Option<&'a [Option<Value>]>,
    pub(super) unfit: Unfit,
}

/// How to treat an outside value that is not valid in its place, or a missing label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It is an error: a deployment must not do anything unintended.
    Refused,
    /// It is changed until it fits: a notification must arrive.
    Replaced,
}

/// The subject of a deployment or notification; each field is optional.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Subject<'a> {
    pub(super) tag: Option<&'a Tag>,
    pub(super) digest: Option<&'a Digest>,
    /// Of the image, where a step uses one.
    pub(super) labels: Option<&'a Labels>,
    pub(super) previous_tag: Option<&'a Tag>,
    pub(super) deployment_id: Option<&'a str>,
    pub(super) attempt: Option<u32>,
    /// The ID by which a receiver recognises a repeated request.
    pub(super) id: Option<&'a str>,
    /// In a notification: the event, the error, and the time.
    pub(super) status: Option<&'a str>,
    pub(super) error: Option<&'a str>,
    pub(super) time: Option<Timestamp>,
    /// The web page of the tag, or of the image if there is no tag.
    pub(super) page: Option<&'a str>,
    /// A notification of several events, with one line for each.
    pub(super) batch: Option<Batch<'a>>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Batch<'a> {
    pub(super) count: usize,
    pub(super) lines: &'a str,
}

impl<'a> Values<'a> {
    pub(super) fn of(
        request: &'a DeployRequest<'a>,
        secrets: &'a dyn StepSecrets,
        answers: Option<&'a [Option<Value>]>,
    ) -> Values<'a> {
        let DeployRequest { target, tag, digest, labels, previous_tag, deployment_id, attempt } = *request;
        let subject = Subject {
            tag: Some(tag),
            digest,
            labels: Some(labels),
            previous_tag,
            deployment_id: Some(deployment_id),
            attempt: Some(attempt),
            id: Some(deployment_id),
            ..Subject::default()
        };
        Values { target, subject, secrets, answers, unfit: Unfit::Refused }
    }
}

impl Values<'_> {
    /// The value of a placeholder; None: there is none (no digest, no previous tag).
    pub(super) fn field(&self, field: DeploymentField) -> Option<Cow<'_, str>> {
        let target = self.target;
        let Subject { tag, digest, previous_tag, deployment_id, attempt, batch, .. } = self.subject;
        Some(match field {
            DeploymentField::Project => target.id.project.as_str().into(),
            DeploymentField::Stage => target.id.stage.as_str().into(),
            DeploymentField::Target => target.id.to_string().into(),
            DeploymentField::Registry => target.registry.as_str().into(),
            DeploymentField::Repository => target.image.repository.as_str().into(),
            DeploymentField::Image => target.image.with_tag(tag?).into(),
            DeploymentField::Tag => tag?.as_str().into(),
            DeploymentField::Digest => digest?.as_str().into(),
            DeploymentField::ImageDigest => target.image.with_digest(digest?).into(),
            DeploymentField::PreviousTag => previous_tag?.as_str().into(),
            DeploymentField::DeploymentId => deployment_id?.into(),
            DeploymentField::Attempt => attempt?.to_string().into(),
            DeploymentField::Status => self.subject.status?.into(),
            DeploymentField::Error => self.subject.error?.into(),
            DeploymentField::Time => format!("{:.0}", self.subject.time?).into(),
            DeploymentField::Url => match self.subject.page {
                Some(page) => page.into(),
                None => tag.map_or_else(|| target.image.to_string(), |tag| target.image.with_tag(tag)).into(),
            },
            DeploymentField::Count => batch?.count.to_string().into(),
            DeploymentField::Lines => batch?.lines.into(),
        })
    }

    /// The text unchanged, for text bodies.
    pub(super) fn plain(&self, template: &Template) -> Result<String, DeployError> {
        self.render(template, |value, text| text.push_str(value))
    }

    /// For arguments and environment variables.
    ///
    /// # Errors
    /// A value has a zero byte, which neither of them can contain.
    pub(super) fn argument(&self, template: &Template) -> Result<String, DeployError> {
        let argument = self.render(template, |value, text| match self.unfit {
            Unfit::Refused => text.push_str(value),
            Unfit::Replaced => text.push_str(&value.replace('\0', " ")),
        })?;
        if argument.contains('\0') {
            let message =
                "an argument or environment variable contains a zero byte; does a label of the image?";
            return Err(DeployError::before_start(ErrorCode::Command, message.to_owned()));
        }
        Ok(argument)
    }

    /// Values percent-encoded; literals and secrets verbatim.
    ///
    /// # Errors
    /// A value changes the path of the template.
    pub(super) fn url(&self, template: &Template) -> Result<String, DeployError> {
        let values = RefCell::new(Vec::new());
        let mut url = self.render(template, |value, url| {
            let start = url.len();
            push_encoded(value, url);
            values.borrow_mut().push(start..url.len());
        })?;
        // Before the first step, there is no response.
        let is_complete =
            self.answers.is_some() || !template.parts.iter().any(|part| matches!(part, Part::Answer(_)));
        for segment in climbing(&url, &values.into_inner()).into_iter().rev().filter(|_| is_complete) {
            if self.unfit == Unfit::Refused {
                return Err(DeployError::before_start(
                    ErrorCode::Http,
                    format!(
                        "{}: cannot be sent: a value makes a path segment `.` or `..`, which changes the path",
                        self.shown_url(template)
                    ),
                ));
            }
            let undotted = url[segment.clone()].replace('.', "_").replace("%2e", "_").replace("%2E", "_");
            url.replace_range(segment, &undotted);
        }
        // The URL parser would silently remove tabs and line breaks, and with them part of a secret.
        if url.chars().any(char::is_control) {
            return Err(DeployError::before_start(
                ErrorCode::Http,
                "the URL contains control characters: check its variables and secrets".to_owned(),
            ));
        }
        Ok(url)
    }

    /// The URL for messages: without secrets, user and fragment, and without the query's values if one is a
    /// secret.
    pub(super) fn shown_url(&self, template: &Template) -> String {
        let mut url = String::new();
        for part in &template.parts {
            match part {
                Part::Literal(literal) => url.push_str(literal),
                Part::Field(field) => push_encoded(&self.field(*field).unwrap_or_default(), &mut url),
                Part::Var(value) => push_encoded(value, &mut url),
                Part::Secret(_) => url.push_str(MASK),
                Part::Label(name) => push_encoded(self.label(name).unwrap_or_default(), &mut url),
                Part::Answer(answer) => push_encoded(&self.answer(answer).unwrap_or_default(), &mut url),
            }
        }
        let url = url.split('#').next().unwrap_or_default();
        let (path, query) = url.split_once('?').map_or((url, None), |(path, query)| (path, Some(query)));
        let mut shown = without_user(path);
        if let Some(query) = query {
            shown.push('?');
            shown.push_str(&if query.contains(MASK) { without_values(query) } else { query.to_owned() });
        }
        self.secrets.mask(&shown)
    }

    /// The value of the header `name`.
    ///
    /// # Errors
    /// The value contains control characters. The error names the header, not the value.
    pub(super) fn header(&self, name: &str, template: &Template) -> Result<String, DeployError> {
        let value = self.render(template, |value, text| match self.unfit {
            Unfit::Refused => text.push_str(value),
            Unfit::Replaced => text.push_str(&without_control(value)),
        })?;
        if value.chars().any(char::is_control) {
            return Err(DeployError::before_start(
                ErrorCode::Http,
                format!("the value of the header {name} contains control characters (a line break?)"),
            ));
        }
        Ok(value)
    }

    /// Placeholders are parts of string values, so that their values cannot change the structure.
    pub(super) fn json(&self, template: &JsonTemplate) -> Result<Value, DeployError> {
        Ok(match template {
            JsonTemplate::Null => Value::Null,
            JsonTemplate::Bool(value) => Value::Bool(*value),
            JsonTemplate::Number(value) => Value::Number(value.clone()),
            JsonTemplate::Text(text) => Value::String(self.plain(text)?),
            JsonTemplate::Array(items) => {
                Value::Array(items.iter().map(|item| self.json(item)).collect::<Result<_, _>>()?)
            }
            JsonTemplate::Object(members) => {
                let members = members.iter().map(|(name, value)| Ok((name.clone(), self.json(value)?)));
                Value::Object(members.collect::<Result<_, DeployError>>()?)
            }
        })
    }

    /// `application/x-www-form-urlencoded`
    pub(super) fn form(&self, fields: &[(String, Template)]) -> Result<String, DeployError> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        for (name, template) in fields {
            form.append_pair(name, &self.plain(template)?);
        }
        Ok(form.finish())
    }

    /// The documented body: every placeholder except secrets by its word; null: there is no value.
    pub(super) fn standard_json(&self) -> Value {
        let (of_target, of_notification): (&[DeploymentField], &[DeploymentField]) = match self.subject {
            Subject { batch: Some(_), .. } => (&[], &DeploymentField::OF_BATCH),
            Subject { status: Some(_), .. } => (&DeploymentField::ALL, &DeploymentField::OF_NOTIFICATION),
            _ => (&DeploymentField::ALL, &[]),
        };
        let fields = of_target.iter().chain(of_notification).map(|field| {
            let field = *field;
            let value = match field {
                DeploymentField::Attempt => Value::from(self.subject.attempt),
                DeploymentField::Count => Value::from(self.subject.batch.map(|batch| batch.count)),
                _ => self.field(field).map_or(Value::Null, |text| Value::from(text.into_owned())),
            };
            (field.word().to_owned(), value)
        });
        let mut object: Map<String, Value> = fields.collect();
        if self.subject.batch.is_some() {
            return Value::Object(object);
        }
        let vars = self.target.vars.plain().map(|(name, value)| (name.to_owned(), Value::from(value)));
        object.insert("vars".to_owned(), Value::Object(vars.collect()));
        Value::Object(object)
    }

    /// `TAGSHIP_PROJECT` and the others; empty: there is no value. A batch has none, because it has several
    /// targets.
    pub(super) fn environment(&self) -> impl Iterator<Item = (String, String)> + '_ {
        DeploymentField::ALL.into_iter().filter(|_| self.subject.batch.is_none()).map(|field| {
            let name = format!("TAGSHIP_{}", field.word().to_ascii_uppercase());
            (name, self.field(field).unwrap_or_default().into_owned())
        })
    }

    fn render(
        &self,
        template: &Template,
        push_value: impl Fn(&str, &mut String),
    ) -> Result<String, DeployError> {
        let mut text = String::new();
        for part in &template.parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Field(field) => push_value(&self.field(*field).unwrap_or_default(), &mut text),
                Part::Var(value) => push_value(value, &mut text),
                Part::Secret(id) => text.push_str(self.secret(id)?.expose_secret()),
                Part::Label(name) => push_value(self.label(name)?, &mut text),
                Part::Answer(answer) => push_value(&self.answer(answer)?, &mut text),
            }
        }
        Ok(text)
    }

    /// # Errors
    /// The secret cannot be read; nothing was started.
    pub(super) fn secret(&self, id: &SecretId) -> Result<SecretString, DeployError> {
        self.secrets.get(id).map_err(|error| DeployError {
            interrupted: error.interrupted,
            ..DeployError::before_start(ErrorCode::Secret, self.secrets.mask(&error.to_string()))
        })
    }

    /// # Errors
    /// The image lacks the label; nothing was started.
    fn label(&self, name: &str) -> Result<&str, DeployError> {
        let Subject { tag, labels, .. } = self.subject;
        match labels.and_then(|labels| labels.get(name)) {
            Some(value) => Ok(value),
            None if self.unfit == Unfit::Replaced => Ok(""),
            None => {
                let image = &self.target.image;
                let image = tag.map_or_else(|| image.to_string(), |tag| image.with_tag(tag));
                Err(DeployError::before_start(ErrorCode::NotFound, lacks(&image, name)))
            }
        }
    }

    /// The value at a pointer in an earlier step's answer.
    ///
    /// # Errors
    /// There is no value, or it is not text, a number or a boolean.
    fn answer(&self, AnswerPointer { step, pointer }: &AnswerPointer) -> Result<String, DeployError> {
        let Some(answers) = self.answers else {
            return Ok(String::new());
        };
        let fault = |what: &str| {
            let message = format!("the answer of step {step} {what} {pointer}, which a later step needs");
            DeployError::failed(ErrorCode::Http, message)
        };
        let answer = answers
            .get(step - 1)
            .and_then(Option::as_ref)
            .ok_or_else(|| fault("is not JSON, so it has no"))?;
        let found = answer.pointer(pointer).ok_or_else(|| fault("does not have"))?;
        scalar(found).ok_or_else(|| fault("has no text or number at"))
    }
}

/// The first label that a deployment to the target uses and the image of this tag lacks.
pub(crate) fn missing_label(target: &Target, tag: &Tag, labels: &Labels) -> Option<Failure> {
    let name = target.deploy.iter().flat_map(Step::labels).find(|name| !labels.contains_key(*name))?;
    Some(Failure { code: ErrorCode::NotFound, message: lacks(&target.image.with_tag(tag), name) })
}

fn lacks(image: &str, label: &str) -> String {
    format!("{image} has no label {label:?}; set it when the image is built, or remove {{label.{label}}}")
}

/// The value of an answer as text. None: it is not text, a number or a boolean.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

/// Removes terminal colours, and replaces other control characters by blanks.
fn without_control(value: &str) -> String {
    let text = anstream::adapter::strip_str(value).to_string();
    text.replace(char::is_control, " ")
}

/// Replaces a secret in messages.
pub(super) const MASK: &str = "***";

/// `https://me:password@host/path` as `https://***@host/path`
fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{MASK}@{host}{path}"),
        None => url.to_owned(),
    }
}

/// `a=1&b` as `a=***&***`
fn without_values(query: &str) -> String {
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) => format!("{name}={MASK}"),
        None => MASK.to_owned(),
    });
    pairs.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests;
