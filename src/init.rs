//! The configuration that `tagship init` writes, as text made from a [`Draft`]. Pure.

mod alike;

use std::fmt::Write as _;

use crate::images;
use crate::policy::{Proposal, ProposedStage, SkippedTags};
use crate::reference::{Repository, Tag};
use alike::Alike;

/// The content of a new configuration.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) registry: RegistryDraft,
    pub(crate) projects: Vec<Project>,
    pub(crate) deploy: Deploy,
    /// The owner, if the projects are all of its images. Images with similar tags can then share a table.
    pub(crate) all_of: Option<String>,
    /// The state file, relative to the configuration's folder or absolute. None: not written.
    pub(crate) state: Option<String>,
}

/// The only registry of a new configuration.
#[derive(Clone, Debug)]
pub(crate) struct RegistryDraft {
    /// As `kind` spells it.
    pub(crate) kind: &'static str,
    /// A URL, or the folder of an image layout. None: the kind's default address.
    pub(crate) address: Option<String>,
    pub(crate) token: Token,
    pub(crate) username: Option<String>,
    pub(crate) insecure_http: bool,
}

/// The source of the token.
#[derive(Clone, Debug)]
pub(crate) enum Token {
    /// Not given: tagship searches the environment and the keyring.
    Search,
    Anonymous,
    Env(String),
    /// Relative to the configuration's folder, or absolute.
    File(String),
    Credential(String),
}

impl Token {
    /// Whether the user named a place of the token.
    pub(crate) fn is_given(&self) -> bool {
        matches!(self, Token::Env(_) | Token::File(_) | Token::Credential(_))
    }
}

/// One image and its stages. Without stages it becomes a comment.
#[derive(Debug)]
pub(crate) struct Project {
    pub(crate) image: Repository,
    pub(crate) proposal: Proposal,
    /// Why no stage is proposed.
    pub(crate) fault: Option<String>,
}

/// The deploy step of every stage in the new file.
#[derive(Clone, Debug)]
pub(crate) enum Deploy {
    Command(Vec<String>),
    Url(String),
}

/// The schema file for editors, beside the configuration.
pub(crate) const SCHEMA: &str = "tagship.schema.json";

impl RegistryDraft {
    /// Its name in the configuration.
    pub(crate) fn name(&self) -> &'static str {
        match self.kind {
            "gitea" | "forgejo" => "git",
            "github" => "ghcr",
            "dockerhub" => "hub",
            "gitlab" => "gitlab",
            "oci-layout" => "images",
            _ => "registry",
        }
    }
}

/// The text of the file.
pub(crate) fn configuration(draft: &Draft) -> String {
    let mut text = format!(
        "#:schema ./{SCHEMA}\n\
         # The line above lets editors (Taplo, Even Better TOML) check this file. Made by:\n\
         # tagship generate schema > {SCHEMA}\n\
         # Every key is explained in: man tagship.toml\n\
         # Try it with: tagship check --online; tagship poll --dry-run\n\
         # The first poll of a stage only remembers the newest tag; later polls deploy newer tags.\n\
         # With first_poll = \"deploy\" in a stage, its first poll deploys the newest tag.\n\n\
         [settings]\n\
         interval = \"5m\" # how often a stage is polled; tagship schedule uses the shortest interval\n"
    );
    if let Some(state) = &draft.state {
        let _ =
            writeln!(text, "state = {} # the record of polls and deployments: keep this file", quoted(state));
    }
    text.push('\n');
    text.push_str(&registry(&draft.registry));
    let alike = Alike::of(draft);
    let mut names = Vec::new();
    if let Some(alike) = &alike {
        text.push('\n');
        text.push_str(&table(alike, draft));
        names = alike.names();
    }
    let is_other = |project: &&Project| alike.as_ref().is_none_or(|alike| !alike.has(&project.image));
    for project in draft.projects.iter().filter(is_other) {
        let name = project_name(&project.image, &names);
        text.push('\n');
        text.push_str(&self::project(project, &name, draft));
        names.push(name);
    }
    text
}

fn registry(registry: &RegistryDraft) -> String {
    let name = registry.name();
    let mut text = format!("[registries.{name}]\nkind = {}", quoted(registry.kind));
    text.push_str(match registry.kind {
        "gitea" => " # also for Forgejo\n",
        _ => "\n",
    });
    if let Some(address) = &registry.address {
        let key = if registry.kind == "oci-layout" { "path" } else { "url" };
        let _ = writeln!(text, "{key} = {}", quoted(address));
    }
    if let Some(username) = &registry.username {
        let _ = writeln!(text, "username = {}", quoted(username));
    }
    let _ = match &registry.token {
        Token::Search if registry.kind == "oci-layout" => Ok(()),
        Token::Search => writeln!(
            text,
            "# Without token, tagship uses $TAGSHIP_TOKEN_{}, then the keyring (tagship login {name}). Or write\n\
             # token = {{ file = \"{name}-token\" }}, or anonymous = true.",
            name.to_ascii_uppercase()
        ),
        Token::Anonymous => writeln!(text, "anonymous = true"),
        Token::Env(variable) => writeln!(text, "token = {{ env = {} }}", quoted(variable)),
        Token::File(path) => writeln!(text, "token = {{ file = {} }}", quoted(path)),
        Token::Credential(name) => {
            writeln!(text, "token = {{ credential = {} }} # systemd: LoadCredential=", quoted(name))
        }
    };
    if registry.insecure_http {
        text.push_str("insecure_http = true # tokens are sent unencrypted\n");
    }
    text
}

fn project(project: &Project, name: &str, draft: &Draft) -> String {
    let key = key(name);
    let proposal = &project.proposal;
    let mut text = format!(
        "[projects.{key}]\nregistry = {}\nimage = {}\n",
        quoted(draft.registry.name()),
        quoted(project.image.as_str())
    );
    if proposal.stages.is_empty() {
        let fault = project.fault.as_deref().unwrap_or("none of its tags suggests a rule for a stage");
        let _ = write!(
            text,
            "# {}.\n[projects.{key}.stages.prod]\ntags = \"v*\"\norder = \"semver\"\n",
            one_line(fault)
        );
    }
    for skipped in &proposal.skipped {
        let _ = writeln!(text, "# Skipped: {}.", skipped_text(skipped));
    }
    for stage in &proposal.stages {
        text.push_str(&self::stage(stage, &key));
        let _ = writeln!(text, "deploy = {}", deploy(&draft.deploy));
    }
    if !proposal.stages.is_empty() {
        return text;
    }
    let _ = writeln!(text, "deploy = {}", deploy(&draft.deploy));
    let commented = |line: &str| if line.starts_with('#') { line.to_owned() } else { format!("# {line}") };
    text.lines().map(|line| commented(line) + "\n").collect()
}

/// One table for images with similar tags.
fn table(alike: &Alike<'_>, draft: &Draft) -> String {
    const SHOWN: usize = 3;
    let key = key(&alike.name);
    let shown: Vec<&str> = alike.images.iter().take(SHOWN).map(|project| project.image.as_str()).collect();
    let more = if alike.images.len() > SHOWN { ", …" } else { "" };
    let mut text = format!(
        "# {} images with similar tags: {}{more}\n\
         # Each image is a project of its own. In deploy, {{project}} and {{image}} tell them apart;\n\
         # a command also has TAGSHIP_PROJECT and TAGSHIP_IMAGE.\n\
         # A new image becomes a project, too, and begins with a first poll.\n\
         [projects.{key}]\nregistry = {}\nimages = {}\n",
        alike.images.len(),
        shown.join(", "),
        quoted(draft.registry.name()),
        quoted(&format!("{}/*", alike.owner)),
    );
    if !alike.exclude.is_empty() {
        text.push_str("exclude_images = [\n");
        for image in &alike.exclude {
            let _ = writeln!(text, "    {}, # none of its tags suggests a rule", quoted(image.as_str()));
        }
        text.push_str("]\n");
    }
    for stage in alike.stages() {
        text.push_str(&self::stage(&ProposedStage { count: 0, ..stage.clone() }, &key));
        let _ = writeln!(text, "deploy = {}", deploy(&draft.deploy));
    }
    text
}

fn skipped_text(skipped: &SkippedTags) -> String {
    let tags = if skipped.count > skipped.examples.len() {
        format!("{} tags such as {}", skipped.count, list(&skipped.examples))
    } else {
        list(&skipped.examples)
    };
    format!("{tags}: {}", skipped.reason)
}

fn stage(stage: &ProposedStage, project: &str) -> String {
    let mut text = format!("\n[projects.{project}.stages.{}]\n", key(&stage.name));
    if stage.count > 0 {
        let tags = if stage.count == 1 { "1 tag" } else { &format!("{} tags", stage.count) };
        let _ = writeln!(text, "# {tags} at present, such as {}.", list(&stage.examples));
    }
    let _ = writeln!(text, "tags = {}", quoted(&stage.tags));
    if !stage.exclude.is_empty() {
        let globs: Vec<String> = stage.exclude.iter().map(|glob| quoted(glob)).collect();
        let _ = writeln!(text, "exclude = [{}]", globs.join(", "));
    }
    if let Some(regex) = &stage.regex {
        let _ = writeln!(text, "regex = '{regex}'");
    }
    let note = if stage.reason.is_empty() { String::new() } else { format!(" # {}", stage.reason) };
    let _ = writeln!(text, "order = \"{}\"{note}", stage.order);
    if stage.prerelease {
        text.push_str("prerelease = true\n");
    }
    text
}

/// The step, as an inline table.
fn deploy(deploy: &Deploy) -> String {
    match deploy {
        Deploy::Command(words) => {
            let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
            format!("{{ command = [{}] }}", words.join(", "))
        }
        Deploy::Url(url) => format!("{{ url = {} }}", quoted(url)),
    }
}

fn list(tags: &[Tag]) -> String {
    tags.iter().map(Tag::as_str).collect::<Vec<_>>().join(", ")
}

/// A free name for a project: the image's name without its owner, with a number if it is taken.
fn project_name(image: &Repository, taken: &[String]) -> String {
    let own: String = images::project_name(image).chars().take(60).collect();
    let numbered = (2..).map(|number| format!("{own}-{number}"));
    let mut names = std::iter::once(own.clone()).chain(numbered);
    names.find(|name| !taken.contains(name)).unwrap_or(own)
}

/// A TOML key, quoted if necessary.
fn key(name: &str) -> String {
    let is_bare = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if is_bare { name.to_owned() } else { quoted(name) }
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            character if character.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(character));
            }
            character => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

/// External text as one line of a comment.
fn one_line(text: &str) -> String {
    text.split(char::is_control).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
