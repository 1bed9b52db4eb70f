//! Where the pods of these tests run: in this process.

use coracle_runtime::{Sandbox, SandboxSpec};

/// Calls between http containers go over connections.
pub(crate) const HAS_CONNECTIONS: bool = false;

/// Makes a pod's sandbox.
pub(crate) fn sandbox(spec: SandboxSpec) -> Sandbox {
    Sandbox::new(spec)
}
