//! Serves one SPDY connection: frames in go to their streams, frames out are written in order.
//!
//! An edge: it reads and writes the connection until both its streams and its client are done.

use std::collections::HashMap;

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_util::codec::{FramedRead, FramedWrite};

use super::{Codec, Frame, FrameError, Headers, ResetCode};
use crate::streams::channel::{Feed, Gone, Input, Output, PIECES_MAX};
use crate::streams::idle::{Idle, LINGER_MAX};

/// Streams of one session at once: two for each forwarded connection. One more is refused.
const STREAMS_MAX: usize = 1024;

/// A stream that the client has opened.
#[derive(Debug)]
pub(crate) struct Opened {
    /// What it is for.
    pub(crate) headers: Headers,
    /// What the client sends on it.
    pub(crate) input: Input,
    /// What goes to the client on it.
    pub(crate) output: Output,
}

/// Serves a connection. `work` gets the streams as the client opens them; when it is done and all
/// that it has sent is written, the connection ends. When the client ends it first, `work` is
/// dropped.
pub(crate) async fn serve<S, W>(connection: S, work: impl FnOnce(mpsc::Receiver<Opened>) -> W)
where
    S: AsyncRead + AsyncWrite,
    W: Future<Output = ()>,
{
    let (reader, writer) = tokio::io::split(connection);
    let (frames, outgoing) = mpsc::channel(PIECES_MAX);
    let (opened, streams) = mpsc::channel(PIECES_MAX);
    let idle = Idle::new();
    let mut session =
        Session { streams: HashMap::new(), last: 0, frames: frames.downgrade(), opened };
    let reading = session.read(FramedRead::new(reader, Codec::default()), &idle);
    let work = work(streams);
    let worked = async {
        work.await;
        // The writer ends when the last sender is gone.
        drop(frames);
    };
    let writing = write(FramedWrite::new(writer, Codec::default()), outgoing, &idle);
    tokio::pin!(reading);
    tokio::select! {
        ((), outcome) = futures::future::join(worked, writing) => {
            log("write", outcome);
            // A connection that is closed on unread bytes takes the unread answer with it.
            let _elapsed = tokio::time::timeout(LINGER_MAX, reading).await;
        }
        outcome = &mut reading => log("read", outcome),
        () = idle.elapsed() => tracing::debug!("a SPDY session was idle for too long"),
    }
}

fn log(what: &str, outcome: Result<(), FrameError>) {
    if let Err(error) = outcome {
        tracing::debug!(%error, what, "a SPDY session ended early");
    }
}

async fn write<W: AsyncWrite + Unpin>(
    mut sink: FramedWrite<W, Codec>,
    mut frames: mpsc::Receiver<Frame>,
    idle: &Idle,
) -> Result<(), FrameError> {
    while let Some(frame) = frames.recv().await {
        idle.touch();
        sink.feed(frame).await?;
        while let Ok(frame) = frames.try_recv() {
            sink.feed(frame).await?;
        }
        sink.flush().await?;
    }
    sink.close().await
}

struct Session {
    /// Streams on which the client may still send.
    streams: HashMap<u32, Feed>,
    /// The last stream that was opened.
    last: u32,
    frames: mpsc::WeakSender<Frame>,
    opened: mpsc::Sender<Opened>,
}

impl Session {
    /// Reads until the client ends the connection, or breaks the protocol.
    async fn read<R: AsyncRead + Unpin>(
        &mut self,
        mut source: FramedRead<R, Codec>,
        idle: &Idle,
    ) -> Result<(), FrameError> {
        while let Some(frame) = source.next().await {
            idle.touch();
            // When nobody writes any more, what still comes is read and thrown away.
            let _gone = self.take(frame?).await;
        }
        Ok(())
    }

    async fn take(&mut self, frame: Frame) -> Result<(), Gone> {
        match frame {
            Frame::SynStream { stream, headers, fin } => self.open(stream, headers, fin).await,
            Frame::Data { stream, bytes, fin } => self.data(stream, bytes, fin).await,
            Frame::Headers { stream, fin: true, .. } | Frame::Reset { stream, .. } => {
                self.streams.remove(&stream);
                Ok(())
            }
            Frame::Ping { id } => self.send(Frame::Ping { id }).await,
            Frame::GoAway { .. }
            | Frame::Headers { .. }
            | Frame::SynReply { .. }
            | Frame::Other => Ok(()),
        }
    }

    async fn open(&mut self, stream: u32, headers: Headers, fin: bool) -> Result<(), Gone> {
        // Streams whose other end has lost interest make room.
        self.streams.retain(|_, feed| !feed.is_closed());
        if let Some(code) = self.refusal(stream) {
            return self.send(Frame::Reset { stream, code }).await;
        }
        self.last = stream;
        let (feed, input) = Input::pair();
        if !fin {
            self.streams.insert(stream, feed);
        }
        let frames = self.frames.upgrade().ok_or(Gone)?;
        let reply = Frame::SynReply { stream, headers: Headers::default(), fin: false };
        frames.send(reply).await.map_err(|_| Gone)?;
        let output = Output::Spdy { stream, frames };
        if let Err(refused) = self.opened.send(Opened { headers, input, output }).await {
            // Nobody takes streams any more; those that are open go on.
            drop(refused);
            self.streams.remove(&stream);
            let code = ResetCode::REFUSED_STREAM;
            return self.send(Frame::Reset { stream, code }).await;
        }
        Ok(())
    }

    /// Why a stream is not opened: a client's streams have odd numbers that grow.
    fn refusal(&self, stream: u32) -> Option<ResetCode> {
        if stream.is_multiple_of(2) || stream <= self.last {
            Some(ResetCode::PROTOCOL_ERROR)
        } else if self.streams.len() >= STREAMS_MAX {
            Some(ResetCode::REFUSED_STREAM)
        } else {
            None
        }
    }

    async fn data(&mut self, stream: u32, bytes: Bytes, fin: bool) -> Result<(), Gone> {
        // Bytes for a stream that nobody reads are dropped, as a closed socket drops them.
        if let Some(feed) = self.streams.get(&stream)
            && !bytes.is_empty()
            && feed.send(bytes).await.is_err()
        {
            self.streams.remove(&stream);
        }
        if fin {
            self.streams.remove(&stream);
        }
        Ok(())
    }

    async fn send(&self, frame: Frame) -> Result<(), Gone> {
        let frames = self.frames.upgrade().ok_or(Gone)?;
        frames.send(frame).await.map_err(|_| Gone)
    }
}
