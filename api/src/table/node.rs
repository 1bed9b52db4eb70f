//! Nodes: whether they are ready, what they are for, and what they run.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{AGE, Column, NAME, Printer, age, items, or, text};
use crate::{condition, meta};

pub(super) const NODE: Printer = Printer {
    columns: &[
        NAME,
        Column::text("Status", "Whether it is ready and takes pods."),
        Column::text("Roles", "What it is for, by its labels."),
        AGE,
        Column::text("Version", "Version of the agent."),
        Column::wide("Internal-IP", "Its address for the cluster."),
        Column::wide("External-IP", "Its address from outside."),
        Column::wide("OS-Image", "Operating system."),
        Column::wide("Kernel-Version", "Kernel of the operating system."),
        Column::wide("Container-Runtime", "What runs the containers."),
    ],
    row,
};

fn row(object: &Value, now: Timestamp) -> Vec<Value> {
    let info = &object["status"]["nodeInfo"];
    let roles = roles(object);
    vec![
        json!(meta::name(object)),
        json!(status(object)),
        json!(or(&roles, "<none>")),
        age(object, now),
        json!(text(info, "kubeletVersion")),
        json!(address(object, "InternalIP")),
        json!(address(object, "ExternalIP")),
        json!(or(text(info, "osImage"), "<unknown>")),
        json!(or(text(info, "kernelVersion"), "<unknown>")),
        json!(or(text(info, "containerRuntimeVersion"), "<unknown>")),
    ]
}

fn status(object: &Value) -> String {
    let ready = match condition::find(object, "Ready") {
        None => "Unknown",
        Some(ready) if text(ready, "status") == "True" => "Ready",
        Some(_) => "NotReady",
    };
    if object["spec"]["unschedulable"] == Value::Bool(true) {
        format!("{ready},SchedulingDisabled")
    } else {
        ready.to_owned()
    }
}

fn roles(object: &Value) -> String {
    let mut roles = BTreeSet::new();
    for (key, value) in meta::labels(object).into_iter().flatten() {
        if let Some(role) = key.strip_prefix("node-role.kubernetes.io/") {
            roles.insert(role);
        } else if key == "kubernetes.io/role" {
            roles.insert(value.as_str().unwrap_or_default());
        }
    }
    roles.remove("");
    roles.into_iter().collect::<Vec<_>>().join(",")
}

fn address<'a>(object: &'a Value, kind: &str) -> &'a str {
    let addresses = items(&object["status"], "addresses");
    let found = addresses.iter().find(|address| text(address, "type") == kind);
    found.map_or("<none>", |address| text(address, "address"))
}
