//! Headers of an answer: the link to the next page, and the challenges to authenticate.

use ureq::http::HeaderMap;

/// A challenge of a 401.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::registry) enum Challenge {
    Bearer { realm: String, service: Option<String> },
    Basic,
}

/// The `rel="next"` among all `Link` headers (RFC 8288), else the first link without a relation, which on a
/// list can only mean the next page.
///
/// # Errors
/// A header cannot be read. It must not look like the end of a list.
pub(super) fn next_link(headers: &HeaderMap) -> Result<Option<String>, &'static str> {
    const UNREADABLE: &str = "its Link cannot be read";
    let mut unrelated = None;
    for value in headers.get_all("link") {
        let mut rest = value.to_str().map_err(|_| UNREADABLE)?.trim_start_matches([' ', '\t', ',']);
        while !rest.is_empty() {
            // Addresses and quoted text may contain commas.
            let link = rest.strip_prefix('<').and_then(|link| link.split_once('>'));
            let (target, parameters) = link.ok_or(UNREADABLE)?;
            let (parameters, others) = parameters.split_at(end_of_link(parameters));
            match is_next(parameters) {
                Some(true) => return Ok(Some(target.to_owned())),
                Some(false) => {}
                None => unrelated = unrelated.or_else(|| Some(target.to_owned())),
            }
            rest = others.trim_start_matches([' ', '\t', ',']);
        }
    }
    Ok(unrelated)
}

/// The position of the comma that ends a link, else the length.
fn end_of_link(parameters: &str) -> usize {
    let mut is_quoted = false;
    let ends = |character: char| {
        is_quoted ^= character == '"';
        character == ',' && !is_quoted
    };
    parameters.find(ends).unwrap_or(parameters.len())
}

/// The relations in `rel`, which blanks separate. None: the link has no `rel`.
fn is_next(parameters: &str) -> Option<bool> {
    let mut parameters = parameters.split(';').filter_map(|parameter| parameter.split_once('='));
    let (_, value) = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("rel"))?;
    let mut relations = value.trim().trim_matches('"').split_whitespace();
    Some(relations.any(|relation| relation.eq_ignore_ascii_case("next")))
}

/// All challenges of all headers that tagship can answer.
pub(in crate::registry) fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    let values = headers.get_all("www-authenticate").into_iter();
    // A realm may have characters beyond ASCII, and Basic needs no realm.
    values.flat_map(|value| challenges_of(&String::from_utf8_lossy(value.as_bytes()))).collect()
}

/// Reads a header tolerantly: many servers send forms that RFC 9110 does not allow, such as values without
/// quotes and parameters without commas.
fn challenges_of(header: &str) -> Vec<Challenge> {
    let mut challenges: Vec<(&str, Vec<(&str, String)>)> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',', ';', '"']);
        if rest.is_empty() {
            break;
        }
        let end = rest.find([' ', '\t', ',', ';', '=', '"']).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        rest = match behind.trim_start_matches([' ', '\t']).strip_prefix('=') {
            // A word without a value is a scheme.
            None => {
                challenges.push((word, Vec::new()));
                behind
            }
            Some(value) => {
                let (value, behind) = value_of(value.trim_start_matches([' ', '\t']));
                if let Some((_, parameters)) = challenges.last_mut() {
                    parameters.push((word, value));
                }
                behind
            }
        };
    }
    challenges.into_iter().filter_map(|(scheme, parameters)| challenge(scheme, parameters)).collect()
}

fn challenge(scheme: &str, mut parameters: Vec<(&str, String)>) -> Option<Challenge> {
    let mut parameter = |wanted: &str| {
        let found = parameters.iter_mut().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| std::mem::take(value))
    };
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Challenge::Bearer { realm: parameter("realm")?, service: parameter("service") });
    }
    None
}

/// The value of a parameter, and the rest.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(',').unwrap_or(text.len());
        let end = text[..end].match_indices([' ', '\t']).map(|(at, _)| at).find(|at| begins(&text[*at..end]));
        let end = end.or_else(|| text.find(',')).unwrap_or(text.len());
        let (value, behind) = text.split_at(end);
        return (value.trim_end_matches([' ', '\t', ';']).to_owned(), behind);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

/// Whether a parameter begins after the blanks.
fn begins(text: &str) -> bool {
    let text = text.trim_start_matches([' ', '\t']);
    let end = text.find(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    end.is_some_and(|end| end > 0 && text[end..].starts_with('='))
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
            ("</x>", Some("/x")),
            ("</x>; title=\"more\", </y>; rel=next", Some("/y")),
            ("</x>; title=\"more\", </y>; rel=prev", Some("/x")),
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
            ("Basic realm=/", vec![Challenge::Basic]),
            ("Basic", vec![Challenge::Basic]),
            ("Basic realm=Sonatype Nexus Repository Manager", vec![Challenge::Basic]),
            ("Basic realm=\"Überall\"; charset=\"UTF-8\"", vec![Challenge::Basic]),
            (
                "Basic realm=My Images, Bearer realm=https://a/token,service=s",
                vec![Challenge::Basic, bearer()],
            ),
            ("Bearer realm=https://a/token,service=s,scope=repository:a:pull,push", vec![bearer()]),
            ("Bearer realm=\"https://a/token\" service=\"s\"", vec![bearer()]),
            ("Bearer realm=https://a/token service=s", vec![bearer()]),
            ("Bearer realm=https://a/token; service=s", vec![bearer()]),
            ("Bearer realm = \"https://a/token\" , service = s", vec![bearer()]),
            ("Bearer realm=\"https:\\/\\/a/token\", service=\"s", vec![bearer()]),
            (
                "Bearer realm=https://a/token?x=1,error=\"invalid_token\"",
                vec![Challenge::Bearer { realm: "https://a/token?x=1".into(), service: None }],
            ),
        ] {
            assert_eq!(challenges_of(header), expected, "{header}");
        }
    }
}
