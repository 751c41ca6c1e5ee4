//! Values in the path of a URL. Each value stays in its segment of the template.

use std::ops::Range;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Everything but RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Appends a value as one part of a URL; special characters are encoded.
pub(crate) fn push_encoded(value: &str, url: &mut String) {
    url.extend(utf8_percent_encode(value, RESERVED));
}

/// The path segments that a value turns into `.` or `..`, in any spelling: URL parsers remove these together
/// with the segment before. Also segments whose value contains `..` between slashes, which some servers
/// resolve. `values`: the ranges of the values in the URL.
pub(crate) fn climbing(url: &str, values: &[Range<usize>]) -> Vec<Range<usize>> {
    let Some(host) = url.find("://").map(|at| at + 3) else {
        return Vec::new();
    };
    let separators: &[char] = &['/', '\\'];
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let mut start = host + url[host..end.max(host)].find(separators).unwrap_or(end.saturating_sub(host));
    let mut found = Vec::new();
    while start < end {
        start += 1;
        let segment = start..start + url[start..end].find(separators).unwrap_or(end - start);
        let has_value = values.iter().any(|value| value.start <= segment.end && value.end >= segment.start);
        let text = percent_decode_str(&url[segment.clone()]).decode_utf8_lossy();
        start = segment.end;
        if has_value && (text == "." || text.split(separators).any(|part| part == "..")) {
            found.push(segment);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_is_one_part_of_a_url() {
        let mut url = String::new();
        push_encoded("-._~aZ09 %/?#+&=:@!$'()*,;é\0", &mut url);
        assert_eq!(url, "-._~aZ09%20%25%2F%3F%23%2B%26%3D%3A%40%21%24%27%28%29%2A%2C%3B%C3%A9%00");
    }

    /// `<…>` in the text marks a value.
    fn is_climbing(template: &str) -> bool {
        let (mut url, mut values, mut rest) = (String::new(), Vec::new(), template);
        while let Some((literal, (value, after))) =
            rest.split_once('<').and_then(|(literal, rest)| Some((literal, rest.split_once('>')?)))
        {
            url.push_str(literal);
            let start = url.len();
            push_encoded(value, &mut url);
            values.push(start..url.len());
            rest = after;
        }
        url.push_str(rest);
        !climbing(&url, &values).is_empty()
    }

    #[test]
    fn value_that_leads_to_another_path_is_found() {
        for template in [
            "https://h/apps/<..>/restart",
            "https://h/apps/<..>",
            "https://h/apps/<..>?x=1",
            "https://h/apps/<.>/restart",
            "https://h/apps/.<.>/restart",
            "https://h/apps/<.><.>/restart",
            "https://h/apps/.<>./restart",
            "https://h/apps/%2<e>./restart",
            "https://h/apps\\<..>\\restart",
            "https://h/apps/<../../admin>",
            "https://h/apps/<..\\admin>",
        ] {
            assert!(is_climbing(template), "{template}");
        }
        for template in [
            "https://h/apps/<...>/restart",
            "https://h/apps/<a..b>",
            "https://h/apps/<v1.2>/./x/../<y>",
            "https://h/apps/<a>?path=<..>",
            "https://h?path=/<..>",
            "https://h/<%2e%2e>",
            "https://h/apps/v<.>",
            "https://h",
            "<..>",
        ] {
            assert!(!is_climbing(template), "{template}");
        }
    }

    /// After parsing, the URL has as many segments as the template.
    #[test]
    fn other_values_keep_their_place() {
        let values = ["", ".", "..", "...", "e", "%2e", "a/..", "é", "\\", "?", "#", "%", " "];
        for one in values {
            for other in values {
                let mut url = "https://h/apps/".to_owned();
                let start = url.len();
                push_encoded(one, &mut url);
                let middle = url.len();
                push_encoded(other, &mut url);
                let found = climbing(&format!("{url}/restart"), &[start..middle, middle..url.len()]);
                let path = url::Url::parse(&format!("{url}/restart")).unwrap().path().to_owned();
                let keeps = path.starts_with("/apps/") && path.matches('/').count() == 3;
                assert!(keeps || !found.is_empty(), "{one:?} {other:?} {path}");
            }
        }
    }
}
