//! Endpoints: the older form of EndpointSlices, both ways.
//!
//! In: a Service, its Endpoints and its slices. Out: for a Service with a selector the Endpoints
//! that tell what the slices tell; for one without the slices that mirror what its user wrote.

mod mirror;
mod publish;
pub(crate) mod run;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Endpoints, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::endpointslice::has_selector;
use crate::objects::is_deleting;

/// Label of Endpoints that are made here. *Source:* KEP-4974.
pub const PUBLISHED_BY: &str = "endpoints.kubernetes.io/managed-by";
/// Its value.
pub const PUBLISHER: &str = "endpoint-controller";
/// Value of the slices' `managed-by` label for those that mirror Endpoints.
pub const MIRROR: &str = "endpointslicemirroring-controller.k8s.io";

/// Addresses in one Endpoints object or mirrored from one subset; the rest is cut off. *Source:*
/// Kubernetes docs, "Endpoints: Over-capacity endpoints".
pub const ADDRESSES_MAX: usize = 1000;

/// What a reconcile may look at; all of the same namespace and name.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The Service, `None` when it is gone.
    pub service: Option<Arc<Service>>,
    /// Its Endpoints.
    pub endpoints: Option<Arc<Endpoints>>,
    /// The slices that carry its name.
    pub slices: Vec<Arc<EndpointSlice>>,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Create the Endpoints.
    Create(Box<Endpoints>),
    /// Replace the Endpoints.
    Update(Box<Endpoints>),
    /// Delete the Endpoints: their Service is gone.
    Delete(Arc<Endpoints>),
    /// Create a slice.
    CreateSlice(Box<EndpointSlice>),
    /// Replace a slice.
    UpdateSlice(Box<EndpointSlice>),
    /// Delete a slice.
    DeleteSlice(Arc<EndpointSlice>),
}

/// Gives all that is to be done for a Service's name now; nothing when both forms agree.
pub fn reconcile(observed: &Observed) -> Vec<Action> {
    let Some(service) = observed.service.as_ref() else {
        let made = observed.endpoints.iter().filter(|there| is_published(&there.metadata));
        return made.cloned().map(Action::Delete).collect();
    };
    if is_deleting(&service.metadata) {
        return Vec::new();
    }
    if has_selector(service) {
        let mut actions = publish::publish(service, observed);
        actions.extend(mirror::mirrors(observed).cloned().map(Action::DeleteSlice));
        return actions;
    }
    mirror::mirror(service, observed)
}

fn is_published(meta: &ObjectMeta) -> bool {
    label(meta, PUBLISHED_BY) == Some(PUBLISHER)
}

fn label<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.labels.as_ref()?.get(key).map(String::as_str)
}
