//! `metrics.k8s.io` in discovery: it has no kinds in the registry, because nothing of it is stored.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::usage::{GROUP, RESOURCES, VERSION};

const VERBS: [&str; 2] = ["get", "list"];

/// The group of the aggregated document.
pub(super) fn aggregated() -> Value {
    let resources: Vec<Value> = RESOURCES
        .iter()
        .map(|(plural, kind, namespaced)| {
            json!({
                "resource": plural, "singularResource": "", "verbs": VERBS,
                "scope": if *namespaced { "Namespaced" } else { "Cluster" },
                "responseKind": {"group": GROUP, "version": VERSION, "kind": kind},
            })
        })
        .collect();
    json!({
        "metadata": {"name": GROUP, "creationTimestamp": null},
        "versions": [{"version": VERSION, "freshness": "Current", "resources": resources}],
    })
}

/// Adds the group to the older documents.
pub(super) fn add_to(documents: &mut HashMap<String, Value>) {
    let version = json!({"groupVersion": format!("{GROUP}/{VERSION}"), "version": VERSION});
    let group = json!({"name": GROUP, "preferredVersion": version, "versions": [version]});
    if let Some(groups) = documents.get_mut("/apis").and_then(|list| list["groups"].as_array_mut())
    {
        groups.push(group.clone());
    }
    let mut whole = group;
    whole["kind"] = json!("APIGroup");
    whole["apiVersion"] = json!("v1");
    documents.insert(format!("/apis/{GROUP}"), whole);
    let resources: Vec<Value> = RESOURCES
        .iter()
        .map(|(plural, kind, namespaced)| {
            json!({
                "name": plural, "singularName": "", "namespaced": namespaced, "kind": kind,
                "verbs": VERBS,
            })
        })
        .collect();
    let list = json!({
        "kind": "APIResourceList", "apiVersion": "v1",
        "groupVersion": format!("{GROUP}/{VERSION}"), "resources": resources,
    });
    documents.insert(format!("/apis/{GROUP}/{VERSION}"), list);
}
