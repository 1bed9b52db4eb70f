//! The stop notice: what SIGTERM is to a Linux container.

use std::time::Duration;

use wasip2::io::poll::Pollable;

use crate::bindings::coracle::lifecycle::stop;

/// Tells whether the container should end.
///
/// ```no_run
/// use coracle_sdk::lifecycle::StopNotice;
///
/// let notice = StopNotice::subscribe();
/// while !notice.is_raised() {
///     // One piece of work at a time.
/// }
/// // Save what must not be lost, then return from `main`.
/// ```
#[derive(Debug)]
pub struct StopNotice {
    pollable: Pollable,
}

impl StopNotice {
    /// Asks to be told. From then on the container is not ended before its deadline.
    pub fn subscribe() -> Self {
        crate::linked::lifecycle();
        Self { pollable: stop::subscribe() }
    }

    /// Says whether the container should end.
    pub fn is_raised(&self) -> bool {
        self.pollable.ready()
    }

    /// Waits until the container should end.
    pub fn wait(&self) {
        self.pollable.block();
    }

    /// Gives the pollable, to wait for it together with others by `wasip2::io::poll::poll`.
    pub fn pollable(&self) -> &Pollable {
        &self.pollable
    }
}

/// Says how long the container has until it is cut off; `None` while it was not asked to end.
pub fn remaining() -> Option<Duration> {
    crate::linked::lifecycle();
    stop::remaining().map(Duration::from_nanos)
}
