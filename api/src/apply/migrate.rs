//! From client-side to server-side apply: what `kubectl apply` wrote before is its own.
//!
//! *Source:* `LastAppliedManager` and `LastAppliedUpdater` of
//! `k8s.io/apimachinery/pkg/util/managedfields`.

use serde_json::Value;

use crate::meta;

use super::collect::collect;
use super::compare::compare;
use super::schema::Schema;
use super::set::{self, Fields};

/// The annotation in which client-side apply keeps its last configuration.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The one manager to which the annotation belongs.
const KUBECTL: &str = "kubectl";

/// Most bytes of all annotations together; the annotation goes when it would not fit.
/// *Source:* `TotalAnnotationSizeLimitB` of `k8s.io/apimachinery`.
const ANNOTATIONS_BYTES_MAX: usize = 256 * 1024;

/// Gives the places that client-side apply set and that still have the value it gave them.
pub(super) fn owned_by_client_side<S: Schema>(
    schema: S,
    live: &Value,
    manager: &str,
) -> Option<Fields> {
    let text = meta::annotation(live, LAST_APPLIED).filter(|_| manager == KUBECTL)?;
    let last: Value = serde_json::from_str(text).ok()?;
    if last.get("apiVersion") != live.get("apiVersion") {
        return None;
    }
    let mut owned = collect(schema, &last, &[]).ok()?;
    let difference = compare(schema, Some(&last), live, &[]);
    set::subtract(&mut owned, &difference.took);
    set::subtract(&mut owned, &difference.lost);
    Some(owned)
}

/// Keeps the annotation true, so that the user can go back to client-side apply.
pub(super) fn keep_annotation(object: &mut Value, config: &Value, manager: &str) {
    let has = meta::annotation(object, LAST_APPLIED).is_some_and(|text| !text.is_empty());
    if manager != KUBECTL || !has {
        return;
    }
    let mut config = config.clone();
    if let Some(annotations) =
        config.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut)
    {
        annotations.remove(LAST_APPLIED);
    }
    meta::set_annotation(object, LAST_APPLIED, &format!("{config}\n"));
    let bytes = |(name, value): (&String, &Value)| name.len() + value.as_str().map_or(0, str::len);
    let total: usize = meta::annotations(object).into_iter().flatten().map(bytes).sum();
    let annotations = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
    if let Some(annotations) = annotations.filter(|_| total > ANNOTATIONS_BYTES_MAX) {
        annotations.remove(LAST_APPLIED);
    }
}
