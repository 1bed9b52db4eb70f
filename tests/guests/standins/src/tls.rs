//! HTTP over TLS, for what the API server calls.

use std::convert::Infallible;
use std::io::{Error, Result};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use axum::serve::{IncomingStream, Listener};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::flags::Flags;
use crate::logs::log;
use crate::serve::{Asked, asked};

/// How long a handshake may take, during which nobody else is let in.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);

struct Door {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Door {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, peer)) = self.listener.accept().await else { continue };
            match tokio::time::timeout(HANDSHAKE_MAX, self.acceptor.accept(stream)).await {
                Ok(Ok(stream)) => return (stream, peer),
                Ok(Err(error)) => log(&format!("TLS handshake with {peer}: {error}")),
                Err(_) => log(&format!("TLS handshake with {peer}: timeout")),
            }
        }
    }

    fn local_addr(&self) -> Result<SocketAddr> {
        self.listener.local_addr()
    }
}

#[derive(Clone, Copy)]
struct Peer(SocketAddr);

impl Connected<IncomingStream<'_, Door>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// Serves with the certificate and key that the flags name, for ever.
pub async fn https<F, A>(port: u16, flags: &Flags, answer: F) -> Result<()>
where
    F: Fn(Asked) -> A + Send + Sync + 'static,
    A: Future<Output = Response> + Send + 'static,
{
    let (certificate, key) = files(flags)?;
    https_as(port, (&certificate, &key), answer).await
}

/// Serves with a certificate and its key, both in PEM, for ever.
pub async fn https_as<F, A>(port: u16, identity: (&[u8], &[u8]), answer: F) -> Result<()>
where
    F: Fn(Asked) -> A + Send + Sync + 'static,
    A: Future<Output = Response> + Send + 'static,
{
    let acceptor = TlsAcceptor::from(Arc::new(config(identity)?));
    let listener = TcpListener::bind(("0.0.0.0", port)).await?;
    let answer = Arc::new(answer);
    let app = Router::new().fallback(
        move |ConnectInfo(Peer(peer)): ConnectInfo<Peer>, request: Request| {
            let answer = answer.clone();
            async move { Ok::<_, Infallible>(answer(asked(request, peer).await).await) }
        },
    );
    axum::serve(Door { listener, acceptor }, app.into_make_service_with_connect_info::<Peer>())
        .await
}

fn files(flags: &Flags) -> Result<(Vec<u8>, Vec<u8>)> {
    let file = |name: &str| {
        let path = flags.text(name).ok_or_else(|| Error::other(format!("--{name} is missing")))?;
        std::fs::read(path).map_err(|error| Error::other(format!("read {path}: {error}")))
    };
    Ok((file("tls-cert-file")?, file("tls-private-key-file")?))
}

fn config((certificate, key): (&[u8], &[u8])) -> Result<ServerConfig> {
    let chain: std::result::Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(certificate).collect();
    let key = PrivateKeyDer::from_pem_slice(key).map_err(Error::other)?;
    let provider = Arc::new(rustls_rustcrypto::provider());
    let builder = ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().map_err(Error::other)?;
    let builder = builder.with_no_client_auth();
    let mut config =
        builder.with_single_cert(chain.map_err(Error::other)?, key).map_err(Error::other)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
