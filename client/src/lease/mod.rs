//! Who leads: one holder of a `coordination.k8s.io/v1` Lease at a time.

mod elect;
mod run;

use std::time::Duration;

pub use run::Lease;

/// Which lease, who asks for it, and how long it lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseConfig {
    /// Namespace of the Lease, `kube-system` for the server's parts.
    pub namespace: String,
    /// Name of the Lease, `kube-scheduler` for example.
    pub name: String,
    /// Who we are; must differ between processes.
    pub identity: String,
    /// How long a holder may be silent before others take over, whole seconds.
    pub duration: Duration,
    /// How often a holder renews, and others look.
    pub renew_every: Duration,
    /// Nobody else can ask for it now: whoever holds it is a process that has ended.
    pub alone: bool,
}

impl LeaseConfig {
    /// Makes a configuration with client-go's usual times: 15 s, renewed each 5 s.
    pub fn new(
        namespace: impl Into<String>,
        name: impl Into<String>,
        identity: impl Into<String>,
    ) -> LeaseConfig {
        LeaseConfig {
            namespace: namespace.into(),
            name: name.into(),
            identity: identity.into(),
            duration: Duration::from_secs(15),
            renew_every: Duration::from_secs(5),
            alone: false,
        }
    }
}
