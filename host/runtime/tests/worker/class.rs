//! Where the pods of these tests run: each in a worker.

use std::sync::OnceLock;

use coracle_runtime::worker::Workers;
use coracle_runtime::{Sandbox, SandboxSpec};

/// Calls between http containers go over connections.
pub(crate) const HAS_CONNECTIONS: bool = true;

/// Makes a pod's sandbox.
pub(crate) fn sandbox(spec: SandboxSpec) -> Sandbox {
    static WORKERS: OnceLock<Workers> = OnceLock::new();
    let program = env!("CARGO_BIN_EXE_coracle-compile");
    let workers = WORKERS.get_or_init(|| Workers::new(program, vec!["worker".to_owned()]));
    Sandbox::in_worker(spec, workers)
}
