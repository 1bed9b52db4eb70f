//! EndpointSlice: which pods answer for a Service, and on which ports.
//!
//! In: a Service, the pods that it selects, the slices that are there for it. Out: slices to
//! create, change and delete. Where a connection goes is never decided here.

mod endpoints;
mod reconcile;
pub(crate) mod run;

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;

pub use endpoints::matters;
pub(crate) use reconcile::has_selector;
pub use reconcile::reconcile;

/// Label that names a slice's Service.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Label that names who keeps a slice.
pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`] on our slices, the one that upstream's controller uses.
pub const CONTROLLER: &str = "endpointslice-controller.k8s.io";
/// Label of a Node that says its zone.
pub const ZONE: &str = "topology.kubernetes.io/zone";
/// Label on the slices of a headless Service.
pub const HEADLESS: &str = "service.kubernetes.io/headless";

/// Most endpoints in one slice, so that one change of a large Service stays a small object.
/// *Source:* kube-controller-manager's default.
pub const SLICE_ENDPOINTS_MAX: usize = 100;

/// What a reconcile may look at.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The Service.
    pub service: Arc<Service>,
    /// The pods that its selector takes.
    pub pods: Vec<Arc<Pod>>,
    /// The slices of its name that this controller keeps.
    pub slices: Vec<Arc<EndpointSlice>>,
    /// The zones of nodes, by name; a node without one is not here.
    pub zones: BTreeMap<String, String>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Create a slice; the server gives it its name.
    Create(Box<EndpointSlice>),
    /// Replace a slice, guarded by its resourceVersion.
    Update(Box<EndpointSlice>),
    /// Delete a slice.
    Delete(Arc<EndpointSlice>),
}
