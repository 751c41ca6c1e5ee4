//! Properties of any response: it is a success only if every condition holds.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use regex::Regex;
use ureq::http::HeaderValue;

use super::*;
use crate::engine::ProbeAnswer;
use crate::secret::Secrets;

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        select(vec![0_i64, 1, 200, 9_007_199_254_740_992, 9_007_199_254_740_993, i64::MIN])
            .prop_map(Value::from),
        select(vec![0.0, 1.0, 200.0, 0.1]).prop_map(Value::from),
        "[a-b]{0,2}".prop_map(Value::from),
    ]
}

/// Bodies that do not meet the conditions, meet some, or all.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let json = || {
        (scalar(), scalar(), "[a/~0-1]{0,2}").prop_map(|(one, other, key)| {
            serde_json::json!({"a": one, "b": [other], key: {"a": 1}}).to_string()
        })
    };
    prop_oneof![
        vec(any::<u8>(), 0..40),
        json().prop_map(String::into_bytes),
        (json(), 0..40usize).prop_map(|(json, length)| json.into_bytes().into_iter().take(length).collect()),
    ]
}

fn answer() -> impl Strategy<Value = HttpResponse> {
    let status = prop_oneof![Just(200), 100..600_u16];
    (status, body(), any::<bool>(), "\\PC{0,20}").prop_map(|(status, body, cut, location)| {
        let location = HeaderValue::from_str(&location).ok();
        HttpResponse {
            status: StatusCode::from_u16(status).unwrap(),
            headers: location.map(|location| (header::LOCATION, location)).into_iter().collect(),
            body,
            cut,
            withheld: false,
        }
    })
}

fn pointer() -> impl Strategy<Value = String> {
    prop_oneof![
        select(vec!["", "/a", "/b/0", "/b/99999999999999999999"]).prop_map(str::to_owned),
        "(/[a-b~0-1]{0,2}){0,3}"
    ]
}

proptest! {
    /// Checks the same conditions in another way.
    #[test]
    fn success_needs_every_condition(
        answer in answer(),
        status in vec(prop_oneof![Just(200), 100..600_u16], 0..2),
        pointer in prop::option::of(pointer()),
        equals in prop::option::of(scalar()),
        matches in prop::option::of(select(vec!["a", "^$", "\\d{3}"])),
    ) {
        let success = Success {
            status,
            pointer,
            equals,
            matches: matches.map(|pattern| Regex::new(pattern).unwrap()),
        };
        let url = Url::parse("https://deploy.example.com/x").unwrap();
        if failure(&answer, &success, &url, &Secrets::default()).is_none() {
            let is_any = success.status.is_empty() && answer.status.is_success();
            prop_assert!(is_any || success.status.contains(&answer.status.as_u16()));
            if let Some(pointer) = &success.pointer {
                prop_assert!(!answer.cut);
                let body: Value = serde_json::from_slice(&answer.body).unwrap();
                let found = body.pointer(pointer).unwrap();
                match &success.equals {
                    None => prop_assert!(!found.is_null()),
                    // Numbers may be written in two ways.
                    Some(wanted) => prop_assert!(
                        found == wanted || (found.is_number() && wanted.is_number() && found.is_f64() != wanted.is_f64()),
                        "{} {}", found, wanted
                    ),
                }
            }
            if let Some(pattern) = &success.matches {
                prop_assert!(pattern.is_match(&String::from_utf8_lossy(&answer.body)));
            }
        }
        let until = Until {
            pointer: success.pointer.clone().unwrap_or_default(),
            values: success.equals.into_iter().collect(),
            every: Duration::ZERO,
            within: Duration::ZERO,
        };
        if awaited(&answer, &until, &Secrets::default()) == Awaited::Is {
            prop_assert!(answer.status.is_success() && serde_json::from_slice::<Value>(&answer.body).is_ok());
        }
    }

    /// A parsed probe answer is part of the text.
    #[test]
    fn probe_answer_is_part_of_the_text(
        text in prop_oneof!["\\PC{0,30}", "([a-z:@/.]{0,9}|sha256:|[0-9a-f]{64}| ){0,5}"],
    ) {
        if let Some(ProbeAnswer { tag, digest }) = ProbeAnswer::parse(&text) {
            prop_assert!(tag.is_some() || digest.is_some());
            prop_assert!(tag.is_none_or(|tag| text.contains(tag.as_str())));
            prop_assert!(digest.is_none_or(|digest| text.contains(digest.as_str())));
        }
    }

    #[test]
    fn any_bytes_can_be_shown(bytes in vec(any::<u8>(), 0..60), longest in 0..40usize) {
        let text = Secrets::default().redact(&Outside::new(bytes));
        let shown = text.excerpt(longest);
        prop_assert!(shown.len() <= longest + '…'.len_utf8() && !shown.contains('\n'));
        prop_assert!(text.as_str().ends_with(text.last(longest)));
    }
}
