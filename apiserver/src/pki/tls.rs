//! TLS configurations from the cluster's certificates.

use super::{Identity, Pki, PkiError};
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
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
        let roots = Arc::new(self.roots()?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider())
            .allow_unauthenticated()
            .build()
            .map_err(refused)?;
        let (chain, key) = parts(identity)?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(refused)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(refused)?;
        config.alpn_protocols = PROTOCOLS.map(Vec::from).into();
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

/// The one crypto library of the binary.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The first certificate of a PEM text.
pub(super) fn first_certificate(pem: &str) -> Result<CertificateDer<'static>, PkiError> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(refused)
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
