//! `tagship init`: writes a first configuration from options, answers, or the images of a registry.

mod discover;
mod file;
mod question;
mod registry;

use std::sync::Arc;

use anyhow::bail;

use super::Exit;
use super::state::usual_place;
use crate::cli::{self, Global, StageRule};
use crate::config::{self, Config};
use crate::init::{self, Deploy, Draft, Project, RegistryDraft};
use crate::policy::{Proposal, ProposedStage, wanted};
use crate::reference::Repository;
use crate::report::{Console, count};
use crate::schedule::shell;
use crate::stop::Stop;
use discover::Proposed;
use file::{Output, beside, place, write, write_schema};
use question::Questions;
use registry::registry;

/// Writes the file and prints the next commands.
///
/// # Errors
/// Missing or wrong options, or the file already exists.
pub(crate) fn init(global: &Global, arguments: &cli::Init, console: &Console) -> anyhow::Result<Exit> {
    let place = place(global, arguments)?;
    let mut questions = Questions::new(console);
    let registry = registry(arguments, &place, &mut questions, console)?;
    // Checked now, so that no later answer is lost. Without a registry there are no questions.
    let tried = |images: &[Repository], stages: &[StageRule], deploy: Option<&Deploy>| {
        let Some(chosen) = &registry else { return Ok(()) };
        let stages: Vec<_> = stages.iter().map(|stage| wish(stage, arguments)).collect();
        tried(&place, &chosen.registry, images, &stages, deploy).map(drop)
    };
    if questions.asks {
        // No answer can correct an option.
        tried(&arguments.image, &arguments.stage, None).map_err(invalid)?;
    }
    let of_the_address = registry.as_ref().and_then(|chosen| chosen.image.clone());
    let mut named: Vec<Repository> = arguments.image.iter().cloned().chain(of_the_address).collect();
    // At a terminal, a token is enough to list images as --from does.
    let is_free = arguments.image.is_empty() && arguments.stage.is_empty() && arguments.order.is_empty();
    let lists = questions.asks && is_free && arguments.from.is_none();
    let mut proposed = None;
    if let Some(chosen) = registry.as_ref().filter(|chosen| lists && chosen.registry.token.is_given()) {
        let mut owner = chosen.owner.clone();
        if owner.is_none() {
            let read = |answer: &str| match cli::owner(answer) {
                Ok(owner) => Ok((Some(owner), Vec::new())),
                Err(_) => images(answer).map(|images| (None, images)),
            };
            let question = "Owner of all images (acme), or images (acme/shop)";
            if let Some(answer) = questions.ask("--image IMAGE", question, None, read)? {
                (owner, named) = answer;
            }
        }
        proposed = discover::offered(chosen, &place, arguments, owner, &named, console);
    }
    let images = if arguments.from.is_some() || proposed.is_some() || !named.is_empty() {
        Some(named)
    } else {
        let read = |answer: &str| {
            let images = images(answer)?;
            tried(&images, &[], None).map(|()| images)
        };
        questions.ask("--image IMAGE", "Image, without host and tag (acme/shop)", None, read)?
    };
    let stages = match arguments.stage.as_slice() {
        [] if arguments.from.is_none() && proposed.is_none() => {
            let read = |answer: &str| {
                let stages = stages(answer)?;
                tried(&[], &stages, None).map(|()| stages)
            };
            questions.ask("--stage NAME=GLOB", "Stages and their tags", Some("dev=dev-* prod=v*"), read)?
        }
        stages => Some(each_once(stages.to_vec()).map_err(anyhow::Error::msg)?),
    };
    let deploy = deploy(arguments, &mut questions, |deploy| tried(&[], &[], Some(deploy)))?;
    questions.complete()?;
    let (Some(registry), Some(images), Some(stages), Some(deploy)) = (registry, images, stages, deploy)
    else {
        bail!("an option is missing");
    };

    let Proposed { projects, all_of } = if let Some(proposed) = proposed {
        proposed
    } else if arguments.from.is_some() {
        // Up to here a signal ends the process by itself.
        let stop = Stop::on_signals()?;
        let opened = discover::open(&registry.registry, &place, &stop)?;
        // A server's error may repeat a credential.
        let console = console.masking(Arc::clone(&opened.secrets));
        match discover::projects(&registry, &opened, arguments, registry.owner.clone(), images, &console) {
            Ok(proposed) => proposed,
            Err(error) => {
                if let Some(signal) = stop.signal() {
                    return Ok(Exit::Signal(signal));
                }
                console.error(&format!("{error:#}; nothing was written"));
                return Ok(Exit::Failed);
            }
        }
    } else {
        let proposal = || Proposal {
            stages: stages.iter().map(|stage| wish(stage, arguments)).collect(),
            skipped: Vec::new(),
        };
        let project = |image| Project { image, proposal: proposal(), fault: None };
        Proposed { projects: images.into_iter().map(project).collect(), all_of: None }
    };
    let state = match &place {
        Output::File(path) => Some(beside(&place, &usual_place(global, path)?)?),
        // The place of the printed text is unknown.
        Output::Stdout => None,
    };
    let draft = Draft { registry: registry.registry, projects, deploy, all_of, state };
    let text = init::configuration(&draft);
    let config = parsed(&place, text.clone()).map_err(invalid)?;
    config.warnings.iter().for_each(|warning| console.fault_warning(warning));
    match &place {
        Output::Stdout => console.data(text.trim_end()),
        Output::File(path) => {
            // The address of a deploy endpoint is often a secret itself.
            let is_private = matches!(draft.deploy, Deploy::Url(_));
            write(path, &text, is_private)?;
            let stages = count(config.all_targets().count(), "stage");
            console.message(&format!("wrote {} with {stages}; please review it", path.display()));
            write_schema(path, console)?;
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

fn images(answer: &str) -> Result<Vec<Repository>, String> {
    let image = |word: &str| match registry::image_at(word) {
        Some(image) => Ok(image),
        None => cli::image(word),
    };
    match answer.split_whitespace().map(image).collect::<Result<Vec<_>, _>>() {
        Ok(images) if images.is_empty() => Err("expected an image, such as acme/shop".to_owned()),
        images => images,
    }
}

fn stages(answer: &str) -> Result<Vec<StageRule>, String> {
    // Quotes as in a shell, because the examples have them.
    let words = shlex::split(answer).ok_or("a quote is not closed")?;
    each_once(words.iter().map(|word| cli::stage(word)).collect::<Result<_, _>>()?)
}

fn each_once(stages: Vec<StageRule>) -> Result<Vec<StageRule>, String> {
    for (index, stage) in stages.iter().enumerate() {
        if stages[..index].iter().any(|before| before.name == stage.name) {
            return Err(format!(
                "the stage {0} is given twice; for several globs, write tags = [...] in the file",
                stage.name
            ));
        }
    }
    Ok(stages)
}

fn wish(stage: &StageRule, arguments: &cli::Init) -> ProposedStage {
    let is_of = |name: &Option<crate::target::Name>| name.as_ref().is_none_or(|name| *name == stage.name);
    // An order for this stage takes precedence over an order for all stages.
    let mut orders: Vec<_> = arguments.order.iter().filter(|order| is_of(&order.stage)).collect();
    orders.sort_by_key(|order| order.stage.is_none());
    wanted(stage.name.as_str(), &stage.glob, orders.first().map(|order| order.order))
}

fn deploy(
    arguments: &cli::Init,
    questions: &mut Questions<'_>,
    tried: impl Fn(&Deploy) -> Result<(), String>,
) -> anyhow::Result<Option<Deploy>> {
    if let Some(command) = &arguments.deploy_command {
        return words(command).map(Some).map_err(anyhow::Error::msg);
    }
    if let Some(url) = &arguments.deploy_url {
        return Ok(Some(Deploy::Url(url.clone())));
    }
    let read = |answer: &str| {
        let deploy = match answer {
            url if url.starts_with("http://") || url.starts_with("https://") => Deploy::Url(url.to_owned()),
            command => words(command)?,
        };
        tried(&deploy).map(|()| deploy)
    };
    let question = "How to deploy: a command, or a URL that receives a POST request";
    questions.ask("--deploy-command COMMAND or --deploy-url URL", question, Some("./deploy.sh {tag}"), read)
}

/// A program and its arguments. They are run without a shell, so shell syntax has no meaning.
fn words(command: &str) -> Result<Deploy, String> {
    if command.contains(['\'', '"', '\\']) {
        return Err(
            "write the command without quotes; an argument with blanks can be added in the file later"
                .to_owned(),
        );
    }
    let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
    if words.is_empty() {
        Err("expected a program, such as ./deploy.sh".to_owned())
    } else {
        Ok(Deploy::Command(words))
    }
}

/// Validates the configuration with these answers, and with examples where there are none yet.
///
/// # Errors
/// The mistakes in it.
fn tried(
    place: &Output,
    registry: &RegistryDraft,
    images: &[Repository],
    stages: &[ProposedStage],
    deploy: Option<&Deploy>,
) -> Result<Config, String> {
    let image = Repository::new("owner/image").map_err(|error| error.to_string())?;
    let images = if images.is_empty() { vec![image] } else { images.to_vec() };
    let stages = if stages.is_empty() { &[wanted("any", "*", None)] } else { stages };
    let proposal = || Proposal { stages: stages.to_vec(), skipped: Vec::new() };
    let project = |image| Project { image, proposal: proposal(), fault: None };
    let draft = Draft {
        registry: registry.clone(),
        projects: images.into_iter().map(project).collect(),
        deploy: deploy.cloned().unwrap_or(Deploy::Command(vec!["none".to_owned()])),
        all_of: None,
        state: None,
    };
    parsed(place, init::configuration(&draft))
}

/// Validates the text as `check` does.
///
/// # Errors
/// The mistakes in it.
fn parsed(place: &Output, text: String) -> Result<Config, String> {
    config::parse(place.path(), text).map_err(|faults| {
        let fault = |fault: &config::Fault| match &fault.help {
            Some(help) => format!("{}\n  help: {help}", fault.message),
            None => fault.message.clone(),
        };
        faults.0.iter().map(fault).collect::<Vec<_>>().join("\n")
    })
}

/// The error for these mistakes.
fn invalid(faults: String) -> anyhow::Error {
    let faults = faults.replace('\n', "\n  ");
    anyhow::anyhow!("the configuration would not be valid; nothing was written:\n  {faults}")
}
