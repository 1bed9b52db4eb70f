//! What the containers of one pod share: the network namespace and the pod's own limits.

use std::sync::Arc;

use coracle_vnet::NetNs;

use crate::container::{self, Above, Container};
use crate::memory::Account;
use crate::meter::{self, CpuMeter};
use crate::mounts::Charge;
use crate::spec::ContainerSpec;

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
    netns: Arc<NetNs>,
    memory: Arc<Account>,
    cpu: Arc<CpuMeter>,
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
    /// A resident http container's instance cannot be made.
    #[error("make the instance of container {container}: {message}")]
    Instance {
        /// The container's name.
        container: String,
        /// Why not.
        message: String,
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
            Self::Instance { .. } => Some("raise `limits.memory`, or run fewer instances"),
        }
    }
}

impl Sandbox {
    /// Makes a sandbox. Nothing runs in it yet.
    #[must_use]
    pub fn new(spec: SandboxSpec) -> Self {
        let memory = Account::new(spec.memory_limit_bytes, None);
        let cpu = CpuMeter::new(spec.cpu_millis, meter::now(), None);
        Self { netns: spec.netns, memory, cpu }
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
        let above = Above { memory: &self.memory, cpu: &self.cpu };
        container::start(spec, &self.netns, above).await
    }

    /// Gives the pod's network namespace.
    #[must_use]
    pub fn netns(&self) -> &Arc<NetNs> {
        &self.netns
    }

    /// Gives the pod's memory, for volumes that are held in memory and count against its limit.
    #[must_use]
    pub fn memory_charge(&self) -> Arc<dyn Charge> {
        self.memory.clone()
    }

    /// Microseconds of CPU that the pod's containers have used.
    #[must_use]
    pub fn cpu_usec(&self) -> u64 {
        self.cpu.used_micros()
    }

    /// Bytes of memory that the pod's containers hold now.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.memory.used_bytes()
    }
}
