//! What policies need to know of a pod. Pure.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use coracle_vnet::Protocol;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::NamespaceResourceScope;
use serde::{Deserialize, Deserializer, Serialize};

use crate::endpoints::protocol;

/// A pod as others see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Face {
    /// Its uid.
    pub uid: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The node that it is bound to; empty before.
    pub node: String,
    /// Its addresses; none before it has any, and when it is over.
    pub ips: Vec<IpAddr>,
    /// Its ports with names: name, number, and whether it is UDP.
    ports: Vec<(String, u16, bool)>,
}

impl Face {
    /// The numbers of the pod's ports with this name and protocol.
    pub fn ports_named<'a>(
        &'a self,
        name: &'a str,
        protocol: Protocol,
    ) -> impl Iterator<Item = u16> + 'a {
        let udp = protocol == Protocol::Udp;
        let own = self.ports.iter().filter(move |(own, _, is_udp)| own == name && *is_udp == udp);
        own.map(|(_, number, _)| *number)
    }
}

impl fmt::Display for Face {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The parts of a Pod object that a [`Face`] is made from: hosts follow the pods of the whole
/// cluster, and the rest would cost them some ten times the memory.
#[derive(Debug, Clone, Deserialize)]
pub struct PodFace {
    #[serde(deserialize_with = "slim")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    node_name: Option<String>,
    host_network: bool,
    containers: Vec<Container>,
    init_containers: Vec<Container>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Container {
    ports: Vec<Port>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Port {
    name: Option<String>,
    container_port: i32,
    protocol: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    phase: String,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    #[serde(rename = "podIPs")]
    pod_ips: Vec<PodIp>,
}

#[derive(Debug, Clone, Deserialize)]
struct PodIp {
    ip: String,
}

/// Metadata without what is long and not asked for.
fn slim<'de, D: Deserializer<'de>>(input: D) -> Result<ObjectMeta, D::Error> {
    let metadata = ObjectMeta::deserialize(input)?;
    Ok(ObjectMeta { managed_fields: None, annotations: None, owner_references: None, ..metadata })
}

impl PodFace {
    /// The pod as others see it. One with the host's network has no address of its own.
    #[must_use]
    pub fn face(&self) -> Face {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let over = matches!(self.status.phase.as_str(), "Succeeded" | "Failed");
        let listed = self.status.pod_ips.iter().map(|ip| ip.ip.as_str());
        let ips = self.status.pod_ip.as_deref().into_iter().chain(listed);
        let mut ips: Vec<IpAddr> = ips.filter_map(|ip| ip.parse().ok()).collect();
        ips.dedup();
        if over || self.spec.host_network {
            ips.clear();
        }
        let containers = self.spec.containers.iter().chain(&self.spec.init_containers);
        let named = |port: &Port| {
            let number = u16::try_from(port.container_port).ok()?;
            let is_udp = protocol(port.protocol.as_deref())? == Protocol::Udp;
            Some((port.name.clone()?, number, is_udp))
        };
        Face {
            uid: text(&self.metadata.uid),
            namespace: text(&self.metadata.namespace),
            name: text(&self.metadata.name),
            labels: self.metadata.labels.clone().unwrap_or_default(),
            node: text(&self.spec.node_name),
            ips,
            ports: containers.flat_map(|c| &c.ports).filter_map(named).collect(),
        }
    }
}

impl Resource for PodFace {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        Pod::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        Pod::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        Pod::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        Pod::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
