//! The decision for one Node: alive, silent, or lost.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::taints::{remaining, wanted};
use super::vote::{Verdict, verdict};
use super::{Action, Observed};
use crate::objects::{is_active, is_ready};

/// Conditions that nobody knows any more once a node is silent.
const CONDITIONS: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// Gives all that is to be done for a Node now.
///
/// A node whose silence is unknown is taken for alive. One whose peers miss it is lost earlier, when it does not renew
/// its Lease although it is asked to. *Source:* Kubernetes docs, "Nodes:
/// Condition", "Taint based Evictions".
pub fn reconcile(observed: &Observed, now: Timestamp) -> Vec<Action> {
    let node = &observed.node;
    let verdict = verdict(&observed.vote, observed.silent_for);
    let overdue = observed.silent_for.is_some_and(|silence| silence >= observed.grace);
    let lost = overdue || verdict == Verdict::Lost;
    let mut actions = Vec::new();
    let mut next: Vec<Duration> = Vec::new();
    match verdict {
        Verdict::Ask(wait) if !lost => {
            actions.push(Action::AskToRenew);
            next.push(wait);
        }
        Verdict::Later(wait) if !lost => next.push(wait),
        Verdict::Ask(_) | Verdict::Later(_) | Verdict::Trusted | Verdict::Lost => {}
    }
    let mut conditions = conditions(node);
    if lost && doubt(&mut conditions, now) {
        actions.push(Action::SetConditions(conditions.clone()));
    }
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready");
    let ready = ready.map(|condition| condition.status.as_str());
    let empty = Vec::new();
    let old = node.spec.as_ref().and_then(|spec| spec.taints.as_ref()).unwrap_or(&empty);
    let cordoned = node.spec.as_ref().is_some_and(|spec| spec.unschedulable == Some(true));
    let taints = wanted(old, &conditions, cordoned, now);
    if taints != *old {
        actions.push(Action::SetTaints(taints.clone()));
    }
    if ready.is_some_and(|status| status == "Unknown") {
        let serving = observed.pods.iter().filter(|pod| is_active(pod) && is_ready(pod));
        actions.extend(serving.cloned().map(Action::MarkNotReady));
    }
    for pod in observed.pods.iter().filter(|pod| is_active(pod)) {
        let Some(rest) = remaining(pod, &taints, now) else { continue };
        match Duration::try_from(rest) {
            Ok(rest) if !rest.is_zero() => next.push(rest),
            _ => actions.push(Action::Evict(Arc::clone(pod))),
        }
    }
    let heard = observed.silent_for.filter(|_| !lost);
    next.extend(heard.map(|silence| observed.grace - silence));
    actions.extend(next.into_iter().min().map(Action::RequeueAfter));
    actions
}

fn conditions(node: &Node) -> Vec<NodeCondition> {
    node.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default()
}

/// Makes every condition unknown; says whether anything changed.
fn doubt(conditions: &mut Vec<NodeCondition>, now: Timestamp) -> bool {
    let before = conditions.clone();
    for kind in CONDITIONS {
        let there = conditions.iter_mut().find(|condition| condition.type_ == kind);
        let (reason, message) = match &there {
            Some(_) => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
            None => ("NodeStatusNeverUpdated", "Kubelet never posted node status."),
        };
        let new = NodeCondition {
            type_: kind.to_owned(),
            status: "Unknown".to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_heartbeat_time: there.as_ref().and_then(|old| old.last_heartbeat_time.clone()),
            last_transition_time: Some(Time(now)),
        };
        match there {
            Some(old) if old.status == "Unknown" => {}
            Some(old) => *old = new,
            None => conditions.push(new),
        }
    }
    *conditions != before
}

/// Gives a pod's conditions with `Ready` false, because its node is silent; `None`: it is already.
pub(super) fn not_ready(pod: &Pod, now: Timestamp) -> Option<serde_json::Value> {
    let conditions = pod.status.as_ref()?.conditions.clone()?;
    let mut all = conditions.clone();
    let ready = all.iter_mut().find(|condition| condition.type_ == "Ready")?;
    if ready.status != "True" {
        return None;
    }
    ready.status = "False".to_owned();
    ready.reason = Some("NodeNotReady".to_owned());
    ready.message = Some("Node is not ready".to_owned());
    ready.last_transition_time = Some(Time(now));
    Some(serde_json::json!(all))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Vote;
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    const NOW: &str = "2026-01-01T01:00:00Z";

    fn observed(ready: &str, silent: Option<u64>, taints: Value, pods: Vec<Value>) -> Observed {
        let node = json!({"metadata": {"name": "n"}, "spec": {"taints": taints},
            "status": {"conditions": if ready.is_empty() { json!([]) }
                else { json!([{"type": "Ready", "status": ready}]) }}});
        let pod = |tolerations: Value| {
            let pod = json!({"metadata": {"name": "p"},
                "spec": {"containers": [], "tolerations": tolerations},
                "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
            Arc::new(serde_json::from_value(pod).unwrap())
        };
        Observed {
            node: Arc::new(serde_json::from_value(node).unwrap()),
            silent_for: silent.map(Duration::from_secs),
            grace: Duration::from_secs(50),
            vote: Vote::default(),
            pods: pods.into_iter().map(pod).collect(),
        }
    }

    fn show(action: &Action) -> String {
        match action {
            Action::SetConditions(all) => {
                let one = |c: &NodeCondition| format!("{}={}", c.type_, c.status);
                format!("conditions {}", all.iter().map(one).collect::<Vec<_>>().join(" "))
            }
            Action::AskToRenew => "ask".into(),
            Action::SetTaints(all) => {
                let one = |t: &k8s_openapi::api::core::v1::Taint| format!("{}:{}", t.key, t.effect);
                format!("taints {}", all.iter().map(one).collect::<Vec<_>>().join(" "))
            }
            Action::MarkNotReady(_) => "not ready".into(),
            Action::Evict(_) => "evict".into(),
            Action::RequeueAfter(rest) => format!("again in {}s", rest.as_secs()),
        }
    }

    fn check(observed: &Observed, expected: Expect) {
        let actions = reconcile(observed, NOW.parse().unwrap());
        expected.assert_eq(&actions.iter().map(show).collect::<Vec<_>>().join("\n"));
    }

    fn bears(key: &str, seconds: Option<i64>) -> Value {
        json!([{"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}])
    }

    #[test]
    fn a_live_node_is_looked_at_again_when_it_would_be_lost() {
        check(&observed("True", Some(10), json!(null), vec![json!([])]), expect!["again in 40s"]);
        check(&observed("True", None, json!(null), vec![]), expect![""]);
    }

    #[test]
    fn a_silent_node_is_unknown_tainted_and_its_pods_leave_their_services() {
        check(
            &observed(
                "True",
                Some(50),
                json!(null),
                vec![bears("node.kubernetes.io/unreachable", Some(300))],
            ),
            expect![[r#"
                conditions Ready=Unknown MemoryPressure=Unknown DiskPressure=Unknown PIDPressure=Unknown
                taints node.kubernetes.io/unreachable:NoSchedule node.kubernetes.io/unreachable:NoExecute
                not ready
                again in 300s"#]],
        );
    }

    #[test]
    fn a_host_that_its_peers_miss_is_asked_and_is_lost_when_its_lease_agrees() {
        let pods = || vec![bears("node.kubernetes.io/unreachable", Some(300))];
        let with = |silent: u64, asked: Option<u64>| {
            let mut seen = observed("True", Some(silent), json!(null), pods());
            let asked_for = asked.map(Duration::from_secs);
            seen.vote = Vote { doubted: true, asked_for, ..Vote::default() };
            seen
        };
        check(&with(1, None), expect!["again in 1s"]);
        check(
            &with(7, None),
            expect![[r#"
                ask
                again in 3s"#]],
        );
        check(&with(8, Some(1)), expect!["again in 2s"]);
        check(
            &with(10, Some(3)),
            expect![[r#"
                conditions Ready=Unknown MemoryPressure=Unknown DiskPressure=Unknown PIDPressure=Unknown
                taints node.kubernetes.io/unreachable:NoSchedule node.kubernetes.io/unreachable:NoExecute
                not ready
                again in 300s"#]],
        );
    }

    #[test]
    fn where_many_are_missed_the_grace_period_alone_decides() {
        let with = |silent: u64| {
            let mut seen = observed("True", Some(silent), json!(null), vec![]);
            let asked_for = Some(Duration::from_secs(3));
            seen.vote = Vote { doubted: true, widespread: true, asked_for, ..Vote::default() };
            seen
        };
        check(&with(20), expect!["again in 10s"]);
        check(&with(45), expect!["again in 5s"]);
        check(
            &with(50),
            expect![[r#"
                conditions Ready=Unknown MemoryPressure=Unknown DiskPressure=Unknown PIDPressure=Unknown
                taints node.kubernetes.io/unreachable:NoSchedule node.kubernetes.io/unreachable:NoExecute"#]],
        );
    }

    #[test]
    fn pods_of_a_lost_node_go_when_their_toleration_is_over() {
        let taints = json!([
            {"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule", "timeAdded": "2026-01-01T00:54:00Z"},
            {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "timeAdded": "2026-01-01T00:54:00Z"}]);
        let key = "node.kubernetes.io/unreachable";
        let pods = vec![bears(key, Some(300)), bears(key, Some(600)), bears(key, None), json!([])];
        check(
            &observed("Unknown", None, taints, pods),
            expect![[r#"
            not ready
            not ready
            not ready
            not ready
            evict
            evict
            again in 240s"#]],
        );
    }

    #[test]
    fn a_node_that_is_back_loses_its_taints_and_keeps_those_of_others() {
        let taints = json!([{"key": "mine", "effect": "NoSchedule"},
            {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"},
            {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]);
        check(
            &observed("True", Some(0), taints, vec![]),
            expect![[r#"
            taints mine:NoSchedule
            again in 50s"#]],
        );
    }

    #[test]
    fn a_taint_of_a_user_drives_out_at_once_or_after_the_seconds_that_a_pod_bears_it() {
        let mine = json!([{"key": "mine", "effect": "NoExecute"}]);
        let pods = vec![json!([]), bears("mine", Some(10)), bears("mine", None)];
        check(
            &observed("True", None, mine, pods.clone()),
            expect![[r#"
                taints mine:NoExecute
                evict
                again in 10s"#]],
        );
        let since =
            json!([{"key": "mine", "effect": "NoExecute", "timeAdded": "2026-01-01T00:59:50Z"}]);
        check(
            &observed("True", None, since, pods),
            expect![[r#"
                evict
                evict"#]],
        );
    }

    #[test]
    fn a_cordoned_node_is_tainted_until_it_is_uncordoned() {
        let mut seen = observed("True", None, json!(null), vec![json!([])]);
        Arc::make_mut(&mut seen.node).spec.as_mut().unwrap().unschedulable = Some(true);
        check(&seen, expect!["taints node.kubernetes.io/unschedulable:NoSchedule"]);
        let taints = json!([{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]);
        check(&observed("True", None, taints, vec![]), expect!["taints "]);
    }

    #[test]
    fn a_new_node_gets_no_pods_before_it_is_ready() {
        check(
            &observed("", None, json!(null), vec![]),
            expect!["taints node.kubernetes.io/not-ready:NoSchedule"],
        );
    }
}
