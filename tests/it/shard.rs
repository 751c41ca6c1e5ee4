//! Several tagships share the targets; each takes its own.

use crate::first_poll::gitea;
use crate::harness::{DEV, PROD, Shop, on_gitea};
use crate::registry::{Build, Gitea};

/// Eight projects of two stages each.
fn shop(gitea: &Gitea) -> Shop {
    let mut stages = format!("{DEV}{PROD}");
    for project in 1..8 {
        gitea.push(&format!("acme/p{project}"), "v1.0.0", "2026-11-20T10:00:00Z");
        let of_project = format!("{DEV}{PROD}").replace("projects.shop", &format!("projects.p{project}"));
        stages.push_str(&format!(
            "\n[projects.p{project}]\nregistry = \"git\"\nimage = \"acme/p{project}\"\n{of_project}"
        ));
    }
    Shop::with(&on_gitea(gitea, &stages))
}

#[test]
fn every_target_is_in_exactly_one_shard_and_stages_of_an_image_stay_together() {
    let gitea = gitea(Build::GiteaNew);
    let shop = shop(&gitea);
    let mut all = Vec::new();
    for index in 0..3 {
        let run = shop.run(&["poll", "--dry-run", "--format", "json", "--shard", &format!("{index}/3")]);
        let targets = run.code(0).targets();
        assert_eq!(targets.len() % 2, 0, "{targets:?}");
        all.extend(targets);
    }
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 16);
    // Counting from 1 also selects each target once.
    let of = |shard: &str| {
        shop.run(&["poll", "--dry-run", "--format", "json", "--shard", shard]).code(0).targets()
    };
    assert_eq!(of("0/3"), of("3/3"));
}

#[test]
fn a_kubernetes_job_knows_its_shard() {
    let gitea = gitea(Build::GiteaNew);
    let mut shop = shop(&gitea);
    shop.run(&["poll", "--shard", "3"]).code(2).stderr_has("JOB_COMPLETION_INDEX");
    let expected = shop.run(&["poll", "--dry-run", "--format", "json", "--shard", "1/3"]).targets();
    shop.env("JOB_COMPLETION_INDEX", "1");
    assert_eq!(shop.run(&["poll", "--dry-run", "--format", "json", "--shard", "3"]).targets(), expected);
    shop.env("JOB_COMPLETION_INDEX", "3");
    shop.run(&["poll", "--shard", "3"]).code(2).stderr_has("expected a number from 0 to 2");
    shop.run(&["poll", "--shard", "4/3"]).code(2).stderr_has("is not a shard");
}
