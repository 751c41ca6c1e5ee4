//! Order `alphabetical`: the bytes of the sort key. Every tag parses.

use std::fmt;

/// A sort key compared byte by byte.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Text(Box<str>);

impl Text {
    pub(super) fn new(text: &str) -> Text {
        Text(text.into())
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_compared_by_bytes() {
        for (lower, higher) in [
            ("", "a"),
            ("a", "b"),
            ("a", "aa"),
            ("B", "a"),
            ("10", "9"),
            ("2024-01-31", "2024-02-01"),
            ("a-", "a."),
            ("a.", "a0"),
            ("Z", "_"),
        ] {
            assert!(Text::new(lower) < Text::new(higher), "{lower} < {higher}");
        }
    }
}
