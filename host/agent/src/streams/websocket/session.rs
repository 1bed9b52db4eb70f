//! Serves numbered channels over one WebSocket.
//!
//! An edge: it reads and writes the connection until its work or its client is done.

use std::collections::HashMap;

use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::{CLOSE_CHANNEL, Form, accept};
use crate::streams::channel::{Feed, Input, Output, PIECES_MAX};
use crate::streams::idle::{Idle, LINGER_MAX};

/// Hands out the channels of a connection before it is served.
pub(crate) struct Wire {
    form: Form,
    feeds: HashMap<u8, Feed>,
    messages: mpsc::Sender<Message>,
}

impl Wire {
    /// What the client sends on a channel; asking twice takes it from who asked first.
    pub(crate) fn input(&mut self, channel: u8) -> Input {
        let (feed, input) = Input::pair();
        self.feeds.insert(channel, feed);
        input
    }

    /// A channel towards the client.
    pub(crate) fn output(&self, channel: u8) -> Output {
        Output::WebSocket { channel, form: self.form, messages: self.messages.clone() }
    }
}

/// Serves a connection on which the handshake is done. `work` gets its channels, and when it is
/// done and all that it has sent is written, the connection is closed. When the client closes it
/// first, `work` is dropped.
pub(crate) async fn serve<S, W>(connection: S, form: Form, work: impl FnOnce(&mut Wire) -> W)
where
    S: AsyncRead + AsyncWrite + Unpin,
    W: Future<Output = ()>,
{
    let (messages, outgoing) = mpsc::channel(PIECES_MAX);
    let mut wire = Wire { form, feeds: HashMap::new(), messages };
    let work = work(&mut wire);
    let Wire { feeds, messages, .. } = wire;
    // The writer ends when the last sender is gone.
    drop(messages);
    drive(connection, (form, feeds), outgoing, work).await;
}

/// Serves a connection on which nothing is read: `work` sends messages as they are.
pub(crate) async fn send<S, W>(connection: S, work: impl FnOnce(mpsc::Sender<Message>) -> W)
where
    S: AsyncRead + AsyncWrite + Unpin,
    W: Future<Output = ()>,
{
    let (messages, outgoing) = mpsc::channel(PIECES_MAX);
    drive(connection, (Form::Binary, HashMap::new()), outgoing, work(messages)).await;
}

async fn drive<S: AsyncRead + AsyncWrite + Unpin>(
    connection: S,
    (form, feeds): (Form, HashMap<u8, Feed>),
    outgoing: mpsc::Receiver<Message>,
    work: impl Future<Output = ()>,
) {
    let (sink, source) = accept(connection).await.split();
    let idle = Idle::new();
    let reading = read(source, form, feeds, &idle);
    let writing = write(sink, outgoing, &idle);
    tokio::pin!(reading);
    tokio::select! {
        ((), outcome) = futures::future::join(work, writing) => {
            log("write", outcome);
            // The client answers the close.
            let _elapsed = tokio::time::timeout(LINGER_MAX, reading).await;
        }
        outcome = &mut reading => log("read", outcome),
        () = idle.elapsed() => tracing::debug!("a WebSocket was idle for too long"),
    }
}

fn log(what: &str, outcome: Result<(), Error>) {
    if let Err(error) = outcome {
        tracing::debug!(%error, what, "a WebSocket ended early");
    }
}

async fn write<S: AsyncRead + AsyncWrite + Unpin>(
    mut sink: SplitSink<WebSocketStream<S>, Message>,
    mut messages: mpsc::Receiver<Message>,
    idle: &Idle,
) -> Result<(), Error> {
    while let Some(message) = messages.recv().await {
        idle.touch();
        sink.feed(message).await?;
        while let Ok(message) = messages.try_recv() {
            sink.feed(message).await?;
        }
        sink.flush().await?;
    }
    let normal = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    sink.send(Message::Close(Some(normal))).await
}

async fn read<S: AsyncRead + AsyncWrite + Unpin>(
    mut source: SplitStream<WebSocketStream<S>>,
    form: Form,
    mut feeds: HashMap<u8, Feed>,
    idle: &Idle,
) -> Result<(), Error> {
    while let Some(message) = source.next().await {
        idle.touch();
        let bytes = match message? {
            Message::Binary(bytes) => bytes,
            Message::Text(text) => text.into(),
            Message::Close(_) => return Ok(()),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
        };
        let Some((channel, bytes)) = form.parse(bytes) else { continue };
        if channel == CLOSE_CHANNEL {
            bytes.first().and_then(|ended| feeds.remove(ended));
        } else if let Some(feed) = feeds.get(&channel)
            && !bytes.is_empty()
            && feed.send(bytes).await.is_err()
        {
            feeds.remove(&channel);
        }
    }
    Ok(())
}
