//! tagship is killed at every boundary of a run with two deployments, and the next poll makes good: each is
//! delivered, under one ID, never two commands at once, and no state needs repair. The boundaries are those
//! that a trace of the undisturbed run comes to: what its threads write, sync, lock, remove, create, give away, spawn,
//! send and wait for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::thread;

use crate::endpoint::Endpoint;
use crate::first_poll::gitea;
use crate::harness::{SERVICE, Shop, await_until, give, on_gitea};
use crate::http::{Answer, Reply, Request};
use crate::registry::{Build, Gitea};
use crate::run::Run;
use crate::tracer::{Point, trace};

/// A command for dev, a request for prod; both have something new.
struct Scene {
    // Dropped before the servers, so that a run that still lives ends first.
    shop: Shop,
    gitea: Gitea,
    endpoint: Endpoint,
    /// Whose the state is, where root runs on it.
    user: Option<u32>,
    /// How a poll ends that nothing disturbs.
    code: i32,
    /// The deployments: target, tag and trigger. The last one of a target is what it runs in the end.
    deployments: &'static [(&'static str, &'static str, &'static str)],
}

impl Scene {
    fn run(&self, arguments: &[&str]) -> Run {
        match self.user {
            Some(user) => self.shop.run_as(user, arguments),
            None => self.shop.run(arguments),
        }
    }

    /// Whether each target runs the last tag of its deployments, by the trigger of that one.
    fn is_done(&self) -> bool {
        let status = self.run(&["status", "--format", "json"]);
        let last: BTreeMap<_, _> =
            self.deployments.iter().map(|(target, tag, by)| (*target, (*tag, *by))).collect();
        last.into_iter().all(|(target, (tag, by))| {
            let row = status.code(0).target(target);
            row["deployed_tag"] == tag && row["deployed_by"] == by
        })
    }

    /// Target, tag and ID of each deployment that reached its stage.
    fn delivered(&self) -> BTreeSet<(String, String, String)> {
        let by_command = self.shop.deliveries();
        let by_command = by_command.into_iter().map(|delivery| (delivery.target, delivery.tag, delivery.id));
        let requests = self.endpoint.requests();
        let by_request = requests.iter().filter(|request| request.method == "POST").map(|request| {
            let tag = request.path().trim_start_matches('/').to_owned();
            ("shop/prod".to_owned(), tag, request.header("idempotency-key").unwrap().to_owned())
        });
        by_command.chain(by_request).collect()
    }
}

const BY_POLLS: &[(&str, &str, &str)] = &[("shop/dev", "dev-43", "poll"), ("shop/prod", "v1.11.0", "poll")];
const BACK: &[(&str, &str, &str)] = &[
    ("shop/dev", "dev-43", "poll"),
    ("shop/dev", "dev-42", "rollback"),
    ("shop/prod", "v1.11.0", "poll"),
    ("shop/prod", "v1.10.0", "rollback"),
];

/// Two at the same time would find the file locked; a script that dies lets go of it.
const DEPLOY: &str = r#"
exec 9>>alone
flock -n 9 || echo "$TAGSHIP_TAG" >> overlaps
echo "$TAGSHIP_TARGET $TAGSHIP_TAG $TAGSHIP_DEPLOYMENT_ID $TAGSHIP_ATTEMPT" >> deliveries
while [ -e stay ]; do sleep 0.02; done
if [ ! -e bad ]; then exit 0; fi
if [ "$TAGSHIP_TAG" = dev-43 ] && ! grep -qx "$TAGSHIP_TAG $TAGSHIP_DIGEST" agreed; then touch unasked; fi
! grep -qx "$TAGSHIP_TAG" bad
"#;

/// Agrees with dev-43 alone, which then fails.
const GATE: &str = r#"
if [ "$TAGSHIP_TAG" != dev-43 ]; then echo refused; exit 1; fi
echo "$TAGSHIP_TAG $TAGSHIP_DIGEST" >> agreed
"#;

fn scene() -> Scene {
    let gitea = gitea(Build::GiteaNew);
    let endpoint = Endpoint::start();
    let retry = "retry = { backoff = \"1ms\", max_backoff = \"1ms\" }";
    let stages = format!(
        "[projects.shop.stages.dev]\ntags = \"dev-*\"\norder = \"newest\"\n{retry}\ndeploy = {{ command = [\"./deploy.sh\"] }}\n\
         [projects.shop.stages.prod]\ntags = \"v*\"\norder = \"semver\"\n{retry}\ndeploy = {{ url = \"{}/{{tag}}\" }}\n",
        endpoint.url()
    );
    let shop = Shop::with(&on_gitea(&gitea, &stages));
    shop.script("deploy.sh", DEPLOY);
    shop.run(&["poll"]).code(0);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    gitea.push("acme/shop", "v1.11.0", "2026-11-20T11:00:00Z");
    Scene { shop, gitea, endpoint, user: None, code: 0, deployments: BY_POLLS }
}

/// The same image is new, and one of a table; its first poll deploys.
fn scene_of_a_new_image() -> Scene {
    let gitea = Gitea::start(Build::GiteaNew);
    gitea.push("acme/old", "other", "2026-11-20T10:00:00Z");
    let endpoint = Endpoint::start();
    let more = "first_poll = \"deploy\"\nretry = { backoff = \"1ms\", max_backoff = \"1ms\" }";
    let stages = format!(
        "[projects.acme.stages.dev]\ntags = \"dev-*\"\norder = \"newest\"\n{more}\ndeploy = {{ command = [\"./deploy.sh\"] }}\n\
         [projects.acme.stages.prod]\ntags = \"v*\"\norder = \"semver\"\n{more}\ndeploy = {{ url = \"{}/{{tag}}\" }}\n",
        endpoint.url()
    );
    let config = on_gitea(&gitea, &stages).replace("[projects.shop]", "[projects.acme]");
    let shop = Shop::with(&config.replace("image = \"acme/shop\"", "images = \"acme/*\""));
    shop.script("deploy.sh", DEPLOY);
    shop.run(&["poll"]).code(0);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    gitea.push("acme/shop", "v1.11.0", "2026-11-20T11:00:00Z");
    Scene { shop, gitea, endpoint, user: None, code: 0, deployments: BY_POLLS }
}

/// Both stages have deployed a tag. A gate of each agrees with the next one, which fails, and refuses the one after it.
fn scene_of_gates_and_rollbacks() -> Scene {
    let gitea = gitea(Build::GiteaNew);
    let endpoint = Endpoint::deciding(|request: &Request| {
        let is_refused = matches!(request.path(), "/may/v1.12.0" | "/v1.11.0");
        Answer::new(if is_refused { 400 } else { 204 }, "", "")
    });
    let stages = format!(
        "[settings.stage]\non_failure = \"previous\"\nretry = {{ attempts = 1 }}\n\
         [projects.shop.stages.dev]\ntags = \"dev-*\"\norder = \"newest\"\n\
         gate = {{ command = [\"./gate.sh\"] }}\ndeploy = {{ command = [\"./deploy.sh\"] }}\n\
         [projects.shop.stages.prod]\ntags = \"v*\"\norder = \"semver\"\n\
         gate = {{ url = \"{0}/may/{{tag}}\", method = \"GET\" }}\ndeploy = {{ url = \"{0}/{{tag}}\" }}\n",
        endpoint.url()
    );
    let shop = Shop::with(&on_gitea(&gitea, &stages));
    shop.script("deploy.sh", DEPLOY);
    shop.script("gate.sh", GATE);
    for (target, tag) in [("shop/dev", "dev-42"), ("shop/prod", "v1.10.0")] {
        shop.run(&["deploy", target, tag]).code(0);
    }
    shop.remove("deliveries");
    endpoint.forget();
    shop.file("bad", "dev-43\n");
    for (minute, tags) in [("10", ["dev-43", "v1.11.0"]), ("20", ["dev-44", "v1.12.0"])] {
        for tag in tags {
            gitea.push("acme/shop", tag, &format!("2026-11-20T11:{minute}:00Z"));
        }
    }
    Scene { shop, gitea, endpoint, user: None, code: 1, deployments: BACK }
}

/// The state is a service user's and has no locks; the lists of one image of three reset the connection.
fn scene_of_a_service_user() -> Scene {
    let mut scene = scene();
    let image = "[projects.NAME]\nregistry = \"git\"\nimage = \"acme/NAME\"\n\
                 stages.dev = { tags = \"*\", order = \"semver\", deploy = { command = [\"false\"] } }\n";
    let images = ["api", "web"].map(|name| {
        scene.gitea.push(&format!("acme/{name}"), "1.0.0", "2026-11-20T11:00:00Z");
        image.replace("NAME", name)
    });
    let config = scene.shop.read("tagship.toml");
    let metrics = "[settings]\nmetrics_file = \"metrics.prom\"\n";
    scene.shop.config(&format!("{metrics}{config}{}", images.concat()));
    for name in ["deliveries", "alone"] {
        scene.shop.file(name, "");
    }
    give(&scene.shop.path(""), SERVICE);
    scene.gitea.intercept(|request| request.path().contains("/api/tags/list").then_some(Reply::Reset));
    (scene.user, scene.code) = (Some(SERVICE), 1);
    scene
}

/// Polls until both stages run what they are to run, and looks at what reached them.
fn makes_good(scene: &Scene, point: &str) {
    let Scene { shop, gitea, user, .. } = scene;
    await_until(&format!("everything is deployed after {point}"), || {
        scene.run(&["poll"]);
        scene.is_done()
    });
    if user.is_some() {
        let run = scene.run(&["poll", "--format", "json"]);
        run.code(1).error_is("api/dev", "unavailable").status_is("web/dev", "up_to_date");
        gitea.recover();
        scene.run(&["poll"]).code(0).line("api/dev", &["baseline"]);
    }
    let delivered = scene.delivered();
    let tags: Vec<(&str, &str)> = delivered.iter().map(|(target, tag, _)| (&**target, &**tag)).collect();
    let mut expected: Vec<(&str, &str)> =
        scene.deployments.iter().map(|(target, tag, _)| (*target, *tag)).collect();
    expected.sort_unstable();
    assert_eq!(tags, expected, "{point}: each under one ID");
    assert!(!shop.exists("overlaps"), "{point}: two at once");
    assert!(!shop.exists("unasked"), "{point}: its gate had not agreed");
    let again = scene.run(&["poll"]);
    // After the rollback, one line says that a gate blocks the newest tag.
    let is_expected = |line: &str| line.contains("waiting") && shop.exists("agreed");
    assert!(again.code(0).stdout.lines().all(is_expected), "{point}: {again:?}");
    scene.run(&["poll"]).code(0).silent();
    assert_eq!(scene.delivered(), delivered, "{point}: delivered again");
}

/// The threads of two runs take turns differently: a point that a run did not come to is tried again so often.
const TRIES: usize = 8;

#[test]
#[ignore = "needs minutes"]
fn a_kill_at_any_boundary_loses_nothing() {
    let (run, points) = trace(&scene().shop, &["poll"], None);
    run.code(0);
    let all = points.len();
    let mut killed = kill_at_each(points, scene);
    for (point, reply) in [("while the command lives", None), ("while the request waits", Some(Reply::Hang))]
    {
        kill_during(point, reply);
        killed.push(point.to_owned());
    }
    println!("{}", killed.join("\n"));
    println!("{} kills at {} points; everything was delivered, each under one id", killed.len(), all + 2);
    assert!(killed.len() >= 40, "only {} kills", killed.len());
}

/// Before the image is known, before it is reported, or before its targets are polled.
#[test]
#[ignore = "needs minutes"]
fn a_kill_at_any_boundary_of_a_discovery_loses_no_image() {
    let (run, points) = trace(&scene_of_a_new_image().shop, &["poll"], None);
    run.code(0).line("shop", &["discovered"]);
    let killed = kill_at_each(points, scene_of_a_new_image);
    println!("{}\n{} kills; the image was found and deployed", killed.join("\n"), killed.len());
    assert!(killed.len() >= 40, "only {} kills", killed.len());
}

/// None comes at which a failure is recorded and its rollback is not, or at which a gate counts that did not answer.
#[test]
#[ignore = "needs minutes"]
fn a_kill_at_any_boundary_forgets_no_rollback_and_assumes_no_answer_of_a_gate() {
    let (run, points) = trace(&scene_of_gates_and_rollbacks().shop, &["poll"], None);
    run.code(1).line("shop/dev", &["rolled_back", "dev-42"]).line("shop/prod", &["rolled_back", "v1.10.0"]);
    let killed = kill_at_each(points, scene_of_gates_and_rollbacks);
    println!("{}\n{} kills; what failed was rolled back, once", killed.join("\n"), killed.len());
    assert!(killed.len() >= 40, "only {} kills", killed.len());
}

/// Root is killed wherever it makes, gives away, locks or removes a file of the service user.
#[test]
#[ignore = "needs root, and minutes"]
fn a_kill_of_root_leaves_the_state_to_its_user() {
    let (run, mut points) = trace(&scene_of_a_service_user().shop, &["poll"], None);
    run.code(1).line("shop/dev", &["deployed"]).line("api/dev", &["unknown", "unavailable"]);
    let kinds = ["create", "mkdir", "rename", "unlink", "fchmod", "fchown", "flock"];
    points.retain(|point| kinds.iter().any(|kind| point.call.starts_with(kind)));
    let killed = kill_at_each(points, scene_of_a_service_user);
    println!("{}\n{} kills of root; the service user polled on", killed.join("\n"), killed.len());
    for made in ["create shop@dev", "mkdir [dir]/state.db.locks", "create [dir]/state.db-journal"] {
        assert!(killed.iter().any(|point| point.contains(made)), "{made}: {killed:#?}");
    }
}

/// The points, all of which some run came to.
fn kill_at_each(points: BTreeSet<Point>, scene: fn() -> Scene) -> Vec<String> {
    let (killed, missed): (Mutex<BTreeSet<Point>>, Mutex<BTreeSet<Point>>) = Default::default();
    let open = Mutex::new(points.into_iter());
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some(point) = next(&open) {
                    let was_killed = (0..TRIES).any(|_| kill_at(&point, &scene()));
                    let list = if was_killed { &killed } else { &missed };
                    list.lock().unwrap().insert(point);
                }
            });
        }
    });
    let (killed, missed) = (killed.into_inner().unwrap(), missed.into_inner().unwrap());
    assert!(missed.is_empty(), "no run came to {missed:#?}");
    killed.iter().map(Point::to_string).collect()
}

fn next(points: &Mutex<impl Iterator<Item = Point>>) -> Option<Point> {
    points.lock().unwrap().next()
}

/// Whether the run came to the point and was killed there. Either way everything is delivered in the end.
fn kill_at(point: &Point, scene: &Scene) -> bool {
    let (run, _) = trace(&scene.shop, &["poll"], Some(point));
    assert!(run.was_killed() || run.has_code(scene.code), "{point}: {run:?}");
    makes_good(scene, &point.to_string());
    run.was_killed()
}

/// While the command lives, or while the endpoint has not answered.
fn kill_during(point: &str, reply: Option<Reply>) {
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
}

/// The disk is full from the n-th write to a file of any thread on.
#[test]
#[ignore = "needs strace, and minutes"]
fn a_full_disk_at_any_write_loses_nothing() {
    fill_the_disk_at_each_write(scene);
    fill_the_disk_at_each_write(scene_of_a_new_image);
}

fn fill_the_disk_at_each_write(scene: fn() -> Scene) {
    let undisturbed = scene();
    let (run, points) = trace(&undisturbed.shop, &["poll"], None);
    run.code(undisturbed.code);
    let writes = points.iter().filter(|point| point.call.starts_with("pwrite64")).count();
    let open = Mutex::new(1..=writes);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some(n) = open.lock().unwrap().next() {
                    let scene = scene();
                    let inject = format!("inject=pwrite64:error=ENOSPC:when={n}+");
                    let run = scene.shop.run_under(
                        &["strace", "-f", "-qq", "-o", "trace", "-e", "trace=pwrite64", "-e", &inject],
                        &["poll"],
                    );
                    if n == 1 {
                        run.code(2).stderr_has("free space on that disk");
                        assert!(scene.delivered().is_empty());
                    }
                    // One that did nothing says so by 2; one that did something, and could not record all of it, by 1.
                    assert!(run.has_code(0) || run.has_code(1) || run.has_code(2), "{inject}: {run:?}");
                    assert!(!run.has_code(2) || scene.delivered().is_empty(), "{inject}: {run:?}");
                    makes_good(&scene, &inject);
                }
            });
        }
    });
}
