//! Which ports Services of type LoadBalancer have at every host. Pure.
//!
//! *Source:* core/v1 `ServiceSpec`: `loadBalancerClass`, `loadBalancerSourceRanges`, `ports`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use coracle_vnet::Protocol;
use k8s_openapi::api::core::v1::Service;

use crate::cidr::Cidr;
use crate::endpoints;
use crate::table::ServiceKey;

/// The `loadBalancerClass` that hosts serve, besides none.
pub const CLASS: &str = "coracle.dev/hosts";

/// The older way to give `loadBalancerSourceRanges`.
const RANGES_ANNOTATION: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";

/// A port of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Its number.
    pub port: u16,
    /// Whether it is for datagrams.
    pub udp: bool,
}

impl Place {
    /// The transport.
    #[must_use]
    pub fn protocol(self) -> Protocol {
        if self.udp { Protocol::Udp } else { Protocol::Tcp }
    }
}

/// Whose connections come in at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balanced {
    /// The Service; its port has the place's number.
    pub service: ServiceKey,
    /// Clients that may; `None` for all.
    pub clients: Option<Vec<Cidr>>,
}

impl Balanced {
    /// Whether a client may connect.
    #[must_use]
    pub fn admits(&self, client: IpAddr) -> bool {
        self.clients.as_ref().is_none_or(|all| all.iter().any(|range| range.contains(client)))
    }
}

/// Who has which place, and who wants one that an older Service has.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// By place.
    pub taken: BTreeMap<Place, Balanced>,
    /// The Service that goes without, the place, and who has it.
    pub missed: Vec<(ServiceKey, Place, ServiceKey)>,
}

impl Places {
    /// Gives places out, to the oldest Service first.
    #[must_use]
    pub fn of(services: &[Arc<Service>]) -> Self {
        let mut all: Vec<&Arc<Service>> = services.iter().filter(|one| is_balanced(one)).collect();
        let age = |service: &Service| {
            let metadata = &service.metadata;
            let created = metadata.creation_timestamp.as_ref().map(|time| time.0);
            (created, metadata.namespace.clone(), metadata.name.clone())
        };
        all.sort_by_cached_key(|service| age(service));
        let mut places = Self::default();
        for service in all {
            places.add(service);
        }
        places
    }

    fn add(&mut self, service: &Service) {
        let key = ServiceKey {
            namespace: service.metadata.namespace.clone().unwrap_or_default(),
            name: service.metadata.name.clone().unwrap_or_default(),
        };
        let clients = clients(service);
        let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
        for port in ports {
            let Ok(number) = u16::try_from(port.port) else { continue };
            let Some(protocol) = endpoints::protocol(port.protocol.as_deref()) else { continue };
            let place = Place { port: number, udp: protocol == Protocol::Udp };
            if let Some(other) = self.taken.get(&place) {
                self.missed.push((key.clone(), place, other.service.clone()));
                continue;
            }
            let balanced = Balanced { service: key.clone(), clients: clients.clone() };
            self.taken.insert(place, balanced);
        }
    }
}

fn is_balanced(service: &Service) -> bool {
    let Some(spec) = &service.spec else { return false };
    spec.type_.as_deref() == Some("LoadBalancer")
        && spec.load_balancer_class.as_deref().is_none_or(|class| class == CLASS)
}

/// Ranges that cannot be read let nobody in.
fn clients(service: &Service) -> Option<Vec<Cidr>> {
    let field = service.spec.as_ref().and_then(|spec| spec.load_balancer_source_ranges.as_ref());
    if let Some(ranges) = field.filter(|ranges| !ranges.is_empty()) {
        return Some(ranges.iter().filter_map(|range| Cidr::parse(range.trim())).collect());
    }
    let annotations = service.metadata.annotations.as_ref();
    let noted = annotations.and_then(|all| all.get(RANGES_ANNOTATION))?;
    let ranges = noted.split(',').map(str::trim).filter(|range| !range.is_empty());
    let ranges: Vec<&str> = ranges.collect();
    (!ranges.is_empty()).then(|| ranges.iter().filter_map(|range| Cidr::parse(range)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use serde_json::{Value, json};

    fn service(name: &str, created: &str, spec: &Value) -> Arc<Service> {
        let metadata = json!({"name": name, "namespace": "n", "creationTimestamp": created});
        Arc::new(serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap())
    }

    #[test]
    fn the_oldest_service_has_a_port_that_several_want() {
        let ports =
            json!([{"port": 80}, {"port": 53, "protocol": "UDP"}, {"port": 9, "protocol": "SCTP"}]);
        let balanced = |more: &Value| {
            let mut spec = json!({"type": "LoadBalancer", "ports": ports});
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            spec
        };
        let all = [
            service("younger", "2026-01-02T00:00:00Z", &balanced(&json!({}))),
            service(
                "foreign",
                "2026-01-01T00:00:00Z",
                &balanced(&json!({"loadBalancerClass": "example.com/x"})),
            ),
            service("inner", "2026-01-01T00:00:00Z", &json!({"type": "ClusterIP", "ports": ports})),
            service(
                "older",
                "2026-01-01T12:00:00Z",
                &balanced(
                    &json!({"loadBalancerClass": CLASS, "loadBalancerSourceRanges": ["192.0.2.0/24", "oops"]}),
                ),
            ),
        ];
        let places = Places::of(&all);
        let mut lines: Vec<String> = places
            .taken
            .iter()
            .map(|(place, one)| format!("{} udp={} {}", place.port, place.udp, one.service))
            .collect();
        lines.extend(
            places
                .missed
                .iter()
                .map(|(key, place, by)| format!("{key} misses {} to {by}", place.port)),
        );
        expect![[r#"
            53 udp=true n/older
            80 udp=false n/older
            n/younger misses 80 to n/older
            n/younger misses 53 to n/older"#]]
        .assert_eq(&lines.join("\n"));
        let of = places.taken.get(&Place { port: 80, udp: false }).unwrap();
        assert!(
            of.admits("192.0.2.7".parse().unwrap()) && !of.admits("198.51.100.1".parse().unwrap())
        );
    }
}
