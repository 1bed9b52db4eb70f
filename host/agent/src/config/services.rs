//! The environment variables that tell a container about the Services of its namespace.
//!
//! *Source:* Kubernetes' `envvars.FromServices`.

use k8s_openapi::api::core::v1::{Service, ServicePort};

/// Lists the variables for `services`, of those that have an address of their own.
#[must_use]
pub fn variables<'a>(services: impl Iterator<Item = &'a Service>) -> Vec<(String, String)> {
    services.flat_map(of_service).collect()
}

fn of_service(service: &Service) -> Vec<(String, String)> {
    let name = service.metadata.name.as_deref().unwrap_or_default();
    let Some(spec) = service.spec.as_ref() else { return Vec::new() };
    let Some(ip) = spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty() && *ip != "None") else {
        return Vec::new();
    };
    let prefix = upper(name);
    let ports = spec.ports.as_deref().unwrap_or_default();
    let Some(first) = ports.first() else { return Vec::new() };
    let mut out = vec![
        (format!("{prefix}_SERVICE_HOST"), ip.to_owned()),
        (format!("{prefix}_SERVICE_PORT"), first.port.to_string()),
    ];
    for port in ports {
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            out.push((format!("{prefix}_SERVICE_PORT_{}", upper(name)), port.port.to_string()));
        }
    }
    out.push((format!("{prefix}_PORT"), url(ip, first)));
    for port in ports {
        let (protocol, number) = (protocol(port), port.port);
        let base = format!("{prefix}_PORT_{number}_{protocol}");
        out.push((base.clone(), url(ip, port)));
        out.push((format!("{base}_PROTO"), protocol.to_lowercase()));
        out.push((format!("{base}_PORT"), number.to_string()));
        out.push((format!("{base}_ADDR"), ip.to_owned()));
    }
    out
}

fn url(ip: &str, port: &ServicePort) -> String {
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
    format!("{}://{host}:{}", protocol(port).to_lowercase(), port.port)
}

fn protocol(port: &ServicePort) -> &str {
    port.protocol.as_deref().unwrap_or("TCP")
}

fn upper(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}
