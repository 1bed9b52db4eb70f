//! Between the fabric and real sockets of the machine. The only file of this crate with tasks: one
//! for each open connection or flow that leaves the fabric.

use crate::flows::FLOW_IDLE_MAX;
use crate::stream::VStream;
use crate::udp::{DATAGRAM_BYTES_MAX, Datagram, DatagramSink, Datagrams};
use bytes::Bytes;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Weak};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::mpsc;

/// Datagrams on their way out of one flow; one more is dropped.
const OUTGOING_DATAGRAMS_MAX: usize = 64;

/// Connects to a real `address`, and gives the guest's end: it comes from `source` and talks to
/// `destination`, whatever the real addresses are.
pub(crate) async fn connect(
    address: SocketAddr,
    source: SocketAddr,
    destination: SocketAddr,
) -> io::Result<VStream> {
    let real = TcpStream::connect(address).await?;
    let (near, far) = VStream::pair(source, destination);
    tokio::spawn(splice(real, far));
    Ok(near)
}

/// Splices in a task of its own, which ends with either side.
pub(crate) fn detached(real: TcpStream, stream: VStream) {
    tokio::spawn(splice(real, stream));
}

/// Copies in both directions until both are at their end or one is cut; a cut is passed on as one.
pub async fn splice(mut real: TcpStream, mut stream: VStream) {
    if let Err(error) = real.set_nodelay(true) {
        tracing::debug!(%error, "set TCP_NODELAY on a spliced connection");
    }
    if tokio::io::copy_bidirectional(&mut real, &mut stream).await.is_err() {
        stream.reset();
        if let Err(error) = real.set_zero_linger() {
            tracing::debug!(%error, "set SO_LINGER on a cut connection");
        }
    }
}

struct Outgoing(mpsc::Sender<Bytes>);

impl DatagramSink for Outgoing {
    fn send(&self, data: Bytes) -> bool {
        match self.0.try_send(data) {
            Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }
}

/// Opens a flow to a real `address`; what comes back enters `queue` as from `destination`.
pub(crate) fn datagrams(
    address: SocketAddr,
    destination: SocketAddr,
    queue: Weak<Datagrams>,
) -> io::Result<Arc<dyn DatagramSink>> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = std::net::UdpSocket::bind(any)?;
    socket.set_nonblocking(true)?;
    socket.connect(address)?;
    let socket = UdpSocket::from_std(socket)?;
    let (sender, receiver) = mpsc::channel(OUTGOING_DATAGRAMS_MAX);
    tokio::spawn(exchange(socket, destination, queue, receiver));
    Ok(Arc::new(Outgoing(sender)))
}

/// Moves datagrams both ways until the guest's socket is gone or nothing moved for 30 s.
async fn exchange(
    socket: UdpSocket,
    destination: SocketAddr,
    queue: Weak<Datagrams>,
    mut outgoing: mpsc::Receiver<Bytes>,
) {
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let sent = tokio::select! {
            data = outgoing.recv() => match data {
                Some(data) => socket.send(&data).await,
                None => return,
            },
            received = socket.recv(&mut buffer) => received.inspect(|&length| {
                let data = Bytes::copy_from_slice(&buffer[..length]);
                if let Some(queue) = queue.upgrade() {
                    queue.push(Datagram { data, source: destination, reply: None });
                }
            }),
            () = tokio::time::sleep(FLOW_IDLE_MAX) => return,
        };
        if let Err(error) = sent {
            tracing::debug!(%error, %destination, "a real UDP flow reported an error");
        }
    }
}
