//! TLS of the references: a certificate of their own, 1.3 alone, as the tunnel and the way in have it.

use std::sync::Arc;

use anyhow::Context as _;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// The name that the certificate is for.
pub(crate) const NAME: &str = "bench.example";

/// Both sides' settings, and the pair as files have it.
pub(crate) struct Secure {
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) client: Arc<ClientConfig>,
    pub(crate) certificate_pem: String,
    pub(crate) key_pem: String,
}

impl Secure {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]);
        let made = made.context("make a certificate")?;
        let certificate = made.cert.der().clone();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone())?;
        let provider = Arc::new(default_provider());
        let client = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let client = client.with_protocol_versions(&[&TLS13])?.with_root_certificates(roots);
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let server = ServerConfig::builder_with_provider(provider);
        let server = server.with_protocol_versions(&[&TLS13])?.with_no_client_auth();
        Ok(Self {
            server: Arc::new(server.with_single_cert(vec![certificate], key)?),
            client: Arc::new(client.with_no_client_auth()),
            certificate_pem: made.cert.pem(),
            key_pem: made.signing_key.serialize_pem(),
        })
    }
}
