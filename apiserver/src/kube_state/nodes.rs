//! Nodes, namespaces and Services.

use super::page::{Family, Lines, flag, gauge};
use super::rows::{Amounts, Condition, Nothing, Row, amount, label, seconds, unit};
use serde::Deserialize;

/// Labels that say what a node is for.
const ROLE_PREFIX: &str = "node-role.kubernetes.io/";

/// The states of a condition, as the label has them.
const CONDITION_STATES: [(&str, &str); 3] =
    [("True", "true"), ("False", "false"), ("Unknown", "unknown")];

/// `spec` of a node.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct NodeSpec {
    unschedulable: bool,
    taints: Vec<Taint>,
    #[serde(rename = "podCIDR")]
    pod_cidr: String,
    #[serde(rename = "providerID")]
    provider_id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Taint {
    key: String,
    value: String,
    effect: String,
}

/// `status` of a node.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct NodeStatus {
    capacity: Amounts,
    allocatable: Amounts,
    conditions: Vec<Condition>,
    addresses: Vec<Address>,
    node_info: NodeInfo,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Address {
    r#type: String,
    address: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct NodeInfo {
    kernel_version: String,
    os_image: String,
    container_runtime_version: String,
    kubelet_version: String,
    #[serde(rename = "systemUUID")]
    system_uuid: String,
}

type Node = Row<NodeSpec, NodeStatus>;

/// Metrics of nodes.
pub(super) const NODES: &[Family<Node>] = &[
    gauge("kube_node_info", node_info),
    gauge("kube_node_created", |node, out| {
        out.maybe(&own(node), &[], seconds(node.metadata.creation_timestamp));
    }),
    gauge("kube_node_role", |node, out| {
        for role in node.metadata.labels.keys().filter_map(|key| key.strip_prefix(ROLE_PREFIX)) {
            out.add(&own(node), &[("role", role)], 1.0);
        }
    }),
    gauge("kube_node_spec_unschedulable", |node, out| {
        out.add(&own(node), &[], flag(node.spec.unschedulable));
    }),
    gauge("kube_node_spec_taint", |node, out| {
        for Taint { key, value, effect } in &node.spec.taints {
            out.add(&own(node), &[("key", key), ("value", value), ("effect", effect)], 1.0);
        }
    }),
    gauge("kube_node_status_condition", |node, out| {
        for condition in &node.status.conditions {
            for (state, word) in CONDITION_STATES {
                let more = [("condition", condition.r#type.as_str()), ("status", word)];
                out.add(&own(node), &more, flag(condition.status == state));
            }
        }
    }),
    gauge("kube_node_status_capacity", |node, out| {
        resources(node, &node.status.capacity, out);
    }),
    gauge("kube_node_status_allocatable", |node, out| {
        resources(node, &node.status.allocatable, out)
    }),
];

fn own(node: &Node) -> [(&str, &str); 1] {
    [("node", &node.metadata.name)]
}

fn node_info(node: &Node, out: &mut Lines<'_>) {
    let info = &node.status.node_info;
    let internal = node.status.addresses.iter().find(|address| address.r#type == "InternalIP");
    let more = [
        ("kernel_version", info.kernel_version.as_str()),
        ("os_image", &info.os_image),
        ("container_runtime_version", &info.container_runtime_version),
        ("kubelet_version", &info.kubelet_version),
        ("provider_id", &node.spec.provider_id),
        ("pod_cidr", &node.spec.pod_cidr),
        ("system_uuid", &info.system_uuid),
        ("internal_ip", internal.map_or("", |address| &address.address)),
    ];
    out.add(&own(node), &more, 1.0);
}

fn resources(node: &Node, amounts: &Amounts, out: &mut Lines<'_>) {
    for (resource, text) in amounts {
        let more = [("resource", label(resource)), ("unit", unit(resource).to_owned())];
        let more = more.each_ref().map(|(name, value)| (*name, value.as_str()));
        out.maybe(&own(node), &more, amount(text));
    }
}

/// `status` of a namespace.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct NamespaceStatus {
    phase: String,
}

/// Metrics of namespaces.
pub(super) const NAMESPACES: &[Family<Row<Nothing, NamespaceStatus>>] = &[
    gauge("kube_namespace_created", |each, out| {
        let own = [("namespace", each.metadata.name.as_str())];
        out.maybe(&own, &[], seconds(each.metadata.creation_timestamp));
    }),
    gauge("kube_namespace_status_phase", |each, out| {
        let own = [("namespace", each.metadata.name.as_str())];
        out.states(&own, "phase", &["Active", "Terminating"], &each.status.phase);
    }),
];

/// `spec` of a Service.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ServiceSpec {
    r#type: String,
    #[serde(rename = "clusterIP")]
    cluster_ip: String,
    external_name: String,
}

/// Metrics of Services.
pub(super) const SERVICES: &[Family<Row<ServiceSpec, Nothing>>] = &[
    gauge("kube_service_info", |each, out| {
        let more = [
            ("cluster_ip", each.spec.cluster_ip.as_str()),
            ("external_name", &each.spec.external_name),
        ];
        out.add(&of_service(each), &more, 1.0);
    }),
    gauge("kube_service_created", |each, out| {
        out.maybe(&of_service(each), &[], seconds(each.metadata.creation_timestamp));
    }),
    gauge("kube_service_spec_type", |each, out| {
        out.add(&of_service(each), &[("type", &each.spec.r#type)], 1.0);
    }),
];

fn of_service(service: &Row<ServiceSpec, Nothing>) -> [(&str, &str); 3] {
    let meta = &service.metadata;
    [("namespace", &meta.namespace), ("service", &meta.name), ("uid", &meta.uid)]
}
