//! Deployment steps: a command or a request.

mod request;

use std::path::Path;
use std::time::Duration;

use super::answer::pointer;
use super::key::Section;
use super::read::{Field, Table};
use super::suggest::nearest;
use crate::target::lint::{list, spliced};
use crate::target::step::{CommandStep, HttpStep, Step};
use crate::target::template::{DeploymentField, LABEL, Part, Scope, Template, UnknownPlaceholder};

const COMMAND_TIMEOUT: Duration = Duration::from_secs(300);
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// Placeholders with a value only during a deployment.
const OF_DEPLOYMENT: [DeploymentField; 7] = [
    DeploymentField::Image,
    DeploymentField::Tag,
    DeploymentField::Digest,
    DeploymentField::ImageDigest,
    DeploymentField::PreviousTag,
    DeploymentField::DeploymentId,
    DeploymentField::Attempt,
];

/// Reads steps: the placeholders they may use, and the folder of their file.
pub(super) struct Reader<'a> {
    pub(super) scope: &'a Scope<'a>,
    /// The folder of the file that the step is written in.
    pub(super) folder: &'a Path,
}

impl Reader<'_> {
    /// One step, or a list.
    pub(super) fn steps(&self, field: &Field<'_>) -> Option<Vec<Step>> {
        if let Some(command) = field.command_line() {
            field.expected("a table, or a list of tables", step_help(field, &command));
            return None;
        }
        let items = if field.is_list() { field.list()? } else { vec![field.clone()] };
        if items.is_empty() {
            field.fault("expected at least one step", STEP);
            return None;
        }
        let steps: Vec<Option<Step>> = items.iter().map(|item| self.step(item)).collect();
        let steps: Vec<Step> = steps.into_iter().collect::<Option<_>>()?;
        let mut fits = true;
        for (index, item) in items.iter().enumerate() {
            fits &= refuse_unanswered(item, index, &steps);
        }
        fits.then_some(steps)
    }

    pub(super) fn step(&self, field: &Field<'_>) -> Option<Step> {
        match (field.has_key("command"), field.has_key("url")) {
            (true, true) => {
                field.fault("a step has either `command` or `url`, found both", "write two steps");
                None
            }
            (false, false) => {
                let table = field.any_table()?;
                let names: Vec<&str> = table.names().collect();
                // A misspelt key is reported as unknown.
                if !nearest("command", &names).is_empty() {
                    return self.command(&field.table(Section::CommandStep)?).map(Step::Command);
                }
                if !nearest("url", &names).is_empty() {
                    return self.http(&field.table(Section::HttpStep)?).map(Step::from);
                }
                field.fault("requires `command` or `url`", STEP);
                None
            }
            (true, false) => self.command(&field.table(Section::CommandStep)?).map(Step::Command),
            (false, true) => self.http(&field.table(Section::HttpStep)?).map(Step::from),
        }
    }

    /// `running`: the probe, and the pointer into its answer.
    pub(super) fn probe(&self, field: &Field<'_>) -> Option<(Step, Option<String>)> {
        let table = field.table(Section::Running)?;
        let pointer = table.get("pointer").map_or(Some(None), |field| pointer(&field).map(Some));
        let probe = match (table.get("command"), table.get("url")) {
            (Some(_), None) => {
                let step = self.command(&table)?;
                Step::Command(CommandStep { timeout: duration(&table, "timeout", PROBE_TIMEOUT)?, ..step })
            }
            (None, Some(_)) => Step::from(HttpStep {
                method: "GET".to_owned(),
                timeout: duration(&table, "timeout", PROBE_TIMEOUT)?,
                ..self.http(&table)?
            }),
            _ => {
                field.fault("requires either `command` or `url`", "write one of them");
                return None;
            }
        };
        let is_of_deployment = |part: &&Part| match part {
            Part::Field(field) => OF_DEPLOYMENT.contains(field),
            Part::Label(_) | Part::Answer(_) => true,
            _ => false,
        };
        if probe.parts().any(|part| is_of_deployment(&part)) {
            field.fault(
                "placeholders of a deployment have no value here",
                "use {project}, {stage}, {target}, {var.NAME} or {secret.NAME}",
            );
            return None;
        }
        Some((probe, pointer?))
    }

    /// `gate`: the steps that must succeed before a tag is deployed.
    pub(super) fn gates(&self, field: &Field<'_>) -> Option<Vec<Step>> {
        let steps = self.steps(field)?;
        let is_of_attempt = |part: &Part| match part {
            Part::Field(field) => matches!(field, DeploymentField::DeploymentId | DeploymentField::Attempt),
            Part::Answer(_) => true,
            Part::Literal(_) | Part::Var(_) | Part::Secret(_) | Part::Label(_) => false,
        };
        if steps.iter().flat_map(Step::parts).any(is_of_attempt) {
            field.fault(
                "a gate runs before the deployment exists",
                "use {tag}, {digest}, {image_digest}, {previous_tag} or {var.NAME}",
            );
            return None;
        }
        let waits_or_signs_an_id = |step: &Step| match step {
            Step::Http(step) => step.until.is_some() || !step.sign.standard_webhooks.is_empty(),
            Step::Command(_) => false,
        };
        if steps.iter().any(waits_or_signs_an_id) {
            field.fault(
                "a gate cannot have `until` or `standard_webhooks`, which need a deployment",
                "remove them; the next poll asks the gate again",
            );
            return None;
        }
        Some(steps)
    }

    /// How a notification is sent.
    pub(super) fn notification(&self, field: &Field<'_>, table: &Table<'_>) -> Option<Step> {
        let step = match (table.get("command"), table.get("url")) {
            (Some(_), None) => Step::Command(CommandStep {
                timeout: duration(table, "timeout", PROBE_TIMEOUT)?,
                ..self.command(table)?
            }),
            (None, Some(_)) => Step::from(HttpStep {
                timeout: duration(table, "timeout", PROBE_TIMEOUT)?,
                ..self.http(table)?
            }),
            _ => {
                field.fault("requires either `command` or `url`", "write one of them");
                return None;
            }
        };
        if step.answers().next().is_some() {
            field.fault("{step.…} belongs in a deploy step: a notification has no earlier steps", "");
            return None;
        }
        Some(step)
    }

    fn command(&self, table: &Table<'_>) -> Option<CommandStep> {
        let command = table.get("command")?;
        let env = table.get("env").map_or(Some(Vec::new()), |field| self.environment(&field));
        let dir = table.get("dir").map_or(Some(self.folder.to_owned()), |field| field.file_path(self.folder));
        let timeout = duration(table, "timeout", COMMAND_TIMEOUT);
        let argv = self.argv(&command);
        let step = CommandStep { argv: argv?, env: env?, dir: dir?, timeout: timeout? };
        if let Some((what, cure)) = spliced(&step, |part| matches!(part, Part::Label(_))) {
            command.fault(what, cure);
            return None;
        }
        Some(step)
    }

    fn argv(&self, field: &Field<'_>) -> Option<Vec<Template>> {
        if let Some(command) = field.command_line().filter(|_| field.is_text()) {
            let help =
                command.map_or(field.write("[\"program\", \"argument\"]"), |argv| field.write(list(&argv)));
            field.expected("a list", help);
            return None;
        }
        let items = field.list()?;
        let templates: Vec<Option<Template>> = items
            .iter()
            .map(|item| {
                let template = self.template(item)?;
                if template.has_secret() {
                    item.fault(
                        "a secret in a command would be visible in `ps`",
                        "pass it in env = { NAME = \"{secret.NAME}\" }",
                    );
                    return None;
                }
                Some(template)
            })
            .collect();
        let templates: Vec<Template> = templates.into_iter().collect::<Option<_>>()?;
        if templates.first().is_none_or(|program| program.parts.is_empty()) {
            field.fault("expected a program", "write command = [\"./deploy.sh\", \"{tag}\"]");
            return None;
        }
        if templates[0].parts.iter().any(|part| matches!(part, Part::Label(_))) {
            field.fault("a label cannot be the program to run", "pass it as an argument");
            return None;
        }
        Some(templates)
    }

    fn environment(&self, field: &Field<'_>) -> Option<Vec<(String, Template)>> {
        let pairs = self.pairs(field)?;
        for (name, _) in &pairs {
            if name.is_empty() || name.contains(['=', '\0']) {
                field.fault(format!("{name:?} is not a valid name of an environment variable"), "");
                return None;
            }
            if name.starts_with("TAGSHIP_") {
                field.fault(format!("tagship sets {name} itself"), "choose another name");
                return None;
            }
        }
        Some(pairs)
    }

    fn template(&self, field: &Field<'_>) -> Option<Template> {
        self.parse(field.text()?, field)
    }

    fn parse(&self, text: &str, field: &Field<'_>) -> Option<Template> {
        match Template::parse(text, self.scope) {
            Ok(template) => Some(template),
            Err(UnknownPlaceholder { word }) => {
                field.fault(self.unknown(&word), self.placeholder_help(&word, field));
                None
            }
        }
    }

    fn unknown(&self, word: &str) -> String {
        match word.strip_prefix("secret.") {
            Some(name) => format!("[secrets] has no {name:?}"),
            None => format!("unknown placeholder {{{word}}}"),
        }
    }

    fn placeholder_help(&self, word: &str, field: &Field<'_>) -> String {
        if !field.found.is_suggesting() {
            return String::new();
        }
        // A word of Go templates, as in docker inspect --format.
        if matches!(word, "else" | "end") {
            return format!("to write it literally, add blanks: {{{{ {word} }}}}");
        }
        let mut known = self.scope.known();
        known.push(format!("{LABEL}{}", word.split_once('.').map_or("NAME", |(_, name)| name)));
        let other = OTHER_PLACEHOLDERS.iter().find(|(other, _)| *other == word).map(|(_, known)| *known);
        if let Some(meant) = other.filter(|meant| known.iter().any(|known| known == meant)) {
            return format!("did you mean {{{meant}}}?");
        }
        match word.strip_prefix("secret.") {
            Some(name) if self.scope.secrets.is_empty() => {
                format!("add it to [secrets]: {name} = {{ env = \"NAME\" }}")
            }
            of_secrets => {
                let known = known.iter().filter(|known| of_secrets.is_none() || known.starts_with("secret."));
                let known: Vec<String> = known.map(|known| format!("{{{known}}}")).collect();
                field.found.suggest(&format!("{{{word}}}"), known.iter().map(String::as_str))
            }
        }
    }
}

/// Words of other tools, and the placeholders with the same values.
const OTHER_PLACEHOLDERS: [(&str, &str); 13] = [
    ("message", "error"),
    ("msg", "error"),
    ("reason", "error"),
    ("text", "error"),
    ("event", "status"),
    ("state", "status"),
    ("version", "tag"),
    ("sha", "digest"),
    ("name", "target"),
    ("repo", "repository"),
    ("env", "stage"),
    ("environment", "stage"),
    ("old_tag", "previous_tag"),
];

const STEP: &str = "write { command = [\"./deploy.sh\", \"{tag}\"] } or { url = \"https://…\" }";

/// The probably intended step for a text or a list of texts. `command`: None if it may contain a secret.
fn step_help(field: &Field<'_>, command: &Option<Vec<String>>) -> String {
    match command.as_deref() {
        Some([url]) if url.starts_with("https://") || url.starts_with("http://") => {
            field.write(format!("{{ url = {url:?} }}"))
        }
        Some(argv) => field.write(format!("{{ command = {} }}", list(argv))),
        None => STEP.to_owned(),
    }
}

/// Checks that the step uses only answers of earlier requests.
fn refuse_unanswered(field: &Field<'_>, index: usize, steps: &[Step]) -> bool {
    for answer in steps[index].answers() {
        let number = answer.step;
        let what = match steps.get(number - 1) {
            _ if number > index => "does not come before this one",
            Some(Step::Http(_)) => continue,
            _ => "is a command, which has no answer",
        };
        field.fault(format!("{{step.{number}.{}}}: step {number} {what}", answer.pointer), "");
        return false;
    }
    true
}

fn duration(table: &Table<'_>, name: &str, default: Duration) -> Option<Duration> {
    table.get(name).map_or(Some(default), |field| field.duration())
}
