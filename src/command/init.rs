//! `tagship init`: a configuration to begin with, from options, questions, or what a registry has.

mod discover;
mod question;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};

use super::Exit;
use crate::cli::{self, Global, Kind, StageWish};
use crate::config::{self, Config};
use crate::init::{self, Deploy, Draft, Project, Registry, SCHEMA, Token};
use crate::policy::{Proposal, wanted};
use crate::reference::Repository;
use crate::report::{Console, count};
use crate::schedule::shell;
use question::Questions;

/// Writes the file and says what to type next.
///
/// # Errors
/// Options that are missing or wrong, or a file that is there already.
pub(crate) fn init(global: &Global, arguments: &cli::Init) -> anyhow::Result<Exit> {
    let console = Console::new();
    let place = place(global, arguments)?;
    let mut questions = Questions::new(&console);
    let registry = registry(arguments, &place, &mut questions)?;
    let images = match (&arguments.from, arguments.image.as_slice()) {
        (None, []) => {
            questions.ask("--image IMAGE", "Image, without host and tag (acme/shop)", None, images)?
        }
        (_, images) => Some(images.to_vec()),
    };
    let stages = match (&arguments.from, arguments.stage.as_slice()) {
        (None, []) => {
            questions.ask("--stage NAME=GLOB", "Stages and their tags", Some("dev=dev-* prod=v*"), stages)?
        }
        (_, stages) => Some(each_once(stages.to_vec()).map_err(anyhow::Error::msg)?),
    };
    let deploy = deploy(arguments, &mut questions)?;
    questions.complete()?;
    let (Some(registry), Some(images), Some(stages), Some(deploy)) = (registry, images, stages, deploy)
    else {
        bail!("something is missing");
    };

    let projects = if arguments.from.is_some() {
        let opened = discover::open(&registry.registry, &place)?;
        // A server may repeat in an error what it was sent.
        let console = Console::masking(Arc::clone(&opened.secrets));
        match discover::projects(&registry, &opened, arguments, images, &console) {
            Ok(projects) => projects,
            Err(error) => {
                console.error(&format!("{error:#}; nothing was written"));
                return Ok(Exit::Failed);
            }
        }
    } else {
        let proposal = || Proposal {
            stages: stages.iter().map(|stage| wish(stage, arguments)).collect(),
            left: Vec::new(),
        };
        images.into_iter().map(|image| Project { image, proposal: proposal(), fault: None }).collect()
    };
    let draft = Draft { registry: registry.registry, projects, deploy };
    let text = init::configuration(&draft);
    let config = validated(&place, text.clone())?;
    config.warnings.iter().for_each(|warning| console.warning(&warning.to_string()));
    match &place {
        Place::Stdout => console.data(text.trim_end()),
        Place::File(path) => {
            // The address of a deploy endpoint is often all that it takes to deploy.
            let is_private = matches!(draft.deploy, Deploy::Url(_));
            write(path, &text, is_private)?;
            let stages = count(config.targets.len(), "stage");
            console.message(&format!("wrote {} with {stages}; look it over", path.display()));
            write_schema(path, &console)?;
            let named = config::find(global.config.as_deref()).ok().as_ref() == Some(path);
            let option = if named && global.config.is_none() {
                String::new()
            } else {
                format!(" --config {}", shell(&path.display().to_string()))
            };
            console.message(&format!("next: tagship{option} check --online\nthen: tagship{option} poll"));
        }
    }
    Ok(Exit::Done)
}

/// Where the configuration goes.
enum Place {
    /// Absolute.
    File(PathBuf),
    Stdout,
}

impl Place {
    /// Relative paths of the configuration are relative to this.
    fn folder(&self) -> &Path {
        match self {
            Place::File(path) => path.parent().unwrap_or(Path::new("/")),
            Place::Stdout => Path::new("/"),
        }
    }

    /// The file, or what stands for it.
    fn path(&self) -> &Path {
        match self {
            Place::File(path) => path,
            Place::Stdout => Path::new("/config.toml"),
        }
    }
}

fn place(global: &Global, arguments: &cli::Init) -> anyhow::Result<Place> {
    let given = arguments.output.as_ref().or(global.config.as_ref());
    if given.is_some_and(|path| path.as_os_str() == "-") {
        return Ok(Place::Stdout);
    }
    let path = given.cloned().unwrap_or_else(config::usual_place);
    let path = std::path::absolute(&path).with_context(|| format!("{} is no path", path.display()))?;
    if path.extension().is_some_and(|extension| extension == "json") {
        bail!("{} would be read as JSON, and init writes TOML; name it .toml", path.display());
    }
    // A link that leads nowhere is something, too.
    if fs::symlink_metadata(&path).is_ok() {
        bail!(already(&path));
    }
    Ok(Place::File(path))
}

fn already(path: &Path) -> String {
    format!(
        "{} is there already, and init overwrites nothing; move it away, or name another with --output FILE",
        path.display()
    )
}

/// A registry as the configuration will have it, and what `--from` says besides.
struct Chosen {
    registry: Registry,
    /// Whose images, where the address ends with it or an option says it.
    owner: Option<String>,
}

fn registry(
    arguments: &cli::Init,
    place: &Place,
    questions: &mut Questions<'_>,
) -> anyhow::Result<Option<Chosen>> {
    let usual = matches!(arguments.kind, Some(Kind::Github | Kind::Dockerhub | Kind::Gitlab));
    let (address, is_asked) = match arguments.from.as_ref().or(arguments.registry.as_ref()) {
        Some(address) => (Some(address.clone()), false),
        None if usual => (None, false),
        None => {
            let read = |answer: &str| match answer {
                "" => Err("an address such as https://git.example.com".to_owned()),
                address => Ok(address.to_owned()),
            };
            let address =
                questions.ask("--registry URL", "Registry (https://git.example.com)", None, read)?;
            let Some(address) = address else { return Ok(None) };
            (Some(address), true)
        }
    };
    let kind = arguments.kind.unwrap_or_else(|| kind_of(address.as_deref().unwrap_or_default()));
    let (address, owner) = match address {
        // A Gitea's address may have a path of its own; its last part is the owner only where nobody names one.
        Some(address)
            if kind != Kind::OciLayout
                && arguments.from.is_some()
                && arguments.owner.is_none()
                && arguments.image.is_empty() =>
        {
            let (address, owner) = split_owner(&address)?;
            (Some(address), Some(owner))
        }
        address => (address, arguments.owner.clone()),
    };
    let address = match (kind, address) {
        (Kind::OciLayout, Some(folder)) => Some(beside(place, Path::new(&folder))?),
        (_, Some(address)) if !address.contains("://") => Some(format!("https://{address}")),
        (_, address) => address,
    };
    let address = address.filter(|address| !is_usual(kind, address));
    let token = if let Some(path) = &arguments.token_file {
        Token::File(beside(place, path)?)
    } else if let Some(name) = &arguments.token_env {
        Token::Env(name.clone())
    } else if let Some(name) = &arguments.token_credential {
        Token::Credential(name.clone())
    } else if arguments.anonymous {
        Token::Anonymous
    } else if is_asked && kind != Kind::OciLayout {
        let read = |answer: &str| match answer {
            "$" => Err("a variable such as $GIT_TOKEN".to_owned()),
            answer => Ok(answer.to_owned()),
        };
        let question = "Its token: a file, a $VARIABLE, or nothing for public images";
        match questions.ask("--token-file FILE", question, Some(""), read)?.as_deref() {
            None | Some("") => Token::Search,
            Some(answer) => match answer.strip_prefix('$') {
                Some(variable) => Token::Env(variable.to_owned()),
                None => Token::File(beside(place, Path::new(answer))?),
            },
        }
    } else {
        Token::Search
    };
    let kind = match kind {
        Kind::Gitea => "gitea",
        Kind::Forgejo => "forgejo",
        Kind::Github => "github",
        Kind::Dockerhub => "dockerhub",
        Kind::Gitlab => "gitlab",
        Kind::Oci => "oci",
        Kind::OciLayout => "oci-layout",
    };
    let registry = Registry {
        kind,
        address,
        token,
        username: arguments.username.clone(),
        insecure_http: arguments.insecure_http,
    };
    Ok(Some(Chosen { registry, owner }))
}

fn kind_of(address: &str) -> Kind {
    let host = host(address);
    if Path::new(address).is_dir() {
        return Kind::OciLayout;
    }
    match host {
        "ghcr.io" => Kind::Github,
        "docker.io" | "hub.docker.com" | "registry-1.docker.io" | "index.docker.io" => Kind::Dockerhub,
        "registry.gitlab.com" => Kind::Gitlab,
        "quay.io" => Kind::Oci,
        _ => Kind::Gitea,
    }
}

fn host(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    rest.split(['/', ':']).next().unwrap_or_default()
}

/// Whether it is where the kind is anyway (or where people look at it).
fn is_usual(kind: Kind, address: &str) -> bool {
    matches!(kind, Kind::Github | Kind::Dockerhub | Kind::Gitlab) && kind_of(address) == kind
}

/// `https://git.example.com/acme`: the address, and the owner it ends with.
fn split_owner(address: &str) -> anyhow::Result<(String, String)> {
    let trimmed = address.trim_end_matches('/');
    let (scheme, rest) = trimmed.split_once("://").unwrap_or(("https", trimmed));
    match rest.rsplit_once('/') {
        Some((host, owner)) => {
            let owner = cli::owner(owner).map_err(|wrong| anyhow::anyhow!("{address}: {wrong}"))?;
            Ok((format!("{scheme}://{host}"), owner))
        }
        None => bail!(
            "whose images? Name the owner with --owner OWNER (or {trimmed}/OWNER), or images with --image"
        ),
    }
}

/// A path as it is written in the file: relative where it is below the file's folder.
fn beside(place: &Place, path: &Path) -> anyhow::Result<String> {
    let path = std::path::absolute(path).with_context(|| format!("{} is no path", path.display()))?;
    let shown = match (place, path.strip_prefix(place.folder())) {
        (Place::File(_), Ok(below)) => below,
        _ => &path,
    };
    shown.to_str().map(str::to_owned).with_context(|| format!("{} is not UTF-8", path.display()))
}

fn images(answer: &str) -> Result<Vec<Repository>, String> {
    match answer.split_whitespace().map(cli::image).collect::<Result<Vec<_>, _>>() {
        Ok(images) if images.is_empty() => Err("an image such as acme/shop".to_owned()),
        images => images,
    }
}

fn stages(answer: &str) -> Result<Vec<StageWish>, String> {
    each_once(answer.split_whitespace().map(cli::stage).collect::<Result<_, _>>()?)
}

fn each_once(stages: Vec<StageWish>) -> Result<Vec<StageWish>, String> {
    for (index, stage) in stages.iter().enumerate() {
        if stages[..index].iter().any(|before| before.name == stage.name) {
            return Err(format!(
                "the stage {0} is named twice; a stage with several globs has tags = [...] in the file",
                stage.name
            ));
        }
    }
    Ok(stages)
}

fn wish(stage: &StageWish, arguments: &cli::Init) -> crate::policy::ProposedStage {
    let is_of = |name: &Option<crate::target::Name>| name.as_ref().is_none_or(|name| *name == stage.name);
    // What is said of the stage itself goes before what is said of all.
    let mut orders: Vec<_> = arguments.order.iter().filter(|order| is_of(&order.stage)).collect();
    orders.sort_by_key(|order| order.stage.is_none());
    wanted(stage.name.as_str(), &stage.glob, orders.first().map(|order| order.order))
}

fn deploy(arguments: &cli::Init, questions: &mut Questions<'_>) -> anyhow::Result<Option<Deploy>> {
    if let Some(command) = &arguments.deploy_command {
        return words(command).map(Some).map_err(anyhow::Error::msg);
    }
    if let Some(url) = &arguments.deploy_url {
        return Ok(Some(Deploy::Url(url.clone())));
    }
    let read = |answer: &str| match answer {
        url if url.starts_with("http://") || url.starts_with("https://") => Ok(Deploy::Url(url.to_owned())),
        command => words(command),
    };
    let question = "What deploys: a command, or an address that gets a POST";
    questions.ask("--deploy-command COMMAND or --deploy-url URL", question, Some("./deploy.sh {tag}"), read)
}

/// A program and its arguments. There is no shell, so nothing of a shell's means anything.
fn words(command: &str) -> Result<Deploy, String> {
    if command.contains(['\'', '"', '\\']) {
        return Err(
            "write the command without quotes; arguments with blanks are for the file itself".to_owned()
        );
    }
    let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
    if words.is_empty() {
        Err("a program such as ./deploy.sh".to_owned())
    } else {
        Ok(Deploy::Command(words))
    }
}

/// What `check` would make of it.
fn validated(place: &Place, text: String) -> anyhow::Result<Config> {
    config::parse(place.path(), text).map_err(|faults| {
        let fault = |fault: &config::Fault| match &fault.help {
            Some(help) => format!("  {}\n    {help}", fault.message),
            None => format!("  {}", fault.message),
        };
        let faults: Vec<String> = faults.0.iter().map(fault).collect();
        anyhow::anyhow!(
            "this would be no valid configuration, and nothing was written:\n{}",
            faults.join("\n")
        )
    })
}

/// Writes a file that is not there, whole or not at all.
fn write(path: &Path, text: &str, is_private: bool) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).with_context(|| format!("could not make {}", folder.display()))?;
    let mode = if is_private { 0o600 } else { 0o644 };
    let permissions = fs::Permissions::from_mode(mode);
    let failed = || format!("could not write {}", path.display());
    let mut file =
        tempfile::Builder::new().permissions(permissions).tempfile_in(folder).with_context(failed)?;
    file.write_all(text.as_bytes()).with_context(failed)?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => bail!(already(path)),
        Err(error) => Err(error.error).with_context(failed),
    }
}

/// The schema that the file's first line names, unless it is there.
fn write_schema(config: &Path, console: &Console) -> anyhow::Result<()> {
    let path = config.with_file_name(SCHEMA);
    if fs::symlink_metadata(&path).is_ok() {
        return Ok(());
    }
    let schema = serde_json::to_string_pretty(&config::schema())? + "\n";
    write(&path, &schema, false)?;
    console.message(&format!("wrote {}, for editors", path.display()));
    Ok(())
}
