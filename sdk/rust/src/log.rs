//! Messages with a level, by `wasi:logging`: each is one line of JSON in the container's log, with the
//! trace of the request that is being answered.

use std::fmt::Display;

use crate::drafts::wasi::logging::logging;

pub use crate::drafts::wasi::logging::logging::Level;

/// Writes messages of one part of a program.
///
/// ```no_run
/// use coracle_sdk::log::Log;
///
/// const LOG: Log = Log::of("cart");
/// LOG.info(format_args!("{} items", 3));
/// LOG.warn("the price is old");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Log {
    context: &'static str,
}

impl Log {
    /// Names the part.
    pub const fn of(context: &'static str) -> Self {
        Self { context }
    }

    /// How the program goes.
    pub fn trace(&self, message: impl Display) {
        self.write(Level::Trace, message);
    }

    /// For who looks for a fault.
    pub fn debug(&self, message: impl Display) {
        self.write(Level::Debug, message);
    }

    /// What a user would notice.
    pub fn info(&self, message: impl Display) {
        self.write(Level::Info, message);
    }

    /// Unusual, and the program goes on.
    pub fn warn(&self, message: impl Display) {
        self.write(Level::Warn, message);
    }

    /// Wrong: a person must act.
    pub fn error(&self, message: impl Display) {
        self.write(Level::Error, message);
    }

    /// The end of the program.
    pub fn critical(&self, message: impl Display) {
        self.write(Level::Critical, message);
    }

    /// Writes a message of a level.
    pub fn write(&self, level: Level, message: impl Display) {
        crate::linked::drafts();
        logging::log(level, self.context, &message.to_string());
    }
}
