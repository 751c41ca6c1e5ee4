//! Order `numeric`: unsigned integers of any length, separated by `.`, `-` or `_`.

use std::fmt;

/// Integers compared one after another; a sequence is greater than its own prefix.
///
/// Stored as one byte string that compares like the numbers: for each integer its number of digits (without
/// leading zeros), then the digits. So 100,000 keys cost one allocation each, and no arithmetic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sequence(Vec<u8>);

impl Sequence {
    /// `10`, `2024.10.1`, `20240131-1530`; None for anything else, and for an integer of more than 255 digits
    /// (a tag has at most 128 characters).
    pub(super) fn parse(text: &str) -> Option<Sequence> {
        let mut bytes = Vec::with_capacity(text.len() + 1);
        for part in text.as_bytes().split(|byte| matches!(byte, b'.' | b'-' | b'_')) {
            if part.is_empty() || !part.iter().all(u8::is_ascii_digit) {
                return None;
            }
            let zeros = part.iter().take_while(|byte| **byte == b'0').count();
            let digits = &part[zeros..];
            bytes.push(u8::try_from(digits.len()).ok()?);
            bytes.extend_from_slice(digits);
        }
        Some(Sequence(bytes))
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = &*self.0;
        while let Some((length, tail)) = rest.split_first() {
            let (digits, tail) = tail.split_at(usize::from(*length).min(tail.len()));
            if rest.len() < self.0.len() {
                f.write_str(".")?;
            }
            f.write_str(if digits.is_empty() { "0" } else { str::from_utf8(digits).unwrap_or_default() })?;
            rest = tail;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(text: &str) -> Sequence {
        Sequence::parse(text).unwrap_or_else(|| panic!("{text} does not parse"))
    }

    #[test]
    fn numbers_are_compared_by_value() {
        for (lower, higher) in [
            ("0", "1"),
            ("9", "10"),
            ("09", "10"),
            ("99", "100"),
            ("1.9", "1.10"),
            ("1.9.9", "2"),
            ("1", "1.0"),
            ("1.0", "1.0.0"),
            ("1.0.9", "1.1"),
            ("2024.9.30", "2024.10.1"),
            ("20240131-1530", "20240131-1531"),
            ("20240131", "20240131-0000"),
            ("18446744073709551615", "18446744073709551616"),
            ("340282366920938463463374607431768211455", "340282366920938463463374607431768211456"),
            ("9", "99999999999999999999999999999999999999999999"),
        ] {
            assert!(sequence(lower) < sequence(higher), "{lower} < {higher}");
        }
    }

    #[test]
    fn leading_zeros_and_the_kind_of_separator_do_not_count() {
        for (left, right) in
            [("7", "07"), ("0", "000"), ("1.02", "1.2"), ("1.2", "1-2"), ("1_2", "1-2"), ("0.0", "00.00")]
        {
            assert_eq!(sequence(left), sequence(right), "{left} = {right}");
        }
    }

    #[test]
    fn only_digits_and_single_separators_parse() {
        for text in ["", ".", "1.", ".1", "-1", "1..2", "1.-2", "v1", "1a", "1.x", "1+2", " 1", "١", "0x1"] {
            assert_eq!(Sequence::parse(text), None, "{text}");
        }
        assert_eq!(Sequence::parse(&"9".repeat(256)), None);
        assert!(Sequence::parse(&"9".repeat(255)).is_some());
    }

    #[test]
    fn a_sequence_prints_its_compared_numbers() {
        for (text, printed) in
            [("7", "7"), ("007", "7"), ("0", "0"), ("2024-01_31", "2024.1.31"), ("0.0.10", "0.0.10")]
        {
            assert_eq!(sequence(text).to_string(), printed);
        }
    }
}
