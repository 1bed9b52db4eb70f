//! The aggregated form: one document with all groups, versions, resources and subresources.

use coracle_api::registry::{Kind, Subresource};
use serde_json::{Value, json};

use super::group_versions;

/// The document at `/api`: the core group.
pub(super) fn core(kinds: &[&Kind]) -> Value {
    list(vec![group("", kinds)])
}

/// The document at `/apis`: all other groups, in the order in which clients should prefer them.
pub(super) fn groups(kinds: &[&Kind]) -> Value {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in group_versions(kinds) {
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    let mut groups: Vec<Value> = names.into_iter().map(|name| group(name, kinds)).collect();
    groups.push(super::usage::aggregated());
    list(groups)
}

fn list(items: Vec<Value>) -> Value {
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items})
}

fn group(name: &str, kinds: &[&Kind]) -> Value {
    let versions: Vec<Value> = group_versions(kinds)
        .into_iter()
        .filter(|(group, _)| *group == name)
        .map(|(group, version)| {
            json!({"version": version, "freshness": "Current", "resources": resources(group, version, kinds)})
        })
        .collect();
    let mut metadata = json!({"creationTimestamp": null});
    if !name.is_empty() {
        metadata = json!({"name": name, "creationTimestamp": null});
    }
    json!({"metadata": metadata, "versions": versions})
}

fn resources(group: &str, version: &str, all: &[&Kind]) -> Vec<Value> {
    let mut kinds: Vec<&Kind> =
        all.iter().copied().filter(|kind| kind.group == group && kind.version == version).collect();
    kinds.sort_by_key(|kind| kind.plural);
    kinds.into_iter().map(resource).collect()
}

fn resource(kind: &Kind) -> Value {
    let mut value = json!({
        "resource": kind.plural,
        "responseKind": response_kind(kind.group, kind.version, kind.kind),
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": kind.singular,
        "verbs": kind.verbs,
    });
    if !kind.short_names.is_empty() {
        value["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        value["categories"] = json!(kind.categories);
    }
    if !kind.subresources.is_empty() {
        value["subresources"] = kind.subresources.iter().map(subresource).collect();
    }
    value
}

fn subresource(subresource: &Subresource) -> Value {
    json!({
        "subresource": subresource.name,
        "responseKind": response_kind(subresource.group, subresource.version, subresource.kind),
        "verbs": subresource.verbs,
    })
}

fn response_kind(group: &str, version: &str, kind: &str) -> Value {
    json!({"group": group, "version": version, "kind": kind})
}
