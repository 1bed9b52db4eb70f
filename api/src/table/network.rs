//! Services and EndpointSlices.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{AGE, Column, NAME, Printer, SELECTOR, age, first_few, items, number, or, text};
use crate::meta;
use crate::selector::LabelSelector;

pub(super) const SERVICE: Printer = Printer {
    columns: &[
        NAME,
        Column::text("Type", "From where it is reached."),
        Column::text("Cluster-IP", "Its address inside the cluster."),
        Column::text("External-IP", "Its addresses from outside."),
        Column::text("Port(s)", "Its ports, with node port and protocol."),
        AGE,
        SELECTOR,
    ],
    row: service,
};

fn service(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = &object["spec"];
    let first = items(spec, "clusterIPs").first().and_then(Value::as_str).unwrap_or_default();
    let ports: Vec<String> = items(spec, "ports").iter().map(port).collect();
    let selector = LabelSelector::from_map(&spec["selector"]).to_string();
    vec![
        json!(meta::name(object)),
        json!(text(spec, "type")),
        json!(or(first, "<none>")),
        json!(external_ip(object)),
        json!(or(&ports.join(","), "<none>")),
        age(object, now),
        json!(or(&selector, "<none>")),
    ]
}

fn port(port: &Value) -> String {
    let (own, protocol) = (number(port, "port"), text(port, "protocol"));
    match number(port, "nodePort") {
        0 => format!("{own}/{protocol}"),
        node => format!("{own}:{node}/{protocol}"),
    }
}

fn external_ip(object: &Value) -> String {
    let spec = &object["spec"];
    let ips: Vec<&str> = items(spec, "externalIPs").iter().filter_map(Value::as_str).collect();
    match text(spec, "type") {
        "ClusterIP" | "NodePort" => or(&ips.join(","), "<none>").to_owned(),
        "LoadBalancer" => {
            let mut all = load_balancer_ips(object);
            all.extend(ips);
            or(&all.join(","), "<pending>").to_owned()
        }
        "ExternalName" => text(spec, "externalName").to_owned(),
        _ => "<unknown>".to_owned(),
    }
}

/// Gives the addresses that a load balancer listens on, sorted, each once.
fn load_balancer_ips(object: &Value) -> Vec<&str> {
    let ingress = items(&object["status"]["loadBalancer"], "ingress").iter();
    let mut ips: Vec<&str> = ingress
        .map(|ingress| or(text(ingress, "ip"), text(ingress, "hostname")))
        .filter(|ip| !ip.is_empty())
        .collect();
    ips.sort_unstable();
    ips.dedup();
    ips
}

pub(super) const ENDPOINT_SLICE: Printer = Printer {
    columns: &[
        NAME,
        Column::text("AddressType", "Kind of the addresses."),
        Column::text("Ports", "Ports of the endpoints."),
        Column::text("Endpoints", "Addresses of the endpoints."),
        AGE,
    ],
    row: |object, now| {
        let ports: Vec<String> = items(object, "ports").iter().map(slice_port).collect();
        let addresses: Vec<String> = items(object, "endpoints")
            .iter()
            .flat_map(|endpoint| items(endpoint, "addresses"))
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        vec![
            json!(meta::name(object)),
            json!(text(object, "addressType")),
            json!(first_few(&ports)),
            json!(first_few(&addresses)),
            age(object, now),
        ]
    },
};

fn slice_port(port: &Value) -> String {
    match (port["port"].as_i64(), port["name"].as_str()) {
        (Some(number), _) => number.to_string(),
        (None, Some(name)) => name.to_owned(),
        (None, None) => "*".to_owned(),
    }
}
