//! TLS configurations from the cluster's certificates.

use super::{Identity, Pki, PkiError, Serving};
use crate::node_dialer::HOST_PROTOCOL;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use std::fmt::Display;
use std::sync::Arc;

/// The protocols that server and clients speak, best first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

impl Pki {
    /// A server's TLS configuration: a client may show a certificate, which then must be of this authority; a client
    /// that shows none has to show a token later.
    ///
    /// # Errors
    /// When the identity is malformed.
    pub fn server_config(&self, identity: &Identity) -> Result<Arc<ServerConfig>, PkiError> {
        self.server_config_under(Serving::new(identity)?)
    }

    /// The same for a certificate that may be replaced.
    ///
    /// # Errors
    /// When TLS does not accept this authority.
    pub fn server_config_under(
        &self,
        serving: Arc<Serving>,
    ) -> Result<Arc<ServerConfig>, PkiError> {
        let roots = Arc::new(self.roots()?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
            .allow_unauthenticated()
            .build()
            .map_err(refused)?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(refused)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(serving);
        config.alpn_protocols = PROTOCOLS.map(Vec::from).into();
        config.alpn_protocols.push(HOST_PROTOCOL.to_vec());
        Ok(Arc::new(config))
    }

    /// A client's TLS configuration that trusts this authority alone.
    ///
    /// # Errors
    /// When the identity is malformed.
    pub fn client_config(
        &self,
        identity: Option<&Identity>,
    ) -> Result<Arc<ClientConfig>, PkiError> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(refused)?
            .with_root_certificates(self.roots()?);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let (chain, key) = parts(identity)?;
                builder.with_client_auth_cert(chain, key).map_err(refused)?
            }
        };
        config.alpn_protocols = PROTOCOLS.map(Vec::from).into();
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore, PkiError> {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca_der.clone()).map_err(refused)?;
        Ok(roots)
    }
}

/// A client's TLS configuration for one server: `authority` is PEM, empty for the system's own; without checks of the
/// server when it is `insecure`, which must have been asked for by name.
///
/// # Errors
/// When the authority or identity is malformed.
pub(crate) fn client_config_for(
    authority: &[u8],
    insecure: bool,
    identity: Option<&Identity>,
) -> Result<ClientConfig, PkiError> {
    let mut roots = RootCertStore::empty();
    if authority.is_empty() && !insecure {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    for certificate in CertificateDer::pem_slice_iter(authority) {
        roots.add(certificate.map_err(refused)?).map_err(refused)?;
    }
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(refused)?;
    let builder = if insecure {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyServer(provider())))
    } else {
        builder.with_root_certificates(roots)
    };
    match identity {
        None => Ok(builder.with_no_client_auth()),
        Some(identity) => {
            let (chain, key) = parts(identity)?;
            builder.with_client_auth_cert(chain, key).map_err(refused)
        }
    }
}

/// Takes any server for the right one; signatures of the handshake are checked all the same.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The one crypto library of the binary.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The first certificate of a PEM text.
pub(super) fn first_certificate(pem: &str) -> Result<CertificateDer<'static>, PkiError> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(refused)
}

/// A certificate with its key, as handshakes take it.
pub(super) fn certified(identity: &Identity) -> Result<Arc<CertifiedKey>, PkiError> {
    let (chain, key) = parts(identity)?;
    CertifiedKey::from_der(chain, key, &provider()).map(Arc::new).map_err(refused)
}

type Parts = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn parts(identity: &Identity) -> Result<Parts, PkiError> {
    let chain = vec![first_certificate(&identity.certificate)?];
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).map_err(refused)?;
    Ok((chain, key))
}

fn refused(error: impl Display) -> PkiError {
    PkiError::Tls(error.to_string())
}
