//! No planted secret, and no part of one, may stand in anything that tagship printed or wrote.

use std::collections::HashSet;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::registry::TOKEN;

/// In every secret that a test plants, also in those that a server of the test makes up.
pub(crate) const MARK: &str = "planted";

/// This many consecutive characters of a secret are a leak.
const LENGTH: usize = 8;

/// The parts of secrets to look for.
pub(crate) struct Leaks {
    windows: HashSet<[u8; LENGTH]>,
    /// By the first two bytes: most positions cannot begin a secret.
    begins: Vec<bool>,
}

impl Leaks {
    /// Looks for parts of these values, except parts that `open` contains, which tagship receives openly.
    pub(crate) fn of<'a>(values: impl IntoIterator<Item = &'a str>, open: &str) -> Leaks {
        let mut windows = HashSet::new();
        for value in values {
            // The host of a secret URL is not a secret.
            let is_url = value.contains("://");
            let parts = value.split(|c| is_url && "@/\\?&=:".contains(c));
            for secret in parts.filter(|part| !is_url || part.contains(MARK)) {
                for form in in_base64(secret).into_iter().chain([secret.to_owned()]) {
                    let parts = form.as_bytes().windows(LENGTH);
                    windows.extend(parts.filter_map(|part| <[u8; LENGTH]>::try_from(part).ok()));
                }
            }
        }
        let mut begins = vec![false; 1 << 16];
        let marks = MARKS.iter().map(String::as_bytes);
        marks.chain(windows.iter().map(|window| &window[..])).for_each(|part| begins[begin(part, 0)] = true);
        for at in candidates(&begins, open.as_bytes()) {
            if let Some(window) = open.as_bytes().get(at..at + LENGTH) {
                windows.remove(window);
            }
        }
        Leaks { windows, begins }
    }

    /// The first secret or mark in these bytes, plain or in Base64. A mark survives percent encoding and escapes.
    pub(crate) fn find(&self, bytes: &[u8]) -> Option<String> {
        candidates(&self.begins, bytes).into_iter().find_map(|at| {
            let rest = &bytes[at..];
            let mark = MARKS.iter().map(String::as_bytes).find(|mark| rest.starts_with(mark));
            let window = || rest.get(..LENGTH).filter(|window| self.windows.contains(*window));
            mark.or_else(window).map(|found| String::from_utf8_lossy(found).into_owned())
        })
    }
}

/// The positions whose two bytes begin something to look for.
fn candidates(begins: &[bool], bytes: &[u8]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut at = 0;
    // Every test reads its whole state file here; without optimization, iterators would take ten times as long.
    while at + 1 < bytes.len() {
        if begins[begin(bytes, at)] {
            found.push(at);
        }
        at += 1;
    }
    found
}

/// [`MARK`] as it is and inside Base64.
static MARKS: LazyLock<Vec<String>> =
    LazyLock::new(|| in_base64(MARK).into_iter().chain([MARK.to_owned()]).collect());

/// The two bytes at `at`, as an index.
fn begin(bytes: &[u8], at: usize) -> usize {
    usize::from(bytes[at]) << 8 | usize::from(bytes[at + 1])
}

/// The part of a text's Base64 form that does not depend on the text around it.
fn in_base64(text: &str) -> [String; 3] {
    [0, 1, 2].map(|shift| {
        let encoded = STANDARD.encode(format!("{}{text}", "x".repeat(shift)));
        let encoded = encoded.trim_end_matches('=');
        // The first and last characters also hold bits of their neighbours.
        let skipped = [0, 2, 3][shift];
        encoded[skipped..encoded.len() - 1].to_owned()
    })
}

#[test]
fn a_leak_is_found_in_every_form_and_in_part() {
    let leaks = Leaks::of([TOKEN], "");
    for user in ["", "c", "ci", "bot"] {
        let basic = STANDARD.encode(format!("{user}:{TOKEN}"));
        for text in [&basic[..], &basic[basic.len() - 12..]] {
            assert!(
                leaks.find(format!("Authorization: Basic {text}").as_bytes()).is_some(),
                "{user}: {text}"
            );
        }
    }
    assert!(leaks.find(format!("x{TOKEN}").as_bytes()).is_some());
    for start in 0..=TOKEN.len() - LENGTH {
        assert!(leaks.find(format!("x{}", &TOKEN[start..start + LENGTH]).as_bytes()).is_some(), "{start}");
    }
    assert!(leaks.find(format!("x{}", &TOKEN[TOKEN.len() - 7..]).as_bytes()).is_none());
    assert!(leaks.find(b"Authorization: Basic ***, plant, token").is_none());
    assert!(
        Leaks::of(["http://a:planted-q2Lf@127.0.0.1:80/planted-Vb9"], "")
            .find(b"http://127.0.0.1:80/")
            .is_none()
    );
    assert!(Leaks::of(["planet-portainer"], "[portainer]").find(b"portainer").is_none());
}
