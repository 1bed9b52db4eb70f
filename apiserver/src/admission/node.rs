//! New nodes wait until they are ready, and a node writes only about itself.
//!
//! *Source:* the `TaintNodesByCondition` and `NodeRestriction` admission plugins. The taint is taken away by the node
//! controller once the node's Ready condition is true.

use super::{Operation, Request, spec_mut};
use coracle_api::meta;
use coracle_api::status::Status;
use serde_json::{Value, json};

/// The annotation of a pod that only shows a static one of its node.
const MIRROR: &str = "kubernetes.io/config.mirror";
/// The domain of labels that only administrators give to nodes.
const RESTRICTED: &str = "node-restriction.kubernetes.io";
/// The domains of Kubernetes' own labels.
const KUBERNETES: [&str; 2] = ["kubernetes.io", "k8s.io"];
/// Those of them that a node gives itself. *Source:* `KubeletLabels` of `k8s.io/kubelet`.
const OWN_LABELS: [&str; 11] = [
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
];
/// And the domains. *Source:* `KubeletLabelNamespaces` of `k8s.io/kubelet`.
const OWN_DOMAINS: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];
/// The taint of a node that is not ready.
const NOT_READY: &str = "node.kubernetes.io/not-ready";

/// Checks what a node writes, and taints new nodes.
pub(super) fn admit(
    request: &Request<'_>,
    object: &mut Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    if let Some(node) = request.user.node() {
        restrict(request, node, object, old)?;
    }
    if request.is_core("Node") && request.operation == Operation::Create {
        taint(object);
    }
    Ok(())
}

/// A node deletes only pods that are its own.
pub(super) fn admit_delete(request: &Request<'_>, old: Option<&Value>) -> Result<(), Status> {
    match request.user.node() {
        Some(node) if request.is_core("Pod") => own_pod(request, node, old),
        Some(_) | None => Ok(()),
    }
}

fn restrict(
    request: &Request<'_>,
    node: &str,
    object: &Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    let name = meta::name(object);
    match (request.kind.group, request.kind.kind) {
        ("", "Node") if name != node => {
            Err(request
                .forbidden(format!("node \"{node}\" is not allowed to modify node \"{name}\"")))
        }
        ("", "Node") => {
            own_range(request, node, object, old)?;
            own_labels(request, node, object, old)?;
            own_taints(request, node, object, old)
        }
        ("coordination.k8s.io", "Lease") if name != node => Err(request.forbidden(format!(
            "node \"{node}\" can only access a lease with the same name as the requesting node"
        ))),
        ("", "Pod") if request.operation == Operation::Create && request.subresource.is_empty() => {
            own_mirror(request, node, object)
        }
        ("", "Pod") => {
            own_pod(request, node, old)?;
            own_status(request, node, object, old)
        }
        _ => Ok(()),
    }
}

/// A node makes no pods but mirrors of its static ones, which say so, are bound to it, belong to it, and
/// refer to nothing that it may not read otherwise.
fn own_mirror(request: &Request<'_>, node: &str, pod: &Value) -> Result<(), Status> {
    let name = meta::name(pod);
    let refuse = |why: &str| Err(request.forbidden(why));
    if !is_mirror(pod) {
        let annotation = MIRROR;
        return refuse(&format!(
            "pod does not have \"{annotation}\" annotation, node \"{node}\" can only create mirror pods"
        ));
    }
    if pod.pointer("/spec/nodeName").and_then(Value::as_str) != Some(node) {
        return refuse(&format!(
            "node \"{node}\" can only create pods with spec.nodeName set to itself"
        ));
    }
    let owners = pod.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let own = owners.is_some_and(|owners| {
        let [owner] = owners.as_slice() else { return false };
        owner["kind"] == "Node" && owner["name"] == node && owner["controller"] == true
    });
    if !own {
        return refuse(&format!(
            "node \"{node}\" can only create pods that it alone owns and controls"
        ));
    }
    match refers_to(pod.get("spec").unwrap_or(&Value::Null)) {
        Some(what) => refuse(&format!(
            "node \"{node}\" can not create pods that reference {what} (\"{name}\" does)"
        )),
        None => Ok(()),
    }
}

/// Tells whether a pod only shows a static one.
pub(super) fn is_mirror(pod: &Value) -> bool {
    let annotations = pod.pointer("/metadata/annotations").and_then(Value::as_object);
    annotations.is_some_and(|map| map.contains_key(MIRROR))
}

/// Names what a pod needs of the API.
fn refers_to(spec: &Value) -> Option<&'static str> {
    let items = |value: &Value, field: &str| -> Vec<Value> {
        value.get(field).and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let any = |list: &[Value], field: &str| list.iter().any(|item| item.get(field).is_some());
    if spec["serviceAccountName"].as_str().is_some_and(|name| !name.is_empty()) {
        return Some("a service account");
    }
    let volumes = items(spec, "volumes");
    let sources: Vec<Value> =
        volumes.iter().flat_map(|volume| items(&volume["projected"], "sources")).collect();
    let lists = ["containers", "initContainers"];
    let containers: Vec<Value> = lists.iter().flat_map(|list| items(spec, list)).collect();
    let from: Vec<Value> =
        containers.iter().flat_map(|container| items(container, "envFrom")).collect();
    let env = containers.iter().flat_map(|container| items(container, "env"));
    let values: Vec<Value> = env.filter_map(|env| env.get("valueFrom").cloned()).collect();
    let rows = [
        (&volumes, "secret", "secrets"),
        (&volumes, "configMap", "configmaps"),
        (&volumes, "persistentVolumeClaim", "persistentvolumeclaims"),
        (&volumes, "ephemeral", "persistentvolumeclaims"),
        (&sources, "secret", "secrets"),
        (&sources, "configMap", "configmaps"),
        (&sources, "serviceAccountToken", "service account tokens"),
        (&from, "secretRef", "secrets"),
        (&from, "configMapRef", "configmaps"),
        (&values, "secretKeyRef", "secrets"),
        (&values, "configMapKeyRef", "configmaps"),
    ];
    let found = rows.into_iter().find(|(list, field, _)| any(list, field));
    found
        .map(|(_, _, what)| what)
        .or_else(|| (!items(spec, "imagePullSecrets").is_empty()).then_some("secrets"))
}

/// A node does not choose the range of its pods: with that of another one it could speak for the pods there.
fn own_range(
    request: &Request<'_>,
    node: &str,
    object: &Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    let ranges =
        |node: &Value| ["/spec/podCIDR", "/spec/podCIDRs"].map(|path| node.pointer(path).cloned());
    let before = old.map(ranges).unwrap_or_default();
    if ranges(object) == before {
        return Ok(());
    }
    Err(request.forbidden(format!(
        "node \"{node}\" is not allowed to choose its podCIDR: the control plane gives it one"
    )))
}

/// A node does not give itself labels by which pods are kept apart.
///
/// *Source:* `getModifiedLabels` and `getForbiddenLabels` of the `NodeRestriction` admission plugin.
fn own_labels(
    request: &Request<'_>,
    node: &str,
    object: &Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    let none = serde_json::Map::new();
    let before = old.and_then(meta::labels).unwrap_or(&none);
    let after = meta::labels(object).unwrap_or(&none);
    let keys = after.keys().chain(before.keys().filter(|key| !after.contains_key(*key)));
    let mut refused: Vec<&str> = keys
        .filter(|key| before.get(*key) != after.get(*key) && is_restricted(key))
        .map(String::as_str)
        .collect();
    refused.sort_unstable();
    if refused.is_empty() {
        return Ok(());
    }
    let verb = if old.is_some() { "modify" } else { "set" };
    Err(request.forbidden(format!(
        "node \"{node}\" is not allowed to {verb} the following labels: {}",
        refused.join(", ")
    )))
}

/// Whether a label is not the node's own: one of Kubernetes' domains, but for those that a kubelet sets. The plugin
/// `NodeRestriction` refuses it from a node.
///
/// *Source:* `getForbiddenLabels` of the `NodeRestriction` admission plugin.
#[must_use]
pub fn is_restricted(label: &str) -> bool {
    let domain = label.split_once('/').map_or("", |(domain, _)| domain);
    let is_in = |parent: &&str| {
        domain == *parent || domain.strip_suffix(*parent).is_some_and(|sub| sub.ends_with('.'))
    };
    is_in(&RESTRICTED)
        || (KUBERNETES.iter().any(is_in)
            && !OWN_LABELS.contains(&label)
            && !OWN_DOMAINS.iter().any(is_in))
}

/// A node does not lift its own taints: that is how it is kept from pods that it should not have.
fn own_taints(
    request: &Request<'_>,
    node: &str,
    object: &Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    let taints = |node: &Value| node.pointer("/spec/taints").cloned().unwrap_or_default();
    match old {
        Some(old) if request.subresource.is_empty() && taints(old) != taints(object) => {
            Err(request.forbidden(format!("node \"{node}\" is not allowed to modify taints")))
        }
        Some(_) | None => Ok(()),
    }
}

fn own_pod(request: &Request<'_>, node: &str, old: Option<&Value>) -> Result<(), Status> {
    let bound = old.and_then(|pod| pod.pointer("/spec/nodeName")).and_then(Value::as_str);
    if bound == Some(node) {
        return Ok(());
    }
    let name = request.name;
    Err(request.forbidden(format!(
        "node \"{node}\" can only write pod \"{name}\" when it is bound to that node"
    )))
}

/// With the status a node changes neither labels, by which others find the pod, nor what devices it was given.
///
/// *Source:* `admitPodStatus` of the `NodeRestriction` admission plugin.
fn own_status(
    request: &Request<'_>,
    node: &str,
    object: &Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    let (Some(old), "status") = (old, request.subresource) else { return Ok(()) };
    let none = serde_json::Map::new();
    let labels = |pod: &Value| meta::labels(pod).unwrap_or(&none).clone();
    if labels(old) != labels(object) {
        return Err(
            request.forbidden(format!("node \"{node}\" cannot update labels through pod status"))
        );
    }
    let claims = ["/status/resourceClaimStatuses", "/status/extendedResourceClaimStatus"];
    match claims.iter().any(|path| old.pointer(path) != object.pointer(path)) {
        true => {
            Err(request.forbidden(format!("node \"{node}\" cannot update resource claim statuses")))
        }
        false => Ok(()),
    }
}

fn taint(object: &mut Value) {
    let Some(spec) = spec_mut(object) else { return };
    let taints = spec.entry("taints").or_insert(Value::Null);
    if taints.is_null() {
        *taints = json!([]);
    }
    let Some(taints) = taints.as_array_mut() else { return };
    let is_not_ready = |taint: &Value| taint["key"] == NOT_READY && taint["effect"] == "NoSchedule";
    if !taints.iter().any(is_not_ready) {
        taints.push(json!({"key": NOT_READY, "effect": "NoSchedule"}));
    }
}
