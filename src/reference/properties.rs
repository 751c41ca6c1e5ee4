//! Names as the specifications have them, tried against their regular expressions.

use std::sync::LazyLock;

use proptest::prelude::*;
use regex::Regex;

use super::*;

/// https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests
static REPOSITORY: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\A[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*\z").unwrap()
});
static TAG: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\A[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}\z").unwrap());
static DIGEST: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\A(sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128})\z").unwrap());

fn is_as_specified(text: &str) -> Result<(), TestCaseError> {
    let repository = Repository::new(text);
    prop_assert_eq!(repository.is_ok(), text.len() <= 255 && REPOSITORY.is_match(text), "{:?}", text);
    if let Ok(repository) = repository {
        let parts = [Some(repository.owner()), repository.name()];
        prop_assert_eq!(parts.into_iter().flatten().collect::<Vec<_>>().join("/"), text);
    }
    prop_assert_eq!(Tag::new(text).is_ok(), TAG.is_match(text), "{:?}", text);
    prop_assert_eq!(Digest::new(text).is_ok(), DIGEST.is_match(text), "{:?}", text);
    Ok(())
}

proptest! {
    #[test]
    fn names_are_valid_exactly_as_specified(
        text in prop_oneof![
            "\\PC{0,6}",
            "[a-zA-Z0-9._/-]{0,12}",
            "[a-z0-9]{1,3}([._-]{1,3}[a-z0-9]{1,3}){0,2}(/[a-z0-9]{1,3}){0,2}\n?",
            "[a-zA-Z0-9_][a-zA-Z0-9._-]{125,128}",
            "[a-z0-9]{127}/[a-z0-9]{126,128}",
            "(sha256|sha512|md5):[0-9a-f]{63,65}",
            "sha(256|512):[0-9a-fA-F]{64}([0-9a-f]{63,65})?",
        ],
    ) {
        is_as_specified(&text)?;
    }
}
