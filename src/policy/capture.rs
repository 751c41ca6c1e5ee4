//! The captures of a regex after the first: each is compared as a number or by bytes.

use std::fmt;

use super::numeric::Sequence;

/// The text of such a capture. Two numbers compare as numbers, two texts by bytes.
///
/// For a total order, every text that begins with a digit or a greater byte is greater than every number. By
/// bytes alone, `9`, `10` and `1a` would each be lower than the next.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Capture {
    /// Empty, or text that begins with `-` or `.`, which sort before digits.
    BeforeNumbers(Box<str>),
    Number(Sequence),
    BehindNumbers(Box<str>),
}

impl Capture {
    /// A capture that took no part in the match is empty.
    pub(super) fn of(text: &str) -> Capture {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match Sequence::parse(text) {
            Some(number) if is_number => Capture::Number(number),
            _ if text.bytes().next().is_none_or(|first| first < b'0') => Capture::BeforeNumbers(text.into()),
            _ => Capture::BehindNumbers(text.into()),
        }
    }
}

impl fmt::Display for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Capture::Number(number) => number.fmt(f),
            Capture::BeforeNumbers(text) if text.is_empty() => f.write_str("\"\""),
            Capture::BeforeNumbers(text) | Capture::BehindNumbers(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captures_sort_empty_before_numbers_before_text() {
        let rising =
            ["", "-9", ".1", "0", "9", "10", "101", "18446744073709551616", "10a", "1a", "9a", "a", "b"];
        for pair in rising.windows(2) {
            assert!(Capture::of(pair[0]) < Capture::of(pair[1]), "{:?} < {:?}", pair[0], pair[1]);
        }
        assert_eq!(Capture::of("007"), Capture::of("7"));
        assert_eq!(Capture::of("1.2").to_string(), "1.2", "not a number");
    }
}
