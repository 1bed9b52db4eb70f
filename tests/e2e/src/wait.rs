//! Waiting for something to become true, with the last reason why it was not.

use std::fmt::Debug;
use std::thread;
use std::time::{Duration, Instant};

/// Long enough for anything on a loaded machine; a test that fails waits this long.
const PATIENCE: Duration = Duration::from_secs(120);

/// Tries until `look` gives `Ok`; panics with the last `Err` after two minutes.
pub fn eventually<T, E: Debug>(what: &str, look: impl FnMut() -> Result<T, E>) -> T {
    within(PATIENCE, what, look)
}

/// Tries until `look` gives `Ok`; panics with the last `Err` after `patience`.
pub fn within<T, E: Debug>(
    patience: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<T, E>,
) -> T {
    let start = Instant::now();
    loop {
        match look() {
            Ok(value) => return value,
            Err(error) if start.elapsed() > patience => {
                panic!("{what}: not within {patience:?}: {error:?}")
            }
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}
