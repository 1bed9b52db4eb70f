//! ReplicationController: what ReplicaSets were before, served for old manifests.
//!
//! It works as a ReplicaSet whose selector is a plain map; only this translation is here.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{
    ReplicaSet, ReplicaSetCondition, ReplicaSetSpec, ReplicaSetStatus,
};
use k8s_openapi::api::core::v1::{
    ReplicationController, ReplicationControllerCondition, ReplicationControllerStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::context::{Context, Running};
use crate::objects::PodSelector;
use crate::replicaset::Replicated;
use crate::replicaset::run::start_for;

/// Starts the controller.
pub(crate) fn start(context: &Context) -> Running {
    start_for::<ReplicationController>(context)
}

/// Gives the ReplicaSet that works as a ReplicationController does.
///
/// Without a selector it takes the pods that carry its template's labels. *Source:*
/// `ReplicationControllerSpec.selector` in the API reference.
pub fn to_replica_set(controller: &ReplicationController) -> ReplicaSet {
    let spec = controller.spec.clone().unwrap_or_default();
    let labels = |spec: &k8s_openapi::api::core::v1::ReplicationControllerSpec| {
        spec.template.as_ref()?.metadata.as_ref()?.labels.clone()
    };
    let selector = spec.selector.clone().filter(|selector| !selector.is_empty());
    ReplicaSet {
        metadata: controller.metadata.clone(),
        spec: Some(ReplicaSetSpec {
            min_ready_seconds: spec.min_ready_seconds,
            replicas: spec.replicas,
            selector: LabelSelector {
                match_labels: selector.or_else(|| labels(&spec)),
                match_expressions: None,
            },
            template: spec.template,
        }),
        status: controller.status.clone().map(to_set_status),
    }
}

fn to_set_status(status: ReplicationControllerStatus) -> ReplicaSetStatus {
    let condition = |condition: ReplicationControllerCondition| ReplicaSetCondition {
        last_transition_time: condition.last_transition_time,
        message: condition.message,
        reason: condition.reason,
        status: condition.status,
        type_: condition.type_,
    };
    ReplicaSetStatus {
        available_replicas: status.available_replicas,
        conditions: status.conditions.map(|all| all.into_iter().map(condition).collect()),
        fully_labeled_replicas: status.fully_labeled_replicas,
        observed_generation: status.observed_generation,
        ready_replicas: status.ready_replicas,
        replicas: status.replicas,
        terminating_replicas: None,
    }
}

impl Replicated for ReplicationController {
    const CONTROLLER: &'static str = "replication-controller";
    type Status = ReplicationControllerStatus;

    fn to_set(owner: &Arc<ReplicationController>) -> Arc<ReplicaSet> {
        Arc::new(to_replica_set(owner))
    }

    fn selector(&self) -> Option<PodSelector> {
        to_replica_set(self).spec.map(|spec| PodSelector::new(&spec.selector))
    }

    fn status(&self) -> Option<&ReplicationControllerStatus> {
        self.status.as_ref()
    }

    fn status_from(status: ReplicaSetStatus) -> ReplicationControllerStatus {
        let condition = |condition: ReplicaSetCondition| ReplicationControllerCondition {
            last_transition_time: condition.last_transition_time,
            message: condition.message,
            reason: condition.reason,
            status: condition.status,
            type_: condition.type_,
        };
        ReplicationControllerStatus {
            available_replicas: status.available_replicas,
            conditions: status.conditions.map(|all| all.into_iter().map(condition).collect()),
            fully_labeled_replicas: status.fully_labeled_replicas,
            observed_generation: status.observed_generation,
            ready_replicas: status.ready_replicas,
            replicas: status.replicas,
        }
    }

    fn tellable(status: ReplicaSetStatus) -> ReplicaSetStatus {
        ReplicaSetStatus { terminating_replicas: None, ..status }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replicaset::{Action, Observed, reconcile, without_retelling};
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::{Value, json};

    fn controller(selector: Value) -> ReplicationController {
        serde_json::from_value(json!({
            "metadata": {"name": "old", "namespace": "a", "uid": "rc", "generation": 2},
            "spec": {"replicas": 2, "selector": selector,
                "template": {"metadata": {"labels": {"app": "old"}}}},
            "status": {"replicas": 2, "readyReplicas": 1, "fullyLabeledReplicas": 2,
                "availableReplicas": 1, "observedGeneration": 2},
        }))
        .unwrap()
    }

    fn pod(name: &str, ready: &str, deleting: bool) -> Arc<Pod> {
        let pod = json!({
            "metadata": {"name": name, "namespace": "a", "labels": {"app": "old"},
                "deletionTimestamp": deleting.then_some("2026-01-01T00:00:00Z"),
                "ownerReferences": [{"apiVersion": "v1", "kind": "ReplicationController",
                    "name": "old", "uid": "rc", "controller": true}]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready,
                "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
        });
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn check(selector: Value, pods: Vec<Arc<Pod>>) -> Vec<Action> {
        let controller = Arc::new(controller(selector));
        let replica_set = Arc::new(to_replica_set(&controller));
        let observed = Observed { replica_set, related: pods.clone(), pods };
        let mut actions = reconcile(&observed, "2026-01-01T01:00:00Z".parse().unwrap());
        without_retelling(&controller, &mut actions);
        actions
    }

    #[test]
    fn it_keeps_its_number_with_a_selector_or_by_its_template() {
        for selector in [json!({"app": "old"}), Value::Null, json!({})] {
            let two = vec![pod("a", "True", false), pod("b", "False", false)];
            assert_eq!(check(selector.clone(), two), []);
            let one = check(selector, vec![pod("a", "True", false)]);
            assert_eq!(one.first(), Some(&Action::Create(1)));
        }
    }

    #[test]
    fn pods_that_go_leave_nothing_to_write_for_a_status_that_cannot_tell_of_them() {
        let pods = vec![pod("a", "True", false), pod("b", "False", false), pod("c", "True", true)];
        assert_eq!(check(Value::Null, pods), []);
    }

    #[test]
    fn a_status_goes_there_and_back() {
        let status = controller(Value::Null).status.unwrap();
        let there = to_set_status(status.clone());
        assert_eq!(ReplicationController::status_from(there), status);
    }
}
