//! A taken TCP port, and the two ways to listen on it.

use crate::backlog::Backlog;
use crate::netns::NetNs;
use crate::scope::Scope;
use crate::stream::VStream;
use std::any::Any;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::net::TcpStream;

/// Takes connections as they come, on the thread of whoever connects: a listener without a task.
pub trait Accept: Send + Sync + 'static {
    /// Takes one connection. Must not block; spawns what serves it.
    fn accept(&self, stream: VStream);

    /// Takes a real connection as it is, which saves copying through pipes. Must not block.
    ///
    /// # Errors
    /// Gives the connection back when it does not take such; the caller then splices it.
    fn accept_real(&self, stream: TcpStream) -> Result<(), TcpStream> {
        Err(stream)
    }

    /// Itself, for callers in the process that know a shorter way than a byte stream.
    fn as_any(&self) -> &dyn Any;
}

/// Who answers at a bound address.
pub(crate) enum Slot {
    /// Nobody yet.
    Bound,
    /// A queue that a guest takes from.
    Queue(Arc<Backlog>, Option<Arc<Scope>>),
    /// A callback of the host.
    Callback(Arc<dyn Accept>, Option<Arc<Scope>>),
}

/// A TCP address and port of a namespace that nobody else can take. Freed on drop.
pub struct PortGuard {
    ns: Arc<NetNs>,
    local: SocketAddr,
}

impl PortGuard {
    pub(crate) fn new(ns: Arc<NetNs>, local: SocketAddr) -> PortGuard {
        PortGuard { ns, local }
    }

    /// The address and port.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Listens with a queue of about `backlog` connections; one more is refused. `scope` counts
    /// them and may refuse them.
    ///
    /// # Errors
    /// `NotConnected` when the namespace has ended.
    pub fn listen(self, backlog: usize, scope: Option<Arc<Scope>>) -> io::Result<Listener> {
        let queue = Arc::new(Backlog::new(backlog));
        self.ns.set_slot(self.local, Slot::Queue(queue.clone(), scope))?;
        Ok(Listener { queue, guard: self })
    }

    /// Listens with a callback for as long as the guard lives.
    ///
    /// # Errors
    /// `NotConnected` when the namespace has ended.
    pub fn listen_with(
        &self,
        accept: Arc<dyn Accept>,
        scope: Option<Arc<Scope>>,
    ) -> io::Result<()> {
        self.ns.set_slot(self.local, Slot::Callback(accept, scope))
    }
}

impl Drop for PortGuard {
    fn drop(&mut self) {
        self.ns.release_tcp(self.local);
    }
}

impl fmt::Debug for PortGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PortGuard({} of {})", self.local, self.ns.tag())
    }
}

/// A listening port with a queue. Dropping it frees the port and cuts what waits in the queue.
#[derive(Debug)]
pub struct Listener {
    queue: Arc<Backlog>,
    guard: PortGuard,
}

impl Listener {
    /// The address and port that it listens on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.guard.local_addr()
    }

    /// The next connection. One task at a time.
    ///
    /// # Errors
    /// `ConnectionAborted` when the namespace has ended.
    pub fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<VStream>> {
        self.queue.poll_accept(context)
    }

    /// Ready when [`Listener::poll_accept`] is.
    pub fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        self.queue.poll_ready(context)
    }

    /// Waits for the next connection. Cancel safe.
    ///
    /// # Errors
    /// `ConnectionAborted` when the namespace has ended.
    pub fn accept(&self) -> impl Future<Output = io::Result<VStream>> + '_ {
        std::future::poll_fn(|context| self.poll_accept(context))
    }
}

impl fmt::Debug for Backlog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Backlog")
    }
}
