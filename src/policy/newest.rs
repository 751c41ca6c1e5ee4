//! Order `newest`: push time, then the registry's own sequence. Every tag parses.

use std::fmt;

use jiff::Timestamp;

use crate::reference::ListedTag;

/// When a tag was pushed. A missing time sorts lowest, so that such a tag is never newer than one with a
/// known time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Push {
    at: Option<Timestamp>,
    sequence: Option<i64>,
}

impl Push {
    pub(super) fn of(listed: &ListedTag) -> Push {
        Push { at: listed.pushed_at, sequence: listed.sequence }
    }
}

impl fmt::Display for Push {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(at) => write!(f, "{at}")?,
            None => write!(f, "no push time")?,
        }
        match self.sequence {
            Some(sequence) => write!(f, " #{sequence}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(second: Option<i64>, sequence: Option<i64>) -> Push {
        Push { at: second.map(|second| Timestamp::from_second(second).unwrap()), sequence }
    }

    #[test]
    fn push_time_decides_and_then_the_sequence() {
        for (lower, higher) in [
            (push(None, None), push(None, Some(1))),
            (push(None, Some(9)), push(Some(0), None)),
            (push(None, Some(9)), push(Some(-5), None)),
            (push(Some(1), Some(9)), push(Some(2), Some(1))),
            (push(Some(1), Some(9)), push(Some(2), None)),
            (push(Some(1), None), push(Some(1), Some(0))),
            (push(Some(1), Some(9)), push(Some(1), Some(10))),
        ] {
            assert!(lower < higher, "{lower} < {higher}");
        }
    }

    #[test]
    fn a_push_prints_its_time_and_sequence() {
        assert_eq!(push(Some(0), Some(7)).to_string(), "1970-01-01T00:00:00Z #7");
        assert_eq!(push(Some(0), None).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(push(None, None).to_string(), "no push time");
    }
}
