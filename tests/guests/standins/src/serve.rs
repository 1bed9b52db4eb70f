//! Servers: HTTP by one function of a request, and UDP by one of a datagram.

use std::io::Result;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request};
use axum::http::request::Parts;
use axum::response::Response;
use tokio::net::{TcpListener, UdpSocket};

/// Bytes that a datagram may have.
const DATAGRAM_BYTES_MAX: usize = 64 * 1024;

/// Bytes that a request's body may have; what is longer is cut off.
const BODY_BYTES_MAX: usize = 1 << 20;

/// A request and whom it is from.
pub struct Asked {
    /// Everything but the body.
    pub parts: Parts,
    /// The body.
    pub body: Bytes,
    /// Address of the client.
    pub peer: SocketAddr,
}

impl Asked {
    /// Its path.
    pub fn path(&self) -> &str {
        self.parts.uri.path()
    }

    /// A parameter of its query, decoded.
    pub fn parameter(&self, name: &str) -> String {
        crate::query::value(self.parts.uri.query().unwrap_or_default(), name)
    }
}

/// Reads a request to its end.
pub(crate) async fn asked(request: Request, peer: SocketAddr) -> Asked {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, BODY_BYTES_MAX).await.unwrap_or_default();
    Asked { parts, body, peer }
}

/// Serves HTTP/1 and HTTP/2 without TLS on a port of every address, for ever.
pub async fn http<F, A>(port: u16, answer: F) -> Result<()>
where
    F: Fn(Asked) -> A + Send + Sync + 'static,
    A: Future<Output = Response> + Send + 'static,
{
    let listener = TcpListener::bind(("0.0.0.0", port)).await?;
    let answer = Arc::new(answer);
    let app = Router::new().fallback(
        move |ConnectInfo(peer): ConnectInfo<SocketAddr>, request: Request| {
            let answer = answer.clone();
            async move { answer(asked(request, peer).await).await }
        },
    );
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await
}

/// Answers datagrams on a port, for ever; none when `answer` gives none.
pub async fn udp(
    address: &str,
    port: u16,
    answer: impl Fn(&[u8], SocketAddr) -> Option<String>,
) -> Result<()> {
    let socket = UdpSocket::bind((address, port)).await?;
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let (length, peer) = socket.recv_from(&mut buffer).await?;
        if let Some(text) = answer(&buffer[..length], peer) {
            socket.send_to(text.as_bytes(), peer).await?;
        }
    }
}

/// An answer of plain text.
pub fn text(status: u16, text: impl Into<String>) -> Response {
    let builder =
        Response::builder().status(status).header("content-type", "text/plain; charset=utf-8");
    builder.body(Body::from(text.into())).unwrap_or_default()
}
