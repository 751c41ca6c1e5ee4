use super::*;
use crate::engine::ErrorCode;
use crate::engine::tests::{pending, tag};
use crate::target::notifier::Event;

#[test]
fn an_open_deployment_is_kept_by_where_it_stands() {
    let [waits, runs, dead] = [DeploymentState::Pending, DeploymentState::Running, DeploymentState::Dead]
        .map(|state| Deployment { state, ..pending(tag("v1.0.0"), None) });
    let mut open = OpenDeployments::default();
    for deployment in [&waits, &runs, &dead] {
        open.insert(deployment.clone());
    }
    assert_eq!(open, OpenDeployments { pending: Some(waits), running: Some(runs), dead: Some(dead) });
}

#[test]
fn a_candidate_that_waits_is_kept_as_json() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let text = |digest: &str| {
        format!(
            r#"{{"tag":"v1.0.0","pushed_at":null,"sequence":7,"first_seen":"2027-01-15T08:00:00Z","digest":{digest}}}"#
        )
    };
    for (digest, expected) in [("null", None), (&format!("{digest:?}"), Digest::new(&digest).ok())] {
        let seen: Sighted = serde_json::from_str(&text(digest)).unwrap();
        assert_eq!((&seen.tag, &seen.digest), (&tag("v1.0.0"), &expected));
        assert_eq!(serde_json::to_string(&seen).unwrap(), text(digest));
    }
    assert!(serde_json::from_str::<Sighted>(&text("\"sha256:0\"")).is_err());
    assert!(serde_json::from_str::<Sighted>(&text("null").replace("v1.0.0", ".")).is_err());
}

#[test]
fn a_word_that_is_not_known_is_refused() {
    assert!(Status::VARIANTS.iter().all(|status| status.as_str().parse() == Ok(*status)));
    assert!(
        <Event as strum::VariantNames>::VARIANTS
            .iter()
            .all(|word| word.parse().map(Event::as_str) == Ok(*word))
    );
    assert!("x".parse::<ErrorCode>().is_err());
}
