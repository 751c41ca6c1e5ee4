//! What fails for one target is that target's: the others are deployed, recorded, reported and notified.

use std::fs;

use rusqlite::Connection;

use crate::endpoint::Endpoint;
use crate::first_poll::gitea;
use crate::harness::{DEV, PROD, Shop, on_gitea};
use crate::http::Answer;
use crate::registry::{Build, Gitea};
use crate::run::Run;

/// dev and prod, both with a new tag; metrics, pings and notifications.
struct Scene {
    gitea: Gitea,
    receiver: Endpoint,
    service: Endpoint,
    shop: Shop,
}

fn scene() -> Scene {
    let gitea = gitea(Build::GiteaNew);
    let (receiver, service) = (Endpoint::start(), Endpoint::start());
    let settings = "[settings]\nmetrics_file = \"tagship.prom\"\nping_url = \"{secret.hc}\"\n\
                    [secrets]\nhc = { file = \"secret/hc\" }\n";
    let notify = format!(
        "[[notify]]\non = [\"failed\", \"deployed\"]\nurl = \"{}\"\nbody = \"{{target}} {{status}}: {{error}}\"\n",
        receiver.url()
    );
    let shop = Shop::with(&format!("{settings}{}{notify}", on_gitea(&gitea, &format!("{DEV}{PROD}"))));
    shop.secret("hc", &format!("{}/planted-uuid", service.url()));
    shop.run(&["poll"]).code(0);
    gitea.push("acme/shop", "dev-43", "2026-11-20T11:00:00Z");
    gitea.push("acme/shop", "v1.11.0", "2026-11-20T11:00:00Z");
    Scene { gitea, receiver, service, shop }
}

impl Scene {
    /// A statement in the state file, beside tagship.
    fn sql(&self, statement: &str) {
        Connection::open(self.shop.path("state.db")).unwrap().execute_batch(statement).unwrap();
    }

    /// No write of this kind to rows of a stage succeeds, until [`Scene::cure`].
    fn refuse(&self, write: &str, condition: &str) {
        self.sql(&format!(
            "CREATE TRIGGER refused BEFORE {write} WHEN {condition} BEGIN SELECT RAISE(ABORT, 'refused'); END"
        ));
    }

    fn cure(&self) {
        self.sql("DROP TRIGGER refused");
    }

    fn notified(&self) -> Vec<String> {
        let bodies =
            self.receiver.requests().into_iter().map(|request| String::from_utf8(request.body).unwrap());
        let mut notified: Vec<String> =
            bodies.map(|body| body.split(':').next().unwrap().to_owned()).collect();
        notified.sort();
        notified
    }

    fn metric(&self, name: &str) -> bool {
        self.shop.read("tagship.prom").lines().any(|line| line == name)
    }

    fn last_ping(&self) -> String {
        self.service.requests().last().unwrap().path().to_owned()
    }

    /// dev failed by the state, prod was deployed.
    fn only_prod_is_served(&self, run: &Run, status: &str) {
        run.code(1)
            .status_is("shop/prod", "deployed")
            .status_is("shop/dev", status)
            .error_is("shop/dev", "state");
        assert_eq!(run.json()["summary"]["deployed"], 1);
        assert_eq!(self.shop.status("shop/prod")["deployed_tag"], "v1.11.0");
        assert_eq!(self.last_ping(), "/planted-uuid/1");
        assert!(self.metric("tagship_targets{status=\"deployed\"} 1"), "{}", self.shop.read("tagship.prom"));
    }

    /// The next poll of the repaired state delivers dev, once.
    fn dev_is_served(&self) {
        self.shop.run(&["poll"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
        self.shop.run(&["poll"]).code(0).silent();
        assert_eq!(self.shop.delivered(), ["shop/prod v1.11.0", "shop/dev dev-43"]);
    }
}

#[test]
fn a_broken_lock_fails_its_target_alone() {
    for obstacle in ["folder", "dangling link"] {
        let scene = scene();
        let lock = scene.shop.path("state.db.locks/shop@dev");
        fs::create_dir_all(lock.parent().unwrap()).unwrap();
        match obstacle {
            "folder" => fs::create_dir(&lock).unwrap(),
            _ => std::os::unix::fs::symlink("gone/lock", &lock).unwrap(),
        }
        let run = scene.shop.run(&["poll", "--format", "json"]);
        scene.only_prod_is_served(&run, "failed");
        let message = run.target("shop/dev")["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains("state.db.locks/shop@dev: "), "{message}");
        assert_eq!(scene.notified(), ["shop/dev failed", "shop/prod deployed"], "{obstacle}");
        assert_eq!(scene.shop.status("shop/dev")["status"], "failed");
        scene.shop.run(&["status", "--exit-code"]).code(1);
        // Every format, for as long as it lasts; the message is sent once.
        for (format, said) in
            [("human", "state: "), ("jsonl", "\"state\""), ("github", "::error title=shop/dev failed")]
        {
            scene.shop.run(&["poll", "--format", format]).code(1).stdout_has(said);
        }
        assert_eq!(scene.notified().len(), 2);
        if obstacle == "folder" {
            fs::remove_dir(&lock).unwrap()
        } else {
            fs::remove_file(&lock).unwrap()
        }
        scene.dev_is_served();
    }
}

#[test]
fn a_deployment_that_cannot_be_begun_fails_its_target_alone() {
    let scene = scene();
    scene.refuse("INSERT ON attempt", "(SELECT stage FROM deployment WHERE id = NEW.deployment_id) = 'dev'");
    let run = scene.shop.run(&["poll", "--format", "json"]);
    scene.only_prod_is_served(&run, "failed");
    assert_eq!(scene.shop.delivered(), ["shop/prod v1.11.0"]);
    scene.cure();
    scene.dev_is_served();
}

#[test]
fn an_outcome_that_cannot_be_recorded_is_reported_and_the_deployment_sent_again_under_its_id() {
    for fails in [false, true] {
        let scene = scene();
        if fails {
            scene.shop.file("fail", "");
        }
        scene.refuse(
            "UPDATE ON attempt",
            "(SELECT stage FROM deployment WHERE id = NEW.deployment_id) = 'dev'",
        );
        let run = scene.shop.run(&["poll", "--format", "json", "shop/dev"]);
        run.code(1).status_is("shop/dev", "failed").error_is("shop/dev", "state");
        let message = run.target("shop/dev")["error"]["message"].as_str().unwrap().to_owned();
        let said = if fails { "./deploy.sh exited with status 7" } else { "dev-43 was deployed" };
        assert!(message.contains(said) && message.contains("cannot be recorded"), "{message}");
        if fails {
            scene.shop.remove("fail");
        }
        scene.cure();
        scene.shop.run(&["poll", "shop/dev"]).code(0).line("shop/dev", &["deployed", "dev-43"]);
        let deliveries = scene.shop.deliveries();
        assert_eq!(deliveries.len(), 2);
        assert_eq!(deliveries[0].id, deliveries[1].id);
    }
}

#[test]
fn an_output_that_cannot_be_kept_does_not_change_the_outcome() {
    let scene = scene();
    scene.shop.script("deploy.sh", "echo hello\n");
    scene.refuse("UPDATE OF output ON attempt", "NEW.output IS NOT NULL");
    scene
        .shop
        .run(&["poll", "shop/dev"])
        .code(0)
        .line("shop/dev", &["deployed", "dev-43"])
        .stderr_has("output");
    scene.cure();
    scene.shop.run(&["poll", "shop/dev"]).code(0).silent();
}

#[test]
fn a_decision_that_cannot_be_recorded_is_its_targets_alone() {
    let scene = scene();
    scene.refuse("INSERT ON poll_state", "NEW.stage = 'dev'");
    let run = scene.shop.run(&["poll", "--format", "json"]);
    scene.only_prod_is_served(&run, "unknown");
    assert_eq!(scene.notified(), ["shop/prod deployed"]);
    scene.shop.run(&["poll"]).code(1).line("shop/dev", &["unknown", "state: "]);
    scene.cure();
    scene.dev_is_served();
}

#[test]
fn a_run_that_can_record_nothing_did_nothing() {
    let scene = scene();
    scene.refuse("INSERT ON poll_state", "1");
    let run = scene.shop.run(&["poll", "--format", "json"]);
    run.code(2).stderr_has("error: [dir]/state.db: ");
    assert_eq!(run.json()["targets"], serde_json::json!([]));
    assert!(scene.shop.deliveries().is_empty() && scene.notified().is_empty());
    assert_eq!(scene.last_ping(), "/planted-uuid/2");
}

#[test]
fn an_outbox_that_cannot_be_locked_is_a_warning() {
    let scene = scene();
    fs::create_dir_all(scene.shop.path("state.db.locks/@notify")).unwrap();
    let run = scene.shop.run(&["poll"]);
    run.code(0).line("shop/dev", &["deployed"]).line("shop/prod", &["deployed"]).stderr_has("@notify: ");
    assert!(scene.notified().is_empty());
    assert_eq!(scene.last_ping(), "/planted-uuid/0");
    fs::remove_dir(scene.shop.path("state.db.locks/@notify")).unwrap();
    scene.shop.run(&["poll"]).code(0).silent();
    assert_eq!(scene.notified(), ["shop/dev deployed", "shop/prod deployed"]);
}

#[test]
fn a_limit_that_cannot_be_kept_is_a_warning() {
    let scene = scene();
    scene.refuse("INSERT ON registry", "1");
    scene.gitea.intercept(|request| {
        let is_feed = request.path().starts_with("/api/");
        is_feed.then(|| Answer::new(429, "text/plain", "slowly").with("Retry-After", "3600").into())
    });
    let run = scene.shop.run(&["poll"]);
    run.code(1).line("git", &["unknown", "2 targets (shop/dev, shop/prod)"]).stderr_has("refused");
    assert_eq!(scene.last_ping(), "/planted-uuid/1");
}

#[test]
#[ignore = "needs strace"]
fn a_lock_that_no_file_is_left_for_fails_its_target_alone() {
    let scene = scene();
    // The first that a thread opens in the folder of the locks: dev's.
    let locks = scene.shop.path("state.db.locks");
    let too_many = ["strace", "-f", "-qq", "-o", "trace", "-e", "inject=openat:error=EMFILE:when=1", "-P"];
    let strace = [&too_many[..], &[locks.to_str().unwrap()]].concat();
    let run = scene.shop.run_under(&strace, &["poll", "--format", "json"]);
    scene.only_prod_is_served(&run, "failed");
    scene.dev_is_served();
}

#[test]
fn a_manual_deployment_whose_outcome_cannot_be_recorded_is_reported() {
    let scene = scene();
    scene.refuse("UPDATE ON attempt", "1");
    let run = scene.shop.run(&["deploy", "shop/dev"]);
    run.code(1).line("shop/dev", &["failed", "state: ", "dev-43 was deployed", "cannot be recorded"]);
    assert_eq!(scene.shop.delivered(), ["shop/dev dev-43"]);
}

#[test]
fn one_of_several_retries_that_fails_stops_no_other() {
    let scene = scene();
    scene.shop.file("fail", "");
    scene.shop.run(&["poll"]).code(1);
    scene.shop.remove("fail");
    let lock = scene.shop.path("state.db.locks/shop@dev");
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();
    let run = scene.shop.run(&["retry"]);
    run.code(1).stdout_has("shop/prod: the deployment of v1.11.0 will be retried").stderr_has("shop/dev: ");
    scene.shop.run(&["retry", "shop/dev"]).code(2).stdout("");
}
