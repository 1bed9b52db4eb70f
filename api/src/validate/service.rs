//! Rules for Services: type, ports, addresses, traffic policies.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::pod::check_port;
use super::{Errors, complain, has, items, labels, metadata, number, one_of, text};
use crate::field_error::{FieldError, Path};
use crate::names;

const SPEC: Path<'static> = Path::root("spec");

/// Longest stickiness of a client in seconds: a day.
pub const AFFINITY_SECONDS_MAX: i64 = 86_400;

/// Checks a new Service.
pub fn validate(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, true, names::dns1035_label);
    check(&mut errors, &object["spec"]);
    errors
}

/// Checks a changed Service: its addresses stay unless it becomes or was an ExternalName.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    check_addresses_stay(&mut errors, &new["spec"], &old["spec"]);
    check(&mut errors, &new["spec"]);
    errors
}

/// Checks a changed status: where a load balancer is reached.
pub fn validate_status_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    let balancer = &new["status"]["loadBalancer"];
    if *balancer == old["status"]["loadBalancer"] {
        return errors;
    }
    let path = Path::root("status");
    let path = path.child("loadBalancer");
    let path = path.child("ingress");
    for (index, ingress) in items(balancer, "ingress").iter().enumerate() {
        let path = path.index(index);
        let (ip, host) = (text(ingress, "ip"), text(ingress, "hostname"));
        if !ip.is_empty() && ip.parse::<IpAddr>().is_err() {
            let words = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
            errors.push(FieldError::invalid(path.child("ip"), ip, words));
        }
        if !host.is_empty() {
            complain(&mut errors, path.child("hostname"), host, names::dns1123_subdomain(host));
            if host.parse::<IpAddr>().is_ok() {
                let words = "must be a DNS name, not an IP address";
                errors.push(FieldError::invalid(path.child("hostname"), host, words));
            }
        }
    }
    errors
}

fn check(errors: &mut Errors, spec: &Value) {
    let kind = text(spec, "type");
    let headless = text(spec, "clusterIP") == "None";
    if items(spec, "ports").is_empty() && !headless && kind != "ExternalName" {
        errors.push(FieldError::required(SPEC.child("ports"), ""));
    }
    check_type(errors, spec, kind, headless);
    check_ports(errors, spec);
    labels::check(errors, &SPEC.child("selector"), &spec["selector"]);
    check_affinity(errors, spec);
    check_cluster_ips(errors, spec, kind);
    check_ips(errors, &SPEC.child("externalIPs"), items(spec, "externalIPs"));
    let kinds = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    one_of(errors, SPEC.child("type"), kind, &kinds);
    check_unique_ports(errors, spec, kind);
    check_load_balancer(errors, spec, kind);
    check_traffic(errors, spec, kind);
}

fn check_type(errors: &mut Errors, spec: &Value, kind: &str, headless: bool) {
    match kind {
        "LoadBalancer" | "NodePort" if headless => {
            let words = format!("may not be set to 'None' for {kind} services");
            let path = SPEC.child("clusterIPs");
            errors.push(FieldError::invalid(path.index(0), "None", words));
        }
        "ExternalName" => {
            for field in ["clusterIPs", "ipFamilies"] {
                if !items(spec, field).is_empty() {
                    let words = "may not be set for ExternalName services";
                    errors.push(FieldError::forbidden(SPEC.child(field), words));
                }
            }
            if has(spec, "ipFamilyPolicy") {
                let words = "may not be set for ExternalName services";
                errors.push(FieldError::forbidden(SPEC.child("ipFamilyPolicy"), words));
            }
            let name = text(spec, "externalName").trim_end_matches('.');
            let path = SPEC.child("externalName");
            if name.is_empty() {
                errors.push(FieldError::required(path, ""));
            } else {
                complain(errors, path, name, names::dns1123_subdomain(name));
            }
        }
        _ => {}
    }
}

fn check_ports(errors: &mut Errors, spec: &Value) {
    let ports = items(spec, "ports");
    let list = SPEC.child("ports");
    let mut seen = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let path = list.index(index);
        let name = text(port, "name");
        if !name.is_empty() {
            complain(errors, path.child("name"), name, names::dns1123_label(name));
            if !seen.insert(name) {
                errors.push(FieldError::duplicate(path.child("name"), name));
            }
        } else if ports.len() > 1 {
            errors.push(FieldError::required(path.child("name"), ""));
        }
        let number_of = |field: &str| number(port, field).unwrap_or_default();
        let own = number_of("port");
        complain(errors, path.child("port"), own, names::port_number(own));
        let protocols = ["SCTP", "TCP", "UDP"];
        one_of(errors, path.child("protocol"), text(port, "protocol"), &protocols);
        check_port(errors, &path.child("targetPort"), &port["targetPort"]);
        let app = text(port, "appProtocol");
        if !app.is_empty() {
            complain(errors, path.child("appProtocol"), app, names::qualified_name(app));
        }
        let node = number_of("nodePort");
        if node != 0 {
            complain(errors, path.child("nodePort"), node, names::port_number(node));
        }
    }
}

fn check_unique_ports(errors: &mut Errors, spec: &Value, kind: &str) {
    let list = SPEC.child("ports");
    let (mut node_ports, mut ports) = (BTreeSet::new(), BTreeSet::new());
    for (index, port) in items(spec, "ports").iter().enumerate() {
        let path = list.index(index);
        let protocol = text(port, "protocol");
        let node = number(port, "nodePort").unwrap_or_default();
        if node != 0 && kind == "ClusterIP" {
            let words = "may not be used when `type` is 'ClusterIP'";
            errors.push(FieldError::forbidden(path.child("nodePort"), words));
        }
        if node != 0 && !node_ports.insert((protocol, node)) {
            errors.push(FieldError::duplicate(path.child("nodePort"), node));
        }
        let own = number(port, "port").unwrap_or_default();
        if !ports.insert((protocol, own)) {
            let key = json!({"protocol": protocol, "port": own, "targetPort": 0});
            errors.push(FieldError::duplicate(path, key));
        }
    }
}

fn check_affinity(errors: &mut Errors, spec: &Value) {
    let affinity = text(spec, "sessionAffinity");
    one_of(errors, SPEC.child("sessionAffinity"), affinity, &["ClientIP", "None"]);
    let path = SPEC.child("sessionAffinityConfig");
    let config = &spec["sessionAffinityConfig"];
    if affinity == "None" && !config.is_null() {
        let words = "must not be set when session affinity is None";
        errors.push(FieldError::forbidden(path, words));
    }
    if affinity == "ClientIP" {
        let path = path.child("clientIP");
        let path = path.child("timeoutSeconds");
        match number(&config["clientIP"], "timeoutSeconds") {
            None => {
                let words = "when session affinity type is ClientIP";
                errors.push(FieldError::required(path, words));
            }
            Some(seconds) if !(1..=AFFINITY_SECONDS_MAX).contains(&seconds) => {
                let words = format!("must be greater than 0 and less than {AFFINITY_SECONDS_MAX}");
                errors.push(FieldError::invalid(path, seconds, words));
            }
            Some(_) => {}
        }
    }
}

fn check_cluster_ips(errors: &mut Errors, spec: &Value, kind: &str) {
    if kind == "ExternalName" {
        return;
    }
    let ips = items(spec, "clusterIPs");
    let path = SPEC.child("clusterIPs");
    let first = text(spec, "clusterIP");
    if let Some(listed) = ips.first().and_then(Value::as_str)
        && listed != first
    {
        let words = "first value must match `clusterIP`";
        errors.push(FieldError::invalid(path, ips, words));
    }
    for (index, ip) in ips.iter().filter_map(Value::as_str).enumerate() {
        if ip == "None" && index > 0 || ip != "None" && ip.parse::<IpAddr>().is_err() {
            let words = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
            errors.push(FieldError::invalid(path.index(index), ip, words));
        }
    }
    if !first.is_empty() && ips.is_empty() && first != "None" && first.parse::<IpAddr>().is_err() {
        let words = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        errors.push(FieldError::invalid(path.index(0), first, words));
    }
}

fn check_ips(errors: &mut Errors, path: &Path<'_>, ips: &[Value]) {
    for (index, ip) in ips.iter().filter_map(Value::as_str).enumerate() {
        match ip.parse::<IpAddr>() {
            Err(_) => {
                let words = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
                errors.push(FieldError::invalid(path.index(index), ip, words));
            }
            Ok(address) if address.is_loopback() => {
                let words = "may not be in the loopback range (127.0.0.0/8, ::1/128)";
                errors.push(FieldError::invalid(path.index(index), ip, words));
            }
            Ok(address) if address.is_unspecified() => {
                let words = "may not be unspecified (0.0.0.0 or ::)";
                errors.push(FieldError::invalid(path.index(index), ip, words));
            }
            Ok(_) => {}
        }
    }
}

fn check_load_balancer(errors: &mut Errors, spec: &Value, kind: &str) {
    if kind == "LoadBalancer" {
        return;
    }
    let words = "may only be used when `type` is 'LoadBalancer'";
    if !items(spec, "loadBalancerSourceRanges").is_empty() {
        let path = SPEC.child("LoadBalancerSourceRanges");
        errors.push(FieldError::forbidden(path, words));
    }
    for field in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
        if has(spec, field) {
            errors.push(FieldError::forbidden(SPEC.child(field), words));
        }
    }
}

fn check_traffic(errors: &mut Errors, spec: &Value, kind: &str) {
    let external = text(spec, "externalTrafficPolicy");
    let path = SPEC.child("externalTrafficPolicy");
    let reachable = matches!(kind, "LoadBalancer" | "NodePort")
        || kind == "ClusterIP" && !items(spec, "externalIPs").is_empty();
    if reachable {
        one_of(errors, path, external, &["Cluster", "Local"]);
    } else if !external.is_empty() {
        let words = "may only be set for externally-accessible services";
        errors.push(FieldError::invalid(path, external, words));
    }
    let health = number(spec, "healthCheckNodePort").unwrap_or_default();
    if health != 0 && !(kind == "LoadBalancer" && external == "Local") {
        let words = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` \
                     is 'Local'";
        errors.push(FieldError::invalid(SPEC.child("healthCheckNodePort"), health, words));
    }
    let internal = text(spec, "internalTrafficPolicy");
    if !(internal.is_empty() && kind == "ExternalName") {
        let path = SPEC.child("internalTrafficPolicy");
        one_of(errors, path, internal, &["Cluster", "Local"]);
    }
    if has(spec, "trafficDistribution") {
        let supported = ["PreferClose", "PreferSameZone", "PreferSameNode"];
        let value = text(spec, "trafficDistribution");
        one_of(errors, SPEC.child("trafficDistribution"), value, &supported);
    }
}

/// The first address stays, except when the type changes from or to ExternalName.
fn check_addresses_stay(errors: &mut Errors, new: &Value, old: &Value) {
    let external = |spec: &Value| text(spec, "type") == "ExternalName";
    if external(new) || external(old) {
        return;
    }
    let path = SPEC.child("clusterIPs");
    for (index, before) in items(old, "clusterIPs").iter().enumerate() {
        let now = items(new, "clusterIPs").get(index);
        if now.is_some_and(|now| now != before) || (now.is_none() && index == 0) {
            let words = if index == 0 { "may not change once set" } else { super::IMMUTABLE };
            let value = items(new, "clusterIPs");
            errors.push(FieldError::invalid(path.index(index), value, words));
        }
    }
    let path = SPEC.child("ipFamilies");
    if let (Some(before), Some(now)) =
        (items(old, "ipFamilies").first(), items(new, "ipFamilies").first())
        && before != now
    {
        errors.push(FieldError::invalid(path.index(0), now, "may not change once set"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;

    fn service(change: Value) -> Value {
        let mut object = json!({
            "metadata": {"name": "a", "namespace": "b"},
            "spec": {
                "type": "ClusterIP",
                "clusterIP": "10.96.0.9",
                "clusterIPs": ["10.96.0.9"],
                "sessionAffinity": "None",
                "internalTrafficPolicy": "Cluster",
                "ports": [{"port": 80, "targetPort": 8080, "protocol": "TCP"}],
            },
        });
        for (field, value) in change.as_object().unwrap() {
            object["spec"][field] = value.clone();
        }
        object
    }

    #[test]
    fn ports() {
        check(validate(&service(json!({}))), &[]);
        check(validate(&service(json!({"ports": []}))), &["spec.ports: Required value"]);
        check(
            validate(&service(json!({"ports": [
                {"port": 0, "targetPort": "a_b", "protocol": "TCP", "name": "x"},
                {"port": 80, "targetPort": 80, "protocol": "TCP", "name": "x", "nodePort": 30000},
                {"port": 80, "targetPort": 80, "protocol": "TCP"},
            ]}))),
            &[
                "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                "spec.ports[0].targetPort: Invalid value: \"a_b\": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
                "spec.ports[1].name: Duplicate value: \"x\"",
                "spec.ports[2].name: Required value",
                "spec.ports[1].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
                "spec.ports[2]: Duplicate value: {\"port\":80,\"protocol\":\"TCP\",\"targetPort\":0}",
            ],
        );
    }

    #[test]
    fn types() {
        check(
            validate(&service(json!({"type": "Other"}))),
            &[
                "spec.type: Unsupported value: \"Other\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\"",
            ],
        );
        check(
            validate(&service(
                json!({"type": "NodePort", "clusterIP": "None", "clusterIPs": ["None"], "externalTrafficPolicy": "Cluster"}),
            )),
            &[
                "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services",
            ],
        );
        check(
            validate(&service(
                json!({"type": "ExternalName", "clusterIP": null, "clusterIPs": null, "internalTrafficPolicy": null}),
            )),
            &["spec.externalName: Required value"],
        );
        check(
            validate(&service(json!({"externalTrafficPolicy": "Local"}))),
            &[
                "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services",
            ],
        );
    }

    #[test]
    fn balancers_are_reached_somewhere() {
        let with = |ingress: Value| {
            let mut object = service(json!({}));
            object["status"] = json!({"loadBalancer": {"ingress": [ingress]}});
            object
        };
        let old = service(json!({}));
        check(validate_status_update(&with(json!({"ip": "1.2.3.4"})), &old), &[]);
        check(
            validate_status_update(&with(json!({"ip": "x", "hostname": "1.2.3.4"})), &old),
            &[
                "status.loadBalancer.ingress[0].ip: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
                "status.loadBalancer.ingress[0].hostname: Invalid value: \"1.2.3.4\": must be a DNS name, not an IP address",
            ],
        );
    }

    #[test]
    fn addresses_stay() {
        let old = service(json!({}));
        check(validate_update(&old, &old), &[]);
        let new = service(json!({"clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10"]}));
        check(
            validate_update(&new, &old),
            &["spec.clusterIPs[0]: Invalid value: [\"10.96.0.10\"]: may not change once set"],
        );
    }
}
