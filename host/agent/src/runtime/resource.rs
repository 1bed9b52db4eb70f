//! Whose spans a container makes: the resource that OpenTelemetry wants to know. Pure.
//!
//! *Source:* OpenTelemetry's conventions for `k8s.*`, `container.*` and `service.*`, and how the latter
//! follow from labels and annotations ("Specify resource attributes using Kubernetes annotations").

use std::collections::BTreeMap;

use coracle_telemetry::Resource;
use k8s_openapi::api::core::v1::{Container, Pod};

/// Annotations with this prefix are attributes, in place of what would be found otherwise.
const ANNOTATION_PREFIX: &str = "resource.opentelemetry.io/";

/// What the host adds to what the pod says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    /// Name of the node.
    pub(crate) node: &'a str,
    /// How often the container was started again.
    pub(crate) restart_count: u32,
}

/// Gives the resource of a container of a pod.
pub(crate) fn resource(pod: &Pod, container: &Container, facts: Facts<'_>) -> Resource {
    let meta = &pod.metadata;
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    let name = meta.name.as_deref().unwrap_or_default();
    let image = container.image.as_deref().unwrap_or_default();
    let (repository, tag) = parts(image);
    let owners = owners(pod);
    let label = |key: &str| meta.labels.as_ref().and_then(|labels| labels.get(key)).cloned();
    let service = label("app.kubernetes.io/instance")
        .or_else(|| label("app.kubernetes.io/name"))
        .or_else(|| owners.first().map(|(_, owner)| owner.clone()))
        .unwrap_or_else(|| name.to_owned());
    let mut found = Resource::service(&service)
        .with("service.namespace", namespace)
        .with("service.instance.id", format!("{namespace}.{name}.{}", container.name))
        .with("k8s.namespace.name", namespace)
        .with("k8s.pod.name", name)
        .with("k8s.pod.uid", meta.uid.as_deref().unwrap_or_default())
        .with("k8s.container.name", container.name.as_str())
        .with("k8s.container.restart_count", facts.restart_count.to_string())
        .with("k8s.node.name", facts.node)
        .with("container.image.name", repository);
    for (key, owner) in owners {
        found = found.with(key, owner);
    }
    if let Some(version) = label("app.kubernetes.io/version").or_else(|| tag.map(str::to_owned)) {
        found = found.with("service.version", version);
    }
    if let Some(tag) = tag {
        found = found.with("container.image.tags", tag);
    }
    for (key, value) in own(meta.annotations.as_ref()) {
        found = found.with(key.to_owned(), value);
    }
    found
}

/// Attributes that the pod's owner wants.
fn own(annotations: Option<&BTreeMap<String, String>>) -> impl Iterator<Item = (&str, &str)> {
    annotations
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.strip_prefix(ANNOTATION_PREFIX)?, value.as_str())))
}

/// Who made the pod, the outermost first: a Deployment is known by the name of its ReplicaSet.
fn owners(pod: &Pod) -> Vec<(&'static str, String)> {
    let references = pod.metadata.owner_references.iter().flatten();
    let Some(owner) = references.into_iter().find(|owner| owner.controller == Some(true)) else {
        return Vec::new();
    };
    let name = owner.name.clone();
    match owner.kind.as_str() {
        "ReplicaSet" => {
            let labels = pod.metadata.labels.as_ref();
            let hash = labels.and_then(|labels| labels.get("pod-template-hash"));
            let deployment = hash.and_then(|hash| name.strip_suffix(hash)?.strip_suffix('-'));
            let deployment = deployment.map(|name| ("k8s.deployment.name", name.to_owned()));
            deployment.into_iter().chain([("k8s.replicaset.name", name.clone())]).collect()
        }
        "StatefulSet" => vec![("k8s.statefulset.name", name)],
        "DaemonSet" => vec![("k8s.daemonset.name", name)],
        "Job" => vec![("k8s.job.name", name)],
        "ReplicationController" => vec![("k8s.replicationcontroller.name", name)],
        _of_a_kind_without_an_attribute => Vec::new(),
    }
}

/// Repository and tag of an image's name.
fn parts(image: &str) -> (&str, Option<&str>) {
    let image = image.split_once('@').map_or(image, |(image, _)| image);
    match image.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        Some(_) | None => (image, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    fn check(metadata: Value, image: &str, expected: Expect) {
        let pod = json!({"metadata": metadata, "spec": {"containers": [{"name": "web", "image": image}]}});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let container = pod.spec.as_ref().unwrap().containers[0].clone();
        let found = resource(&pod, &container, Facts { node: "h1", restart_count: 2 });
        // The last one of a name counts.
        let found: BTreeMap<_, _> = found.attributes.into_iter().collect();
        let lines: Vec<_> = found.iter().map(|(key, value)| format!("{key}={value}")).collect();
        expected.assert_eq(&lines.join("\n"));
    }

    #[test]
    fn a_pod_of_a_deployment_is_its_service() {
        let metadata = json!({
            "namespace": "shop", "name": "cart-5d4f-x", "uid": "u1",
            "labels": {"pod-template-hash": "5d4f"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "cart-5d4f",
                "uid": "r", "controller": true}],
        });
        check(
            metadata,
            "reg:5000/shop/cart:1.2",
            expect![[r#"
            container.image.name=reg:5000/shop/cart
            container.image.tags=1.2
            k8s.container.name=web
            k8s.container.restart_count=2
            k8s.deployment.name=cart
            k8s.namespace.name=shop
            k8s.node.name=h1
            k8s.pod.name=cart-5d4f-x
            k8s.pod.uid=u1
            k8s.replicaset.name=cart-5d4f
            service.instance.id=shop.cart-5d4f-x.web
            service.name=cart
            service.namespace=shop
            service.version=1.2"#]],
        );
    }

    #[test]
    fn labels_and_annotations_say_it_better() {
        let metadata = json!({
            "namespace": "shop", "name": "p", "uid": "u1",
            "labels": {"app.kubernetes.io/name": "checkout", "app.kubernetes.io/version": "7"},
            "annotations": {"resource.opentelemetry.io/service.name": "till",
                "resource.opentelemetry.io/deployment.environment.name": "test", "other": "x"},
        });
        check(
            metadata,
            "reg:5000/cart@sha256:00",
            expect![[r#"
            container.image.name=reg:5000/cart
            deployment.environment.name=test
            k8s.container.name=web
            k8s.container.restart_count=2
            k8s.namespace.name=shop
            k8s.node.name=h1
            k8s.pod.name=p
            k8s.pod.uid=u1
            service.instance.id=shop.p.web
            service.name=till
            service.namespace=shop
            service.version=7"#]],
        );
    }
}
