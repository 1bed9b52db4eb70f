//! `wasi:tls` for guests: the host speaks TLS over streams that the guest has opened itself.
//!
//! So a secure connection reaches no more than a plain one: the streams are those of the pod's network
//! namespace, where policies and egress have decided already. Certificates are judged by what the
//! machine trusts, as for `https` requests.
//!
//! *Source:* `wasi:tls@0.2.0-draft`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wasmtime::component::Linker;
use wasmtime_wasi_tls::{
    Error, TlsProvider, TlsStream, TlsTransport, WasiTlsCtx, WasiTlsCtxBuilder, WasiTlsView,
};

use crate::http::outgoing::tls;

/// What a guest imports: of a draft this version alone.
pub(crate) const INTERFACE: &str = "wasi:tls/types@0.2.0-draft";

/// Puts `wasi:tls` into a linker.
///
/// # Errors
/// When the linker has other things of these names already.
pub(crate) fn add_to_linker<T: WasiTlsView + 'static>(
    linker: &mut Linker<T>,
) -> wasmtime::Result<()> {
    let mut options = wasmtime_wasi_tls::p2::LinkOptions::default();
    options.tls(true);
    wasmtime_wasi_tls::p2::add_to_linker(linker, &options)
}

/// What one instance needs for it.
pub(crate) fn context() -> WasiTlsCtx {
    WasiTlsCtxBuilder::new().provider(Box::new(Machine)).build()
}

/// TLS that trusts what the machine trusts.
struct Machine;

type Connecting = Pin<Box<dyn Future<Output = Result<Box<dyn TlsStream>, Error>> + Send>>;

impl TlsProvider for Machine {
    fn connect(&self, server_name: String, transport: Box<dyn TlsTransport>) -> Connecting {
        Box::pin(async move {
            let stream = tls::connect(transport, &server_name, false).await;
            let stream = stream.map_err(|error| Error::msg(format!("{error:?}")))?;
            Ok(Box::new(Secured(stream)) as Box<dyn TlsStream>)
        })
    }
}

/// A secure stream.
struct Secured(tokio_rustls::client::TlsStream<Box<dyn TlsTransport>>);

impl TlsStream for Secured {}

impl AsyncRead for Secured {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, into)
    }
}

impl AsyncWrite for Secured {
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
