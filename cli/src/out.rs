//! What the user reads: plain lines on standard output. Logs go to standard error.

use std::fmt::Display;
use std::io::Write as _;

/// Prints a line. Output that nobody reads any more (a closed pipe) is no error.
pub(crate) fn line(text: impl Display) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
        tracing::debug!("standard output is closed");
    }
}
