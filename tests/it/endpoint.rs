//! A deploy endpoint that keeps what it receives.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::http::{Answer, Reply, Request, Server};

/// Answers 204, or what [`Endpoint::then`] says, and keeps every request.
pub(crate) struct Endpoint {
    server: Server,
    state: Arc<Mutex<State>>,
    arrivals: Mutex<Receiver<()>>,
}

#[derive(Default)]
struct State {
    requests: Vec<Request>,
    replies: VecDeque<Reply>,
}

impl Endpoint {
    pub(crate) fn start() -> Endpoint {
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = Arc::clone(&state);
        let (arrived, arrivals): (Sender<()>, Receiver<()>) = channel();
        let server = Server::start(move |request| {
            let mut state = shared.lock().unwrap();
            state.requests.push(request.clone());
            let reply = state.replies.pop_front();
            arrived.send(()).expect("the endpoint is still there");
            reply.unwrap_or_else(|| Answer::new(204, "", "").into())
        });
        Endpoint { server, state, arrivals: Mutex::new(arrivals) }
    }

    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    pub(crate) fn port(&self) -> u16 {
        self.server.port()
    }

    /// The next request that has no reply yet gets this one.
    pub(crate) fn then(&self, reply: impl Into<Reply>) {
        self.state.lock().unwrap().replies.push_back(reply.into());
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state.lock().unwrap().requests.clone()
    }

    /// Waits until one more request has come.
    pub(crate) fn await_request(&self) {
        let arrivals = self.arrivals.lock().unwrap();
        arrivals.recv_timeout(Duration::from_secs(30)).expect("the endpoint gets a request");
    }
}
