//! A pod is bound once, and a node never holds more than it has.

use coracle_api::quantity::Quantity;
use coracle_simulate::objects::{NODES, Objects, PODS, Step, is_terminal, text};
use serde_json::Value;

/// Checks a step of a pod.
pub(super) fn check(step: Step<'_>, objects: &Objects) -> Option<String> {
    let after = step.after.filter(|_| step.key.starts_with(PODS))?;
    let old = step.before.map_or("", |pod| text(pod, "/spec/nodeName"));
    let node = text(after, "/spec/nodeName");
    if node == old {
        return None;
    }
    if !old.is_empty() {
        return Some(format!("{} was bound to {old} and then to {node:?}", step.key));
    }
    // A node that went in between holds nothing, and its pods go.
    let allocatable = objects.get(&format!("{NODES}{node}"))?.pointer("/status/allocatable")?;
    let bound = || objects.on_node(node).filter(|pod| !is_terminal(pod));
    let room = |resource: &str| millis(allocatable.get(resource));
    let n_pods = i128::try_from(bound().count()).unwrap_or(i128::MAX) * 1000;
    if n_pods > room("pods") {
        return Some(format!("{node} holds {} pods, one too many: {}", n_pods / 1000, step.key));
    }
    ["cpu", "memory"].into_iter().find_map(|resource| {
        let asked: i128 = bound().map(|pod| requested(pod, resource)).sum();
        let over = asked > room(resource);
        over.then(|| format!("{node} has too little {resource} for {}", step.key))
    })
}

fn requested(pod: &Value, resource: &str) -> i128 {
    let containers = pod.pointer("/spec/containers").and_then(Value::as_array);
    let each = containers.into_iter().flatten();
    each.map(|container| millis(container.pointer(&format!("/resources/requests/{resource}"))))
        .sum()
}

fn millis(quantity: Option<&Value>) -> i128 {
    let text = quantity.and_then(Value::as_str).unwrap_or("0");
    text.parse::<Quantity>().map_or(0, |quantity| i128::from(quantity.milli_value()))
}
