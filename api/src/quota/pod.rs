//! What a pod counts for: its containers' requests and limits.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Amounts, amounts};

/// Resources whose requests have a second name without `requests.`.
const SHORT: [&str; 3] = ["cpu", "ephemeral-storage", "memory"];

/// Whether a pod has ended, or was to end long ago: it counts no more.
pub(super) fn has_ended(pod: &Value) -> bool {
    matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}

/// Adds a pod's requests and limits under all their names.
pub(super) fn add(pod: &Value, out: &mut Amounts) {
    for (name, amount) in total(&pod["spec"], "requests") {
        if SHORT.contains(&name.as_str()) || name.starts_with("hugepages-") {
            out.insert(name.clone(), amount);
        }
        out.insert(format!("requests.{name}"), amount);
    }
    for (name, amount) in total(&pod["spec"], "limits") {
        if SHORT.contains(&name.as_str()) {
            out.insert(format!("limits.{name}"), amount);
        }
    }
}

/// The sum over a pod's containers: containers and sidecars together, or the largest init container with the sidecars
/// before it, whichever is more. `what` is `requests` or `limits`.
///
/// *Source:* `AggregateContainerRequests` of `k8s.io/component-helpers/resource` in behaviour.
pub(crate) fn of_containers(spec: &Value, what: &str) -> Amounts {
    let mut running = Amounts::new();
    let mut largest = Amounts::new();
    let mut sidecars = Amounts::new();
    for container in list(spec, "containers") {
        add_to(&mut running, &amounts(&container["resources"][what]));
    }
    for container in list(spec, "initContainers") {
        let mut own = amounts(&container["resources"][what]);
        if container["restartPolicy"] == "Always" {
            add_to(&mut running, &own);
            add_to(&mut sidecars, &own);
            own.clone_from(&sidecars);
        } else {
            add_to(&mut own, &sidecars);
        }
        raise(&mut largest, &own);
    }
    raise(&mut running, &largest);
    running
}

/// The sum over a pod: that of its containers, before which its own statement goes; the overhead comes on top.
fn total(spec: &Value, what: &str) -> Amounts {
    let mut running = of_containers(spec, what);
    running.extend(amounts(&spec["resources"][what]));
    let overhead = amounts(&spec["overhead"]);
    if what == "requests" {
        add_to(&mut running, &overhead);
    } else {
        // An overhead limits nothing that has no limit of its own.
        let known: Amounts =
            overhead.into_iter().filter(|(name, _)| running.contains_key(name)).collect();
        add_to(&mut running, &known);
    }
    running
}

fn list<'a>(spec: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    spec[field].as_array().into_iter().flatten()
}

fn add_to(sum: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        *sum.entry(name.clone()).or_default() += *amount;
    }
}

fn raise(most: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        let own = most.entry(name.clone()).or_default();
        *own = (*own).max(*amount);
    }
}

/// See [`super::unstated`].
pub(super) fn unstated(hard: &Amounts, pod: &Value) -> Vec<(String, Vec<String>)> {
    let mut out = Vec::new();
    for name in hard.keys() {
        let (what, resource) = match name.split_once('.') {
            Some(("requests", resource)) => ("requests", resource),
            Some(("limits", resource)) => ("limits", resource),
            Some(_) | None => ("requests", name.as_str()),
        };
        if !SHORT.contains(&resource) || !pod["spec"]["resources"][what][resource].is_null() {
            continue;
        }
        let containers =
            list(&pod["spec"], "containers").chain(list(&pod["spec"], "initContainers"));
        let silent =
            containers.filter(|container| container["resources"][what][resource].is_null());
        let names: BTreeSet<String> = silent
            .map(|container| container["name"].as_str().unwrap_or_default().to_owned())
            .collect();
        if !names.is_empty() {
            out.push((name.clone(), names.into_iter().collect()));
        }
    }
    out
}
