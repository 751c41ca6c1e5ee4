//! A registry as the OCI distribution specification has it, and a list of exchanges to the letter.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use crate::http::{Answer, Reply, Request, Server};
use crate::registry::{TOKEN, digest_of};

/// An identity token of the user of [`TOKEN`].
pub(crate) const IDENTITY: &str = "planted-n6Bv1xRk8DqZ3hTy5WgM";

/// How a plain registry wants to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Open,
    /// `htpasswd`.
    Basic,
    /// A token server, on the same origin.
    Bearer,
}

/// A distribution registry in memory. Fails its test on a request that it does not know.
pub(crate) struct Oci {
    server: Server,
    state: Arc<Mutex<State>>,
}

struct State {
    door: Door,
    /// The largest page it gives.
    page: usize,
    tags: BTreeMap<String, BTreeSet<String>>,
    /// By `repository:tag`, where it was said: the digest, and when it was built.
    images: BTreeMap<String, (String, Option<String>)>,
    hides_catalog: bool,
    requests: Vec<Request>,
    unscripted: Vec<String>,
}

impl Oci {
    pub(crate) fn start(door: Door, page: usize) -> Oci {
        let state = Arc::new(Mutex::new(State {
            door,
            page,
            tags: BTreeMap::new(),
            images: BTreeMap::new(),
            hides_catalog: false,
            requests: Vec::new(),
            unscripted: Vec::new(),
        }));
        let shared = Arc::clone(&state);
        let server = Server::start(move |request| shared.lock().unwrap().reply(request));
        Oci { server, state }
    }

    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    pub(crate) fn push(&self, repository: &str, tag: &str) {
        let mut state = self.state.lock().unwrap();
        state.tags.entry(repository.to_owned()).or_default().insert(tag.to_owned());
    }

    /// Pushes a tag of an image by its name; `created`: when it says that it was built.
    pub(crate) fn push_image(&self, repository: &str, tag: &str, image: &str, created: Option<&str>) {
        let built = (digest_of(image), created.map(str::to_owned));
        self.state.lock().unwrap().images.insert(format!("{repository}:{tag}"), built);
        self.push(repository, tag);
    }

    /// A tag that is listed before its manifest is there.
    pub(crate) fn push_name(&self, repository: &str, tag: &str) {
        self.push_image(repository, tag, "", None);
        self.state.lock().unwrap().images.get_mut(&format!("{repository}:{tag}")).unwrap().0.clear();
    }

    /// There is no catalog.
    pub(crate) fn hide_catalog(&self) {
        self.state.lock().unwrap().hides_catalog = true;
    }

    /// Deletes a repository with its tags.
    pub(crate) fn delete_repository(&self, repository: &str) {
        self.state.lock().unwrap().tags.remove(repository).unwrap();
    }

    pub(crate) fn delete(&self, repository: &str, tag: &str) {
        self.state.lock().unwrap().tags.get_mut(repository).unwrap().remove(tag);
    }

    /// Every request so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state.lock().unwrap().requests.clone()
    }

    pub(crate) fn port(&self) -> u16 {
        self.server.port()
    }

    pub(crate) fn count(&self, part: &str) -> usize {
        self.state.lock().unwrap().requests.iter().filter(|request| request.target.contains(part)).count()
    }
}

impl Drop for Oci {
    fn drop(&mut self) {
        let unscripted = self.state.lock().map(|state| state.unscripted.clone()).unwrap_or_default();
        if !std::thread::panicking() {
            assert!(unscripted.is_empty(), "requests that nobody scripted: {unscripted:#?}");
        }
    }
}

impl State {
    fn reply(&mut self, request: &Request) -> Reply {
        self.requests.push(request.clone());
        match self.answer(request) {
            Some(answer) => answer.into(),
            None => {
                self.unscripted.push(request.line());
                Answer::new(599, "text/plain", "nobody scripted this request").into()
            }
        }
    }

    fn answer(&self, request: &Request) -> Option<Answer> {
        let path = request.path();
        if path == "/token" && self.door == Door::Bearer {
            if request.method == "POST" {
                return Some(exchange_identity(request));
            }
            // Without a repository: whoever signs in.
            let scope = request.query("scope").unwrap_or_default();
            let answer = match request.basic_password() {
                Some(password) if password != TOKEN => error(401, "UNAUTHORIZED"),
                _ => Answer::json(
                    200,
                    format!("{{\"access_token\":\"{}\",\"expires_in\":300}}", bearer(&scope)),
                ),
            };
            return Some(answer);
        }
        let rest = path.strip_prefix("/v2/")?;
        if rest.is_empty() {
            return Some(self.refusal(request, String::new()).unwrap_or_else(|| Answer::json(200, "{}")));
        }
        if rest == "_catalog" {
            let refusal = self.refusal(request, "registry:catalog:*".to_owned());
            let hidden = || self.hides_catalog.then(|| error(404, "UNSUPPORTED"));
            let names: BTreeSet<String> = self.tags.keys().cloned().collect();
            let catalog = || self.page(request, &names, |shown| serde_json::json!({ "repositories": shown }));
            return Some(refusal.or_else(hidden).unwrap_or_else(catalog));
        }
        if let Some((_, digest)) = rest.split_once("/blobs/") {
            let created = self.images.values().find(|(image, _)| image == digest)?.1.clone();
            let configuration =
                serde_json::json!({"os": "linux", "architecture": "amd64", "created": created});
            return Some(Answer::json(200, configuration.to_string()));
        }
        let (repository, last) = match rest.strip_suffix("/tags/list") {
            Some(repository) => (repository, None),
            None => rest.split_once("/manifests/").map(|(repository, tag)| (repository, Some(tag)))?,
        };
        if let Some(refusal) = self.refusal(request, format!("repository:{repository}:pull")) {
            return Some(refusal);
        }
        let Some(tags) = self.tags.get(repository) else { return Some(error(404, "NAME_UNKNOWN")) };
        let of_digest = |wanted: &str| self.images.values().find(|(digest, _)| digest == wanted);
        let named = |reference: &str| {
            self.images.get(&format!("{repository}:{reference}")).or_else(|| of_digest(reference))
        };
        let image = last.and_then(named);
        if let Some((digest, _)) = image {
            if digest.is_empty() {
                return Some(error(404, "MANIFEST_UNKNOWN"));
            }
            // The image's configuration is found by the digest of its manifest.
            let manifest = serde_json::json!({"config": {"digest": digest}}).to_string();
            let body = if request.method == "GET" { manifest } else { String::new() };
            let manifest = Answer::new(200, "application/vnd.oci.image.manifest.v1+json", body);
            return Some(manifest.with("Docker-Content-Digest", digest.clone()));
        }
        match (request.method.as_str(), last) {
            ("HEAD", Some(tag)) if tags.contains(tag) => Some(
                Answer::new(200, "application/vnd.oci.image.manifest.v1+json", "")
                    .with("Docker-Content-Digest", digest_of(&format!("{repository}:{tag}"))),
            ),
            ("HEAD", Some(_)) => Some(error(404, "MANIFEST_UNKNOWN")),
            ("GET", None) => {
                Some(self.page(request, tags, |shown| serde_json::json!({"name": repository, "tags": shown})))
            }
            _ => None,
        }
    }

    fn refusal(&self, request: &Request, scope: String) -> Option<Answer> {
        let challenge = match self.door {
            Door::Open => return None,
            Door::Basic if request.basic_password().as_deref() == Some(TOKEN) => return None,
            Door::Basic => "Basic realm=\"basic-realm\"".to_owned(),
            Door::Bearer => {
                if request.bearer() == Some(bearer(&scope).as_str()) {
                    return None;
                }
                let host = request.header("host")?;
                format!("Bearer realm=\"http://{host}/token\",service=\"{host}\",scope=\"{scope}\"")
            }
        };
        Some(error(401, "UNAUTHORIZED").with("Www-Authenticate", challenge))
    }

    fn page(
        &self,
        request: &Request,
        names: &BTreeSet<String>,
        body: impl Fn(&[&String]) -> serde_json::Value,
    ) -> Answer {
        let asked = request.query("n").and_then(|n| n.parse().ok()).unwrap_or(self.page);
        let n = asked.min(self.page);
        let last = request.query("last").unwrap_or_default();
        let mut rest = names.iter().filter(|name| **name > last);
        let shown: Vec<&String> = rest.by_ref().take(n).collect();
        let mut answer = Answer::json(200, body(&shown).to_string());
        if rest.next().is_some() {
            let last = shown.last().expect("a page has at least one name");
            answer = answer.with("Link", format!("<{}?last={last}&n={n}>; rel=\"next\"", request.path()));
        }
        answer
    }
}

/// OAuth 2, as the distribution's token specification has it: an identity token for a bearer token.
fn exchange_identity(request: &Request) -> Answer {
    let form: BTreeMap<String, String> = url::form_urlencoded::parse(&request.body).into_owned().collect();
    let is_right = form["grant_type"] == "refresh_token" && form["refresh_token"] == IDENTITY;
    if is_right && request.header("authorization").is_none() && !form["service"].is_empty() {
        Answer::json(200, format!("{{\"access_token\":\"{}\",\"expires_in\":300}}", bearer(&form["scope"])))
    } else {
        error(401, "UNAUTHORIZED")
    }
}

/// The token that opens one scope.
fn bearer(scope: &str) -> String {
    format!("planted-bearer-{}", scope.replace([':', '/'], "-"))
}

fn error(status: u16, code: &str) -> Answer {
    Answer::json(status, format!("{{\"errors\":[{{\"code\":\"{code}\",\"message\":\"\",\"detail\":null}}]}}"))
}

/// A server that answers a fixed list of exchanges in order. Any other request, and any exchange that
/// is left over when it is dropped, fails the test.
pub(crate) struct Script {
    server: Server,
    state: Arc<Mutex<Played>>,
}

struct Played {
    rest: VecDeque<(&'static str, Reply)>,
    requests: Vec<Request>,
    wrong: Vec<String>,
}

impl Script {
    /// Each exchange is the request's line, `GET /v2/acme/shop/tags/list`, and the reply.
    pub(crate) fn start(exchanges: impl IntoIterator<Item = (&'static str, Reply)>) -> Script {
        let state = Arc::new(Mutex::new(Played {
            rest: exchanges.into_iter().collect(),
            requests: Vec::new(),
            wrong: Vec::new(),
        }));
        let shared = Arc::clone(&state);
        let server = Server::start(move |request| {
            let mut state = shared.lock().unwrap();
            state.requests.push(request.clone());
            match state.rest.pop_front() {
                Some((line, reply)) if line == request.line() => reply,
                other => {
                    let expected = other.map_or("nothing more", |(line, _)| line);
                    let wrong = format!("asked {}, expected {expected}", request.line());
                    state.wrong.push(wrong);
                    Answer::new(599, "text/plain", "nobody scripted this request").into()
                }
            }
        });
        Script { server, state }
    }

    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    pub(crate) fn port(&self) -> u16 {
        self.server.port()
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state.lock().unwrap().requests.clone()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let state = self.state.lock().unwrap();
        assert!(state.wrong.is_empty(), "{:#?}", state.wrong);
        let left: Vec<_> = state.rest.iter().map(|(line, _)| line).collect();
        assert!(left.is_empty(), "never asked: {left:#?}");
    }
}
