//! The payload of a webhook, on standard input.

use std::env;
use std::io::{self, Read as _};

use anyhow::{Context as _, bail};
use secrecy::ExposeSecret as _;

use crate::config::Config;
use crate::secret::Secrets;
use crate::target::template::SecretId;
use crate::webhook::{Proof, PushedImage, pushed};

/// The largest payload, in bytes. Forges send up to a few tens of KiB.
const LONGEST: u64 = 1024 * 1024;

/// A payload before its sender is verified.
pub(super) struct Payload {
    bytes: Vec<u8>,
    secret: SecretId,
}

impl Payload {
    /// Reads standard input to its end.
    ///
    /// # Errors
    /// The configuration has no webhook secret, or the payload is too large.
    pub(super) fn read(config: &Config) -> anyhow::Result<Payload> {
        let Some(secret) = &config.settings.webhook else {
            bail!(
                "poll --from-webhook requires the secret of the sender; add to {}: [settings.webhook] secret = {{ file = \"webhook-secret\" }}",
                config.path.display()
            );
        };
        let mut bytes = Vec::new();
        let input = io::stdin().lock();
        input.take(LONGEST + 1).read_to_end(&mut bytes).context("cannot read the payload")?;
        if bytes.len() as u64 > LONGEST {
            bail!("the payload is larger than {LONGEST} bytes; nothing was polled");
        }
        Ok(Payload { bytes, secret: secret.clone() })
    }

    /// The pushed images. `signature`: from the command line.
    ///
    /// # Errors
    /// The secret cannot be read, the signature or token is wrong, or the payload is not valid.
    pub(super) fn pushed(
        self,
        secrets: &Secrets,
        signature: Option<&str>,
    ) -> anyhow::Result<Vec<PushedImage>> {
        let secret = secrets.get(&self.secret)?;
        let proof = Proof::new(signature, |name| env::var(name).ok());
        if !proof.holds(secret.expose_secret(), &self.bytes) {
            bail!("the webhook has no valid signature or token; nothing was polled");
        }
        Ok(pushed(&self.bytes)?)
    }
}
