//! UDP sockets of a namespace.

use crate::clock;
use crate::flows::{Flows, Known, Target};
use crate::netns::NetNs;
use crate::route::{Flow, Protocol, Route};
use crate::splice;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

/// The largest datagram, in bytes. *Source:* RFC 768 and RFC 791: 65,535 less both headers.
pub const DATAGRAM_BYTES_MAX: usize = 65_507;

/// Most bytes that wait at one socket, in bytes; further datagrams are dropped, as kernels do.
/// *Source:* near Linux `net.core.rmem_default`.
const QUEUE_BYTES_MAX: usize = 256 * 1024;

/// Most datagrams that wait at one socket, so that empty ones are bounded too.
const QUEUE_DATAGRAMS_MAX: usize = 1024;

/// Takes datagrams out of the fabric.
pub trait DatagramSink: Send + Sync {
    /// Sends one, without waiting; it may be lost. Says `false` when the way is closed for good.
    fn send(&self, data: Bytes) -> bool;
}

/// One datagram.
#[derive(Clone)]
pub struct Datagram {
    /// Its content.
    pub data: Bytes,
    /// Where it came from, as the receiver knows it.
    pub source: SocketAddr,
    /// The way back, when the source is not on the fabric.
    pub(crate) reply: Option<Arc<dyn DatagramSink>>,
}

impl fmt::Debug for Datagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Datagram({} bytes from {})", self.data.len(), self.source)
    }
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Datagram>,
    bytes: usize,
    closed: bool,
    waker: Option<Waker>,
}

/// The receive queue of one socket.
#[derive(Default)]
pub(crate) struct Datagrams(Mutex<Queue>);

impl Datagrams {
    /// Adds a datagram, or drops it when the queue is full.
    pub(crate) fn push(&self, datagram: Datagram) {
        let waker = {
            let mut queue = self.0.lock();
            let bytes = queue.bytes + datagram.data.len();
            if queue.closed || bytes > QUEUE_BYTES_MAX || queue.waiting.len() >= QUEUE_DATAGRAMS_MAX
            {
                return;
            }
            queue.bytes = bytes;
            queue.waiting.push_back(datagram);
            queue.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn pop(&self) -> io::Result<Option<Datagram>> {
        let mut queue = self.0.lock();
        let datagram = queue.waiting.pop_front();
        if datagram.is_none() && queue.closed {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        queue.bytes -= datagram.as_ref().map_or(0, |datagram| datagram.data.len());
        Ok(datagram)
    }

    fn poll_ready(&self, context: &Context<'_>) -> Poll<()> {
        let mut queue = self.0.lock();
        if queue.closed || !queue.waiting.is_empty() {
            return Poll::Ready(());
        }
        queue.waker = Some(context.waker().clone());
        Poll::Pending
    }

    pub(crate) fn close(&self) {
        let waker = {
            let mut queue = self.0.lock();
            queue.closed = true;
            queue.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The way back to a socket from another fabric.
struct Back {
    queue: Weak<Datagrams>,
    /// The address that the guest knows the other side by.
    asked: SocketAddr,
}

impl DatagramSink for Back {
    fn send(&self, data: Bytes) -> bool {
        let Some(queue) = self.queue.upgrade() else { return false };
        queue.push(Datagram { data, source: self.asked, reply: None });
        true
    }
}

/// A bound UDP socket. Its port is free on drop.
pub struct UdpSocket {
    ns: Arc<NetNs>,
    local: SocketAddr,
    queue: Arc<Datagrams>,
    flows: Mutex<Flows>,
}

impl UdpSocket {
    pub(crate) fn new(ns: Arc<NetNs>, local: SocketAddr, queue: Arc<Datagrams>) -> UdpSocket {
        UdpSocket { ns, local, queue, flows: Mutex::default() }
    }

    /// The address and port that it is bound to.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Sends one datagram, without waiting; it is lost when nobody takes it. A flow to one
    /// destination keeps the backend that the router chose until it was silent for 30 s.
    ///
    /// # Errors
    /// `InvalidInput` when it is too large or the address cannot be sent to, `NetworkUnreachable`,
    /// `HostUnreachable`, `ConnectionRefused` when the router refuses (the text says why).
    pub fn send(&self, destination: SocketAddr, data: Bytes) -> io::Result<()> {
        let bad_address = destination.port() == 0 || destination.ip().is_unspecified();
        if data.len() > DATAGRAM_BYTES_MAX || bad_address {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let ip = self.ns.source_ip(destination.ip(), self.local.ip())?;
        self.ns.traffic().send(data.len());
        let source = SocketAddr::new(ip, self.local.port());
        let datagram = Datagram { data, source, reply: None };
        if self.ns.is_own(destination.ip()) {
            self.ns.deliver_datagram(destination, datagram);
            return Ok(());
        }
        let fabric = self.ns.fabric()?;
        let (now, epoch) = (clock::now(), fabric.epoch());
        let known = self.flows.lock().find(destination, now, epoch);
        let known = match known {
            Some(Known::Current(target)) => Some(target),
            Some(Known::Outdated(backend)) => {
                let stays = fabric.stays(&self.flow(source, destination), backend);
                let mut flows = self.flows.lock();
                if stays {
                    flows.stay(destination, now, epoch)
                } else {
                    flows.forget(destination);
                    None
                }
            }
            None => None,
        };
        if known.is_some_and(|target| self.pass(&target, &datagram)) {
            return Ok(());
        }
        let (target, led_to) = self.route(destination, source)?;
        self.flows.lock().decide(destination, (target.clone(), led_to), now, epoch);
        if self.pass(&target, &datagram) {
            return Ok(());
        }
        self.flows.lock().forget(destination);
        Err(io::ErrorKind::HostUnreachable.into())
    }

    /// The next datagram, without waiting. Its source is the address that was asked, when it
    /// answers something that was sent.
    ///
    /// # Errors
    /// `ConnectionAborted` when the namespace has ended.
    pub fn try_recv(&self) -> io::Result<Option<Datagram>> {
        let Some(mut datagram) = self.queue.pop()? else { return Ok(None) };
        if !datagram.source.ip().is_loopback() {
            let reply = datagram.reply.take();
            datagram.source = self.flows.lock().answer(datagram.source, reply, clock::now());
        }
        Ok(Some(datagram))
    }

    /// Ready when [`UdpSocket::try_recv`] has a datagram or an error to give.
    pub fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.queue.poll_ready(context)
    }

    /// Passes it on; `false` when nothing is there any more.
    fn pass(&self, target: &Target, datagram: &Datagram) -> bool {
        match target {
            Target::Sink(sink) => sink.send(datagram.data.clone()),
            Target::Pod(address) => {
                let ns = self.ns.fabric().ok().and_then(|fabric| fabric.get(address.ip()));
                let Some(ns) = ns else { return false };
                ns.deliver_datagram(*address, datagram.clone());
                true
            }
        }
    }

    fn flow(&self, source: SocketAddr, destination: SocketAddr) -> Flow {
        let from = Some(self.ns.tag().clone());
        Flow { from, source, destination, protocol: Protocol::Udp }
    }

    /// Where a flow leads, and by which address.
    fn route(
        &self,
        destination: SocketAddr,
        source: SocketAddr,
    ) -> io::Result<(Target, SocketAddr)> {
        let fabric = self.ns.fabric()?;
        if let Some(uplink) = fabric.uplink() {
            return Ok((Target::Sink(uplink.datagrams(source, destination)), destination));
        }
        let flow = self.flow(source, destination);
        match fabric.route(&flow) {
            Route::Pod(address) => {
                let back = Back { queue: Arc::downgrade(&self.queue), asked: destination };
                let way = fabric.datagrams_beyond(&flow, address, Arc::new(back));
                Ok((way.map_or(Target::Pod(address), Target::Sink), address))
            }
            Route::Real(address) => {
                let sink = splice::datagrams(address, destination, Arc::downgrade(&self.queue))?;
                Ok((Target::Sink(sink), address))
            }
            Route::Refused(why) => Err(io::Error::new(io::ErrorKind::ConnectionRefused, why)),
        }
    }
}

impl Drop for UdpSocket {
    fn drop(&mut self) {
        self.ns.release_udp(self.local);
    }
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UdpSocket({} of {})", self.local, self.ns.tag())
    }
}
