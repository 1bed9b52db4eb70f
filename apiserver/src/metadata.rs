//! What the server itself writes into `metadata`, and what clients may change there.
//!
//! Pure: time and random parts come in as a [`Stamp`]. Validation of names, labels and owners is `coracle_api`'s.
//! *Source:* API conventions "Metadata"; `rest.BeforeCreate`, `rest.BeforeUpdate` of `k8s.io/apiserver` in behaviour.

use coracle_api::key::{GroupKind, GroupResource};
use coracle_api::meta;
use coracle_api::registry::Kind;
use coracle_api::status::Status;
use jiff::Timestamp;
use serde_json::{Value, json};

/// The parts of a new object that are not a function of the request.
#[derive(Clone, Debug)]
pub struct Stamp {
    /// A fresh version 4 UUID.
    pub uid: String,
    /// The time of the request.
    pub now: Timestamp,
}

/// Writes a time as `metav1.Time` does: whole seconds, UTC.
pub fn time(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Fills `apiVersion`, `kind` and `namespace` of an object that was sent to a collection.
///
/// # Errors
/// 400 when the object says it is something else, or belongs elsewhere.
pub fn settle_type(object: &mut Value, kind: &Kind, namespace: &str) -> Result<(), Status> {
    check_type(object, kind)?;
    let own = meta::namespace(object).to_owned();
    if kind.namespaced {
        if own.is_empty() {
            meta::set(object, "namespace", namespace);
        } else if own != namespace {
            return Err(Status::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
    } else {
        meta::remove(object, "namespace");
    }
    Ok(())
}

/// Checks that an object's `apiVersion` and `kind` are those of the resource, and fills in what is missing.
///
/// # Errors
/// 400 when they differ.
pub fn check_type(object: &mut Value, kind: &Kind) -> Result<(), Status> {
    let expected = kind.api_version();
    let version = object["apiVersion"].as_str().unwrap_or("");
    let name = object["kind"].as_str().unwrap_or("");
    let no_kind = |version: &str| {
        Status::bad_request(format!(
            "{} in version {version:?} cannot be handled as a {}: no kind {name:?} is registered for version \
             {version:?}",
            if name.is_empty() { "object" } else { name },
            kind.kind,
        ))
    };
    if !version.is_empty() && version != expected {
        return Err(Status::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({expected})"
        )));
    }
    if !name.is_empty() && name != kind.kind {
        return Err(no_kind(if version.is_empty() { &expected } else { version }));
    }
    if let Some(map) = object.as_object_mut() {
        map.insert("apiVersion".to_owned(), json!(expected));
        map.insert("kind".to_owned(), json!(kind.kind));
    }
    Ok(())
}

/// Writes the server's own fields into a new object.
///
/// # Errors
/// 400 when the object carries a `resourceVersion`: it would be a copy of another one.
pub fn prepare_create(object: &mut Value, stamp: &Stamp) -> Result<(), Status> {
    if !meta::resource_version(object).is_empty() {
        return Err(Status::bad_request(
            "resourceVersion should not be set on objects to be created",
        ));
    }
    for field in [
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "managedFields",
        "resourceVersion",
        "generation",
    ] {
        meta::remove(object, field);
    }
    meta::set(object, "uid", stamp.uid.as_str());
    meta::set(object, "creationTimestamp", time(stamp.now));
    Ok(())
}

/// Carries over from the stored object what a client may not change.
///
/// # Errors
/// 409 when the client names another uid, i.e. means an object that was deleted since.
pub fn prepare_update(
    new: &mut Value,
    old: &Value,
    resource: &GroupResource,
) -> Result<(), Status> {
    let (claimed, uid) = (meta::uid(new), meta::uid(old));
    if !claimed.is_empty() && claimed != uid {
        let why = format!(
            "Precondition failed: UID in precondition: {claimed}, UID in object meta: {uid}"
        );
        return Err(Status::conflict(resource, meta::name(old), why));
    }
    for field in [
        "uid",
        "creationTimestamp",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        match old["metadata"].get(field) {
            Some(value) => meta::set(new, field, value.clone()),
            None => meta::remove(new, field),
        }
    }
    for field in ["selfLink", "managedFields"] {
        meta::remove(new, field);
    }
    Ok(())
}

/// Checks `preconditions` of a delete, or the uid and revision that a client expects elsewhere.
///
/// # Errors
/// 409 when the object is not the one, or not in the state, that the client saw.
pub fn check_preconditions(
    object: &Value,
    resource: &GroupResource,
    uid: Option<&str>,
    resource_version: Option<&str>,
) -> Result<(), Status> {
    let name = meta::name(object);
    let fail = |what: &str, wanted: &str, found: &str| {
        let why = format!(
            "Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}"
        );
        Err(Status::conflict(resource, name, why))
    };
    match (uid, resource_version) {
        (Some(wanted), _) if wanted != meta::uid(object) => fail("UID", wanted, meta::uid(object)),
        (_, Some(wanted)) if wanted != meta::resource_version(object) => {
            fail("ResourceVersion", wanted, meta::resource_version(object))
        }
        _ => Ok(()),
    }
}

/// Compares the preconditions of a delete with the object.
///
/// # Errors
/// 409 when the object is another one, or another version of it; the message names the kind.
pub fn check_delete_preconditions(
    object: &Value,
    kind: &GroupKind,
    uid: Option<&str>,
    resource_version: Option<&str>,
) -> Result<(), Status> {
    let fail = |what: &str, wanted: &str, found: &str, end: &str| {
        let resource = GroupResource::new(kind.group.clone(), kind.kind.clone());
        let why = format!(
            "the {what} in the precondition ({wanted}) does not match the {what} in record ({found}). The object might have been {end}"
        );
        Err(Status::conflict(&resource, meta::name(object), why))
    };
    match (uid, resource_version) {
        (Some(wanted), _) if wanted != meta::uid(object) => {
            fail("UID", wanted, meta::uid(object), "deleted and then recreated")
        }
        (_, Some(wanted)) if wanted != meta::resource_version(object) => {
            fail("ResourceVersion", wanted, meta::resource_version(object), "modified")
        }
        _ => Ok(()),
    }
}

/// Whether an object that is being deleted has nothing left to wait for, so that this write removes it.
///
/// *Source:* an object goes when its last finalizer does, unless its grace period still runs.
pub fn is_finished(object: &Value) -> bool {
    let namespace_finalizers = object["kind"] == "Namespace"
        && object["spec"]["finalizers"].as_array().is_some_and(|list| !list.is_empty());
    meta::deletion_timestamp(object).is_some()
        && meta::finalizers(object).next().is_none()
        && meta::deletion_grace_period_seconds(object).unwrap_or(0) == 0
        && !namespace_finalizers
}
