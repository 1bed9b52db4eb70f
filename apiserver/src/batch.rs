//! A connection whose large writes go out together.
//!
//! HTTP/2 hands every DATA frame of 16 KiB to the connection by itself and flushes after it, so a long list would cost
//! a TLS record more and a call into the kernel for each. Here frames are put together first: a flush after a large
//! write waits for the next write, up to [`BATCH_BYTES`]; a second flush without a write between shows that there is
//! nothing more, and everything goes out. Small writes go out at once, so that no answer waits.
//!
//! Only for HTTP/2, whose driver always ends with such a second flush.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are written at once: eight frames and as many TLS records; more brings little.
const BATCH_BYTES: usize = 128 * 1024;
/// A write of this size or more is part of something long, and its flush waits. Heads and most single objects are
/// smaller.
const LARGE_BYTES: usize = 8 * 1024;
/// Memory that a connection keeps while nothing is written, so that thousands of idle ones take none.
const KEPT_BYTES_MAX: usize = 16 * 1024;

/// A connection with batched writes.
#[derive(Debug)]
pub(crate) struct Batched<T> {
    inner: T,
    buffer: Vec<u8>,
    /// How much of the buffer was taken by the connection.
    sent: usize,
    /// Whether the last write was large and no flush has come since.
    large: bool,
}

impl<T: AsyncWrite + Unpin> Batched<T> {
    /// Puts batching around a connection.
    pub(crate) fn new(inner: T) -> Batched<T> {
        Batched { inner, buffer: Vec::new(), sent: 0, large: false }
    }

    /// Hands the whole buffer to the connection.
    fn poll_empty(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.buffer.get(self.sent..).filter(|rest| !rest.is_empty()) {
            let taken = ready!(Pin::new(&mut self.inner).poll_write(context, rest))?;
            if taken == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += taken;
        }
        self.sent = 0;
        self.buffer.clear();
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Batched<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.sent > 0 || self.buffer.len() >= BATCH_BYTES {
            ready!(self.poll_empty(context))?;
        }
        let room = BATCH_BYTES.saturating_sub(self.buffer.len());
        let taken = bytes.get(..room).unwrap_or(bytes);
        self.buffer.extend_from_slice(taken);
        self.large |= taken.len() >= LARGE_BYTES;
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let mut taken = 0;
        for slice in slices {
            let outcome = Pin::new(&mut *this).poll_write(context, slice);
            let Poll::Ready(Ok(count)) = outcome else {
                // What was taken before counts; the next write finds the error or waits.
                return if taken > 0 { Poll::Ready(Ok(taken)) } else { outcome };
            };
            taken += count;
            if count < slice.len() {
                break;
            }
        }
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.large) && self.sent == 0 && self.buffer.len() < BATCH_BYTES {
            // In case that this was the last flush of the round after all.
            context.waker().wake_by_ref();
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_empty(context))?;
        if self.buffer.capacity() > KEPT_BYTES_MAX {
            self.buffer = Vec::new();
        }
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_empty(context))?;
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Batched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::io::AsyncWriteExt;

    /// Notes the size of each write and each flush, and takes at most so much at once.
    #[derive(Debug)]
    struct Sink {
        bytes: Vec<u8>,
        writes: Vec<usize>,
        flushes: usize,
        at_once_max: usize,
    }

    impl AsyncWrite for Sink {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _context: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let taken = bytes.len().min(self.at_once_max);
            self.writes.push(taken);
            self.bytes.extend_from_slice(&bytes[..taken]);
            Poll::Ready(Ok(taken))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.flushes += 1;
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn sink(at_once_max: usize) -> Batched<Sink> {
        Batched::new(Sink { bytes: Vec::new(), writes: Vec::new(), flushes: 0, at_once_max })
    }

    async fn flush(batched: &mut Batched<Sink>) {
        poll_fn(|context| Pin::new(&mut *batched).poll_flush(context)).await.unwrap();
    }

    #[tokio::test]
    async fn small_writes_go_out_at_once() {
        let mut batched = sink(usize::MAX);
        for _ in 0..2 {
            batched.write_all(b"answer").await.unwrap();
            flush(&mut batched).await;
        }
        assert_eq!((batched.inner.writes.as_slice(), batched.inner.flushes), (&[6, 6][..], 2));
    }

    #[tokio::test]
    async fn frames_of_a_long_body_go_out_together() {
        let mut batched = sink(usize::MAX);
        let frame = vec![7; 16 * 1024];
        for _ in 0..32 {
            batched.write_all(&[0; 9]).await.unwrap();
            batched.write_all(&frame).await.unwrap();
            flush(&mut batched).await;
        }
        flush(&mut batched).await;
        assert_eq!(batched.inner.bytes.len(), 32 * (frame.len() + 9));
        assert!(batched.inner.writes.len() <= 5, "{:?}", batched.inner.writes);
        assert_eq!(batched.buffer.capacity(), 0);
    }

    #[tokio::test]
    async fn a_slow_connection_gets_every_byte_once() {
        let mut batched = sink(1000);
        let bytes: Vec<u8> = (0..400_000_u32).map(|index| index.to_le_bytes()[0]).collect();
        for part in bytes.chunks(9_999) {
            batched.write_all(part).await.unwrap();
            flush(&mut batched).await;
        }
        batched.shutdown().await.unwrap();
        assert_eq!(batched.inner.bytes, bytes);
    }
}
