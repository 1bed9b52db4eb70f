//! The tables of objects that nobody keeps: scales, and what nodes and pods use.
//!
//! *Source:* `printScale` in `pkg/printers/internalversion/printers.go`; `ConvertToTable` of metrics-server.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{AGE, Column, NAME, age, wire};
use crate::meta;
use crate::quantity::Quantity;

const SCALE: &[Column] = &[
    NAME,
    Column::integer("Desired", "Replicas that are asked for."),
    Column::integer("Available", "Replicas that there are."),
    AGE,
];

const USAGE: &[Column] = &[
    NAME,
    Column { format: "quantity", ..Column::text("cpu", "Cores in use.") },
    Column { format: "quantity", ..Column::text("memory", "Memory in use, in bytes.") },
    Column { format: "duration", ..Column::text("Window", "Time over which it was measured.") },
];

/// Gives the wire form of the columns of a `Scale`.
pub fn scale_columns() -> Value {
    wire(SCALE)
}

/// Gives the cells of a `Scale`.
pub fn scale_row(scale: &Value, now: Timestamp) -> Vec<Value> {
    let count = |part: &str| scale[part]["replicas"].as_i64().unwrap_or_default();
    vec![json!(meta::name(scale)), json!(count("spec")), json!(count("status")), age(scale, now)]
}

/// Gives the wire form of the columns of `NodeMetrics` and `PodMetrics`.
pub fn usage_columns() -> Value {
    wire(USAGE)
}

/// Gives the cells of `NodeMetrics` or `PodMetrics`; a pod uses what its containers use.
pub fn usage_row(metrics: &Value) -> Vec<Value> {
    let containers = metrics["containers"].as_array().into_iter().flatten();
    let usages: Vec<&Value> =
        containers.map(|container| &container["usage"]).chain(metrics.get("usage")).collect();
    let sum = |resource: &str| {
        let amounts = usages.iter().filter_map(|usage| usage[resource].as_str()?.parse().ok());
        let sum = amounts.reduce(|sum: Quantity, amount| sum + amount);
        json!(sum.map_or_else(|| "0".to_owned(), |sum| sum.to_string()))
    };
    vec![json!(meta::name(metrics)), sum("cpu"), sum("memory"), metrics["window"].clone()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_says_how_many_are_asked_for_and_there() {
        let scale = json!({"metadata": {"name": "web", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"replicas": 3}, "status": {"replicas": 2}});
        let now = "2026-01-01T00:05:00Z".parse().unwrap();
        assert_eq!(scale_row(&scale, now), [json!("web"), json!(3), json!(2), json!("5m")]);
        let names: Vec<Value> = scale_columns()
            .as_array()
            .unwrap()
            .iter()
            .map(|column| column["name"].clone())
            .collect();
        assert_eq!(names, ["Name", "Desired", "Available", "Age"]);
    }

    #[test]
    fn a_pod_uses_what_its_containers_use() {
        let usage = |cpu: &str, memory: &str| json!({"usage": {"cpu": cpu, "memory": memory}});
        let pod = json!({"metadata": {"name": "web"}, "window": "15s",
            "containers": [usage("1500000n", "1024Ki"), usage("500000n", "512Ki")]});
        assert_eq!(usage_row(&pod), [json!("web"), json!("2m"), json!("1536Ki"), json!("15s")]);
        let mut node = usage("2", "1Gi");
        node["metadata"] = json!({"name": "a"});
        assert_eq!(usage_row(&node), [json!("a"), json!("2"), json!("1Gi"), Value::Null]);
    }
}
