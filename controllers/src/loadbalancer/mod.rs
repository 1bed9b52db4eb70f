//! Where clients outside find Services of type LoadBalancer and Ingresses: the addresses of the hosts.
//!
//! Hosts listen by themselves (`network/src/front`); here their addresses are written into statuses.
//!
//! *Source:* core/v1 `Service` and networking.k8s.io/v1 `Ingress`; kube's service controller for which
//! nodes count.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use serde_json::{Value, json};

use crate::objects::{annotation, is_deleting, name};

pub(crate) mod run;

/// The `controller` of IngressClasses that hosts serve.
pub const INGRESS_CONTROLLER: &str = "coracle.dev/ingress";

/// The `loadBalancerClass` that hosts serve, besides none.
pub const CLASS: &str = "coracle.dev/hosts";

/// Keeps a node out. *Source:* Kubernetes, "Well-known labels".
const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// Addresses in one status, so that a large cluster's objects stay small: any host will do.
pub const ADDRESSES_MAX: usize = 16;

/// Whether hosts balance a Service.
#[must_use]
pub fn is_balanced(service: &Service) -> bool {
    let Some(spec) = &service.spec else { return false };
    spec.type_.as_deref() == Some("LoadBalancer")
        && spec.load_balancer_class.as_deref().is_none_or(|class| class == CLASS)
}

/// Whether hosts serve an Ingress.
#[must_use]
pub fn is_served(ingress: &Ingress, classes: &[Arc<IngressClass>]) -> bool {
    let named = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_deref());
    let named = named.or_else(|| annotation(&ingress.metadata, "kubernetes.io/ingress.class"));
    let Some(named) = named else { return false };
    classes.iter().any(|class| {
        let controller = class.spec.as_ref().and_then(|spec| spec.controller.as_deref());
        name(&class.metadata) == named && controller == Some(INGRESS_CONTROLLER)
    })
}

/// The addresses by which clients reach a node: its external ones, or else its internal ones; none
/// while it is not Ready, goes away or is kept out.
#[must_use]
pub fn addresses_of(node: &Node) -> Vec<String> {
    let labels = node.metadata.labels.as_ref();
    let Some(status) = &node.status else { return Vec::new() };
    let mut conditions = status.conditions.iter().flatten();
    let ready = conditions.any(|one| one.type_ == "Ready" && one.status == "True");
    if !ready || is_deleting(&node.metadata) || labels.is_some_and(|all| all.contains_key(EXCLUDED))
    {
        return Vec::new();
    }
    let of = |kind: &str| {
        let all = status.addresses.iter().flatten().filter(|address| address.type_ == kind);
        all.map(|address| address.address.clone()).collect::<Vec<_>>()
    };
    let external = of("ExternalIP");
    if external.is_empty() { of("InternalIP") } else { external }
}

/// The nodes on which a Service has an endpoint that is ready.
#[must_use]
pub fn nodes_with_endpoints(slices: &[Arc<EndpointSlice>]) -> BTreeSet<String> {
    let endpoints = slices.iter().flat_map(|slice| &slice.endpoints);
    let ready = endpoints.filter(|endpoint| {
        endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
    });
    ready.filter_map(|endpoint| endpoint.node_name.clone()).collect()
}

/// What the status of a Service should say; `None`: it is not ours to say.
///
/// With `externalTrafficPolicy: Local` only nodes with an endpoint count.
#[must_use]
pub fn of_service(
    service: &Service,
    nodes: &[Arc<Node>],
    slices: &[Arc<EndpointSlice>],
) -> Option<Value> {
    if !is_balanced(service) {
        let spec = service.spec.as_ref();
        let foreign = spec.is_some_and(|spec| spec.type_.as_deref() == Some("LoadBalancer"));
        return (!foreign).then(|| json!({}));
    }
    let spec = service.spec.as_ref()?;
    let local = spec.external_traffic_policy.as_deref() == Some("Local");
    let with_endpoints = local.then(|| nodes_with_endpoints(slices));
    let counts = |node: &&Arc<Node>| {
        with_endpoints.as_ref().is_none_or(|all| all.contains(name(&node.metadata)))
    };
    let addresses = addresses(nodes.iter().filter(counts));
    // The connection ends at the host: no shortcut past it.
    Some(ingress_list(&addresses, |ip| json!({"ip": ip, "ipMode": "Proxy"})))
}

/// What the status of an Ingress should say; `None`: it is not ours to say.
#[must_use]
pub fn of_ingress(
    ingress: &Ingress,
    classes: &[Arc<IngressClass>],
    nodes: &[Arc<Node>],
) -> Option<Value> {
    is_served(ingress, classes)
        .then(|| ingress_list(&addresses(nodes.iter()), |ip| json!({"ip": ip})))
}

fn addresses<'a>(nodes: impl Iterator<Item = &'a Arc<Node>>) -> Vec<String> {
    let all: BTreeSet<String> = nodes.flat_map(|node| addresses_of(node)).collect();
    all.into_iter().take(ADDRESSES_MAX).collect()
}

fn ingress_list(addresses: &[String], one: impl Fn(&str) -> Value) -> Value {
    if addresses.is_empty() {
        return json!({});
    }
    json!({"ingress": addresses.iter().map(|ip| one(ip)).collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, ip: &str, ready: &str, labels: &Value) -> Arc<Node> {
        let node = json!({"metadata": {"name": name, "labels": labels}, "status": {
            "addresses": [{"type": "InternalIP", "address": ip}, {"type": "Hostname", "address": name}],
            "conditions": [{"type": "Ready", "status": ready}]}});
        Arc::new(serde_json::from_value(node).unwrap())
    }

    fn nodes() -> Vec<Arc<Node>> {
        vec![
            node("b", "192.0.2.2", "True", &json!({})),
            node("a", "192.0.2.1", "True", &json!({})),
            node("c", "192.0.2.3", "Unknown", &json!({})),
            node("d", "192.0.2.4", "True", &json!({EXCLUDED: "true"})),
        ]
    }

    #[test]
    fn balanced_services_are_at_the_hosts_that_serve_them() {
        let slice = json!({"metadata": {}, "addressType": "IPv4", "endpoints": [
            {"addresses": ["10.128.0.1"], "nodeName": "b"},
            {"addresses": ["10.128.0.2"], "nodeName": "a", "conditions": {"ready": false}}]});
        let slices = [Arc::new(serde_json::from_value(slice).unwrap())];
        let check = |spec: Value, wanted: Option<Value>| {
            let service = serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap();
            assert_eq!(of_service(&service, &nodes(), &slices), wanted, "{service:?}");
        };
        let at = |ips: &[&str]| {
            let one = |ip: &&str| json!({"ip": ip, "ipMode": "Proxy"});
            Some(json!({"ingress": ips.iter().map(one).collect::<Vec<_>>()}))
        };
        check(json!({"type": "LoadBalancer"}), at(&["192.0.2.1", "192.0.2.2"]));
        check(
            json!({"type": "LoadBalancer", "loadBalancerClass": CLASS}),
            at(&["192.0.2.1", "192.0.2.2"]),
        );
        check(
            json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local"}),
            at(&["192.0.2.2"]),
        );
        check(json!({"type": "LoadBalancer", "loadBalancerClass": "example.com/lb"}), None);
        check(json!({"type": "ClusterIP"}), Some(json!({})));
    }

    #[test]
    fn ingresses_of_foreign_classes_are_left_alone() {
        let class = |name: &str, controller: &str| -> Arc<IngressClass> {
            let class = json!({"metadata": {"name": name}, "spec": {"controller": controller}});
            Arc::new(serde_json::from_value(class).unwrap())
        };
        let classes =
            [class("coracle", INGRESS_CONTROLLER), class("nginx", "k8s.io/ingress-nginx")];
        let check = |class: Value, wanted: Option<Value>| {
            let ingress = json!({"metadata": {}, "spec": {"ingressClassName": class}});
            let ingress = serde_json::from_value(ingress).unwrap();
            assert_eq!(of_ingress(&ingress, &classes, &nodes()), wanted, "{class}");
        };
        let hosts = json!({"ingress": [{"ip": "192.0.2.1"}, {"ip": "192.0.2.2"}]});
        check(json!("coracle"), Some(hosts));
        check(json!("nginx"), None);
        check(json!(null), None);
    }

    #[test]
    fn a_status_holds_no_more_than_so_many_addresses() {
        let many =
            (0..=ADDRESSES_MAX).map(|n| node("n", &format!("192.0.2.{n}"), "True", &json!({})));
        let service =
            serde_json::from_value(json!({"metadata": {}, "spec": {"type": "LoadBalancer"}}));
        let said = of_service(&service.unwrap(), &many.collect::<Vec<_>>(), &[]).unwrap();
        assert_eq!(said["ingress"].as_array().unwrap().len(), ADDRESSES_MAX);
    }
}
