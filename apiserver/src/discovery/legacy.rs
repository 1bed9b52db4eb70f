//! The older lists: `APIVersions`, `APIGroupList`, `APIGroup`, `APIResourceList`.

use std::collections::HashMap;

use coracle_api::registry::Kind;
use serde_json::{Value, json};

use super::group_versions;

/// All documents by path, without trailing slash.
pub(super) fn documents(address: &str, kinds: &[&Kind]) -> HashMap<String, Value> {
    let mut documents = HashMap::new();
    let by_address = json!([{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]);
    documents.insert(
        "/api".to_owned(),
        json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": by_address}),
    );
    let mut groups: Vec<Value> = Vec::new();
    for (group, version) in group_versions(kinds) {
        let path = if group.is_empty() {
            format!("/api/{version}")
        } else {
            format!("/apis/{group}/{version}")
        };
        documents.insert(path, resource_list(group, version, kinds));
        if !group.is_empty() && !groups.iter().any(|known| known["name"] == group) {
            groups.push(api_group(group, kinds));
        }
    }
    for group in &groups {
        let mut whole = group.clone();
        whole["kind"] = json!("APIGroup");
        whole["apiVersion"] = json!("v1");
        documents.insert(format!("/apis/{}", group["name"].as_str().unwrap_or("")), whole);
    }
    documents.insert(
        "/apis".to_owned(),
        json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}),
    );
    super::usage::add_to(&mut documents);
    documents
}

fn api_group(name: &str, kinds: &[&Kind]) -> Value {
    let versions: Vec<Value> = group_versions(kinds)
        .into_iter()
        .filter(|(group, _)| *group == name)
        .map(|(group, version)| json!({"groupVersion": format!("{group}/{version}"), "version": version}))
        .collect();
    json!({"name": name, "preferredVersion": versions.first(), "versions": versions})
}

fn resource_list(group: &str, version: &str, kinds: &[&Kind]) -> Value {
    let mut resources: Vec<Value> = Vec::new();
    for kind in kinds.iter().copied().filter(|kind| kind.group == group && kind.version == version)
    {
        resources.push(resource(kind));
        resources.extend(kind.subresources.iter().map(|sub| {
            let mut value = json!({
                "name": format!("{}/{}", kind.plural, sub.name), "singularName": "", "namespaced": kind.namespaced,
                "kind": sub.kind, "verbs": sub.verbs,
            });
            if (sub.group, sub.version) != (kind.group, kind.version) {
                value["group"] = json!(sub.group);
                value["version"] = json!(sub.version);
            }
            value
        }));
    }
    resources.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    let group_version =
        if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources})
}

fn resource(kind: &Kind) -> Value {
    let mut value = json!({
        "name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced, "kind": kind.kind,
        "verbs": kind.verbs,
    });
    if !kind.storage_version_hash.is_empty() {
        value["storageVersionHash"] = json!(kind.storage_version_hash);
    }
    if !kind.short_names.is_empty() {
        value["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        value["categories"] = json!(kind.categories);
    }
    value
}
