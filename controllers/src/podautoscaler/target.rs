//! Where the API serves what an autoscaler names: built-in kinds and users' own.

use std::sync::Arc;

use coracle_api::registry::{Kind, kinds};
use k8s_openapi::api::autoscaling::v2::CrossVersionObjectReference;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

/// Gives the path of the collection in which the target of an autoscaler is, `/apis/apps/v1/namespaces/a/deployments`.
///
/// As upstream does it, any version of the kind will do; the one that is named is taken first.
///
/// # Errors
/// The words for a kind that nobody serves or that has no subresource `scale`.
pub(super) fn collection(
    target: &CrossVersionObjectReference,
    namespace: &str,
    definitions: &[Arc<CustomResourceDefinition>],
) -> Result<String, String> {
    let (group, version) = group_version(target);
    let path = |version: &str, plural: &str| {
        let root = if version.contains('/') { "/apis" } else { "/api" };
        format!("{root}/{version}/namespaces/{namespace}/{plural}")
    };
    let fits = |kind: &&Kind| {
        kind.kind == target.kind && kind.group == group && kind.rules.scale.is_some()
    };
    if let Some(kind) = kinds().iter().find(fits) {
        return Ok(path(&kind.api_version(), kind.plural));
    }
    let definition = definition(group, &target.kind, definitions).and_then(|definition| {
        let scales = definition.spec.versions.iter().filter(|version| {
            let subresources = version.subresources.as_ref();
            version.served && subresources.is_some_and(|all| all.scale.is_some())
        });
        let served = scales.min_by_key(|served| served.name != version)?;
        Some(path(&format!("{group}/{}", served.name), &definition.spec.names.plural))
    });
    definition.ok_or_else(|| {
        format!("no matches for kind {:?} in group {group:?} that can be scaled", target.kind)
    })
}

/// Gives the part of a metrics API's path that names an object, `ingresses.networking.k8s.io/web`.
///
/// *Source:* `k8s.io/metrics/pkg/client/custom_metrics`: a Namespace describes itself.
pub(super) fn described(
    object: &CrossVersionObjectReference,
    definitions: &[Arc<CustomResourceDefinition>],
) -> String {
    let (group, _) = group_version(object);
    if object.kind == "Namespace" && group.is_empty() {
        return "metrics".to_owned();
    }
    let known = kinds().iter().find(|kind| kind.kind == object.kind && kind.group == group);
    let plural = known
        .map(|kind| kind.plural.to_owned())
        .or_else(|| Some(definition(group, &object.kind, definitions)?.spec.names.plural.clone()));
    // A kind that is not known here may be known there: as its plural is mostly made.
    let plural = plural.unwrap_or_else(|| format!("{}s", object.kind.to_lowercase()));
    let dot = if group.is_empty() { "" } else { "." };
    format!("{plural}{dot}{group}/{}", object.name)
}

fn group_version(object: &CrossVersionObjectReference) -> (&str, &str) {
    let text = object.api_version.as_deref().unwrap_or_default();
    text.split_once('/').unwrap_or(("", text))
}

fn definition<'a>(
    group: &str,
    kind: &str,
    definitions: &'a [Arc<CustomResourceDefinition>],
) -> Option<&'a CustomResourceDefinition> {
    let named = |one: &&Arc<CustomResourceDefinition>| {
        one.spec.group == group && one.spec.names.kind == kind
    };
    definitions.iter().find(named).map(|definition| &**definition)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn definitions() -> Vec<Arc<CustomResourceDefinition>> {
        let version = |name: &str, more: Value| {
            let mut version = json!({"name": name, "served": true, "storage": false});
            version.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            version
        };
        let scale = json!({"subresources": {"scale": {"specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas"}}});
        let definition = json!({"metadata": {"name": "oxen.x.io"}, "spec": {"group": "x.io",
            "scope": "Namespaced", "names": {"plural": "oxen", "kind": "Ox"},
            "versions": [version("v1", scale.clone()), version("v2", scale), version("v3", json!({}))]}});
        vec![Arc::new(serde_json::from_value(definition).unwrap())]
    }

    #[test]
    fn targets_are_found_in_any_version_that_scales() {
        let check = |version: &str, kind: &str, expected: Result<&str, &str>| {
            let target = CrossVersionObjectReference {
                api_version: Some(version.to_owned()),
                kind: kind.to_owned(),
                name: "web".to_owned(),
            };
            let found = collection(&target, "a", &definitions());
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{version} {kind}");
        };
        check("apps/v1", "Deployment", Ok("/apis/apps/v1/namespaces/a/deployments"));
        check("apps/v1beta1", "Deployment", Ok("/apis/apps/v1/namespaces/a/deployments"));
        let controllers = "/api/v1/namespaces/a/replicationcontrollers";
        check("v1", "ReplicationController", Ok(controllers));
        check("x.io/v2", "Ox", Ok("/apis/x.io/v2/namespaces/a/oxen"));
        check("x.io/v3", "Ox", Ok("/apis/x.io/v1/namespaces/a/oxen"));
        let refused = r#"no matches for kind "Pod" in group "" that can be scaled"#;
        check("v1", "Pod", Err(refused));
        let refused = r#"no matches for kind "Ox" in group "apps" that can be scaled"#;
        check("apps/v1", "Ox", Err(refused));
    }

    #[test]
    fn objects_are_named_with_their_group() {
        let check = |version: &str, kind: &str, expected: &str| {
            let object = CrossVersionObjectReference {
                api_version: Some(version.to_owned()),
                kind: kind.to_owned(),
                name: "web".to_owned(),
            };
            assert_eq!(described(&object, &definitions()), expected);
        };
        check("networking.k8s.io/v1", "Ingress", "ingresses.networking.k8s.io/web");
        check("v1", "Service", "services/web");
        check("v1", "Namespace", "metrics");
        check("x.io/v1", "Ox", "oxen.x.io/web");
        check("y.io/v1", "Strange", "stranges.y.io/web");
    }
}
