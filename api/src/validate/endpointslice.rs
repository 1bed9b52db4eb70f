//! Rules for EndpointSlices.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::Value;

use super::{Errors, complain, immutable, items, metadata, one_of, text};
use crate::field_error::{FieldError, Path};
use crate::names;

/// Most endpoints in one slice.
pub const ENDPOINTS_MAX: usize = 1000;
/// Most ports in one slice.
pub const PORTS_MAX: usize = 20_000;
/// Most addresses of one endpoint.
pub const ADDRESSES_MAX: usize = 100;

/// Checks a new EndpointSlice.
pub fn validate(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, true, names::dns1123_subdomain);
    let kind = text(object, "addressType");
    one_of(&mut errors, "addressType", kind, &["FQDN", "IPv4", "IPv6"]);
    check_endpoints(&mut errors, kind, items(object, "endpoints"));
    check_ports(&mut errors, items(object, "ports"));
    errors
}

/// Checks a changed EndpointSlice.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    errors.extend(validate(new));
    let field = "addressType";
    immutable(&mut errors, field, &new[field], &old[field]);
    errors
}

fn check_endpoints(errors: &mut Errors, kind: &str, endpoints: &[Value]) {
    let path = Path::root("endpoints");
    if endpoints.len() > ENDPOINTS_MAX {
        errors.push(FieldError::too_many(path, endpoints.len(), ENDPOINTS_MAX));
        return;
    }
    for (index, endpoint) in endpoints.iter().enumerate() {
        let path = path.index(index);
        let addresses = items(endpoint, "addresses");
        let addresses_path = path.child("addresses");
        if addresses.is_empty() {
            let words = "must contain at least 1 address";
            errors.push(FieldError::required(addresses_path, words));
        } else if addresses.len() > ADDRESSES_MAX {
            errors.push(FieldError::too_many(addresses_path, addresses.len(), ADDRESSES_MAX));
        }
        for (index, address) in addresses.iter().filter_map(Value::as_str).enumerate() {
            check_address(errors, &addresses_path.index(index), kind, address);
        }
        let node = text(endpoint, "nodeName");
        if !node.is_empty() {
            complain(errors, path.child("nodeName"), node, names::dns1123_subdomain(node));
        }
    }
}

fn check_address(errors: &mut Errors, path: &Path<'_>, kind: &str, address: &str) {
    match kind {
        "IPv4" => match address.parse::<Ipv4Addr>() {
            Err(_) => errors.push(FieldError::invalid(path, address, "must be an IPv4 address")),
            Ok(ip) => {
                if let Some(words) = special(
                    ip.is_unspecified(),
                    ip.is_loopback(),
                    ip.is_link_local(),
                    ip.octets()[..3] == [224, 0, 0],
                ) {
                    errors.push(FieldError::invalid(path, address, words));
                }
            }
        },
        "IPv6" => match address.parse::<Ipv6Addr>() {
            Err(_) => errors.push(FieldError::invalid(path, address, "must be an IPv6 address")),
            Ok(ip) => {
                let link_local = ip.segments()[0] & 0xffc0 == 0xfe80;
                if let Some(words) = special(
                    ip.is_unspecified(),
                    ip.is_loopback(),
                    link_local,
                    ip.segments()[0] == 0xff02,
                ) {
                    errors.push(FieldError::invalid(path, address, words));
                }
            }
        },
        "FQDN" => complain(errors, path, address, names::dns1123_subdomain(address)),
        _ => {}
    }
}

/// Checks an address of either family.
pub(super) fn check_ip(errors: &mut Errors, path: &Path<'_>, address: &str) {
    match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => check_address(errors, path, "IPv4", address),
        Ok(IpAddr::V6(_)) => check_address(errors, path, "IPv6", address),
        Err(_) => {
            let words = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
            errors.push(FieldError::invalid(path, address, words));
        }
    }
}

/// Words for an address that means a machine's own neighbourhood and cannot be an endpoint.
fn special(
    unspecified: bool,
    loopback: bool,
    link_local: bool,
    link_local_multicast: bool,
) -> Option<&'static str> {
    if unspecified {
        Some("may not be unspecified (0.0.0.0 or ::)")
    } else if loopback {
        Some("may not be in the loopback range (127.0.0.0/8, ::1/128)")
    } else if link_local {
        Some("may not be in the link-local range (169.254.0.0/16, fe80::/10)")
    } else if link_local_multicast {
        Some("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")
    } else {
        None
    }
}

fn check_ports(errors: &mut Errors, ports: &[Value]) {
    let path = Path::root("ports");
    if ports.len() > PORTS_MAX {
        errors.push(FieldError::too_many(path, ports.len(), PORTS_MAX));
        return;
    }
    let mut seen = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        let name = text(port, "name");
        if !name.is_empty() {
            complain(errors, path.child("name"), name, names::dns1123_label(name));
        }
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(path.child("name"), name));
        }
        one_of(errors, path.child("protocol"), text(port, "protocol"), &["SCTP", "TCP", "UDP"]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;
    use serde_json::json;

    #[test]
    fn addresses_and_ports() {
        let slice = |addresses: Value, ports: Value| {
            json!({"metadata": {"name": "a", "namespace": "b"}, "addressType": "IPv4",
                   "endpoints": [{"addresses": addresses}], "ports": ports})
        };
        let tcp = json!({"name": "http", "protocol": "TCP", "port": 80});
        check(validate(&slice(json!(["10.0.0.1"]), json!([tcp]))), &[]);
        check(
            validate(&slice(json!(["::1", "127.0.0.1"]), json!([tcp, tcp]))),
            &[
                "endpoints[0].addresses[0]: Invalid value: \"::1\": must be an IPv4 address",
                "endpoints[0].addresses[1]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
                "ports[1].name: Duplicate value: \"http\"",
            ],
        );
        let many = vec![json!({"addresses": ["10.0.0.1"]}); ENDPOINTS_MAX + 1];
        let mut too_many = slice(json!([]), json!([]));
        too_many["endpoints"] = json!(many);
        check(validate(&too_many), &["endpoints: Too many: 1001: must have at most 1000 items"]);
    }
}
