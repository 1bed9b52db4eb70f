//! `wasi:sockets/tcp` and `tcp-create-socket`.

use super::super::options;
use super::super::tcp_socket::TcpSocket;
use super::super::{NetCtx, NetState};
use super::{streams, told, unfinished};
use crate::stdio::Interrupts;
use crate::wasi::{ours, ours_owned};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};
use wasmtime::component::Resource;
use wasmtime_wasi::p2::bindings::sockets::network::{
    ErrorCode, IpAddressFamily, IpSocketAddress, Network,
};
use wasmtime_wasi::p2::bindings::sockets::tcp::{self, ShutdownType};
use wasmtime_wasi::p2::bindings::sockets::tcp_create_socket;
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, DynPollable, Pollable, SocketResult, subscribe,
};

type Theirs = wasmtime_wasi::p2::TcpSocket;
type Streams = (Resource<DynInputStream>, Resource<DynOutputStream>);

/// Most connections that a guest may ask a backlog to hold; the network bounds it further.
const BACKLOG_MAX: u64 = 65_536;

/// The two-step calls of 0.2: `start-x` was called and `finish-x` not yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Bind,
    Connect,
    Listen,
}

/// A socket as 0.2 sees it.
struct Entry {
    socket: TcpSocket,
    step: Option<Step>,
    interrupts: Interrupts,
}

impl Entry {
    fn start(
        &mut self,
        step: Step,
        act: impl FnOnce(&mut TcpSocket) -> std::io::Result<()>,
    ) -> SocketResult<()> {
        if self.step.is_some() {
            return Err(ErrorCode::ConcurrencyConflict.into());
        }
        told(act(&mut self.socket))?;
        self.step = Some(step);
        Ok(())
    }

    fn check(&self, step: Step) -> SocketResult<()> {
        if self.step == Some(step) { Ok(()) } else { Err(ErrorCode::NotInProgress.into()) }
    }

    fn finish(&mut self, step: Step) -> SocketResult<()> {
        self.check(step)?;
        self.step = None;
        Ok(())
    }
}

impl NetCtx<'_> {
    fn entry(&self, socket: &Resource<Theirs>) -> SocketResult<&Entry> {
        Ok(self.table.get(&ours(socket))?)
    }

    fn entry_mut(
        &mut self,
        socket: &Resource<Theirs>,
    ) -> SocketResult<(&mut Entry, &mut NetState)> {
        Ok((self.table.get_mut(&ours(socket))?, self.net))
    }

    fn set(
        &mut self,
        socket: &Resource<Theirs>,
        change: impl FnOnce(&mut options::Options) -> std::io::Result<()>,
    ) -> SocketResult<()> {
        told(change(&mut self.entry_mut(socket)?.0.socket.options))
    }
}

impl tcp_create_socket::Host for NetCtx<'_> {
    fn create_tcp_socket(&mut self, family: IpAddressFamily) -> SocketResult<Resource<Theirs>> {
        let interrupts = self.net.interrupts.clone();
        let entry = Entry { socket: TcpSocket::new(family.into()), step: None, interrupts };
        Ok(ours_owned(self.table.push(entry)?))
    }
}

impl tcp::Host for NetCtx<'_> {}

impl tcp::HostTcpSocket for NetCtx<'_> {
    async fn start_bind(
        &mut self,
        socket: Resource<Theirs>,
        network: Resource<Network>,
        address: IpSocketAddress,
    ) -> SocketResult<()> {
        self.check_grant(&network)?;
        let (entry, net) = self.entry_mut(&socket)?;
        entry.start(Step::Bind, |socket| socket.bind(net, SocketAddr::from(address)))
    }

    fn finish_bind(&mut self, socket: Resource<Theirs>) -> SocketResult<()> {
        self.entry_mut(&socket)?.0.finish(Step::Bind)
    }

    fn start_connect(
        &mut self,
        socket: Resource<Theirs>,
        network: Resource<Network>,
        address: IpSocketAddress,
    ) -> SocketResult<()> {
        self.check_grant(&network)?;
        let (entry, net) = self.entry_mut(&socket)?;
        entry.start(Step::Connect, |socket| socket.connect(net, SocketAddr::from(address)))
    }

    fn finish_connect(&mut self, socket: Resource<Theirs>) -> SocketResult<Streams> {
        let (entry, _) = self.entry_mut(&socket)?;
        entry.check(Step::Connect)?;
        if entry.socket.poll_connect(&mut Context::from_waker(Waker::noop())).is_pending() {
            return Err(unfinished(&entry.interrupts).into());
        }
        entry.finish(Step::Connect)?;
        let interrupts = entry.interrupts.clone();
        let (input, output) = streams::pair(told(entry.socket.finish_connect())?, &interrupts);
        let parent = ours::<Entry, _>(&socket);
        let input = self.table.push_child(input, &parent)?;
        Ok((input, self.table.push_child(output, &parent)?))
    }

    async fn start_listen(&mut self, socket: Resource<Theirs>) -> SocketResult<()> {
        let (entry, net) = self.entry_mut(&socket)?;
        entry.start(Step::Listen, |socket| socket.listen(net))
    }

    fn finish_listen(&mut self, socket: Resource<Theirs>) -> SocketResult<()> {
        self.entry_mut(&socket)?.0.finish(Step::Listen)
    }

    fn accept(
        &mut self,
        socket: Resource<Theirs>,
    ) -> SocketResult<(Resource<Theirs>, Resource<DynInputStream>, Resource<DynOutputStream>)> {
        let Entry { socket: listening, interrupts, .. } = self.entry(&socket)?;
        let polled = listening.poll_accept(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(accepted) = polled else { return Err(unfinished(interrupts).into()) };
        let interrupts = interrupts.clone();
        let (socket, stream) = told(accepted)?;
        let (input, output) = streams::pair(stream, &interrupts);
        let socket = self.table.push(Entry { socket, step: None, interrupts })?;
        let input = self.table.push_child(input, &socket)?;
        let output = self.table.push_child(output, &socket)?;
        Ok((ours_owned(socket), input, output))
    }

    fn local_address(&mut self, socket: Resource<Theirs>) -> SocketResult<IpSocketAddress> {
        Ok(told(self.entry(&socket)?.socket.local_addr())?.into())
    }

    fn remote_address(&mut self, socket: Resource<Theirs>) -> SocketResult<IpSocketAddress> {
        Ok(told(self.entry(&socket)?.socket.stream())?.peer_addr().into())
    }

    fn is_listening(&mut self, socket: Resource<Theirs>) -> wasmtime::Result<bool> {
        Ok(self.table.get(&ours::<Entry, _>(&socket))?.socket.is_listening())
    }

    fn address_family(&mut self, socket: Resource<Theirs>) -> wasmtime::Result<IpAddressFamily> {
        Ok(self.table.get(&ours::<Entry, _>(&socket))?.socket.family.into())
    }

    fn set_listen_backlog_size(
        &mut self,
        socket: Resource<Theirs>,
        value: u64,
    ) -> SocketResult<()> {
        let (entry, _) = self.entry_mut(&socket)?;
        let value = usize::try_from(value.min(BACKLOG_MAX)).unwrap_or(usize::MAX);
        told(options::set(&mut entry.socket.backlog, value))
    }

    fn keep_alive_enabled(&mut self, socket: Resource<Theirs>) -> SocketResult<bool> {
        Ok(self.entry(&socket)?.socket.options.keep_alive)
    }

    fn set_keep_alive_enabled(
        &mut self,
        socket: Resource<Theirs>,
        value: bool,
    ) -> SocketResult<()> {
        self.entry_mut(&socket)?.0.socket.options.keep_alive = value;
        Ok(())
    }

    fn keep_alive_idle_time(&mut self, socket: Resource<Theirs>) -> SocketResult<u64> {
        Ok(self.entry(&socket)?.socket.options.keep_alive_idle)
    }

    fn set_keep_alive_idle_time(
        &mut self,
        socket: Resource<Theirs>,
        value: u64,
    ) -> SocketResult<()> {
        self.set(&socket, |options| options::set(&mut options.keep_alive_idle, value))
    }

    fn keep_alive_interval(&mut self, socket: Resource<Theirs>) -> SocketResult<u64> {
        Ok(self.entry(&socket)?.socket.options.keep_alive_interval)
    }

    fn set_keep_alive_interval(
        &mut self,
        socket: Resource<Theirs>,
        value: u64,
    ) -> SocketResult<()> {
        self.set(&socket, |options| options::set(&mut options.keep_alive_interval, value))
    }

    fn keep_alive_count(&mut self, socket: Resource<Theirs>) -> SocketResult<u32> {
        Ok(self.entry(&socket)?.socket.options.keep_alive_count)
    }

    fn set_keep_alive_count(&mut self, socket: Resource<Theirs>, value: u32) -> SocketResult<()> {
        self.set(&socket, |options| options::set(&mut options.keep_alive_count, value))
    }

    fn hop_limit(&mut self, socket: Resource<Theirs>) -> SocketResult<u8> {
        Ok(self.entry(&socket)?.socket.options.hop_limit)
    }

    fn set_hop_limit(&mut self, socket: Resource<Theirs>, value: u8) -> SocketResult<()> {
        self.set(&socket, |options| options::set(&mut options.hop_limit, value))
    }

    fn receive_buffer_size(&mut self, socket: Resource<Theirs>) -> SocketResult<u64> {
        Ok(self.entry(&socket)?.socket.options.receive_buffer)
    }

    fn set_receive_buffer_size(
        &mut self,
        socket: Resource<Theirs>,
        value: u64,
    ) -> SocketResult<()> {
        self.set(&socket, |options| options::set(&mut options.receive_buffer, value))
    }

    fn send_buffer_size(&mut self, socket: Resource<Theirs>) -> SocketResult<u64> {
        Ok(self.entry(&socket)?.socket.options.send_buffer)
    }

    fn set_send_buffer_size(&mut self, socket: Resource<Theirs>, value: u64) -> SocketResult<()> {
        self.set(&socket, |options| options::set(&mut options.send_buffer, value))
    }

    fn subscribe(&mut self, socket: Resource<Theirs>) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.table, ours::<Entry, _>(&socket))
    }

    fn shutdown(&mut self, socket: Resource<Theirs>, how: ShutdownType) -> SocketResult<()> {
        told(self.entry(&socket)?.socket.stream())?.shutdown(how.into());
        Ok(())
    }

    fn drop(&mut self, socket: Resource<Theirs>) -> wasmtime::Result<()> {
        self.table.delete(ours_owned::<Entry, _>(socket))?;
        Ok(())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Entry {
    async fn ready(&mut self) {
        let Self { socket, step, interrupts } = self;
        match step {
            Some(Step::Connect) => {
                interrupts.or(poll_fn(|context| socket.poll_connect(context))).await;
            }
            Some(Step::Bind | Step::Listen) => {}
            None => interrupts.or(poll_fn(|context| socket.poll_accept_ready(context))).await,
        }
    }
}
