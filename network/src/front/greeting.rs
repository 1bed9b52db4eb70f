//! The greeting of a TLS connection, read before it is known who answers it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Bytes of a greeting. *Source:* RFC 8446, section 5.1: a record has 16 KiB.
const GREETING_BYTES_MAX: usize = 16 * 1024 + 256;

/// A connection of which the beginning was read and is still to be read.
pub(super) struct Greeted {
    first: Bytes,
    stream: TcpStream,
    /// The name that the greeting asks for, in lower case; empty if it has none.
    pub(super) name: String,
}

impl Greeted {
    /// Reads the greeting.
    ///
    /// # Errors
    /// `InvalidData` when it is none.
    pub(super) async fn read(mut stream: TcpStream) -> io::Result<Self> {
        let (mut acceptor, mut first) = (Acceptor::default(), Vec::new());
        let mut buffer = vec![0; 4 * 1024];
        while first.len() < GREETING_BYTES_MAX {
            let length = stream.read(&mut buffer).await?;
            let fresh = buffer.get(..length).unwrap_or_default();
            if fresh.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            first.extend_from_slice(fresh);
            let mut rest = fresh;
            while !rest.is_empty() {
                acceptor.read_tls(&mut rest)?;
            }
            match acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    let name = accepted
                        .client_hello()
                        .server_name()
                        .unwrap_or_default()
                        .to_ascii_lowercase();
                    return Ok(Self { first: first.into(), stream, name });
                }
                Err((error, _alert)) => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, error));
                }
            }
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "the greeting is too long"))
    }
}

impl AsyncRead for Greeted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.has_remaining() {
            let length = self.first.len().min(into.remaining());
            into.put_slice(&self.first.split_to(length));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Greeted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
