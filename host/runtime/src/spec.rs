//! What a container is started with: the plain data that the caller fills in.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use coracle_telemetry::{Logger, RequestLineSink, RequestSink, Tracer};

use crate::exec::Programs;
use crate::image::Image;
use crate::latency::Latencies;
use crate::meter::Throttling;
use crate::mounts::{DiskCounts, MountTable};

/// How long a served connection may be without a byte before a stop no longer waits for it, unless said otherwise.
///
/// *Source:* `design.md` §2, Stopping.
pub(crate) const QUIET_MAX: Duration = Duration::from_secs(1);

/// Everything that a container may have and must keep to.
pub struct ContainerSpec {
    /// The container's name in its pod; for messages.
    pub name: String,
    /// What runs.
    pub image: Arc<Image>,
    /// The argument vector, program name first.
    pub argv: Vec<String>,
    /// The environment, in order.
    pub env: Vec<(String, String)>,
    /// The working directory; `None` is `/`.
    pub cwd: Option<String>,
    /// The files that the guest sees.
    pub mounts: MountTable,
    /// Memory and CPU.
    pub limits: Limits,
    /// The port that an http container is served on in the pod's network namespace; not used by
    /// commands. The caller sets `$PORT` to it.
    pub http_port: u16,
    /// How an http container's requests share instances; not used by commands.
    pub isolation: Isolation,
    /// How many requests an http container takes at once, and for how long.
    pub http: HttpLimits,
    /// How long a connection that a stopped command serves may be without a byte before the stop no longer waits for it;
    /// not used by http containers.
    pub quiet_max: Duration,
    /// Where stdout and stderr go; `None` throws them away.
    pub log: Option<LogSpec>,
    /// What the guest reads.
    pub stdin: Stdin,
    /// The guest's streams are a terminal: stderr comes with stdout.
    pub tty: bool,
    /// Finds the commands that may run beside the guest; `None` finds none.
    pub programs: Option<Arc<dyn Programs>>,
    /// Is told when a request ended its instance, at most once in [`crate::http::FAULT_INTERVAL`].
    pub on_fault: Option<FaultSink>,
    /// Makes spans of the requests that an http container answers, and of those that its guests send
    /// by wasi:http; `None` makes none and costs nothing.
    pub tracer: Option<Tracer>,
    /// Sends what the guests write to a collector, beside the log; `None` sends nothing.
    pub logger: Option<Logger>,
    /// Notes each request that an http container has answered. Then requests have ids, which guests see, hand on in
    /// requests of their own by wasi:http, and [`LogSpec::request_lines`] is given lines with.
    pub requests: Option<RequestSink>,
}

impl ContainerSpec {
    /// Gives a container of `image` with `name`, and nothing granted: no arguments but the name,
    /// no environment, an empty file system, no limits, no log, port 80, a second of quiet.
    #[must_use]
    pub fn new(name: impl Into<String>, image: Arc<Image>) -> Self {
        let name = name.into();
        Self {
            argv: vec![name.clone()],
            name,
            image,
            env: Vec::new(),
            cwd: None,
            mounts: MountTable::default(),
            limits: Limits::default(),
            http_port: 80,
            isolation: Isolation::Request,
            http: HttpLimits::default(),
            quiet_max: QUIET_MAX,
            log: None,
            stdin: Stdin::Closed,
            tty: false,
            programs: None,
            on_fault: None,
            tracer: None,
            logger: None,
            requests: None,
        }
    }
}

/// What a container's own guest reads as its input.
///
/// *Source:* `v1.Container`, `stdin` and `stdinOnce`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Stdin {
    /// Nothing: the input has ended before the guest begins.
    #[default]
    Closed,
    /// What attached clients write, one after the other.
    Open,
    /// What the first attached client writes; its end is the end of the input.
    Once,
}

/// The most that a container may use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of linear memory, tables and host-side buffers of all its instances together; `None`
    /// leaves only the engine's own bound for each memory.
    pub memory_bytes: Option<u64>,
    /// Thousandths of a core; `None` is unlimited.
    pub cpu_millis: Option<u32>,
}

/// How the requests of an http container share instances.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Isolation {
    /// A fresh instance for each request.
    #[default]
    Request,
    /// Instances are used again, for at most [`crate::http::POOLED_REQUESTS_MAX`] requests each,
    /// one request at a time.
    Pooled,
    /// One instance keeps its state and serves one request after the other; its end is the
    /// container's.
    Resident,
}

/// What an http container takes before it says no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpLimits {
    /// How long the response to a request may take, and then each further piece of its body; the
    /// guest is cut off after that.
    pub request_timeout: Duration,
    /// Requests that run at once.
    pub concurrency_max: u32,
    /// Requests that wait for their turn; one more is answered with 503.
    pub queue_max: u32,
    /// How long a request waits for its turn before it is answered with 503.
    pub queue_timeout: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(60),
            concurrency_max: 128,
            queue_max: 1024,
            queue_timeout: Duration::from_secs(10),
        }
    }
}

/// Where a container's output is written, in the CRI log format.
#[derive(Debug, Clone)]
pub struct LogSpec {
    /// The file; rotated files lie beside it with `.1`, `.2`, … appended, the newest first.
    pub path: PathBuf,
    /// Bytes after which the file is rotated.
    pub bytes_max: u64,
    /// Files that are kept, the current one included; at least 1.
    pub files_max: u32,
    /// Is given each line that was written for a request, with its id; the file does not name it.
    pub request_lines: Option<RequestLineSink>,
}

impl LogSpec {
    /// Gives a log at `path` with kubelet's limits: 10 MiB a file, 5 files.
    ///
    /// *Source:* kubelet's `containerLogMaxSize` and `containerLogMaxFiles`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), bytes_max: 10 << 20, files_max: 5, request_lines: None }
    }
}

/// Takes the faults of an http container's instances.
pub type FaultSink = Arc<dyn Fn(Fault) + Send + Sync>;

/// A request that ended its instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What happened.
    pub kind: FaultKind,
    /// What there is to tell: the request line, the trap and its backtrace.
    pub message: String,
    /// Faults of this container since the last one that was told, this one not counted.
    pub suppressed: u64,
}

/// What ended the instance of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FaultKind {
    /// The guest trapped, or ended without a response.
    Trap,
    /// The request took longer than its timeout.
    Timeout,
    /// The guest was refused memory and ended for it.
    Memory,
}

impl FaultKind {
    /// Gives a CamelCase word for events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trap => "RequestTrapped",
            Self::Timeout => "RequestTimedOut",
            Self::Memory => "RequestOutOfMemory",
        }
    }
}

/// What a container has used so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Microseconds of CPU since the start.
    pub cpu_usec: u64,
    /// Bytes of memory that its instances hold now.
    pub memory_bytes: u64,
    /// The most that they held at once since the start.
    pub memory_bytes_max: u64,
    /// Requests that were begun since the start; 0 for commands.
    pub requests: u64,
    /// Requests that ended their instance since the start.
    pub faults: u64,
    /// Instances that live now.
    pub instances: u64,
    /// How long the requests took that have ended, and how they ended.
    pub latencies: Latencies,
    /// How often the container's CPU limit made it wait.
    pub throttling: Throttling,
    /// What it read from files and wrote to them.
    pub disk: DiskCounts,
}
