//! Pods of nodes that are no more, and those that ended long ago: nobody else will remove them.
//!
//! In: the pods of a node's name, and whether the node is there; or all pods. Out: pods to mark as
//! failed and to delete.

pub(crate) mod run;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::objects::is_terminal;

/// How long a node must be gone before its pods go: it may only have been made anew.
/// *Source:* kube-controller-manager's quarantine.
pub const QUARANTINE: Duration = Duration::from_secs(40);

/// Pods that have ended and are kept, for people to look at; one more and the oldest go.
/// *Source:* kube-controller-manager's `--terminated-pod-gc-threshold`.
pub const ENDED_PODS_MAX: usize = 12_500;

/// What a reconcile may look at.
#[derive(Debug, Clone)]
pub struct Observed {
    /// Whether the node is there; `None`: not known.
    pub node_exists: Option<bool>,
    /// The pods that are bound to its name.
    pub pods: Vec<Arc<Pod>>,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Write a status that says why the pod ended.
    SetStatus(Arc<Pod>, Box<PodStatus>),
    /// Delete the pod without grace: nobody is there to end it.
    Delete(Arc<Pod>),
}

/// Gives all that is to be done about a node's pods; nothing unless it is surely gone.
pub fn reconcile(observed: &Observed, now: Timestamp) -> Vec<Action> {
    if observed.node_exists != Some(false) {
        return Vec::new();
    }
    let mut actions = Vec::new();
    for pod in &observed.pods {
        if !is_terminal(pod) {
            let status = Box::new(failed(pod, now));
            actions.push(Action::SetStatus(Arc::clone(pod), status));
        }
        actions.push(Action::Delete(Arc::clone(pod)));
    }
    actions
}

/// Gives the pods that have ended beyond `most`, oldest first.
pub fn surplus(pods: &[Arc<Pod>], most: usize) -> Vec<Action> {
    let mut ended: Vec<&Arc<Pod>> = pods.iter().filter(|pod| is_terminal(pod)).collect();
    let n_surplus = ended.len().saturating_sub(most);
    ended.sort_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0));
    ended.into_iter().take(n_surplus).cloned().map(Action::Delete).collect()
}

/// *Source:* Kubernetes docs, "Disruptions: Pod disruption conditions".
fn failed(pod: &Pod, now: Timestamp) -> PodStatus {
    let mut status = pod.status.clone().unwrap_or_default();
    status.phase = Some("Failed".to_owned());
    let mut conditions = status.conditions.take().unwrap_or_default();
    conditions.retain(|condition| condition.type_ != "DisruptionTarget");
    conditions.push(PodCondition {
        type_: "DisruptionTarget".to_owned(),
        status: "True".to_owned(),
        reason: Some("DeletionByPodGC".to_owned()),
        message: Some("PodGC: node no longer exists".to_owned()),
        last_transition_time: Some(Time(now)),
        ..PodCondition::default()
    });
    status.conditions = Some(conditions);
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(node_exists: Option<bool>, phase: &str, expected: &[&str]) {
        let pod = json!({"metadata": {"name": "p"}, "status": {"phase": phase}});
        let pods = vec![Arc::new(serde_json::from_value(pod).unwrap())];
        let now = Timestamp::UNIX_EPOCH;
        let show = |action: Action| match action {
            Action::SetStatus(_, status) => status.phase.unwrap(),
            Action::Delete(_) => "delete".into(),
        };
        let actual: Vec<String> =
            reconcile(&Observed { node_exists, pods }, now).into_iter().map(show).collect();
        assert_eq!(actual, expected);
    }

    #[test]
    fn the_oldest_that_ended_go_when_there_are_too_many() {
        let pod = |name: &str, phase: &str, time: &str| -> Arc<Pod> {
            let pod = json!({"metadata": {"name": name, "creationTimestamp": time},
                "status": {"phase": phase}});
            Arc::new(serde_json::from_value(pod).unwrap())
        };
        let pods = [
            pod("new", "Failed", "2026-01-02T00:00:00Z"),
            pod("old", "Succeeded", "2026-01-01T00:00:00Z"),
            pod("runs", "Running", "2025-01-01T00:00:00Z"),
        ];
        assert_eq!(surplus(&pods, 2), []);
        assert_eq!(surplus(&pods, 1), [Action::Delete(Arc::clone(&pods[1]))]);
    }

    #[test]
    fn only_pods_of_a_surely_vanished_node_go() {
        check(Some(true), "Running", &[]);
        check(None, "Running", &[]);
        check(Some(false), "Running", &["Failed", "delete"]);
        check(Some(false), "Succeeded", &["delete"]);
    }
}
