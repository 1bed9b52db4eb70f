//! Groups and versions that other servers serve, in the discovery documents.
//!
//! Pure. *Source:* KEP-3352; `kube-aggregator` in behaviour.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

/// A group and version that another server serves.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Remote {
    /// The group.
    pub(crate) group: String,
    /// The version.
    pub(crate) version: String,
    /// What it last said that it serves, an `APIResourceList`; `Null` while it was never reached.
    pub(crate) resources: Value,
    /// Whether it is reached now.
    pub(crate) available: bool,
}

impl Remote {
    fn group_version(&self) -> String {
        format!("{}/{}", self.group, self.version)
    }
}

/// Adds the groups to the older documents; their lists of resources are asked of their servers.
pub(super) fn add_legacy(documents: &mut HashMap<String, Value>, remotes: &[Remote]) {
    for remote in remotes {
        let version = json!({"groupVersion": remote.group_version(), "version": remote.version});
        let path = format!("/apis/{}", remote.group);
        let mut group = documents.remove(&path).unwrap_or_else(|| {
            json!({"kind": "APIGroup", "apiVersion": "v1", "name": remote.group, "versions": [], "preferredVersion": version})
        });
        if let Some(versions) = group["versions"].as_array_mut()
            && !versions.contains(&version)
        {
            versions.push(version);
        }
        let listed = documents.get_mut("/apis").and_then(|all| all["groups"].as_array_mut());
        if let Some(groups) = listed {
            let mut short = group.clone();
            if let Some(fields) = short.as_object_mut() {
                fields.retain(|field, _| field != "kind" && field != "apiVersion");
            }
            groups.retain(|known| known["name"] != remote.group);
            groups.push(short);
        }
        documents.insert(path, group);
    }
}

/// Adds the groups to the aggregated document.
pub(super) fn add_aggregated(list: &mut Value, remotes: &[Remote]) {
    let Some(items) = list["items"].as_array_mut() else { return };
    for remote in remotes {
        let version = json!({
            "version": remote.version, "resources": resources(remote),
            "freshness": if remote.available { "Current" } else { "Stale" },
        });
        let known = items.iter_mut().find(|item| item["metadata"]["name"] == remote.group);
        match known.and_then(|item| item["versions"].as_array_mut()) {
            Some(versions) => {
                versions.retain(|known| known["version"] != remote.version);
                versions.push(version);
            }
            None => items.push(json!({
                "metadata": {"name": remote.group, "creationTimestamp": null},
                "versions": [version],
            })),
        }
    }
}

/// The resources of an `APIResourceList`, subresources below theirs.
fn resources(remote: &Remote) -> Vec<Value> {
    let list = remote.resources["resources"].as_array().map(Vec::as_slice).unwrap_or_default();
    let name = |item: &Value| item["name"].as_str().unwrap_or_default().to_owned();
    let mut out = Vec::new();
    for item in list.iter().filter(|item| !name(item).contains('/')) {
        let mut made = Map::new();
        made.insert("resource".to_owned(), json!(name(item)));
        made.insert("responseKind".to_owned(), response_kind(remote, item));
        let scope = if item["namespaced"] == true { "Namespaced" } else { "Cluster" };
        made.insert("scope".to_owned(), json!(scope));
        made.insert(
            "singularResource".to_owned(),
            json!(item["singularName"].as_str().unwrap_or("")),
        );
        for field in ["verbs", "shortNames", "categories"] {
            if item[field].is_array() {
                made.insert(field.to_owned(), item[field].clone());
            }
        }
        let prefix = format!("{}/", name(item));
        let below = list.iter().filter_map(|sub| {
            let part = name(sub).strip_prefix(&prefix)?.to_owned();
            Some(json!({"subresource": part, "responseKind": response_kind(remote, sub), "verbs": sub["verbs"]}))
        });
        let below: Vec<Value> = below.collect();
        if !below.is_empty() {
            made.insert("subresources".to_owned(), json!(below));
        }
        out.push(Value::Object(made));
    }
    out
}

fn response_kind(remote: &Remote, item: &Value) -> Value {
    let own = |field: &str, other: &str| {
        let found = item[field].as_str().filter(|text| !text.is_empty());
        found.unwrap_or(other).to_owned()
    };
    json!({
        "group": own("group", &remote.group), "version": own("version", &remote.version),
        "kind": item["kind"],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_have_their_subresources_below() {
        let resources = json!({"resources": [
            {"name": "cats", "singularName": "cat", "namespaced": true, "kind": "Cat", "verbs": ["get"]},
            {"name": "cats/nap", "kind": "Nap", "group": "x.io", "version": "v2", "verbs": ["create"]},
        ]});
        let remote =
            Remote { group: "a.io".into(), version: "v1".into(), resources, available: true };
        let mut list =
            json!({"items": [{"metadata": {"name": "a.io"}, "versions": [{"version": "v2"}]}]});
        add_aggregated(&mut list, std::slice::from_ref(&remote));
        let versions = &list["items"][0]["versions"];
        assert_eq!(versions[1]["freshness"], "Current");
        assert_eq!(versions[1]["resources"][0]["subresources"][0]["responseKind"]["group"], "x.io");
        let mut documents = HashMap::from([("/apis".to_owned(), json!({"groups": []}))]);
        add_legacy(&mut documents, &[remote]);
        assert_eq!(documents["/apis"]["groups"][0]["versions"][0]["groupVersion"], "a.io/v1");
        assert_eq!(documents["/apis/a.io"]["kind"], "APIGroup");
    }
}
