//! TLS over a connection. ureq's own does not trust a certificate that is an authority and a server
//! certificate at once. `openssl req -x509` makes such certificates by default, and curl accepts them with
//! `--cacert`.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
    StreamOwned,
};
use ureq::http::Uri;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, LazyBuffers, NextTimeout, Transport, TransportAdapter,
};

use super::Unprepared;
use super::certificate::{self, Identity};
use super::connector::left;

/// Encrypts connections.
#[derive(Debug)]
pub(super) struct Tls(Option<Arc<ClientConfig>>);

impl Tls {
    /// A connection without encryption.
    pub(super) fn without() -> Tls {
        Tls(None)
    }

    /// Trusts the system's roots and these authorities, and sends the client certificate.
    ///
    /// # Errors
    /// There are no root certificates, or the client's key is unusable.
    pub(super) fn new(
        authorities: &[CertificateDer<'static>],
        identity: Option<&Identity>,
    ) -> Result<Tls, Unprepared> {
        let provider = certificate::provider();
        let environment = |error: rustls::Error| Unprepared::Environment(format!("TLS: {error}"));
        let verifier = Verifier::new(authorities)?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(environment)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let (chain, key) = identity.read().map_err(Unprepared::Secret)?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|_| Unprepared::Secret(identity.mismatch()))?
            }
        };
        Ok(Tls(Some(Arc::new(config))))
    }

    /// Starts TLS with this host, within the remaining time for connecting.
    ///
    /// # Errors
    /// The handshake fails.
    pub(super) fn encrypt(
        &self,
        transport: Box<dyn Transport>,
        uri: &Uri,
        details: &ConnectionDetails<'_>,
    ) -> Result<Box<dyn Transport>, ureq::Error> {
        let config = self.0.as_ref().ok_or(ureq::Error::TlsRequired)?;
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| ureq::Error::Tls("no certificate can contain this host name"))?;
        let mut conn = ClientConnection::new(Arc::clone(config), name)?;
        let mut sock = TransportAdapter::new(transport, Arc::clone(&details.current_time));
        sock.set_timeout(left(details));
        conn.complete_io(&mut sock)?;
        let config = details.config;
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Ok(TlsTransport { buffers, stream: StreamOwned { conn, sock } }.boxed())
    }
}

/// A connection that is encrypted.
struct TlsTransport {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl std::fmt::Debug for TlsTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsTransport")
    }
}

impl Transport for TlsTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        Ok(self.stream.write_all(&self.buffers.output()[..amount])?)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        let amount = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.get_mut().get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

/// Trusts certificates signed by the roots, and a root itself if a server sends that very certificate.
#[derive(Debug)]
struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
    roots: Vec<CertificateDer<'static>>,
}

impl Verifier {
    fn new(authorities: &[CertificateDer<'static>]) -> Result<Verifier, Unprepared> {
        let roots = certificate::roots(authorities).map_err(Unprepared::Environment)?;
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(roots.iter().cloned());
        let inner =
            WebPkiServerVerifier::builder_with_provider(Arc::new(store), certificate::provider()).build();
        let inner = inner.map_err(|error| Unprepared::Environment(format!("TLS: {error}")))?;
        Ok(Verifier { inner, roots })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified =
            self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // webpki reports this after it checked the validity period, and before any other check.
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(fault)))
                if fault.to_string() == "CaUsedAsEndEntity" && self.roots.contains(end_entity) =>
            {
                rustls::client::verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
