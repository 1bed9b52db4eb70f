//! The read-modify-write loop under `PUT`, `PATCH` and the subresources, and what all writes share.

use bytes::Bytes;
use coracle_api::apply;
use coracle_api::decode::Decoded;
use coracle_api::field_error::{Cause, FieldError};
use coracle_api::meta;
use coracle_api::registry::Kind;
use coracle_api::registry::strategy::pod::update_ephemeral_containers;
use coracle_api::status::Status;
use coracle_api::validate;
use coracle_api::validate::namespace::validate_finalize_update;
use coracle_api::validate::pod::validate_ephemeral_update;
use coracle_api::validate::signingrequest::validate_approval_update;
use coracle_store::{CommitError, Committed, Guard, Write};
use serde_json::Value;

use crate::admission::Operation;
use crate::cache;
use crate::clock;
use crate::context::Context;
use crate::metadata;
use crate::pod_profile;
use crate::server::Core;
use crate::service_address::{Claim, objects};
use crate::verbs::ownership::{Ownership, Sent};
use crate::warnings;

/// How often a change is applied anew when the object changed meanwhile. *Source:* `MaxRetryWhenPatchConflicts`.
const CONFLICT_TRIES_MAX: usize = 5;

/// Which part of an object a change may touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The object but for its status.
    Main,
    /// The `status` subresource.
    Status,
    /// `spec.finalizers` of a Namespace, by its `finalize` subresource.
    Finalize,
    /// `status.conditions` of a request for a certificate, by its `approval` subresource.
    Approval,
    /// `spec.ephemeralContainers` of a Pod, by the subresource of this name.
    EphemeralContainers,
    /// What a subresource of the server itself writes, such as `binding`: spec and status at once, and the kind's rules
    /// against clients do not apply.
    Internal,
}

/// How a change is to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    /// Which part it may touch.
    pub(crate) part: Part,
    /// Whether to stop before the write.
    pub(crate) dry_run: bool,
    /// Whether the object that `make` gives must say which revision it is based on, where its kind demands it.
    pub(crate) needs_version: bool,
    /// What becomes of `managedFields`.
    pub(crate) ownership: Ownership,
}

/// The outcome of a change.
pub(crate) struct Changed {
    /// The object as stored.
    pub(crate) json: Bytes,
    /// Texts for `Warning` headers.
    pub(crate) warnings: Vec<String>,
}

impl Core {
    /// Reads an object, lets `make` change it, and stores the outcome; again when it was changed meanwhile, unless the
    /// caller insists on a revision.
    ///
    /// An outcome equal to what is stored is not written. An outcome that ends a deletion removes the object.
    ///
    /// # Errors
    /// 404 when there is no such object, 409 when it was changed and the caller insists or tries run out, and all that
    /// `make`, admission and validation say.
    pub(crate) async fn change(
        &self,
        context: &Context,
        change: Change,
        make: &(dyn Fn(&Value) -> Result<Decoded, Status> + Send + Sync),
    ) -> Result<Changed, Status> {
        let resource = context.kind.group_resource();
        for _ in 0..CONFLICT_TRIES_MAX {
            let current = self.current(context)?;
            let old = current.value();
            let mut made = make(&old)?;
            let insists = check_version(context.kind, change, &mut made.value, &old)?;
            self.prepare(context, change, &mut made, &old).await?;
            if made.value == old {
                return Ok(Changed { json: current.json.clone(), warnings: made.warnings });
            }
            let turn = self.address_turn(context.kind).await?;
            let claim = self.assign_addresses(context.kind, &mut made.value, Some(&old))?;
            self.validate(context.kind, change, &made.value, &old)?;
            if change.part == Part::Main {
                made.warnings.extend(pod_profile::warnings(context.kind, &made.value));
                let found = warnings::warnings(context.kind, &made.value, Some(&old));
                made.warnings.extend(found);
            }
            self.approve(context, Operation::Update, &made.value, Some(&old), &mut made.warnings)
                .await?;
            let charge = self.charge(context, Operation::Update, &made.value, Some(&old)).await?;
            if change.dry_run {
                return Ok(Changed { json: json_of(&made.value), warnings: made.warnings });
            }
            let mut writes = vec![write_of(context.kind, &made.value, &current)];
            writes.extend(charge.writes);
            let stays = (!metadata::is_finished(&made.value)).then_some(&made.value);
            writes.extend(address_objects(context.kind, Some(&old), stays));
            let frees = turn.is_some() && self.addresses.frees(&old, &made.value);
            writes.extend(turn.and_then(|turn| turn.write(claim.as_ref(), frees)));
            match self.store.commit(writes).await {
                Ok(committed) => {
                    self.settle_addresses(context.kind, claim, &made.value, &old);
                    self.turn_done(turn, &committed);
                    let gone = metadata::is_finished(&made.value);
                    let json =
                        if gone { json_of(&made.value) } else { committed_json(&committed)? };
                    return Ok(Changed { json, warnings: made.warnings });
                }
                Err(CommitError::Conflict { index, .. }) if index > 0 || !insists => {}
                Err(CommitError::Conflict { .. }) => {
                    return Err(Status::modified(&resource, &context.path.name));
                }
                Err(error) => return Err(store_failed(&error)),
            }
        }
        Err(Status::modified(&resource, &context.path.name))
    }

    async fn prepare(
        &self,
        context: &Context,
        change: Change,
        made: &mut Decoded,
        old: &Value,
    ) -> Result<(), Status> {
        let rules = context.kind.rules;
        let new = &mut made.value;
        let sent = Sent::take(new);
        metadata::prepare_update(new, old, &context.kind.group_resource())?;
        if change.part != Part::Internal {
            context.kind.fill(new);
        }
        match change.part {
            Part::Internal => {}
            Part::Main => (rules.prepare_update)(new, old),
            Part::Status => (rules.prepare_status_update)(new, old),
            Part::Finalize => keep_all_but_finalizers(new, old),
            Part::EphemeralContainers => update_ephemeral_containers(new, old),
            Part::Approval => self.settle_approval(context, new, old),
        }
        meta::set(new, "resourceVersion", meta::resource_version(old));
        context.settle_owners(change.ownership, sent, new, Some(old));
        self.admit(context, Operation::Update, new, Some(old), &mut made.warnings).await?;
        if change.ownership == Ownership::Applied {
            apply::settle_times(new, old);
        }
        Ok(())
    }

    fn validate(
        &self,
        kind: &Kind,
        change: Change,
        new: &Value,
        old: &Value,
    ) -> Result<(), Status> {
        let errors = errors_of(kind, change.part, new, old);
        if errors.is_empty() {
            return Ok(());
        }
        Err(Status::invalid(&kind.group_kind(), meta::name(new), errors))
    }

    /// Takes addresses for a Service; other kinds need none.
    pub(crate) fn assign_addresses(
        &self,
        kind: &Kind,
        new: &mut Value,
        old: Option<&Value>,
    ) -> Result<Option<Claim>, Status> {
        if !is_service(kind) {
            return Ok(None);
        }
        let claim = self.addresses.assign(new, old, clock::random());
        claim
            .map(Some)
            .map_err(|errors| Status::invalid(&kind.group_kind(), meta::name(new), errors))
    }

    fn settle_addresses(&self, kind: &Kind, claim: Option<Claim>, new: &Value, old: &Value) {
        if let Some(claim) = claim {
            claim.commit(new, Some(old));
        }
        if is_service(kind) && metadata::is_finished(new) {
            self.addresses.release(new);
        }
    }
}

/// What is wrong with a change of a part of an object.
fn errors_of(kind: &Kind, part: Part, new: &Value, old: &Value) -> Vec<FieldError> {
    match part {
        // Else what was stored before there was a rule against it could never go.
        Part::Main if only_goes(kind, new, old) => validate::metadata::validate_update(new, old),
        Part::Main => kind.validate_update(new, old),
        Part::Status => kind.validate_status_update(new, old),
        Part::EphemeralContainers => validate_ephemeral_update(new, old),
        Part::Finalize => validate_finalize_update(new, old),
        Part::Approval => validate_approval_update(&without_signature(new, old), old),
        Part::Internal => Vec::new(),
    }
}

/// Whether an object is being deleted and nothing but its metadata changes, as when a finalizer is taken off.
fn only_goes(kind: &Kind, new: &Value, old: &Value) -> bool {
    if meta::deletion_timestamp(old).is_none() {
        return false;
    }
    // What is stored may lack what is filled in since.
    let content = |object: &Value| {
        let mut content = object.clone();
        kind.fill(&mut content);
        content.as_object_mut().map(|members| members.remove("metadata"));
        content
    };
    content(new) == content(old)
}

/// What is written beside a Service that comes, changes or goes; other kinds have no addresses.
pub(crate) fn address_objects(kind: &Kind, old: Option<&Value>, new: Option<&Value>) -> Vec<Write> {
    if is_service(kind) { objects::writes(old, new, clock::stamp) } else { Vec::new() }
}

/// Whether a kind is that of Services, which have addresses to take and free.
pub(crate) fn is_service(kind: &Kind) -> bool {
    (kind.group, kind.kind) == ("", "Service")
}

/// Checks the revision that a changed object says it is based on; gives whether the caller insists on it.
fn check_version(
    kind: &Kind,
    change: Change,
    new: &mut Value,
    old: &Value,
) -> Result<bool, Status> {
    let (claimed, stored) = (meta::resource_version(new), meta::resource_version(old));
    if claimed.is_empty() || claimed == "0" {
        if change.needs_version && !kind.rules.unconditional_update {
            // The number is upstream's way of showing "none".
            let message = "Invalid value: 0x0: must be specified for an update".to_owned();
            let field = "metadata.resourceVersion".to_owned();
            let error = FieldError { cause: Cause::Invalid, field, message };
            return Err(Status::invalid(&kind.group_kind(), meta::name(old), vec![error]));
        }
        return Ok(false);
    }
    if claimed != stored {
        return Err(Status::modified(&kind.group_resource(), meta::name(old)));
    }
    Ok(change.needs_version)
}

/// Gives an approved request without what the cluster's signer wrote into it in the same step.
fn without_signature(new: &Value, old: &Value) -> Value {
    let mut judged = new.clone();
    if let Some(status) = judged["status"].as_object_mut() {
        status.insert("certificate".to_owned(), old["status"]["certificate"].clone());
    }
    judged
}

fn keep_all_but_finalizers(new: &mut Value, old: &Value) {
    let finalizers = new["spec"]["finalizers"].take();
    *new = old.clone();
    if finalizers.as_array().is_some_and(|list| !list.is_empty()) {
        new["spec"]["finalizers"] = finalizers;
    } else if let Some(spec) = new.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("finalizers");
    }
}

/// The write that stores a changed object, or removes it when the change ended its deletion.
fn write_of(kind: &Kind, new: &Value, current: &cache::Object) -> Write {
    let guard = Guard::At(current.revision);
    if metadata::is_finished(new) {
        Write::delete(current.key.clone(), guard)
    } else {
        Write::put(current.key.clone(), cache::encode(kind, new), guard)
    }
}

/// The object that a commit stored, as it is served; for a removal, the object as it was.
///
/// # Errors
/// 500 when the commit did nothing, which only a defect brings about.
pub(crate) fn committed_json(committed: &Committed) -> Result<Bytes, Status> {
    let event = committed.events.first();
    let kv = event.and_then(|event| event.current.as_ref().or(event.previous.as_ref()));
    kv.map(|kv| kv.value.clone()).ok_or_else(|| Status::internal("the commit changed nothing"))
}

/// An object's JSON, for answers that were not stored.
pub(crate) fn json_of(object: &Value) -> Bytes {
    Bytes::from(object.to_string())
}

/// The answer to a write that the store could not do.
pub(crate) fn store_failed(error: &CommitError) -> Status {
    if matches!(error, CommitError::Closed) {
        // In order: whoever writes then asks another server, or this one when it is back.
        tracing::debug!("a write came when the server had closed its store");
        return Status::service_unavailable("the server is shutting down");
    }
    tracing::error!(%error, source = ?std::error::Error::source(error), "write failed");
    if error.is_disk_full() {
        return Status::internal(
            "nothing was written, because the server's disk is full; free some space where its data directory is",
        );
    }
    Status::internal(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_api::registry;
    use serde_json::json;

    #[test]
    fn what_is_invalid_by_now_may_still_go() {
        let kind = registry::by_kind("storage.k8s.io", "v1", "VolumeAttachment").unwrap();
        let object = |going: bool, finalizers: &[&str], node: &str| {
            let mut object = json!({"metadata": {"name": "a", "finalizers": finalizers},
                "spec": {"attacher": "", "nodeName": node, "source": {"persistentVolumeName": "v"}}});
            if going {
                meta::set(&mut object, "deletionTimestamp", "2026-01-01T00:00:00Z");
            }
            object
        };
        let (one, two) = (["a.b/one"], ["a.b/one", "a.b/two"]);
        let attacher = "spec.attacher";
        for (part, old, new, expected) in [
            (Part::Main, object(true, &two, "n"), object(true, &one, "n"), vec![]),
            (Part::Main, object(true, &one, "n"), object(true, &[], "n"), vec![]),
            (
                Part::Main,
                object(true, &one, "n"),
                object(true, &two, "n"),
                vec!["metadata.finalizers"],
            ),
            (Part::Main, object(true, &one, "n"), object(true, &[], "m"), vec![attacher, "spec"]),
            (Part::Main, object(false, &one, "n"), object(false, &[], "n"), vec![attacher]),
            (Part::Status, object(true, &one, "n"), object(true, &[], "n"), vec![attacher]),
        ] {
            let found = errors_of(kind, part, &new, &old);
            let fields: Vec<&str> = found.iter().map(|error| error.field.as_str()).collect();
            assert_eq!(fields, expected, "{part:?} {old} {new}: {found:?}");
        }
    }
}
