//! Ends connections on which nothing happens.
//!
//! An edge: it sleeps.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How long a stream may be silent in both directions.
///
/// *Source:* the kubelet's `streamingConnectionIdleTimeout`.
pub(crate) const IDLE_MAX: Duration = Duration::from_secs(4 * 60 * 60);

/// How long a client has to close a connection on which everything was said, before it is cut.
pub(crate) const LINGER_MAX: Duration = Duration::from_secs(2);

/// When something last happened. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Idle {
    last: Arc<Mutex<Instant>>,
}

impl Idle {
    /// Begins now.
    pub(crate) fn new() -> Self {
        Self { last: Arc::new(Mutex::new(Instant::now())) }
    }

    /// Something happens.
    pub(crate) fn touch(&self) {
        *self.last.lock() = Instant::now();
    }

    /// Resolves after [`IDLE_MAX`] of silence. Cancel safe.
    pub(crate) async fn elapsed(&self) {
        loop {
            let until = *self.last.lock() + IDLE_MAX;
            tokio::time::sleep_until(until).await;
            if *self.last.lock() + IDLE_MAX <= until {
                return;
            }
        }
    }
}
