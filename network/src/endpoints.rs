//! One EndpointSlice as a host keeps it: addresses, ports and whether they may be used, and nothing else.
//!
//! Comes in: an EndpointSlice object in JSON, from the API or from the host's own file. Goes out: [`Slice`], which the
//! table shares with the cache, and the same object in JSON for the file. A host knows every endpoint of the
//! cluster, and the typed object is some ten times as long.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use coracle_vnet::Protocol;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::NamespaceResourceScope;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The label that says which Service a slice belongs to. *Source:* discovery.k8s.io/v1.
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// One address behind a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The pod's address, or any address in a slice made by hand.
    pub ip: IpAddr,
    /// New connections may go here.
    pub ready: bool,
    /// The endpoint answers, whether or not it is terminating.
    pub serving: bool,
    /// The pod is being deleted.
    pub terminating: bool,
    /// The host name under a headless Service.
    pub hostname: Option<Box<str>>,
    /// The node that it is on, if it is a pod.
    pub node: Option<Box<str>>,
    /// Where it is to be used; without hints everywhere.
    pub hints: Option<Box<Hints>>,
    ports: Arc<[Port]>,
}

/// Where an endpoint is to be used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hints {
    /// The zones that are to use it.
    pub zones: Vec<String>,
    /// The nodes that are to use it.
    pub nodes: Vec<String>,
}

#[derive(Debug, Clone)]
struct Port {
    name: Box<str>,
    number: u16,
    protocol: Protocol,
}

impl PartialEq for Port {
    fn eq(&self, other: &Self) -> bool {
        (self.number, self.protocol) == (other.number, other.protocol)
            && is_same(&self.name, &other.name)
    }
}

impl Eq for Port {}

/// Whether two names are the same. Most ports have none, and glibc's `memcmp` of two texts without a byte takes some
/// 200 ns where it reads by masks from an address that is none.
fn is_same(one: &str, other: &str) -> bool {
    one.len() == other.len() && (one.is_empty() || one == other)
}

impl Endpoint {
    /// The number of the endpoint's port with this name (empty for the only, unnamed one) and
    /// protocol.
    #[must_use]
    pub fn port(&self, name: &str, protocol: Protocol) -> Option<u16> {
        let is_meant = |port: &&Port| port.protocol == protocol && is_same(&port.name, name);
        self.ports.iter().find(is_meant).map(|port| port.number)
    }

    /// The zones that are to use it; empty without hints.
    #[must_use]
    pub fn for_zones(&self) -> &[String] {
        self.hints.as_ref().map_or(&[], |hints| &hints.zones)
    }

    /// The nodes that are to use it; empty without hints.
    #[must_use]
    pub fn for_nodes(&self) -> &[String] {
        self.hints.as_ref().map_or(&[], |hints| &hints.nodes)
    }
}

/// An EndpointSlice of a Service.
#[derive(Debug, Clone)]
pub struct Slice {
    /// Name, namespace, uid and revision.
    pub metadata: ObjectMeta,
    /// The name of the Service that it belongs to, by its label `kubernetes.io/service-name`.
    pub service: Option<String>,
    /// Its endpoints. Addresses that are no IP (`addressType: FQDN`) are left out; a condition that is
    /// not given counts as the API says: ready and serving true, terminating false.
    pub endpoints: Arc<[Endpoint]>,
}

/// The protocol in the API's spelling: TCP if it is not given. SCTP has no Wasm equivalent, so a
/// port with it (or with anything else) is left out: `None`.
#[must_use]
pub fn protocol(text: Option<&str>) -> Option<Protocol> {
    match text {
        None | Some("" | "TCP") => Some(Protocol::Tcp),
        Some("UDP") => Some(Protocol::Udp),
        Some(_) => None,
    }
}

/// The object as it is read and written.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    metadata: ObjectMeta,
    #[serde(default, skip_deserializing)]
    address_type: &'a str,
    #[serde(default, borrow)]
    endpoints: Option<Vec<WireEndpoint<'a>>>,
    #[serde(default, borrow)]
    ports: Option<Vec<WirePort<'a>>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireEndpoint<'a> {
    #[serde(default, borrow)]
    addresses: Option<Vec<Cow<'a, str>>>,
    #[serde(default)]
    conditions: Option<WireConditions>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    hostname: Option<Cow<'a, str>>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    node_name: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hints: Option<WireHints>,
}

#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct WireConditions {
    ready: Option<bool>,
    serving: Option<bool>,
    terminating: Option<bool>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireHints {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    for_zones: Option<Vec<Named>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    for_nodes: Option<Vec<Named>>,
}

#[derive(Serialize, Deserialize)]
struct Named {
    name: String,
}

#[derive(Serialize, Deserialize)]
struct WirePort<'a> {
    #[serde(default, borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(default)]
    port: Option<i32>,
    #[serde(default, borrow)]
    protocol: Option<Cow<'a, str>>,
}

impl Port {
    fn read(port: &WirePort<'_>) -> Option<Self> {
        let number = u16::try_from(port.port?).ok()?;
        let protocol = protocol(port.protocol.as_deref())?;
        Some(Self { name: port.name.as_deref().unwrap_or_default().into(), number, protocol })
    }

    fn write(&self) -> WirePort<'_> {
        let protocol = match self.protocol {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
        };
        let (name, number) = (Cow::Borrowed(&*self.name), i32::from(self.number));
        WirePort { name: Some(name), port: Some(number), protocol: Some(protocol.into()) }
    }
}

impl Hints {
    fn read(hints: WireHints) -> Option<Box<Self>> {
        let names = |all: Option<Vec<Named>>| -> Vec<String> {
            all.into_iter().flatten().map(|named| named.name).collect()
        };
        let hints = Self { zones: names(hints.for_zones), nodes: names(hints.for_nodes) };
        (hints != Self::default()).then(|| Box::new(hints))
    }

    fn write(&self) -> WireHints {
        let named = |all: &[String]| {
            let all = all.iter().map(|name| Named { name: name.clone() });
            Some(all.collect::<Vec<_>>()).filter(|all| !all.is_empty())
        };
        WireHints { for_zones: named(&self.zones), for_nodes: named(&self.nodes) }
    }
}

impl Endpoint {
    /// One for each address of an endpoint of the API.
    fn read(wire: WireEndpoint<'_>, ports: &Arc<[Port]>, into: &mut Vec<Self>) {
        let conditions = wire.conditions.unwrap_or_default();
        let ready = conditions.ready.unwrap_or(true);
        let hints = wire.hints.and_then(Hints::read);
        let addresses = wire.addresses.iter().flatten();
        for ip in addresses.filter_map(|text| text.parse().ok()) {
            into.push(Self {
                ip,
                ready,
                serving: conditions.serving.unwrap_or(ready),
                terminating: conditions.terminating.unwrap_or(false),
                hostname: wire.hostname.as_deref().map(Box::from),
                node: wire.node_name.as_deref().map(Box::from),
                hints: hints.clone(),
                ports: Arc::clone(ports),
            });
        }
    }

    fn write(&self) -> WireEndpoint<'_> {
        WireEndpoint {
            addresses: Some(vec![self.ip.to_string().into()]),
            conditions: Some(WireConditions {
                ready: Some(self.ready),
                serving: Some(self.serving),
                terminating: Some(self.terminating),
            }),
            hostname: self.hostname.as_deref().map(Cow::Borrowed),
            node_name: self.node.as_deref().map(Cow::Borrowed),
            hints: self.hints.as_deref().map(Hints::write),
        }
    }
}

impl<'de> Deserialize<'de> for Slice {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(input)?;
        let ports: Arc<[Port]> = wire.ports.iter().flatten().filter_map(Port::read).collect();
        let all = wire.endpoints.unwrap_or_default();
        let mut endpoints = Vec::with_capacity(all.len());
        all.into_iter().for_each(|endpoint| Endpoint::read(endpoint, &ports, &mut endpoints));
        let metadata = wire.metadata;
        let service = metadata.labels.and_then(|mut labels| labels.remove(SERVICE_NAME_LABEL));
        let metadata = ObjectMeta {
            name: metadata.name,
            namespace: metadata.namespace,
            uid: metadata.uid,
            resource_version: metadata.resource_version,
            ..ObjectMeta::default()
        };
        Ok(Self { metadata, service, endpoints: endpoints.into() })
    }
}

impl Serialize for Slice {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        let first = self.endpoints.first();
        let labels = self.service.iter();
        let labels = labels.map(|name| (SERVICE_NAME_LABEL.to_owned(), name.clone())).collect();
        let wire = Wire {
            metadata: ObjectMeta { labels: Some(labels), ..self.metadata.clone() },
            address_type: if first.is_some_and(|one| one.ip.is_ipv6()) { "IPv6" } else { "IPv4" },
            endpoints: Some(self.endpoints.iter().map(Endpoint::write).collect()),
            ports: Some(first.iter().flat_map(|one| one.ports.iter()).map(Port::write).collect()),
        };
        wire.serialize(output)
    }
}

impl Resource for Slice {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        EndpointSlice::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        EndpointSlice::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        EndpointSlice::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        EndpointSlice::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn what_routing_needs_survives_and_the_api_can_read_it() {
        let given = json!({
            "metadata": {"name": "web-a", "namespace": "default", "uid": "u", "resourceVersion": "7",
                "labels": {"kubernetes.io/service-name": "web", "app": "web"}, "annotations": {"a": "b"}},
            "addressType": "IPv4",
            "endpoints": [
                {"addresses": ["10.128.0.5"], "nodeName": "n\\1", "hostname": "web-0", "zone": "z",
                    "targetRef": {"kind": "Pod", "name": "web-0"},
                    "hints": {"forZones": [{"name": "z1"}], "forNodes": [{"name": "n1"}]}},
                {"addresses": ["10.128.0.6", "no-ip"], "conditions": {"ready": false, "terminating": true}},
                {"addresses": ["10.128.0.7"], "conditions": null, "hints": {}},
            ],
            "ports": [{"name": "http", "port": 80}, {"port": 53, "protocol": "UDP"}, {"name": "all"},
                {"port": 1, "protocol": "SCTP"}],
        });
        let slice: Slice = serde_json::from_value(given.clone()).unwrap();
        // From bytes, as a watch has it: what is escaped cannot be borrowed.
        let bytes = serde_json::to_vec(&given).unwrap();
        let same: Slice = serde_json::from_slice(&bytes).unwrap();
        assert_eq!((&slice.endpoints, &slice.service), (&same.endpoints, &same.service));
        let [one, two, three] = &*slice.endpoints else { panic!("{slice:?}") };
        assert_eq!((one.ready, one.serving, one.terminating), (true, true, false));
        assert_eq!((two.ready, two.serving, two.terminating), (false, false, true));
        assert_eq!(
            (one.for_zones(), one.for_nodes()),
            (&["z1".to_owned()][..], &["n1".to_owned()][..])
        );
        assert_eq!((one.node.as_deref(), one.hostname.as_deref()), (Some("n\\1"), Some("web-0")));
        assert!(three.hints.is_none() && three.ready);
        let ports = [("http", Protocol::Tcp), ("", Protocol::Udp), ("", Protocol::Tcp)];
        assert_eq!(ports.map(|(name, kind)| two.port(name, kind)), [Some(80), Some(53), None]);

        let written: Value = serde_json::to_value(&slice).unwrap();
        let again: Slice = serde_json::from_value(written.clone()).unwrap();
        assert_eq!((&again.endpoints, &again.service), (&slice.endpoints, &slice.service));
        assert_eq!(again.metadata, slice.metadata);
        let typed: EndpointSlice = serde_json::from_value(written).unwrap();
        assert_eq!((typed.address_type.as_str(), typed.endpoints.len()), ("IPv4", 3));
        assert_eq!(typed.endpoints[1].conditions.as_ref().unwrap().ready, Some(false));
        let nothing: Slice =
            serde_json::from_value(json!({"metadata": {}, "endpoints": null})).unwrap();
        assert!(nothing.endpoints.is_empty() && nothing.service.is_none());
    }
}
