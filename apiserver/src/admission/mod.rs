//! What the cluster has to say about a write between decoding and validation: it fills in, or refuses.
//!
//! In: who, what, the new and the old object, and the caches for look-ups. Out: the object as changed, or a refusal.
//! The plugins run in upstream's order. Never here: defaults that depend on the object alone (`api::defaults`), and
//! whether an object is valid (`api::validate`).

pub(crate) mod capability;
pub(crate) mod certificate;
mod default_class;
mod limit_range;
pub(crate) mod matching;
mod namespace;
mod node;
mod pod_security;
pub(crate) mod policy;
mod priority;
pub(crate) mod quota;
mod runtime_class;
mod service_account;
mod tolerations;
pub(crate) mod topology;

pub use node::is_restricted as is_restricted_label;

use crate::audit::Notes;
use crate::authn::UserInfo;
use crate::cache::Caches;
use coracle_api::registry::Kind;
use coracle_api::status::Status;
use serde_json::Value;

/// What is done to the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// It is made.
    Create,
    /// It is changed, by `PUT` or `PATCH`.
    Update,
    /// Its deletion is asked for.
    Delete,
    /// A stream to it is opened; the object is then the options of the stream.
    Connect,
}

/// A write that asks to be let in.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Who asks.
    pub user: &'a UserInfo,
    /// What is done.
    pub operation: Operation,
    /// The kind of the object in the path.
    pub kind: &'static Kind,
    /// The subresource, or empty.
    pub subresource: &'a str,
    /// The namespace, empty for kinds without one.
    pub namespace: &'a str,
    /// The object's name; empty for one whose name is still to be generated.
    pub name: &'a str,
    /// Takes what the audit log is to know.
    pub(crate) notes: &'a Notes,
}

impl Request<'_> {
    /// Whether the request is about the main resource of a core kind.
    pub(crate) fn is_core(&self, kind: &str) -> bool {
        self.kind.group.is_empty() && self.kind.kind == kind && self.subresource.is_empty()
    }

    /// A refusal in upstream's form: `pods "x" is forbidden: WHY`.
    pub(crate) fn forbidden(&self, why: impl std::fmt::Display) -> Status {
        Status::forbidden_because(&self.kind.group_resource(), self.name, why)
    }
}

/// Asks every plugin in turn. `object` is the new object (none for a deletion), `old` the stored one (none for a
/// creation); plugins may change the new one.
///
/// # Errors
/// The first refusal; what was changed until then is of no use.
pub fn admit(
    request: &Request<'_>,
    object: Option<&mut Value>,
    old: Option<&Value>,
    caches: &Caches,
) -> Result<(), Status> {
    namespace::admit(request, caches)?;
    match object {
        Some(object) => {
            certificate::admit(request, object, old)?;
            limit_range::fill(request, object, caches);
            service_account::admit(request, object, caches)?;
            node::admit(request, object, old)?;
            priority::admit(request, object, caches)?;
            tolerations::admit(request, object);
            default_class::admit(request, object, caches)?;
            runtime_class::admit(request, object, caches)?;
            topology::admit(request, object, caches);
            capability::check_policy(request, object)
        }
        None => {
            priority::admit_delete(request)?;
            node::admit_delete(request, old)
        }
    }
}

/// Asks every plugin that only looks, once the object is as it would be stored. `object` is the new object, for a deletion
/// the stored one; `warnings` takes what the writer should know.
///
/// # Errors
/// The first refusal.
pub fn approve(
    request: &Request<'_>,
    object: &Value,
    old: Option<&Value>,
    caches: &Caches,
    warnings: &mut Vec<String>,
) -> Result<(), Status> {
    if request.operation == Operation::Delete {
        return Ok(());
    }
    limit_range::check(request, object, caches)?;
    pod_security::admit(request, object, old, caches, warnings)
}

/// The object's `spec` as a map; made when it is not there, so that rules can write into it.
fn spec_mut(object: &mut Value) -> Option<&mut serde_json::Map<String, Value>> {
    let spec =
        object.as_object_mut()?.entry("spec").or_insert_with(|| Value::Object(Default::default()));
    spec.as_object_mut()
}

#[cfg(test)]
mod tests;
