//! A deploy endpoint that takes exactly the requests that were scripted, in their order.

use std::collections::VecDeque;
use std::fmt::{Display, Formatter, Result as FmtResult};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::http::{Answer, Reply, Request, Server};

/// A request that must come, and its answer.
pub(super) struct Exchange {
    pub(super) request: Asked,
    pub(super) reply: Reply,
}

/// `asks("POST /path")`: begins an exchange of a deployment, which has its id as its key.
pub(super) fn asks(line: &str) -> Asked {
    probes(line).header("idempotency-key", "[id]")
}

/// The same for a question outside a deployment.
pub(super) fn probes(line: &str) -> Asked {
    Asked { line: line.to_owned(), headers: Vec::new(), body: Body::None }
}

/// What of a request the configuration decides. What varies between runs is written `[id]` and
/// `[signature]`, and the registry's host as in the file, `git.example.com`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    line: String,
    /// In the order of their names.
    headers: Vec<(String, String)>,
    body: Body,
}

#[derive(Clone, Debug, PartialEq)]
enum Body {
    None,
    Json(Value),
    Text(String),
}

impl Asked {
    pub(super) fn header(mut self, name: &str, value: &str) -> Asked {
        self.headers.push((name.to_owned(), value.to_owned()));
        self.headers.sort();
        self
    }

    pub(super) fn json(self, body: Value) -> Asked {
        Asked { body: Body::Json(body), ..self.header("content-type", "application/json") }
    }

    pub(super) fn form(self, body: &str) -> Asked {
        let form = self.header("content-type", "application/x-www-form-urlencoded");
        Asked { body: Body::Text(body.to_owned()), ..form }
    }

    /// A body of no bytes.
    pub(super) fn empty(self) -> Asked {
        self.header("content-type", "text/plain; charset=utf-8")
    }

    pub(super) fn answers(self, reply: impl Into<Reply>) -> Exchange {
        Exchange { request: self, reply: reply.into() }
    }

    pub(super) fn answers_status(self, status: u16) -> Exchange {
        self.answers(Answer::new(status, "", ""))
    }

    pub(super) fn answers_json(self, status: u16, body: Value) -> Exchange {
        self.answers(Answer::json(status, body.to_string()))
    }

    fn of(request: &Request, host: &str) -> Asked {
        // The client's own.
        const TRANSPORT: [&str; 5] =
            ["accept-encoding", "connection", "content-length", "host", "user-agent"];
        let id = request.header("idempotency-key").unwrap_or("no id");
        let signature = request.header("x-hub-signature-256").unwrap_or("no signature");
        let redact = |text: &str| {
            text.replace(id, "[id]").replace(signature, "[signature]").replace(host, "git.example.com")
        };
        let headers = request.headers.iter().filter(|(name, value)| {
            !TRANSPORT.contains(&name.as_str()) && (name.as_str(), value.as_str()) != ("accept", "*/*")
        });
        let text = redact(std::str::from_utf8(&request.body).unwrap());
        let body = match request.header("content-type") {
            _ if text.is_empty() => Body::None,
            Some("application/json") => Body::Json(serde_json::from_str(&text).unwrap()),
            _ => Body::Text(text),
        };
        let mut headers: Vec<_> = headers.map(|(name, value)| (name.clone(), redact(value))).collect();
        headers.sort();
        Asked { line: redact(&request.line()), headers, body }
    }
}

impl Display for Asked {
    fn fmt(&self, f: &mut Formatter<'_>) -> FmtResult {
        write!(f, "{} {:?} {:?}", self.line, self.headers, self.body)
    }
}

pub(super) struct StandIn {
    server: Server,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    script: VecDeque<Exchange>,
    /// Every request that came.
    requests: Vec<Request>,
    /// The first request that was not the scripted one.
    surprise: Option<String>,
}

impl StandIn {
    /// `host` is the registry's, as images name it.
    pub(super) fn start(host: String) -> StandIn {
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = Arc::clone(&state);
        let server = Server::start(move |request| {
            let mut state = shared.lock().unwrap();
            state.requests.push(request.clone());
            let asked = Asked::of(request, &host);
            let scripted = state.script.pop_front();
            if let Some(Exchange { request, reply }) = scripted.as_ref()
                && *request == asked
            {
                return reply.clone();
            }
            let wanted = scripted.map_or("nothing more".to_owned(), |exchange| exchange.request.to_string());
            state.surprise.get_or_insert(format!("came    {asked}\nscripted {wanted}"));
            Answer::new(501, "text/plain", "not scripted").into()
        });
        StandIn { server, state }
    }

    pub(super) fn url(&self) -> String {
        self.server.url()
    }

    /// What comes next.
    pub(super) fn expect(&self, script: impl IntoIterator<Item = Exchange>) {
        self.state.lock().unwrap().script.extend(script);
    }

    /// Whatever was scripted has come, and nothing else.
    #[track_caller]
    pub(super) fn is_over(&self) {
        let state = self.state.lock().unwrap();
        assert!(state.surprise.is_none(), "an unscripted request:\n{}", state.surprise.as_ref().unwrap());
        let missing = state.script.front().map(|exchange| exchange.request.to_string());
        assert!(missing.is_none(), "never came: {}", missing.unwrap());
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.state.lock().unwrap().requests.clone()
    }
}
