//! Rules for IPAddresses: the name is the address, and somebody has it.

use std::net::IpAddr;

use serde_json::Value;

use super::{Errors, metadata, same, text};
use crate::field_error::{FieldError, Path};

const SPEC: Path<'static> = Path::root("spec");

/// Checks a new IPAddress.
///
/// *Source:* `ValidateIPAddress` of kube-apiserver.
pub fn validate(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, false, canonical);
    let parent = &object["spec"]["parentRef"];
    let path = SPEC.child("parentRef");
    if !parent.is_object() {
        errors.push(FieldError::required(path, ""));
        return errors;
    }
    for field in ["resource", "name"] {
        if text(parent, field).is_empty() {
            errors.push(FieldError::required(path.child(field), ""));
        }
    }
    errors
}

/// Checks a change: an address stays with whom it is.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    let parent = |object: &Value| object["spec"]["parentRef"].clone();
    if !same(&parent(new), &parent(old)) {
        errors.push(FieldError::invalid(
            SPEC.child("parentRef"),
            parent(new),
            "field is immutable",
        ));
    }
    errors
}

/// Says what is wrong with a name that is no address, or not in the one form that each address has.
fn canonical(name: &str) -> Vec<String> {
    match name.parse::<IpAddr>() {
        Err(_) => vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()],
        Ok(address) if address.to_string() != name => {
            vec![format!("must be in canonical form (\"{address}\")")]
        }
        Ok(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;
    use serde_json::json;

    fn address(name: &str) -> Value {
        json!({"metadata": {"name": name}, "spec": {"parentRef": {"resource": "services", "name": "a"}}})
    }

    #[test]
    fn the_name_is_an_address() {
        for name in ["10.1.2.3", "fe80::42:1dff:fe84:f9e2"] {
            check(validate(&address(name)), &[]);
        }
        check(
            validate(&address("web")),
            &[
                "metadata.name: Invalid value: \"web\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            ],
        );
        check(
            validate(&address("fe80::0:1")),
            &[
                "metadata.name: Invalid value: \"fe80::0:1\": must be in canonical form (\"fe80::1\")",
            ],
        );
    }

    #[test]
    fn somebody_has_it_for_good() {
        let mut orphan = address("10.0.0.1");
        orphan["spec"] = json!({});
        check(validate(&orphan), &["spec.parentRef: Required value"]);
        orphan["spec"] = json!({"parentRef": {"resource": "services"}});
        check(validate(&orphan), &["spec.parentRef.name: Required value"]);
        let mut old = address("10.0.0.1");
        old["metadata"]["resourceVersion"] = json!("1");
        let mut new = old.clone();
        check(validate_update(&new, &old), &[]);
        new["spec"]["parentRef"]["name"] = json!("b");
        let shown = r#"{"name":"b","resource":"services"}"#;
        let line = format!("spec.parentRef: Invalid value: {shown}: field is immutable");
        check(validate_update(&new, &old), &[&line]);
    }
}
