//! What a guest's stdin, stdout and stderr are.
//!
//! A container's own guest reads from [`Input`], if its specification says so, and writes to its log
//! and to whoever is attached ([`Taps`]). A command that runs beside it has bounded pipes instead,
//! with a [`terminal`] in front of them when its client has one. Nothing here decides who may look.

mod input;
mod interrupts;
mod pipes;
mod taps;
pub(crate) mod terminal;
mod typing;

use std::sync::Arc;

use std::net::{Ipv4Addr, SocketAddr};

use coracle_vnet::VStream;

pub(crate) use input::{GuestInput, Input};
pub(crate) use interrupts::Interrupts;
pub(crate) use pipes::PipeOutput;
pub use taps::STALL_MAX;
pub(crate) use taps::Taps;
pub(crate) use typing::{Screen, Terminal, broken};

/// The streams of one guest.
pub(crate) struct Stdio {
    /// `None` has ended before it began.
    pub(crate) input: Option<Arc<Input>>,
    /// In front of the input of a container with `tty`; a command's is its client's.
    pub(crate) terminal: Option<Arc<Terminal>>,
    pub(crate) output: Output,
    pub(crate) tty: bool,
}

/// Where a guest's output goes.
pub(crate) enum Output {
    /// Into the container's log, if there is one, and to whoever is attached.
    Log(Arc<Taps>),
    /// To one client.
    Pipes { stdout: PipeOutput, stderr: PipeOutput },
}

/// A bounded pipe inside the process: the end that writes, then the end that reads.
pub(crate) fn pipe() -> (VStream, VStream) {
    // Nobody asks these ends for their addresses.
    let nowhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
    VStream::pair(nowhere, nowhere)
}
