//! Certificates: trusted authorities, and tagship's own client certificate.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::file;

/// A generous limit: a system's roots take 0.5 MiB.
const LONGEST: u64 = 16 * 1024 * 1024;

/// A client certificate. Its key is read when needed, as secrets are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The certificate, then its intermediate certificates.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// Absolute.
    pub(crate) key_file: PathBuf,
}

/// Reads the certificates of a PEM file; skips everything else in it.
///
/// # Errors
/// It cannot be read, has no certificate, or has an invalid one.
pub(crate) fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = path.display();
    let pem = file::read(path, LONGEST).map_err(|error| format!("{shown} cannot be read: {error}"))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(file::unmarked(&pem)).collect();
    let certificates = certificates.map_err(|_| format!("{shown} is not in PEM form"))?;
    if certificates.is_empty() {
        return Err(format!("{shown} has no certificate in PEM form"));
    }
    for (number, certificate) in (1..).zip(&certificates) {
        let is_good = RootCertStore::empty().add(certificate.clone()).is_ok();
        if !is_good {
            return Err(format!("{shown}: certificate {number} is invalid"));
        }
    }
    Ok(certificates)
}

impl Identity {
    /// Reads the key of the certificate.
    ///
    /// # Errors
    /// The fault of the file. Never contains the key.
    pub(super) fn read(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
        let shown = self.key_file.display();
        let pem = file::read(&self.key_file, LONGEST)
            .map_err(|error| format!("client_key: {shown} cannot be read: {error}"))?;
        let pem = file::unmarked(&pem);
        let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| {
            format!("client_key: {shown} has no private key in PEM form (without a passphrase)")
        })?;
        Ok((self.chain.clone(), key))
    }

    /// The error if the key belongs to another certificate.
    pub(super) fn mismatch(&self) -> String {
        format!("client_key: {} is not the key of client_cert", self.key_file.display())
    }
}

/// The system's roots, read once, and these authorities.
///
/// # Errors
/// There are no root certificates.
pub(super) fn roots(more: &[CertificateDer<'static>]) -> Result<Vec<CertificateDer<'static>>, String> {
    static SYSTEM: OnceLock<(Vec<CertificateDer<'static>>, Option<String>)> = OnceLock::new();
    let (system, error) = SYSTEM.get_or_init(|| {
        // rustls-native-certs would wait for a FIFO.
        let variable = "SSL_CERT_FILE";
        let refused = std::env::var_os(variable)
            .and_then(|path| file::head(Path::new(&path), 0).err())
            .filter(|error| error.kind() == ErrorKind::InvalidInput);
        if let Some(error) = refused {
            return (Vec::new(), Some(format!("{variable}: {error}")));
        }
        let loaded = rustls_native_certs::load_native_certs();
        (loaded.certs, loaded.errors.first().map(ToString::to_string))
    });
    if system.is_empty() && more.is_empty() {
        let cause = error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
        return Err(format!(
            "no root certificates were found{cause}; install ca-certificates, or set SSL_CERT_FILE"
        ));
    }
    Ok(system.iter().chain(more).cloned().collect())
}

/// The only cryptography provider: ring.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
