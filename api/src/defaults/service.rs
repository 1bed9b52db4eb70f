//! Services: type, affinity, traffic policies, ports.
//!
//! Addresses and address families are allocated elsewhere, because they depend on the cluster.

use serde_json::Value;

use super::fill::{Members, ensure, fill, fill_pointer, items, text};

/// Seconds for which a client keeps its backend with `sessionAffinity: ClientIP`.
const AFFINITY_SECONDS: i64 = 10_800;

/// Fills a Service.
pub fn set(service: &mut Value) {
    if let Some(balancer) =
        service.pointer_mut("/status/loadBalancer").and_then(Value::as_object_mut)
    {
        for ingress in items(balancer, "ingress") {
            if !text(ingress, "ip").is_empty() {
                fill_pointer(ingress, "ipMode", "VIP");
            }
        }
    }
    let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) else { return };
    fill(spec, "type", "ClusterIP");
    set_affinity(spec);
    set_policies(spec);
    items(spec, "ports").for_each(set_port);
}

fn set_affinity(spec: &mut Members) {
    fill(spec, "sessionAffinity", "None");
    if text(spec, "sessionAffinity") == "None" {
        spec.remove("sessionAffinityConfig");
        return;
    }
    let client =
        ensure(spec, "sessionAffinityConfig").and_then(|config| ensure(config, "clientIP"));
    if let Some(client) = client {
        fill_pointer(client, "timeoutSeconds", AFFINITY_SECONDS);
    }
}

fn set_policies(spec: &mut Members) {
    let kind = text(spec, "type").to_owned();
    let listed =
        |name: &str| spec.get(name).and_then(Value::as_array).is_some_and(|l| !l.is_empty());
    let external = match kind.as_str() {
        "NodePort" | "LoadBalancer" => true,
        "ClusterIP" => listed("externalIPs"),
        _ => false,
    };
    if external {
        fill(spec, "externalTrafficPolicy", "Cluster");
    }
    if kind != "ExternalName" {
        fill_pointer(spec, "internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        fill_pointer(spec, "allocateLoadBalancerNodePorts", true);
    }
}

fn set_port(port: &mut Members) {
    fill(port, "protocol", "TCP");
    let number = port.get("port").cloned();
    if is_unset(port.get("targetPort"))
        && let Some(number) = number
    {
        port.insert("targetPort".to_owned(), number);
    }
}

/// Tells whether a target port is absent, zero or empty.
fn is_unset(target: Option<&Value>) -> bool {
    match target {
        None | Some(Value::Null) => true,
        Some(Value::Number(number)) => number.as_i64() == Some(0),
        Some(Value::String(name)) => name.is_empty(),
        Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => false,
    }
}
