//! The streams of TCP sockets: connections that come in, bytes that come in, bytes that go out.

use super::super::NetCtx;
use super::super::address::Family;
use super::super::options::Options;
use super::super::tcp_socket::TcpSocket;
use super::tcp::Entry;
use super::{ErrorCode, code};
use crate::wasi::ours_owned;
use bytes::Bytes;
use coracle_vnet::{Listener, VStream};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::oneshot;
use wasmtime::StoreContextMut;
use wasmtime::component::{
    Destination, Resource, Source, StreamConsumer, StreamProducer, StreamResult,
};
use wasmtime_wasi::p3::bindings::sockets::types::TcpSocket as Theirs;

/// Most bytes that are handed to the guest at once, in bytes, when it does not say how many it
/// wants.
const READ_BYTES_MAX: usize = 64 * 1024;

/// How a stream of bytes ended; told once.
pub(super) type Told = oneshot::Sender<Result<(), ErrorCode>>;

/// Says that nothing can come now: the guest gives up when it asked to finish.
fn nothing_yet(finish: bool) -> Poll<wasmtime::Result<StreamResult>> {
    if finish { Poll::Ready(Ok(StreamResult::Cancelled)) } else { Poll::Pending }
}

fn done(result: StreamResult) -> Poll<wasmtime::Result<StreamResult>> {
    Poll::Ready(Ok(result))
}

/// Connections as they come in.
pub(super) struct Accepts<D: 'static> {
    pub(super) listener: Arc<Listener>,
    pub(super) family: Family,
    pub(super) options: Options,
    pub(super) getter: for<'a> fn(&'a mut D) -> NetCtx<'a>,
}

impl<D: 'static> StreamProducer<D> for Accepts<D> {
    type Item = Resource<Theirs>;
    type Buffer = Option<Self::Item>;

    fn poll_produce<'a>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, D>,
        mut destination: Destination<'a, Self::Item, Self::Buffer>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let this = self.get_mut();
        if destination.remaining(&mut store) == Some(0) {
            return match this.listener.poll_ready(cx) {
                Poll::Ready(()) => done(StreamResult::Completed),
                Poll::Pending => nothing_yet(finish),
            };
        }
        let stream = match this.listener.poll_accept(cx) {
            Poll::Pending => return nothing_yet(finish),
            Poll::Ready(Err(_ended)) => return done(StreamResult::Dropped),
            Poll::Ready(Ok(stream)) => stream,
        };
        let socket = TcpSocket::accepted(stream, this.family, this.options.clone());
        let socket = (this.getter)(store.data_mut()).table.push(Entry::new(socket))?;
        destination.set_buffer(Some(ours_owned(socket)));
        done(StreamResult::Completed)
    }
}

/// The bytes of the other end. Dropping it throws away what still comes.
pub(super) struct Incoming {
    stream: Arc<VStream>,
    told: Option<Told>,
}

impl Incoming {
    pub(super) fn new(stream: Arc<VStream>, told: Told) -> Incoming {
        Incoming { stream, told: Some(told) }
    }

    fn end(&mut self, how: Result<(), ErrorCode>) -> Poll<wasmtime::Result<StreamResult>> {
        if let Some(told) = self.told.take() {
            // Nobody need want to know.
            let _ = told.send(how);
        }
        done(StreamResult::Dropped)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if self.told.is_some() {
            self.stream.shutdown(Shutdown::Read);
            let _ = self.end(Ok(()));
        }
    }
}

impl<D> StreamProducer<D> for Incoming {
    type Item = u8;
    type Buffer = Bytes;

    fn poll_produce<'a>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, D>,
        mut destination: Destination<'a, u8, Bytes>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let this = self.get_mut();
        if this.told.is_none() {
            return done(StreamResult::Dropped);
        }
        if this.stream.poll_readable(cx).is_pending() {
            return nothing_yet(finish);
        }
        let wanted = destination.remaining(&mut store).unwrap_or(READ_BYTES_MAX);
        if wanted == 0 {
            return done(StreamResult::Completed);
        }
        match this.stream.try_read(wanted.min(READ_BYTES_MAX)) {
            Ok(Some(data)) if data.is_empty() => this.end(Ok(())),
            Ok(Some(data)) => {
                destination.set_buffer(data);
                done(StreamResult::Completed)
            }
            Ok(None) => {
                // Somebody else took it: ask once more.
                cx.waker().wake_by_ref();
                nothing_yet(finish)
            }
            Err(failure) => this.end(Err(code(&failure))),
        }
    }
}

/// The bytes for the other end. Dropping it ends that direction of the connection.
pub(super) struct Outgoing {
    stream: Arc<VStream>,
    told: Option<Told>,
}

impl Outgoing {
    pub(super) fn new(stream: Arc<VStream>, told: Told) -> Outgoing {
        Outgoing { stream, told: Some(told) }
    }

    fn end(&mut self, how: Result<(), ErrorCode>) -> Poll<wasmtime::Result<StreamResult>> {
        if let Some(told) = self.told.take() {
            self.stream.shutdown(Shutdown::Write);
            // Nobody need want to know.
            let _ = told.send(how);
        }
        done(StreamResult::Dropped)
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        let _ = self.end(Ok(()));
    }
}

impl<D> StreamConsumer<D> for Outgoing {
    type Item = u8;

    fn poll_consume(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        store: StoreContextMut<'_, D>,
        source: Source<'_, u8>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let this = self.get_mut();
        if this.told.is_none() {
            return done(StreamResult::Dropped);
        }
        if this.stream.poll_writable(cx).is_pending() {
            return nothing_yet(finish);
        }
        let mut source = source.as_direct(store);
        let written = this.stream.room().and_then(|room| {
            let data = source.remaining();
            let piece = data.get(..room).unwrap_or(data);
            if !piece.is_empty() {
                this.stream.write(Bytes::copy_from_slice(piece))?;
            }
            Ok(piece.len())
        });
        match written {
            Ok(length) => {
                source.mark_read(length);
                done(StreamResult::Completed)
            }
            Err(failure) => this.end(Err(code(&failure))),
        }
    }
}
