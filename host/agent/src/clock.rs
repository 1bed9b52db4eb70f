//! The one place of the agent's loop that reads the clock.

use jiff::Timestamp;

/// Gives the time of day.
#[expect(clippy::disallowed_methods, reason = "the edge that turns the clock into an input")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}
