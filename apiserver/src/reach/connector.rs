//! The connector of HTTP clients that reach Services by name, and all else by address.
//!
//! An edge: it opens connections.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tower::Service;

use super::dial::connect;
use super::endpoints::service_of_host;
use crate::node_dialer::Duplex;
use crate::server::Core;

/// Opens the connections; a clone shares the way to Services.
#[derive(Clone, Default)]
pub(crate) struct Connector(Arc<OnceLock<Weak<Core>>>);

impl Connector {
    /// Lets `NAME.NAMESPACE.svc` lead to Services from now on; before, such a name is one like others.
    pub(crate) fn reach(&self, core: Weak<Core>) {
        // Set once, when the server is made.
        let _already = self.0.set(core);
    }

    async fn open(self, uri: Uri) -> io::Result<Stream> {
        let host = uri.host().unwrap_or_default();
        let port = uri.port_u16().unwrap_or(443);
        let core = self.0.get().and_then(Weak::upgrade);
        let opened = match service_of_host(host).zip(core) {
            Some(((namespace, name), core)) => {
                let dialled = core.dial_service(namespace, name, port).await;
                dialled.map_err(|error| error.to_string())
            }
            None => connect(host, port).await,
        };
        opened.map(|stream| Stream(TokioIo::new(stream))).map_err(io::Error::other)
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Stream>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().open(uri))
    }
}

/// A connection, as HTTP clients want one.
pub(crate) struct Stream(TokioIo<Box<dyn Duplex>>);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
