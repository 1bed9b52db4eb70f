//! Runs a reconcile per key: each key once at a time, again after a failure, as fast as it comes.
//!
//! Comes in: keys, from observers of caches. Goes out: calls of the reconcile. Vocabulary: a key
//! is *dirty* from when it is added until its reconcile begins, and *running* until it ends; one
//! that is added while it runs, runs once more afterwards.

mod queue;
mod run;
mod schedule;

use std::time::Duration;

pub use queue::Queue;
pub use run::{Drive, drive};

/// What a reconcile asks for when it went well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing more until the key is added again.
    Done,
    /// Again after this time, though nothing changes.
    RequeueAfter(Duration),
    /// Again with the key's back-off, as after a failure, but nothing to report.
    Retry,
}

impl Outcome {
    /// Makes the outcome of an optional waiting time.
    pub fn after(wait: Option<Duration>) -> Outcome {
        wait.map_or(Outcome::Done, Outcome::RequeueAfter)
    }
}
