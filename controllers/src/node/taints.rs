//! Taints that follow from a node's condition, and how long a pod bears them.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{NodeCondition, Pod, Taint, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Taint of a node that says it is not ready.
pub(super) const NOT_READY: &str = "node.kubernetes.io/not-ready";
/// Taint of a node that says nothing any more.
pub(super) const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
/// Conditions of a node that is short of something, and the taint that goes with each.
const PRESSURES: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
];
/// Taint of a node that a user has cordoned.
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
const NO_SCHEDULE: &str = "NoSchedule";
const NO_EXECUTE: &str = "NoExecute";

/// Gives the taints that a node with these conditions should have; others stay.
///
/// A taint that stays keeps its time, and one that drives out is given the time when it was first
/// seen: by that tolerations of some seconds count. *Source:* Kubernetes docs, "Taints and
/// Tolerations: Taint based Evictions", "Taint Nodes by Condition".
pub(super) fn wanted(
    old: &[Taint],
    conditions: &[NodeCondition],
    cordoned: bool,
    now: Timestamp,
) -> Vec<Taint> {
    let mut all = for_readiness(old, conditions, now);
    let is_short = |kind: &str| status_of(conditions, kind) == Some("True");
    let pressures = PRESSURES.map(|(kind, key)| (key, is_short(kind)));
    for (key, there) in pressures.into_iter().chain([(UNSCHEDULABLE, cordoned)]) {
        all.retain(|taint| there || taint.key != key || taint.effect != NO_SCHEDULE);
        if there && !all.iter().any(|taint| taint.key == key && taint.effect == NO_SCHEDULE) {
            all.push(Taint {
                key: key.to_owned(),
                effect: NO_SCHEDULE.to_owned(),
                time_added: Some(Time(now)),
                value: None,
            });
        }
    }
    for taint in all.iter_mut().filter(|taint| taint.effect == NO_EXECUTE) {
        taint.time_added.get_or_insert(Time(now));
    }
    all
}

fn status_of<'a>(conditions: &'a [NodeCondition], kind: &str) -> Option<&'a str> {
    let found = conditions.iter().find(|condition| condition.type_ == kind);
    found.map(|condition| condition.status.as_str())
}

fn for_readiness(old: &[Taint], conditions: &[NodeCondition], now: Timestamp) -> Vec<Taint> {
    let ready = status_of(conditions, "Ready");
    let key = match ready {
        Some("True") => None,
        Some("False") => Some(NOT_READY),
        // A node without a condition has only just been made.
        None => Some(NOT_READY),
        Some(_) => Some(UNREACHABLE),
    };
    let ours = |taint: &&Taint| taint.key == NOT_READY || taint.key == UNREACHABLE;
    let mut all: Vec<Taint> = old.iter().filter(|taint| !ours(taint)).cloned().collect();
    // A node that is new gets no NoExecute: nothing runs there that could be driven out.
    let effects = if ready.is_none() { &[NO_SCHEDULE][..] } else { &[NO_SCHEDULE, NO_EXECUTE] };
    for (key, effect) in key.into_iter().flat_map(|key| effects.iter().map(move |e| (key, *e))) {
        let there = old.iter().find(|taint| taint.key == key && taint.effect == effect);
        all.push(there.cloned().unwrap_or_else(|| Taint {
            key: key.to_owned(),
            effect: effect.to_owned(),
            time_added: Some(Time(now)),
            value: None,
        }));
    }
    all
}

/// Gives how long a pod may still stay on a node with these taints: zero: it goes now; `None`: it
/// may stay.
pub(super) fn remaining(pod: &Pod, taints: &[Taint], now: Timestamp) -> Option<SignedDuration> {
    let driving: Vec<&Taint> = taints.iter().filter(|taint| taint.effect == NO_EXECUTE).collect();
    let empty = Vec::new();
    let tolerations =
        pod.spec.as_ref().and_then(|spec| spec.tolerations.as_ref()).unwrap_or(&empty);
    let mut shortest: Option<SignedDuration> = None;
    for taint in driving {
        let matching: Vec<&Toleration> =
            tolerations.iter().filter(|toleration| tolerates(toleration, taint)).collect();
        if matching.is_empty() {
            return Some(SignedDuration::ZERO);
        }
        let seconds = matching.iter().filter_map(|toleration| toleration.toleration_seconds).min();
        let since = taint.time_added.as_ref().map_or(now, |added| added.0);
        let rest = seconds
            .map(|seconds| SignedDuration::from_secs(seconds.max(0)) - now.duration_since(since));
        shortest = shortest.into_iter().chain(rest).min();
    }
    shortest.map(|rest| rest.max(SignedDuration::ZERO))
}

/// *Source:* `Toleration` in the API reference.
pub(crate) fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let key = toleration.key.as_deref().unwrap_or_default();
    let exists = toleration.operator.as_deref() == Some("Exists");
    let same = toleration.value.as_deref().unwrap_or_default()
        == taint.value.as_deref().unwrap_or_default();
    (effect.is_empty() || effect == taint.effect)
        && ((key.is_empty() && exists) || key == taint.key)
        && (exists || same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_is_a_taint_for_as_long_as_it_lasts() {
        let condition = |kind: &str, status: &str| NodeCondition {
            type_: kind.into(),
            status: status.into(),
            ..NodeCondition::default()
        };
        let own = Taint { key: "team".into(), effect: NO_SCHEDULE.into(), ..Taint::default() };
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let shown = |taints: &[Taint]| {
            let line = |t: &Taint| format!("{}:{}", t.key, t.effect);
            taints.iter().map(line).collect::<Vec<_>>().join(" ")
        };
        let pressed = [condition("Ready", "True"), condition("DiskPressure", "True")];
        let first = wanted(&[own], &pressed, false, at(0));
        assert_eq!(shown(&first), "team:NoSchedule node.kubernetes.io/disk-pressure:NoSchedule");
        assert_eq!(wanted(&first, &pressed, false, at(9)), first);
        let eased = [condition("Ready", "True"), condition("DiskPressure", "False")];
        assert_eq!(shown(&wanted(&first, &eased, false, at(9))), "team:NoSchedule");
    }
}
