//! The edge to what is not a function of the request: the clock and random numbers.

use coracle_api::meta::GENERATE_NAME_SUFFIX_LENGTH;
use jiff::Timestamp;
use rand::Rng;

use crate::metadata::Stamp;

/// The current time.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place of the server's request path that reads the clock"
)]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// A monotonic instant, for measuring how long a request took.
#[expect(clippy::disallowed_methods, reason = "durations in metrics are measured, not decided on")]
pub(crate) fn instant() -> std::time::Instant {
    std::time::Instant::now()
}

/// A fresh version 4 UUID.
pub(crate) fn uuid() -> String {
    uuid::Uuid::from_bytes(uuid_bytes()).to_string()
}

/// Random bytes with the version and variant bits of a version 4 UUID, from the thread's own generator: the system's
/// generator costs a call into the kernel for each object.
fn uuid_bytes() -> [u8; 16] {
    *uuid::Builder::from_random_bytes(rand::rng().random()).as_uuid().as_bytes()
}

/// The parts of a new object that come from here.
pub(crate) fn stamp() -> Stamp {
    Stamp { uid: uuid(), now: now() }
}

/// Random bytes for the suffix of a generated name.
pub(crate) fn name_suffix() -> [u8; GENERATE_NAME_SUFFIX_LENGTH] {
    rand::rng().random()
}

/// A random number, for choosing among free addresses and spreading timeouts.
pub(crate) fn random() -> u32 {
    rand::rng().random()
}
