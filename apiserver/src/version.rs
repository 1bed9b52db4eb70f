//! The version that `/version` reports: which Kubernetes API is served, and which Coracle serves it.

use serde_json::{Value, json};

/// Kubernetes minor version whose API is served.
pub const KUBERNETES_MINOR: &str = "35";
/// What clients compare against; build metadata after `+` names this program.
pub const GIT_VERSION: &str = "v1.35.4+coracle";

/// The body of `/version`, a `version.Info`.
pub fn info() -> Value {
    json!({
        "major": "1",
        "minor": KUBERNETES_MINOR,
        "emulationMajor": "1",
        "emulationMinor": KUBERNETES_MINOR,
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": KUBERNETES_MINOR,
        "gitVersion": GIT_VERSION,
        "gitCommit": env!("CARGO_PKG_VERSION"),
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none",
        "compiler": "rustc",
        "platform": PLATFORM,
    })
}

#[cfg(target_arch = "aarch64")]
const PLATFORM: &str = "linux/arm64";
#[cfg(not(target_arch = "aarch64"))]
const PLATFORM: &str = "linux/amd64";
