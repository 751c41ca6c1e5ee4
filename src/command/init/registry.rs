//! The registry that the configuration will have: from options, questions and what its address tells.

use std::path::Path;

use anyhow::bail;

use super::file::{Place, beside};
use super::question::Questions;
use crate::cli::{self, Kind};
use crate::init::{Registry, Token};
use crate::report::Console;

/// A registry as the configuration will have it, and what `--from` says besides.
pub(super) struct Chosen {
    pub(super) registry: Registry,
    /// Whose images, where the address ends with it or an option says it.
    pub(super) owner: Option<String>,
}

/// None: nobody can be asked for its address.
///
/// # Errors
/// The address names no owner and nothing else does, a path is none, or the terminal is closed.
pub(super) fn registry(
    arguments: &cli::Init,
    place: &Place,
    questions: &mut Questions<'_>,
    console: &Console,
) -> anyhow::Result<Option<Chosen>> {
    let given = arguments.from.as_ref().or(arguments.registry.as_ref());
    let is_asked = given.is_none() && !arguments.kind.is_some_and(has_usual_place);
    let address = match given {
        None if is_asked => {
            let Some(address) = ask_address(questions)? else { return Ok(None) };
            Some(address)
        }
        given => given.cloned(),
    };
    let kind = arguments.kind.unwrap_or_else(|| kind_of(address.as_deref().unwrap_or_default()));
    // A Gitea's address may have a path of its own; its last part is the owner only where nobody names one.
    let names_nothing = arguments.owner.is_none() && arguments.image.is_empty();
    let (address, owner) = match address {
        Some(address) if kind != Kind::OciLayout && arguments.from.is_some() && names_nothing => {
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
    let token = match token(arguments, place)? {
        Some(token) => token,
        None if is_asked && kind != Kind::OciLayout => ask_token(place, questions, console)?,
        None => Token::Search,
    };
    let registry = Registry {
        kind: kind.as_str(),
        address: address.filter(|address| !is_usual(kind, address)),
        token,
        username: arguments.username.clone(),
        insecure_http: arguments.insecure_http,
    };
    Ok(Some(Chosen { registry, owner }))
}

fn ask_address(questions: &mut Questions<'_>) -> anyhow::Result<Option<String>> {
    let read = |answer: &str| match answer {
        "" => Err("an address such as https://git.example.com".to_owned()),
        address => Ok(address.to_owned()),
    };
    questions.ask("--registry URL", "Registry (https://git.example.com)", None, read)
}

/// What the options say of the token.
fn token(arguments: &cli::Init, place: &Place) -> anyhow::Result<Option<Token>> {
    const TOKEN_GIVEN: &str = "that looks like the token itself, and is not repeated here";
    Ok(if let Some(path) = &arguments.token_file {
        if !path.exists() && path.to_str().is_some_and(looks_like_a_token) {
            bail!("--token-file takes the name of a file; {TOKEN_GIVEN}\n  help: {HOW}");
        }
        Some(Token::File(beside(place, path)?))
    } else if let Some(name) = &arguments.token_env {
        if name.contains(char::is_lowercase) && looks_like_a_token(name) {
            bail!("--token-env takes the name of a variable; {TOKEN_GIVEN}\n  help: {HOW}");
        }
        Some(Token::Env(name.clone()))
    } else if let Some(name) = &arguments.token_credential {
        if looks_like_a_token(name) {
            bail!("--token-credential takes the name of a systemd credential; {TOKEN_GIVEN}\n  help: {HOW}");
        }
        Some(Token::Credential(name.clone()))
    } else {
        arguments.anonymous.then_some(Token::Anonymous)
    })
}

/// How to hand a token over without writing it where it can be read.
const HOW: &str = "put the token into a file: (umask 077; cat > git-token), paste it, press Enter and Ctrl-D; then give the \
                   name of that file";

fn ask_token(place: &Place, questions: &mut Questions<'_>, console: &Console) -> anyhow::Result<Token> {
    let read = |answer: &str| match answer.strip_prefix('$') {
        _ if answer.is_empty() => Ok(Token::Search),
        Some(name) if is_variable(name) => Ok(Token::Env(name.to_owned())),
        Some(_) => Err("a variable such as $GIT_TOKEN".to_owned()),
        None if Path::new(answer).is_file() => {
            beside(place, Path::new(answer)).map(Token::File).map_err(|error| format!("{error:#}"))
        }
        None => Err(format!("no such file (the answer is not repeated: it may be a token)\n  help: {HOW}")),
    };
    let question =
        "Its token: a file, a $VARIABLE, or nothing for public images (what you type is not shown)";
    let token = questions.ask_unseen("--token-file FILE", question, Some(""), read)?.unwrap_or(Token::Search);
    match &token {
        Token::File(path) => console.message(&format!("token: the file {path}")),
        Token::Env(name) => console.message(&format!("token: the variable {name}")),
        _ => {}
    }
    Ok(token)
}

fn is_variable(name: &str) -> bool {
    let is_word = |character: char| character.is_ascii_alphanumeric() || character == '_';
    !name.is_empty() && name.chars().all(is_word)
}

/// Letters and digits in a row that is longer than most names: the tokens of all forges are.
fn looks_like_a_token(text: &str) -> bool {
    let has = |is: fn(&u8) -> bool| text.as_bytes().iter().any(is);
    text.len() >= 20
        && has(u8::is_ascii_digit)
        && has(u8::is_ascii_alphabetic)
        && !has(|byte| *byte == b'/' || byte.is_ascii_whitespace())
}

/// By the host, or because it is a folder.
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

/// Whether the configuration needs no address for it.
fn has_usual_place(kind: Kind) -> bool {
    matches!(kind, Kind::Github | Kind::Dockerhub | Kind::Gitlab)
}

/// Whether it is where the kind is anyway (or where people look at it).
fn is_usual(kind: Kind, address: &str) -> bool {
    has_usual_place(kind) && kind_of(address) == kind
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
