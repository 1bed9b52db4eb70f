//! http containers: requests in, instances made for them, responses out.
//!
//! A container of this kind is a callback in its pod's network namespace and some counters: while
//! nobody asks it anything, it holds no task, no descriptor, no instance. A connection is a task
//! (`serve`); a request runs inside that task (`call`), on a fresh or a used instance
//! (`instance`), after it was let in (`admit`). Requests of other containers of this host come
//! in without a connection (`outgoing`).

mod admit;
mod answer;
mod body;
mod call;
mod counting;
mod fault;
#[cfg(feature = "wasi-p3")]
mod handler;
mod instance;
pub(crate) mod outgoing;
mod reuse;
mod run;
mod serve;
mod served;
mod stop;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use coracle_vnet::PortGuard;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::container::Core;
use crate::exit::Exit;
use crate::sandbox::StartError;
use crate::spec::Isolation;

use admit::Admission;
use fault::Faults;
use reuse::Reuse;

/// At most one fault of a container is told in this time.
pub const FAULT_INTERVAL: Duration = Duration::from_secs(10);

/// Requests that a pooled instance serves before a fresh one takes its place.
pub const POOLED_REQUESTS_MAX: u32 = 1000;

/// A running http container.
pub(crate) struct HttpContainer {
    core: Arc<Core>,
    admission: Admission,
    reuse: Reuse,
    faults: Faults,
    ports: Mutex<Vec<PortGuard>>,
    /// New connections and requests are refused, idle connections closed.
    stopping: CancellationToken,
    /// Everything is cut off.
    killed: CancellationToken,
    in_flight: AtomicUsize,
    /// Connections that came in as real ones; the namespace counts the others.
    real_connections: AtomicUsize,
    /// Is told when nothing is in flight any more.
    idle: Notify,
    has_stopper: AtomicBool,
}

/// Starts an http container: listens, and makes the instance of a resident one.
pub(crate) async fn start(core: Arc<Core>) -> Result<Arc<HttpContainer>, StartError> {
    let http = Arc::new(HttpContainer {
        admission: Admission::new(core.spec.http, core.spec.isolation),
        reuse: Reuse::new(core.spec.isolation),
        faults: Faults::default(),
        ports: Mutex::default(),
        stopping: CancellationToken::new(),
        killed: CancellationToken::new(),
        in_flight: AtomicUsize::new(0),
        real_connections: AtomicUsize::new(0),
        idle: Notify::new(),
        has_stopper: AtomicBool::new(false),
        core,
    });
    if let Err(error) = http.listen() {
        http.cut_off(Exit::killed(error.to_string()));
        return Err(error);
    }
    if let Some(limit_bytes) = http.memory_that_no_instance_fits_in() {
        http.cut_off(Exit::oom_killed(limit_bytes));
    } else if http.core.spec.isolation == Isolation::Resident {
        http.make_resident().await?;
    }
    Ok(http)
}

impl HttpContainer {
    /// Takes the container's port in the pod's network namespace.
    fn listen(self: &Arc<Self>) -> Result<(), StartError> {
        let spec = &self.core.spec;
        let failed = |source| StartError::Listen {
            container: spec.name.clone(),
            port: spec.http_port,
            source,
        };
        let accept = Arc::new(serve::Door(self.clone()));
        let mut ports = self.ports.lock();
        for ip in [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)] {
            let guard = self.core.netns.bind_tcp((ip, spec.http_port).into()).map_err(failed)?;
            guard.listen_with(accept.clone(), Some(self.core.scope.clone())).map_err(failed)?;
            ports.push(guard);
        }
        Ok(())
    }

    /// The limit, if even one instance with nothing done yet is over it.
    fn memory_that_no_instance_fits_in(&self) -> Option<u64> {
        let limit = self.core.memory.limit_bytes()?;
        (self.core.spec.image.memory_bytes_min > limit).then_some(limit)
    }

    /// Cuts off whatever runs, and ends the container.
    fn cut_off(&self, exit: Exit) {
        self.killed.cancel();
        self.end(exit);
    }

    /// Takes no more, frees the port, and records the end. Responses that are on their way get
    /// through.
    fn end(&self, exit: Exit) {
        self.stopping.cancel();
        // A guard holds the namespace and the namespace's table holds us; this breaks the ring.
        let ports = std::mem::take(&mut *self.ports.lock());
        drop(ports);
        self.reuse.clear();
        self.core.ended(exit);
    }
}
