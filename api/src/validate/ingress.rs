//! Rules for Ingresses, their classes and NetworkPolicies. *Source:* `pkg/apis/networking/validation`.

use serde_json::Value;

use super::{Errors, complain, has, items, labels, metadata, number, one_of, text};
use crate::field_error::{FieldError, Path};
use crate::names;

const SPEC: Path<'static> = Path::root("spec");

/// Parts that a path must not have, and ends that it must not have.
const REFUSED: [&str; 4] = ["//", "/./", "/../", "%2f"];
const REFUSED_ENDS: [&str; 2] = ["/..", "/."];

/// Checks a new Ingress.
pub fn validate(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, true, names::dns1123_subdomain);
    check_spec(&mut errors, &object["spec"]);
    errors
}

/// Checks a changed Ingress.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    check_spec(&mut errors, &new["spec"]);
    errors
}

fn check_spec(errors: &mut Errors, spec: &Value) {
    let rules = items(spec, "rules");
    if rules.is_empty() && !has(spec, "defaultBackend") {
        let words = "either `defaultBackend` or `rules` must be specified";
        errors.push(FieldError::invalid(SPEC, rules, words));
    }
    if has(spec, "defaultBackend") {
        check_backend(errors, &SPEC.child("defaultBackend"), &spec["defaultBackend"]);
    }
    let path = SPEC.child("rules");
    for (index, rule) in rules.iter().enumerate() {
        check_rule(errors, &path.index(index), rule);
    }
    let path = SPEC.child("tls");
    for (index, tls) in items(spec, "tls").iter().enumerate() {
        let path = path.index(index);
        let path = path.child("hosts");
        for (index, host) in items(tls, "hosts").iter().filter_map(Value::as_str).enumerate() {
            complain(errors, path.index(index), host, host_name(host));
        }
    }
    let class = text(spec, "ingressClassName");
    if has(spec, "ingressClassName") {
        complain(errors, SPEC.child("ingressClassName"), class, names::dns1123_subdomain(class));
    }
}

/// Says what is wrong with a host, which may begin with a wildcard.
fn host_name(host: &str) -> Vec<String> {
    match host.strip_prefix("*.") {
        Some(rest) if host.contains('*') => names::dns1123_subdomain(rest)
            .is_empty()
            .then(Vec::new)
            .unwrap_or_else(|| vec!["a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')".to_owned()]),
        Some(_) | None => names::dns1123_subdomain(host),
    }
}

fn check_rule(errors: &mut Errors, path: &Path<'_>, rule: &Value) {
    let host = text(rule, "host");
    if !host.is_empty() {
        if host.parse::<std::net::IpAddr>().is_ok() {
            let words = "must be a DNS name, not an IP address";
            errors.push(FieldError::invalid(path.child("host"), host, words));
        } else {
            complain(errors, path.child("host"), host, host_name(host));
        }
    }
    if !has(rule, "http") {
        return;
    }
    let path = path.child("http");
    let path = path.child("paths");
    let paths = items(&rule["http"], "paths");
    if paths.is_empty() {
        errors.push(FieldError::required(path, ""));
    }
    for (index, entry) in paths.iter().enumerate() {
        check_path(errors, &path.index(index), entry);
    }
}

fn check_path(errors: &mut Errors, path: &Path<'_>, entry: &Value) {
    let kinds = ["Exact", "ImplementationSpecific", "Prefix"];
    let (kind, value) = (text(entry, "pathType"), text(entry, "path"));
    if !has(entry, "pathType") {
        errors.push(FieldError::required(path.child("pathType"), "pathType must be specified"));
    } else if !kinds.contains(&kind) {
        errors.push(FieldError::not_supported(path.child("pathType"), kind, &kinds));
    }
    let place = path.child("path");
    if matches!(kind, "Exact" | "Prefix") {
        if !value.starts_with('/') {
            errors.push(FieldError::invalid(place, value, "must be an absolute path"));
        }
        let lower = value.to_lowercase();
        for part in REFUSED.iter().filter(|part| lower.contains(**part)) {
            let words = format!("must not contain '{part}'");
            errors.push(FieldError::invalid(place, value, words));
        }
        for end in REFUSED_ENDS.iter().filter(|end| value.ends_with(**end)) {
            let words = format!("cannot end with '{end}'");
            errors.push(FieldError::invalid(place, value, words));
        }
    } else if !value.is_empty() && !value.starts_with('/') {
        errors.push(FieldError::invalid(place, value, "must be an absolute path"));
    }
    check_backend(errors, &path.child("backend"), &entry["backend"]);
}

fn check_backend(errors: &mut Errors, path: &Path<'_>, backend: &Value) {
    let (service, resource) = (&backend["service"], &backend["resource"]);
    match (service.is_null(), resource.is_null()) {
        (true, true) => {
            let words = "is required";
            errors.push(FieldError::required(path, format!("resource or service backend {words}")));
        }
        (false, false) => {
            let words = "cannot set both resource and service backends";
            errors.push(FieldError::invalid(path, "", words));
        }
        (true, false) => {}
        (false, true) => check_service(errors, &path.child("service"), service),
    }
}

fn check_service(errors: &mut Errors, path: &Path<'_>, service: &Value) {
    let name = text(service, "name");
    if name.is_empty() {
        errors.push(FieldError::required(path.child("name"), ""));
    } else {
        complain(errors, path.child("name"), name, names::dns1035_label(name));
    }
    let port = &service["port"];
    let path = path.child("port");
    let (named, numbered) = (text(port, "name"), number(port, "number").unwrap_or_default());
    match (named.is_empty(), numbered == 0) {
        (true, true) => {
            errors.push(FieldError::required(path, "port name or number is required"));
        }
        (false, false) => {
            let words = "cannot set both port name & port number";
            errors.push(FieldError::invalid(path, "", words));
        }
        (false, true) => complain(errors, path.child("name"), named, names::port_name(named)),
        (true, false) => {
            complain(errors, path.child("number"), numbered, names::port_number(numbered));
        }
    }
}

/// Checks a new IngressClass.
pub fn validate_class(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, false, names::dns1123_subdomain);
    let controller = text(&object["spec"], "controller");
    if controller.is_empty() {
        errors.push(FieldError::required(SPEC.child("controller"), ""));
    } else if !controller.contains('/') {
        let words = "must be a domain-prefixed path (such as \"acme.io/foo\")";
        errors.push(FieldError::invalid(SPEC.child("controller"), controller, words));
    }
    errors
}

/// Checks a changed IngressClass: its controller stays.
pub fn validate_class_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    let controller = |object: &Value| object["spec"]["controller"].clone();
    if controller(new) != controller(old) {
        let path = SPEC.child("controller");
        errors.push(FieldError::invalid(path, controller(new), super::IMMUTABLE));
    }
    errors
}

/// Checks a new NetworkPolicy.
pub fn validate_policy(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, true, names::dns1123_subdomain);
    check_policy(&mut errors, &object["spec"]);
    errors
}

/// Checks a changed NetworkPolicy.
pub fn validate_policy_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    check_policy(&mut errors, &new["spec"]);
    errors
}

fn check_policy(errors: &mut Errors, spec: &Value) {
    labels::check_selector(errors, &SPEC.child("podSelector"), &spec["podSelector"]);
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        let path = SPEC.child(direction);
        for (index, rule) in items(spec, direction).iter().enumerate() {
            let path = path.index(index);
            let place = path.child("ports");
            for (index, port) in items(rule, "ports").iter().enumerate() {
                check_port(errors, &place.index(index), port);
            }
            let place = path.child(peers);
            for (index, peer) in items(rule, peers).iter().enumerate() {
                check_peer(errors, &place.index(index), peer);
            }
        }
    }
    let types = items(spec, "policyTypes");
    let path = SPEC.child("policyTypes");
    if types.len() > 2 {
        let words = "may not specify more than two policyTypes";
        errors.push(FieldError::invalid(path, types, words));
    }
    for (index, kind) in types.iter().filter_map(Value::as_str).enumerate() {
        one_of(errors, path.index(index), kind, &["Egress", "Ingress"]);
    }
}

fn check_port(errors: &mut Errors, path: &Path<'_>, port: &Value) {
    if has(port, "protocol") {
        let protocols = ["SCTP", "TCP", "UDP"];
        one_of(errors, path.child("protocol"), text(port, "protocol"), &protocols);
    }
    let place = path.child("port");
    match (number(port, "port"), port["port"].as_str()) {
        (Some(first), _) => {
            complain(errors, place, first, names::port_number(first));
            if let Some(last) = number(port, "endPort") {
                if last < first {
                    let words = "must be greater than or equal to `port`";
                    errors.push(FieldError::invalid(path.child("endPort"), last, words));
                }
                complain(errors, path.child("endPort"), last, names::port_number(last));
            }
        }
        (None, Some(name)) => {
            complain(errors, place, name, names::port_name(name));
            if has(port, "endPort") {
                let words = "may not be specified when `port` is non-numeric";
                errors.push(FieldError::invalid(path.child("endPort"), &port["endPort"], words));
            }
        }
        (None, None) => {}
    }
}

fn check_peer(errors: &mut Errors, path: &Path<'_>, peer: &Value) {
    let selectors = ["podSelector", "namespaceSelector"];
    for field in selectors.iter().filter(|field| has(peer, field)) {
        labels::check_selector(errors, &path.child(field), &peer[*field]);
    }
    let (block, chosen) = (has(peer, "ipBlock"), selectors.iter().any(|field| has(peer, field)));
    match (block, chosen) {
        (false, false) => errors.push(FieldError::required(path, "must specify a peer")),
        (true, true) => {
            let words = "may not specify both ipBlock and another peer";
            errors.push(FieldError::forbidden(path, words));
        }
        (true, false) => {
            let cidr = text(&peer["ipBlock"], "cidr");
            let path = path.child("ipBlock");
            if cidr.is_empty() {
                errors.push(FieldError::required(path.child("cidr"), ""));
            } else if !is_cidr(cidr) {
                let words = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
                errors.push(FieldError::invalid(path.child("cidr"), cidr, words));
            }
        }
        (false, true) => {}
    }
}

/// Tells whether a text is an address, a slash and a number of bits.
fn is_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let Ok(address) = address.parse::<std::net::IpAddr>() else { return false };
    let most = if address.is_ipv4() { 32 } else { 128 };
    bits.parse::<u8>().is_ok_and(|bits| bits <= most)
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;
    use serde_json::json;

    fn object(spec: Value) -> Value {
        json!({"metadata": {"name": "a", "namespace": "b"}, "spec": spec})
    }

    #[test]
    fn ingresses() {
        let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
        let ingress = |host: &str, kind: &str, path: &str| {
            object(
                json!({"rules": [{"host": host, "http": {"paths": [{"path": path, "pathType": kind, "backend": backend}]}}]}),
            )
        };
        check(validate(&ingress("*.a.b", "Prefix", "/x")), &[]);
        check(
            validate(&object(json!({}))),
            &["spec: Invalid value: []: either `defaultBackend` or `rules` must be specified"],
        );
        check(
            validate(&ingress("1.2.3.4", "Exact", "x//y")),
            &[
                "spec.rules[0].host: Invalid value: \"1.2.3.4\": must be a DNS name, not an IP address",
                "spec.rules[0].http.paths[0].path: Invalid value: \"x//y\": must be an absolute path",
                "spec.rules[0].http.paths[0].path: Invalid value: \"x//y\": must not contain '//'",
            ],
        );
        check(
            validate(&object(json!({"defaultBackend": {"service": {"name": "Web", "port": {}}}}))),
            &[
                "spec.defaultBackend.service.name: Invalid value: \"Web\": a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
                "spec.defaultBackend.service.port: Required value: port name or number is required",
            ],
        );
    }

    #[test]
    fn policies() {
        check(
            validate_policy(&object(json!({"podSelector": {}, "policyTypes": ["Ingress"],
                "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"port": 80, "endPort": 90}]}]}))),
            &[],
        );
        check(
            validate_policy(&object(json!({"policyTypes": ["Out"],
                "ingress": [{"from": [{}, {"ipBlock": {"cidr": "10.0.0.0"}}], "ports": [{"port": 80, "endPort": 9}]}]}))),
            &[
                "spec.ingress[0].ports[0].endPort: Invalid value: 9: must be greater than or equal to `port`",
                "spec.ingress[0].from[0]: Required value: must specify a peer",
                "spec.ingress[0].from[1].ipBlock.cidr: Invalid value: \"10.0.0.0\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
                "spec.policyTypes[0]: Unsupported value: \"Out\": supported values: \"Egress\", \"Ingress\"",
            ],
        );
    }
}
