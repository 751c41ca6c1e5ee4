//! Polls beside each other on the same state.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::Signal;

use crate::endpoint::Endpoint;
use crate::first_poll::gitea;
use crate::harness::{DEV, SERVICE, Shop, await_until, give};
use crate::http::Reply;
use crate::new_tag::baselined;
use crate::registry::{Build, Gitea};

/// A tag that is newer than those of earlier pairs.
fn push(gitea: &Gitea, pair: usize) -> String {
    let tag = format!("dev-{}", 100 + pair);
    let second = 1_800_000_000 + 100 * i64::try_from(pair).unwrap();
    gitea.push("acme/shop", &tag, &jiff::Timestamp::from_second(second).unwrap().to_string());
    tag
}

#[track_caller]
fn was_delivered_once(shop: &Shop, pair: usize, tag: &str) {
    let delivered = shop.delivered();
    assert_eq!(delivered.len(), pair + 1, "{tag}: {delivered:?}");
    assert_eq!(delivered[pair], format!("shop/dev {tag}"));
    assert_eq!(shop.status("shop/dev")["deployed_tag"], tag);
}

#[test]
#[ignore = "needs minutes"]
fn of_200_pairs_of_polls_each_deploys_the_new_tag_once() {
    let gitea = gitea(Build::GiteaNew);
    let endpoint = Endpoint::start();
    let by_request = format!(
        "[projects.shop.stages.hook]\ntags = \"dev-*\"\norder = \"newest\"\ndeploy = {{ url = \"{}\" }}\n",
        endpoint.url()
    );
    let shop = baselined(&gitea, &format!("{DEV}{by_request}"));
    for pair in 0..200 {
        let tag = push(&gitea, pair);
        let (one, other) = (shop.start(&["poll"]), shop.start(&["poll"]));
        one.end().code(0);
        other.end().code(0);
        was_delivered_once(&shop, pair, &tag);
        assert_eq!(endpoint.requests().len(), pair + 1, "{tag}");
        assert_eq!(shop.status("shop/hook")["deployed_tag"], tag.as_str());
    }
    let deliveries = shop.deliveries();
    let ids: BTreeSet<&str> = deliveries.iter().map(|delivery| delivery.id.as_str()).collect();
    let tags: BTreeSet<&str> = deliveries.iter().map(|delivery| delivery.tag.as_str()).collect();
    assert_eq!((ids.len(), tags.len()), (200, 200));
}

/// Every third pair begins on a state without locks, which both then make.
#[test]
#[ignore = "needs root"]
fn pairs_of_root_and_a_service_user_deploy_the_new_tag_once() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, DEV);
    for name in ["deliveries", "completions", "command-env"] {
        shop.file(name, "");
    }
    give(&shop.path(""), SERVICE);
    for pair in 0..40 {
        if pair % 3 == 2 {
            std::fs::remove_dir_all(shop.path("state.db.locks")).unwrap();
        }
        let tag = push(&gitea, pair);
        let start = |is_root| if is_root { shop.start(&["poll"]) } else { shop.start_as(SERVICE, &["poll"]) };
        let (one, other) = (start(pair % 2 == 0), start(pair % 2 == 1));
        // Root is warned of programs that others can write; other users are not warned about the state.
        one.end().code(0).shows_not("state.db");
        other.end().code(0).shows_not("state.db");
        was_delivered_once(&shop, pair, &tag);
        shop.run_as(SERVICE, &["poll"]).code(0).silent();
    }
}

/// The registry holds the first answer of each pair.
#[test]
fn a_poll_that_ends_during_its_requests_leaves_the_deployment_to_the_other() {
    let gitea = gitea(Build::GiteaNew);
    let shop = baselined(&gitea, DEV);
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    gitea.intercept(move |_| (count.fetch_add(1, Ordering::SeqCst) == 0).then_some(Reply::Hang));
    for pair in 0..10 {
        let tag = push(&gitea, pair);
        asked.store(0, Ordering::SeqCst);
        let one = shop.start(&["poll"]);
        await_until("the first poll asks", || asked.load(Ordering::SeqCst) > 0);
        let other = shop.start(&["poll"]);
        let (signal, code) = [(Signal::TERM, 143), (Signal::INT, 130)][pair % 2];
        one.signal(signal);
        one.end().code(code);
        other.end().code(0).line("shop/dev", &["deployed", &tag]);
        was_delivered_once(&shop, pair, &tag);
    }
}
