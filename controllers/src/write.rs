//! Writes to the API that the caches learn of at once, so that the next reconcile sees them.

use coracle_client::cache::Object;
use coracle_client::{Cache, Client, Failure, ObjectKey, Outcome};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy};
use kube::core::{NamespaceResourceScope, Resource};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::objects::{is_deleting, name, namespace, uid};

/// A request of a controller that did not succeed.
#[derive(Debug, thiserror::Error)]
#[error("{verb} {kind} {object}: {}", source.message())]
pub(crate) struct WriteError {
    verb: &'static str,
    kind: String,
    object: ObjectKey,
    #[source]
    pub(crate) source: Box<kube::Error>,
}

impl WriteError {
    /// Says whether somebody was faster: nothing to report, only to look again.
    pub(crate) fn is_race(&self) -> bool {
        self.source.is_conflict() || self.source.is_not_found() || self.source.is_already_exists()
    }

    /// Says whether an object of the name is there already.
    pub(crate) fn is_exists(&self) -> bool {
        self.source.is_already_exists()
    }

    /// Says whether the namespace is going away, in which nothing new may be created.
    pub(crate) fn is_namespace_terminating(&self) -> bool {
        let kube::Error::Api(status) = &*self.source else { return false };
        let causes = status.details.iter().flat_map(|details| &details.causes);
        status.code == 403 && causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
    }
}

/// Turns a lost race into another try, and leaves other errors to be reported.
pub(crate) fn settle(result: Result<Outcome, WriteError>) -> Result<Outcome, WriteError> {
    match result {
        Err(error) if error.is_race() => Ok(Outcome::Retry),
        other => other,
    }
}

/// Names what a request was about.
pub(crate) fn failed<'a, K: Resource<DynamicType = ()>>(
    verb: &'static str,
    meta: &'a ObjectMeta,
) -> impl FnOnce(kube::Error) -> WriteError + 'a {
    move |source| WriteError {
        verb,
        kind: K::kind(&()).into_owned(),
        object: key(meta),
        source: Box::new(source),
    }
}

/// Gives the key of an object by its metadata.
pub(crate) fn key(meta: &ObjectMeta) -> ObjectKey {
    ObjectKey { namespace: meta.namespace.clone(), name: name(meta).to_owned() }
}

/// Gives the API of a namespaced kind where an object lives.
pub(crate) fn api_of<K>(client: &Client, meta: &ObjectMeta) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    client.namespaced(namespace(meta))
}

/// Creates an object.
pub(crate) async fn create<K>(api: &Api<K>, cache: &Cache<K>, object: &K) -> Result<K, WriteError>
where
    K: Object + Serialize,
{
    let made = api.create(&PostParams::default(), object).await;
    let made = made.map_err(failed::<K>("create", object.meta()))?;
    cache.assume(made.clone());
    Ok(made)
}

/// Creates an object of which no cache needs to know at once.
pub(crate) async fn create_untold<K>(api: &Api<K>, object: &K) -> Result<(), WriteError>
where
    K: Object + Serialize,
{
    let made = api.create(&PostParams::default(), object).await;
    made.map(drop).map_err(failed::<K>("create", object.meta()))
}

/// Replaces an object; its resourceVersion guards against writes in between.
pub(crate) async fn replace<K>(api: &Api<K>, cache: &Cache<K>, object: &K) -> Result<(), WriteError>
where
    K: Object + Serialize,
{
    let meta = object.meta();
    let made = api.replace(name(meta), &PostParams::default(), object).await;
    cache.assume(made.map_err(failed::<K>("update", meta))?);
    Ok(())
}

/// Changes an object by a merge patch.
pub(crate) async fn patch<K>(
    api: &Api<K>,
    cache: &Cache<K>,
    meta: &ObjectMeta,
    patch: &Value,
) -> Result<(), WriteError>
where
    K: Object,
{
    let made = api.patch(name(meta), &PatchParams::default(), &Patch::Merge(patch)).await;
    cache.assume(made.map_err(failed::<K>("patch", meta))?);
    Ok(())
}

/// Changes a pod by a merge patch that may be the last thing that it waited for.
pub(crate) async fn patch_or_gone(
    client: &Client,
    cache: &Cache<Pod>,
    meta: &ObjectMeta,
    patch: &Value,
) -> Result<(), WriteError> {
    let api = api_of::<Pod>(client, meta);
    let made = api.patch(name(meta), &PatchParams::default(), &Patch::Merge(patch)).await;
    let made = made.map_err(failed::<Pod>("patch", meta))?;
    if is_deleting(&made.metadata) && !lingers(&made.metadata) {
        cache.assume_deleted(&key(meta), uid(meta));
    } else {
        cache.assume(made);
    }
    Ok(())
}

/// Changes an object's status by a merge patch.
pub(crate) async fn patch_status<K>(
    api: &Api<K>,
    cache: &Cache<K>,
    meta: &ObjectMeta,
    patch: &Value,
) -> Result<(), WriteError>
where
    K: Object,
{
    let made = api.patch_status(name(meta), &PatchParams::default(), &Patch::Merge(patch)).await;
    cache.assume(made.map_err(failed::<K>("patch status of", meta))?);
    Ok(())
}

/// Replaces the finalizers of a namespace; with none left it goes.
pub(crate) async fn finalize(
    client: &Client,
    cache: &Cache<Namespace>,
    namespace: &Namespace,
) -> Result<(), WriteError> {
    let meta = &namespace.metadata;
    let api: Api<Namespace> = client.cluster();
    let parameters = PostParams::default();
    let made = api.replace_subresource("finalize", name(meta), &parameters, namespace).await;
    let made = made.map_err(failed::<Namespace>("finalize", meta))?;
    let left = made.spec.as_ref().and_then(|spec| spec.finalizers.as_ref());
    if left.is_none_or(Vec::is_empty) && !lingers(&made.metadata) {
        cache.assume_deleted(&key(meta), uid(meta));
    }
    Ok(())
}

/// Writes what differs between two statuses.
pub(crate) async fn set_status<K, S>(
    api: &Api<K>,
    cache: &Cache<K>,
    meta: &ObjectMeta,
    old: Option<&S>,
    new: &S,
) -> Result<(), WriteError>
where
    K: Object,
    S: Serialize,
{
    let unreadable = |error| failed::<K>("patch", meta)(kube::Error::SerdeError(error));
    let before = serde_json::to_value(old).map_err(unreadable)?;
    let after = serde_json::to_value(new).map_err(unreadable)?;
    let body = json!({"status": merge_patch(&before, &after)});
    patch_status(api, cache, meta, &body).await
}

/// Deletes this very object; that it is gone already is as good. `grace`: seconds, pods only.
pub(crate) async fn delete<K>(
    api: &Api<K>,
    cache: &Cache<K>,
    meta: &ObjectMeta,
    propagation: PropagationPolicy,
    grace: Option<u32>,
) -> Result<(), WriteError>
where
    K: Object,
{
    let parameters = DeleteParams {
        propagation_policy: Some(propagation),
        grace_period_seconds: grace,
        preconditions: Some(Preconditions { uid: meta.uid.clone(), resource_version: None }),
        ..DeleteParams::default()
    };
    let left = match api.delete(name(meta), &parameters).await {
        Ok(answer) => answer.left().filter(|object| lingers(object.meta())),
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(failed::<K>("delete", meta)(error)),
    };
    match left {
        Some(object) => cache.assume(object),
        None => cache.assume_deleted(&key(meta), uid(meta)),
    }
    Ok(())
}

/// Says whether a deleted object is still there, for its grace or its finalizers.
fn lingers(meta: &ObjectMeta) -> bool {
    let waits = meta.finalizers.as_ref().is_some_and(|finalizers| !finalizers.is_empty());
    is_deleting(meta) && (waits || meta.deletion_grace_period_seconds.unwrap_or(0) > 0)
}

/// Deletes a pod with its own grace period.
pub(crate) async fn delete_pod(
    client: &Client,
    cache: &Cache<Pod>,
    pod: &Pod,
) -> Result<(), WriteError> {
    let api = api_of::<Pod>(client, &pod.metadata);
    delete(&api, cache, &pod.metadata, PropagationPolicy::Background, None).await
}

/// Gives a list for a merge patch: an empty one is taken off altogether.
pub(crate) fn or_null<T: Serialize>(list: &[T]) -> Value {
    if list.is_empty() { Value::Null } else { json!(list) }
}

/// Gives the merge patch between two typed values; typed objects always have a JSON form.
pub(crate) fn difference<T: Serialize>(before: Option<&T>, after: &T) -> Value {
    let value = |typed: Result<Value, serde_json::Error>| typed.unwrap_or_default();
    merge_patch(&value(serde_json::to_value(before)), &value(serde_json::to_value(after)))
}

/// Gives the merge patch (RFC 7386) from one value to another.
pub(crate) fn merge_patch(before: &Value, after: &Value) -> Value {
    let (Value::Object(old), Value::Object(new)) = (before, after) else { return after.clone() };
    let gone = old.keys().filter(|field| !new.contains_key(*field));
    let mut patch: Map<String, Value> = gone.map(|field| (field.clone(), Value::Null)).collect();
    for (field, value) in new {
        match old.get(field) {
            Some(same) if same == value => {}
            Some(other) => {
                patch.insert(field.clone(), merge_patch(other, value));
            }
            None => {
                patch.insert(field.clone(), value.clone());
            }
        }
    }
    Value::Object(patch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_patch_holds_what_differs_and_nulls_what_went() {
        let before = json!({"a": 1, "b": {"c": 1, "d": 2}, "e": [1]});
        let after = json!({"a": 1, "b": {"c": 3}, "e": [1, 2], "f": 0});
        let expected = json!({"b": {"c": 3, "d": null}, "e": [1, 2], "f": 0});
        assert_eq!(merge_patch(&before, &after), expected);
        assert_eq!(merge_patch(&Value::Null, &after), after);
    }
}
