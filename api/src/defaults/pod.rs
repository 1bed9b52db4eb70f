//! Pods and pod templates.

use serde_json::Value;

use super::container;
use super::fill::{Members, ensure, fill, fill_pointer, inside, items, text};
use super::volume;
use crate::quota;

/// Lists of containers in a pod's spec.
const CONTAINER_LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// Fills a Pod: its spec as in a template, and what only a pod itself gets.
pub fn set(pod: &mut Value) {
    let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else { return };
    set_spec(spec);
    fill_pointer(spec, "enableServiceLinks", true);
    let host_network = spec.get("hostNetwork").and_then(Value::as_bool).unwrap_or_default();
    for list in ["initContainers", "containers"] {
        for member in items(spec, list) {
            container::set_requests(member);
            if host_network {
                container::set_host_ports(member);
            }
        }
    }
    set_own_requests(pod);
}

/// Fills what a pod asks for as a whole where it says what it may use: as much as its containers ask for, else the limit.
///
/// *Source:* KEP-2837, and `defaultPodRequests` in behaviour.
fn set_own_requests(pod: &mut Value) {
    let limits = pod.pointer("/spec/resources/limits").and_then(Value::as_object);
    let Some(limits) = limits.filter(|limits| !limits.is_empty()).cloned() else { return };
    let asked = pod.get("spec").map(|spec| quota::of_containers(spec, "requests"));
    let resources = pod.pointer_mut("/spec/resources").and_then(Value::as_object_mut);
    let Some(requests) = resources.and_then(|resources| ensure(resources, "requests")) else {
        return;
    };
    for (name, amount) in asked.into_iter().flatten() {
        if matches!(name.as_str(), "cpu" | "memory") {
            requests.entry(name).or_insert_with(|| amount.to_string().into());
        }
    }
    for (name, amount) in limits {
        if matches!(name.as_str(), "cpu" | "memory") || name.starts_with("hugepages-") {
            requests.entry(name).or_insert(amount);
        }
    }
}

/// Fills the pod template of a workload; `spec` is the workload's.
pub(super) fn set_template(spec: &mut Members) {
    if let Some(spec) = inside(spec, "template").and_then(|template| inside(template, "spec")) {
        set_spec(spec);
    }
}

fn set_spec(spec: &mut Members) {
    fill(spec, "restartPolicy", "Always");
    fill(spec, "dnsPolicy", "ClusterFirst");
    fill(spec, "schedulerName", "default-scheduler");
    fill_pointer(spec, "terminationGracePeriodSeconds", 30);
    fill_pointer(spec, "securityContext", Members::new());
    set_service_account(spec);
    for list in CONTAINER_LISTS {
        items(spec, list).for_each(container::set);
    }
    items(spec, "volumes").for_each(volume::set);
}

/// The account has two names, of which the older is kept for old clients.
fn set_service_account(spec: &mut Members) {
    let (new, old) = (text(spec, "serviceAccountName"), text(spec, "serviceAccount"));
    let name = if new.is_empty() { old } else { new }.to_owned();
    if !name.is_empty() {
        spec.insert("serviceAccountName".to_owned(), name.clone().into());
        spec.insert("serviceAccount".to_owned(), name.into());
    }
}
