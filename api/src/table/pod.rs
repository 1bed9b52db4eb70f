//! Pods.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{AGE, Column, NAME, Printer, age, items, or, pod_status, text};
use crate::text::human_duration;
use crate::{condition, meta};

pub(super) const POD: Printer = Printer {
    columns: &[
        NAME,
        Column::text("Ready", "Containers that are ready, of all."),
        Column::text("Status", "What the pod is doing, in a word."),
        Column::text("Restarts", "How often containers restarted, and when last."),
        AGE,
        Column::wide("IP", "Address of the pod."),
        Column::wide("Node", "Node that it runs on."),
        Column::wide("Nominated Node", "Node where room is being made for it."),
        Column::wide("Readiness Gates", "Further conditions that hold, of all that are asked."),
    ],
    row,
};

fn row(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let sum = pod_status(object);
    let restarts = match sum.last_restart {
        Some(then) if sum.restarts != 0 => {
            let ago = human_duration(now.duration_since(then).as_secs());
            format!("{} ({ago} ago)", sum.restarts)
        }
        Some(_) | None => sum.restarts.to_string(),
    };
    let ip = items(status, "podIPs").first().map_or("", |ip| text(ip, "ip"));
    vec![
        json!(meta::name(object)),
        json!(format!("{}/{}", sum.ready, sum.total)),
        json!(sum.word),
        json!(restarts),
        age(object, now),
        json!(or(ip, "<none>")),
        json!(or(text(spec, "nodeName"), "<none>")),
        json!(or(text(status, "nominatedNodeName"), "<none>")),
        json!(readiness_gates(object)),
    ]
}

fn readiness_gates(object: &Value) -> String {
    let gates = items(&object["spec"], "readinessGates");
    if gates.is_empty() {
        return "<none>".to_owned();
    }
    let holds = |gate: &&Value| condition::is_true(object, text(gate, "conditionType"));
    format!("{}/{}", gates.iter().filter(holds).count(), gates.len())
}
