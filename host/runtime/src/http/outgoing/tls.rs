//! TLS for outgoing `https` requests and for `wasi:tls`, trusting what the machine trusts.
//!
//! An edge: it reads the machine's certificates once.

use std::io;
use std::sync::{Arc, OnceLock};

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use wasmtime_wasi_http::Error;

/// Makes a stream secure, and sure that `host` is at its other end, and that it speaks HTTP/2 if that
/// is wanted.
pub(crate) async fn connect<I>(
    stream: I,
    host: &str,
    wants_http2: bool,
) -> Result<TlsStream<I>, Error>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let config = config().ok_or(Error::ConfigurationError)?;
    connect_by(config, stream, host, wants_http2).await
}

/// The same with settings of the container's own.
pub(super) async fn connect_by<I>(
    mut config: Arc<ClientConfig>,
    stream: I,
    host: &str,
    wants_http2: bool,
) -> Result<TlsStream<I>, Error>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    if wants_http2 {
        Arc::make_mut(&mut config).alpn_protocols = vec![b"h2".to_vec()];
    }
    let name = ServerName::try_from(host.to_owned()).map_err(|_| Error::HttpRequestUriInvalid)?;
    TlsConnector::from(config).connect(name, stream).await.map_err(tls_error)
}

fn tls_error(error: io::Error) -> Error {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(_)) => Error::TlsCertificateError,
        Some(_) => Error::TlsProtocolError,
        None => Error::ConnectionTerminated,
    }
}

/// The settings, made at the first request; `None` when this machine has no certificates to trust.
pub(super) fn config() -> Option<Arc<ClientConfig>> {
    static CONFIG: OnceLock<Option<Arc<ClientConfig>>> = OnceLock::new();
    CONFIG.get_or_init(make).clone()
}

/// The machine's certificates, read once.
pub(super) fn certificates() -> &'static [CertificateDer<'static>] {
    static READ: OnceLock<Vec<CertificateDer<'static>>> = OnceLock::new();
    READ.get_or_init(|| rustls_native_certs::load_native_certs().certs)
}

/// Reads the machine's certificates now, for a process that can read no files later.
pub(crate) fn trust_what_the_machine_trusts() {
    certificates();
}

fn make() -> Option<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates().iter().cloned());
    with_roots(roots)
}

/// Settings that trust these authorities; `None` when there are none.
pub(super) fn with_roots(roots: RootCertStore) -> Option<Arc<ClientConfig>> {
    if roots.is_empty() {
        tracing::warn!("https requests of guests fail: this machine has no CA certificates");
        return None;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    match builder {
        Ok(builder) => Some(Arc::new(builder.with_root_certificates(roots).with_no_client_auth())),
        Err(error) => {
            tracing::warn!(%error, "https requests of guests fail: no TLS versions in common");
            None
        }
    }
}
