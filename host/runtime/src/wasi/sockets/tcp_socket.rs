//! A guest's TCP socket: its life, whatever version of WASI it is called by.

use super::NetState;
use super::address::Family;
use super::options::Options;
use coracle_vnet::{BoxFuture, Listener, PortGuard, VStream};
use std::io;
use std::net::SocketAddr;
#[cfg(feature = "wasi-p3")]
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::task::{Context, Poll};

/// Connections that may wait when the guest does not say. *Source:* what Rust's std asks for.
const BACKLOG_DEFAULT: usize = 128;

/// Where a socket is in its life.
enum Life {
    New,
    Bound(PortGuard),
    Listening(Arc<Listener>),
    Connecting {
        attempt: BoxFuture<'static, io::Result<VStream>>,
        guard: Option<PortGuard>,
    },
    Attempted {
        result: io::Result<VStream>,
        guard: Option<PortGuard>,
    },
    Connected {
        stream: Arc<VStream>,
        _guard: Option<PortGuard>,
    },
    /// After a failed attempt; only dropping is left.
    Failed,
}

/// One TCP socket. Dropping it frees its port and closes its connection once its streams are
/// dropped too.
pub(super) struct TcpSocket {
    life: Life,
    pub(super) family: Family,
    pub(super) options: Options,
    pub(super) backlog: usize,
}

fn bad_state() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

impl TcpSocket {
    pub(super) fn new(family: Family) -> TcpSocket {
        let options = Options::default();
        TcpSocket { life: Life::New, family, options, backlog: BACKLOG_DEFAULT }
    }

    /// Takes an address and port.
    pub(super) fn bind(&mut self, net: &NetState, address: SocketAddr) -> io::Result<()> {
        if !matches!(self.life, Life::New) {
            return Err(bad_state());
        }
        self.family.check(address)?;
        self.life = Life::Bound(net.ns.bind_tcp(address)?);
        Ok(())
    }

    /// Starts to listen; the socket must be bound.
    pub(super) fn listen(&mut self, net: &NetState) -> io::Result<()> {
        let guard = self.take_guard().ok_or_else(bad_state)?;
        let listener = guard.listen(self.backlog, Some(net.scope.clone()))?;
        self.life = Life::Listening(Arc::new(listener));
        Ok(())
    }

    /// Takes the port out of a bound socket, which is unusable then.
    fn take_guard(&mut self) -> Option<PortGuard> {
        if !matches!(self.life, Life::Bound(_)) {
            return None;
        }
        match std::mem::replace(&mut self.life, Life::Failed) {
            Life::Bound(guard) => Some(guard),
            Life::New
            | Life::Listening(_)
            | Life::Connecting { .. }
            | Life::Attempted { .. }
            | Life::Connected { .. }
            | Life::Failed => None,
        }
    }

    /// Starts an attempt to connect.
    pub(super) fn connect(&mut self, net: &NetState, address: SocketAddr) -> io::Result<()> {
        if !matches!(self.life, Life::New | Life::Bound(_)) {
            return Err(bad_state());
        }
        self.family.check_remote(address)?;
        let guard = self.take_guard();
        let attempt = net.ns.connect_tcp(address, guard.as_ref().map(PortGuard::local_addr));
        self.life = Life::Connecting { attempt, guard };
        Ok(())
    }

    /// Ready when [`TcpSocket::finish_connect`] knows the outcome.
    pub(super) fn poll_connect(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Life::Connecting { attempt, guard } = &mut self.life {
            let Poll::Ready(result) = attempt.as_mut().poll(context) else { return Poll::Pending };
            self.life = Life::Attempted { result, guard: guard.take() };
        }
        Poll::Ready(())
    }

    /// The outcome of an attempt that is over.
    pub(super) fn finish_connect(&mut self) -> io::Result<Arc<VStream>> {
        if !matches!(self.life, Life::Attempted { .. }) {
            return Err(bad_state());
        }
        let life = std::mem::replace(&mut self.life, Life::Failed);
        let Life::Attempted { result, guard } = life else { return Err(bad_state()) };
        let stream = Arc::new(result?);
        self.life = Life::Connected { stream: stream.clone(), _guard: guard };
        Ok(stream)
    }

    /// Ready when [`TcpSocket::poll_accept`] has a connection or an error to give.
    pub(super) fn poll_accept_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match &self.life {
            Life::Listening(listener) => listener.poll_ready(context),
            Life::New
            | Life::Bound(_)
            | Life::Connecting { .. }
            | Life::Attempted { .. }
            | Life::Connected { .. }
            | Life::Failed => Poll::Ready(()),
        }
    }

    /// The next connection as a socket of its own, with this one's options.
    pub(super) fn poll_accept(
        &self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<(TcpSocket, Arc<VStream>)>> {
        let Life::Listening(listener) = &self.life else { return Poll::Ready(Err(bad_state())) };
        listener.poll_accept(context).map_ok(|stream| {
            let stream = Arc::new(stream);
            (Self::connected(stream.clone(), self.family, self.options.clone()), stream)
        })
    }

    fn connected(stream: Arc<VStream>, family: Family, options: Options) -> TcpSocket {
        let life = Life::Connected { stream, _guard: None };
        TcpSocket { life, family, options, backlog: BACKLOG_DEFAULT }
    }

    /// The connection, when there is one.
    pub(super) fn stream(&self) -> io::Result<&Arc<VStream>> {
        match &self.life {
            Life::Connected { stream, .. } => Ok(stream),
            Life::New
            | Life::Bound(_)
            | Life::Listening(_)
            | Life::Connecting { .. }
            | Life::Attempted { .. }
            | Life::Failed => Err(bad_state()),
        }
    }

    /// The address of this end.
    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.life {
            Life::Bound(guard) => Ok(guard.local_addr()),
            Life::Listening(listener) => Ok(listener.local_addr()),
            Life::Connected { stream, .. } => Ok(stream.local_addr()),
            Life::New | Life::Connecting { .. } | Life::Attempted { .. } | Life::Failed => {
                Err(bad_state())
            }
        }
    }

    pub(super) fn is_listening(&self) -> bool {
        matches!(self.life, Life::Listening(_))
    }
}

/// What only 0.3 asks for.
#[cfg(feature = "wasi-p3")]
impl TcpSocket {
    /// Takes any free port, unless the socket has one.
    pub(super) fn bind_any(&mut self, net: &NetState) -> io::Result<()> {
        if !matches!(self.life, Life::New) {
            return Ok(());
        }
        let any = match self.family {
            Family::V4 => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            Family::V6 => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        self.bind(net, any)
    }

    /// Where connections come in, when it listens. The port is free when this is dropped too.
    pub(super) fn listener(&self) -> io::Result<&Arc<Listener>> {
        match &self.life {
            Life::Listening(listener) => Ok(listener),
            Life::New
            | Life::Bound(_)
            | Life::Connecting { .. }
            | Life::Attempted { .. }
            | Life::Connected { .. }
            | Life::Failed => Err(bad_state()),
        }
    }

    /// A connection that came in, with the options of the socket that listens.
    pub(super) fn accepted(stream: VStream, family: Family, options: Options) -> TcpSocket {
        Self::connected(Arc::new(stream), family, options)
    }
}
