//! Pods and nodes for tests, as JSON with few words.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;
use crate::snapshot::Snapshot;

/// A pending pod `default/NAME` with one container and the fields of `spec`.
pub(crate) fn pod(name: &str, spec: Value) -> Arc<Pod> {
    let mut object = json!({
        "metadata": {"name": name, "namespace": "default", "uid": name},
        "spec": {"schedulerName": "default-scheduler", "containers": [{"name": "c"}]},
    });
    for (field, value) in spec.as_object().unwrap() {
        object["spec"][field] = value.clone();
    }
    Arc::new(serde_json::from_value(object).unwrap())
}

/// A pod that requests that much CPU.
pub(crate) fn cpu_pod(name: &str, cpu: &str) -> Arc<Pod> {
    pod(name, json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}))
}

pub(crate) fn info(pod: Arc<Pod>) -> Arc<PodInfo> {
    Arc::new(PodInfo::new(pod))
}

/// A node with 4 cores, 8 GiB and 110 pods, with the fields of `change` merged in.
pub(crate) fn node(name: &str, change: Value) -> Arc<Node> {
    let mut object = json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {},
        "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}},
    });
    merge(&mut object, &change);
    Arc::new(serde_json::from_value(object).unwrap())
}

fn merge(target: &mut Value, change: &Value) {
    match (target, change) {
        (Value::Object(target), Value::Object(change)) => {
            for (key, value) in change {
                merge(target.entry(key).or_insert(Value::Null), value);
            }
        }
        (target, change) => *target = change.clone(),
    }
}

pub(crate) fn node_info(change: Value) -> NodeInfo {
    let mut snapshot = Snapshot::default();
    snapshot.set_node(node("n", change));
    snapshot.node("n").unwrap().clone()
}
