//! The state of a target: its open deployments and its form as JSON.

use super::*;
use crate::engine::ErrorCode;
use crate::engine::tests::{pending, tag};
use crate::target::notifier::NotifyEvent;

#[test]
fn open_deployments_are_kept_by_state() {
    let [waits, runs, dead] = [DeploymentState::Pending, DeploymentState::Running, DeploymentState::Dead]
        .map(|state| Deployment { state, ..pending(tag("v1.0.0"), None) });
    let mut open = OpenDeployments::default();
    for deployment in [&waits, &runs, &dead] {
        open.insert(deployment.clone());
    }
    assert_eq!(open, OpenDeployments { pending: Some(waits), running: Some(runs), dead: Some(dead) });
}

#[test]
fn candidate_is_stored_as_json() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let text = |digest: &str| {
        format!(
            r#"{{"tag":"v1.0.0","pushed_at":null,"sequence":7,"first_seen":"2027-01-15T08:00:00Z","digest":{digest}}}"#
        )
    };
    for (digest, expected) in [("null", None), (&format!("{digest:?}"), Digest::new(&digest).ok())] {
        let seen: SeenCandidate = serde_json::from_str(&text(digest)).unwrap();
        assert_eq!((&seen.tag, &seen.digest), (&tag("v1.0.0"), &expected));
        assert_eq!(serde_json::to_string(&seen).unwrap(), text(digest));
    }
    assert!(serde_json::from_str::<SeenCandidate>(&text("\"sha256:0\"")).is_err());
    assert!(serde_json::from_str::<SeenCandidate>(&text("null").replace("v1.0.0", ".")).is_err());
}

#[test]
fn unknown_word_is_refused() {
    assert!(Status::VARIANTS.iter().all(|status| status.as_str().parse() == Ok(*status)));
    assert!(
        <NotifyEvent as strum::VariantNames>::VARIANTS
            .iter()
            .all(|word| word.parse().map(NotifyEvent::as_str) == Ok(*word))
    );
    assert!("x".parse::<ErrorCode>().is_err());
}
