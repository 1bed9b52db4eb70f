//! The one socket between a host and a worker: messages, streams and datagrams in packets.
//!
//! A packet is a frame: its kind, a stream's number, and bytes. Each direction of a stream has a
//! window ([`stream::WINDOW_BYTES`]) and each side room for all windows, so reading the socket never
//! waits for anybody, and one slow reader holds up nothing but its own stream. A message too large
//! for a packet goes in an open file.
//!
//! Whatever the other side does that is not in this protocol ends the link, and with it the worker.
//!
//! An edge: two tasks, one for each direction.

mod packet;
mod stream;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use bytes::Bytes;
use coracle_vnet::{CONNECTIONS_MAX, VStream};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub(crate) use packet::{PACKET_BYTES_MAX, Packet, Packets, pair, receive, send};
pub(crate) use stream::{Dropped, LinkStream};

/// Bytes of a stream in one packet.
const FRAME_BYTES_MAX: usize = 32 << 10;

/// Bytes before a frame's content: its kind and its stream.
const HEAD_BYTES: usize = 5;

/// Streams that the other side may have open: every connection of a namespace.
const STREAMS_MAX: usize = 2 * CONNECTIONS_MAX;

/// Bytes that wait for the socket from which on datagrams are dropped, which may be lost anywhere, and notes.
const DATAGRAMS_WAITING_BYTES_MAX: usize = 4 << 20;

/// Bytes that wait for the socket from which on the other side counts as gone: it reads at once
/// whatever comes, so this many only wait for one that does not.
const WAITING_BYTES_MAX: usize = 128 << 20;

/// Bytes of a message that comes in a file.
const MESSAGE_BYTES_MAX: u64 = 16 << 20;

/// Bytes between a connection and its stream, for each direction.
const COPY_BYTES: usize = 16 << 10;

/// What a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Frame {
    /// A message, in JSON.
    Message = 0,
    /// A message, in the first file of the packet.
    LargeMessage = 1,
    /// Bytes of a stream.
    Data = 2,
    /// Bytes of a stream that were read.
    Credit = 3,
    /// A stream's writer has written all.
    Finish = 4,
    /// A stream was cut.
    Cut = 5,
    /// A datagram.
    Datagram = 6,
}

impl Frame {
    fn of(byte: u8) -> Option<Self> {
        let all = [
            Self::Message,
            Self::LargeMessage,
            Self::Data,
            Self::Credit,
            Self::Finish,
            Self::Cut,
            Self::Datagram,
        ];
        all.get(usize::from(byte)).copied()
    }
}

/// Which side of a link: each numbers its own streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The host; its streams have even numbers.
    Host,
    /// The worker; odd ones.
    Worker,
}

/// A datagram between a socket of the pod and the rest of the network.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DatagramHead {
    /// The pod's own address.
    pub(crate) local: SocketAddr,
    /// The other one.
    pub(crate) remote: SocketAddr,
}

/// Takes what comes in. Calls come one after the other, in the order of sending, and must not wait.
pub(crate) trait Handler: Send + Sync + 'static {
    /// The messages of the other side.
    type Message: DeserializeOwned;

    /// Takes a message, with its files.
    ///
    /// # Errors
    /// The message breaks the protocol: the link ends.
    fn message(&self, message: Self::Message, files: Vec<OwnedFd>) -> io::Result<()>;

    /// Takes a datagram.
    fn datagram(&self, head: DatagramHead, data: Bytes);
}

/// One end of the socket.
pub(crate) struct Link {
    side: Side,
    out: mpsc::UnboundedSender<Packet>,
    waiting_bytes: Arc<AtomicUsize>,
    streams: Mutex<HashMap<u32, Arc<stream::Shared>>>,
    next: AtomicU32,
    /// Nothing goes in or out any more.
    ended: CancellationToken,
}

impl Link {
    /// Takes a socket over and starts writing to it. [`Link::run`] must be called to read.
    pub(crate) fn new(side: Side, socket: OwnedFd) -> io::Result<(Arc<Self>, Arc<Packets>)> {
        let packets = Arc::new(Packets::new(socket)?);
        let (out, queue) = mpsc::unbounded_channel();
        let link = Arc::new(Self {
            side,
            out,
            waiting_bytes: Arc::default(),
            streams: Mutex::default(),
            next: AtomicU32::new(if side == Side::Host { 2 } else { 1 }),
            ended: CancellationToken::new(),
        });
        let writer = write(packets.clone(), queue, link.waiting_bytes.clone(), link.ended.clone());
        tokio::spawn(writer);
        Ok((link, packets))
    }

    /// Reads to the end of the link, and says what ended it.
    pub(crate) async fn run<H: Handler>(&self, packets: &Packets, handler: &H) -> io::Error {
        let reason = tokio::select! {
            () = self.ended.cancelled() => io::ErrorKind::BrokenPipe.into(),
            reason = self.read(packets, handler) => reason,
        };
        self.end();
        reason
    }

    /// Cuts everything.
    pub(crate) fn end(&self) {
        self.ended.cancel();
        let streams = std::mem::take(&mut *self.streams.lock());
        streams.into_values().for_each(|stream| stream.cut());
    }

    /// Resolves when the link has ended.
    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    async fn read<H: Handler>(&self, packets: &Packets, handler: &H) -> io::Error {
        let mut buffer = vec![0; PACKET_BYTES_MAX];
        loop {
            let (length, files) = match packets.receive(&mut buffer).await {
                Ok((0, _)) => return io::ErrorKind::UnexpectedEof.into(),
                Ok(received) => received,
                Err(error) => return error,
            };
            let packet = buffer.get(..length).unwrap_or_default();
            if let Err(error) = self.take(packet, files, handler) {
                return error;
            }
        }
    }

    fn take<H: Handler>(&self, packet: &[u8], files: Vec<OwnedFd>, handler: &H) -> io::Result<()> {
        let (head, content) = packet.split_at_checked(HEAD_BYTES).ok_or_else(|| broken("head"))?;
        let [kind, id @ ..] = head else { return Err(broken("head")) };
        let id: [u8; 4] = id.try_into().map_err(|_| broken("head"))?;
        let id = u32::from_le_bytes(id);
        match Frame::of(*kind).ok_or_else(|| broken("kind"))? {
            Frame::Message => handler.message(parse(content)?, files),
            Frame::LargeMessage if self.side == Side::Worker => {
                let mut files = files.into_iter();
                let file = files.next().ok_or_else(|| broken("message without its file"))?;
                handler.message(parse(&content_of(file)?)?, files.collect())
            }
            Frame::LargeMessage => Err(broken("message in a file")),
            Frame::Datagram => {
                let (head, data) = split_datagram(content)?;
                handler.datagram(head, data);
                Ok(())
            }
            frame @ (Frame::Data | Frame::Credit | Frame::Finish | Frame::Cut) => {
                self.take_of_stream(frame, id, content)
            }
        }
    }

    /// What comes for a stream that is gone already is of no interest.
    fn take_of_stream(&self, frame: Frame, id: u32, content: &[u8]) -> io::Result<()> {
        let Some(stream) = self.streams.lock().get(&id).cloned() else { return Ok(()) };
        let is_sound = match frame {
            Frame::Data => stream.push(Bytes::copy_from_slice(content)),
            Frame::Credit => {
                let bytes: [u8; 4] = content.try_into().map_err(|_| broken("credit"))?;
                stream.credit(u32::from_le_bytes(bytes) as usize)
            }
            Frame::Finish => {
                stream.end();
                true
            }
            Frame::Cut => {
                stream.cut();
                true
            }
            Frame::Message | Frame::LargeMessage | Frame::Datagram => false,
        };
        if is_sound { Ok(()) } else { Err(broken("window")) }
    }

    /// Opens a stream; the other side must be told its number.
    pub(crate) fn open(self: &Arc<Self>) -> LinkStream {
        let id = self.next.fetch_add(2, Ordering::Relaxed);
        self.insert(id)
    }

    /// Takes part in a stream that the other side opened.
    ///
    /// # Errors
    /// The number is not one of the other side's, it is taken, or there are too many.
    pub(crate) fn join(self: &Arc<Self>, id: u32) -> io::Result<LinkStream> {
        let is_theirs = id.is_multiple_of(2) != (self.side == Side::Host);
        let room = {
            let streams = self.streams.lock();
            !streams.contains_key(&id) && streams.len() < STREAMS_MAX
        };
        if is_theirs && room { Ok(self.insert(id)) } else { Err(broken("stream")) }
    }

    fn insert(self: &Arc<Self>, id: u32) -> LinkStream {
        let shared = Arc::new(stream::Shared::default());
        self.streams.lock().insert(id, shared.clone());
        if self.ended.is_cancelled() {
            shared.cut();
        }
        LinkStream::new(id, self.clone(), shared)
    }

    fn forget(&self, id: u32) {
        self.streams.lock().remove(&id);
    }

    fn put(&self, frame: Frame, id: u32, content: &[u8]) {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + content.len());
        bytes.push(frame as u8);
        bytes.extend_from_slice(&id.to_le_bytes());
        bytes.extend_from_slice(content);
        self.queue(Packet { bytes, files: Vec::new() });
    }

    fn queue(&self, packet: Packet) {
        let waiting = self.waiting_bytes.fetch_add(packet.bytes.len(), Ordering::Relaxed);
        if waiting > WAITING_BYTES_MAX {
            return self.ended.cancel();
        }
        // The writer is gone only when the link has ended.
        let _ = self.out.send(packet);
    }

    /// Sends a message with open files.
    ///
    /// # Errors
    /// It is too large for a packet and cannot be put into a file.
    pub(crate) fn send(&self, message: &impl Serialize, files: Vec<OwnedFd>) -> io::Result<()> {
        let content = serde_json::to_vec(message)?;
        let mut packet = Packet { bytes: Vec::new(), files };
        if content.len() + HEAD_BYTES <= PACKET_BYTES_MAX {
            packet.bytes = [&[Frame::Message as u8, 0, 0, 0, 0], content.as_slice()].concat();
        } else {
            packet.files.insert(0, file_with(&content)?.into());
            packet.bytes = vec![Frame::LargeMessage as u8, 0, 0, 0, 0];
        }
        self.queue(packet);
        Ok(())
    }

    /// Whether the other side keeps up, so that what may be lost need not be.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting_bytes.load(Ordering::Relaxed) < DATAGRAMS_WAITING_BYTES_MAX
    }

    /// Sends a datagram, or drops it when the other side is slow. Says `false` at the end.
    pub(crate) fn send_datagram(&self, head: &DatagramHead, data: &[u8]) -> bool {
        if self.has_room()
            && let Ok(head) = serde_json::to_vec(head)
            && let Ok(length) = u16::try_from(head.len())
        {
            self.put(Frame::Datagram, 0, &[&length.to_le_bytes(), head.as_slice(), data].concat());
        }
        !self.ended.is_cancelled()
    }
}

/// Joins a connection with a stream until both directions have ended or one is cut.
pub(crate) async fn join(mut connection: VStream, mut stream: LinkStream) {
    let copied = tokio::io::copy_bidirectional_with_sizes(
        &mut connection,
        &mut stream,
        COPY_BYTES,
        COPY_BYTES,
    );
    if copied.await.is_err() {
        connection.reset();
    }
}

/// A file in memory with `content`.
pub(crate) fn file_with(content: &[u8]) -> io::Result<File> {
    let file = rustix::fs::memfd_create("coracle", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = File::from(file);
    file.write_all(content)?;
    file.rewind()?;
    Ok(file)
}

fn content_of(file: OwnedFd) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::from(file).take(MESSAGE_BYTES_MAX).read_to_end(&mut content)?;
    Ok(content)
}

fn parse<T: DeserializeOwned>(content: &[u8]) -> io::Result<T> {
    Ok(serde_json::from_slice(content)?)
}

fn split_datagram(content: &[u8]) -> io::Result<(DatagramHead, Bytes)> {
    let (length, rest) = content.split_first_chunk::<2>().ok_or_else(|| broken("datagram"))?;
    let length = usize::from(u16::from_le_bytes(*length));
    let (head, data) = rest.split_at_checked(length).ok_or_else(|| broken("datagram"))?;
    Ok((parse(head)?, Bytes::copy_from_slice(data)))
}

/// The other side does not keep to the protocol.
pub(crate) fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the link's protocol was broken: {what}"))
}

async fn write(
    packets: Arc<Packets>,
    mut queue: mpsc::UnboundedReceiver<Packet>,
    waiting_bytes: Arc<AtomicUsize>,
    ended: CancellationToken,
) {
    let work = async {
        while let Some(packet) = queue.recv().await {
            let sent = packets.send(&packet).await;
            waiting_bytes.fetch_sub(packet.bytes.len(), Ordering::Relaxed);
            if sent.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = ended.cancelled() => {}
        () = work => ended.cancel(),
    }
}

#[cfg(test)]
mod tests;
