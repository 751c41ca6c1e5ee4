//! A Gitea or Forgejo whose every answer is a recorded one with values substituted.

mod answers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;

use crate::http::{Answer, Reply, Request, Server};
use crate::transcript::recorded;

/// A token that may read packages. (`planted` is what the harness looks for in all output.)
pub(crate) const TOKEN: &str = "planted-k7Qw2xVb9LmT4nRc8ZpD";
/// A token that exists and lacks `read:package`.
pub(crate) const TOKEN_WITHOUT_SCOPE: &str = "planted-w3Hs6yGd1JfX5vKe0QtB";
/// A token that no server knows.
pub(crate) const WRONG_TOKEN: &str = "planted-z8Ua4oPi7CmN2rWl9EjS";

/// The three builds of gitea-facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Build {
    GiteaNew,
    GiteaOld,
    Forgejo,
}

impl Build {
    pub(crate) const ALL: [Build; 3] = [Build::GiteaNew, Build::GiteaOld, Build::Forgejo];

    pub(crate) fn folder(self) -> &'static str {
        match self {
            Build::GiteaNew => "gitea-new",
            Build::GiteaOld => "gitea-old",
            Build::Forgejo => "forgejo",
        }
    }
}

/// One version of an image: a tag, or an untagged child of an index.
#[derive(Clone, Debug)]
struct Row {
    id: u64,
    owner: String,
    image: String,
    version: String,
    created: Timestamp,
    digest: String,
    /// New Gitea, after the tag was pushed back to content it had before: listed, no manifest.
    lost: bool,
    had: BTreeSet<String>,
    /// Of the image's configuration.
    labels: BTreeMap<String, String>,
}

type Interception = Box<dyn Fn(&Request) -> Option<Reply> + Send>;

struct State {
    build: Build,
    rows: Vec<Row>,
    owners: BTreeSet<String>,
    private_owners: BTreeSet<String>,
    images: BTreeSet<(String, String)>,
    /// Who has each name: 2 unless it is here.
    owner_ids: BTreeMap<String, u64>,
    /// The new name of each owner that has one.
    renamed: BTreeMap<String, String>,
    /// Of the server's clock.
    ahead: jiff::SignedDuration,
    last_id: u64,
    pushes: u64,
    jwts: BTreeMap<String, Access>,
    cap: usize,
    /// Seconds east of UTC, of the server's own clock.
    zone: i32,
    requests: Vec<Request>,
    unscripted: Vec<String>,
    interception: Option<Interception>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Reader,
    Anonymous,
    WithoutScope,
    Wrong,
}

/// A running Gitea or Forgejo with images of its own; the owner `acme` is there from the start.
/// A request that no recording answers fails the test when this is dropped.
pub(crate) struct Gitea {
    server: Server,
    state: Arc<Mutex<State>>,
}

impl Gitea {
    pub(crate) fn start(build: Build) -> Gitea {
        let state = Arc::new(Mutex::new(State {
            build,
            rows: Vec::new(),
            owners: BTreeSet::from(["acme".to_owned()]),
            private_owners: BTreeSet::new(),
            images: BTreeSet::new(),
            owner_ids: BTreeMap::new(),
            renamed: BTreeMap::new(),
            ahead: jiff::SignedDuration::ZERO,
            last_id: 100,
            pushes: 0,
            jwts: BTreeMap::new(),
            cap: 50,
            zone: 0,
            requests: Vec::new(),
            unscripted: Vec::new(),
            interception: None,
        }));
        let shared = Arc::clone(&state);
        let server = Server::start(move |request| shared.lock().unwrap().reply(request));
        Gitea { server, state }
    }

    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    pub(crate) fn port(&self) -> u16 {
        self.server.port()
    }

    pub(crate) fn connections(&self) -> usize {
        self.server.connections()
    }

    /// Pushes new content as `acme/shop:dev-1` at that moment (`2026-11-20T10:00:00Z`, whole seconds).
    pub(crate) fn push(&self, image: &str, tag: &str, created: &str) {
        let mut state = self.state.lock().unwrap();
        state.pushes += 1;
        let digest = digest_of(&format!("{image} {tag} {}", state.pushes));
        state.store(image, tag, created, digest);
    }

    /// Points a tag at the content of another tag of the image, as a push of the same content does.
    pub(crate) fn retag(&self, image: &str, tag: &str, content_of: &str, created: &str) {
        let mut state = self.state.lock().unwrap();
        let digest = state.row(image, content_of).expect("the other tag is there").digest.clone();
        state.store(image, tag, created, digest);
    }

    /// Gives the content of a tag a label.
    pub(crate) fn label(&self, image: &str, tag: &str, name: &str, value: &str) {
        let mut state = self.state.lock().unwrap();
        let digest = state.row(image, tag).expect("the tag is there").digest.clone();
        for row in state.rows.iter_mut().filter(|row| row.digest == digest) {
            row.labels.insert(name.to_owned(), value.to_owned());
        }
    }

    /// Adds an untagged child of a multi-arch image, newer than everything.
    pub(crate) fn push_child(&self, image: &str, created: &str) {
        let mut state = self.state.lock().unwrap();
        let digest = digest_of(&format!("child {}", state.last_id));
        state.store(image, &digest.clone(), created, digest);
    }

    pub(crate) fn delete(&self, image: &str, tag: &str) {
        let mut state = self.state.lock().unwrap();
        let before = state.rows.len();
        let (owner, name) = image.split_once('/').unwrap();
        state.rows.retain(|row| {
            (row.owner.as_str(), row.image.as_str(), row.version.as_str()) != (owner, name, tag)
        });
        assert_eq!(before - 1, state.rows.len(), "{image}:{tag} was there");
    }

    /// Deletes an image with all its versions.
    pub(crate) fn delete_image(&self, image: &str) {
        let mut state = self.state.lock().unwrap();
        let (owner, name) = image.split_once('/').unwrap();
        state.rows.retain(|row| (row.owner.as_str(), row.image.as_str()) != (owner, name));
        assert!(state.images.remove(&(owner.to_owned(), name.to_owned())), "{image} was there");
    }

    /// Sets the server's clock forward.
    pub(crate) fn forward(&self, seconds: i64) {
        self.state.lock().unwrap().ahead = jiff::SignedDuration::from_secs(seconds);
    }

    /// Gives the owner another name; the server sends on from the old one.
    pub(crate) fn rename_owner(&self, owner: &str, name: &str) {
        let mut state = self.state.lock().unwrap();
        state
            .rows
            .iter_mut()
            .filter(|row| row.owner == owner)
            .for_each(|row| name.clone_into(&mut row.owner));
        let images = std::mem::take(&mut state.images);
        let new_name = |image: (String, String)| match image {
            (had, image) if had == owner => (name.to_owned(), image),
            image => image,
        };
        state.images = images.into_iter().map(new_name).collect();
        state.owners.remove(owner);
        state.owners.insert(name.to_owned());
        state.renamed.insert(owner.to_owned(), name.to_owned());
    }

    /// Another user takes the former name of a renamed owner.
    pub(crate) fn take_name(&self, owner: &str, id: u64) {
        let mut state = self.state.lock().unwrap();
        state.renamed.remove(owner);
        state.owners.insert(owner.to_owned());
        state.owner_ids.insert(owner.to_owned(), id);
    }

    /// The digest that a tag has now.
    pub(crate) fn digest(&self, image: &str, tag: &str) -> String {
        self.state.lock().unwrap().row(image, tag).expect("the tag is there").digest.clone()
    }

    /// An owner whose packages anonymous readers do not see.
    pub(crate) fn private_owner(&self, owner: &str) {
        let mut state = self.state.lock().unwrap();
        state.owners.insert(owner.to_owned());
        state.private_owners.insert(owner.to_owned());
    }

    /// `MAX_RESPONSE_ITEMS`.
    pub(crate) fn cap(&self, rows: usize) {
        self.state.lock().unwrap().cap = rows;
    }

    /// The server's own time zone, in which it writes times.
    pub(crate) fn zone(&self, hours_east: i32) {
        self.state.lock().unwrap().zone = hours_east * 3600;
    }

    /// Answers in the server's place where it gives something.
    pub(crate) fn intercept(&self, with: impl Fn(&Request) -> Option<Reply> + Send + 'static) {
        self.state.lock().unwrap().interception = Some(Box::new(with));
    }

    /// Answers every request whose target contains this part with this reply.
    pub(crate) fn intercept_all(&self, part: &'static str, reply: impl Into<Reply>) {
        let reply = reply.into();
        self.intercept(move |request| request.target.contains(part).then(|| reply.clone()));
    }

    pub(crate) fn recover(&self) {
        self.state.lock().unwrap().interception = None;
    }

    /// The requests since the last call, in order: `GET /v2/acme/shop/tags/list`.
    pub(crate) fn take_requests(&self) -> Vec<String> {
        self.state.lock().unwrap().requests.drain(..).map(|request| request.line()).collect()
    }

    /// How many requests since the last `take_requests` have this part in their target.
    pub(crate) fn count(&self, part: &str) -> usize {
        self.state.lock().unwrap().requests.iter().filter(|request| request.target.contains(part)).count()
    }

    /// The recorded answer of this build, with this server's address in it.
    pub(crate) fn recorded(&self, name: &str) -> Answer {
        recorded(self.state.lock().unwrap().build.folder(), name)
    }
}

impl Drop for Gitea {
    fn drop(&mut self) {
        let unscripted = self.state.lock().map(|state| state.unscripted.clone()).unwrap_or_default();
        if !std::thread::panicking() {
            assert!(unscripted.is_empty(), "requests that nobody scripted: {unscripted:#?}");
        }
    }
}

/// Something that looks like a digest and is the same for the same text.
pub(crate) fn digest_of(text: &str) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let word = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, text).hash(&mut hasher);
        hasher.finish()
    };
    format!("sha256:{:016x}{:016x}{:016x}{:016x}", word(0), word(1), word(2), word(3))
}

/// `Mon, 23 Nov 2026 13:54:00 GMT`, now.
pub(crate) fn http_date() -> String {
    http_date_of(Timestamp::now())
}

fn http_date_of(moment: Timestamp) -> String {
    moment.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
