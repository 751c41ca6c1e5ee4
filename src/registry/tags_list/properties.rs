//! Any answer to a request for a tags list gives all of its tags or an error, never only some of them.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use ureq::Body as HttpBody;
use ureq::http::Response;
use url::Url;

use super::*;
use crate::registry::large::Large;
use crate::registry::request::Method;
use crate::stop::Cutoff;

fn read(bytes: Vec<u8>) -> Option<Page> {
    let repository = Repository::new("acme/shop").unwrap();
    let url = Url::parse("https://r.example.com/v2/acme/shop/tags/list").unwrap();
    let response = Response::new(HttpBody::builder().data(bytes));
    let claim = Claim::new(&Large::default(), &Cutoff::default());
    Page::read(Answer::new(Method::Get, &url, &Arc::default(), response), &repository, &claim).ok()
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-z0-9.]{1,4}", 1 => "\\PC{0,5}"]
}

fn list(names: &[String]) -> Vec<u8> {
    serde_json::json!({"name": "acme/shop", "tags": names}).to_string().into_bytes()
}

proptest! {
    #[test]
    fn a_whole_list_is_read_whole(names in vec(name(), 0..9)) {
        let page = read(list(&names)).unwrap();
        prop_assert_eq!((page.names, page.is_null), (names.len(), false));
        prop_assert_eq!(page.tags.len() + page.dropped.count, names.len());
        let valid: Vec<&String> = names.iter().filter(|name| Tag::new(name).is_ok()).collect();
        let read: Vec<&str> = page.tags.iter().map(|listed| listed.tag.as_str()).collect();
        prop_assert_eq!(read, valid);
    }

    #[test]
    fn a_list_that_is_cut_anywhere_is_an_error(names in vec(name(), 0..5), at: Index) {
        let bytes = list(&names);
        let cut = bytes[..at.index(bytes.len())].to_vec();
        prop_assert!(read(cut).is_none());
    }

    /// A changed byte may change a name, but not the number of tags, unless it changes the structure of the
    /// list; then the tags of the changed list are expected.
    #[test]
    fn a_damaged_list_is_an_error_or_another_list(names in vec(name(), 0..5), at: Index, byte: u8) {
        let mut bytes = list(&names);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Some(page) = read(bytes.clone()) {
            let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            let count = value["tags"].as_array().map_or(0, Vec::len);
            prop_assert_eq!((page.names, page.is_null), (count, value["tags"].is_null()));
        }
    }

    #[test]
    fn random_bytes_are_rejected(bytes in vec(any::<u8>(), 0..60), text in "(\\{|\\[|\"|:|,|tags|name|null|1|\\}|\\]){0,9}") {
        prop_assert!(read(bytes.clone()).is_none());
        let _ = (read(text.into_bytes()), error_code(&bytes));
    }
}
