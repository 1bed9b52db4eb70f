//! Long work on a terminal: a turning mark with what is done and for how long. Nothing where nobody
//! looks.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How often the mark turns.
const TURN: Duration = Duration::from_millis(100);

/// Shows that something goes on, until it is dropped.
pub(crate) struct Busy(ProgressBar);

impl Busy {
    /// Begins to show it on standard error, if that is a terminal.
    pub(crate) fn with(what: &str) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new_spinner().with_message(what.to_owned());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(TURN);
        Self(bar)
    }

    /// Says what goes on now.
    pub(crate) fn now(&self, what: &str) {
        self.0.set_message(what.to_owned());
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
