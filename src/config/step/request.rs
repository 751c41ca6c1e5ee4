//! Steps that are a request: method, URL, headers, body and signature.

use std::collections::HashSet;
use std::time::Duration;

use super::{Reader, duration};
use crate::config::address;
use crate::config::answer::{NO_DATES, number, success, until};
use crate::config::key::Section;
use crate::config::read::{Field, Table};
use crate::config::tree::{Entry, Node, Value};
use crate::target::path::{climbing, push_encoded};
use crate::target::step::{Body, HttpStep, JsonTemplate, Sign, Success};
use crate::target::template::{Part, SecretId, Template};

const HTTP_TIMEOUT: Duration = Duration::from_secs(30);

impl Reader<'_> {
    pub(super) fn http(&self, table: &Table<'_>) -> Option<HttpStep> {
        let method = table.get("method").map_or(Some("POST".to_owned()), |field| method(&field));
        let headers = table.get("headers").map_or(Some(Vec::new()), |field| self.headers(&field));
        let body = self.body(table);
        let timeout = duration(table, "timeout", HTTP_TIMEOUT);
        let sign = table.get("sign").map_or(Some(Sign::default()), |field| self.sign(&field));
        let until = table.get("until").map_or(Some(None), |field| until(&field).map(Some));
        let success = table.get("success").map_or(Some(Success::default()), |field| success(&field));
        let field = table.get("url")?;
        let url = self.url(&field);
        let (method, url, headers, body) = (method?, url?, headers?, body?);
        if matches!(method.as_str(), "GET" | "HEAD")
            && let Some(given) = ["json", "form", "body"].iter().find_map(|name| table.get(name))
        {
            given.fault(format!("a {method} request has no body"), "use another method, or remove the body");
            return None;
        }
        let has_secret =
            url.has_secret() || headers.iter().any(|(_, value)| value.has_secret()) || body.has_secret();
        check_plain_http(&field, &url, has_secret)?;
        let (timeout, sign, until, success) = (timeout?, sign?, until?, success?);
        Some(HttpStep { method, url, headers, body, timeout, sign, until, success })
    }

    fn sign(&self, field: &Field<'_>) -> Option<Sign> {
        let table = field.table(Section::Sign)?;
        let secrets = |name: &str| table.get(name).map_or(Some(Vec::new()), |field| self.secrets(&field));
        let sign = Sign { github: secrets("github")?, standard_webhooks: secrets("standard_webhooks")? };
        if sign.github.is_empty() && sign.standard_webhooks.is_empty() {
            field.fault(
                "requires `github` or `standard_webhooks`",
                "write { github = \"NAME\" } with a name of [secrets]",
            );
            return None;
        }
        Some(sign)
    }

    /// One name of `[secrets]`, or a list of them.
    fn secrets(&self, field: &Field<'_>) -> Option<Vec<SecretId>> {
        let items = if field.is_list() { field.list()? } else { vec![field.clone()] };
        if items.is_empty() {
            field.fault("expected at least one secret", "write a name of [secrets]");
            return None;
        }
        let read = |item: &Field<'_>| {
            let name = item.some_text()?;
            if self.scope.secrets.contains(name) {
                return Some(SecretId(name.to_owned()));
            }
            let known = self.scope.secrets.iter().copied();
            let help = item.found.suggest(name, known);
            item.fault(format!("[secrets] has no {name:?}"), help);
            None
        };
        let secrets: Vec<Option<SecretId>> = items.iter().map(read).collect();
        secrets.into_iter().collect()
    }

    /// Checks that scheme and host are literal, unless the whole url is one secret.
    pub(in crate::config) fn url(&self, field: &Field<'_>) -> Option<Template> {
        field.some_text()?;
        let template = self.template(field)?;
        let head = match template.parts.as_slice() {
            [Part::Secret(_)] => return Some(template),
            [Part::Literal(head), ..] => head,
            _ => "",
        };
        let after_scheme = head.split_once("://").map_or("", |(_, rest)| rest);
        let host_is_literal = template.parts.len() == 1 || after_scheme.contains(['/', '?']);
        if !host_is_literal {
            field.fault(
                "scheme and host cannot have placeholders",
                "use placeholders after the host, or one secret as the whole url",
            );
            return None;
        }
        let has_fragment = |part: &Part| matches!(part, Part::Literal(text) if text.contains('#'));
        if template.parts.iter().any(has_fragment) {
            field.fault("`#` and the text after it are never sent", "write %23, or remove it");
            return None;
        }
        if leads_elsewhere(&template) {
            field.fault(
                "a variable makes a path segment `.` or `..`, which changes the path",
                "write the path itself",
            );
            return None;
        }
        // Placeholders have values only at a deployment, so only the literal part is checked.
        if let Err(wrong) = address::parse(head) {
            field.fault(wrong, address::help(field, "deploy.example.com"));
            return None;
        }
        Some(template)
    }

    fn headers(&self, field: &Field<'_>) -> Option<Vec<(String, Template)>> {
        let pairs = self.pairs(field)?;
        let table = field.any_table()?;
        let mut written = HashSet::new();
        for ((name, template), (_, value)) in pairs.iter().zip(table.fields()) {
            if !written.insert(name.to_ascii_lowercase()) {
                value.fault("this header is already defined with other upper or lower case", "write it once");
                return None;
            }
            if name.is_empty()
                || !name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
            {
                value.fault("not a valid header name", "");
                return None;
            }
            let has_control = |part: &Part| matches!(part, Part::Literal(text) | Part::Var(text) if text.chars().any(char::is_control));
            if template.parts.iter().any(has_control) {
                value.fault("a header value cannot have control characters", "");
                return None;
            }
            let is_credential = ["authorization", "x-api-key", "private-token", "x-auth-token"];
            if is_credential.contains(&name.to_ascii_lowercase().as_str())
                && template.parts.iter().all(|part| matches!(part, Part::Literal(_)))
            {
                value.warning(
                    "this looks like a secret in the file",
                    "move it to [secrets] and write {secret.NAME}",
                );
            }
        }
        Some(pairs)
    }

    fn body(&self, table: &Table<'_>) -> Option<Body> {
        let given: Vec<Field<'_>> =
            ["json", "form", "body"].iter().filter_map(|name| table.get(name)).collect();
        match given.as_slice() {
            [] => Some(Body::Standard),
            [_] => match (table.get("json"), table.get("form")) {
                (Some(json), _) => self.json(json.node, &json).map(Body::Json),
                (None, Some(form)) => self.pairs(&form).map(Body::Form),
                (None, None) => self.template(&table.get("body")?).map(Body::Text),
            },
            [first, second, ..] => {
                second.fault(
                    format!("a request has only one body; {} is a second one", first.path),
                    "remove one of them",
                );
                None
            }
        }
    }

    fn json(&self, node: &Node<'_>, field: &Field<'_>) -> Option<JsonTemplate> {
        let refuse = |what: &str| field.fault(format!("JSON has no {what}"), "write it as text");
        Some(match &node.value {
            Value::Null => JsonTemplate::Null,
            Value::Bool(value) => JsonTemplate::Bool(*value),
            Value::Integer(value) => JsonTemplate::Number((*value).into()),
            Value::Float(value) => JsonTemplate::Number(number(*value).map_err(refuse).ok()?),
            Value::Moment => {
                refuse(NO_DATES);
                return None;
            }
            Value::Text(text) => JsonTemplate::Text(self.parse(text, field)?),
            Value::List(values) => JsonTemplate::Array(
                values.iter().map(|value| self.json(value, field)).collect::<Option<_>>()?,
            ),
            Value::Table(entries) => {
                let pair = |entry: &Entry<'_>| Some((entry.name.to_string(), self.json(&entry.node, field)?));
                JsonTemplate::Object(entries.iter().map(pair).collect::<Option<_>>()?)
            }
        })
    }

    pub(super) fn pairs(&self, field: &Field<'_>) -> Option<Vec<(String, Template)>> {
        let table = field.any_table()?;
        let pairs: Vec<Option<(String, Template)>> =
            table.fields().map(|(name, value)| Some((name.to_owned(), self.template(&value)?))).collect();
        pairs.into_iter().collect()
    }
}

/// Whether a variable makes a segment of the URL's path `.` or `..`.
fn leads_elsewhere(url: &Template) -> bool {
    let (mut text, mut vars) = (String::new(), Vec::new());
    for part in &url.parts {
        match part {
            Part::Literal(literal) => text.push_str(literal),
            Part::Var(value) => {
                let start = text.len();
                push_encoded(value, &mut text);
                vars.push(start..text.len());
            }
            // The value of a secret is not known yet.
            Part::Field(_) | Part::Secret(_) | Part::Label(_) | Part::Answer(_) => text.push('x'),
        }
    }
    !climbing(&text, &vars).is_empty()
}

fn method(field: &Field<'_>) -> Option<String> {
    let text = field.some_text()?;
    let method = text.to_ascii_uppercase();
    if ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"].contains(&method.as_str()) {
        return Some(method);
    }
    field.fault("unknown method", "write GET, POST, PUT, PATCH or DELETE");
    None
}

/// A secret over plain HTTP is an error, any other request a warning.
fn check_plain_http(field: &Field<'_>, url: &Template, has_secret: bool) -> Option<()> {
    let Some(Part::Literal(head)) = url.parts.first() else {
        return Some(());
    };
    if !head.starts_with("http://") || address::parse(head).is_ok_and(|url| crate::http::is_loopback(&url)) {
        return Some(());
    }
    if has_secret {
        field.fault("a secret would be sent unencrypted", "write https://");
        return None;
    }
    field.warning("this request is sent unencrypted", "write https:// if the endpoint supports it");
    Some(())
}
