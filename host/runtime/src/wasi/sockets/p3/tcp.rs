//! `wasi:sockets/types.tcp-socket`.
//!
//! An edge: connecting waits for the other end.

use super::super::options::{self, Options};
use super::super::tcp_socket::TcpSocket;
use super::super::{Net, NetCtx};
use super::streams::{Accepts, Incoming, Outgoing};
use super::{ErrorCode, SocketError, SocketResult, told};
use crate::wasi::{ours, ours_owned};
use coracle_vnet::VStream;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::oneshot;
use wasmtime::component::{Access, Accessor, FutureReader, Resource, ResourceTable, StreamReader};
use wasmtime_wasi::p3::bindings::sockets::types::{
    Duration, HostTcpSocket, HostTcpSocketWithStore, IpAddressFamily, IpSocketAddress,
    TcpSocket as Theirs,
};

/// Most connections that a guest may ask a backlog to hold; the network bounds it further.
const BACKLOG_MAX: u64 = 65_536;

/// A socket as 0.3 sees it.
pub(super) struct Entry {
    socket: TcpSocket,
    /// Each direction can be taken once.
    is_sending: bool,
    is_receiving: bool,
}

/// How a direction of a connection ends.
type Ending = FutureReader<Result<(), ErrorCode>>;

impl Entry {
    pub(super) fn new(socket: TcpSocket) -> Entry {
        Entry { socket, is_sending: false, is_receiving: false }
    }

    fn take_sending(&mut self) -> io::Result<Arc<VStream>> {
        let stream = self.socket.stream()?.clone();
        take(&mut self.is_sending).map(|()| stream)
    }

    fn take_receiving(&mut self) -> io::Result<Arc<VStream>> {
        let stream = self.socket.stream()?.clone();
        take(&mut self.is_receiving).map(|()| stream)
    }
}

/// Takes what can be taken once.
fn take(taken: &mut bool) -> io::Result<()> {
    if std::mem::replace(taken, true) {
        return Err(io::ErrorKind::NotConnected.into());
    }
    Ok(())
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

/// What a call on a socket that cannot do it leaves behind: nothing but its error.
fn failed(result: io::Result<Arc<VStream>>) -> Result<Arc<VStream>, ErrorCode> {
    result.map_err(|failure| super::code(&failure))
}

impl<T: Send> HostTcpSocketWithStore<T> for Net {
    async fn connect(
        store: &Accessor<T, Self>,
        socket: Resource<Theirs>,
        remote_address: IpSocketAddress,
    ) -> SocketResult<()> {
        store.with(|mut access| {
            let NetCtx { net, table } = access.get();
            told(entry_mut(table, &socket)?.socket.connect(net, remote_address.into()))
        })?;
        poll_fn(|cx| {
            store.with(|mut access| {
                let entry = entry_mut(access.get().table, &socket)?;
                entry.socket.poll_connect(cx).map(Ok::<(), SocketError>)
            })
        })
        .await?;
        store.with(|mut access| {
            let entry = entry_mut(access.get().table, &socket)?;
            told(entry.socket.finish_connect()).map(|_stream| ())
        })
    }

    async fn listen(
        mut store: Access<'_, T, Self>,
        socket: Resource<Theirs>,
    ) -> SocketResult<StreamReader<Resource<Theirs>>> {
        let getter = store.getter();
        let NetCtx { net, table } = store.get();
        let socket = &mut entry_mut(table, &socket)?.socket;
        told(socket.bind_any(net))?;
        told(socket.listen(net))?;
        let listener = told(socket.listener())?.clone();
        let (family, options) = (socket.family, socket.options.clone());
        let accepts = Accepts { listener, family, options, getter };
        StreamReader::new(&mut store, accepts).map_err(SocketError::trap)
    }

    fn send(
        mut store: Access<'_, T, Self>,
        socket: Resource<Theirs>,
        mut data: StreamReader<u8>,
    ) -> wasmtime::Result<Ending> {
        let entry: &mut Entry = store.get().table.get_mut(&ours(&socket))?;
        match failed(entry.take_sending()) {
            Ok(stream) => {
                let (told, ending) = oneshot::channel();
                data.pipe(&mut store, Outgoing::new(stream, told))?;
                FutureReader::new(&mut store, ending)
            }
            Err(code) => {
                data.close(&mut store)?;
                FutureReader::new(&mut store, async { wasmtime::error::Ok(Err(code)) })
            }
        }
    }

    fn receive(
        mut store: Access<'_, T, Self>,
        socket: Resource<Theirs>,
    ) -> wasmtime::Result<(StreamReader<u8>, Ending)> {
        let entry: &mut Entry = store.get().table.get_mut(&ours(&socket))?;
        match failed(entry.take_receiving()) {
            Ok(stream) => {
                let (told, ending) = oneshot::channel();
                let data = StreamReader::new(&mut store, Incoming::new(stream, told))?;
                Ok((data, FutureReader::new(&mut store, ending)?))
            }
            Err(code) => {
                let data = StreamReader::new(&mut store, std::iter::empty())?;
                let ending = async { wasmtime::error::Ok(Err(code)) };
                Ok((data, FutureReader::new(&mut store, ending)?))
            }
        }
    }
}

impl NetCtx<'_> {
    fn tcp_options(&self, socket: &Resource<Theirs>) -> SocketResult<&Options> {
        Ok(&entry(self.table, socket)?.socket.options)
    }

    fn set_tcp(
        &mut self,
        socket: &Resource<Theirs>,
        change: impl FnOnce(&mut Options) -> io::Result<()>,
    ) -> SocketResult<()> {
        told(change(&mut entry_mut(self.table, socket)?.socket.options))
    }
}

impl HostTcpSocket for NetCtx<'_> {
    async fn bind(
        &mut self,
        socket: Resource<Theirs>,
        local_address: IpSocketAddress,
    ) -> SocketResult<()> {
        let address = SocketAddr::from(local_address);
        told(entry_mut(self.table, &socket)?.socket.bind(self.net, address))
    }

    fn create(&mut self, address_family: IpAddressFamily) -> SocketResult<Resource<Theirs>> {
        let entry = Entry::new(TcpSocket::new(address_family.into()));
        Ok(ours_owned(self.table.push(entry).map_err(SocketError::trap)?))
    }

    fn get_local_address(&mut self, socket: Resource<Theirs>) -> SocketResult<IpSocketAddress> {
        told(entry(self.table, &socket)?.socket.local_addr()).map(IpSocketAddress::from)
    }

    fn get_remote_address(&mut self, socket: Resource<Theirs>) -> SocketResult<IpSocketAddress> {
        Ok(told(entry(self.table, &socket)?.socket.stream())?.peer_addr().into())
    }

    fn get_is_listening(&mut self, socket: Resource<Theirs>) -> wasmtime::Result<bool> {
        Ok(self.table.get(&ours::<Entry, _>(&socket))?.socket.is_listening())
    }

    fn get_address_family(
        &mut self,
        socket: Resource<Theirs>,
    ) -> wasmtime::Result<IpAddressFamily> {
        Ok(self.table.get(&ours::<Entry, _>(&socket))?.socket.family.into())
    }

    fn set_listen_backlog_size(
        &mut self,
        socket: Resource<Theirs>,
        value: u64,
    ) -> SocketResult<()> {
        let entry = entry_mut(self.table, &socket)?;
        let value = usize::try_from(value.min(BACKLOG_MAX)).unwrap_or(usize::MAX);
        told(options::set(&mut entry.socket.backlog, value))
    }

    fn get_keep_alive_enabled(&mut self, socket: Resource<Theirs>) -> SocketResult<bool> {
        Ok(self.tcp_options(&socket)?.keep_alive)
    }

    fn set_keep_alive_enabled(
        &mut self,
        socket: Resource<Theirs>,
        value: bool,
    ) -> SocketResult<()> {
        self.set_tcp(&socket, |options| {
            options.keep_alive = value;
            Ok(())
        })
    }

    fn get_keep_alive_idle_time(&mut self, socket: Resource<Theirs>) -> SocketResult<Duration> {
        Ok(self.tcp_options(&socket)?.keep_alive_idle)
    }

    fn set_keep_alive_idle_time(
        &mut self,
        socket: Resource<Theirs>,
        value: Duration,
    ) -> SocketResult<()> {
        self.set_tcp(&socket, |options| options::set(&mut options.keep_alive_idle, value))
    }

    fn get_keep_alive_interval(&mut self, socket: Resource<Theirs>) -> SocketResult<Duration> {
        Ok(self.tcp_options(&socket)?.keep_alive_interval)
    }

    fn set_keep_alive_interval(
        &mut self,
        socket: Resource<Theirs>,
        value: Duration,
    ) -> SocketResult<()> {
        self.set_tcp(&socket, |options| options::set(&mut options.keep_alive_interval, value))
    }

    fn get_keep_alive_count(&mut self, socket: Resource<Theirs>) -> SocketResult<u32> {
        Ok(self.tcp_options(&socket)?.keep_alive_count)
    }

    fn set_keep_alive_count(&mut self, socket: Resource<Theirs>, value: u32) -> SocketResult<()> {
        self.set_tcp(&socket, |options| options::set(&mut options.keep_alive_count, value))
    }

    fn get_hop_limit(&mut self, socket: Resource<Theirs>) -> SocketResult<u8> {
        Ok(self.tcp_options(&socket)?.hop_limit)
    }

    fn set_hop_limit(&mut self, socket: Resource<Theirs>, value: u8) -> SocketResult<()> {
        self.set_tcp(&socket, |options| options::set(&mut options.hop_limit, value))
    }

    fn get_receive_buffer_size(&mut self, socket: Resource<Theirs>) -> SocketResult<u64> {
        Ok(self.tcp_options(&socket)?.receive_buffer)
    }

    fn set_receive_buffer_size(
        &mut self,
        socket: Resource<Theirs>,
        value: u64,
    ) -> SocketResult<()> {
        self.set_tcp(&socket, |options| options::set(&mut options.receive_buffer, value))
    }

    fn get_send_buffer_size(&mut self, socket: Resource<Theirs>) -> SocketResult<u64> {
        Ok(self.tcp_options(&socket)?.send_buffer)
    }

    fn set_send_buffer_size(&mut self, socket: Resource<Theirs>, value: u64) -> SocketResult<()> {
        self.set_tcp(&socket, |options| options::set(&mut options.send_buffer, value))
    }

    fn drop(&mut self, socket: Resource<Theirs>) -> wasmtime::Result<()> {
        self.table.delete(ours_owned::<Entry, _>(socket))?;
        Ok(())
    }
}
