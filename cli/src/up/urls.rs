//! Where a browser finds what was applied: the node ports of its Services.

use k8s_openapi::api::core::v1::Service;

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
