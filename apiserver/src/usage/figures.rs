//! Turns a node's summary into objects of `metrics.k8s.io`. Pure.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::{GROUP, VERSION};

/// What one node says of itself and its pods.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    node: Value,
    window: String,
    pods: HashMap<String, Value>,
}

impl Figures {
    /// Reads a summary (`/stats/summary`).
    pub(super) fn of(mut summary: Value) -> Figures {
        let pods = summary["pods"].take();
        let by_uid = pods.as_array().into_iter().flatten().filter_map(|pod| {
            let uid = pod["podRef"]["uid"].as_str()?.to_owned();
            Some((uid, pod.clone()))
        });
        let seconds = summary["windowSeconds"].as_i64().unwrap_or(0);
        Figures {
            pods: by_uid.collect(),
            node: summary["node"].take(),
            window: format!("{seconds}s"),
        }
    }

    /// The `NodeMetrics` of the node's object.
    pub(super) fn node(&self, node: &Value) -> Value {
        let mut object = self.object("NodeMetrics", node, &self.node["cpu"]["time"]);
        object["usage"] = usage(&self.node);
        object
    }

    /// The `PodMetrics` of a pod's object; `None` when the node does not run it.
    pub(super) fn pod(&self, pod: &Value) -> Option<Value> {
        let measured = self.pods.get(pod["metadata"]["uid"].as_str()?)?;
        let mut object = self.object("PodMetrics", pod, &measured["cpu"]["time"]);
        let containers = measured["containers"].as_array().into_iter().flatten();
        object["containers"] =
            containers.map(|c| json!({"name": c["name"], "usage": usage(c)})).collect();
        Some(object)
    }

    fn object(&self, kind: &str, of: &Value, time: &Value) -> Value {
        let mut metadata = json!({"name": of["metadata"]["name"], "creationTimestamp": time});
        for field in ["namespace", "labels"] {
            if let Some(value) = of["metadata"].get(field) {
                metadata[field] = value.clone();
            }
        }
        json!({
            "kind": kind, "apiVersion": format!("{GROUP}/{VERSION}"), "metadata": metadata,
            "timestamp": time, "window": self.window,
        })
    }
}

/// Nanocores and Kibibytes, as metrics-server writes them.
fn usage(measured: &Value) -> Value {
    let cpu = measured["cpu"]["usageNanoCores"].as_u64().unwrap_or(0);
    let memory = measured["memory"]["workingSetBytes"].as_u64().unwrap_or(0);
    json!({"cpu": format!("{cpu}n"), "memory": format!("{}Ki", memory.div_ceil(1024))})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_becomes_objects() {
        let time = "2026-01-01T00:00:00Z";
        let used = |cpu: u64, memory: u64| json!({"cpu": {"time": time, "usageNanoCores": cpu}, "memory": {"workingSetBytes": memory}});
        let mut pod = used(7, 3000);
        pod["podRef"] = json!({"uid": "u"});
        let mut container = used(7, 3000);
        container["name"] = json!("c");
        pod["containers"] = json!([container]);
        let figures =
            Figures::of(json!({"node": used(5, 2048), "pods": [pod], "windowSeconds": 15}));
        let node = figures.node(&json!({"metadata": {"name": "h", "labels": {"a": "b"}}}));
        let expected = json!({
            "kind": "NodeMetrics", "apiVersion": "metrics.k8s.io/v1beta1",
            "metadata": {"name": "h", "labels": {"a": "b"}, "creationTimestamp": time},
            "timestamp": time, "window": "15s", "usage": {"cpu": "5n", "memory": "2Ki"},
        });
        assert_eq!(node, expected);
        let object = json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"}});
        let pod = figures.pod(&object).unwrap();
        let containers = json!([{"name": "c", "usage": {"cpu": "7n", "memory": "3Ki"}}]);
        assert_eq!((&pod["containers"], &pod["metadata"]["namespace"]), (&containers, &json!("n")));
        assert_eq!(figures.pod(&json!({"metadata": {"uid": "other"}})), None);
    }
}
