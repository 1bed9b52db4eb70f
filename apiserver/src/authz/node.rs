//! What a node may do: keep its own Node and Lease, run the pods bound to it, and read what those refer to.
//!
//! *Source:* Kubernetes, "Using Node Authorization"; the graph from pods to what they refer to is walked anew for each
//! question, over the node's own pods.

use super::{Attributes, Decision, front};
use crate::cache::{Caches, Object, Selection};
use coracle_api::ondemand::IDLE_POINTER;
use coracle_api::registry;
use coracle_api::selector::{FieldSelector, LabelSelector};
use serde_json::Value;
use std::sync::Arc;

/// The namespace of the nodes' heartbeats.
const LEASE_NAMESPACE: &str = "kube-node-lease";

/// Decides for a node.
pub(super) fn authorize(caches: &Caches, node: &str, attributes: &Attributes<'_>) -> Decision {
    let reads = matches!(attributes.verb, "get" | "list" | "watch");
    let allowed = match (attributes.group, attributes.resource) {
        ("", "") => pulls_images(attributes),
        ("", "nodes") => reads && attributes.subresource.is_empty() || own_node(node, attributes),
        ("coordination.k8s.io", "leases") => own_lease(node, attributes),
        ("", "pods") => return own_pod(caches, node, attributes),
        ("", "configmaps" | "secrets" | "persistentvolumeclaims" | "serviceaccounts") => {
            return referenced(caches, node, attributes);
        }
        ("", "persistentvolumes") => reads_volumes(caches, node, attributes),
        ("node.k8s.io", "runtimeclasses") | ("storage.k8s.io", "csidrivers") => {
            reads && attributes.subresource.is_empty()
        }
        ("certificates.k8s.io", "certificatesigningrequests") => {
            attributes.subresource.is_empty() && (reads || attributes.verb == "create")
        }
        ("authentication.k8s.io", "tokenreviews")
        | ("authorization.k8s.io", "subjectaccessreviews" | "localsubjectaccessreviews") => {
            attributes.verb == "create"
        }
        ("", "services") if attributes.subresource == "status" => reports_use(caches, attributes),
        ("", "services" | "namespaces") | ("discovery.k8s.io", "endpointslices") => {
            reads && attributes.subresource.is_empty()
        }
        // Every node is a way in.
        ("networking.k8s.io", "ingresses" | "ingressclasses")
        | ("gateway.networking.k8s.io", _) => reads && attributes.subresource.is_empty(),
        ("" | "events.k8s.io", "events") => {
            matches!(attributes.verb, "create" | "update" | "patch")
        }
        _ => false,
    };
    if allowed { Decision::Allow(String::new()) } else { Decision::Deny(String::new()) }
}

/// The built-in registry holds no secrets, and every node pulls from it.
fn pulls_images(attributes: &Attributes<'_>) -> bool {
    let reads = matches!(attributes.verb, "get" | "head");
    reads && (attributes.path == "/v2" || attributes.path.starts_with("/v2/"))
}

/// A host notes in the status of a Service whose pods run on demand that it is used.
fn reports_use(caches: &Caches, attributes: &Attributes<'_>) -> bool {
    let service = || caches.get("", "services", attributes.namespace, attributes.name);
    attributes.verb == "patch"
        && service().is_some_and(|service| text(&service.value(), IDLE_POINTER).is_some())
}

/// A node sees all volumes, and lets those go that are its own folders.
fn reads_volumes(caches: &Caches, node: &str, attributes: &Attributes<'_>) -> bool {
    let own = || {
        let volume = caches.get("", "persistentvolumes", "", attributes.name);
        volume.is_some_and(|volume| {
            let home = "/spec/csi/volumeAttributes/local.coracle.dev~1node";
            text(&volume.value(), home) == Some(node)
        })
    };
    match attributes.verb {
        "get" | "list" | "watch" => attributes.subresource.is_empty(),
        "patch" => attributes.subresource.is_empty() && own(),
        _ => false,
    }
}

fn own_node(node: &str, attributes: &Attributes<'_>) -> bool {
    match (attributes.verb, attributes.subresource) {
        // The name is in the body; admission compares it.
        ("create", "") => true,
        ("update" | "patch", "" | "status") => attributes.name == node,
        _ => false,
    }
}

fn own_lease(node: &str, attributes: &Attributes<'_>) -> bool {
    let named = matches!(attributes.verb, "get" | "update" | "patch" | "delete");
    attributes.namespace == LEASE_NAMESPACE
        && (attributes.verb == "create" || named && attributes.name == node)
}

fn own_pod(caches: &Caches, node: &str, attributes: &Attributes<'_>) -> Decision {
    match (attributes.verb, attributes.subresource) {
        ("list" | "watch", "") if attributes.node_name == Some(node) => {
            Decision::Allow(String::new())
        }
        ("list" | "watch", "") => {
            let why = "a node can only list and watch pods with the field selector spec.nodeName set to itself";
            Decision::Deny(why.to_owned())
        }
        // Mirrors of its static pods; admission looks what is in them.
        ("create", "") => Decision::Allow(String::new()),
        ("get" | "delete", "")
        | ("update" | "patch" | "get", "status")
        | ("create", "eviction") => {
            let pod = caches.get("", "pods", attributes.namespace, attributes.name);
            match pod {
                // Nothing is told by a 404, and an agent that finishes a deletion must not take it for a 403.
                None => Decision::Allow(String::new()),
                Some(pod) if node_of(&pod) == Some(node) => Decision::Allow(String::new()),
                Some(_) => no_relationship(node, attributes),
            }
        }
        _ => Decision::Deny(String::new()),
    }
}

/// The `spec.nodeName` of a pod, from its selectable fields.
fn node_of(pod: &Object) -> Option<&str> {
    let kind = registry::by_kind("", "v1", "Pod")?;
    let index = kind.rules.selectable.iter().position(|label| *label == "spec.nodeName")?;
    pod.header.field(index)
}

fn referenced(caches: &Caches, node: &str, attributes: &Attributes<'_>) -> Decision {
    let by_name = match (attributes.resource, attributes.subresource) {
        // For its pods; admission asks for which one.
        ("serviceaccounts", "token") => attributes.verb == "create",
        ("serviceaccounts", "") => attributes.verb == "get",
        (_, "") => matches!(attributes.verb, "get" | "list" | "watch"),
        _ => false,
    };
    if !by_name {
        return Decision::Deny("can only read resources of this type".to_owned());
    }
    if attributes.name.is_empty() || attributes.namespace.is_empty() {
        return Decision::Deny("can only read namespaced object of this type by name".to_owned());
    }
    let pods = pods_of(caches, node, attributes.namespace);
    let refers = pods.iter().any(|pod| refers(&pod.value(), attributes.resource, attributes.name));
    let is_certificate = || {
        attributes.resource == "secrets"
            && front::names_secret(caches, attributes.namespace, attributes.name)
    };
    if refers || is_certificate() {
        Decision::Allow(String::new())
    } else {
        no_relationship(node, attributes)
    }
}

fn no_relationship(node: &str, attributes: &Attributes<'_>) -> Decision {
    let (resource, name) = (attributes.resource, attributes.name);
    Decision::Deny(format!("no relationship found between node '{node}' and {resource} '{name}'"))
}

fn pods_of(caches: &Caches, node: &str, namespace: &str) -> Vec<Arc<Object>> {
    let selection = registry::by_kind("", "v1", "Pod").and_then(|kind| {
        let fields = FieldSelector::parse(&format!("spec.nodeName={node}")).ok()?;
        Selection::new(kind, Some(namespace), LabelSelector::everything(), fields).ok()
    });
    match (selection, caches.by_resource("", "pods")) {
        (Some(selection), Some(pods)) => pods.select(&selection),
        _ => Vec::new(),
    }
}

/// Whether a pod refers to the object of its namespace.
fn refers(pod: &Value, resource: &str, name: &str) -> bool {
    let spec = pod.get("spec").unwrap_or(&Value::Null);
    match resource {
        "serviceaccounts" => text(spec, "/serviceAccountName") == Some(name),
        "persistentvolumeclaims" => {
            let pod = text(pod, "/metadata/name").unwrap_or_default();
            let claim = |volume: &Value| {
                let own = volume.get("ephemeral").and(text(volume, "/name"));
                text(volume, "/persistentVolumeClaim/claimName") == Some(name)
                    || own.is_some_and(|own| format!("{pod}-{own}") == name)
            };
            items(spec, "/volumes").iter().any(claim)
        }
        "secrets" => {
            let pulls = items(spec, "/imagePullSecrets");
            pulls.iter().any(|pull| text(pull, "/name") == Some(name)) || names(spec, &SECRET, name)
        }
        _ => names(spec, &CONFIG_MAP, name),
    }
}

/// Where a pod names a kind of object.
struct Places {
    volume: &'static str,
    projected: &'static str,
    env: &'static str,
    env_from: &'static str,
}

const SECRET: Places = Places {
    volume: "/secret/secretName",
    projected: "/secret/name",
    env: "/valueFrom/secretKeyRef/name",
    env_from: "/secretRef/name",
};

const CONFIG_MAP: Places = Places {
    volume: "/configMap/name",
    projected: "/configMap/name",
    env: "/valueFrom/configMapKeyRef/name",
    env_from: "/configMapRef/name",
};

fn names(spec: &Value, places: &Places, name: &str) -> bool {
    let at = |value: &Value, pointer: &str| text(value, pointer) == Some(name);
    let in_volume = |volume: &Value| {
        at(volume, places.volume)
            || items(volume, "/projected/sources").iter().any(|source| at(source, places.projected))
    };
    let in_container = |container: &Value| {
        items(container, "/env").iter().any(|env| at(env, places.env))
            || items(container, "/envFrom").iter().any(|from| at(from, places.env_from))
    };
    let containers = ["/containers", "/initContainers", "/ephemeralContainers"];
    items(spec, "/volumes").iter().any(in_volume)
        || containers.iter().any(|list| items(spec, list).iter().any(in_container))
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

fn items<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
