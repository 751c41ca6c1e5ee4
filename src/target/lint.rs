//! Lints of steps: valid, but probably a mistake. For `check`, never for a poll.

use serde_json::Value;

use super::step::{Body, CommandStep, Step};
use super::template::{DeploymentField, Part, Template};

/// Words that have a meaning only in a shell.
const OPERATORS: [&str; 8] = ["&&", "||", "|", ";", "&", ">", ">>", "<"];

/// Programs that pass their arguments to a shell, here or on another machine.
const SHELLS: [&str; 9] = ["sh", "bash", "dash", "ash", "zsh", "ksh", "fish", "busybox", "ssh"];

/// One line for each probable mistake, with what to write instead.
pub(crate) fn lints(step: &Step) -> Vec<String> {
    let mut lints = Vec::new();
    match step {
        Step::Command(step) if !has_shell(step) => {
            lints.extend(operator(step));
            lints.extend(step.argv.iter().filter_map(variable));
        }
        Step::Command(step) => {
            let is_outside = |part: &Part| {
                matches!(part, Part::Answer(_) | Part::Field(DeploymentField::Error | DeploymentField::Lines))
            };
            lints.extend(spliced(step, is_outside).map(|(what, cure)| format!("{what}; {cure}")));
        }
        Step::Http(step) => {
            lints.extend(variable(&step.url));
            lints.extend(step.headers.iter().filter_map(|(_, value)| variable(value)));
        }
    }
    lints.extend(json_as_text(step));
    lints.extend(step.templates().into_iter().filter_map(braces));
    lints
}

/// `body = '{"text": "{error}"}'`, also as an argument (`["curl", "-d", …]`): a quote or a line feed in the
/// value breaks the JSON.
fn json_as_text(step: &Step) -> Option<String> {
    match step {
        Step::Command(step) => step.argv.iter().find_map(|argument| {
            let (cure, value) = as_json(argument)?;
            let value = value?;
            Some(format!("an argument is JSON, and a quote or a line feed in {value} would break it; write url = \"…\", json = {cure}"))
        }),
        Step::Http(step) => {
            let Body::Text(body) = &step.body else { return None };
            Some(match as_json(body)? {
                (cure, Some(value)) => format!("body is JSON, and a quote or a line feed in {value} would break it; write json = {cure}"),
                (cure, None) => format!("body is JSON as text; write json = {cure}"),
            })
        }
    }
}

/// The table to write instead of a template that is JSON with placeholders, and the first placeholder that
/// can contain any text.
fn as_json(template: &Template) -> Option<(String, Option<String>)> {
    if template.parts.iter().all(|part| matches!(part, Part::Literal(_))) {
        return None;
    }
    // A digit is valid both inside and outside quotes.
    let stand_in = |part: &Part| match part {
        Part::Literal(text) => text.clone(),
        _ => "0".to_owned(),
    };
    let is_json = |text: &str| {
        serde_json::from_str(text).ok().filter(|json: &Value| json.is_object() || json.is_array())
    };
    is_json(&template.parts.iter().map(stand_in).collect::<String>())?;
    let table =
        is_json(&written(template)).and_then(|json| toml(&json)).unwrap_or_else(|| "{ … }".to_owned());
    let is_any_text = |part: &&Part| match part {
        Part::Literal(_) => false,
        Part::Field(field) => matches!(field, DeploymentField::Error | DeploymentField::Lines),
        Part::Var(_) | Part::Secret(_) | Part::Label(_) | Part::Answer(_) => true,
    };
    let value = template.parts.iter().find(is_any_text);
    Some((table, value.map(|part| written(&Template { parts: vec![part.clone()] }))))
}

/// A JSON value as TOML on one line. None: TOML has no null.
fn toml(json: &Value) -> Option<String> {
    let is_bare = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    };
    Some(match json {
        Value::Null => return None,
        Value::Bool(_) | Value::Number(_) | Value::String(_) => json.to_string(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(toml).collect::<Option<Vec<_>>>()?.join(", "))
        }
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| {
                let name = if is_bare(name) { name.clone() } else { Value::from(name.as_str()).to_string() };
                Some(format!("{name} = {}", toml(value)?))
            };
            format!("{{ {} }}", members.iter().map(member).collect::<Option<Vec<_>>>()?.join(", "))
        }
    })
}

/// A template as written in the configuration, with the values of variables.
pub(crate) fn written(template: &Template) -> String {
    let written = |part: &Part| match part {
        Part::Literal(text) | Part::Var(text) => text.clone(),
        Part::Field(field) => format!("{{{}}}", field.word()),
        Part::Secret(id) => format!("{{secret.{id}}}"),
        Part::Label(name) => format!("{{label.{name}}}"),
        Part::Answer(answer) => format!("{{step.{}.{}}}", answer.step, answer.pointer),
    };
    template.parts.iter().map(written).collect()
}

/// A list of words as written in the configuration: `["sh", "-c", "…"]`.
pub(crate) fn list<T: AsRef<str>>(words: &[T]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("{:?}", word.as_ref())).collect();
    format!("[{}]", words.join(", "))
}

/// A command line as program and arguments; with `sh -c` if it needs a shell.
pub(crate) fn words(line: &str) -> Vec<String> {
    let words = shlex::split(line).filter(|words| !words.iter().any(|word| is_operator(word)));
    match words {
        Some(words) if !words.is_empty() && !line.contains(['$', '`']) => words,
        _ => ["sh", "-c", line].map(str::to_owned).to_vec(),
    }
}

/// Whether a word has a meaning only in a shell. (`>=1.2` is a version.)
pub(crate) fn is_operator(word: &str) -> bool {
    OPERATORS.contains(&word)
        || (word.starts_with('>') && !word.starts_with(">="))
        || word.starts_with("2>")
        || word.starts_with("&>")
}

fn has_shell(step: &CommandStep) -> bool {
    step.argv.iter().any(|argument| match argument.parts.as_slice() {
        [Part::Literal(text)] => SHELLS.contains(&text.rsplit('/').next().unwrap_or(text)),
        _ => false,
    })
}

/// `["sh", "-c", "mail {error}"]`: a shell runs a line with text from outside in it. Returns the fault of the
/// first such part, and the correction.
pub(crate) fn spliced(step: &CommandStep, is_outside: impl Fn(&Part) -> bool) -> Option<(String, String)> {
    if !has_shell(step) {
        return None;
    }
    let is_ssh = step.argv.iter().any(|argument| written(argument).rsplit('/').next() == Some("ssh"));
    let found = step.argv.iter().enumerate().find_map(|(index, argument)| {
        // Alone it is an argument, except as the script itself, and for ssh, which joins all arguments to one line.
        let is_argument =
            argument.parts.len() == 1 && !is_ssh && !(index > 0 && is_script(&step.argv[index - 1]));
        argument.parts.iter().find(|part| is_outside(part)).filter(|_| !is_argument)
    });
    let shown = written(&Template { parts: vec![found?.clone()] });
    let cure = match is_ssh {
        true => "remove it".to_owned(),
        false => {
            let words = list(&["sh", "-c", "… \"$1\"", "sh", shown.as_str()]);
            format!("write command = {words}")
        }
    };
    Some((format!("{shown} is text from outside, and a shell would run it"), cure))
}

/// `-c`, `-ec`: a script follows.
fn is_script(option: &Template) -> bool {
    let text = written(option);
    text.starts_with('-') && !text.starts_with("--") && text.ends_with('c')
}

/// `["docker", "compose", "pull", "&&", …]`
fn operator(step: &CommandStep) -> Option<String> {
    let words: Vec<String> = step.argv.iter().map(written).collect();
    // `find -exec … ;` needs it.
    let is_find = words.iter().any(|word| word == "-exec" || word == "-execdir");
    let operator =
        words.iter().skip(1).find(|word| is_operator(word) && !(is_find && word.as_str() == ";"))?;
    let quoted = |word: &String| match word.contains([' ', '\'', '"']) {
        true => shlex::try_quote(word).map_or_else(|_| word.clone(), Into::into),
        false => word.clone(),
    };
    let line: Vec<String> = words.iter().map(quoted).collect();
    Some(format!(
        "{operator:?} is passed to {} as an argument: commands run without a shell; write command = {}{}",
        words[0],
        list(&["sh", "-c", &line.join(" ")]),
        if matches!(operator.as_str(), "&&" | ";") { ", or two steps" } else { "" }
    ))
}

/// `$TAG`, `${TAGSHIP_TAG}`, `$(date)`.
fn variable(template: &Template) -> Option<String> {
    let literals = template.parts.iter().filter_map(|part| match part {
        Part::Literal(text) => Some(text.as_str()),
        _ => None,
    });
    let (name, shown) =
        literals.flat_map(|text| text.match_indices('$').map(|(at, _)| &text[at..])).find_map(|text| {
            if let Some(command) = text.strip_prefix("$(")
                && command.starts_with(|first: char| first.is_ascii_lowercase())
                && let Some(end) = command.find(')')
            {
                return Some((String::new(), format!("$({})", &command[..end])));
            }
            let (open, rest) = match text[1..].strip_prefix('{') {
                Some(rest) => (true, rest),
                None => (false, &text[1..]),
            };
            let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            if !name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
                || (open && !rest[name.len()..].starts_with('}'))
            {
                return None;
            }
            let shown = if open { format!("${{{name}}}") } else { format!("${name}") };
            Some((name, shown))
        })?;
    let word = name.strip_prefix("TAGSHIP_").unwrap_or(&name).to_ascii_lowercase();
    let cure = match is_field(&word) {
        true => format!("did you mean {{{word}}}?"),
        false => "use a placeholder such as {tag} or {var.NAME}".to_owned(),
    };
    Some(format!("{shown} is passed as written: commands run without a shell; {cure}"))
}

/// `{{tag}}`, `{{ tag }}`, `{Tag}`
fn braces(template: &Template) -> Option<String> {
    for (index, part) in template.parts.iter().enumerate() {
        let Part::Literal(text) = part else { continue };
        if let [Part::Field(field), Part::Literal(after), ..] = &template.parts[index + 1..]
            && text.ends_with('{')
            && after.starts_with('}')
        {
            let word = field.word();
            return Some(format!("{{{{{word}}}}} leaves braces around the value; write {{{word}}}"));
        }
        // For each closing brace, use the last opening one before it.
        for (end, _) in text.match_indices('}') {
            let Some(start) = text[..end].rfind('{') else { continue };
            let inner = &text[start + 1..end];
            let is_double = text[..start].ends_with('{') && text[end..].starts_with("}}");
            let word = if is_double { inner.trim() } else { inner };
            let lower = word.to_ascii_lowercase();
            if is_field(&lower) {
                let shown = if is_double { format!("{{{{{inner}}}}}") } else { format!("{{{inner}}}") };
                return Some(format!("{shown} is passed as written; did you mean {{{lower}}}?"));
            }
        }
    }
    None
}

fn is_field(word: &str) -> bool {
    DeploymentField::ALL.iter().any(|field| field.word() == word)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::super::step::{HttpStep, Sign, Success};
    use super::super::template::Scope;
    use super::*;

    fn of_command(argv: &[&str]) -> Vec<String> {
        let scope = Scope { fields: &DeploymentField::OF_NOTIFICATION, ..Scope::default() };
        let template = |text: &&str| Template::parse(text, &scope).unwrap();
        lints(&Step::Command(CommandStep {
            argv: argv.iter().map(template).collect(),
            env: Vec::new(),
            dir: PathBuf::new(),
            timeout: Duration::ZERO,
        }))
    }

    #[test]
    fn words_for_a_shell_have_a_lint_with_what_to_write() {
        for (argv, lint) in [
            (
                &["docker", "compose", "pull", "&&", "docker", "run", "a b:{tag}"][..],
                r#""&&" is passed to docker as an argument: commands run without a shell; write command = ["sh", "-c", "docker compose pull && docker run 'a b:{tag}'"], or two steps"#,
            ),
            (
                &["./deploy.sh", "{tag}", "2>&1"],
                r#""2>&1" is passed to ./deploy.sh as an argument: commands run without a shell; write command = ["sh", "-c", "./deploy.sh {tag} 2>&1"]"#,
            ),
            (&["x", "$TAG"], "$TAG is passed as written: commands run without a shell; did you mean {tag}?"),
            (
                &["x", "a:${TAGSHIP_TAG}"],
                "${TAGSHIP_TAG} is passed as written: commands run without a shell; did you mean {tag}?",
            ),
            (
                &["x", "$HOME/y"],
                "$HOME is passed as written: commands run without a shell; use a placeholder such as {tag} or {var.NAME}",
            ),
            (
                &["x", "at $(date +%s)"],
                "$(date +%s) is passed as written: commands run without a shell; use a placeholder such as {tag} or {var.NAME}",
            ),
            (&["x", "{{tag}}"], "{{tag}} leaves braces around the value; write {tag}"),
            (&["x", "{{ tag }}"], "{{ tag }} is passed as written; did you mean {tag}?"),
            (&["x", "a {Image}"], "{Image} is passed as written; did you mean {image}?"),
            (&["sh", "-c", "x {TAG}"], "{TAG} is passed as written; did you mean {tag}?"),
            (
                &["bash", "-c", "mail {tag} {error}"],
                r#"{error} is text from outside, and a shell would run it; write command = ["sh", "-c", "… \"$1\"", "sh", "{error}"]"#,
            ),
            (
                &["curl", "-d", r#"{"text": "{error}"}"#, "https://example.com"],
                r#"an argument is JSON, and a quote or a line feed in {error} would break it; write url = "…", json = { text = "{error}" }"#,
            ),
            (
                &["bash", "-ec", "{error}"],
                r#"{error} is text from outside, and a shell would run it; write command = ["sh", "-c", "… \"$1\"", "sh", "{error}"]"#,
            ),
            (
                &["ssh", "host", "./x", "{step.1./id}"],
                "{step.1./id} is text from outside, and a shell would run it; remove it",
            ),
        ] {
            assert_eq!(of_command(argv), [lint], "{argv:?}");
        }
    }

    fn of_body(text: &str) -> Vec<String> {
        let fields = [DeploymentField::OF_NOTIFICATION.as_slice(), &DeploymentField::OF_BATCH].concat();
        let scope = Scope { fields: &fields, ..Scope::default() };
        lints(&Step::from(HttpStep {
            method: "POST".to_owned(),
            url: Template::literal("https://example.com/"),
            headers: Vec::new(),
            body: Body::Text(Template::parse(text, &scope).unwrap()),
            timeout: Duration::ZERO,
            sign: Sign::default(),
            until: None,
            success: Success::default(),
        }))
    }

    #[test]
    fn json_as_text_has_a_lint_with_the_table_to_write() {
        for (text, lint) in [
            (
                r#" {"text": "{target}: {error}", "a b": [1, {"on": true}]}"#,
                r#"body is JSON, and a quote or a line feed in {error} would break it; write json = { "a b" = [1, { on = true }], text = "{target}: {error}" }"#,
            ),
            (
                r#"{"attempt": {attempt}, "text": "{error}"}"#,
                "body is JSON, and a quote or a line feed in {error} would break it; write json = { … }",
            ),
            (
                r#"["{lines}", null]"#,
                "body is JSON, and a quote or a line feed in {lines} would break it; write json = { … }",
            ),
            (r#"{"tag": "{tag}"}"#, r#"body is JSON as text; write json = { tag = "{tag}" }"#),
        ] {
            assert_eq!(of_body(text), [lint], "{text}");
        }
        for text in
            ["{target} {status}: {tag} {error}", r#"{"text": "deployed"}"#, "[{target}] {error}", "{attempt}"]
        {
            assert_eq!(of_body(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn words_meant_as_written_have_no_lint() {
        for argv in [
            &["docker", "inspect", "--format", "{{.Config.Image}}"][..],
            &["sh", "-c", "a && b > $TAGSHIP_TAG | c"],
            &["ssh", "host", "cd /srv", "&&", "./deploy.sh", "$HOME", "{tag}"],
            &["sh", "-c", "mail \"$1\" {tag} {image}", "sh", "{error}"],
            &["mail", "-s", "failed: {error}"],
            &["kubectl", "patch", "deployment/shop", "-p", r#"{"image": "{image}"}"#],
            &["find", ".", "-exec", "rm", "{}", ";"],
            &["pip", "install", ">=1.2", "a|b", "100$", "$1", "$(A|b)", "{ tag }", "{\"tag\": \"{tag}\"}"],
        ] {
            assert_eq!(of_command(argv), [""; 0], "{argv:?}");
        }
    }
}
