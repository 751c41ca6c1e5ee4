//! Whether the sender of a payload knows the secret.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// Variables in which a CGI server passes a signature: HMAC-SHA256 of the payload in hexadecimal digits.
const SIGNATURES: [&str; 3] =
    ["HTTP_X_GITEA_SIGNATURE", "HTTP_X_FORGEJO_SIGNATURE", "HTTP_X_HUB_SIGNATURE_256"];

/// Variables in which a CGI server passes a header that is the secret itself.
const TOKENS: [&str; 3] = ["HTTP_X_GITLAB_TOKEN", "HTTP_X_TAGSHIP_TOKEN", "HTTP_AUTHORIZATION"];

/// The variable with the query of the URL, for senders that can set nothing else; its parameter `token`.
const QUERY: &str = "QUERY_STRING";

/// What came with a payload to show that its sender knows the secret.
pub(crate) struct Proof {
    signatures: Vec<String>,
    tokens: Vec<String>,
}

impl Proof {
    /// `signature`: from the command line. `variable`: the environment. A plain token is taken from there only: every
    /// user of the machine can read the arguments of a process.
    pub(crate) fn new(signature: Option<&str>, variable: impl Fn(&str) -> Option<String>) -> Proof {
        let header = |name: &&str| variable(name);
        let signatures = signature.map(str::to_owned).into_iter();
        let token = |text: String| text.strip_prefix("Bearer ").map_or(text.clone(), str::to_owned);
        let query = variable(QUERY).unwrap_or_default();
        let in_query = url::form_urlencoded::parse(query.as_bytes());
        let in_query = in_query.filter(|(name, _)| name == "token").map(|(_, value)| value.into_owned());
        Proof {
            signatures: signatures.chain(SIGNATURES.iter().filter_map(header)).collect(),
            tokens: TOKENS.iter().filter_map(header).map(token).chain(in_query).collect(),
        }
    }

    /// Whether one of them is right for this secret and payload. Takes the same time for every wrong one.
    pub(crate) fn holds(&self, secret: &str, payload: &[u8]) -> bool {
        let is_right = |signature: &String| {
            let digits = signature.strip_prefix("sha256=").unwrap_or(signature);
            hex::decode(digits).is_ok_and(|given| mac(secret, payload).verify_slice(&given).is_ok())
        };
        // Of tokens their codes are compared: these have one length.
        let is_secret = |token: &String| {
            let expected = mac(secret, secret.as_bytes()).finalize().into_bytes();
            mac(secret, token.as_bytes()).verify(&expected).is_ok()
        };
        self.signatures.iter().any(is_right) || self.tokens.iter().any(is_secret)
    }
}

fn mac(secret: &str, text: &[u8]) -> Hmac<Sha256> {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes());
    mac.expect("HMAC takes a key of any length").chain_update(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From GitHub's documentation, "Validating webhook deliveries".
    const SECRET: &str = "It's a Secret to Everybody";
    const BODY: &[u8] = b"Hello, World!";
    const SIGNATURE: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    fn holds(signature: Option<&str>, variables: &[(&str, &str)]) -> bool {
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        Proof::new(signature, variable).holds(SECRET, BODY)
    }

    #[test]
    fn a_signature_is_an_argument_or_a_variable() {
        let (prefixed, upper) = (format!("sha256={SIGNATURE}"), SIGNATURE.to_uppercase());
        assert!(holds(Some(SIGNATURE), &[]) && holds(Some(&prefixed), &[]) && holds(Some(&upper), &[]));
        for name in SIGNATURES {
            assert!(holds(None, &[(name, SIGNATURE)]) && holds(None, &[(name, &prefixed)]), "{name}");
            assert!(!holds(None, &[(name, SECRET)]), "{name}: the secret itself is not a signature");
        }
    }

    #[test]
    fn a_token_is_a_variable() {
        for name in TOKENS {
            assert!(holds(None, &[(name, SECRET)]), "{name}");
            assert!(!holds(None, &[(name, SIGNATURE)]), "{name}: a signature is not a token");
        }
        assert!(holds(None, &[("HTTP_AUTHORIZATION", &format!("Bearer {SECRET}"))]));
        assert!(holds(None, &[(QUERY, "a=b&token=It%27s+a+Secret%20to+Everybody")]));
        assert!(!holds(Some(SECRET), &[]));
        assert!(!holds(None, &[(QUERY, "secret=It%27s+a+Secret+to+Everybody")]));
    }

    #[test]
    fn nothing_else_is_proof() {
        let other = SIGNATURE.replace('7', "8");
        for signature in ["", "sha256=", "sha1=abc", &SIGNATURE[..62], &format!("{SIGNATURE}00"), &other] {
            assert!(!holds(Some(signature), &[]), "{signature}");
        }
        assert!(!holds(None, &[]));
        for name in TOKENS {
            assert!(!holds(None, &[(name, "")]), "{name}");
        }
    }
}
