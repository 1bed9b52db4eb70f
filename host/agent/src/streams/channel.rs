//! One channel of a client's connection, whichever protocol carries it.
//!
//! An edge: both ends wait. The queues between a connection and its channels are short, so that a
//! slow reader slows the writer down and nothing piles up.

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use super::spdy::Frame;
use super::websocket::Form;

/// Pieces that wait between a connection and one of its channels; a piece is what came as one frame
/// or message.
pub(crate) const PIECES_MAX: usize = 8;

/// Bytes that are read from a program or a pod at a time.
const READ_BYTES: usize = 32 << 10;

/// The client's connection, or the reader at the other end of it, is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client is gone")]
pub(crate) struct Gone;

/// What a client sends on one channel.
#[derive(Debug)]
pub(crate) struct Input(mpsc::Receiver<Bytes>);

/// The connection's end of an [`Input`]; dropping it is the end of the channel.
pub(crate) type Feed = mpsc::Sender<Bytes>;

impl Input {
    /// Makes both ends.
    pub(crate) fn pair() -> (Feed, Input) {
        let (feed, pieces) = mpsc::channel(PIECES_MAX);
        (feed, Input(pieces))
    }

    /// The next piece; `None` when the client has closed its half. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        self.0.recv().await
    }

    /// Copies everything into `writer`, and closes that at the end. Ends early when it takes no
    /// more; what the client then sends is thrown away.
    pub(crate) async fn copy_to(mut self, mut writer: impl AsyncWrite + Unpin) {
        while let Some(piece) = self.next().await {
            if writer.write_all(&piece).await.is_err() || writer.flush().await.is_err() {
                while self.next().await.is_some() {}
                return;
            }
        }
        // A reader that is gone needs no end.
        let _ = writer.shutdown().await;
    }
}

/// One channel towards a client.
#[derive(Clone, Debug)]
pub(crate) enum Output {
    /// A stream of a SPDY session.
    Spdy {
        /// The stream's id.
        stream: u32,
        /// What the session writes.
        frames: mpsc::Sender<Frame>,
    },
    /// A numbered channel of a WebSocket.
    WebSocket {
        /// The channel's number.
        channel: u8,
        /// How it is written.
        form: Form,
        /// What the connection writes.
        messages: mpsc::Sender<Message>,
    },
}

impl Output {
    /// Sends a piece. Waits while the client is slow. Cancel safe: nothing is sent when dropped.
    pub(crate) async fn send(&self, bytes: Bytes) -> Result<(), Gone> {
        match self {
            Output::Spdy { stream, frames } => {
                let frame = Frame::Data { stream: *stream, bytes, fin: false };
                frames.send(frame).await.map_err(|_| Gone)
            }
            Output::WebSocket { channel, form, messages } => {
                messages.send(form.message(*channel, &bytes)).await.map_err(|_| Gone)
            }
        }
    }

    /// Says that nothing more comes. A WebSocket has no sign for that but its own end.
    pub(crate) async fn end(self) {
        match self {
            Output::Spdy { stream, frames } => {
                let frame = Frame::Data { stream, bytes: Bytes::new(), fin: true };
                // A client that is gone needs no end.
                let _ = frames.send(frame).await;
            }
            Output::WebSocket { .. } => {}
        }
    }

    /// Copies everything that comes from `reader`, until it ends or fails, then ends the channel.
    pub(crate) async fn copy_from(self, mut reader: impl AsyncRead + Unpin) -> Result<(), Gone> {
        let mut buffer = bytes::BytesMut::new();
        loop {
            buffer.reserve(READ_BYTES);
            match reader.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(_) => self.send(buffer.split().freeze()).await?,
            }
        }
        self.end().await;
        Ok(())
    }
}
