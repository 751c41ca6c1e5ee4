//! What stages receive: a script's file and an endpoint's list, in the order in which it came.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::fault::Weather;
use super::outbox::Notified;
use crate::harness::Shop;
use crate::http::{Answer, Server};

/// Says how many files it has open. (faketime leaves its own open.)
pub(super) const COUNT: &str = r#"
set -- /proc/$$/fd/*
[ -n "$LD_PRELOAD" ] || echo $# >> descriptors
"#;

/// After [`COUNT`]. Two at the same time would find the file locked; a script that dies lets go of it.
pub(super) const SCRIPT: &str = r#"
exec 9>>"alone.${TAGSHIP_PROJECT}.${TAGSHIP_STAGE}"
flock -n 9 || echo "$TAGSHIP_TARGET $TAGSHIP_TAG" >> overlaps
told="$TAGSHIP_TARGET $TAGSHIP_TAG $TAGSHIP_DIGEST $TAGSHIP_DEPLOYMENT_ID"
echo "began $told" >> received
if [ -e slow ]; then sleep 0.06; fi
if [ -e fail ]; then echo "the stage refused $TAGSHIP_TAG"; exit 7; fi
echo "$TAGSHIP_TAG" > "runs.${TAGSHIP_PROJECT}.${TAGSHIP_STAGE}"
echo "done $told" >> received
if [ -e late ]; then sleep 0.03; fi
"#;

/// The answer of web/qa's probe: its last deployed tag, or the content of the file `says`.
pub(super) const RUNNING: &str = r#"
if [ -e says ]; then said=$(cat says); else said=$(cat runs.web.qa); fi
echo "web/qa $said" >> said
echo "$said"
"#;

/// A stage's deployments, with their beginning and end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) is_done: bool,
    pub(super) target: String,
    pub(super) tag: String,
    pub(super) digest: String,
    pub(super) id: String,
}

impl Received {
    fn parse(line: &str) -> Received {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let [what, target, tag, digest, id] = <[String; 5]>::try_from(words).expect(line);
        Received { is_done: what == "done", target, tag, digest, id }
    }
}

/// A deploy endpoint that deploys most of the time.
pub(super) struct Endpoint {
    server: Server,
    received: Arc<Mutex<Vec<Received>>>,
    live: Arc<Mutex<Live>>,
    told: Arc<Mutex<Vec<Notified>>>,
}

/// What api/live says that it runs.
#[derive(Default)]
struct Live {
    /// In place of what it was given last.
    says: Option<String>,
    said: Vec<String>,
}

impl Endpoint {
    /// `kills`: how often tagship was killed. A request that it had sent may still be worked on then.
    pub(super) fn start(weather: Weather, kills: Arc<AtomicU64>) -> Endpoint {
        let received: Arc<Mutex<Vec<Received>>> = Arc::default();
        let all = Arc::clone(&received);
        let busy: Mutex<Vec<(String, u64)>> = Mutex::default();
        let live: Arc<Mutex<Live>> = Arc::default();
        let asked = Arc::clone(&live);
        let told: Arc<Mutex<Vec<Notified>>> = Arc::default();
        let people = Arc::clone(&told);
        let server = Server::start(move |request| {
            if request.path() == "/running" {
                let all = all.lock().unwrap();
                let last = all.iter().rfind(|one| one.is_done && one.target == "api/live");
                let truth = last.map_or("r-2", |one| one.tag.as_str());
                let mut live = asked.lock().unwrap();
                let says = live.says.clone().unwrap_or_else(|| truth.to_owned());
                live.said.push(says.clone());
                let body = serde_json::json!({ "image": { "tag": says } }).to_string();
                return weather.at_probe().unwrap_or_else(|| Answer::json(200, body).into());
            }
            let body = request.json();
            if request.path() == "/tell" {
                let text = |key: &str| body[key].as_str().unwrap().to_owned();
                let (is_taken, reply) = weather.at_endpoint();
                let key = request.header("idempotency-key").unwrap().to_owned();
                let one = Notified { key, status: text("status"), deployment_id: text("id"), is_taken };
                people.lock().unwrap().push(one);
                return reply;
            }
            let text = |key: &str| body[key].as_str().unwrap().to_owned();
            let began = Received {
                is_done: false,
                target: text("target"),
                tag: text("tag"),
                digest: text("digest"),
                id: text("deployment_id"),
            };
            assert_eq!(request.header("idempotency-key"), Some(began.id.as_str()));
            let before = kills.load(Ordering::SeqCst);
            {
                let mut busy = busy.lock().unwrap();
                let twice = busy.iter().any(|(target, kills)| *target == began.target && *kills == before);
                assert!(!twice, "two requests for {} at once", began.target);
                busy.push((began.target.clone(), before));
            }
            let (does, reply) = weather.at_endpoint();
            let target = began.target.clone();
            all.lock().unwrap().push(began.clone());
            std::thread::sleep(std::time::Duration::from_millis(4));
            if does {
                all.lock().unwrap().push(Received { is_done: true, ..began });
            }
            let mut busy = busy.lock().unwrap();
            let place = busy.iter().position(|one| *one == (target.clone(), before)).unwrap();
            busy.remove(place);
            reply
        });
        Endpoint { server, received, live, told }
    }

    pub(super) fn url(&self) -> String {
        self.server.url()
    }

    /// The notifications until now, in order.
    pub(super) fn notified(&self) -> MutexGuard<'_, Vec<Notified>> {
        self.told.lock().unwrap()
    }

    /// What api/live says from now on; None: the truth.
    pub(super) fn says(&self, what: Option<String>) {
        self.live.lock().unwrap().says = what;
    }

    /// Everything that was said so far by api/live and web/qa, with the target.
    pub(super) fn said(&self, shop: &Shop) -> BTreeSet<(String, String)> {
        let live = self.live.lock().unwrap();
        let mut all: BTreeSet<_> = live.said.iter().map(|tag| ("api/live".to_owned(), tag.clone())).collect();
        if shop.exists("said") {
            let lines = shop.read("said");
            let pairs = lines.lines().filter_map(|line| line.split_once(' '));
            all.extend(pairs.map(|(target, said)| (target.to_owned(), said.to_owned())));
        }
        all
    }
}

/// Everything received so far; in the right order for each target. Grows at its end only.
#[derive(Default)]
pub(super) struct Log {
    all: Vec<Received>,
    /// How much of the endpoint's list, and of the script's file, is in it.
    of_endpoint: usize,
    of_file: u64,
}

impl Log {
    /// Reads what came since the last call.
    pub(super) fn read(&mut self, shop: &Shop, endpoint: &Endpoint) -> &[Received] {
        {
            let all = endpoint.received.lock().unwrap();
            self.all.extend_from_slice(&all[self.of_endpoint..]);
            self.of_endpoint = all.len();
        }
        if shop.exists("received") {
            let mut file = File::open(shop.path("received")).unwrap();
            file.seek(SeekFrom::Start(self.of_file)).unwrap();
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            self.of_file += text.len() as u64;
            self.all.extend(text.lines().map(Received::parse));
        }
        &self.all
    }
}
