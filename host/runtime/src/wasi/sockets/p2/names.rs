//! `wasi:sockets/ip-name-lookup`.

use super::super::NetCtx;
use super::super::error::lookup_code;
use crate::stdio::Interrupts;
use crate::wasi::{ours, ours_owned};
use coracle_vnet::{BoxFuture, ResolveError};
use std::future::poll_fn;
use std::net::IpAddr;
use std::task::{Context, Poll, Waker, ready};
use wasmtime::component::Resource;
use wasmtime_wasi::p2::bindings::sockets::ip_name_lookup::{
    Host, HostResolveAddressStream, ResolveAddressStream,
};
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddress, Network};
use wasmtime_wasi::p2::{DynPollable, Pollable, SocketResult, subscribe};

/// One lookup, and what lets go who waits for it.
struct Lookup {
    state: State,
    interrupts: Interrupts,
}

/// One lookup on its way.
enum State {
    Waiting(BoxFuture<'static, Result<Vec<IpAddr>, ResolveError>>),
    Done(Result<std::vec::IntoIter<IpAddr>, ErrorCode>),
}

impl State {
    fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<&mut Result<std::vec::IntoIter<IpAddr>, ErrorCode>> {
        if let State::Waiting(answer) = self {
            let answer = ready!(answer.as_mut().poll(context));
            *self =
                State::Done(answer.map(Vec::into_iter).map_err(|failure| lookup_code(&failure)));
        }
        match self {
            State::Done(result) => Poll::Ready(result),
            State::Waiting(_) => Poll::Pending,
        }
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Lookup {
    async fn ready(&mut self) {
        let Self { state, interrupts } = self;
        interrupts.or(poll_fn(|context| state.poll(context).map(|_| ()))).await;
    }
}

impl Host for NetCtx<'_> {
    fn resolve_addresses(
        &mut self,
        network: Resource<Network>,
        name: String,
    ) -> SocketResult<Resource<ResolveAddressStream>> {
        self.check_grant(&network)?;
        let mut state = State::Waiting(self.net.ns.resolve(&name));
        let polled = state.poll(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(Err(code)) = polled {
            return Err((*code).into());
        }
        let interrupts = self.net.interrupts.clone();
        Ok(ours_owned(self.table.push(Lookup { state, interrupts })?))
    }
}

impl HostResolveAddressStream for NetCtx<'_> {
    fn resolve_next_address(
        &mut self,
        stream: Resource<ResolveAddressStream>,
    ) -> SocketResult<Option<IpAddress>> {
        let lookup = self.table.get_mut(&ours::<Lookup, _>(&stream))?;
        match lookup.state.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending if lookup.interrupts.is_there() => {
                Err(ErrorCode::TemporaryResolverFailure.into())
            }
            Poll::Pending => Err(ErrorCode::WouldBlock.into()),
            Poll::Ready(Ok(addresses)) => Ok(addresses.next().map(IpAddress::from)),
            Poll::Ready(Err(code)) => Err((*code).into()),
        }
    }

    fn subscribe(
        &mut self,
        stream: Resource<ResolveAddressStream>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.table, ours::<Lookup, _>(&stream))
    }

    fn drop(&mut self, stream: Resource<ResolveAddressStream>) -> wasmtime::Result<()> {
        self.table.delete(ours_owned::<Lookup, _>(stream))?;
        Ok(())
    }
}
