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

pub(super) const ENDPOINTS: Printer = Printer {
    columns: &[NAME, Column::text("Endpoints", "Addresses with their ports."), AGE],
    row: |object, now| {
        let mut found = Vec::new();
        for subset in items(object, "subsets") {
            let addresses = items(subset, "addresses").iter().map(|address| text(address, "ip"));
            for ip in addresses {
                let ports = items(subset, "ports");
                if ports.is_empty() {
                    found.push(ip.to_owned());
                }
                found.extend(ports.iter().map(|port| format!("{ip}:{}", number(port, "port"))));
            }
        }
        let shown = if found.is_empty() { "<none>".to_owned() } else { first_few(&found) };
        vec![json!(meta::name(object)), json!(shown), age(object, now)]
    },
};

pub(super) const INGRESS: Printer = Printer {
    columns: &[
        NAME,
        Column::text("Class", "Who serves it."),
        Column::text("Hosts", "Hosts of its rules."),
        Column::text("Address", "Where it is reached."),
        Column::text("Ports", "Ports that it listens on."),
        AGE,
    ],
    row: |object, now| {
        let spec = &object["spec"];
        let rules = items(spec, "rules").iter().map(|rule| text(rule, "host"));
        let hosts: Vec<String> = rules.filter(|host| !host.is_empty()).map(str::to_owned).collect();
        let shown = if hosts.is_empty() { "*".to_owned() } else { first_few(&hosts) };
        let ports = if items(spec, "tls").is_empty() { "80" } else { "80, 443" };
        vec![
            json!(meta::name(object)),
            json!(or(text(spec, "ingressClassName"), "<none>")),
            json!(shown),
            json!(load_balancer_ips(object).join(",")),
            json!(ports),
            age(object, now),
        ]
    },
};

pub(super) const INGRESS_CLASS: Printer = Printer {
    columns: &[
        NAME,
        Column::text("Controller", "Who serves Ingresses of this class."),
        Column::text("Parameters", "Where its parameters are."),
        AGE,
    ],
    row: |object, now| {
        let spec = &object["spec"];
        let found = &spec["parameters"];
        let parameters = if found.is_null() {
            "<none>".to_owned()
        } else {
            {
                let group = text(found, "apiGroup");
                let dot = if group.is_empty() { "" } else { "." };
                format!("{}{dot}{group}/{}", text(found, "kind"), text(found, "name"))
            }
        };
        vec![
            json!(meta::name(object)),
            json!(text(spec, "controller")),
            json!(parameters),
            age(object, now),
        ]
    },
};

pub(super) const NETWORK_POLICY: Printer = Printer {
    columns: &[NAME, Column::text("Pod-Selector", "The pods that it is about."), AGE],
    row: |object, now| {
        let chosen = match LabelSelector::from_value(&object["spec"]["podSelector"]) {
            Ok(selector) => selector.to_string(),
            Err(_) => "<invalid>".to_owned(),
        };
        vec![json!(meta::name(object)), json!(or(&chosen, "<none>")), age(object, now)]
    },
};

pub(super) const IP_ADDRESS: Printer = Printer {
    columns: &[NAME, Column::text("ParentRef", "Whose address it is.")],
    row: |object, _| {
        let parent = &object["spec"]["parentRef"];
        let group = text(parent, "group");
        let dot = if group.is_empty() { "" } else { "." };
        let space = text(parent, "namespace");
        let slash = if space.is_empty() { "" } else { "/" };
        let resource = text(parent, "resource");
        let shown = format!("{resource}{dot}{group}/{space}{slash}{}", text(parent, "name"));
        vec![json!(meta::name(object)), json!(shown)]
    },
};

pub(super) const SERVICE_CIDR: Printer = Printer {
    columns: &[NAME, Column::text("CIDRs", "Addresses of Services."), AGE],
    row: |object, now| {
        let blocks = items(&object["spec"], "cidrs").iter().filter_map(Value::as_str);
        let shown = blocks.collect::<Vec<&str>>().join(",");
        vec![json!(meta::name(object)), json!(shown), age(object, now)]
    },
};
