//! One end of a connection.

use crate::links::Membership;
use crate::pipe::{Chunk, Pipe};
use crate::scope::Scope;
use crate::traffic::Traffic;
use bytes::Bytes;
use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One end of a connection between two namespaces, or between a namespace and the host.
///
/// Guests use it through the methods that never wait; the host through `AsyncRead` and `AsyncWrite`.
/// One task may read while another writes. Dropping it closes it as a kernel closes a socket: the
/// other end reads what is queued and then the end, or `ConnectionReset` when bytes were left unread
/// here; its writes fail with `BrokenPipe`.
pub struct VStream {
    local: SocketAddr,
    peer: SocketAddr,
    backend: Option<SocketAddr>,
    rx: Arc<Pipe>,
    tx: Arc<Pipe>,
    /// Held for its drop, which leaves the namespace.
    membership: Option<Membership>,
    scope: Option<Arc<Scope>>,
    traffic: Option<Arc<Traffic>>,
}

impl VStream {
    /// Both ends of a new connection, the `client`'s first.
    #[must_use]
    pub fn pair(client: SocketAddr, server: SocketAddr) -> (VStream, VStream) {
        let (up, down) = (Arc::new(Pipe::default()), Arc::new(Pipe::default()));
        let near = VStream {
            local: client,
            peer: server,
            backend: None,
            rx: down.clone(),
            tx: up.clone(),
            membership: None,
            scope: None,
            traffic: None,
        };
        let far = VStream {
            local: server,
            peer: client,
            backend: None,
            rx: up,
            tx: down,
            membership: None,
            scope: None,
            traffic: None,
        };
        (near, far)
    }

    /// The address of this end.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The address of the other end, as this end knows it: a Service's address when it was dialled.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    /// Where the router led the connection instead of to [`VStream::peer_addr`]: a Service's backend.
    #[must_use]
    pub fn backend(&self) -> Option<SocketAddr> {
        self.backend
    }

    /// Takes up to `bytes_max` bytes without waiting: `None` when there is nothing yet, empty at
    /// the end.
    ///
    /// # Errors
    /// `ConnectionReset` when the connection was cut.
    pub fn try_read(&self, bytes_max: usize) -> io::Result<Option<Bytes>> {
        let data = self.rx.try_read(bytes_max)?;
        self.received(data.as_ref().map_or(0, Bytes::len));
        Ok(data)
    }

    /// Ready when [`VStream::try_read`] has bytes, the end or an error to give.
    pub fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.rx.poll_readable(context)
    }

    /// How many bytes [`VStream::write`] takes now.
    ///
    /// # Errors
    /// `BrokenPipe` when the other end is closed or this direction was shut down,
    /// `ConnectionReset` when the connection was cut.
    pub fn room(&self) -> io::Result<usize> {
        self.tx.room()
    }

    /// Queues all of `data`; the caller keeps to [`VStream::room`].
    ///
    /// # Errors
    /// As [`VStream::room`].
    pub fn write(&self, data: Bytes) -> io::Result<()> {
        let bytes = data.len();
        self.tx.write(Chunk::Owned(data))?;
        self.sent(bytes);
        Ok(())
    }

    /// Ready when [`VStream::room`] gives more than 0 or an error.
    pub fn poll_writable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.tx.poll_writable(context)
    }

    /// Ends one or both directions. After `Write` the other end reads what is queued and then the
    /// end; after `Read` this end reads the end at once, and what the other sends is thrown away.
    pub fn shutdown(&self, how: Shutdown) {
        if matches!(how, Shutdown::Write | Shutdown::Both) {
            self.tx.finish();
        }
        if matches!(how, Shutdown::Read | Shutdown::Both) {
            self.rx.discard();
        }
    }

    /// Cuts the connection at once, in both directions: both ends read and write
    /// `ConnectionReset`.
    pub fn reset(&self) {
        self.rx.reset_now();
        self.tx.reset_now();
    }

    /// Ends when the other end reads no more: it was dropped, or the connection was cut. One that only
    /// shut a direction down is still there. For one task at a time; it may outlive this end.
    pub fn gone(&self) -> impl Future<Output = ()> + Send + use<> {
        let tx = self.tx.clone();
        std::future::poll_fn(move |context| tx.poll_gone(context))
    }

    pub(crate) fn set_peer(&mut self, peer: SocketAddr) {
        self.peer = peer;
    }

    pub(crate) fn led_to(mut self, backend: Option<SocketAddr>) -> VStream {
        self.backend = backend;
        self
    }

    /// Lets `membership`'s namespace count this end and cut it.
    pub(crate) fn joined(mut self, membership: Membership) -> VStream {
        membership.link(&self.rx, &self.tx);
        self.traffic = membership.traffic();
        self.membership = Some(membership);
        self
    }

    pub(crate) fn enter(&mut self, scope: Arc<Scope>) {
        scope.opened();
        self.scope = Some(scope);
    }

    fn received(&self, bytes: usize) {
        self.moved(bytes);
        if let Some(traffic) = &self.traffic {
            traffic.receive(bytes);
        }
    }

    fn sent(&self, bytes: usize) {
        self.moved(bytes);
        if let Some(traffic) = &self.traffic {
            traffic.send(bytes);
        }
    }

    fn moved(&self, bytes: usize) {
        if let Some(scope) = &self.scope {
            scope.moved(bytes);
        }
    }
}

impl Drop for VStream {
    fn drop(&mut self) {
        if self.rx.close() {
            self.rx.reset();
            self.tx.reset();
        } else {
            self.tx.finish();
        }
        if let Some(scope) = &self.scope {
            scope.closed();
        }
    }
}

impl fmt::Debug for VStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VStream({} -> {})", self.local, self.peer)
    }
}

impl AsyncRead for VStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        ready!(self.rx.poll_readable(context));
        let length = self.rx.try_read_into(buffer.initialize_unfilled())?.unwrap_or(0);
        buffer.advance(length);
        self.received(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for VStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.tx.poll_writable(context));
        let length = self.tx.room()?.min(data.len());
        self.tx.write(Chunk::Borrowed(&data[..length]))?;
        self.sent(length);
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tx.finish();
        Poll::Ready(Ok(()))
    }
}
