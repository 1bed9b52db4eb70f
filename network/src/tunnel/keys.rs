//! The certificates of a host, ready for TLS, and whose certificate a peer shows.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

/// The protocol that is spoken within.
const PROTOCOL: &[u8] = b"h2";
/// Both ends are ours, so only the newest is spoken.
const VERSIONS: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];
/// What the common name of a host begins with. *Source:* Kubernetes, "Using Node Authorization".
const NODE_PREFIX: &str = "system:node:";
/// The organization of all hosts.
const NODES: &str = "system:nodes";

/// A certificate and its key, PEM.
#[derive(Clone)]
pub struct Pem {
    /// The certificate.
    pub certificate: String,
    /// Its private key: a secret.
    pub key: String,
}

/// Why certificates do not serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A certificate or key cannot be read.
    #[error("read {what} of this host")]
    Pem {
        /// Which one.
        what: &'static str,
        /// What is wrong with it.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// TLS does not take them.
    #[error("prepare TLS between hosts")]
    Tls(#[from] rustls::Error),
    /// The authority is not one.
    #[error("prepare the check of other hosts' certificates")]
    Authority(#[from] rustls::server::VerifierBuilderError),
}

/// TLS of both directions. A clone is cheap.
#[derive(Clone)]
pub struct Keys {
    pub(super) client: Arc<ClientConfig>,
    pub(super) server: Arc<ServerConfig>,
}

impl Keys {
    /// Prepares TLS that trusts the cluster's authority alone, and shows `client` where this host
    /// connects and `serving` where it is connected to.
    ///
    /// # Errors
    /// When something cannot be read or does not fit together.
    pub fn new(authority: &str, client: &Pem, serving: &Pem) -> Result<Keys, KeyError> {
        let client = connecting(authority, client, PROTOCOL)?;
        let roots = Arc::new(roots(authority)?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build()?;
        let (chain, key) = parts(serving)?;
        let mut accepting = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)?;
        accepting.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(Keys { client, server: Arc::new(accepting) })
    }
}

/// TLS of a connection that this host makes to another part of the cluster, with `protocol` in ALPN.
///
/// # Errors
/// When something cannot be read or does not fit together.
pub fn connecting(
    authority: &str,
    client: &Pem,
    protocol: &[u8],
) -> Result<Arc<ClientConfig>, KeyError> {
    let (chain, key) = parts(client)?;
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)?
        .with_root_certificates(roots(authority)?)
        .with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(Arc::new(config))
}

fn roots(authority: &str) -> Result<RootCertStore, KeyError> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate(authority, "the cluster's CA")?)?;
    Ok(roots)
}

/// The node that a certificate (DER) of the cluster's authority is for; `None` if it is for
/// somebody else.
#[must_use]
pub fn node_of(certificate: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let subject = certificate.subject();
    let is_node = subject.iter_organization().any(|name| name.as_str() == Ok(NODES));
    let name = subject.iter_common_name().find_map(|name| name.as_str().ok())?;
    let node = name.strip_prefix(NODE_PREFIX).filter(|node| !node.is_empty() && is_node)?;
    Some(node.to_owned())
}

/// The one crypto library of the binary.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn certificate(pem: &str, what: &'static str) -> Result<CertificateDer<'static>, KeyError> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|source| KeyError::Pem { what, source })
}

type Parts = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn parts(pem: &Pem) -> Result<Parts, KeyError> {
    let key = PrivateKeyDer::from_pem_slice(pem.key.as_bytes());
    let key = key.map_err(|source| KeyError::Pem { what: "the key", source })?;
    Ok((vec![certificate(&pem.certificate, "the certificate")?], key))
}
