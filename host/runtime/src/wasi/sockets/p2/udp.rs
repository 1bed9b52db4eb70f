//! `wasi:sockets/udp` and `udp-create-socket`.

use super::super::NetCtx;
use super::super::address::Family;
use super::super::options::{self, Options};
use super::{SocketError, told, unfinished};
use crate::stdio::Interrupts;
use crate::wasi::{ours, ours_owned};
use bytes::Bytes;
use coracle_vnet::{DATAGRAM_BYTES_MAX, UdpSocket};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::bindings::sockets::network::{
    ErrorCode, IpAddressFamily, IpSocketAddress, Network,
};
use wasmtime_wasi::p2::bindings::sockets::udp::{
    self, IncomingDatagram, IncomingDatagramStream, OutgoingDatagram, OutgoingDatagramStream,
};
use wasmtime_wasi::p2::bindings::sockets::udp_create_socket;
use wasmtime_wasi::p2::{DynPollable, Pollable, SocketResult, subscribe};

type Theirs = wasmtime_wasi::p2::UdpSocket;
type Streams = (Resource<IncomingDatagramStream>, Resource<OutgoingDatagramStream>);

/// Datagrams of one call.
const CALL_DATAGRAMS_MAX: usize = 16;

/// Bytes given to the guest in one call, in bytes.
const CALL_BYTES_MAX: usize = 64 * 1024;

/// A socket as 0.2 sees it.
struct Entry {
    family: Family,
    socket: Option<Arc<UdpSocket>>,
    peer: Option<SocketAddr>,
    binding: bool,
    options: Options,
}

impl Entry {
    fn bound(&self) -> SocketResult<&Arc<UdpSocket>> {
        self.socket.as_ref().ok_or_else(|| ErrorCode::InvalidState.into())
    }
}

struct Incoming {
    socket: Arc<UdpSocket>,
    peer: Option<SocketAddr>,
    interrupts: Interrupts,
}

struct Outgoing {
    socket: Arc<UdpSocket>,
    family: Family,
    peer: Option<SocketAddr>,
    permitted: usize,
}

impl Outgoing {
    fn send(&self, datagram: OutgoingDatagram) -> SocketResult<()> {
        let asked = datagram.remote_address.map(SocketAddr::from);
        let destination = match (asked, self.peer) {
            (Some(asked), Some(peer)) if asked != peer => None,
            (asked, peer) => asked.or(peer),
        };
        let destination = destination.ok_or(ErrorCode::InvalidArgument)?;
        told(self.family.check_remote(destination))?;
        if datagram.data.len() > DATAGRAM_BYTES_MAX {
            return Err(ErrorCode::DatagramTooLarge.into());
        }
        told(self.socket.send(destination, Bytes::from(datagram.data)))
    }
}

impl NetCtx<'_> {
    fn udp(&self, socket: &Resource<Theirs>) -> SocketResult<&Entry> {
        Ok(self.table.get(&ours(socket))?)
    }

    fn has_streams(&self, socket: &Resource<Entry>) -> SocketResult<bool> {
        let mut children = self.table.iter_children(socket)?;
        Ok(children.any(|child| child.is::<Incoming>() || child.is::<Outgoing>()))
    }

    fn udp_mut(&mut self, socket: &Resource<Theirs>) -> SocketResult<&mut Entry> {
        Ok(self.table.get_mut(&ours(socket))?)
    }
}

impl udp_create_socket::Host for NetCtx<'_> {
    async fn create_udp_socket(
        &mut self,
        family: IpAddressFamily,
    ) -> SocketResult<Resource<Theirs>> {
        let family = family.into();
        let options = Options::default();
        let entry = Entry { family, socket: None, peer: None, binding: false, options };
        Ok(ours_owned(self.table.push(entry)?))
    }
}

impl udp::Host for NetCtx<'_> {}

impl udp::HostUdpSocket for NetCtx<'_> {
    async fn start_bind(
        &mut self,
        socket: Resource<Theirs>,
        network: Resource<Network>,
        address: IpSocketAddress,
    ) -> SocketResult<()> {
        self.check_grant(&network)?;
        let ns = self.net.ns.clone();
        let entry = self.udp_mut(&socket)?;
        if entry.binding {
            return Err(ErrorCode::ConcurrencyConflict.into());
        }
        if entry.socket.is_some() {
            return Err(ErrorCode::InvalidState.into());
        }
        let address = SocketAddr::from(address);
        told(entry.family.check(address))?;
        entry.socket = Some(Arc::new(told(ns.bind_udp(address))?));
        entry.binding = true;
        Ok(())
    }

    fn finish_bind(&mut self, socket: Resource<Theirs>) -> SocketResult<()> {
        let entry = self.udp_mut(&socket)?;
        if !std::mem::take(&mut entry.binding) {
            return Err(ErrorCode::NotInProgress.into());
        }
        Ok(())
    }

    async fn stream(
        &mut self,
        socket: Resource<Theirs>,
        remote_address: Option<IpSocketAddress>,
    ) -> SocketResult<Streams> {
        let parent = ours::<Entry, _>(&socket);
        if self.has_streams(&parent)? {
            let cause = wasmtime::format_err!("streams of a UDP socket must be dropped first");
            return Err(SocketError::trap(cause));
        }
        let entry = self.udp_mut(&socket)?;
        let bound = entry.bound()?.clone();
        let peer = remote_address.map(SocketAddr::from);
        if let Some(peer) = peer {
            told(entry.family.check_remote(peer))?;
        }
        entry.peer = peer;
        let family = entry.family;
        let interrupts = self.net.interrupts.clone();
        let incoming = Incoming { socket: bound.clone(), peer, interrupts };
        let outgoing = Outgoing { socket: bound, family, peer, permitted: 0 };
        let incoming = self.table.push_child(incoming, &parent)?;
        let outgoing = self.table.push_child(outgoing, &parent)?;
        Ok((ours_owned(incoming), ours_owned(outgoing)))
    }

    fn local_address(&mut self, socket: Resource<Theirs>) -> SocketResult<IpSocketAddress> {
        Ok(self.udp(&socket)?.bound()?.local_addr().into())
    }

    fn remote_address(&mut self, socket: Resource<Theirs>) -> SocketResult<IpSocketAddress> {
        Ok(self.udp(&socket)?.peer.ok_or(ErrorCode::InvalidState)?.into())
    }

    fn address_family(&mut self, socket: Resource<Theirs>) -> wasmtime::Result<IpAddressFamily> {
        Ok(self.table.get(&ours::<Entry, _>(&socket))?.family.into())
    }

    fn unicast_hop_limit(&mut self, socket: Resource<Theirs>) -> SocketResult<u8> {
        Ok(self.udp(&socket)?.options.hop_limit)
    }

    fn set_unicast_hop_limit(&mut self, socket: Resource<Theirs>, value: u8) -> SocketResult<()> {
        told(options::set(&mut self.udp_mut(&socket)?.options.hop_limit, value))
    }

    fn receive_buffer_size(&mut self, socket: Resource<Theirs>) -> SocketResult<u64> {
        Ok(self.udp(&socket)?.options.receive_buffer)
    }

    fn set_receive_buffer_size(
        &mut self,
        socket: Resource<Theirs>,
        value: u64,
    ) -> SocketResult<()> {
        told(options::set(&mut self.udp_mut(&socket)?.options.receive_buffer, value))
    }

    fn send_buffer_size(&mut self, socket: Resource<Theirs>) -> SocketResult<u64> {
        Ok(self.udp(&socket)?.options.send_buffer)
    }

    fn set_send_buffer_size(&mut self, socket: Resource<Theirs>, value: u64) -> SocketResult<()> {
        told(options::set(&mut self.udp_mut(&socket)?.options.send_buffer, value))
    }

    fn subscribe(&mut self, socket: Resource<Theirs>) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.table, ours::<Entry, _>(&socket))
    }

    fn drop(&mut self, socket: Resource<Theirs>) -> wasmtime::Result<()> {
        self.table.delete(ours_owned::<Entry, _>(socket))?;
        Ok(())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Entry {
    /// No call on a socket waits; its streams do.
    async fn ready(&mut self) {}
}

impl udp::HostIncomingDatagramStream for NetCtx<'_> {
    fn receive(
        &mut self,
        stream: Resource<IncomingDatagramStream>,
        max_results: u64,
    ) -> SocketResult<Vec<IncomingDatagram>> {
        let incoming = self.table.get(&ours::<Incoming, _>(&stream))?;
        let count_max = usize::try_from(max_results).unwrap_or(usize::MAX).min(CALL_DATAGRAMS_MAX);
        let (mut received, mut bytes) = (Vec::new(), 0);
        while received.len() < count_max && bytes < CALL_BYTES_MAX {
            let datagram = match incoming.socket.try_recv() {
                Ok(None) => break,
                Err(_) if !received.is_empty() => break,
                result => told(result)?,
            };
            let Some(datagram) = datagram else { break };
            if incoming.peer.is_some_and(|peer| peer != datagram.source) {
                continue;
            }
            bytes += datagram.data.len();
            let remote_address = datagram.source.into();
            received.push(IncomingDatagram { data: datagram.data.into(), remote_address });
        }
        if received.is_empty() && incoming.interrupts.is_there() {
            return Err(unfinished(&incoming.interrupts).into());
        }
        Ok(received)
    }

    fn subscribe(
        &mut self,
        stream: Resource<IncomingDatagramStream>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.table, ours::<Incoming, _>(&stream))
    }

    fn drop(&mut self, stream: Resource<IncomingDatagramStream>) -> wasmtime::Result<()> {
        self.table.delete(ours_owned::<Incoming, _>(stream))?;
        Ok(())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Incoming {
    async fn ready(&mut self) {
        self.interrupts.or(poll_fn(|context| self.socket.poll_readable(context))).await;
    }
}

impl udp::HostOutgoingDatagramStream for NetCtx<'_> {
    fn check_send(&mut self, stream: Resource<OutgoingDatagramStream>) -> SocketResult<u64> {
        let outgoing = self.table.get_mut(&ours::<Outgoing, _>(&stream))?;
        outgoing.permitted = CALL_DATAGRAMS_MAX;
        Ok(CALL_DATAGRAMS_MAX as u64)
    }

    fn send(
        &mut self,
        stream: Resource<OutgoingDatagramStream>,
        datagrams: Vec<OutgoingDatagram>,
    ) -> SocketResult<u64> {
        let outgoing = self.table.get_mut(&ours::<Outgoing, _>(&stream))?;
        if datagrams.len() > std::mem::take(&mut outgoing.permitted) && !datagrams.is_empty() {
            let cause = wasmtime::format_err!("more datagrams than check-send permitted");
            return Err(SocketError::trap(cause));
        }
        let mut sent = 0;
        for datagram in datagrams {
            match outgoing.send(datagram) {
                Ok(()) => sent += 1,
                Err(_) if sent > 0 => break,
                Err(failure) => return Err(failure),
            }
        }
        Ok(sent)
    }

    fn subscribe(
        &mut self,
        stream: Resource<OutgoingDatagramStream>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.table, ours::<Outgoing, _>(&stream))
    }

    async fn drop(&mut self, stream: Resource<OutgoingDatagramStream>) -> wasmtime::Result<()> {
        self.table.delete(ours_owned::<Outgoing, _>(stream))?;
        Ok(())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Outgoing {
    /// Sending never waits: what nobody takes is lost.
    async fn ready(&mut self) {}
}
