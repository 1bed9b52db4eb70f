//! `DELETE` of one object and of a collection.

use bytes::Bytes;
use coracle_api::decode::{self, FieldValidation};
use coracle_api::meta;
use coracle_api::registry::Kind;
use coracle_api::schema;
use coracle_api::status::{Details, Reason, Status};
use coracle_store::{CommitError, Guard, Write};
use http::StatusCode;
use serde_json::{Value, json};

use crate::admission::Operation;
use crate::body::{self, Body};
use crate::cache::{self, Selection};
use crate::clock;
use crate::context::Context;
use crate::crd::convert;
use crate::deletion::{self, Plan};
use crate::metadata;
use crate::options::{DeleteOptions, Propagation};
use crate::respond::{self, Answer};
use crate::server::Core;
use crate::verbs::narrow::Narrow;
use crate::verbs::write;

/// How often a delete is planned anew when the object changes meanwhile. Controllers write a dying object often; each
/// lost race means that somebody else's write went through.
const CONFLICT_TRIES_MAX: usize = 16;

/// Kinds whose delete answers with the object and not with a `Status`. *Source:* the resources with
/// `ReturnDeletedObject` in kube-apiserver.
const RETURNS_OBJECT: [(&str, &str); 4] =
    [("", "Pod"), ("", "Service"), ("", "ServiceAccount"), ("", "Namespace")];

/// What a delete did.
enum Deleted {
    /// The object is gone.
    Gone {
        /// Its last state.
        json: Bytes,
        /// Its uid.
        uid: Box<str>,
    },
    /// The object is there still, marked.
    Pending(Bytes),
}

impl Core {
    /// Deletes one object.
    pub(crate) async fn delete(&self, context: &Context, request: Body) -> Result<Answer, Status> {
        let options = read_options(context, request).await?;
        let warnings = warnings(context.kind, &options);
        let kind = context.kind;
        let (namespace, name) = (&context.path.namespace, &context.path.name);
        let mut answer = match self.delete_one(context, namespace, name, &options).await? {
            Deleted::Pending(json) => self.answer_stored(context, StatusCode::OK, json).await?,
            Deleted::Gone { json, .. } if RETURNS_OBJECT.contains(&(kind.group, kind.kind)) => {
                context.answer_object(StatusCode::OK, json)
            }
            Deleted::Gone { uid, .. } => {
                let details = Details::of(&kind.group_resource(), name, &uid);
                respond::value(StatusCode::OK, &Status::success(details), context.plain())
            }
        };
        respond::warn(&mut answer, &warnings);
        Ok(answer)
    }

    /// Deletes all objects that the request selects; answers with those that were there.
    pub(crate) async fn delete_collection(
        &self,
        context: &Context,
        request: Body,
    ) -> Result<Answer, Status> {
        let list = context.list_options(false)?;
        let options = read_options(context, request).await?;
        let warnings = warnings(context.kind, &options);
        let namespace = Some(context.path.namespace.as_str());
        let (fields, narrow) = Narrow::part(context, &self.webhooks, list.fields)?;
        let selection = Selection::new(context.kind, namespace, list.labels, fields)?;
        let mut found = self.objects(context.kind)?.select(&selection);
        if let Some(narrow) = narrow {
            found = narrow.objects(found).await?;
        }
        let mut items = Vec::with_capacity(found.len());
        for object in found {
            let header = &object.header;
            match self.delete_one(context, header.namespace(), header.name(), &options).await {
                Ok(Deleted::Gone { json, .. } | Deleted::Pending(json)) => {
                    let object = serde_json::from_slice(&json).unwrap_or(Value::Null);
                    items.push(object);
                }
                Err(status) if status.reason == Reason::NotFound => {}
                Err(status) => return Err(status),
            }
        }
        let items = convert(&self.webhooks, context.served, items).await?;
        let items: Vec<Value> = items.into_iter().map(|item| context.to_served(item)).collect();
        let whole = json!({
            "kind": context.served.list_kind(), "apiVersion": context.served.api_version(),
            "metadata": {"resourceVersion": self.store.revision().to_string()}, "items": items,
        });
        let mut answer = respond::value(StatusCode::OK, &whole, context.plain());
        respond::warn(&mut answer, &warnings);
        Ok(answer)
    }

    /// Deletes an object for a subresource that has decided so.
    ///
    /// # Errors
    /// Those of a delete.
    pub(crate) async fn delete_named(
        &self,
        context: &Context,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<(), Status> {
        self.delete_one(context, namespace, name, options).await.map(drop)
    }

    async fn delete_one(
        &self,
        context: &Context,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Deleted, Status> {
        let kind = context.kind;
        let resource = kind.group_resource();
        for _ in 0..CONFLICT_TRIES_MAX {
            let found = self.objects(kind)?.get(namespace, name);
            let current = found.ok_or_else(|| Status::not_found(&resource, name))?;
            let mut old = current.value();
            let expected = options.resource_version.as_deref();
            let uid = options.uid.as_deref();
            metadata::check_delete_preconditions(&old, &kind.group_kind(), uid, expected)?;
            let untold = &mut Vec::new();
            self.admit(context, Operation::Delete, &mut old, None, untold).await?;
            self.approve(context, Operation::Delete, &old, None, untold).await?;
            let guard = Guard::At(current.revision);
            let plan = deletion::plan(&old, &with_default(kind, options, &old), clock::now());
            let (write, gone) = match &plan {
                Plan::Keep => return Ok(Deleted::Pending(current.json.clone())),
                Plan::Remove => (Write::delete(current.key.clone(), guard), true),
                Plan::Mark(new) => {
                    (Write::put(current.key.clone(), cache::encode(kind, new), guard), false)
                }
            };
            if options.dry_run {
                return Ok(dry(plan, &current));
            }
            let turn = self.address_turn(kind).await?;
            let freeing = turn.and_then(|turn| turn.write(None, gone));
            let mut writes = vec![write];
            if gone {
                writes.extend(write::address_objects(kind, Some(&old), None));
            }
            writes.extend(freeing);
            match self.store.commit(writes).await {
                Ok(committed) => {
                    let json = write::committed_json(&committed)?;
                    if gone {
                        self.forget(kind, &old);
                    }
                    self.turn_done(turn, &committed);
                    let uid = current.header.uid().into();
                    return Ok(if gone {
                        Deleted::Gone { json, uid }
                    } else {
                        Deleted::Pending(json)
                    });
                }
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(write::store_failed(&error)),
            }
        }
        Err(Status::modified(&resource, name))
    }

    /// Frees what the server holds in memory for an object that is gone.
    fn forget(&self, kind: &Kind, object: &Value) {
        if write::is_service(kind) {
            self.addresses.release(object);
        }
    }
}

/// Whether a delete of Jobs says nothing about their pods.
fn is_silent_of_pods(kind: &Kind, options: &DeleteOptions) -> bool {
    (kind.group, kind.kind) == ("batch", "Job") && options.propagation.is_none()
}

/// What the client is told of a delete.
fn warnings(kind: &Kind, options: &DeleteOptions) -> Vec<String> {
    let words = "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning";
    is_silent_of_pods(kind, options).then(|| words.to_owned()).into_iter().collect()
}

/// The options with what they do not say: a Job's pods stay, as they always did, unless an earlier delete said else.
///
/// *Source:* `DefaultGarbageCollectionPolicy` of Jobs in kube-apiserver; `shouldOrphanDependents` of `k8s.io/apiserver`.
fn with_default(kind: &Kind, options: &DeleteOptions, object: &Value) -> DeleteOptions {
    let mut options = options.clone();
    let mut finalizers = meta::finalizers(object);
    let is_said = finalizers.any(|name| [deletion::ORPHAN, deletion::FOREGROUND].contains(&name));
    if is_silent_of_pods(kind, &options) && !is_said {
        options.propagation = Some(Propagation::Orphan);
    }
    options
}

fn dry(plan: Plan, current: &cache::Object) -> Deleted {
    let json = current.json.clone();
    match plan {
        Plan::Remove => Deleted::Gone { json, uid: current.header.uid().into() },
        Plan::Keep => Deleted::Pending(json),
        Plan::Mark(new) => Deleted::Pending(write::json_of(&new)),
    }
}

/// Reads `DeleteOptions` from the body, or from the query when the body is empty.
async fn read_options(context: &Context, request: Body) -> Result<DeleteOptions, Status> {
    let bytes = body::read(request).await?;
    if bytes.is_empty() {
        return DeleteOptions::parse(None, &context.query);
    }
    let media_type = context.media_type()?;
    let ty = schema::lookup(context.kind.group, context.kind.version, "DeleteOptions");
    let value = match ty {
        Some(ty) => decode::decode(&bytes, media_type, ty, FieldValidation::Ignore)?.value,
        None => decode::decode_json(&bytes)?.0,
    };
    let text = |field: &str| value[field].as_str().unwrap_or_default();
    if !matches!(text("kind"), "" | "DeleteOptions") {
        return Err(Status::bad_request(format!(
            "no kind {:?} is registered for version {:?} in scheme \"pkg/runtime/scheme.go:111\"",
            text("kind"),
            text("apiVersion"),
        )));
    }
    DeleteOptions::parse(Some(&value), &context.query)
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_api::registry::by_kind;

    #[test]
    fn a_delete_that_says_nothing_keeps_the_pods_of_a_job() {
        let check = |kind: &str, finalizer: &str, expected: Option<Propagation>| {
            let group = if kind == "Job" { "batch" } else { "apps" };
            let kind = by_kind(group, "v1", kind).unwrap();
            let object = json!({"metadata": {"finalizers": [finalizer]}});
            let options = with_default(kind, &DeleteOptions::default(), &object);
            assert_eq!(options.propagation, expected, "{kind:?} {finalizer}");
        };
        check("Job", "a/b", Some(Propagation::Orphan));
        check("Job", deletion::FOREGROUND, None);
        check("Deployment", "a/b", None);
    }
}
