//! A stream of bytes inside the binary messages of a WebSocket.
//!
//! An edge: a task of the caller's copies between both.
//!
//! *Source:* `SPDY/3.1+portforward.k8s.io`, KEP-4006: message borders mean nothing.

use futures::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::accept;
use crate::streams::idle::LINGER_MAX;

/// Bytes that wait in each direction between the messages and the stream.
const PIPE_BYTES: usize = 64 << 10;

/// Bytes of a message at most.
const PIECE_BYTES: usize = 32 << 10;

/// Makes a stream of bytes of a connection on which the handshake is done, runs `work` on it, and
/// closes the connection when that is done. When the client closes it first, the stream ends.
pub(crate) async fn tunnel<S, W>(connection: S, work: impl FnOnce(DuplexStream) -> W)
where
    S: AsyncRead + AsyncWrite + Unpin,
    W: Future<Output = ()>,
{
    let (mut sink, mut source) = accept(connection).await.split();
    let (near, far) = tokio::io::duplex(PIPE_BYTES);
    let (mut from_work, mut to_work) = tokio::io::split(near);
    let upwards = async move {
        while let Some(Ok(message)) = source.next().await {
            let bytes = match message {
                Message::Binary(bytes) => bytes,
                Message::Close(_) => break,
                Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {
                    continue;
                }
            };
            if to_work.write_all(&bytes).await.is_err() {
                // Nobody reads any more, and the end is on its way.
                continue;
            }
        }
        // The work sees the end of the stream; it may be gone already.
        let _ = to_work.shutdown().await;
    };
    let downwards = async move {
        let mut buffer = bytes::BytesMut::new();
        loop {
            buffer.reserve(PIECE_BYTES);
            match from_work.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
            if sink.send(Message::Binary(buffer.split().freeze())).await.is_err() {
                return;
            }
        }
        let normal = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        // A client that is gone needs no close.
        let _ = sink.send(Message::Close(Some(normal))).await;
    };
    let done = futures::future::join(work(far), downwards);
    tokio::pin!(upwards, done);
    tokio::select! {
        ((), ()) = &mut done => {
            // The client answers the close.
            let _elapsed = tokio::time::timeout(LINGER_MAX, upwards).await;
        }
        () = &mut upwards => {
            // The work has seen the end, and ends.
            done.await;
        }
    }
}
