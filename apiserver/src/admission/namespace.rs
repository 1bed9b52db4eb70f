//! Nothing is made in a namespace that does not exist or is on its way out, and some namespaces never go.
//!
//! *Source:* the `NamespaceLifecycle` admission plugin.

use super::{Operation, Request};
use crate::cache::Caches;
use coracle_api::key::GroupResource;
use coracle_api::status::Status;

/// Namespaces that cannot be deleted.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

/// Checks the namespace of a write.
pub(super) fn admit(request: &Request<'_>, caches: &Caches) -> Result<(), Status> {
    match request.operation {
        Operation::Delete if request.is_core("Namespace") => deletion(request),
        Operation::Create if request.kind.namespaced => creation(request, caches),
        Operation::Create | Operation::Update | Operation::Delete | Operation::Connect => Ok(()),
    }
}

fn deletion(request: &Request<'_>) -> Result<(), Status> {
    if IMMORTAL.contains(&request.name) {
        return Err(request.forbidden("this namespace may not be deleted"));
    }
    Ok(())
}

fn creation(request: &Request<'_>, caches: &Caches) -> Result<(), Status> {
    let name = request.namespace;
    let Some(namespace) = caches.get("", "namespaces", "", name) else {
        return Err(Status::not_found(&GroupResource::new("", "namespaces"), name));
    };
    // Subresources of what exists, such as a binding, still work.
    if !namespace.header.deleting() || !request.subresource.is_empty() {
        return Ok(());
    }
    let why =
        format!("unable to create new content in namespace {name} because it is being terminated");
    let cause = format!("namespace {name} is being terminated");
    Err(request.forbidden(why).with_cause("NamespaceTerminating", &cause, "metadata.namespace"))
}
