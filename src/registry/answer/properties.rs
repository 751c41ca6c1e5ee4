//! Whatever a server says of later, and of itself.

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn any_retry_after_is_a_day_at_most(
        value in prop_oneof![
            "\\PC{0,30}",
            "-?[0-9]{1,25}(\\.[0-9]{1,3})?([eE]-?[0-9]{1,4})?",
            "(inf|NaN|infinity|-0|0x10)",
            "(Mon|Thu), [0-9]{2} (Nov|Foo) [0-9]{1,5} [0-9]{2}:[0-9]{2}:[0-9]{2} (GMT|[+-][0-9]{4})",
        ],
        now in prop_oneof![Just(Timestamp::MIN), Just(Timestamp::MAX), Just(Timestamp::UNIX_EPOCH)],
    ) {
        let wait = retry_after(&value, now);
        prop_assert!(wait.is_none_or(|wait| wait <= LONGEST_RETRY), "{:?}", wait);
        let wish = Wish { is_limit: true, wait };
        prop_assert!(wish.pause().is_none_or(|pause| pause <= SHORT_RETRY));
        prop_assert!(wish.retry_at().is_some());
    }

    #[test]
    fn any_text_is_one_short_line(text in "(\\PC|[\\x00-\\x1f\\x7f-\\x9f]){0,40}", longest in 0..30usize) {
        let line = one_line(&Secrets::default().redact(&Outside::text(&text)), longest);
        prop_assert!(line.chars().count() <= longest + 1);
        prop_assert!(!line.chars().any(char::is_control));
    }
}
