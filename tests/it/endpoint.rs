//! A deploy endpoint that keeps what it receives.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::http::{Answer, Reply, Request, Server};

/// Answers 204, or with [`Endpoint::then`]'s answers, or by a function of the request. Keeps every request.
pub(crate) struct Endpoint {
    server: Server,
    state: Arc<Mutex<State>>,
    arrivals: Mutex<Receiver<()>>,
}

#[derive(Default)]
struct State {
    requests: Vec<Request>,
    arrived: Vec<Instant>,
    replies: VecDeque<Reply>,
}

impl Endpoint {
    pub(crate) fn start() -> Endpoint {
        Endpoint::deciding(|_| Answer::new(204, "", ""))
    }

    pub(crate) fn deciding(decide: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Endpoint {
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = Arc::clone(&state);
        let (arrived, arrivals): (Sender<()>, Receiver<()>) = channel();
        let server = Server::start(move |request| {
            let mut state = shared.lock().unwrap();
            state.requests.push(request.clone());
            state.arrived.push(Instant::now());
            let reply = state.replies.pop_front();
            arrived.send(()).expect("the endpoint is still there");
            reply.unwrap_or_else(|| decide(request).into())
        });
        Endpoint { server, state, arrivals: Mutex::new(arrivals) }
    }

    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    pub(crate) fn port(&self) -> u16 {
        self.server.port()
    }

    /// Adds a reply for the next request that has none.
    pub(crate) fn then(&self, reply: impl Into<Reply>) {
        self.state.lock().unwrap().replies.push_back(reply.into());
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state.lock().unwrap().requests.clone()
    }

    /// Forgets what it received so far.
    pub(crate) fn forget(&self) {
        let mut state = self.state.lock().unwrap();
        state.requests.clear();
        state.arrived.clear();
        self.arrivals.lock().unwrap().try_iter().for_each(drop);
    }

    /// When each request came.
    pub(crate) fn arrived(&self) -> Vec<Instant> {
        self.state.lock().unwrap().arrived.clone()
    }

    /// Waits until one more request has come.
    pub(crate) fn await_request(&self) {
        let arrivals = self.arrivals.lock().unwrap();
        arrivals.recv_timeout(Duration::from_secs(30)).expect("the endpoint gets a request");
    }
}
