//! tagship is killed at the boundaries of a run with two deployments, and the next poll makes good: each is
//! delivered, under one id, never two commands at once, and nobody has to mend the state. The kinds of calls
//! and how many there are come from a trace of that run. strace counts for each thread, and the first thread
//! that gets to the n-th call ends the process: the n-th call of the other threads is no point of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::thread;

use crate::endpoint::Endpoint;
use crate::first_poll::gitea;
use crate::harness::{Shop, await_until, on_gitea};
use crate::http::Reply;
use crate::registry::{Build, Gitea};
use crate::run::Run;

/// Where a run can be cut off: writes, syncs, renames, spawns, requests, locks, and what waits for them.
const CALLS: [&str; 16] = [
    "write",
    "pwrite64",
    "writev",
    "sendto",
    "sendmsg",
    "connect",
    "fsync",
    "fdatasync",
    "ftruncate",
    "unlink",
    "rename",
    "flock",
    "clone",
    "clone3",
    "vfork",
    "wait4",
];

/// A command for dev, a request for prod; both have something new.
struct Scene {
    // Dropped before the servers, so that a run that still lives ends first.
    shop: Shop,
    gitea: Gitea,
    endpoint: Endpoint,
}

/// Two at the same time would find the file locked; a script that dies lets go of it.
const DEPLOY: &str = r#"
exec 9>>alone
flock -n 9 || echo "$TAGSHIP_TAG" >> overlaps
echo "$TAGSHIP_TARGET $TAGSHIP_TAG $TAGSHIP_DEPLOYMENT_ID $TAGSHIP_ATTEMPT" >> deliveries
while [ -e stay ]; do sleep 0.02; done
"#;

fn scene() -> Scene {
    let gitea = gitea(Build::GiteaNew);
    let endpoint = Endpoint::start();
    let retry = "retry = { backoff = \"1ms\", max_backoff = \"1ms\" }";
    let stages = format!(
        "[projects.shop.stages.dev]\ntags = \"dev-*\"\norder = \"newest\"\n{retry}\ndeploy = {{ command = [\"./deploy.sh\"] }}\n\
         [projects.shop.stages.prod]\ntags = \"v*\"\norder = \"semver\"\n{retry}\ndeploy = {{ url = \"{}\" }}\n",
        endpoint.url()
    );
    let shop = Shop::with(&on_gitea(&gitea, &stages));
    shop.script("deploy.sh", DEPLOY);
    shop.run(&["poll"]).code(0);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    gitea.push("acme/shop", "v1.11.0", "2026-11-20T11:00:00Z");
    Scene { shop, gitea, endpoint }
}

fn strace(shop: &Shop, trace: &str, inject: Option<&str>) -> Run {
    let calls =
        format!("trace={}", inject.map_or_else(|| CALLS.join(","), |inject| call_of(inject).to_owned()));
    let mut arguments = vec!["strace", "-f", "-qq", "-o", trace, "-e", &calls];
    arguments.extend(inject.iter().flat_map(|inject| ["-e", inject]));
    shop.run_under(&arguments, &["poll"])
}

/// `pwrite64` of `inject=pwrite64:signal=KILL:when=3`
fn call_of(inject: &str) -> &str {
    inject.trim_start_matches("inject=").split(':').next().unwrap()
}

/// How often any one thread of tagship makes each call, in a run that nobody disturbs.
/// And how many calls they make together.
fn boundaries() -> (BTreeMap<&'static str, usize>, usize) {
    let Scene { shop, gitea: _gitea, endpoint: _endpoint } = scene();
    let trace = shop.path("trace");
    strace(&shop, trace.to_str().unwrap(), None).code(0);
    let text = shop.read("trace");
    let mut threads: BTreeSet<&str> = BTreeSet::new();
    let mut counts: BTreeMap<(&str, &'static str), usize> = BTreeMap::new();
    for line in text.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        if threads.is_empty() {
            threads.insert(thread);
        }
        let rest = rest.trim_start();
        if !threads.contains(thread) {
            // A command's, or what it started.
            continue;
        }
        let Some(call) = CALLS.into_iter().find(|call| rest.starts_with(&format!("{call}("))) else {
            continue;
        };
        *counts.entry((thread, call)).or_default() += 1;
        let started = rest.rsplit_once("= ").map(|(_, result)| result.trim());
        if call.starts_with("clone")
            && rest.contains("CLONE_THREAD")
            && let Some(started) = started
        {
            threads.insert(started);
        }
    }
    // A clone that another thread's line came between names its result later: those threads make the same calls.
    let all = counts.values().sum();
    let mut most: BTreeMap<&'static str, usize> = BTreeMap::new();
    for ((_, call), count) in counts {
        let known = most.entry(call).or_default();
        *known = count.max(*known);
    }
    (most, all)
}

/// Polls until both are delivered, and looks at what reached the stages.
fn makes_good(Scene { shop, gitea: _, endpoint }: &Scene, point: &str) {
    await_until(&format!("both are deployed after {point}"), || {
        shop.run(&["poll"]);
        shop.status("shop/dev")["deployed_tag"] == "dev-43"
            && shop.status("shop/prod")["deployed_tag"] == "v1.11.0"
    });
    let deliveries = shop.deliveries();
    let ids: BTreeSet<&str> = deliveries.iter().map(|delivery| delivery.id.as_str()).collect();
    assert_eq!(ids.len(), 1, "{point}: {deliveries:?}");
    let requests = endpoint.requests();
    let ids: BTreeSet<&str> =
        requests.iter().map(|request| request.header("idempotency-key").unwrap()).collect();
    assert_eq!(ids.len(), 1, "{point}: {requests:?}");
    assert!(!shop.exists("overlaps"), "{point}: two at once");
    shop.run(&["poll"]).code(0).silent();
    assert_eq!(shop.deliveries().len(), deliveries.len(), "{point}: delivered again");
}

#[test]
fn a_kill_at_any_boundary_loses_nothing() {
    let (boundaries, calls) = boundaries();
    let mut points: Vec<String> = boundaries
        .iter()
        .flat_map(|(call, most)| (1..=*most).map(move |n| format!("inject={call}:signal=KILL:when={n}")))
        .collect();
    points.reverse();
    let all = points.len();
    let points = Mutex::new(points);
    let results: Mutex<Vec<String>> = Mutex::default();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let Some(point) = points.lock().unwrap().pop() else { break };
                    let scene = scene();
                    let run = strace(&scene.shop, "/dev/null", Some(&point));
                    // strace follows the command, too: where that is what dies, the deployment has failed.
                    assert!(run.was_killed() || run.has_code(0) || run.has_code(1), "{point}: {run:?}");
                    let what = if run.was_killed() { "killed" } else { "survived" };
                    makes_good(&scene, &point);
                    results.lock().unwrap().push(format!("{point} {what}"));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap();
    for (point, reply) in [("while the command lives", None), ("while the request waits", Some(Reply::Hang))]
    {
        let scene = scene();
        if let Some(reply) = reply {
            scene.endpoint.then(reply);
        } else {
            scene.shop.file("stay", "");
        }
        let poll = scene.shop.start(&["poll"]);
        if scene.shop.exists("stay") {
            await_until("the command runs", || scene.shop.exists("deliveries"));
        } else {
            scene.endpoint.await_request();
        }
        assert!(poll.kill().was_killed());
        if scene.shop.exists("stay") {
            scene.shop.run(&["poll"]).code(0);
            scene.shop.remove("stay");
        }
        makes_good(&scene, point);
        results.push(format!("{point} killed"));
    }
    results.sort();
    let killed = results.iter().filter(|result| result.ends_with("killed")).count();
    println!("{}", results.join("\n"));
    println!(
        "{killed} kills at {} of {} points; everything was delivered, each under one id",
        results.len(),
        all + 2
    );
    println!("the threads of the run make {calls} such calls; a point is the n-th of whichever is first");
    assert_eq!(results.len(), all + 2);
    assert!(killed >= 40, "only {killed} kills");
}

/// The disk is full from the n-th write of any thread on.
#[test]
fn a_full_disk_at_any_write_loses_nothing() {
    let most = boundaries().0["pwrite64"];
    let points = Mutex::new((1..=most).rev().collect::<Vec<usize>>());
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let Some(n) = points.lock().unwrap().pop() else { break };
                    let scene = scene();
                    let inject = format!("inject=pwrite64:error=ENOSPC:when={n}+");
                    let run = strace(&scene.shop, "/dev/null", Some(&inject));
                    if n == 1 {
                        run.code(2).stderr_has("make room");
                        assert!(scene.shop.deliveries().is_empty() && scene.endpoint.requests().is_empty());
                    }
                    assert!(run.has_code(2) || run.has_code(0), "{inject}: {run:?}");
                    makes_good(&scene, &inject);
                }
            });
        }
    });
}
