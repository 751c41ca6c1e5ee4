//! Any `Retry-After`, `Date` and text of a server.

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn any_wish_is_waited_for_or_left_to_a_later_run(seconds in prop::option::of(0..100_000u64)) {
        let hint = RetryHint { is_limit: true, wait: seconds.map(Duration::from_secs) };
        prop_assert!(hint.pause().is_none_or(|pause| pause <= SHORT_RETRY));
        prop_assert!(hint.retry_at().is_some());
    }

    #[test]
    fn any_text_is_one_short_line(text in "(\\PC|[\\x00-\\x1f\\x7f-\\x9f]){0,40}", longest in 0..30usize) {
        let line = one_line(&Secrets::default().redact(&Outside::text(&text)), longest);
        prop_assert!(line.chars().count() <= longest + 1);
        prop_assert!(!line.chars().any(char::is_control));
    }
}
