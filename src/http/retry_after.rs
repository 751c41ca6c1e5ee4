//! `Retry-After`: when a server allows the next request.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use ureq::http::{HeaderMap, header};

/// A longer `Retry-After` is shortened to this.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// `Retry-After`: seconds, or a date. A date is compared with the server's clock, or with `now` if the
/// response has none.
pub(crate) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match value.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() && seconds >= 0.0 => {
            Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST)
        }
        Ok(_) => return None,
        Err(_) => {
            let until = parse(value)?.duration_since(date(headers).unwrap_or(now));
            Duration::try_from(until).unwrap_or(Duration::ZERO)
        }
    };
    Some(wait.min(LONGEST))
}

/// `Date`: when the response was made, by the server's clock.
pub(crate) fn date(headers: &HeaderMap) -> Option<Timestamp> {
    parse(headers.get(header::DATE)?.to_str().ok()?)
}

/// `Mon, 23 Nov 2026 13:54:00 GMT`
fn parse(value: &str) -> Option<Timestamp> {
    DateTimeParser::new().parse_timestamp(value).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ureq::http::HeaderValue;

    use super::*;

    fn headers(retry_after: &str, date: Option<&str>) -> HeaderMap {
        let named = [(header::RETRY_AFTER, Some(retry_after)), (header::DATE, date)];
        named
            .into_iter()
            .filter_map(|(name, value)| Some((name, HeaderValue::from_str(value?).ok()?)))
            .collect()
    }

    #[test]
    fn seconds_or_a_date_by_the_servers_clock() {
        let servers = "Mon, 23 Nov 2026 13:54:00 GMT";
        for (value, expected) in [
            ("5", Some(5_000)),
            ("0", Some(0)),
            ("0.5", Some(500)),
            ("99999999999999999999", Some(86_400_000)),
            ("Mon, 23 Nov 2026 13:54:07 GMT", Some(7_000)),
            ("Mon, 23 Nov 2026 13:00:00 GMT", Some(0)),
            ("-1", None),
            ("NaN", None),
            ("soon", None),
            ("", None),
        ] {
            let expected = expected.map(Duration::from_millis);
            assert_eq!(retry_after(&headers(value, Some(servers)), Timestamp::MIN), expected, "{value}");
            assert_eq!(
                retry_after(&headers(value, None), parse(servers).unwrap()),
                expected,
                "our clock: {value}"
            );
        }
        assert_eq!(retry_after(&HeaderMap::new(), Timestamp::MIN), None);
    }

    proptest! {
        #[test]
        fn any_value_is_a_day_at_most(
            value in prop_oneof![
                "\\PC{0,30}",
                "-?[0-9]{1,25}(\\.[0-9]{1,3})?([eE]-?[0-9]{1,4})?",
                "(inf|NaN|infinity|-0|0x10)",
                "(Mon|Thu), [0-9]{2} (Nov|Foo) [0-9]{1,5} [0-9]{2}:[0-9]{2}:[0-9]{2} (GMT|[+-][0-9]{4})",
            ],
            date in prop::option::of("(Mon|Thu), [0-9]{2} (Nov|Foo) [0-9]{1,5} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT"),
            now in prop_oneof![Just(Timestamp::MIN), Just(Timestamp::MAX), Just(Timestamp::UNIX_EPOCH)],
        ) {
            let wait = retry_after(&headers(&value, date.as_deref()), now);
            prop_assert!(wait.is_none_or(|wait| wait <= LONGEST), "{wait:?}");
        }
    }
}
