//! What goes wrong on the way to the registry and to the endpoint.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;

use crate::http::{Answer, Reply, Request};
use crate::registry::http_date;

/// The fault of the registry, until it is repaired.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outage {
    /// Connections that ask for this image are reset.
    Reset(&'static str),
    /// The pages of this image with push times have no end.
    Endless(&'static str),
    /// Every answer is held.
    Held,
}

impl Outage {
    fn reply(self, request: &Request) -> Option<Reply> {
        match self {
            Outage::Reset(image) => is_about(image, request).then_some(Reply::Reset),
            Outage::Endless(image) if is_about(image, request) && request.path().starts_with("/api/") => {
                Some(endless_page(image, request).into())
            }
            Outage::Endless(_) => None,
            Outage::Held => Some(Reply::Hang),
        }
    }
}

fn is_about(image: &str, request: &Request) -> bool {
    let (owner, name) = image.split_once('/').unwrap();
    let is_named = request.query("q").is_some_and(|asked| asked == name);
    request.path().starts_with(&format!("/v2/{image}/"))
        || request.path() == format!("/api/v1/packages/{owner}/container/{name}")
        || (request.path() == format!("/api/v1/packages/{owner}") && is_named)
}

/// Of tags that no stage takes.
fn endless_page(image: &str, request: &Request) -> Answer {
    let page: i64 = request.query("page").map_or(1, |page| page.parse().unwrap());
    let name = image.split_once('/').unwrap().1;
    let row = |row: i64| {
        let id = 900_000_000 - page * 50 - row;
        let time = jiff::Timestamp::from_second(id).unwrap();
        serde_json::json!({"id": id, "name": name, "version": format!("t{id}"), "created_at": time})
    };
    let rows: Vec<_> = (0..50).map(row).collect();
    Answer::json(200, serde_json::to_string(&rows).unwrap())
        .with("X-Total-Count", "900000000")
        .with("Date", http_date())
}

/// How much goes wrong at the moment; shared with the servers' threads.
#[derive(Clone)]
pub(super) struct Weather(Arc<Mutex<State>>);

struct State {
    rng: Rng,
    /// Of a thousand answers.
    faulty: u32,
    faults: u64,
    outage: Option<Outage>,
    /// How many answers the outage has changed since it began.
    hits: u64,
}

impl Weather {
    pub(super) fn new(rng: Rng) -> Weather {
        Weather(Arc::new(Mutex::new(State { rng, faulty: 0, faults: 0, outage: None, hits: 0 })))
    }

    pub(super) fn set(&self, faulty: u32) {
        self.0.lock().unwrap().faulty = faulty;
    }

    pub(super) fn begin(&self, outage: Outage) {
        let mut state = self.0.lock().unwrap();
        (state.outage, state.hits) = (Some(outage), 0);
    }

    /// How many answers the outage changed that is over now.
    pub(super) fn repair(&self) -> u64 {
        let mut state = self.0.lock().unwrap();
        state.outage = None;
        state.hits
    }

    pub(super) fn hits(&self) -> u64 {
        self.0.lock().unwrap().hits
    }

    /// How many answers were faulty so far.
    pub(super) fn faults(&self) -> u64 {
        self.0.lock().unwrap().faults
    }

    fn strikes(&self) -> Option<u32> {
        let mut state = self.0.lock().unwrap();
        let faulty = state.faulty;
        if state.rng.u32(..1000) >= faulty {
            return None;
        }
        state.faults += 1;
        Some(state.rng.u32(..))
    }

    /// An answer in the registry's place.
    pub(super) fn at_registry(&self, request: &Request) -> Option<Reply> {
        {
            let mut state = self.0.lock().unwrap();
            if let Some(reply) = state.outage.and_then(|outage| outage.reply(request)) {
                state.hits += 1;
                return Some(reply);
            }
        }
        let which = self.strikes()?;
        let half = if request.target.contains("/tags/list") {
            r#"{"name":"acme/shop","tags":["dev-99999","v99999.0.0","b99999"#
        } else {
            r#"[{"id":1,"name":"shop","version":"dev-99999","created_at":"2026-"#
        };
        let whole = format!("{half}\"]}}");
        let limited = |seconds: &str| Answer::new(429, "", "slowly").with("Retry-After", seconds).into();
        Some(match which % 40 {
            0 => limited("3"),
            1 => limited("0"),
            2..8 => Reply::Reset,
            8..12 => Reply::Garbage,
            12..20 => Reply::Truncated(Answer::json(200, whole), half.len()),
            20..26 => Answer::json(200, half).into(),
            26..28 => Answer::new(200, "text/html", "<html>sign in</html>").into(),
            28..30 => Reply::Drip(Answer::json(200, whole), Duration::from_millis(15)),
            30 => Reply::Hang,
            31..34 => Answer::new(404, "text/plain", "404 page not found").into(),
            _ => Answer::new([500, 502, 503][which as usize % 3], "text/plain", "database is locked").into(),
        })
    }

    /// An answer in the place of a stage that is asked what it runs.
    pub(super) fn at_probe(&self) -> Option<Reply> {
        Some(match self.strikes()? % 4 {
            0 => Reply::Reset,
            1 => Reply::Garbage,
            2 => Answer::json(200, "{}").into(),
            _ => Answer::new(503, "text/plain", "restarting").into(),
        })
    }

    /// Whether an endpoint deploys this time, and the reply.
    pub(super) fn at_endpoint(&self) -> (bool, Reply) {
        let Some(which) = self.strikes() else {
            return (true, Answer::new(204, "", "").into());
        };
        match which % 12 {
            // Deployed, but without an answer.
            0 | 1 => (true, Reply::Reset),
            2 => (true, Reply::Garbage),
            3 => (false, Reply::Hang),
            4 => (false, Answer::new(400, "", "never").into()),
            5 => (false, Answer::new(429, "", "slowly").with("Retry-After", "1").into()),
            6 => (false, Answer::new(302, "", "").with("Location", "http://elsewhere.invalid/").into()),
            7 | 8 => (false, Reply::Reset),
            _ => (false, Answer::new(500, "", "failed").into()),
        }
    }
}
