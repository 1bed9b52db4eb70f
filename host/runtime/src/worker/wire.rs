//! What a host and a worker say to each other.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use coracle_telemetry::Seen;
use coracle_vnet::ResolveError;
use serde::{Deserialize, Serialize};

use crate::exec::{ExecError, ExecSpec};
use crate::exit::Exit;
use crate::mounts::{self, MountTable};
use crate::sandbox::StartError;
use crate::spec::{ContainerSpec, Fault, HttpLimits, Isolation, Limits, QUIET_MAX, Stdin, Usage};

/// Bytes of a text that a worker tells: a trap's backtrace can be long.
const TEXT_BYTES_MAX: usize = 16 << 10;

/// What the host says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToWorker {
    /// The pod, first of all; the file is the socket for calls on files.
    Setup(Setup),
    /// Start a container; the file is its compiled code.
    Start(Box<Start>),
    /// Ask a container to end within so many milliseconds; 0 ends it now.
    Stop { container: u32, grace_ms: u64 },
    /// Run a command beside a container.
    Exec { call: u32, container: u32, spec: ExecSpec, streams: Streams },
    /// End a command.
    KillExec { call: u32 },
    /// Let a client see a container's own streams.
    Attach { container: u32, streams: Streams },
    /// Say what the containers have used.
    Measure { call: u32 },
    /// A connection for one of the pod's listeners.
    Accept { stream: u32, destination: SocketAddr, source: SocketAddr },
    /// How a connection went that the pod asked for.
    Connected { stream: u32, outcome: Result<(), IoError> },
    /// The addresses of a name.
    Resolved { call: u32, outcome: Result<Vec<IpAddr>, Unresolved> },
    /// The program of a command; the file is its compiled code, when there is one.
    Found { call: u32, outcome: Result<Option<String>, String> },
}

/// What the worker says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToHost {
    /// How a start went.
    Started { call: u32, outcome: Result<(), StartFailure> },
    /// A container ended; all it wrote to its log was sent before.
    Exited { container: u32, exit: Exit, usage: Box<Usage> },
    /// A request ended its instance.
    Fault { container: u32, fault: Fault },
    /// A request was answered.
    Served { container: u32, seen: Box<Seen> },
    /// How the start of a command went.
    ExecStarted { call: u32, outcome: Result<(), ExecError> },
    /// A command ended; all that it wrote was sent before.
    ExecEnded { call: u32, exit: Exit },
    /// What containers have used.
    Measured { call: u32, usage: Vec<(u32, Usage)> },
    /// Where the pod listens and receives now.
    Ports { tcp: Vec<SocketAddr>, udp: Vec<SocketAddr> },
    /// The pod connects to somewhere outside of it.
    Connect { stream: u32, source: SocketAddr, destination: SocketAddr },
    /// The pod looks a name up.
    Resolve { call: u32, name: String },
    /// A command's program is wanted.
    Find { call: u32, container: u32, command: String },
}

/// A pod.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Setup {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) ips: Vec<IpAddr>,
    pub(super) hostname: String,
    pub(super) hosts: Vec<(IpAddr, String)>,
    pub(super) memory_limit_bytes: Option<u64>,
    pub(super) cpu_millis: Option<u32>,
}

/// A container.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Start {
    pub(super) call: u32,
    pub(super) container: u32,
    pub(super) name: String,
    /// Digest of the image.
    pub(super) image: String,
    pub(super) argv: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) cwd: Option<String>,
    /// Mount points, in the order of the host's table.
    pub(super) points: Vec<Vec<String>>,
    /// The same of what services keep.
    pub(super) services: Vec<Vec<String>>,
    pub(super) limits: Limits,
    pub(super) http_port: u16,
    pub(super) isolation: Isolation,
    pub(super) http: HttpLimits,
    /// A host that is older than its worker does not say it.
    #[serde(default = "quiet_max")]
    pub(super) quiet_max: Duration,
    pub(super) stdin: Stdin,
    pub(super) tty: bool,
    /// The stream for its log, if it has one.
    pub(super) log: Option<u32>,
    /// Somebody wants to hear of faults.
    pub(super) tell_faults: bool,
    /// Somebody notes requests; a host that is older than its worker does not say so.
    #[serde(default)]
    pub(super) tell_requests: bool,
}

fn quiet_max() -> Duration {
    QUIET_MAX
}

impl Start {
    /// What of a specification crosses over as it is.
    pub(super) fn of(spec: &ContainerSpec, call: u32, container: u32, log: Option<u32>) -> Self {
        Self {
            call,
            container,
            name: spec.name.clone(),
            image: spec.image.digest.clone(),
            argv: spec.argv.clone(),
            env: spec.env.clone(),
            cwd: spec.cwd.clone(),
            points: spec.mounts.points(),
            services: spec.mounts.services().map(MountTable::points).unwrap_or_default(),
            limits: spec.limits,
            http_port: spec.http_port,
            isolation: spec.isolation,
            http: spec.http,
            quiet_max: spec.quiet_max,
            stdin: spec.stdin,
            tty: spec.tty,
            log,
            tell_faults: spec.on_fault.is_some(),
            tell_requests: spec.requests.is_some(),
        }
    }
}

/// The numbers of a command's or client's streams; `None` for those that it does not have.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Streams {
    pub(super) stdin: Option<u32>,
    pub(super) stdout: u32,
    pub(super) stderr: Option<u32>,
}

/// A call on the files of a container, over the socket for that.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct FileCall {
    pub(super) container: u32,
    pub(super) mount: Option<usize>,
    pub(super) ask: mounts::Ask,
}

/// Why a container was not started.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum StartFailure {
    /// The port.
    Listen(u16, IoError),
    /// Anything else.
    Other(String),
}

impl StartFailure {
    pub(super) fn of(error: &StartError) -> Self {
        match error {
            StartError::Listen { port, source, .. } => Self::Listen(*port, IoError::of(source)),
            StartError::Instance { message, .. } => Self::Other(short(message)),
            StartError::NotGranted { .. } => Self::Other(short(&error.to_string())),
            StartError::Log { source, .. } | StartError::Worker { source, .. } => {
                Self::Other(short(&source.to_string()))
            }
        }
    }

    pub(super) fn error(self, container: &str) -> StartError {
        let container = container.to_owned();
        match self {
            Self::Listen(port, source) => {
                StartError::Listen { container, port, source: source.error() }
            }
            Self::Other(message) => StartError::Instance { container, message },
        }
    }
}

/// An error of a socket.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct IoError {
    /// Its place in [`KINDS`], if it has one.
    kind: Option<usize>,
    text: String,
}

/// The kinds that guests can tell apart.
const KINDS: [io::ErrorKind; 14] = [
    io::ErrorKind::ConnectionRefused,
    io::ErrorKind::ConnectionReset,
    io::ErrorKind::ConnectionAborted,
    io::ErrorKind::HostUnreachable,
    io::ErrorKind::NetworkUnreachable,
    io::ErrorKind::TimedOut,
    io::ErrorKind::AddrInUse,
    io::ErrorKind::AddrNotAvailable,
    io::ErrorKind::QuotaExceeded,
    io::ErrorKind::InvalidInput,
    io::ErrorKind::NotConnected,
    io::ErrorKind::PermissionDenied,
    io::ErrorKind::BrokenPipe,
    io::ErrorKind::NetworkDown,
];

impl IoError {
    pub(super) fn of(error: &io::Error) -> Self {
        let kind = KINDS.iter().position(|kind| *kind == error.kind());
        Self { kind, text: short(&error.to_string()) }
    }

    pub(super) fn error(self) -> io::Error {
        let kind = self.kind.and_then(|kind| KINDS.get(kind)).copied();
        io::Error::new(kind.unwrap_or(io::ErrorKind::Other), self.text)
    }
}

/// Why a name has no address.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Unresolved {
    NotFound,
    Temporary(String),
    Refused(String),
    Invalid,
}

impl Unresolved {
    pub(super) fn of(error: &ResolveError) -> Self {
        match error {
            ResolveError::NotFound(_) => Self::NotFound,
            ResolveError::Temporary { reason, .. } => Self::Temporary(reason.clone()),
            ResolveError::Refused { reason, .. } => Self::Refused(reason.clone()),
            ResolveError::Invalid(_) => Self::Invalid,
            other => Self::Temporary(other.to_string()),
        }
    }

    pub(super) fn error(self, name: &str) -> ResolveError {
        let name = name.to_owned();
        match self {
            Self::NotFound => ResolveError::NotFound(name),
            Self::Temporary(reason) => ResolveError::Temporary { name, reason },
            Self::Refused(reason) => ResolveError::Refused { name, reason },
            Self::Invalid => ResolveError::Invalid(name),
        }
    }
}

/// The beginning of a text that may be long.
pub(super) fn short(text: &str) -> String {
    let end = text.floor_char_boundary(TEXT_BYTES_MAX);
    text.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_keep_what_guests_can_tell_apart() {
        for kind in KINDS {
            let sent = IoError::of(&io::Error::new(kind, "why"));
            let text = serde_json::to_string(&sent).unwrap();
            let received = serde_json::from_str::<IoError>(&text).unwrap().error();
            assert_eq!((received.kind(), received.to_string()), (kind, "why".to_owned()));
        }
        let other = IoError::of(&io::Error::other("odd")).error();
        assert_eq!((other.kind(), other.to_string()), (io::ErrorKind::Other, "odd".to_owned()));
    }

    #[test]
    fn a_host_from_before_there_were_requests_starts_containers() {
        let http = serde_json::to_value(HttpLimits::default()).unwrap();
        let old = serde_json::json!({
            "call": 1, "container": 2, "name": "web", "image": "sha256:0", "argv": [], "env": [],
            "cwd": null, "points": [], "services": [],
            "limits": {"memory_bytes": null, "cpu_millis": null}, "http_port": 80,
            "isolation": "Request", "http": http, "stdin": "Closed", "tty": false, "log": null,
            "tell_faults": true,
        });
        let start: Start = serde_json::from_value(old).unwrap();
        assert!(start.tell_faults && !start.tell_requests);
        assert_eq!(start.quiet_max, QUIET_MAX);
    }

    #[test]
    fn names_come_back_with_their_error() {
        let name = || "a.b".to_owned();
        let reason = || "not now".to_owned();
        for error in [
            ResolveError::NotFound(name()),
            ResolveError::Temporary { name: name(), reason: reason() },
            ResolveError::Refused { name: name(), reason: reason() },
            ResolveError::Invalid(name()),
        ] {
            assert_eq!(Unresolved::of(&error).error("a.b"), error);
        }
    }
}
