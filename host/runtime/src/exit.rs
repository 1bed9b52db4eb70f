//! How a container ended, in the words and codes that Kubernetes has for it.
//!
//! Pure: what a run came to goes in, an [`Exit`] comes out. Reading clocks or waiting for a run
//! is never done here.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

/// The end of one run of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit code as a shell would show it, 0 to 255.
    pub code: i32,
    /// Why it ended.
    pub reason: ExitReason,
    /// What there is to tell about the end: the trap and its WebAssembly backtrace, the limit that
    /// was hit. Empty after a plain exit.
    pub message: String,
}

/// Why a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ExitReason {
    /// The guest ended by itself with code 0.
    Completed,
    /// The guest ended by itself with another code, or a trap ended it.
    Error,
    /// The guest asked for more memory than its limit.
    OomKilled,
    /// The guest was asked to stop, had nothing in flight, and was ended for it.
    Stopped,
    /// The guest was cut off: killed, or still busy at the end of its grace period.
    Killed,
}

impl ExitReason {
    /// Gives the reason as `containerStatuses[].state.terminated.reason` spells it.
    ///
    /// *Source:* kubelet's container states; a stopped or killed container is an `Error` there.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "Completed",
            Self::Error | Self::Stopped | Self::Killed => "Error",
            Self::OomKilled => "OOMKilled",
        }
    }
}

/// What a container that could not be started exits with.
///
/// *Source:* kubelet's exit code for a failed start.
pub(crate) const CODE_NOT_STARTED: i32 = 128;
/// 128 + SIGINT: what a program that was interrupted from its terminal exits with.
pub(crate) const CODE_INTERRUPTED: i32 = 130;
/// 128 + SIGABRT: what a native program that aborts exits with.
pub(crate) const CODE_ABORTED: i32 = 134;
/// 128 + SIGKILL.
pub(crate) const CODE_KILLED: i32 = 137;
/// 128 + SIGSEGV.
pub(crate) const CODE_FAULTED: i32 = 139;
/// 128 + SIGTERM.
pub(crate) const CODE_STOPPED: i32 = 143;

impl Exit {
    /// Gives the end of a guest that returned or called `exit` with `code`.
    #[must_use]
    pub fn of_code(code: i32) -> Self {
        let reason = if code == 0 { ExitReason::Completed } else { ExitReason::Error };
        Self { code, reason, message: String::new() }
    }

    /// Gives the end of a guest that hit its memory limit of `limit_bytes`.
    #[must_use]
    pub fn oom_killed(limit_bytes: u64) -> Self {
        Self {
            code: CODE_KILLED,
            reason: ExitReason::OomKilled,
            message: format!("memory limit of {limit_bytes} bytes reached"),
        }
    }

    /// Gives the end of a guest that was cut off, with the reason in `message`.
    #[must_use]
    pub fn killed(message: impl Into<String>) -> Self {
        Self { code: CODE_KILLED, reason: ExitReason::Killed, message: message.into() }
    }

    /// Gives the end of a guest that was asked to stop and had nothing in flight.
    #[must_use]
    pub fn stopped() -> Self {
        Self { code: CODE_STOPPED, reason: ExitReason::Stopped, message: String::new() }
    }

    /// Gives the end of a guest that never began.
    fn not_started(message: &str) -> Self {
        Self { code: CODE_NOT_STARTED, reason: ExitReason::Error, message: message.to_owned() }
    }

    /// Gives the end of a guest that did not end by itself.
    pub(crate) fn of_ended(ended_by: EndedBy) -> Self {
        match ended_by {
            EndedBy::Stop => Self::stopped(),
            EndedBy::Deadline => Self::killed("still busy at the end of the grace period"),
            EndedBy::Kill => Self::killed("killed"),
        }
    }

    /// Gives the end of a guest that trapped; `message` holds the trap and its backtrace.
    ///
    /// *Source:* `design.md` §2, Stopping: `unreachable` 134, out of bounds and stack overflow
    /// 139. Every other trap is a fault of the program as well and counts as an abort.
    #[must_use]
    pub fn trapped(trap: wasmtime::Trap, message: String) -> Self {
        let faulted = matches!(
            trap,
            wasmtime::Trap::StackOverflow
                | wasmtime::Trap::MemoryOutOfBounds
                | wasmtime::Trap::TableOutOfBounds
                | wasmtime::Trap::HeapMisaligned
        );
        let code = if faulted { CODE_FAULTED } else { CODE_ABORTED };
        Self { code, reason: ExitReason::Error, message }
    }
}

/// What was going on around a run when it ended.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Circumstance {
    /// Somebody ended the run, and how.
    pub(crate) ended_by: Option<EndedBy>,
    /// The memory limit that the guest was refused memory for, in bytes.
    pub(crate) refused_at_bytes: Option<u64>,
}

/// Who ended a run that did not end by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndedBy {
    /// A stop found nothing in flight.
    Stop,
    /// A stop whose grace period ran out.
    Deadline,
    /// A kill.
    Kill,
}

/// Turns what a run came to into an [`Exit`].
///
/// `result` is what `wasi:cli/run` returned, or the error that ended it. A guest that called
/// `exit` keeps its code whatever else happened; a refusal of memory only counts when the guest
/// then trapped, because a guest may take a refusal well.
pub(crate) fn exit_of(result: wasmtime::Result<Result<(), ()>>, around: Circumstance) -> Exit {
    let error = match result {
        Ok(Ok(())) => return Exit::of_code(0),
        Ok(Err(())) => return Exit::of_code(1),
        Err(error) => error,
    };
    if let Some(exit) = error.downcast_ref::<wasmtime_wasi::I32Exit>() {
        return Exit::of_code(exit.0 & 0xff);
    }
    if let Some(ended_by) = around.ended_by {
        return Exit::of_ended(ended_by);
    }
    if let Some(limit_bytes) = around.refused_at_bytes {
        return Exit::oom_killed(limit_bytes);
    }
    if error.is::<wasmtime::PoolConcurrencyLimitError>() {
        return Exit::not_started("no free slot for an instance on this host");
    }
    let message = message_of(&error);
    match error.downcast_ref::<wasmtime::Trap>() {
        Some(trap) => Exit::trapped(*trap, message),
        None => Exit { code: CODE_ABORTED, reason: ExitReason::Error, message },
    }
}

/// The most bytes of a message that are kept.
///
/// *Source:* kubelet's `MaxContainerTerminationMessageLength`, 4,096 bytes.
const MESSAGE_BYTES_MAX: usize = 4096;

/// Writes an error and its causes: the trap first, then the WebAssembly backtrace.
///
/// The names of functions are the guest's to choose, and what one mangled name stands for can be
/// longer than any memory. So only Rust's names are unmangled, whose length is known to be bounded
/// while they are written, and nothing is written beyond what is kept.
pub(crate) fn message_of(error: &wasmtime::Error) -> String {
    let mut message = Short(String::new());
    // What does not fit is left out, which is the only way to fail here.
    let _ = write!(message, "{}", error.root_cause());
    if let Some(backtrace) = error.downcast_ref::<wasmtime::WasmBacktrace>() {
        let _ = write_backtrace(&mut message, backtrace);
    }
    message.0
}

fn write_backtrace(out: &mut Short, backtrace: &wasmtime::WasmBacktrace) -> fmt::Result {
    write!(out, "\nerror while executing at wasm backtrace:")?;
    for (index, frame) in backtrace.frames().iter().enumerate() {
        let module = frame.module().name().unwrap_or("<unknown>");
        let offset = frame.module_offset().unwrap_or_default();
        write!(out, "\n  {index:>3}: {offset:#8x} - {module}!")?;
        match frame.func_name().map(|name| (name, rustc_demangle::try_demangle(name))) {
            Some((_, Ok(name))) => write!(out, "{name}")?,
            Some((name, Err(_))) => write!(out, "{name}")?,
            None => write!(out, "<wasm function {}>", frame.func_index())?,
        }
    }
    Ok(())
}

/// A text of at most [`MESSAGE_BYTES_MAX`]; what would make it longer fails.
struct Short(String);

impl fmt::Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = MESSAGE_BYTES_MAX.saturating_sub(self.0.len());
        let fitting = text.get(..text.floor_char_boundary(room)).unwrap_or_default();
        self.0.push_str(fitting);
        if fitting.len() == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtime::Trap;

    fn check(result: wasmtime::Result<Result<(), ()>>, around: Circumstance, want: (i32, &str)) {
        let exit = exit_of(result, around);
        assert_eq!((exit.code, exit.reason.as_str()), want, "{exit:?}");
    }

    #[test]
    fn messages_are_cut_where_they_get_too_long() {
        let mut message = Short(String::new());
        write!(message, "{}", "ä".repeat(MESSAGE_BYTES_MAX / 2 - 1)).unwrap();
        assert!(write!(message, "aä").is_err());
        assert_eq!(message.0.len(), MESSAGE_BYTES_MAX - 1);
    }

    #[test]
    fn codes_and_reasons() {
        let calm = Circumstance::default();
        let refused = Circumstance { refused_at_bytes: Some(1 << 20), ..calm };
        let ended = |by| Circumstance { ended_by: Some(by), ..calm };
        let exit = |code| Err(wasmtime_wasi::I32Exit(code).into());
        let trap = |trap: Trap| Err(trap.into());
        check(Ok(Ok(())), calm, (0, "Completed"));
        check(Ok(Err(())), calm, (1, "Error"));
        check(exit(0), calm, (0, "Completed"));
        check(exit(9), calm, (9, "Error"));
        check(exit(9), ended(EndedBy::Stop), (9, "Error"));
        check(trap(Trap::UnreachableCodeReached), calm, (134, "Error"));
        check(trap(Trap::IntegerDivisionByZero), calm, (134, "Error"));
        check(trap(Trap::StackOverflow), calm, (139, "Error"));
        check(trap(Trap::MemoryOutOfBounds), calm, (139, "Error"));
        check(trap(Trap::UnreachableCodeReached), refused, (137, "OOMKilled"));
        check(Ok(Ok(())), refused, (0, "Completed"));
        check(trap(Trap::Interrupt), ended(EndedBy::Stop), (143, "Error"));
        check(trap(Trap::Interrupt), ended(EndedBy::Deadline), (137, "Error"));
        check(trap(Trap::Interrupt), ended(EndedBy::Kill), (137, "Error"));
    }
}
