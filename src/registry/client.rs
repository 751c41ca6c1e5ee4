//! Requests to a registry, with its proxy and its certificates: few retries, redirects within the origin only,
//! and no further requests to a server that does not answer.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ureq::http::{Request, Response, StatusCode};
use ureq::{Agent, Body, Timeout};
use url::Url;

use super::answer::Answer;
use super::large::Claim;
use super::request::{Header, Method, shown_request};
use super::{RegistryError, Traffic};
use crate::config::{RegistryConfig, TrustedRealm};
use crate::http::{self, Advice, Route, Transport, Unprepared};
use crate::secret::Secrets;
use crate::stop::{CutShort, Cutoff, TICK};

/// The delays before a request is repeated.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(400)];
pub(super) const MOST_REDIRECTS: usize = 5;
/// After failed requests for this many different paths in a row, the run sends no more requests to the
/// registry.
const FAILURES_ALLOWED: usize = 3;

/// Every media type of a manifest or an index. With fewer of them, servers answer with another digest.
pub(super) const MANIFEST_TYPES: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// Registries with tokens from another host: the registry's host, the realm's host.
const KNOWN_REALMS: [(&str, &str); 5] = [
    ("registry-1.docker.io", "auth.docker.io"),
    ("index.docker.io", "auth.docker.io"),
    ("registry.gitlab.com", "gitlab.com"),
    ("docker.elastic.co", "docker-auth.elastic.co"),
    ("lscr.io", "ghcr.io"),
];

const CERTIFICATES: Advice = Advice {
    untrusted: "set ca_file of the registry to that authority's certificate",
    wanted: "set client_cert and client_key of the registry",
};

/// Sends requests to one origin, and follows its redirects.
pub(super) struct Client {
    origin: Url,
    transport: Transport,
    trusted_realms: Vec<TrustedRealm>,
    /// Made at the first request, because only https needs the roots to be read.
    agents: Mutex<HashMap<Route, Agent>>,
    timeout: Duration,
    connections: usize,
    traffic: Traffic,
    secrets: Arc<Secrets>,
    health: Mutex<Health>,
    /// Signals that a request in flight has ended.
    ended: Condvar,
}

/// Whether the origin answers.
#[derive(Default)]
struct Health {
    /// Paths that failed since the last answer. A failure of one path only says nothing about the server.
    failed_paths: BTreeSet<String>,
    /// The path that was answered last. It is requested again before the server counts as down, because several
    /// broken paths may follow each other.
    answered: Option<Url>,
    last_failure: String,
    under_way: usize,
}

impl Health {
    fn is_bad(&self) -> bool {
        self.failed_paths.len() >= FAILURES_ALLOWED
    }
}

/// A request without an answer.
struct Failure {
    error: RegistryError,
    /// The error of the connection, if the connection failed.
    cause: Option<String>,
    is_worth_another_try: bool,
}

impl Failure {
    /// A retry cannot help.
    fn last(error: RegistryError) -> Failure {
        Failure { error, cause: None, is_worth_another_try: false }
    }
}

impl Client {
    pub(super) fn new(
        config: &RegistryConfig,
        origin: &Url,
        secrets: &Arc<Secrets>,
        traffic: Traffic,
    ) -> Client {
        let mut origin = origin.clone();
        origin.set_path("");
        Client {
            origin,
            transport: config.transport.clone(),
            trusted_realms: config.trusted_realms.clone(),
            agents: Mutex::default(),
            timeout: config.timeout,
            connections: config.connections,
            traffic,
            secrets: Arc::clone(secrets),
            health: Mutex::default(),
            ended: Condvar::new(),
        }
    }

    /// The URL of an absolute path (with its query) at the registry's origin. Not `Url::join`, which would read
    /// a path with two slashes at its beginning as another host.
    pub(super) fn at(&self, path: &str) -> Url {
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        let mut url = self.origin.clone();
        url.set_path(path);
        url.set_query(query);
        url
    }

    pub(super) fn is_same_origin(&self, url: &Url) -> bool {
        url.origin() == self.origin.origin()
    }

    /// Whether the registry's credentials may be sent there for a token: to its own host with the same scheme,
    /// to a known host of it, and to the trusted hosts of the configuration.
    pub(super) fn may_have_credentials(&self, url: &Url) -> bool {
        let (Some(here), Some(there)) = (self.origin.host(), url.host()) else {
            return false;
        };
        if url.scheme() == self.origin.scheme() && here == there {
            return true;
        }
        let is_safe = url.scheme() == "https" || self.origin.scheme() == "http";
        let is_pair =
            |(registry, realm): &(&str, &str)| here.to_string() == *registry && there.to_string() == *realm;
        let is_known = url.port().is_none() && KNOWN_REALMS.iter().any(is_pair);
        let is_trusted = self.trusted_realms.iter().any(|realm| {
            realm.host == there.to_owned()
                && realm.port.is_none_or(|port| url.port_or_known_default() == Some(port))
        });
        is_safe && (is_known || is_trusted)
    }

    /// Sends a request, repeats it if that can help, and follows redirects within the origin.
    ///
    /// # Errors
    /// No answer, a 429 or 5xx, or a redirect to another origin.
    pub(super) fn send(
        &self,
        method: Method,
        url: &Url,
        headers: &[Header<'_>],
    ) -> Result<Answer, RegistryError> {
        let mut url = url.clone();
        for _ in 0..=MOST_REDIRECTS {
            let answer = self.send_to(method, &url, headers)?;
            match self.redirect(&answer, false)? {
                None => return Ok(answer),
                Some(next) => url = next,
            }
        }
        Err(too_many_redirects(method, &url))
    }

    /// The target of a redirect; None: the answer does not redirect. `may_leave`: another origin is allowed,
    /// and the caller sends it no credential.
    ///
    /// # Errors
    /// The redirect has no target, or one that must not be followed.
    pub(super) fn redirect(&self, answer: &Answer, may_leave: bool) -> Result<Option<Url>, RegistryError> {
        if !answer.status.is_redirection() || answer.status == StatusCode::NOT_MODIFIED {
            return Ok(None);
        }
        let Some(next) = answer.location() else {
            return Err(RegistryError::Protocol(format!(
                "{}: redirect without a Location header",
                answer.head()
            )));
        };
        let elsewhere = next.origin().ascii_serialization();
        if next.origin() == answer.url.origin() {
            return Ok(Some(next));
        }
        if !may_leave {
            return Err(RegistryError::Protocol(format!(
                "{}: it redirects to {elsewhere}, and credentials are not sent there; if that is the registry's address, set url to it",
                answer.head()
            )));
        }
        if next.scheme() != "https" && answer.url.scheme() == "https" {
            return Err(RegistryError::Protocol(format!(
                "{}: it redirects to {elsewhere}, which is not encrypted",
                answer.head()
            )));
        }
        Ok(Some(next))
    }

    /// As [`Client::send`], but returns a redirect instead of following it.
    pub(super) fn send_to(
        &self,
        method: Method,
        url: &Url,
        headers: &[Header<'_>],
    ) -> Result<Answer, RegistryError> {
        let mut pauses = PAUSES.into_iter();
        loop {
            self.check_health(method, url)?;
            let pause = match self.send_once(method, url, headers) {
                Ok(answer) => match answer.hint() {
                    None => return Ok(answer),
                    Some(wish) => match wish.pause().and_then(|least| Some(pauses.next()?.max(least))) {
                        Some(pause) => pause,
                        None => return Err(self.noted(answer.unavailable())),
                    },
                },
                Err(failure) => match pauses.next().filter(|_| failure.is_worth_another_try) {
                    Some(pause) => pause,
                    None => return Err(self.give_up(url, failure)),
                },
            };
            // If this wait ends at the cutoff, the next check of the health reports it.
            self.traffic.cutoff.pause(pause);
        }
    }

    fn send_once(&self, method: Method, url: &Url, headers: &[Header<'_>]) -> Result<Answer, Failure> {
        let (way, agent) = self.prepared(method, url)?;
        let mut request = Request::builder().method(method.as_str()).uri(url.as_str());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).map_err(|_| {
            Failure::last(RegistryError::Protocol(format!(
                "{}: cannot send the request: a header has control characters",
                shown_request(method, url)
            )))
        })?;
        self.begin(url);
        self.answer(method, url, &way, agent.run(request))
    }

    /// Sends a body, once. Returns a redirect instead of following it: the body is for that address only.
    ///
    /// # Errors
    /// No answer, or a 429 or 5xx.
    pub(super) fn post(&self, url: &Url, content_type: &str, body: &str) -> Result<Answer, RegistryError> {
        self.check_health(Method::Post, url)?;
        let (way, agent) = self.prepared(Method::Post, url).map_err(|failure| failure.error)?;
        self.begin(url);
        let result = agent.post(url.as_str()).header("content-type", content_type).send(body);
        let answer =
            self.answer(Method::Post, url, &way, result).map_err(|failure| self.give_up(url, failure))?;
        if answer.hint().is_some() { Err(self.noted(answer.unavailable())) } else { Ok(answer) }
    }

    fn prepared(&self, method: Method, url: &Url) -> Result<(Route, Agent), Failure> {
        let prepared = self.transport.route(url, self.may_have_credentials(url)).and_then(|way| {
            let agent = self.agent(&way)?;
            Ok((way, agent))
        });
        let what = || shown_request(method, url);
        prepared.map_err(|error| {
            Failure::last(match error {
                Unprepared::Environment(error) => RegistryError::Unavailable(format!("{}: {error}", what())),
                Unprepared::Secret(error) => RegistryError::Secret(format!("{}: {error}", what())),
            })
        })
    }

    fn answer(
        &self,
        method: Method,
        url: &Url,
        way: &Route,
        result: Result<Response<Body>, ureq::Error>,
    ) -> Result<Answer, Failure> {
        match result {
            Ok(response) => {
                self.end(url, |health| {
                    health.failed_paths.clear();
                    health.answered = Some(url.clone());
                });
                Ok(Answer::new(method, url, &self.secrets, response))
            }
            Err(error) if http::is_cut_short(&error) => {
                self.end(url, |_| {});
                Err(Failure::last(out_of_time(method, url, "no answer before the end of the run")))
            }
            Err(error) => {
                let cause = no_answer(&error, self.timeout);
                self.end(url, |_| {});
                let message = format!("{}{}: {cause}", shown_request(method, url), way.by_proxy());
                Err(Failure {
                    error: RegistryError::Unavailable(message),
                    cause: Some(cause),
                    is_worth_another_try: http::is_worth_another_try(&error),
                })
            }
        }
    }

    fn agent(&self, way: &Route) -> Result<Agent, Unprepared> {
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(agent) = agents.get(way) {
            return Ok(agent.clone());
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(self.timeout))
            // Shorter than the whole timeout, so that the message can tell an unreachable server from a slow
            // one.
            .timeout_resolve(Some(connect_timeout(self.timeout)))
            .timeout_connect(Some(connect_timeout(self.timeout)))
            .max_idle_connections(self.connections)
            .max_idle_connections_per_host(self.connections)
            .user_agent(concat!("tagship/", env!("CARGO_PKG_VERSION")));
        let agent = self.transport.agent(way, config, &self.traffic.cutoff)?;
        agents.insert(way.clone(), agent.clone());
        Ok(agent)
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request is sent.
    fn begin(&self, url: &Url) {
        self.traffic.add_one();
        if self.is_same_origin(url) {
            self.health().under_way += 1;
        }
    }

    /// It ended, with or without an answer. An answer of storage elsewhere says nothing about the registry.
    fn end(&self, url: &Url, note: impl FnOnce(&mut Health)) {
        if self.is_same_origin(url) {
            let mut health = self.health();
            health.under_way -= 1;
            note(&mut health);
            self.ended.notify_all();
        }
    }

    /// The path failed, and is not tried again. It counts only now: quick failures of a few paths must not come
    /// before the first requests for the others.
    fn give_up(&self, url: &Url, failure: Failure) -> RegistryError {
        if let Some(cause) = failure.cause.filter(|_| self.is_same_origin(url)) {
            let mut health = self.health();
            health.failed_paths.insert(url.path().to_owned());
            health.answered.take_if(|answered| answered.path() == url.path());
            health.last_failure = cause;
        }
        failure.error
    }

    /// The error of a request that is not sent because earlier ones failed. Failures are quicker than answers,
    /// so requests in flight are awaited first. A path that was answered before is then tried once more.
    fn check_health(&self, method: Method, url: &Url) -> Result<(), RegistryError> {
        self.traffic.limit.check()?;
        let mut health = self.health();
        loop {
            if self.traffic.cutoff.is_reached() {
                return Err(out_of_time(method, url, "not sent"));
            }
            if !self.is_same_origin(url) || !health.is_bad() {
                return Ok(());
            }
            if health.under_way == 0 {
                let Some(answered) = health.answered.take() else {
                    break;
                };
                // Other threads wait for this request.
                health.under_way += 1;
                drop(health);
                // Any answer shows that the server is up.
                let _ = self.send_once(Method::Head, &answered, &[]);
                self.end(&answered, |_| {});
                health = self.health();
                continue;
            }
            health = self.ended.wait_timeout(health, TICK).unwrap_or_else(PoisonError::into_inner).0;
        }
        Err(RegistryError::Unavailable(format!(
            "{}: not sent: requests for {FAILURES_ALLOWED} different paths failed in a row, so this run sends no more requests to this registry (the last: {})",
            shown_request(method, url),
            health.last_failure
        )))
    }

    /// Notes an error that may have a retry hint. No request is sent before that time.
    pub(super) fn noted(&self, error: RegistryError) -> RegistryError {
        self.traffic.limit.note(&error);
        error
    }

    /// The end of all requests, and of the wait for a credential.
    pub(super) fn cutoff(&self) -> &Cutoff {
        &self.traffic.cutoff
    }

    /// A claim to a place for a large list.
    pub(super) fn claim(&self) -> Claim {
        Claim::new(&self.traffic.large, &self.traffic.cutoff)
    }
}

pub(super) fn too_many_redirects(method: Method, url: &Url) -> RegistryError {
    RegistryError::Protocol(format!("{}: too many redirects", shown_request(method, url)))
}

fn out_of_time(method: Method, url: &Url, how_far: &str) -> RegistryError {
    RegistryError::OutOfTime(format!("{}: {how_far}: {CutShort}", shown_request(method, url)))
}

fn connect_timeout(timeout: Duration) -> Duration {
    timeout.mul_f64(0.9)
}

fn no_answer(error: &ureq::Error, timeout: Duration) -> String {
    match error {
        ureq::Error::Timeout(Timeout::Connect) => {
            format!("no connection within {:?}", connect_timeout(timeout))
        }
        ureq::Error::Timeout(Timeout::Resolve) => {
            format!("could not resolve the name of the host within {:?}", connect_timeout(timeout))
        }
        ureq::Error::Timeout(_) => format!("no answer within {timeout:?}"),
        other => http::cause(other, CERTIFICATES),
    }
}

#[cfg(test)]
mod tests {
    use url::Host;

    use super::*;

    fn client(url: &str, trusted: &[(&str, Option<u16>)]) -> Client {
        let realm = |(host, port): &(&str, Option<u16>)| TrustedRealm {
            host: Host::parse(host).unwrap(),
            port: *port,
        };
        Client {
            origin: Url::parse(url).unwrap(),
            transport: Transport::default(),
            trusted_realms: trusted.iter().map(realm).collect(),
            agents: Mutex::default(),
            timeout: Duration::from_secs(1),
            connections: 1,
            traffic: Traffic::default(),
            secrets: Arc::default(),
            health: Mutex::default(),
            ended: Condvar::new(),
        }
    }

    #[test]
    fn credentials_go_to_the_own_host_to_known_realms_and_to_trusted_ones() {
        let git = "https://git.example.com";
        for (registry, trusted, url, expected) in [
            (git, vec![], "https://git.example.com/token", true),
            (git, vec![], "https://git.example.com:8443/token", true),
            (git, vec![], "http://git.example.com/token", false),
            (git, vec![], "https://auth.example.com/token", false),
            (git, vec![], "https://git.example.com.evil.org/token", false),
            (git, vec![("auth.example.com", None)], "https://auth.example.com:8443/token", true),
            (git, vec![("auth.example.com", None)], "https://x.auth.example.com/token", false),
            (git, vec![("auth.example.com", None)], "http://auth.example.com/token", false),
            (git, vec![("auth.example.com", Some(443))], "https://auth.example.com/token", true),
            (git, vec![("auth.example.com", Some(8443))], "https://auth.example.com/token", false),
            (git, vec![("git.example.com", None)], "http://git.example.com/token", false),
            (
                "http://git.example.com",
                vec![("auth.example.com", None)],
                "http://auth.example.com/token",
                true,
            ),
            ("https://registry-1.docker.io", vec![], "https://auth.docker.io/token", true),
            ("https://registry-1.docker.io", vec![], "http://auth.docker.io/token", false),
            (git, vec![], "https://auth.docker.io/token", false),
            ("https://registry.gitlab.com", vec![], "https://gitlab.com/jwt/auth", true),
        ] {
            let url = Url::parse(url).unwrap();
            assert_eq!(
                client(registry, &trusted).may_have_credentials(&url),
                expected,
                "{registry} {trusted:?} {url}"
            );
        }
    }

    #[test]
    fn a_path_stays_at_the_registrys_origin() {
        let client = client("https://git.example.com:8443/", &[]);
        for (path, expected) in [
            ("/v2/acme/shop/tags/list?n=2&last=b", "/v2/acme/shop/tags/list?n=2&last=b"),
            ("//auth.example.com/v2/", "//auth.example.com/v2/"),
            ("/team%2Fapi/-/a:b", "/team%2Fapi/-/a:b"),
        ] {
            assert_eq!(client.at(path).as_str(), format!("https://git.example.com:8443{expected}"), "{path}");
        }
    }
}
