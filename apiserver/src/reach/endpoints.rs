//! Where a Service's port leads. Pure.

use std::net::IpAddr;

use serde_json::Value;

/// One place behind a Service's port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// A port of a pod of the Service's namespace.
    Pod {
        /// The pod's name.
        name: String,
        /// The port.
        port: u16,
    },
    /// An address that somebody named by hand.
    Address {
        /// The address.
        address: IpAddr,
        /// The port.
        port: u16,
    },
    /// The name that an `ExternalName` Service stands for.
    Name {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
}

/// Why a Service cannot be reached: the reason of a condition, and the words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Unreachable {
    /// A CamelCase reason. *Source:* the `Available` condition of `kube-aggregator`.
    pub(crate) reason: &'static str,
    /// What is missing.
    pub(crate) message: String,
}

impl Unreachable {
    pub(super) fn new(reason: &'static str, message: String) -> Unreachable {
        Unreachable { reason, message }
    }
}

/// The name by which a Service's server is called, as its certificate has it.
pub(crate) fn host_of(namespace: &str, name: &str) -> String {
    format!("{name}.{namespace}.svc")
}

/// The Service (namespace, name) that a host name stands for.
pub(crate) fn service_of_host(host: &str) -> Option<(&str, &str)> {
    let (name, namespace) = host.strip_suffix(".svc")?.split_once('.')?;
    let is_label = |text: &str| !text.is_empty() && !text.contains('.');
    (is_label(name) && is_label(namespace)).then_some((namespace, name))
}

/// The places behind a port of a Service, in the order of its slices; those that are ready alone.
///
/// # Errors
/// When the Service has no such port, or nothing is ready behind it.
pub(super) fn endpoints(
    service: &Value,
    slices: &[Value],
    port: u16,
) -> Result<Vec<Endpoint>, Unreachable> {
    let (namespace, name) =
        (coracle_api::meta::namespace(service), coracle_api::meta::name(service));
    if service["spec"]["type"] == "ExternalName" {
        let host = service["spec"]["externalName"].as_str().unwrap_or_default().to_owned();
        return Ok(vec![Endpoint::Name { host, port }]);
    }
    let mut ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let found = ports.find(|found| found["port"].as_u64() == Some(u64::from(port)));
    let found = found.ok_or_else(|| {
        let words = format!("service/{name} in {namespace:?} is not listening on port {port}");
        Unreachable::new("ServicePortError", words)
    })?;
    let port_name = found["name"].as_str().unwrap_or_default();
    let all: Vec<Endpoint> = slices.iter().flat_map(|slice| of_slice(slice, port_name)).collect();
    if all.is_empty() {
        let words = format!(
            "endpoints for service/{name} in {namespace:?} have no addresses with port name {port_name:?}"
        );
        return Err(Unreachable::new("MissingEndpoints", words));
    }
    Ok(all)
}

fn of_slice(slice: &Value, port_name: &str) -> Vec<Endpoint> {
    let mut ports = slice["ports"].as_array().into_iter().flatten();
    let named = ports.find(|port| port["name"].as_str().unwrap_or_default() == port_name);
    let Some(port) = named.and_then(|port| u16::try_from(port["port"].as_u64()?).ok()) else {
        return Vec::new();
    };
    let endpoints = slice["endpoints"].as_array().into_iter().flatten();
    let ready = endpoints.filter(|e| e["conditions"]["ready"].as_bool().unwrap_or(true));
    let place = |endpoint: &Value| {
        let target = &endpoint["targetRef"];
        if target["kind"] == "Pod" {
            let name = target["name"].as_str()?.to_owned();
            return Some(Endpoint::Pod { name, port });
        }
        let address = endpoint["addresses"][0].as_str()?.parse().ok()?;
        Some(Endpoint::Address { address, port })
    };
    ready.filter_map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn hosts_of_services() {
        assert_eq!(service_of_host("web.qa.svc"), Some(("qa", "web")));
        assert_eq!(host_of("qa", "web"), "web.qa.svc");
        for other in ["web.svc", "a.b.c.svc", ".qa.svc", "web..svc", "web.qa", "example.com"] {
            assert_eq!(service_of_host(other), None, "{other}");
        }
    }

    #[test]
    fn pods_and_addresses_that_are_ready() {
        let service = json!({"metadata": {"name": "web", "namespace": "qa"},
            "spec": {"ports": [{"name": "https", "port": 443}]}});
        let slices = [
            json!({"ports": [{"name": "https", "port": 8443}], "endpoints": [
                {"addresses": ["10.0.0.1"], "targetRef": {"kind": "Pod", "name": "a"}},
                {"addresses": ["10.0.0.2"], "conditions": {"ready": false}},
                {"addresses": ["127.0.0.1"]},
            ]}),
            json!({"ports": [{"name": "other", "port": 1}], "endpoints": [{"addresses": ["10.0.0.9"]}]}),
        ];
        let address = "127.0.0.1".parse().unwrap();
        assert_eq!(
            endpoints(&service, &slices, 443).unwrap(),
            [
                Endpoint::Pod { name: "a".into(), port: 8443 },
                Endpoint::Address { address, port: 8443 }
            ]
        );
        let error = endpoints(&service, &slices, 80).unwrap_err();
        assert_eq!(error.to_string(), "service/web in \"qa\" is not listening on port 80");
        assert_eq!(endpoints(&service, &[], 443).unwrap_err().reason, "MissingEndpoints");
        let external = json!({"spec": {"type": "ExternalName", "externalName": "a.example"}});
        let named = Endpoint::Name { host: "a.example".into(), port: 8443 };
        assert_eq!(endpoints(&external, &[], 8443).unwrap(), [named]);
    }
}
