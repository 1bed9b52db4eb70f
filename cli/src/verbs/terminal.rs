//! The user's terminal: handed on letter by letter while a command has one.

use anyhow::Context as _;
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

/// A terminal that passes every letter on; dropping it makes it as it was.
pub(crate) struct Terminal {
    before: Termios,
}

impl Terminal {
    /// Makes standard input raw; `None` if it is no terminal.
    pub(crate) fn raw() -> anyhow::Result<Option<Self>> {
        let input = std::io::stdin();
        if !isatty(&input) {
            return Ok(None);
        }
        let before = tcgetattr(&input).context("read the terminal's settings")?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&input, OptionalActions::Now, &raw).context("change the terminal's settings")?;
        Ok(Some(Self { before }))
    }

    /// Columns and lines of the terminal.
    pub(crate) fn size() -> Option<(u16, u16)> {
        let size = tcgetwinsize(std::io::stdin()).ok()?;
        Some((size.ws_col, size.ws_row))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if tcsetattr(std::io::stdin(), OptionalActions::Now, &self.before).is_err() {
            tracing::warn!("the terminal is left as it is: `reset` mends it");
        }
    }
}
