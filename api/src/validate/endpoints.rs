//! Rules for Endpoints. *Source:* `validateEndpointSubsets` in `pkg/apis/core/validation`.

use serde_json::Value;

use super::endpointslice::check_ip;
use super::{Errors, complain, items, metadata, number, one_of, text};
use crate::field_error::{FieldError, Path};
use crate::names;

/// Checks new Endpoints.
pub fn validate(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, true, names::dns1123_subdomain);
    check_subsets(&mut errors, object);
    errors
}

/// Checks changed Endpoints; what stays as it was is not looked at again.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    if new["subsets"] != old["subsets"] {
        check_subsets(&mut errors, new);
    }
    errors
}

fn check_subsets(errors: &mut Errors, object: &Value) {
    let path = Path::root("subsets");
    for (index, subset) in items(object, "subsets").iter().enumerate() {
        let path = path.index(index);
        let lists = ["addresses", "notReadyAddresses"];
        if lists.iter().all(|list| items(subset, list).is_empty()) {
            let words = "must specify `addresses` or `notReadyAddresses`";
            errors.push(FieldError::required(path, words));
        }
        for list in lists {
            let path = path.child(list);
            for (index, address) in items(subset, list).iter().enumerate() {
                check_address(errors, &path.index(index), address);
            }
        }
        check_ports(errors, &path.child("ports"), items(subset, "ports"));
    }
}

fn check_address(errors: &mut Errors, path: &Path<'_>, address: &Value) {
    check_ip(errors, &path.child("ip"), text(address, "ip"));
    let host = text(address, "hostname");
    if !host.is_empty() {
        complain(errors, path.child("hostname"), host, names::dns1123_label(host));
    }
    let node = text(address, "nodeName");
    if !node.is_empty() {
        complain(errors, path.child("nodeName"), node, names::dns1123_subdomain(node));
    }
}

fn check_ports(errors: &mut Errors, path: &Path<'_>, ports: &[Value]) {
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        let name = text(port, "name");
        if !name.is_empty() {
            complain(errors, path.child("name"), name, names::dns1123_label(name));
        } else if ports.len() > 1 {
            errors.push(FieldError::required(path.child("name"), ""));
        }
        let own = number(port, "port").unwrap_or_default();
        complain(errors, path.child("port"), own, names::port_number(own));
        let protocols = ["SCTP", "TCP", "UDP"];
        one_of(errors, path.child("protocol"), text(port, "protocol"), &protocols);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;
    use serde_json::json;

    fn endpoints(subsets: Value) -> Value {
        json!({"metadata": {"name": "a", "namespace": "b"}, "subsets": subsets})
    }

    #[test]
    fn subsets() {
        let good = endpoints(
            json!([{"addresses": [{"ip": "10.1.1.1"}], "ports": [{"port": 80, "protocol": "TCP"}]}]),
        );
        check(validate(&good), &[]);
        let bad = endpoints(json!([
            {"addresses": [{"ip": "127.0.0.1", "hostname": "A_"}], "ports": [{"port": 0, "protocol": "TCP"}]},
            {},
        ]));
        let found = validate(&bad);
        assert_eq!(found.len(), 4);
        check(validate_update(&bad, &bad), &[]);
        let mut fields: Vec<String> = found.into_iter().map(|error| error.field).collect();
        fields.sort();
        let expected = [
            "subsets[0].addresses[0].hostname",
            "subsets[0].addresses[0].ip",
            "subsets[0].ports[0].port",
            "subsets[1]",
        ];
        assert_eq!(fields, expected);
    }
}
