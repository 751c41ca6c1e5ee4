//! tagship is killed at every boundary of a run with two deployments, and the next poll makes good: each is
//! delivered, under one id, never two commands at once, and nobody has to mend the state. The boundaries are those
//! that a trace of the undisturbed run comes to: what its threads write, sync, lock, remove, create, give away, spawn,
//! send and wait for.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::thread;

use crate::endpoint::Endpoint;
use crate::first_poll::gitea;
use crate::harness::{SERVICE, Shop, await_until, give, on_gitea};
use crate::http::Reply;
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
}

impl Scene {
    fn run(&self, arguments: &[&str]) -> Run {
        match self.user {
            Some(user) => self.shop.run_as(user, arguments),
            None => self.shop.run(arguments),
        }
    }

    fn runs(&self, target: &str, tag: &str) -> bool {
        self.run(&["status", "--format", "json"]).code(0).target(target)["deployed_tag"] == tag
    }
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
    Scene { shop, gitea, endpoint, user: None }
}

/// The same image is new, and one of a table; its first poll deploys.
fn scene_of_a_new_image() -> Scene {
    let gitea = Gitea::start(Build::GiteaNew);
    gitea.push("acme/old", "other", "2026-11-20T10:00:00Z");
    let endpoint = Endpoint::start();
    let more = "first_poll = \"deploy\"\nretry = { backoff = \"1ms\", max_backoff = \"1ms\" }";
    let stages = format!(
        "[projects.acme.stages.dev]\ntags = \"dev-*\"\norder = \"newest\"\n{more}\ndeploy = {{ command = [\"./deploy.sh\"] }}\n\
         [projects.acme.stages.prod]\ntags = \"v*\"\norder = \"semver\"\n{more}\ndeploy = {{ url = \"{}\" }}\n",
        endpoint.url()
    );
    let config = on_gitea(&gitea, &stages).replace("[projects.shop]", "[projects.acme]");
    let shop = Shop::with(&config.replace("image = \"acme/shop\"", "images = \"acme/*\""));
    shop.script("deploy.sh", DEPLOY);
    shop.run(&["poll"]).code(0);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    gitea.push("acme/shop", "v1.11.0", "2026-11-20T11:00:00Z");
    Scene { shop, gitea, endpoint, user: None }
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
    scene.user = Some(SERVICE);
    scene
}

/// Polls until both are delivered, and looks at what reached the stages.
fn makes_good(scene: &Scene, point: &str) {
    let Scene { shop, gitea, endpoint, user } = scene;
    await_until(&format!("both are deployed after {point}"), || {
        scene.run(&["poll"]);
        scene.runs("shop/dev", "dev-43") && scene.runs("shop/prod", "v1.11.0")
    });
    if user.is_some() {
        let run = scene.run(&["poll", "--format", "json"]);
        run.code(1).error_is("api/dev", "unavailable").status_is("web/dev", "up_to_date");
        gitea.recover();
        scene.run(&["poll"]).code(0).line("api/dev", &["baseline"]);
    }
    let deliveries = shop.deliveries();
    let ids: BTreeSet<&str> = deliveries.iter().map(|delivery| delivery.id.as_str()).collect();
    assert_eq!(ids.len(), 1, "{point}: {deliveries:?}");
    let requests = endpoint.requests();
    let ids: BTreeSet<&str> =
        requests.iter().map(|request| request.header("idempotency-key").unwrap()).collect();
    assert_eq!(ids.len(), 1, "{point}: {requests:?}");
    assert!(!shop.exists("overlaps"), "{point}: two at once");
    scene.run(&["poll"]).code(0).silent();
    assert_eq!(shop.deliveries().len(), deliveries.len(), "{point}: delivered again");
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

/// Whether it is before the image is known, before people are told, or before its targets are polled.
#[test]
#[ignore = "needs minutes"]
fn a_kill_at_any_boundary_of_a_discovery_loses_no_image() {
    let (run, points) = trace(&scene_of_a_new_image().shop, &["poll"], None);
    run.code(0).line("shop", &["discovered"]);
    let killed = kill_at_each(points, scene_of_a_new_image);
    println!("{}\n{} kills; the image was found and deployed", killed.join("\n"), killed.len());
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
    let code = i32::from(scene.user.is_some());
    assert!(run.was_killed() || run.has_code(code), "{point}: {run:?}");
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
    run.code(0);
    let writes = points.iter().filter(|point| point.call.starts_with("pwrite64")).count();
    let open = Mutex::new(1..=writes);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some(n) = open.lock().unwrap().next() {
                    let scene = scene();
                    let inject = format!("inject=pwrite64:error=ENOSPC:when={n}+");
                    let run = scene.shop.run_under(
                        &["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=pwrite64", "-e", &inject],
                        &["poll"],
                    );
                    if n == 1 {
                        run.code(2).stderr_has("free space on that disk");
                        assert!(scene.shop.deliveries().is_empty() && scene.endpoint.requests().is_empty());
                    }
                    // One that did nothing says so by 2; one that did something, and could not record all of it, by 1.
                    assert!(run.has_code(0) || run.has_code(1) || run.has_code(2), "{inject}: {run:?}");
                    let is_silent =
                        scene.shop.deliveries().is_empty() && scene.endpoint.requests().is_empty();
                    assert!(!run.has_code(2) || is_silent, "{inject}: {run:?}");
                    makes_good(&scene, &inject);
                }
            });
        }
    });
}
