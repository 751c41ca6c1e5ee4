//! Text with placeholders: `command`, `env`, `url`, `headers`, `json`, `form` and `body`.
//! Only `{lower_case}` words are placeholders; all other braces are literal.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

/// Text with its placeholders found. Rendered by `deploy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    pub(crate) parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Literal(String),
    Field(DeploymentField),
    /// `{var.NAME}` with its value. (One whose value is a secret source is a `Secret`.)
    Var(String),
    Secret(SecretId),
    /// `{label.NAME}`: the name of a label of the image's configuration.
    Label(String),
    Answer(AnswerPointer),
}

/// `{step.1./deployment_uuid}`: a value from the response of an earlier step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AnswerPointer {
    /// From 1.
    pub(crate) step: usize,
    /// A JSON pointer (RFC 6901).
    pub(crate) pointer: String,
}

impl AnswerPointer {
    /// Whether the value's name in the response is that of a credential: `/data/access_token`.
    pub(crate) fn names_a_credential(&self) -> bool {
        const NAMES: [&str; 8] =
            ["token", "secret", "passw", "jwt", "session", "credential", "api_key", "apikey"];
        let name = self.pointer.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
        NAMES.iter().any(|known| name.contains(known))
    }
}

/// The name of a secret inside tagship: its name in `[secrets]`, or a name that `config` gave to
/// a variable with a secret source as value, or to the secret of webhooks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SecretId(pub(crate) String);

impl SecretId {
    /// That of `[settings.webhook]`: a name that `[secrets]` cannot have.
    pub(crate) fn of_webhooks() -> SecretId {
        SecretId("of [settings.webhook]".to_owned())
    }
}

/// The values of a deployment: `{tag}`, `{previous_tag}`, ….
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum DeploymentField {
    Project,
    Stage,
    Target,
    Registry,
    Repository,
    Image,
    Tag,
    Digest,
    ImageDigest,
    PreviousTag,
    DeploymentId,
    Attempt,
    /// In a notification: an event of `on`.
    Status,
    /// In a notification: why it failed.
    Error,
    /// In a notification: when it happened (RFC 3339).
    Time,
    /// In a notification: the tag's page on the forge, or the image reference if there is none.
    Url,
    /// In a batch: the number of events.
    Count,
    /// In a batch: a line for each event.
    Lines,
}

impl DeploymentField {
    /// Only in notifications of one event.
    pub(crate) const OF_NOTIFICATION: [DeploymentField; 4] =
        [DeploymentField::Status, DeploymentField::Error, DeploymentField::Time, DeploymentField::Url];

    /// The only ones in a batch, which has events of several targets.
    pub(crate) const OF_BATCH: [DeploymentField; 3] =
        [DeploymentField::Count, DeploymentField::Lines, DeploymentField::Time];

    /// In the order of the documentation.
    pub(crate) const ALL: [DeploymentField; 12] = [
        DeploymentField::Project,
        DeploymentField::Stage,
        DeploymentField::Target,
        DeploymentField::Registry,
        DeploymentField::Repository,
        DeploymentField::Image,
        DeploymentField::Tag,
        DeploymentField::Digest,
        DeploymentField::ImageDigest,
        DeploymentField::PreviousTag,
        DeploymentField::DeploymentId,
        DeploymentField::Attempt,
    ];

    /// The placeholder's word: `previous_tag`. In capitals, after `TAGSHIP_`, it is the environment variable.
    pub(crate) fn word(self) -> &'static str {
        match self {
            DeploymentField::Project => "project",
            DeploymentField::Stage => "stage",
            DeploymentField::Target => "target",
            DeploymentField::Registry => "registry",
            DeploymentField::Repository => "repository",
            DeploymentField::Image => "image",
            DeploymentField::Tag => "tag",
            DeploymentField::Digest => "digest",
            DeploymentField::ImageDigest => "image_digest",
            DeploymentField::PreviousTag => "previous_tag",
            DeploymentField::DeploymentId => "deployment_id",
            DeploymentField::Attempt => "attempt",
            DeploymentField::Status => "status",
            DeploymentField::Error => "error",
            DeploymentField::Time => "time",
            DeploymentField::Url => "url",
            DeploymentField::Count => "count",
            DeploymentField::Lines => "lines",
        }
    }
}

/// The placeholders that a template may use.
#[derive(Debug, Default)]
pub(crate) struct Scope<'a> {
    /// In addition to those of every template.
    pub(crate) fields: &'a [DeploymentField],
    pub(crate) vars: BTreeMap<&'a str, Var<'a>>,
    /// The variables that `vars` extends and overrides; one map for all stages of a project.
    pub(crate) shared_vars: Rc<BTreeMap<&'a str, Var<'a>>>,
    /// One set for all templates, because thousands of stages may each have a secret.
    pub(crate) secrets: Rc<BTreeSet<&'a str>>,
}

/// The value of a variable.
#[derive(Debug)]
pub(crate) enum Var<'a> {
    Text(&'a str),
    Secret(SecretId),
}

/// An unknown placeholder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnknownPlaceholder {
    /// The text between the braces.
    pub(crate) word: String,
}

impl Template {
    /// Finds the placeholders of `text`.
    ///
    /// # Errors
    /// The first placeholder that is unknown in this scope.
    pub(crate) fn parse(text: &str, scope: &Scope<'_>) -> Result<Template, UnknownPlaceholder> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let position = |from: usize, brace| text[from..].find(brace).map(|found| from + found);
        let mut from = 0;
        // The next closing brace. It is searched again only after it is passed, because there may be many
        // opening ones.
        let mut end = position(0, '}');
        while let Some(start) = position(from, '{') {
            literal.push_str(&text[from..start]);
            if end.is_some_and(|end| end < start) {
                end = position(start, '}');
            }
            match end.filter(|end| is_placeholder(&text[start + 1..*end])) {
                Some(end) => {
                    if !literal.is_empty() {
                        parts.push(Part::Literal(std::mem::take(&mut literal)));
                    }
                    parts.push(scope.resolve(&text[start + 1..end])?);
                    from = end + 1;
                }
                None => {
                    literal.push('{');
                    from = start + 1;
                }
            }
        }
        literal.push_str(&text[from..]);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Template { parts })
    }

    /// Text without placeholders.
    pub(crate) fn literal(text: &str) -> Template {
        Template { parts: vec![Part::Literal(text.to_owned())] }
    }

    /// Whether a secret is among the parts.
    pub(crate) fn has_secret(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Secret(_)))
    }
}

impl Scope<'_> {
    fn resolve(&self, word: &str) -> Result<Part, UnknownPlaceholder> {
        if let Some(name) = word.strip_prefix("var.") {
            match self.vars.get(name).or_else(|| self.shared_vars.get(name)) {
                Some(Var::Text(value)) => return Ok(Part::Var((*value).to_owned())),
                Some(Var::Secret(id)) => return Ok(Part::Secret(id.clone())),
                None => {}
            }
        } else if let Some(name) = word.strip_prefix("secret.") {
            if self.secrets.contains(name) {
                return Ok(Part::Secret(SecretId(name.to_owned())));
            }
        } else if let Some(name) = word.strip_prefix(LABEL) {
            return Ok(Part::Label(name.to_owned()));
        } else if let Some(answer) = answer(word) {
            return Ok(Part::Answer(answer));
        } else if let Some(field) =
            DeploymentField::ALL.iter().chain(self.fields).find(|field| field.word() == word)
        {
            return Ok(Part::Field(*field));
        }
        Err(UnknownPlaceholder { word: word.to_owned() })
    }

    /// All placeholders of the scope.
    pub(crate) fn known(&self) -> Vec<String> {
        let known = DeploymentField::ALL.iter().chain(self.fields).map(|field| field.word().to_owned());
        let shared = self.shared_vars.keys().filter(|name| !self.vars.contains_key(*name));
        let vars = self.vars.keys().chain(shared).map(|name| format!("var.{name}"));
        let secrets = self.secrets.iter().map(|name| format!("secret.{name}"));
        known.chain(vars).chain(secrets).collect()
    }
}

/// Before the name of a label.
pub(crate) const LABEL: &str = "label.";

/// `step.1./pointer`
fn answer(word: &str) -> Option<AnswerPointer> {
    let (step, pointer) = word.strip_prefix("step.")?.split_once('.')?;
    let step = step.parse().ok().filter(|step| *step > 0)?;
    pointer.starts_with('/').then(|| AnswerPointer { step, pointer: pointer.to_owned() })
}

/// `lower_case`, or `lower_case.` and a name, or a value of a response.
fn is_placeholder(word: &str) -> bool {
    if answer(word).is_some() {
        return true;
    }
    let is_of_head = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let head = word.bytes().take_while(|byte| is_of_head(*byte)).count();
    word.starts_with(|first: char| first.is_ascii_lowercase())
        && match word[head..].strip_prefix('.') {
            None => head == word.len(),
            Some(name) => {
                // Names of labels may have slashes, as those of annotations do.
                let others: &[u8] = if word.starts_with(LABEL) { b"._-/" } else { b"._-" };
                !name.is_empty()
                    && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte))
            }
        }
}

impl fmt::Display for SecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope<'static> {
        Scope {
            fields: &[],
            vars: BTreeMap::from([
                ("app", Var::Text("abc")),
                ("key", Var::Secret(SecretId("shop.key".into()))),
            ]),
            secrets: Rc::new(BTreeSet::from(["hook"])),
            ..Scope::default()
        }
    }

    #[test]
    fn placeholders_are_found_between_literals() {
        let text = "a {tag}/{var.app}{secret.hook}{var.key}{label.org.x/a-b}!";
        let template = Template::parse(text, &scope()).unwrap();
        assert_eq!(
            template.parts,
            [
                Part::Literal("a ".into()),
                Part::Field(DeploymentField::Tag),
                Part::Literal("/".into()),
                Part::Var("abc".into()),
                Part::Secret(SecretId("hook".into())),
                Part::Secret(SecretId("shop.key".into())),
                Part::Label("org.x/a-b".into()),
                Part::Literal("!".into()),
            ]
        );
        assert!(template.has_secret());
        assert_eq!(SecretId("shop.key".into()).to_string(), "shop.key");
    }

    #[test]
    fn value_of_a_response_is_a_step_and_a_pointer() {
        let template = Template::parse("{step.1./a b/~1}", &scope()).unwrap();
        assert_eq!(template.parts, [Part::Answer(AnswerPointer { step: 1, pointer: "/a b/~1".into() })]);
    }

    #[test]
    fn every_other_brace_is_literal() {
        for text in [
            "{{.Config.Image}}",
            r#"{"a": 1}"#,
            "{",
            "}",
            "{}",
            "{Tag}",
            "{ tag }",
            "${HOME}",
            "{a b}",
            "{a{",
            "{var.a b}",
            "{secret.}",
            "{1tag}",
            "{tAg}",
            "{step.0./id}",
            "{label.}",
            "{label.a b}",
            "{var.a/b}",
        ] {
            let template = Template::parse(text, &scope()).unwrap();
            assert_eq!(template.parts, [Part::Literal(text.into())], "{text}");
        }
    }

    #[test]
    fn unknown_placeholder_is_an_error() {
        for (text, word) in
            [("{tagg}", "tagg"), ("x{var.b}", "var.b"), ("{secret.x}", "secret.x"), ("{env.x}", "env.x")]
        {
            assert_eq!(Template::parse(text, &scope()).unwrap_err().word, word);
        }
    }
}
