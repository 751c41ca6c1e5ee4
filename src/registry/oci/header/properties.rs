//! Any headers of a server.

use proptest::collection::vec;
use proptest::prelude::*;

use super::tests::link;
use super::*;

proptest! {
    /// A named next page is never the end of the list, whatever else the headers contain.
    #[test]
    fn a_next_page_is_never_overlooked(
        target in "[!-;=?-~]{1,40}",
        before in "(<[!-;=?-~]{0,9}>; (rel=(prev|\"first\")|title=\"[a-z,;<> ]{0,9}\"), ?){0,3}",
        title in "(; title=\"[a-z,;<> =]{0,9}\")?",
        rel in "[rR][eE][lL] ?= ?(next|\"(up )?[nN]ext\")",
    ) {
        let header = format!("{before}<{target}>{title};{rel}");
        prop_assert_eq!(link(header.as_bytes()), Ok(Some(target)), "{}", header);
    }

    /// A link cut anywhere before its relation is an error, or names no next page at another address.
    #[test]
    fn an_incomplete_link_leads_to_no_other_address(target in "[!-;=?-~]{1,40}", at in 0usize..60) {
        let header = format!("<{target}>; rel=\"next\"");
        let half = header.get(..at.min(header.len())).unwrap_or_default();
        if let Ok(Some(found)) = link(half.as_bytes()) {
            prop_assert_eq!(found, target);
        }
    }

    #[test]
    fn any_bytes_are_a_link_or_none(bytes in vec(any::<u8>(), 0..80)) {
        let _ = link(&bytes);
    }

    #[test]
    fn any_challenge_is_read_as_far_as_it_makes_sense(
        header in prop_oneof![
            "\\PC{0,80}",
            "((Basic|Bearer|Digest|x) ?(realm|service|a)?=?\"?[a-z:/\\\\\"]{0,9}\"?[ ,=]{0,3}){0,4}",
        ],
    ) {
        for challenge in challenges_of(&header) {
            if let Challenge::Bearer { realm, .. } = challenge {
                // Quoted pairs lose their backslash; nothing else changes.
                prop_assert!(realm.len() <= header.len());
            }
        }
    }
}
