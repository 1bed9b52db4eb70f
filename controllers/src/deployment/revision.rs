//! Revisions: the annotations that number ReplicaSets and say how large they were meant to be.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::objects::annotation;

/// Number of a ReplicaSet's (latest) turn, and on the Deployment that of the current one.
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
/// Earlier numbers of a ReplicaSet that came back by a rollback, separated by commas.
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// `spec.replicas` of the Deployment when the ReplicaSet was last scaled.
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
/// The same plus surge.
pub(super) const MAX: &str = "deployment.kubernetes.io/max-replicas";

/// Annotations of a Deployment that its ReplicaSets do not take over.
/// *Source:* kube-controller-manager 1.35 in behaviour.
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED,
    MAX,
    "deprecated.deployment.rollback.to",
];

/// Longest history annotation in bytes; the oldest numbers go.
const HISTORY_BYTES_MAX: usize = 2000;

/// Gives a ReplicaSet's revision, 0 when it has none.
pub(super) fn of(meta: &ObjectMeta) -> i64 {
    annotation(meta, REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Gives the number that comes after all old ReplicaSets.
pub(super) fn next<'a>(old: impl Iterator<Item = &'a ReplicaSet>) -> i64 {
    old.map(|set| of(&set.metadata)).max().unwrap_or(0) + 1
}

/// Gives the annotations that `set` (empty for one to be made) should gain for a revision.
pub(super) fn annotations(
    deployment: &ObjectMeta,
    set: &ObjectMeta,
    revision: i64,
) -> BTreeMap<String, String> {
    let mut changed = BTreeMap::new();
    for (key, value) in deployment.annotations.iter().flatten() {
        if !NOT_COPIED.contains(&&**key) && annotation(set, key) != Some(value) {
            changed.insert(key.clone(), value.clone());
        }
    }
    let old = of(set);
    if old < revision {
        changed.insert(REVISION.to_owned(), revision.to_string());
        if old > 0 {
            changed.insert(HISTORY.to_owned(), history(annotation(set, HISTORY), old));
        }
    }
    changed
}

fn history(before: Option<&str>, last: i64) -> String {
    let last = last.to_string();
    let mut numbers: Vec<&str> =
        before.into_iter().flat_map(|text| text.split(',')).filter(|n| !n.is_empty()).collect();
    numbers.push(&last);
    let mut text = numbers.join(",");
    while text.len() > HISTORY_BYTES_MAX && numbers.len() > 1 {
        numbers.remove(0);
        text = numbers.join(",");
    }
    text
}

/// Gives the annotations that say how large the Deployment was meant to be.
pub(super) fn sizes(replicas: i32, surge: i32) -> BTreeMap<String, String> {
    BTreeMap::from([
        (DESIRED.to_owned(), replicas.to_string()),
        (MAX.to_owned(), replicas.saturating_add(surge).to_string()),
    ])
}
