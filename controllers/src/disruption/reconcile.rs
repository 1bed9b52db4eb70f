//! The decision for one budget.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudgetSpec, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Action, Observed};
use crate::objects::{controller_of, is_deleting, is_ready, name, scaled};

/// How long a granted eviction counts though its pod is not yet going. *Source:* kube-controller-
/// manager's `DeletionTimeout`.
const GRANT: SignedDuration = SignedDuration::from_secs(120);

/// Gives the status that is due. While a controller's size is unknown, no eviction is allowed.
///
/// *Source:* Kubernetes docs, "Disruptions"; `PodDisruptionBudgetSpec` in the API reference.
pub fn reconcile(observed: &Observed, now: Timestamp) -> Vec<Action> {
    let old = observed.budget.status.clone().unwrap_or_default();
    let mut actions = Vec::new();
    let (disrupted, next) = granted(observed, &old, now);
    let mut new = PodDisruptionBudgetStatus {
        observed_generation: observed.budget.metadata.generation,
        disrupted_pods: Some(disrupted).filter(|all| !all.is_empty()),
        ..old.clone()
    };
    match wanted(observed) {
        Ok((expected, desired)) => {
            let gone = |pod: &Arc<Pod>| {
                let name = name(&pod.metadata);
                new.disrupted_pods.as_ref().is_some_and(|all| all.contains_key(name))
            };
            let healthy = observed.pods.iter().filter(|pod| is_healthy(pod) && !gone(pod));
            let healthy = count(healthy.count());
            new.current_healthy = healthy;
            new.desired_healthy = desired;
            new.expected_pods = expected;
            let spare = (healthy - desired).max(0);
            new.disruptions_allowed = if expected > 0 { spare } else { 0 };
            let enough = new.disruptions_allowed > 0;
            let reason = if enough { "SufficientPods" } else { "InsufficientPods" };
            set_condition(&mut new, enough, reason, "", now);
        }
        Err(why) => {
            new.disruptions_allowed = 0;
            set_condition(&mut new, false, "SyncFailed", &why, now);
            actions.push(Action::Warn("CalculateExpectedPodCountFailed", why));
        }
    }
    if normal(&old) != normal(&new) {
        actions.insert(0, Action::SetStatus(Box::new(new)));
    } else {
        // What was told once with the status is not told again.
        actions.clear();
    }
    actions.extend(next.map(Action::RequeueAfter));
    actions
}

fn is_healthy(pod: &Pod) -> bool {
    is_ready(pod) && !is_deleting(&pod.metadata)
}

fn count(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

/// Gives the grants that still count, and when the next of them ends.
fn granted(
    observed: &Observed,
    old: &PodDisruptionBudgetStatus,
    now: Timestamp,
) -> (BTreeMap<String, Time>, Option<Duration>) {
    let waits = |pod: &&Arc<Pod>| !is_deleting(&pod.metadata);
    let there: Vec<&str> =
        observed.pods.iter().filter(waits).map(|pod| name(&pod.metadata)).collect();
    let mut next = None;
    let mut all = old.disrupted_pods.clone().unwrap_or_default();
    all.retain(|pod, time| {
        let rest = GRANT - now.duration_since(time.0);
        let counts = there.contains(&pod.as_str()) && rest > SignedDuration::ZERO;
        if let Ok(rest) = Duration::try_from(rest).as_ref().copied()
            && counts
        {
            next = next.into_iter().chain([rest]).min();
        }
        counts
    });
    (all, next)
}

/// Gives how many pods there should be, and how many of them must be healthy.
fn wanted(observed: &Observed) -> Result<(i32, i32), String> {
    let spec = observed.budget.spec.clone().unwrap_or_default();
    if let Some(unavailable) = &spec.max_unavailable {
        let expected = expected(observed)?;
        return Ok((expected, (expected - scaled(unavailable, expected, true)).max(0)));
    }
    match least(&spec) {
        IntOrString::Int(least) => Ok((count(observed.pods.len()), least)),
        percent @ IntOrString::String(_) => {
            let expected = expected(observed)?;
            Ok((expected, scaled(&percent, expected, true)))
        }
    }
}

/// Without either field nothing may be unavailable that there is: one, the API's default.
fn least(spec: &PodDisruptionBudgetSpec) -> IntOrString {
    spec.min_available.clone().unwrap_or(IntOrString::Int(1))
}

/// Sums the wanted sizes of all that controls the pods, each once.
fn expected(observed: &Observed) -> Result<i32, String> {
    let mut sizes = BTreeMap::new();
    for pod in &observed.pods {
        // Pods that nobody controls do not come back and are not expected.
        let Some(owner) = controller_of(&pod.metadata) else { continue };
        let size = observed.sizes.get(&owner.uid).ok_or_else(|| {
            format!(
                "found no scale of {} {} that controls pod {}; use minAvailable with a number",
                owner.kind,
                owner.name,
                name(&pod.metadata)
            )
        })?;
        sizes.insert(size.uid.as_str(), size.replicas);
    }
    Ok(sizes.values().fold(0, |sum, size| sum.saturating_add(*size)))
}

fn set_condition(
    status: &mut PodDisruptionBudgetStatus,
    allowed: bool,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let value = if allowed { "True" } else { "False" };
    let all = status.conditions.get_or_insert_default();
    let before = all.iter().position(|condition| condition.type_ == "DisruptionAllowed");
    let before = before.map(|at| all.remove(at));
    let since = before.filter(|before| before.status == value);
    all.push(Condition {
        type_: "DisruptionAllowed".to_owned(),
        status: value.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation: status.observed_generation,
        last_transition_time: since.map_or(Time(now), |before| before.last_transition_time),
    });
}

fn normal(status: &PodDisruptionBudgetStatus) -> PodDisruptionBudgetStatus {
    let mut status = status.clone();
    status.disrupted_pods = status.disrupted_pods.filter(|pods| !pods.is_empty());
    status
}

#[cfg(test)]
mod tests {
    use super::super::Size;
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const NOW: &str = "2026-01-01T01:00:00Z";

    /// `name:flags`, flags r(eady) d(eleting) u(ncontrolled).
    fn pod(text: &str) -> Arc<Pod> {
        let (name, flags) = text.split_once(':').unwrap_or((text, ""));
        let has = |flag| flags.contains(flag);
        let mut pod = json!({"metadata": {"name": name},
            "status": {"conditions": [{"type": "Ready", "status": if has('r') { "True" } else { "False" }}]}});
        if has('d') {
            pod["metadata"]["deletionTimestamp"] = json!(NOW);
        }
        if !has('u') {
            pod["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1", "name": "rs",
                "kind": "ReplicaSet", "uid": "rs", "controller": true}]);
        }
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn observed(spec: Value, status: Value, size: Option<i32>, pods: &[&str]) -> Observed {
        let budget = json!({"metadata": {"name": "b", "generation": 3}, "spec": spec,
            "status": status});
        let sizes = size.map(|replicas| ("rs".to_owned(), Size { uid: "d".into(), replicas }));
        Observed {
            budget: Arc::new(serde_json::from_value(budget).unwrap()),
            pods: pods.iter().map(|text| pod(text)).collect(),
            sizes: sizes.into_iter().collect(),
        }
    }

    fn status_of(observed: &Observed) -> PodDisruptionBudgetStatus {
        let actions = reconcile(observed, NOW.parse().unwrap());
        match actions.into_iter().next() {
            Some(Action::SetStatus(status)) => *status,
            other => panic!("{other:?}"),
        }
    }

    fn check(spec: Value, size: Option<i32>, pods: &[&str], expected: &str) {
        let status = status_of(&observed(spec, Value::Null, size, pods));
        let condition = &status.conditions.as_ref().unwrap()[0];
        let text = format!(
            "{} of {} expected, {} desired: {} allowed, {}",
            status.current_healthy,
            status.expected_pods,
            status.desired_healthy,
            status.disruptions_allowed,
            condition.reason
        );
        assert_eq!(text, expected);
        assert_eq!(status.observed_generation, Some(3));
    }

    #[test]
    fn numbers_and_percentages() {
        let three = ["a:r", "b:r", "c:r"];
        let enough = "SufficientPods";
        check(
            json!({"minAvailable": 2}),
            None,
            &three,
            &format!("3 of 3 expected, 2 desired: 1 allowed, {enough}"),
        );
        check(
            json!({"minAvailable": "50%"}),
            Some(4),
            &three,
            &format!("3 of 4 expected, 2 desired: 1 allowed, {enough}"),
        );
        check(
            json!({"maxUnavailable": 1}),
            Some(3),
            &three,
            &format!("3 of 3 expected, 2 desired: 1 allowed, {enough}"),
        );
        check(
            json!({"maxUnavailable": "34%"}),
            Some(3),
            &three,
            &format!("3 of 3 expected, 1 desired: 2 allowed, {enough}"),
        );
        check(
            json!({"maxUnavailable": 0}),
            Some(3),
            &three,
            "3 of 3 expected, 3 desired: 0 allowed, InsufficientPods",
        );
        check(
            json!({"maxUnavailable": 5}),
            Some(3),
            &three,
            &format!("3 of 3 expected, 0 desired: 3 allowed, {enough}"),
        );
        check(
            json!({"minAvailable": 2}),
            None,
            &["a:r", "b", "c:rd"],
            "1 of 3 expected, 2 desired: 0 allowed, InsufficientPods",
        );
        check(
            json!({"minAvailable": 0}),
            None,
            &[],
            "0 of 0 expected, 0 desired: 0 allowed, InsufficientPods",
        );
        check(
            json!({"maxUnavailable": 1}),
            Some(1),
            &["a:r", "b:ru"],
            &format!("2 of 1 expected, 0 desired: 2 allowed, {enough}"),
        );
    }

    #[test]
    fn an_unknown_size_allows_nothing_and_says_so() {
        let seen = observed(json!({"maxUnavailable": 1}), Value::Null, None, &["a:r", "b:r"]);
        let actions = reconcile(&seen, NOW.parse().unwrap());
        let status = status_of(&seen);
        assert_eq!(status.disruptions_allowed, 0);
        assert_eq!(status.conditions.unwrap()[0].reason, "SyncFailed");
        assert!(matches!(&actions[1], Action::Warn("CalculateExpectedPodCountFailed", why)
            if why.contains("ReplicaSet rs")));
    }

    #[test]
    fn a_granted_eviction_counts_until_its_pod_goes_or_two_minutes_are_over() {
        let granted = json!({"disruptedPods": {"a": "2026-01-01T00:59:00Z"},
            "currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0});
        let spec = json!({"minAvailable": 1});
        let status = status_of(&observed(spec.clone(), granted.clone(), None, &["a:r", "b:r"]));
        assert_eq!((status.current_healthy, status.disruptions_allowed), (1, 0));
        let gone = status_of(&observed(spec.clone(), granted, None, &["b:r", "c:r"]));
        assert_eq!((gone.disrupted_pods, gone.disruptions_allowed), (None, 1));
        let old = json!({"disruptedPods": {"a": "2026-01-01T00:50:00Z"},
            "currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0});
        let over = status_of(&observed(spec, old, None, &["a:r", "b:r"]));
        assert_eq!(over.disruptions_allowed, 1);
    }

    proptest! {
        /// What is allowed never takes the healthy below the desired, and a written status rests.
        #[test]
        fn no_more_is_allowed_than_keeps_the_desired(
            least in 0..6_i32, n_ready in 0..6_usize, n_unready in 0..6_usize,
        ) {
            let pods: Vec<String> = (0..n_ready).map(|n| format!("r{n}:r"))
                .chain((0..n_unready).map(|n| format!("u{n}"))).collect();
            let pods: Vec<&str> = pods.iter().map(String::as_str).collect();
            let mut seen = observed(json!({"minAvailable": least}), Value::Null, None, &pods);
            let status = status_of(&seen);
            prop_assert!(status.disruptions_allowed == 0
                || status.current_healthy - status.disruptions_allowed >= least);
            Arc::make_mut(&mut seen.budget).status = Some(status);
            prop_assert_eq!(reconcile(&seen, NOW.parse().unwrap()), []);
        }
    }
}
