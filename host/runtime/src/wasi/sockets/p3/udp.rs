//! `wasi:sockets/types.udp-socket`.
//!
//! An edge: receiving waits for a datagram.

use super::super::address::Family;
use super::super::options::{self, Options};
use super::super::{Net, NetCtx, NetState};
use super::{ErrorCode, SocketError, SocketResult, told};
use crate::wasi::{ours, ours_owned};
use bytes::Bytes;
use coracle_vnet::{DATAGRAM_BYTES_MAX, UdpSocket};
use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use tokio::sync::Mutex;
use wasmtime::component::{Accessor, Resource, ResourceTable};
use wasmtime_wasi::p3::bindings::sockets::types::{
    HostUdpSocket, HostUdpSocketWithStore, IpAddressFamily, IpSocketAddress, UdpSocket as Theirs,
};

/// A socket as 0.3 sees it.
struct Entry {
    family: Family,
    bound: Option<Arc<Bound>>,
    peer: Option<SocketAddr>,
    options: Options,
}

/// A socket with a port.
struct Bound {
    socket: UdpSocket,
    /// A guest may wait for datagrams more than once at a time; one call after the other does.
    turn: Mutex<()>,
}

impl Entry {
    fn bind(&mut self, net: &NetState, address: SocketAddr) -> io::Result<()> {
        if self.bound.is_some() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        self.family.check(address)?;
        let socket = net.ns.bind_udp(address)?;
        self.bound = Some(Arc::new(Bound { socket, turn: Mutex::default() }));
        Ok(())
    }

    /// The port, any free one when none was taken before.
    fn bound(&mut self, net: &NetState) -> io::Result<Arc<Bound>> {
        if let Some(bound) = &self.bound {
            return Ok(bound.clone());
        }
        let any = match self.family {
            Family::V4 => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            Family::V6 => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        self.bind(net, any)?;
        self.bound.clone().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Where a datagram goes: what the call says, or the peer, and both when they are the same.
    fn destination(&self, asked: Option<SocketAddr>) -> io::Result<SocketAddr> {
        let destination = match (asked, self.peer) {
            (Some(asked), Some(peer)) if asked != peer => None,
            (asked, peer) => asked.or(peer),
        };
        let destination = destination.ok_or(io::ErrorKind::InvalidInput)?;
        self.family.check_remote(destination)?;
        Ok(destination)
    }
}

fn entry<'a>(table: &'a ResourceTable, socket: &Resource<Theirs>) -> SocketResult<&'a Entry> {
    table.get(&ours(socket)).map_err(SocketError::trap)
}

fn entry_mut<'a>(
    table: &'a mut ResourceTable,
    socket: &Resource<Theirs>,
) -> SocketResult<&'a mut Entry> {
    table.get_mut(&ours(socket)).map_err(SocketError::trap)
}

impl<T> HostUdpSocketWithStore<T> for Net {
    async fn send(
        store: &Accessor<T, Self>,
        socket: Resource<Theirs>,
        data: Vec<u8>,
        remote_address: Option<IpSocketAddress>,
    ) -> SocketResult<()> {
        store.with(|mut access| {
            let NetCtx { net, table } = access.get();
            let entry = entry_mut(table, &socket)?;
            let destination = told(entry.destination(remote_address.map(SocketAddr::from)))?;
            if data.len() > DATAGRAM_BYTES_MAX {
                return Err(ErrorCode::DatagramTooLarge.into());
            }
            let bound = told(entry.bound(net))?;
            told(bound.socket.send(destination, Bytes::from(data)))
        })
    }

    async fn receive(
        store: &Accessor<T, Self>,
        socket: Resource<Theirs>,
    ) -> SocketResult<(Vec<u8>, IpSocketAddress)> {
        let bound = store.with(|mut access| {
            let bound = entry(access.get().table, &socket)?.bound.clone();
            bound.ok_or_else(|| SocketError::from(ErrorCode::InvalidState))
        })?;
        let _turn = bound.turn.lock().await;
        loop {
            poll_fn(|cx| bound.socket.poll_readable(cx)).await;
            let Some(datagram) = told(bound.socket.try_recv())? else { continue };
            // The peer may have been changed while this waited.
            let peer = store.with(|mut access| {
                Ok::<_, SocketError>(entry(access.get().table, &socket)?.peer)
            })?;
            if peer.is_none_or(|peer| peer == datagram.source) {
                return Ok((datagram.data.into(), datagram.source.into()));
            }
        }
    }
}

impl HostUdpSocket for NetCtx<'_> {
    async fn bind(
        &mut self,
        socket: Resource<Theirs>,
        local_address: IpSocketAddress,
    ) -> SocketResult<()> {
        told(entry_mut(self.table, &socket)?.bind(self.net, local_address.into()))
    }

    async fn connect(
        &mut self,
        socket: Resource<Theirs>,
        remote_address: IpSocketAddress,
    ) -> SocketResult<()> {
        let peer = SocketAddr::from(remote_address);
        let entry = entry_mut(self.table, &socket)?;
        told(entry.family.check_remote(peer))?;
        told(entry.bound(self.net))?;
        entry.peer = Some(peer);
        Ok(())
    }

    async fn create(&mut self, address_family: IpAddressFamily) -> SocketResult<Resource<Theirs>> {
        let (family, options) = (address_family.into(), Options::default());
        let entry = Entry { family, bound: None, peer: None, options };
        Ok(ours_owned(self.table.push(entry).map_err(SocketError::trap)?))
    }

    fn disconnect(&mut self, socket: Resource<Theirs>) -> SocketResult<()> {
        let peer = entry_mut(self.table, &socket)?.peer.take();
        peer.map(|_| ()).ok_or_else(|| ErrorCode::InvalidState.into())
    }

    fn get_local_address(&mut self, socket: Resource<Theirs>) -> SocketResult<IpSocketAddress> {
        let bound = entry(self.table, &socket)?.bound.as_ref();
        Ok(bound.ok_or(ErrorCode::InvalidState)?.socket.local_addr().into())
    }

    fn get_remote_address(&mut self, socket: Resource<Theirs>) -> SocketResult<IpSocketAddress> {
        Ok(entry(self.table, &socket)?.peer.ok_or(ErrorCode::InvalidState)?.into())
    }

    fn get_address_family(
        &mut self,
        socket: Resource<Theirs>,
    ) -> wasmtime::Result<IpAddressFamily> {
        Ok(self.table.get(&ours::<Entry, _>(&socket))?.family.into())
    }

    fn get_unicast_hop_limit(&mut self, socket: Resource<Theirs>) -> SocketResult<u8> {
        Ok(entry(self.table, &socket)?.options.hop_limit)
    }

    fn set_unicast_hop_limit(&mut self, socket: Resource<Theirs>, value: u8) -> SocketResult<()> {
        told(options::set(&mut entry_mut(self.table, &socket)?.options.hop_limit, value))
    }

    fn get_receive_buffer_size(&mut self, socket: Resource<Theirs>) -> SocketResult<u64> {
        Ok(entry(self.table, &socket)?.options.receive_buffer)
    }

    fn set_receive_buffer_size(
        &mut self,
        socket: Resource<Theirs>,
        value: u64,
    ) -> SocketResult<()> {
        told(options::set(&mut entry_mut(self.table, &socket)?.options.receive_buffer, value))
    }

    fn get_send_buffer_size(&mut self, socket: Resource<Theirs>) -> SocketResult<u64> {
        Ok(entry(self.table, &socket)?.options.send_buffer)
    }

    fn set_send_buffer_size(&mut self, socket: Resource<Theirs>, value: u64) -> SocketResult<()> {
        told(options::set(&mut entry_mut(self.table, &socket)?.options.send_buffer, value))
    }

    fn drop(&mut self, socket: Resource<Theirs>) -> wasmtime::Result<()> {
        self.table.delete(ours_owned::<Entry, _>(socket))?;
        Ok(())
    }
}
