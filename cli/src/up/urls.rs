//! Where a browser finds what was applied: the node ports of its Services, the hosts of its Ingresses.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::Ingress;

/// The URL of each node port, as `namespace/name  http://…`.
pub(super) fn of_services(services: &[Service]) -> Vec<String> {
    let mut urls = Vec::new();
    for service in services {
        let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
        let name = service.metadata.name.as_deref().unwrap_or_default();
        let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
        for port in ports.filter(|port| port.protocol.as_deref() != Some("UDP")) {
            if let Some(node_port) = port.node_port {
                urls.push(format!("{namespace}/{name}  http://localhost:{node_port}/"));
            }
        }
    }
    urls
}

/// The URL of each host of each Ingress. `ports`: where the host of this machine listens for 80 and 443,
/// as the Node's annotation says.
pub(super) fn of_ingresses(ingresses: &[Ingress], ports: &BTreeMap<u16, u16>) -> Vec<String> {
    let mut urls = Vec::new();
    for ingress in ingresses {
        let namespace = ingress.metadata.namespace.as_deref().unwrap_or_default();
        let name = ingress.metadata.name.as_deref().unwrap_or_default();
        let Some(spec) = &ingress.spec else { continue };
        let has_tls = |host: &str| {
            let mut hosts = spec.tls.iter().flatten().flat_map(|tls| tls.hosts.iter().flatten());
            hosts.any(|own| own == host)
        };
        for rule in spec.rules.iter().flatten() {
            let host = rule.host.as_deref().unwrap_or("localhost");
            let (scheme, port) = if has_tls(host) { ("https", 443) } else { ("http", 80) };
            let Some(at) = ports.get(&port) else { continue };
            let at = if *at == port { String::new() } else { format!(":{at}") };
            urls.push(format!("{namespace}/{name}  {scheme}://{host}{at}/"));
        }
    }
    urls
}

/// Reads the annotation of a Node: `80=8080,443=443`.
pub(super) fn ports(annotation: &str) -> BTreeMap<u16, u16> {
    let pair = |text: &str| {
        let (port, at) = text.split_once('=')?;
        Some((port.parse().ok()?, at.parse().ok()?))
    };
    annotation.split(',').filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ingresses_are_where_the_host_listens() {
        let ingress = json!({"metadata": {"name": "web", "namespace": "n"}, "spec": {
            "tls": [{"hosts": ["b.localhost"], "secretName": "s"}],
            "rules": [{"host": "a.localhost"}, {"host": "b.localhost"}]}});
        let ingress = [serde_json::from_value(ingress).unwrap()];
        let check = |annotation: &str, wanted: &[&str]| {
            assert_eq!(of_ingresses(&ingress, &ports(annotation)), wanted, "{annotation}");
        };
        check("80=80,443=443", &["n/web  http://a.localhost/", "n/web  https://b.localhost/"]);
        check(
            "80=8080,443=8443",
            &["n/web  http://a.localhost:8080/", "n/web  https://b.localhost:8443/"],
        );
        check("80=80", &["n/web  http://a.localhost/"]);
        check("", &[]);
    }
}
