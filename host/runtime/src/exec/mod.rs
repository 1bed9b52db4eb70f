//! Commands that run beside a container's own guest, and looking at the guest's own streams.
//!
//! An [`ExecSpec`] comes in by [`Container::exec`](crate::Container::exec); a fresh instance of the
//! program that it names runs with the container's files, environment, network namespace and
//! limits, and its streams go out as an [`Exec`]. The container's own memory is never touched.
//! [`Container::attach`](crate::Container::attach) gives [`Attached`]: the streams of the guest that
//! runs already.

mod handle;
mod run;

use std::pin::Pin;
use std::sync::Arc;

use coracle_vnet::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};

pub use crate::stdio::STALL_MAX;
pub use handle::{ExecHandle, ExecOwner, TerminalSize};
pub(crate) use run::start;

use crate::image::Image;

/// Commands that run beside one container at once. A probe takes one, a person another; more than
/// this is somebody's loop.
pub const EXECS_MAX: usize = 32;

/// Clients that look at one container's streams at once; each makes the guest wait for it.
pub const ATTACHED_MAX: usize = 16;

/// What a client reads from.
pub type Reader = Pin<Box<dyn AsyncRead + Send + Sync>>;

/// What a client writes to; shutting it down, or dropping it, is the end of the guest's input.
pub type Writer = Pin<Box<dyn AsyncWrite + Send + Sync>>;

/// A command to run beside a container.
///
/// *Source:* `v1.PodExecOptions`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecSpec {
    /// The argument vector; the first is the program. Not empty.
    pub argv: Vec<String>,
    /// The streams are a terminal: what comes in is echoed and edited line by line, and stderr
    /// comes with stdout.
    pub tty: bool,
    /// The command reads what the client sends; otherwise its input has ended before it begins.
    pub stdin: bool,
}

/// A command that runs. Dropping the handle and all its clones ends it.
pub struct Exec {
    /// What the command reads; `None` when the client did not ask for it.
    pub stdin: Option<Writer>,
    /// What the command writes; ends with the command.
    pub stdout: Reader,
    /// What it writes as errors; `None` with a terminal, where it comes with stdout.
    pub stderr: Option<Reader>,
    /// Its end, and the means to bring it about.
    pub handle: ExecHandle,
}

/// The streams of a container's own guest, from now on.
///
/// A client that does not read makes the guest wait; after [`STALL_MAX`] without a byte taken it
/// is cut off instead. The streams end with the container.
pub struct Attached {
    /// What the guest reads; `None` when the container was started without input.
    pub stdin: Option<Writer>,
    /// What it writes.
    pub stdout: Reader,
    /// What it writes as errors; `None` when the container has a terminal.
    pub stderr: Option<Reader>,
}

/// A command cannot be run beside a container, or its streams cannot be looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ExecError {
    /// Neither the container's image nor the host's tools have such a program.
    #[error("\"{command}\": executable file not found in the image or the toolbox")]
    NotFound {
        /// The first of the argument vector; empty when there was none.
        command: String,
    },
    /// The container has not started yet, or has ended.
    #[error("container not running")]
    NotRunning,
    /// [`EXECS_MAX`] or [`ATTACHED_MAX`] was reached.
    #[error("too many commands or clients at this container: must be at most {max}")]
    TooMany {
        /// The most that there may be.
        max: usize,
    },
    /// The program is there and cannot be started.
    #[error("start \"{command}\": {message}")]
    Failed {
        /// The first of the argument vector.
        command: String,
        /// Why not.
        message: String,
    },
}

/// Finds what the first word of a command names. The embedder decides: an image's own programs, a
/// set of tools, or nothing.
pub trait Programs: Send + Sync {
    /// Gives the image to run for `command`, `None` when there is no such program.
    ///
    /// # Errors
    /// A sentence, when the program is there and cannot be prepared.
    fn find<'a>(&'a self, command: &'a str) -> BoxFuture<'a, Result<Option<Arc<Image>>, String>>;
}
