//! Why a call of a plugin gave no result.

use std::time::Duration;

/// A call gave no result. The plugin can be called again; its instance is gone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The component exports no such function.
    #[error("the component exports no function {function}")]
    NoFunction {
        /// What was asked for.
        function: String,
    },
    /// The function has other parameters or another result.
    #[error("function {function} has another type: {message}")]
    Type {
        /// What was asked for.
        function: String,
        /// Where the types differ.
        message: String,
    },
    /// The guest trapped, or ended itself.
    #[error("function {function} failed: {message}")]
    Trapped {
        /// What was called.
        function: String,
        /// The trap and its WebAssembly backtrace.
        message: String,
    },
    /// The guest was refused memory and ended for it.
    #[error("function {function} needs more than {limit_bytes} bytes of memory")]
    Memory {
        /// What was called.
        function: String,
        /// The limit.
        limit_bytes: u64,
    },
    /// The call took too long.
    #[error("function {function} took longer than {limit:?}")]
    Timeout {
        /// What was called.
        function: String,
        /// The limit.
        limit: Duration,
    },
    /// The result is larger than it may be.
    #[error("function {function} handed over more than {bytes_max} bytes")]
    Output {
        /// What was called.
        function: String,
        /// The limit.
        bytes_max: usize,
    },
    /// This machine has no place for one more instance now.
    #[error("no free slot for an instance on this host")]
    NoSlot,
}

impl CallError {
    /// Says whether it is the guest that failed, and not the caller or this machine.
    #[must_use]
    pub const fn is_guests(&self) -> bool {
        match self {
            Self::Trapped { .. }
            | Self::Memory { .. }
            | Self::Timeout { .. }
            | Self::Output { .. } => true,
            Self::NoFunction { .. } | Self::Type { .. } | Self::NoSlot => false,
        }
    }
}
