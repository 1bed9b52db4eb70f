//! The monotonic clock, read in this one place.

use std::time::Instant;

/// Now. Ages UDP flows.
#[expect(clippy::disallowed_methods, reason = "the edge where this crate reads the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
