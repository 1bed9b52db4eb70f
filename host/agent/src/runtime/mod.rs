//! What the agent asks of whatever runs components: [`Runtime`].
//!
//! The real one is [`wasm`], over `coracle-runtime` and `coracle-vnet`; [`fake`] is for tests and
//! follows a script. Never here: the API server, decisions about pods.

pub mod fake;
pub mod toolbox;
pub mod wasm;

mod host_network;
mod host_ports;
mod measures;
mod programs;
pub(crate) mod resource;
mod root_files;
mod spec;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use coracle_network::trace::{Question, Trace};
pub use coracle_runtime::exec::{
    Attached, Exec, ExecError, ExecHandle, ExecSpec, Reader, TerminalSize, Writer,
};
use coracle_runtime::mounts::Service;
pub use coracle_runtime::{Stdin, Usage};
use coracle_telemetry::{Requests, Resource};
use coracle_vnet::{Protocol, TrafficCounts};
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::images::LocalImage;
use crate::pods::plan::PodKey;
use crate::pods::state::Fault;
use crate::requests::{By, Noted};

/// A byte stream into a pod.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// What a sandbox is made from.
#[derive(Clone, Debug)]
pub struct SandboxRequest {
    /// The pod.
    pub pod: PodKey,
    /// Its addresses: one of each family that it has, the one of its status first.
    pub ips: Vec<IpAddr>,
    /// The addresses are the host's: it shares the host's network with others.
    pub host_network: bool,
    /// Its host name.
    pub hostname: String,
    /// What it is told to be called: its host name, or the full one where it asked for that.
    pub kernel_name: String,
    /// The same with all domains, when it has a subdomain.
    pub full_name: Option<String>,
    /// Lines of `/etc/hosts` besides the usual ones.
    pub host_aliases: Vec<(IpAddr, String)>,
    /// Value of the pod's egress annotation, if it has one.
    pub egress: Option<String>,
    /// Its `/etc/resolv.conf`, by which its lookups are answered, too; none without a cluster DNS.
    pub resolv_conf: Option<String>,
    /// Bytes that all its containers together may hold, if the pod says so itself.
    pub memory_limit_bytes: Option<u64>,
    /// Thousandths of a core that all its containers together may use, if the pod says so itself.
    pub cpu_millis: Option<u32>,
    /// Ports of the host that lead to it.
    pub host_ports: Vec<HostPort>,
    /// What runs it: the handler of its RuntimeClass, empty without one.
    pub handler: String,
}

/// A port of the host that leads to a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// The host's address, unspecified for all, and its port.
    pub address: SocketAddr,
    /// The pod's port.
    pub container_port: u16,
    /// Both ports' transport.
    pub protocol: Protocol,
}

/// Where the content of a mount is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountSource {
    /// A directory or file of the host that only the agent changes.
    Host(PathBuf),
    /// A directory or file below a volume that guests can write.
    SubPath {
        /// The volume's directory.
        volume: PathBuf,
        /// The path below it.
        path: String,
    },
    /// One file whose content stays as it is.
    Pinned(Arc<[u8]>),
}

/// One mount of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountRequest {
    /// Absolute path in the container.
    pub path: String,
    /// Where the content is.
    pub source: MountSource,
    /// Refuses every change.
    pub read_only: bool,
    /// What is charged for what is written.
    pub quota: Option<QuotaRequest>,
}

/// A place in which a service of the host keeps a container's things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceRequest {
    /// The service.
    pub service: Service,
    /// The place; its path means nothing.
    pub mount: MountRequest,
}

/// A volume that may hold only so much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaRequest {
    /// The volume; all mounts of it share the quota.
    pub volume: String,
    /// Its folder, of which the content counts as used.
    pub place: PathBuf,
    /// Most bytes.
    pub bytes_max: u64,
    /// Counts against the memory of the pod too.
    pub in_memory: bool,
}

/// Told when a request ended its instance: a reason word and a sentence.
#[derive(Clone)]
pub struct FaultSink(pub Arc<dyn Fn(&'static str, String) + Send + Sync>);

impl std::fmt::Debug for FaultSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FaultSink")
    }
}

/// How requests of an http container share instances (annotation `coracle.dev/isolation`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// A fresh instance for each.
    #[default]
    Request,
    /// Instances are reused up to a bound.
    Pooled,
    /// One instance keeps its state.
    Resident,
}

/// What a container is started from.
#[derive(Clone, Debug)]
pub struct StartRequest {
    /// The pod.
    pub pod: PodKey,
    /// The container's name.
    pub container: String,
    /// Its image.
    pub image: LocalImage,
    /// Images plugged into its imports.
    pub plugs: Vec<LocalImage>,
    /// Argument vector.
    pub argv: Vec<String>,
    /// Environment, in order.
    pub env: Vec<(String, String)>,
    /// Working directory.
    pub cwd: Option<String>,
    /// Its volumes.
    pub mounts: Vec<MountRequest>,
    /// What services of the host keep for it.
    pub services: Vec<ServiceRequest>,
    /// What it reads (`stdin`, `stdinOnce`).
    pub stdin: Stdin,
    /// Its streams are a terminal.
    pub tty: bool,
    /// `/` cannot be written.
    pub read_only_root: bool,
    /// Directory for the copy-up layer and for `/dev/termination-log`.
    pub scratch: PathBuf,
    /// `limits.memory` in bytes.
    pub memory_bytes: Option<u64>,
    /// `limits.cpu` in thousandths of a core.
    pub cpu_millis: Option<u32>,
    /// `limits.ephemeral-storage` in bytes: what it writes to `/` can never be more than twice
    /// that, however fast it writes before it is evicted.
    pub storage_bytes: Option<u64>,
    /// The port that an http component is served on.
    pub http_port: u16,
    /// How its requests share instances.
    pub isolation: Isolation,
    /// The log file.
    pub log: PathBuf,
    /// Path in the container at which the termination message is written.
    pub termination_message_path: String,
    /// The end of the log stands in for a message that a failed container did not write.
    pub message_from_log: bool,
    /// Told when a request ended its instance.
    pub on_fault: Option<FaultSink>,
    /// Whose spans its requests are, where spans are made.
    pub resource: Resource,
    /// What its requests are noted with.
    pub noted: Noted,
}

/// How a container ended, as the runtime saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExitReport {
    /// Exit code.
    pub code: i32,
    /// `Completed`, `Error` or `OOMKilled`.
    pub reason: String,
    /// Trap, backtrace, what the guest left as its termination message.
    pub message: String,
}

/// A container that was started.
pub struct Started {
    /// Resolves when it ends; costs nothing while it waits.
    pub exit: BoxFuture<'static, ExitReport>,
}

/// The handler that gives a pod a process of its own; its RuntimeClass has the same name.
///
/// *Source:* `design.md` §2.
pub const HANDLER_PROCESS: &str = "coracle-process";

/// Runs containers. All methods may be called at any time for any pod; what is unknown is ignored.
pub trait Runtime: Send + Sync + 'static {
    /// Makes the sandbox of a pod.
    ///
    /// # Errors
    /// A sentence, when the address is taken or the host has no room.
    fn create_sandbox(&self, request: SandboxRequest) -> BoxFuture<'_, Result<(), String>>;

    /// Sets what a running pod may reach outside, in place of what it might before.
    ///
    /// # Errors
    /// A sentence, when `egress` cannot be read; the grant stays as it was.
    fn grant(&self, pod: &PodKey, egress: Option<&str>) -> Result<(), String>;

    /// Ends whatever still runs in a pod and removes its sandbox.
    fn remove_sandbox<'a>(&'a self, pod: &'a PodKey) -> BoxFuture<'a, ()>;

    /// Compiles an image so that it can be started at once.
    ///
    /// # Errors
    /// A fault whose reason becomes the container's waiting reason (`ErrImageNotWasm`).
    fn prepare<'a>(
        &'a self,
        image: &'a LocalImage,
        plugs: &'a [LocalImage],
    ) -> BoxFuture<'a, Result<(), Fault>>;

    /// Starts a container in its pod's sandbox.
    ///
    /// # Errors
    /// A fault whose reason becomes the container's waiting reason.
    fn start(&self, request: StartRequest) -> BoxFuture<'_, Result<Started, Fault>>;

    /// Tells a container to end within `grace`; returns at once. Its end comes by `Started::exit`.
    fn stop(&self, pod: &PodKey, container: &str, grace: Duration);

    /// Opens a connection into a pod.
    ///
    /// # Errors
    /// As `connect` would give them.
    fn dial(&self, pod: &PodKey, to: SocketAddr) -> io::Result<Box<dyn Duplex>>;

    /// Runs a command beside a running container: a program of its image, else one of the toolbox,
    /// with the container's files, environment, network namespace and limits.
    ///
    /// # Errors
    /// See [`ExecError`].
    fn exec<'a>(
        &'a self,
        pod: &'a PodKey,
        container: &'a str,
        spec: ExecSpec,
    ) -> BoxFuture<'a, Result<Exec, ExecError>>;

    /// Gives the streams of a running container's own guest, from now on.
    ///
    /// # Errors
    /// [`ExecError::NotRunning`], or [`ExecError::TooMany`] for one client too many.
    fn attach(&self, pod: &PodKey, container: &str) -> Result<Attached, ExecError>;

    /// Lets the volumes of a pod that are named so ([`QuotaRequest::volume`]) hold this much from now
    /// on. Volumes that no container has mounted yet get their limit when one does.
    fn resize_volume(&self, pod: &PodKey, volume: &str, bytes_max: u64);

    /// Brings what is known of usage up to date, where that takes time.
    fn measure(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// Gives how many components are mapped to be run: each is there once, whatever number of
    /// containers run it.
    fn components(&self) -> usize {
        0
    }

    /// Gives what a running container has used.
    fn usage(&self, pod: &PodKey, container: &str) -> Option<Usage>;

    /// Gives what a pod has sent and received, where that is counted.
    fn traffic(&self, pod: &PodKey) -> Option<TrafficCounts>;

    /// Traces a connection from a pod, decision by decision. By default there is no network to trace.
    fn trace<'a>(&'a self, pod: &'a PodKey, _question: &'a Question) -> BoxFuture<'a, Trace> {
        let why = format!("pod {}/{} has no network here", pod.namespace, pod.name);
        Box::pin(std::future::ready(Trace::not_begun(&why)))
    }

    /// The requests of the last while: those that this host's http containers and ways in have answered. `None`: it
    /// remembers none.
    fn requests(&self) -> Option<&Requests<By>> {
        None
    }

    /// What the pods' network has counted, in Prometheus' text format.
    fn network_metrics(&self) -> String {
        String::new()
    }
}
