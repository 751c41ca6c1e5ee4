//! What a stage's probe (`running`) reports, compared with a deployment.

use super::is_timeless;
use super::state::Deployment;
use crate::reference::{Digest, ListedTag, Tag};
use crate::target::Target;

/// The answer of a probe: a tag, a digest, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProbeAnswer {
    pub(crate) tag: Option<Tag>,
    pub(crate) digest: Option<Digest>,
}

/// How the running tag compares with a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The stage runs it.
    Same,
    /// The stage runs a newer tag.
    Newer,
    /// The stage runs an older tag, or one that the policy cannot compare.
    Other,
}

impl ProbeAnswer {
    /// Reads `v1.2`, `sha256:…`, `host/name:v1.2`, `name@sha256:…` or `name:v1.2@sha256:…`; None for
    /// anything else.
    pub(crate) fn parse(text: &str) -> Option<ProbeAnswer> {
        let text = text.trim();
        let (name, digest) = match text.rsplit_once('@') {
            Some((name, digest)) => (name, Some(Digest::new(digest).ok()?)),
            None => match Digest::new(text) {
                Ok(digest) => return Some(ProbeAnswer { tag: None, digest: Some(digest) }),
                Err(_) => (text, None),
            },
        };
        let last = name.rsplit('/').next().unwrap_or_default();
        let tag = match last.split_once(':') {
            Some((_, tag)) => Some(Tag::new(tag).ok()?),
            // With a digest or a slash it is an image without a tag; a single word is a tag.
            None if digest.is_some() || name.contains('/') => None,
            None => Some(Tag::new(name).ok()?),
        };
        (tag.is_some() || digest.is_some()).then_some(ProbeAnswer { tag, digest })
    }

    /// Whether this is the tag or the digest. A mutable tag is compared by digest only.
    pub(crate) fn is(&self, tag: &Tag, digest: Option<&Digest>, is_mutable: bool) -> bool {
        let same_digest = self.digest.is_some() && self.digest.as_ref() == digest;
        // The same tag with another digest is a match: the stage may report the digest of its own platform,
        // and not that of the index.
        same_digest || (!is_mutable && self.tag.as_ref() == Some(tag))
    }

    /// For people: the tag, or the digest if there is none.
    pub(crate) fn name(&self) -> &str {
        let digest = || self.digest.as_ref().map_or("", Digest::as_str);
        self.tag.as_ref().map_or_else(digest, |tag| tag.as_str())
    }
}

/// Compares the probe's answer with a deployment. `running` and `deployed`: both tags as the registry lists
/// them, if known.
pub(crate) fn standing(
    target: &Target,
    reported: &ProbeAnswer,
    deployment: &Deployment,
    running: Option<&ListedTag>,
    deployed: &ListedTag,
) -> Standing {
    if reported.is(&deployment.tag, deployment.digest.as_ref(), target.digest) {
        return Standing::Same;
    }
    let is_newer = running.is_some_and(|running| is_newer(target, running, deployed));
    if is_newer { Standing::Newer } else { Standing::Other }
}

fn is_newer(target: &Target, one: &ListedTag, other: &ListedTag) -> bool {
    match (target.policy.candidate(one), target.policy.candidate(other)) {
        (Some(newer), Some(older)) if !is_timeless(one, target) && !is_timeless(other, target) => {
            newer.is_newer_than(&older)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::engine::tests::{pending, tag, target};
    use crate::policy::Order;

    fn digest(filler: char) -> Digest {
        Digest::new(&format!("sha256:{}", filler.to_string().repeat(64))).unwrap()
    }

    #[test]
    fn tag_image_and_digest_are_parsed() {
        let a = digest('a');
        for (text, expected_tag, has_digest) in [
            ("v1.2\n", Some("v1.2"), false),
            ("latest", Some("latest"), false),
            ("git.example.com/acme/shop:v1.2", Some("v1.2"), false),
            ("localhost:5000/shop:v1.2", Some("v1.2"), false),
            ("shop:v1.2", Some("v1.2"), false),
            (&format!("acme/shop:v1.2@{a}"), Some("v1.2"), true),
            (&format!("docker-pullable://acme/shop@{a}"), None, true),
            (&format!("shop@{a}"), None, true),
            (a.as_str(), None, true),
        ] {
            let expected = ProbeAnswer { tag: expected_tag.map(tag), digest: has_digest.then(|| a.clone()) };
            assert_eq!(ProbeAnswer::parse(text), Some(expected), "{text}");
        }
        for text in ["", " ", "localhost:5000/shop", "acme/shop", "v1 v2", "shop@v1", "{}", "shop:", "é"] {
            assert_eq!(ProbeAnswer::parse(text), None, "{text}");
        }
    }

    #[test]
    fn running_tag_is_the_same_newer_or_another() {
        let target = target("v*", Order::Semver);
        let deployment = Deployment { digest: Some(digest('a')), ..pending(tag("v1.2.0"), None) };
        let compare = |text: &str| {
            let reported = ProbeAnswer::parse(text).unwrap();
            let running = reported.tag.clone().map(ListedTag::named);
            standing(&target, &reported, &deployment, running.as_ref(), &ListedTag::named(tag("v1.2.0")))
        };
        assert_eq!(compare("v1.2.0"), Standing::Same);
        assert_eq!(compare(digest('a').as_str()), Standing::Same);
        assert_eq!(compare(&format!("shop:v1.2.0@{}", digest('b'))), Standing::Same);
        assert_eq!(compare("v1.3.0"), Standing::Newer);
        assert_eq!(compare("v1.1.0"), Standing::Other);
        assert_eq!(compare("latest"), Standing::Other);
        assert_eq!(compare(digest('b').as_str()), Standing::Other);
    }

    #[test]
    fn running_tag_without_a_push_time_is_not_newer() {
        let target = target("*", Order::Newest);
        let listed = |name, second: Option<i64>| ListedTag {
            pushed_at: second.map(|second| Timestamp::from_second(second).unwrap()),
            ..ListedTag::named(tag(name))
        };
        let reported = ProbeAnswer::parse("b").unwrap();
        for (runs, deployed, expected) in [
            (Some(2), Some(1), Standing::Newer),
            (Some(1), Some(2), Standing::Other),
            (Some(2), None, Standing::Other),
            (None, Some(1), Standing::Other),
        ] {
            let (runs, deployed) = (listed("b", runs), listed("a", deployed));
            let found = standing(&target, &reported, &pending(tag("a"), None), Some(&runs), &deployed);
            assert_eq!(found, expected, "{runs:?} and {deployed:?}");
        }
    }

    #[test]
    fn answer_is_named_by_its_tag_or_by_its_digest() {
        let a = digest('a');
        for (text, name) in [(format!("shop:v1.2@{a}"), "v1.2"), (format!("shop@{a}"), a.as_str())] {
            assert_eq!(ProbeAnswer::parse(&text).unwrap().name(), name);
        }
    }

    #[test]
    fn mutable_tag_is_compared_by_digest() {
        let target = Target { digest: true, ..target("v*", Order::Semver) };
        let deployment = Deployment { digest: Some(digest('a')), ..pending(tag("v1.2.0"), None) };
        let compare = |text: &str| {
            let reported = ProbeAnswer::parse(text).unwrap();
            standing(&target, &reported, &deployment, None, &ListedTag::named(tag("v1.2.0")))
        };
        assert_eq!(compare("v1.2.0"), Standing::Other);
        assert_eq!(compare(&format!("v1.2.0@{}", digest('b'))), Standing::Other);
        assert_eq!(compare(&format!("shop:v1.2.0@{}", digest('a'))), Standing::Same);
    }
}
