//! What every controller asks of an object: who owns it, what a selector takes, how a pod fares.
//!
//! Pure accessors over typed objects.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::Resource;
use kube::core::{Selector, SelectorExt};

/// Gives the owner that controls an object, if one does.
pub fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// Says whether `owner` controls an object, by uid.
pub fn is_controlled_by(meta: &ObjectMeta, owner: &ObjectMeta) -> bool {
    owner.uid.is_some() && controller_of(meta).is_some_and(|c| Some(&c.uid) == owner.uid.as_ref())
}

/// Makes the reference by which `owner` controls what it creates.
pub fn controller_reference<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.meta().name.clone().unwrap_or_default(),
        uid: owner.meta().uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// Gives the name, empty when there is none yet.
pub fn name(meta: &ObjectMeta) -> &str {
    meta.name.as_deref().unwrap_or_default()
}

/// Gives the namespace, empty for a cluster-scoped object.
pub fn namespace(meta: &ObjectMeta) -> &str {
    meta.namespace.as_deref().unwrap_or_default()
}

/// Gives the uid, empty when there is none yet.
pub fn uid(meta: &ObjectMeta) -> &str {
    meta.uid.as_deref().unwrap_or_default()
}

/// Says whether somebody has asked for the object's deletion.
pub fn is_deleting(meta: &ObjectMeta) -> bool {
    meta.deletion_timestamp.is_some()
}

/// Gives the value of an annotation.
pub fn annotation<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(key).map(String::as_str)
}

/// A label selector ready to be asked. An empty or unreadable one takes nothing.
///
/// *Source:* workload controllers refuse empty selectors, which validation does not let in anyway.
#[derive(Debug, Clone)]
pub struct PodSelector(Option<Selector>);

impl PodSelector {
    /// Reads the selector of a workload.
    pub fn new(selector: &LabelSelector) -> PodSelector {
        let selector = Selector::try_from(selector.clone()).ok();
        PodSelector(selector.filter(|selector| !selector.selects_all()))
    }

    /// Says whether labels are selected.
    pub fn takes(&self, labels: Option<&BTreeMap<String, String>>) -> bool {
        let Some(selector) = &self.0 else { return false };
        labels.map_or_else(|| selector.matches(&BTreeMap::new()), |labels| selector.matches(labels))
    }
}

/// Gives `status.phase`, empty before there is one.
pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Says whether a pod has ended for good.
pub fn is_terminal(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Says whether a pod counts for its ReplicaSet: neither ended nor asked to.
pub fn is_active(pod: &Pod) -> bool {
    !is_terminal(pod) && !is_deleting(&pod.metadata)
}

/// Gives a condition of a pod by its type.
pub fn pod_condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// Says whether a pod's `Ready` condition is `True`.
pub fn is_ready(pod: &Pod) -> bool {
    pod_condition(pod, "Ready").is_some_and(|condition| condition.status == "True")
}

/// Gives since when a pod is ready; `None` when it is not, or does not say since when.
pub fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let ready = pod_condition(pod, "Ready").filter(|condition| condition.status == "True")?;
    ready.last_transition_time.as_ref().map(|time| time.0)
}

/// Resolves a number or a percentage `of` a whole, rounded up or down; never negative.
///
/// *Source:* `IntOrString` in the API reference.
pub fn scaled(value: &IntOrString, of: i32, up: bool) -> i32 {
    match value {
        IntOrString::Int(n) => (*n).max(0),
        IntOrString::String(text) => {
            let percent: i64 = text.trim_end_matches('%').parse().unwrap_or(0);
            let hundredths = percent.max(0).saturating_mul(of.into());
            let whole = if up { hundredths.saturating_add(99) / 100 } else { hundredths / 100 };
            i32::try_from(whole).unwrap_or(i32::MAX)
        }
    }
}

/// Gives how long a ready pod must stay ready to be available; `None` when it is not ready.
///
/// Zero: it is available now. *Source:* `minReadySeconds` in the API reference.
pub fn available_in(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> Option<SignedDuration> {
    if !is_ready(pod) {
        return None;
    }
    if min_ready_seconds <= 0 {
        return Some(SignedDuration::ZERO);
    }
    let from = ready_since(pod)?;
    let rest = SignedDuration::from_secs(min_ready_seconds.into()) - now.duration_since(from);
    Some(rest.max(SignedDuration::ZERO))
}
