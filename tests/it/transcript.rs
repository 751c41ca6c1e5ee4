//! The recorded answers of real servers, tests/fixtures/transcripts.

use std::path::Path;

use crate::http::Answer;

/// The answer of a recorded exchange: `recorded("gitea-new", "07-tags-list-jwt")`.
pub(crate) fn recorded(server: &str, name: &str) -> Answer {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/transcripts")
        .join(server)
        .join(format!("{name}.http"));
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let (_request, answer) = text.split_once("\n\n").expect("a blank line follows the request");
    let (head, body) = answer.split_once("\n\n").expect("a blank line follows the answer's head");
    let mut lines = head.lines();
    let status = lines.next().unwrap();
    let mut words = status.splitn(3, ' ');
    assert_eq!(words.next(), Some("HTTP/1.1"), "{}", file.display());
    Answer {
        status: words.next().unwrap().parse().unwrap(),
        reason: words.next().unwrap_or_default().to_owned(),
        // Lengths are those of the original body; the server counts again.
        headers: lines
            .map(|line| line.split_once(": ").unwrap_or_else(|| panic!("{line:?} is no header")))
            .filter(|(name, _)| !matches!(*name, "Content-Length" | "Transfer-Encoding"))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        body: body.as_bytes().to_vec(),
    }
}
