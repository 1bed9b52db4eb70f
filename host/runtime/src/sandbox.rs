//! What the containers of one pod share: the network namespace and the pod's own limits.

use std::sync::Arc;

use coracle_vnet::NetNs;

use crate::container::{self, Above, Container};
use crate::logs::Log;
use crate::memory::Account;
use crate::meter::{self, CpuMeter};
use crate::mounts::{Charge, Service};
use crate::spec::ContainerSpec;
use crate::worker::{WorkerPod, Workers};

/// What a sandbox is made of.
pub struct SandboxSpec {
    /// The network namespace that every socket and every request of the pod's containers is in.
    pub netns: Arc<NetNs>,
    /// Bytes that all containers together may hold; `None` leaves it to their own limits.
    pub memory_limit_bytes: Option<u64>,
    /// Thousandths of a core that all containers together may use; `None` leaves it to their own
    /// limits.
    pub cpu_millis: Option<u32>,
}

/// A pod's place on this host; outlives its containers' restarts and holds no task itself.
pub struct Sandbox {
    place: Place,
}

/// Where a pod's containers run.
enum Place {
    /// In this process.
    Here { netns: Arc<NetNs>, memory: Arc<Account>, cpu: Arc<CpuMeter> },
    /// In one of its own.
    Worker(WorkerPod),
}

/// A container could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The http port is taken by another container of the pod, or is no port of its own.
    #[error("listen on port {port} for container {container}")]
    Listen {
        /// The container's name.
        container: String,
        /// The port.
        port: u16,
        /// Why not; `AddrInUse` when another container of the pod has it.
        #[source]
        source: std::io::Error,
    },
    /// The log file cannot be made.
    #[error("open the log of container {container} at {path}")]
    Log {
        /// The container's name.
        container: String,
        /// The file.
        path: std::path::PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The guest imports a service that keeps things for it, and was granted no place for them.
    #[error("imports that nothing satisfies: {}", .imports.join(", "))]
    NotGranted {
        /// The container's name.
        container: String,
        /// The service.
        service: Service,
        /// The names of the imports.
        imports: Vec<String>,
    },
    /// A resident http container's instance cannot be made.
    #[error("make the instance of container {container}: {message}")]
    Instance {
        /// The container's name.
        container: String,
        /// Why not.
        message: String,
    },
    /// The pod's worker process cannot be started, or the code cannot be handed to it.
    #[error("start the worker process for container {container}")]
    Worker {
        /// The container's name.
        container: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

impl StartError {
    /// Says what to change, if there is something.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Listen { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse => Some(
                "containers of a pod share one set of ports: give each its own `containerPort`",
            ),
            Self::Listen { .. } => None,
            Self::Log { .. } => Some("check that the data directory is writable and not full"),
            Self::Worker { .. } => Some("check the host's limits of processes and open files"),
            Self::Instance { .. } => Some("raise `limits.memory`, or run fewer instances"),
            Self::NotGranted { .. } => Some("grant the container a place for what it keeps"),
        }
    }
}

/// Refuses a guest whose services have no place to keep its things in.
fn check_granted(spec: &ContainerSpec) -> Result<(), StartError> {
    let missing = |service: &Service| service.needs_place() && !spec.mounts.has_service(*service);
    for service in Service::ALL.into_iter().filter(missing) {
        let is_of = |name: &&String| name.starts_with(service.package());
        let imports: Vec<_> = spec.image.imports.iter().filter(is_of).cloned().collect();
        if !imports.is_empty() {
            let container = spec.name.clone();
            return Err(StartError::NotGranted { container, service, imports });
        }
    }
    Ok(())
}

impl Sandbox {
    /// Makes a sandbox. Nothing runs in it yet.
    #[must_use]
    pub fn new(spec: SandboxSpec) -> Self {
        let memory = Account::new(spec.memory_limit_bytes, None);
        let cpu = CpuMeter::new(spec.cpu_millis, meter::now(), None);
        Self { place: Place::Here { netns: spec.netns, memory, cpu } }
    }

    /// Makes a sandbox whose containers run in a process of their own, which is started with the
    /// first of them and ends when the sandbox is dropped. A crash of it is the containers' end, and
    /// no more than that.
    ///
    /// *Source:* `design.md` §2, `runtimeClassName: coracle-process`.
    #[must_use]
    pub fn in_worker(spec: SandboxSpec, workers: &Workers) -> Self {
        Self { place: Place::Worker(WorkerPod::new(spec, workers.clone())) }
    }

    /// Starts a container. A command begins to run at once; an http container listens and runs
    /// when requests come.
    ///
    /// Must be called on a tokio runtime, whose workers then run the guest. Cancel safe: a dropped
    /// call leaves nothing behind.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(&self, spec: ContainerSpec) -> Result<Container, StartError> {
        check_granted(&spec)?;
        self.start_logged(spec, None).await
    }

    /// As [`Sandbox::start`], with a log other than the one that the specification names.
    pub(crate) async fn start_logged(
        &self,
        spec: ContainerSpec,
        log: Option<Log>,
    ) -> Result<Container, StartError> {
        match &self.place {
            Place::Here { netns, memory, cpu } => {
                container::start(spec, netns, Above { memory, cpu }, log).await
            }
            Place::Worker(pod) => Ok(Container::in_worker(pod.start(spec).await?)),
        }
    }

    /// Brings up to date what is known of the usage of containers in a worker; of others it is known
    /// at any time.
    pub async fn measure(&self) {
        match &self.place {
            Place::Here { .. } => {}
            Place::Worker(pod) => pod.measure().await,
        }
    }

    /// Gives the number of the process that the containers run in, when they have one of their own
    /// that runs now.
    #[must_use]
    pub fn worker_pid(&self) -> Option<u32> {
        match &self.place {
            Place::Here { .. } => None,
            Place::Worker(pod) => pod.pid(),
        }
    }

    /// Gives the pod's network namespace.
    #[must_use]
    pub fn netns(&self) -> &Arc<NetNs> {
        match &self.place {
            Place::Here { netns, .. } => netns,
            Place::Worker(pod) => pod.netns(),
        }
    }

    /// Gives the pod's memory, for volumes that are held in memory and count against its limit.
    #[must_use]
    pub fn memory_charge(&self) -> Arc<dyn Charge> {
        match &self.place {
            Place::Here { memory, .. } => memory.clone(),
            Place::Worker(pod) => pod.memory().clone(),
        }
    }

    /// Microseconds of CPU that the pod's containers have used.
    #[must_use]
    pub fn cpu_usec(&self) -> u64 {
        match &self.place {
            Place::Here { cpu, .. } => cpu.used_micros(),
            Place::Worker(pod) => pod.usage().iter().map(|usage| usage.cpu_usec).sum(),
        }
    }

    /// Bytes of memory that the pod's containers hold now.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        match &self.place {
            Place::Here { memory, .. } => memory.used_bytes(),
            Place::Worker(pod) => {
                let guests: u64 = pod.usage().iter().map(|usage| usage.memory_bytes).sum();
                guests + pod.memory().used_bytes()
            }
        }
    }
}
