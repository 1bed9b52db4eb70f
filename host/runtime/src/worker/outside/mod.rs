//! The host's side: starts a pod's worker, and does for it what it may not do itself.
//!
//! What a worker says is not trusted: it can name streams, paths and addresses, and gets only what
//! its pod was granted; whatever else it says ends it.
//!
//! An edge: processes, tasks and files.

mod container;
mod files;
mod inbox;
mod ports;
mod process;
mod spawn;

pub(crate) use container::Remote;
pub(crate) use process::WorkerPod;
pub use spawn::Workers;
