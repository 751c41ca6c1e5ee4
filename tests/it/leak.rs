//! No planted secret may stand in anything that tagship printed or wrote.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::registry::TOKEN;

/// In every secret that a test plants.
pub(crate) const MARK: &str = "planted";

/// Whether a planted secret is in there: as it is, percent-encoded or JSON-escaped (its mark survives
/// both), or anywhere inside Basic credentials.
pub(crate) fn leaks(bytes: &[u8]) -> bool {
    static FORMS: LazyLock<Vec<String>> = LazyLock::new(|| {
        let mut forms = vec![MARK.to_owned()];
        for shift in 0..3 {
            let text = format!("{}{MARK}", "x".repeat(shift));
            let encoded = STANDARD.encode(text);
            let encoded = encoded.trim_end_matches('=');
            // The first and last characters also hold bits of their neighbours.
            let skipped = [0, 2, 3][shift];
            forms.push(encoded[skipped..encoded.len() - 1].to_owned());
        }
        forms
    });
    FORMS.iter().any(|form| bytes.windows(form.len()).any(|window| window == form.as_bytes()))
}

#[test]
fn a_leak_is_found_in_every_form() {
    for user in ["", "c", "ci", "bot"] {
        let basic = STANDARD.encode(format!("{user}:{TOKEN}"));
        assert!(leaks(format!("Authorization: Basic {basic}").as_bytes()), "{user}: {basic}");
    }
    assert!(leaks(format!("x{TOKEN}").as_bytes()));
    assert!(!leaks(b"Authorization: Basic ***, plant, token"));
}
