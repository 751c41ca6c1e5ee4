//! Signatures that prove to a receiver that a request comes from tagship. Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// A secret that is not a key of Standard Webhooks. The error does not contain it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a Standard Webhooks secret: whsec_ and the base64 of 24 to 64 bytes")]
pub(super) struct InvalidKey;

/// The value of `X-Hub-Signature-256` for a body. `secret` may be any text.
pub(super) fn github(secret: &str, body: &[u8]) -> String {
    format!("sha256={}", hex::encode(hmac(secret.as_bytes(), &[body])))
}

/// The value of `webhook-signature`. `id`: the value of `webhook-id`, the same in every attempt. `timestamp`:
/// the value of `webhook-timestamp`, in seconds, of this attempt.
///
/// # Errors
/// The secret is not `whsec_` and the base64 of 24 to 64 bytes.
pub(super) fn standard_webhooks(
    secret: &str,
    id: &str,
    timestamp: i64,
    body: &[u8],
) -> Result<String, InvalidKey> {
    let key = secret.strip_prefix("whsec_").unwrap_or(secret);
    let key = STANDARD.decode(key).map_err(|_| InvalidKey)?;
    if !(24..=64).contains(&key.len()) {
        return Err(InvalidKey);
    }
    let signature = hmac(&key, &[id.as_bytes(), b".", timestamp.to_string().as_bytes(), b".", body]);
    Ok(format!("v1,{}", STANDARD.encode(signature)))
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From GitHub's documentation, "Validating webhook deliveries".
    #[test]
    fn github_signs_the_body() {
        assert_eq!(
            github("It's a Secret to Everybody", b"Hello, World!"),
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        );
    }

    /// From the test suite of Standard Webhooks.
    #[test]
    fn standard_webhooks_signs_id_time_and_body() {
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let body = br#"{"test": 2432232314}"#;
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let expected = Ok("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=".to_owned());
        assert_eq!(standard_webhooks(secret, id, 1_614_265_330, body), expected);
        assert_eq!(standard_webhooks(&secret[6..], id, 1_614_265_330, body), expected);
    }

    #[test]
    fn a_key_has_24_to_64_bytes() {
        for (length, valid) in [(23, false), (24, true), (64, true), (65, false)] {
            let secret = format!("whsec_{}", STANDARD.encode(vec![7; length]));
            assert_eq!(standard_webhooks(&secret, "id", 0, b"").is_ok(), valid, "{length}");
        }
        for secret in ["", "whsec_", "whsec_not base64"] {
            assert_eq!(standard_webhooks(secret, "id", 0, b""), Err(InvalidKey));
        }
    }
}
