//! The registry of the new configuration, from options, answers and its address.

use std::path::Path;

use anyhow::bail;
use url::Url;

use super::file::{Output, beside};
use super::question::Questions;
use super::tried;
use crate::cli::{self, ServerKind};
use crate::http::is_loopback;
use crate::init::{RegistryDraft, Token};
use crate::reference::Repository;
use crate::report::Console;

/// A registry for the configuration, with further data from `--from`.
pub(super) struct Chosen {
    pub(super) registry: RegistryDraft,
    /// The owner of the images, from the address or an option.
    pub(super) owner: Option<String>,
    /// The image in the address.
    pub(super) image: Option<Repository>,
}

/// None: the address is missing, and no terminal is available to ask for it.
///
/// # Errors
/// The owner is missing, a path is not valid, or the terminal is closed.
pub(super) fn registry(
    arguments: &cli::Init,
    place: &Output,
    questions: &mut Questions<'_>,
    console: &Console,
) -> anyhow::Result<Option<Chosen>> {
    let given = arguments.from.as_ref().or(arguments.registry.as_ref());
    let is_asked = given.is_none() && !arguments.kind.is_some_and(has_usual_place);
    let read = |answer: &str| {
        let chosen =
            located(arguments, place, Some(address(answer)?)).map_err(|error| format!("{error:#}"))?;
        tried(place, &chosen.registry, &[], &[], None).map(|_| chosen)
    };
    let mut chosen = match given {
        None if is_asked => {
            match questions.ask("--registry URL", "Registry (https://git.example.com)", None, read)? {
                Some(chosen) => chosen,
                None => return Ok(None),
            }
        }
        None => located(arguments, place, None)?,
        Some(given) => located(arguments, place, Some(address(given).map_err(anyhow::Error::msg)?))?,
    };
    if let Some(token) = token(arguments, place)? {
        chosen.registry.token = token;
    } else if is_asked && chosen.registry.kind != ServerKind::OciLayout.as_str() {
        chosen.registry.token = ask_token(place, questions, console)?;
    }
    Ok(Some(chosen))
}

/// The registry at this address, without its token.
///
/// # Errors
/// The owner is missing, or a path is not valid.
fn located(arguments: &cli::Init, place: &Output, address: Option<String>) -> anyhow::Result<Chosen> {
    let kind = arguments.kind.unwrap_or_else(|| kind_of(address.as_deref().unwrap_or_default()));
    let named = arguments.owner.as_deref().or_else(|| arguments.image.first().map(Repository::owner));
    let parts = match &address {
        Some(address) if kind != ServerKind::OciLayout => Some(split(address, named)?),
        _ => None,
    };
    let (mut owner, mut image) = (arguments.owner.clone(), None);
    let address = match (parts, address) {
        (Some(parts), _) => {
            if named.is_none() {
                if arguments.from.is_some() && parts.owner.is_none() {
                    bail!(
                        "the owner of the images is missing; add --owner OWNER (or write {0}/OWNER), or --image for single images",
                        parts.root
                    );
                }
                (owner, image) = (parts.owner, parts.image);
            }
            Some(parts.root)
        }
        (None, _) if arguments.from.is_some() && named.is_none() => {
            bail!("the owner of the images is missing; add --owner OWNER, or --image for single images")
        }
        (None, Some(folder)) => Some(beside(place, Path::new(&folder))?),
        (None, None) => None,
    };
    let registry = RegistryDraft {
        kind: kind.as_str(),
        address: address.filter(|address| !is_usual(kind, address)),
        token: Token::Search,
        username: arguments.username.clone(),
        insecure_http: arguments.insecure_http,
    };
    Ok(Chosen { registry, owner, image })
}

fn address(text: &str) -> Result<String, String> {
    match text.chars().next() {
        None => Err("expected an address, such as https://git.example.com".to_owned()),
        // The shell has already expanded what it expands, and no host begins like this.
        Some('~' | '$') => Err(format!("{text}: only a shell expands this; write the whole path")),
        Some(_) => Ok(text.to_owned()),
    }
}

/// The token source from the options.
fn token(arguments: &cli::Init, place: &Output) -> anyhow::Result<Option<Token>> {
    const TOKEN_GIVEN: &str = "the value looks like the token itself, so it is not shown here";
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

/// How to pass a token without writing it where others can read it.
const HOW: &str = "write the token to a file: run (umask 077; cat > git-token), paste it, press Enter and Ctrl-D; then give the name of that file";

fn ask_token(place: &Output, questions: &mut Questions<'_>, console: &Console) -> anyhow::Result<Token> {
    let read = |answer: &str| match answer.strip_prefix('$') {
        _ if answer.is_empty() => Ok(Token::Search),
        Some(name) if is_variable(name) => Ok(Token::Env(name.to_owned())),
        Some(_) => Err("expected a variable, such as $GIT_TOKEN".to_owned()),
        None if Path::new(answer).is_file() => {
            beside(place, Path::new(answer)).map(Token::File).map_err(|error| format!("{error:#}"))
        }
        None => Err(format!(
            "the file does not exist (its name is not shown, because it may be a token)\n  help: {HOW}"
        )),
    };
    let question = "Token of the registry: a file, a $VARIABLE, or nothing for public images (what you type is not shown)";
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

/// A run of letters and digits longer than most names, as in the tokens of all forges.
fn looks_like_a_token(text: &str) -> bool {
    let has = |is: fn(&u8) -> bool| text.as_bytes().iter().any(is);
    text.len() >= 20
        && has(u8::is_ascii_digit)
        && has(u8::is_ascii_alphabetic)
        && !has(|byte| *byte == b'/' || byte.is_ascii_whitespace())
}

/// The kind, by the host, or because it is a folder.
fn kind_of(address: &str) -> ServerKind {
    let host = host(address);
    if Path::new(address).is_dir() {
        return ServerKind::OciLayout;
    }
    match host {
        "ghcr.io" => ServerKind::Github,
        "docker.io" | "hub.docker.com" | "registry-1.docker.io" | "index.docker.io" => ServerKind::Dockerhub,
        "registry.gitlab.com" => ServerKind::Gitlab,
        "quay.io" => ServerKind::Oci,
        _ => ServerKind::Gitea,
    }
}

fn host(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    rest.split(['/', ':']).next().unwrap_or_default()
}

/// Whether the configuration can omit the address.
fn has_usual_place(kind: ServerKind) -> bool {
    matches!(kind, ServerKind::Github | ServerKind::Dockerhub | ServerKind::Gitlab)
}

/// Whether it is the kind's default address (or that of its web pages).
fn is_usual(kind: ServerKind, address: &str) -> bool {
    has_usual_place(kind) && kind_of(address) == kind
}

/// The parts of an address that a user copied.
#[derive(Debug, PartialEq, Eq)]
struct Parts {
    /// The registry's own address.
    root: String,
    owner: Option<String>,
    image: Option<Repository>,
}

/// The image in the address of its page or of the registry's API.
pub(super) fn image_at(address: &str) -> Option<Repository> {
    address.contains("://").then(|| split(address, None).ok()?.image)?
}

/// Splits the address of a registry, an owner, an image, a page of Gitea's packages, or the registry's API.
/// `named`: the owner from an option, which may also end the address.
///
/// # Errors
/// The owner in the address is not valid.
fn split(address: &str, named: Option<&str>) -> anyhow::Result<Parts> {
    let trimmed = address.trim_end_matches('/');
    let (scheme, rest) = match trimmed.split_once("://") {
        Some(parts) => parts,
        None if Url::parse(&format!("http://{trimmed}")).is_ok_and(|url| is_loopback(&url)) => {
            ("http", trimmed)
        }
        None => ("https", trimmed),
    };
    let mut segments = rest.split('/');
    let authority = segments.next().unwrap_or_default();
    let path: Vec<&str> = segments.filter(|segment| !segment.is_empty()).collect();
    let page = path.iter().position(|segment| *segment == "-").filter(|at| *at > 0);
    let (root, names): (&[&str], Vec<&str>) = match (page, path.as_slice()) {
        // OWNER/-/packages/container/IMAGE/TAG
        (Some(at), path) => {
            let image = path.get(at + 1..at + 4).filter(|page| page[..2] == ["packages", "container"]);
            let image = image.map(|page| page[2]);
            (&path[..at - 1], [path[at - 1]].into_iter().chain(image).collect())
        }
        // The registry's API.
        (None, ["v2", names @ ..]) => {
            let end = names.iter().position(|name| ["tags", "manifests", "blobs"].contains(name));
            (&[], names[..end.unwrap_or(names.len())].to_vec())
        }
        // A registry may have its own path.
        (None, path) if named.is_some() => {
            let at = path.iter().rposition(|segment| named == Some(&segment.to_ascii_lowercase()));
            (&path[..at.unwrap_or(path.len())], Vec::new())
        }
        (None, [root @ .., owner]) if root.len() != 1 => (root, vec![*owner]),
        (None, path) => (&[], path.to_vec()),
    };
    let root = [authority].into_iter().chain(root.iter().copied()).collect::<Vec<_>>().join("/");
    let owner = names.first().map(|owner| cli::owner(owner)).transpose();
    let owner = owner.map_err(|wrong| anyhow::anyhow!("{address}: {wrong}"))?;
    let image = match names.as_slice() {
        [] | [_] => None,
        names => Repository::new(&names.join("/").replace("%2F", "/").to_ascii_lowercase()).ok(),
    };
    Ok(Parts { root: format!("{scheme}://{root}"), owner, image })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_split_into_root_owner_and_image() {
        for (address, named, root, owner, image) in [
            ("https://git.example.com", None, "https://git.example.com", None, None),
            ("git.example.com/acme/", None, "https://git.example.com", Some("acme"), None),
            ("127.0.0.1:4100", None, "http://127.0.0.1:4100", None, None),
            ("https://g.example/acme/shop", None, "https://g.example", Some("acme"), Some("acme/shop")),
            ("https://g.example/forge/git/acme", None, "https://g.example/forge/git", Some("acme"), None),
            ("https://g.example/acme/-/packages", None, "https://g.example", Some("acme"), None),
            ("https://g.example/git/acme/-/packages", None, "https://g.example/git", Some("acme"), None),
            (
                "https://g.example/Acme/-/packages/container/team%2Fshop/dev-1",
                None,
                "https://g.example",
                Some("acme"),
                Some("acme/team/shop"),
            ),
            ("https://g.example/v2/acme", None, "https://g.example", Some("acme"), None),
            (
                "https://g.example/v2/acme/shop/tags/list",
                None,
                "https://g.example",
                Some("acme"),
                Some("acme/shop"),
            ),
            ("https://g.example/acme", Some("acme"), "https://g.example", None, None),
            ("https://g.example/git/acme/shop", Some("acme"), "https://g.example/git", None, None),
            ("https://g.example/git", Some("acme"), "https://g.example/git", None, None),
        ] {
            let expected = Parts {
                root: root.to_owned(),
                owner: owner.map(str::to_owned),
                image: image.map(|image| Repository::new(image).unwrap()),
            };
            assert_eq!(split(address, named).unwrap(), expected, "{address}");
        }
    }
}
