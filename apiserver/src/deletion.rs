//! What a delete does to an object: remove it, mark it, or leave it as it is.
//!
//! Pure: the object and the options in, the plan out. The verbs carry the plan out.
//! *Source:* Kubernetes docs "Garbage Collection", "Pod Lifecycle: Termination of Pods", API conventions on
//! finalizers; `rest.BeforeDelete` of `k8s.io/apiserver` in behaviour.

use coracle_api::meta;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::metadata;
use crate::options::{DeleteOptions, Propagation};

/// Finalizer by which the garbage collector frees the dependents before the owner goes.
pub const ORPHAN: &str = "orphan";
/// Finalizer by which the garbage collector deletes the dependents before the owner goes.
pub const FOREGROUND: &str = "foregroundDeletion";

/// What a delete does.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// Take the object out of the store.
    Remove,
    /// Store this instead: the object marked as being deleted.
    Mark(Box<Value>),
    /// The object is being deleted already and this delete changes nothing.
    Keep,
}

/// Decides what a delete does to `object`.
pub fn plan(object: &Value, options: &DeleteOptions, now: Timestamp) -> Plan {
    let mut grace = grace(object, options);
    if meta::deletion_timestamp(object).is_some() {
        if meta::deletion_grace_period_seconds(object).unwrap_or(0) == 0 {
            grace = 0;
        } else if is_pod(object) && !shortens(object, options, grace) {
            return Plan::Keep;
        }
    }
    if grace == 0 && goes_at_once(object, options) {
        return Plan::Remove;
    }
    let mut new = object.clone();
    apply_propagation(&mut new, options.propagation);
    hold_definition(&mut new);
    let waits = meta::finalizers(&new).next().is_some() || has_namespace_finalizers(&new);
    if grace == 0 && !waits {
        return Plan::Remove;
    }
    mark(&mut new, object, grace, now);
    if new == *object { Plan::Keep } else { Plan::Mark(Box::new(new)) }
}

/// Whether nothing can hold the object, as is so for most: seen without a copy of it.
fn goes_at_once(object: &Value, options: &DeleteOptions) -> bool {
    let adds_none = matches!(options.propagation, None | Some(Propagation::Background));
    let held = meta::finalizers(object).next().is_some() || has_namespace_finalizers(object);
    adds_none && !held && !is_definition(object)
}

fn is_definition(object: &Value) -> bool {
    object["kind"] == "CustomResourceDefinition"
        && object["apiVersion"] == "apiextensions.k8s.io/v1"
}

/// A CustomResourceDefinition stays until its objects are gone.
fn hold_definition(object: &mut Value) {
    if is_definition(object) && meta::deletion_timestamp(object).is_none() {
        let mut all: Vec<Value> = meta::finalizers(object).map(|f| json!(f)).collect();
        all.push(json!(coracle_api::registry::DEFINITION_CLEANUP));
        all.dedup();
        meta::set(object, "finalizers", all);
    }
}

fn is_pod(object: &Value) -> bool {
    object["kind"] == "Pod" && object["apiVersion"] == "v1"
}

fn has_namespace_finalizers(object: &Value) -> bool {
    object["kind"] == "Namespace"
        && object["spec"]["finalizers"].as_array().is_some_and(|list| !list.is_empty())
}

/// Seconds that the object may take to end. Only pods end gracefully, and only where something runs them.
fn grace(object: &Value, options: &DeleteOptions) -> i64 {
    let ended = matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    let unscheduled = object["spec"]["nodeName"].as_str().unwrap_or("").is_empty();
    if !is_pod(object) || ended || unscheduled {
        return 0;
    }
    let own = object["spec"]["terminationGracePeriodSeconds"].as_i64();
    let seconds = options.grace_period_seconds.or(own).unwrap_or(0);
    if seconds < 0 { 1 } else { seconds }
}

/// Whether a second delete asks for less time than the first one gave.
fn shortens(object: &Value, options: &DeleteOptions, grace: i64) -> bool {
    let given = meta::deletion_grace_period_seconds(object).unwrap_or(0);
    options.grace_period_seconds.is_some() && grace < given
}

/// Puts the finalizer of the chosen policy on the object and takes the other one off; no choice changes nothing.
fn apply_propagation(object: &mut Value, propagation: Option<Propagation>) {
    let Some(propagation) = propagation else { return };
    for finalizer in [ORPHAN, FOREGROUND] {
        meta::remove_finalizer(object, finalizer);
    }
    let finalizer = match propagation {
        Propagation::Orphan => ORPHAN,
        Propagation::Foreground => FOREGROUND,
        Propagation::Background => return,
    };
    let mut all: Vec<Value> = meta::finalizers(object).map(|f| json!(f)).collect();
    all.push(json!(finalizer));
    meta::set(object, "finalizers", all);
}

/// Sets `deletionTimestamp` and `deletionGracePeriodSeconds`; the first time, `generation` counts up as well.
fn mark(new: &mut Value, old: &Value, grace: i64, now: Timestamp) {
    let given = meta::deletion_grace_period_seconds(old).unwrap_or(0);
    match meta::deletion_timestamp(old).and_then(|text| text.parse::<Timestamp>().ok()) {
        Some(end) if grace < given => {
            let earlier = end - SignedDuration::from_secs(given - grace);
            meta::set(new, "deletionTimestamp", metadata::time(earlier));
            meta::set(new, "deletionGracePeriodSeconds", grace);
        }
        Some(_) => {}
        None => {
            meta::set(
                new,
                "deletionTimestamp",
                metadata::time(now + SignedDuration::from_secs(grace)),
            );
            // A namespace ends when it is empty.
            if !has_namespace_finalizers(new) {
                meta::set(new, "deletionGracePeriodSeconds", grace);
            }
            if meta::generation(old) > 0 {
                meta::set(new, "generation", meta::generation(old) + 1);
            }
        }
    }
    if new["kind"] == "Namespace" && has_namespace_finalizers(new) {
        new["status"]["phase"] = json!("Terminating");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(object: Value, options: DeleteOptions, expected: Expect) {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let text = match plan(&object, &options, now) {
            Plan::Remove => "remove".to_owned(),
            Plan::Keep => "keep".to_owned(),
            Plan::Mark(new) => format!("mark {}", new["metadata"]),
        };
        expected.assert_eq(&text);
    }

    fn pod(metadata: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata,
            "spec": {"nodeName": "n", "terminationGracePeriodSeconds": 30}})
    }

    fn graceful(seconds: i64) -> DeleteOptions {
        DeleteOptions { grace_period_seconds: Some(seconds), ..DeleteOptions::default() }
    }

    fn policy(propagation: Propagation) -> DeleteOptions {
        DeleteOptions { propagation: Some(propagation), ..DeleteOptions::default() }
    }

    #[test]
    fn plain_objects_go_at_once() {
        let object = json!({"kind": "ConfigMap", "metadata": {"name": "a"}});
        check(object.clone(), DeleteOptions::default(), expect!["remove"]);
        check(object, graceful(30), expect!["remove"]);
    }

    #[test]
    fn policies_are_finalizers() {
        let object = json!({"kind": "ReplicaSet", "metadata": {"name": "a", "generation": 1}});
        check(object.clone(), policy(Propagation::Background), expect!["remove"]);
        check(
            object.clone(),
            policy(Propagation::Orphan),
            expect![[
                r#"mark {"deletionGracePeriodSeconds":0,"deletionTimestamp":"2026-01-01T00:00:00Z","finalizers":["orphan"],"generation":2,"name":"a"}"#
            ]],
        );
        check(
            object,
            policy(Propagation::Foreground),
            expect![[
                r#"mark {"deletionGracePeriodSeconds":0,"deletionTimestamp":"2026-01-01T00:00:00Z","finalizers":["foregroundDeletion"],"generation":2,"name":"a"}"#
            ]],
        );
        let changed = json!({"kind": "ReplicaSet", "metadata": {"deletionTimestamp": "2025-12-31T00:00:00Z",
            "deletionGracePeriodSeconds": 0, "finalizers": ["foregroundDeletion"]}});
        check(changed.clone(), DeleteOptions::default(), expect!["keep"]);
        check(changed, policy(Propagation::Background), expect!["remove"]);
    }

    #[test]
    fn pods_get_their_grace() {
        check(
            pod(json!({})),
            DeleteOptions::default(),
            expect![[
                r#"mark {"deletionGracePeriodSeconds":30,"deletionTimestamp":"2026-01-01T00:00:30Z"}"#
            ]],
        );
        check(pod(json!({})), graceful(0), expect!["remove"]);
        check(
            pod(json!({})),
            graceful(-1),
            expect![[
                r#"mark {"deletionGracePeriodSeconds":1,"deletionTimestamp":"2026-01-01T00:00:01Z"}"#
            ]],
        );
        let unscheduled = json!({"apiVersion": "v1", "kind": "Pod", "spec": {"terminationGracePeriodSeconds": 30}});
        check(unscheduled, DeleteOptions::default(), expect!["remove"]);
    }

    #[test]
    fn a_second_delete_may_only_shorten() {
        let dying = || {
            pod(
                json!({"deletionTimestamp": "2026-01-01T00:00:30Z", "deletionGracePeriodSeconds": 30}),
            )
        };
        check(dying(), DeleteOptions::default(), expect!["keep"]);
        check(dying(), graceful(60), expect!["keep"]);
        check(
            dying(),
            graceful(10),
            expect![[
                r#"mark {"deletionGracePeriodSeconds":10,"deletionTimestamp":"2026-01-01T00:00:10Z"}"#
            ]],
        );
        check(dying(), graceful(0), expect!["remove"]);
        let held = pod(
            json!({"deletionTimestamp": "2026-01-01T00:00:30Z", "deletionGracePeriodSeconds": 30,
            "finalizers": ["x"]}),
        );
        check(
            held,
            graceful(0),
            expect![[
                r#"mark {"deletionGracePeriodSeconds":0,"deletionTimestamp":"2026-01-01T00:00:00Z","finalizers":["x"]}"#
            ]],
        );
    }

    #[test]
    fn namespaces_wait_for_their_content() {
        let namespace = json!({"kind": "Namespace", "metadata": {"name": "a"}, "spec": {"finalizers": ["kubernetes"]}});
        check(
            namespace,
            DeleteOptions::default(),
            expect![[r#"mark {"deletionTimestamp":"2026-01-01T00:00:00Z","name":"a"}"#]],
        );
        let empty = json!({"kind": "Namespace", "metadata": {"name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"finalizers": []}});
        check(empty, DeleteOptions::default(), expect!["remove"]);
    }
}
