//! Revisions of a template, kept as ControllerRevisions: for StatefulSet and DaemonSet.
//!
//! In: the revisions that an owner has and the one that it wants. Out: which one that is, and what
//! is to be made, numbered anew or deleted. Deployments keep theirs as ReplicaSets.

pub(crate) mod run;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use serde_json::{Value, json};

use crate::objects::{is_deleting, name};
use crate::template;

/// Revisions kept beyond those in use when the owner does not say. *Source:* the API reference.
const LIMIT_DEFAULT: i32 = 10;

/// Annotation of kubectl that no copy takes over.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// One step to bring the kept revisions in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Create a revision.
    Create(Box<ControllerRevision>),
    /// Make a revision the newest again: its template came back.
    Renumber(Arc<ControllerRevision>, i64),
    /// Delete a revision that history no longer keeps.
    Delete(Arc<ControllerRevision>),
}

/// Makes the revision of an owner's current template, not yet numbered.
///
/// `label` is the key under which the hash is kept; the name is `OWNER-HASH`. The data are the
/// patch by which `kubectl rollout undo` brings the template back.
pub fn wanted(
    owner: OwnerReference,
    meta: &ObjectMeta,
    template: &PodTemplateSpec,
    collisions: Option<i32>,
    label: &str,
) -> ControllerRevision {
    let hash = template::hash(template, collisions);
    let labels = template.metadata.as_ref().and_then(|meta| meta.labels.clone());
    let mut labels: BTreeMap<String, String> = labels.unwrap_or_default();
    labels.insert(label.to_owned(), hash.clone());
    let mut annotations = meta.annotations.clone().unwrap_or_default();
    annotations.remove(LAST_APPLIED);
    // A typed object always has a JSON form.
    let mut kept = serde_json::to_value(template).unwrap_or_default();
    kept["$patch"] = json!("replace");
    ControllerRevision {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", name(meta))),
            namespace: meta.namespace.clone(),
            labels: Some(labels),
            annotations: Some(annotations).filter(|all| !all.is_empty()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        data: Some(RawExtension(json!({"spec": {"template": kept}}))),
        revision: 0,
    }
}

/// Gives the template that a revision keeps; `None` when it holds something else.
pub fn template_of(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let mut kept = revision.data.as_ref()?.0.pointer("/spec/template")?.clone();
    kept.as_object_mut()?.remove("$patch");
    serde_json::from_value(kept).ok()
}

/// Says whether two revisions keep the same template.
pub fn same(a: &ControllerRevision, b: &ControllerRevision) -> bool {
    if a.data == b.data {
        return true;
    }
    let canonical = |revision| template_of(revision).map(|t| template::canonical(&t));
    let (a, b): (Option<Value>, Option<Value>) = (canonical(a), canonical(b));
    a.is_some() && a == b
}

/// Finds the wanted revision among the own ones, or plans to make it or to number it anew.
///
/// *Source:* Kubernetes docs, "StatefulSet: Revision history".
pub fn choose(
    own: &[Arc<ControllerRevision>],
    mut wanted: ControllerRevision,
) -> (Arc<ControllerRevision>, Option<Step>) {
    let mut sorted: Vec<&Arc<ControllerRevision>> = own.iter().collect();
    sorted.sort_by_key(|revision| (revision.revision, name(&revision.metadata)));
    let next = sorted.last().map_or(0, |newest| newest.revision) + 1;
    let equal = sorted.iter().rposition(|revision| same(revision, &wanted));
    match equal.and_then(|index| sorted.get(index).map(|found| (index, *found))) {
        Some((index, found)) if index + 1 == sorted.len() => (Arc::clone(found), None),
        Some((_, found)) => {
            let mut renumbered = ControllerRevision::clone(found);
            renumbered.revision = next;
            (Arc::new(renumbered), Some(Step::Renumber(Arc::clone(found), next)))
        }
        None => {
            wanted.revision = next;
            (Arc::new(wanted.clone()), Some(Step::Create(Box::new(wanted))))
        }
    }
}

/// Gives the revisions that nobody uses beyond the owner's limit, oldest first.
///
/// `live` are the names of those in use.
pub fn expired(
    own: &[Arc<ControllerRevision>],
    live: &BTreeSet<String>,
    limit: Option<i32>,
) -> Vec<Step> {
    let mut idle: Vec<&Arc<ControllerRevision>> = own
        .iter()
        .filter(|revision| !live.contains(name(&revision.metadata)))
        .filter(|revision| !is_deleting(&revision.metadata))
        .collect();
    idle.sort_by_key(|revision| (revision.revision, name(&revision.metadata)));
    let limit = usize::try_from(limit.unwrap_or(LIMIT_DEFAULT)).unwrap_or(0);
    let excess = idle.len().saturating_sub(limit);
    idle.into_iter().take(excess).cloned().map(Step::Delete).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::annotation;

    fn revision(image: &str, number: i64) -> ControllerRevision {
        let meta = json!({"name": "web", "namespace": "a",
            "annotations": {"kubernetes.io/change-cause": "why", LAST_APPLIED: "{}"}});
        let meta: ObjectMeta = serde_json::from_value(meta).unwrap();
        let template = json!({"metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": image}]}});
        let template = serde_json::from_value(template).unwrap();
        let owner = OwnerReference { name: "web".into(), uid: "u".into(), ..Default::default() };
        let mut made = wanted(owner, &meta, &template, None, "controller.kubernetes.io/hash");
        made.revision = number;
        made
    }

    fn check(own: &[(&str, i64)], image: &str, expected: &str) {
        let own: Vec<_> = own.iter().map(|(image, n)| Arc::new(revision(image, *n))).collect();
        let (chosen, step) = choose(&own, revision(image, 0));
        let step = match step {
            None => "keep".to_owned(),
            Some(Step::Create(made)) => format!("create {}", made.revision),
            Some(Step::Renumber(found, n)) => format!("renumber {} to {n}", found.revision),
            Some(Step::Delete(_)) => "delete".to_owned(),
        };
        assert_eq!(format!("{step}, at {}", chosen.revision), expected);
    }

    #[test]
    fn a_template_that_comes_back_becomes_the_newest() {
        check(&[], "v1", "create 1, at 1");
        check(&[("v1", 1)], "v1", "keep, at 1");
        check(&[("v1", 1)], "v2", "create 2, at 2");
        check(&[("v2", 2), ("v1", 1)], "v1", "renumber 1 to 3, at 3");
    }

    #[test]
    fn a_revision_gives_its_template_back_and_keeps_the_change_cause() {
        let made = revision("v1", 1);
        let template = template_of(&made).unwrap();
        assert_eq!(template.spec.unwrap().containers[0].image.as_deref(), Some("v1"));
        assert_eq!(made.data.as_ref().unwrap().0["spec"]["template"]["$patch"], "replace");
        assert_eq!(annotation(&made.metadata, "kubernetes.io/change-cause"), Some("why"));
        assert_eq!(annotation(&made.metadata, LAST_APPLIED), None);
        assert!(name(&made.metadata).starts_with("web-"));
    }

    #[test]
    fn only_what_nobody_uses_goes_oldest_first() {
        let own: Vec<_> = (1..=5).map(|n| Arc::new(revision(&format!("v{n}"), n))).collect();
        let live = BTreeSet::from([name(&own[0].metadata).to_owned()]);
        let gone = |limit| -> Vec<i64> {
            let steps = expired(&own, &live, limit);
            steps
                .into_iter()
                .map(|step| match step {
                    Step::Delete(revision) => revision.revision,
                    Step::Create(_) | Step::Renumber(..) => panic!("only deletes"),
                })
                .collect()
        };
        assert_eq!(gone(Some(2)), [2, 3]);
        assert_eq!(gone(Some(0)), [2, 3, 4, 5]);
        assert_eq!(gone(None), [0_i64; 0]);
    }
}
