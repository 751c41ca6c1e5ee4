//! What headers of an answer say: where the next page is, and how to authenticate.

use http_auth::{ChallengeParser, ChallengeRef};
use ureq::http::HeaderMap;

/// What a 401 asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Bearer { realm: String, service: Option<String> },
    Basic,
}

/// The `rel="next"` among all `Link` headers (RFC 8288).
///
/// # Errors
/// One of them cannot be read: what it does not say must not look like the end of a list.
pub(super) fn next_link(headers: &HeaderMap) -> Result<Option<String>, &'static str> {
    const UNREADABLE: &str = "its Link cannot be read";
    for value in headers.get_all("link") {
        let mut rest = value.to_str().map_err(|_| UNREADABLE)?.trim_start_matches([' ', '\t', ',']);
        while !rest.is_empty() {
            // An address may have commas, and so may what stands in quotes.
            let link = rest.strip_prefix('<').and_then(|link| link.split_once('>'));
            let (target, parameters) = link.ok_or(UNREADABLE)?;
            let (parameters, others) = parameters.split_at(end_of_link(parameters));
            if is_next(parameters) {
                return Ok(Some(target.to_owned()));
            }
            rest = others.trim_start_matches([' ', '\t', ',']);
        }
    }
    Ok(None)
}

/// Where the comma is that ends a link; the length where none does.
fn end_of_link(parameters: &str) -> usize {
    let mut is_quoted = false;
    let ends = |character: char| {
        is_quoted ^= character == '"';
        character == ',' && !is_quoted
    };
    parameters.find(ends).unwrap_or(parameters.len())
}

/// `rel` may name several relations, with blanks between them.
fn is_next(parameters: &str) -> bool {
    parameters.split(';').any(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let mut relations = value.trim().trim_matches('"').split_whitespace();
        name.trim().eq_ignore_ascii_case("rel")
            && relations.any(|relation| relation.eq_ignore_ascii_case("next"))
    })
}

/// Every challenge that can be answered, over all headers and all of one header.
pub(super) fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    let values = headers.get_all("www-authenticate").into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(challenges_of).collect()
}

fn challenges_of(header: &str) -> Vec<Challenge> {
    // What came before a fault is of use: some servers write what no specification allows.
    let parsed = ChallengeParser::new(header).map_while(Result::ok);
    let challenge = |challenge: ChallengeRef<'_>| {
        let parameter = |wanted: &str| {
            let found = challenge.params.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
            found.map(|(_, value)| value.to_unescaped())
        };
        if challenge.scheme.eq_ignore_ascii_case("basic") {
            return Some(Challenge::Basic);
        }
        if challenge.scheme.eq_ignore_ascii_case("bearer") {
            return Some(Challenge::Bearer { realm: parameter("realm")?, service: parameter("service") });
        }
        None
    };
    parsed.filter_map(challenge).collect()
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use ureq::http::HeaderValue;

    use super::*;

    pub(super) fn link(value: &[u8]) -> Result<Option<String>, &'static str> {
        let Ok(value) = HeaderValue::from_bytes(value) else {
            return Ok(None);
        };
        next_link(&HeaderMap::from_iter([("link".parse().unwrap(), value)]))
    }

    #[test]
    fn the_next_page_is_found_among_links() {
        for (header, expected) in [
            ("</v2/a/tags/list?last=b&n=2>; rel=\"next\"", Some("/v2/a/tags/list?last=b&n=2")),
            ("<https://r.example.com/x>;rel=next", Some("https://r.example.com/x")),
            ("</first>; rel=\"first\", </next>; rel=\"next\"", Some("/next")),
            ("</first>; rel=\"first\"", None),
            ("</v2/a/tags/list?after=1,2>; rel=\"next\"", Some("/v2/a/tags/list?after=1,2")),
            ("</x>; title=\"a, b\"; rel=\"next\"", Some("/x")),
            ("</x>; rel=\"start next\"", Some("/x")),
            ("</x>; rel=\"nextish\"", None),
            ("", None),
        ] {
            assert_eq!(link(header.as_bytes()), Ok(expected.map(str::to_owned)), "{header}");
        }
    }

    #[test]
    fn a_link_that_cannot_be_read_is_not_the_end() {
        for header in
            ["nothing", "</v2/a/tags/list?last=b; rel=\"next\"", "/x; rel=next", "</é>; rel=\"next\""]
        {
            assert_eq!(link(header.as_bytes()), Err("its Link cannot be read"), "{header}");
        }
    }

    #[test]
    fn challenges_are_found_in_any_company() {
        let bearer = || Challenge::Bearer { realm: "https://a/token".into(), service: Some("s".into()) };
        for (header, expected) in [
            ("Bearer realm=\"https://a/token\",service=\"s\",scope=\"x\"", vec![bearer()]),
            ("bearer Realm=\"https://a/token\", Service=\"s\"", vec![bearer()]),
            (
                "Basic realm=\"x\", Bearer realm=\"https://a/token\",service=\"s\"",
                vec![Challenge::Basic, bearer()],
            ),
            ("Negotiate", vec![]),
            ("Bearer", vec![]),
        ] {
            assert_eq!(challenges_of(header), expected, "{header}");
        }
    }
}
