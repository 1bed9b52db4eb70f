//! Rules for Secrets: keys, size, and what each type must hold.

use base64::Engine as _;
use serde_json::Value;

use super::configmap::{DATA_BYTES_MAX, check_immutable, check_keys};
use super::{Errors, immutable, metadata, text};
use crate::field_error::{FieldError, Path};
use crate::{meta, names};

const DATA: Path<'static> = Path::root("data");

/// Checks a new Secret.
pub fn validate(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, true, names::dns1123_subdomain);
    let held = check_keys(&mut errors, "data", &object["data"]);
    if held.decoded_bytes > DATA_BYTES_MAX {
        errors.push(FieldError::too_long(DATA, DATA_BYTES_MAX));
    }
    check_type(&mut errors, object);
    errors
}

/// Checks a changed Secret.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    immutable(&mut errors, "type", &new["type"], &old["type"]);
    check_immutable(&mut errors, new, old, &["data"]);
    errors.extend(validate(new));
    errors
}

fn check_type(errors: &mut Errors, object: &Value) {
    let data = &object["data"];
    match text(object, "type") {
        "kubernetes.io/service-account-token" => {
            let key = "kubernetes.io/service-account.name";
            if meta::annotation(object, key).unwrap_or_default().is_empty() {
                let field = format!("metadata.annotations[{key}]");
                errors.push(FieldError::required(field, ""));
            }
        }
        "kubernetes.io/dockercfg" => check_json(errors, data, ".dockercfg"),
        "kubernetes.io/dockerconfigjson" => check_json(errors, data, ".dockerconfigjson"),
        "kubernetes.io/basic-auth" => {
            if data.get("username").is_none() && data.get("password").is_none() {
                require(errors, data, "username");
                require(errors, data, "password");
            }
        }
        "kubernetes.io/ssh-auth" => {
            if text(data, "ssh-privatekey").is_empty() {
                errors.push(FieldError::required(DATA.key("ssh-privatekey"), ""));
            }
        }
        "kubernetes.io/tls" => {
            require(errors, data, "tls.crt");
            require(errors, data, "tls.key");
        }
        _ => {}
    }
}

fn require(errors: &mut Errors, data: &Value, key: &str) {
    if data.get(key).is_none() {
        errors.push(FieldError::required(DATA.key(key), ""));
    }
}

fn check_json(errors: &mut Errors, data: &Value, key: &str) {
    let Some(encoded) = data.get(key).and_then(Value::as_str) else {
        errors.push(FieldError::required(DATA.key(key), ""));
        return;
    };
    let decoded = base64::engine::general_purpose::STANDARD.decode(encoded).unwrap_or_default();
    if let Err(why) = serde_json::from_slice::<serde_json::Map<String, Value>>(&decoded) {
        let hidden = "<secret contents redacted>";
        errors.push(FieldError::invalid(DATA.key(key), hidden, why.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;
    use serde_json::json;

    fn secret(ty: &str, data: Value) -> Value {
        json!({"metadata": {"name": "a", "namespace": "b"}, "type": ty, "data": data})
    }

    #[test]
    fn types_demand_their_keys() {
        check(validate(&secret("Opaque", json!({"a": "AA=="}))), &[]);
        check(
            validate(&secret("kubernetes.io/tls", json!({}))),
            &["data[tls.crt]: Required value", "data[tls.key]: Required value"],
        );
        check(
            validate(&secret("kubernetes.io/basic-auth", json!({}))),
            &["data[username]: Required value", "data[password]: Required value"],
        );
        check(
            validate(&secret("kubernetes.io/service-account-token", json!({}))),
            &["metadata.annotations[kubernetes.io/service-account.name]: Required value"],
        );
        let good = secret("kubernetes.io/dockerconfigjson", json!({".dockerconfigjson": "e30="}));
        check(validate(&good), &[]);
        let bad = secret("kubernetes.io/dockerconfigjson", json!({".dockerconfigjson": "AAAA"}));
        assert!(validate(&bad)[0].message.contains("<secret contents redacted>"));
    }

    #[test]
    fn the_type_stays() {
        check(
            validate_update(&secret("b", json!({})), &secret("a", json!({}))),
            &["type: Invalid value: \"b\": field is immutable"],
        );
    }
}
