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

/// Prints a text as it is, with its own line ends.
pub(crate) fn text(text: &str) {
    bytes(text.as_bytes());
}

/// Prints bytes as they are.
pub(crate) fn bytes(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    if out.write_all(bytes).and_then(|()| out.flush()).is_err() {
        tracing::debug!("standard output is closed");
    }
}

/// Prints bytes on standard error: what a container wrote there.
pub(crate) fn error_bytes(bytes: &[u8]) {
    let mut out = std::io::stderr().lock();
    if out.write_all(bytes).and_then(|()| out.flush()).is_err() {
        tracing::debug!("standard error is closed");
    }
}

/// Says something beside the output proper, on standard error.
pub(crate) fn note(text: &str) {
    error_bytes(format!("{text}\n").as_bytes());
}

/// The program ends with the exit code of what it ran, and says nothing.
#[derive(Debug, thiserror::Error)]
#[error("command terminated with exit code {0}")]
pub(crate) struct Ended(pub(crate) u8);
