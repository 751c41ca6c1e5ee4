//! The output and responses of steps: passed on line by line, and its end kept.

use super::step_secrets::StepSecrets;
use crate::mask::{Masked, Outside};

/// How much of the output is kept.
pub(super) const KEPT: usize = 64 * 1024;
/// Kept before that until the end, to recognise a secret that the limit cuts in two.
const MARGIN: usize = 8 * 1024;
/// A longer line is not passed on, because a secret that is cut in two would not be recognised.
const LONGEST_LINE: usize = 16 * 1024;

/// Turns bytes into masked text, with bounded memory.
pub(super) struct Transcript<'a> {
    secrets: &'a dyn StepSecrets,
    /// Receives whole lines; None: no one reads them.
    on_output: Option<&'a (dyn Fn(&str) + Sync)>,
    tail: Vec<u8>,
    /// Whether bytes before `tail` were dropped.
    cut: bool,
    /// The bytes since the last line break, at most [`LONGEST_LINE`].
    line: Vec<u8>,
    is_too_long: bool,
}

impl<'a> Transcript<'a> {
    pub(super) fn new(
        secrets: &'a dyn StepSecrets,
        on_output: Option<&'a (dyn Fn(&str) + Sync)>,
    ) -> Transcript<'a> {
        Transcript { secrets, on_output, tail: Vec::new(), cut: false, line: Vec::new(), is_too_long: false }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        if let Some(on_output) = self.on_output {
            self.pass_on(bytes, on_output);
        }
        self.tail.extend_from_slice(bytes);
        if self.tail.len() > 2 * (KEPT + MARGIN) {
            self.tail.drain(..self.tail.len() - (KEPT + MARGIN));
            self.cut = true;
        }
    }

    /// Ends a step: the next output begins a new line.
    pub(super) fn end_step(&mut self) {
        if self.tail.last().is_some_and(|byte| *byte != b'\n') {
            self.push(b"\n");
        }
    }

    /// The last line that is not blank; empty if there is none.
    pub(super) fn last_line(&self) -> Masked {
        self.masked_tail().last_line()
    }

    /// The last [`KEPT`] bytes as text, secrets masked.
    pub(super) fn finish(self) -> String {
        let text = self.masked_tail();
        let surplus = if self.cut { MARGIN } else { 0 };
        text.last(KEPT.min(text.as_str().len().saturating_sub(surplus))).to_owned()
    }

    fn masked_tail(&self) -> Masked {
        self.secrets.redact(&Outside::new(&self.tail[..]).cut_before(self.cut))
    }

    /// Passes on all lines that end in these bytes at once, because work per line adds up with much output.
    fn pass_on(&mut self, bytes: &[u8], on_output: &dyn Fn(&str)) {
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.is_too_long |= self.line.len() + piece.len() > LONGEST_LINE;
            let Some(end) = piece.strip_suffix(b"\n") else {
                if !self.is_too_long {
                    self.line.extend_from_slice(piece);
                }
                continue;
            };
            if std::mem::take(&mut self.is_too_long) {
                lines.extend_from_slice(b"(a line of more than 16 KiB)");
            } else {
                lines.append(&mut self.line);
                lines.extend_from_slice(end);
                lines.truncate(lines.strip_suffix(b"\r").unwrap_or(&lines).len());
            }
            self.line.clear();
            lines.push(b'\n');
        }
        if !lines.is_empty() {
            on_output(self.secrets.redact(&Outside::new(&lines[..])).as_str());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::fixture::KnownSecrets;
    use super::*;

    /// The lines passed on, and the kept output.
    fn transcribe(secrets: &KnownSecrets, chunks: &[&[u8]]) -> (Vec<String>, String) {
        let lines = Mutex::new(Vec::new());
        let on_output = |text: &str| {
            let text = text.strip_suffix('\n').expect("whole lines");
            lines.lock().unwrap().extend(text.split('\n').map(str::to_owned));
        };
        let mut transcript = Transcript::new(secrets, Some(&on_output));
        for chunk in chunks {
            transcript.push(chunk);
        }
        transcript.end_step();
        let text = transcript.finish();
        (lines.into_inner().unwrap(), text)
    }

    #[test]
    fn lines_are_passed_on_whole() {
        let (lines, text) = transcribe(&KnownSecrets::none(), &[b"a", b"b\nc\r\n\nd"]);
        assert_eq!(lines, ["ab", "c", "", "d"]);
        assert_eq!(text, "ab\nc\r\n\nd\n");
    }

    #[test]
    fn lines_of_one_chunk_are_passed_on_together() {
        let secrets = KnownSecrets::new(&[("key", "first")]);
        let calls = Mutex::new(Vec::new());
        let on_output = |text: &str| calls.lock().unwrap().push(text.to_owned());
        let mut transcript = Transcript::new(&secrets, Some(&on_output));
        transcript.push(&b"\n".repeat(8 * 1024));
        transcript.push(b"a first b\r\n\r\nc");
        transcript.push(b"d\n");
        assert_eq!(*calls.lock().unwrap(), ["\n".repeat(8 * 1024).as_str(), "a *** b\n\n", "cd\n"]);
    }

    #[test]
    fn line_that_is_too_long_is_kept_but_not_passed_on() {
        let long = vec![b'x'; LONGEST_LINE - 1];
        let (lines, text) = transcribe(&KnownSecrets::none(), &[b"a\n", &long, b"yz\nb"]);
        assert_eq!(lines, ["a", "(a line of more than 16 KiB)", "b"]);
        assert_eq!(text.len(), 2 + LONGEST_LINE - 1 + 3 + 2);
    }

    #[test]
    fn the_end_is_kept() {
        let chunk = [b'x'; 1000];
        let chunks: Vec<&[u8]> = (0..1000).map(|_| &chunk[..]).chain([&b"\nend"[..]]).collect();
        let (_, text) = transcribe(&KnownSecrets::none(), &chunks);
        assert_eq!(text.len(), KEPT);
        assert!(text.ends_with("x\nend\n"));
    }

    #[test]
    fn a_secret_is_masked_across_chunks_and_lines() {
        let secrets = KnownSecrets::new(&[("key", "first"), ("lines", "one\ntwo")]);
        let (lines, text) = transcribe(&secrets, &[b"a fir", b"st b\non", b"e\ntwo c"]);
        assert_eq!(lines[0], "a *** b");
        assert_eq!(text, "a *** b\n*** c\n");
    }

    #[test]
    fn a_secret_is_masked_at_the_limit() {
        let secrets = KnownSecrets::new(&[("key", &"0123456789".repeat(100))]);
        let secret = "0123456789".repeat(100);
        for before in 0..10 {
            let chunks = (0..200).map(|_| secret.as_bytes()).chain([&b"xxxxxxxxxx"[..before]]);
            let (_, text) = transcribe(&secrets, &chunks.collect::<Vec<_>>());
            assert!(!text.contains("789"), "{text}");
        }
    }
}
