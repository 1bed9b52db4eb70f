//! Rules for environment variables and the fields they are filled from.

use serde_json::Value;

use super::super::{Errors, complain, has, items, text};
use crate::field_error::{FieldError, Path};
use crate::names;

/// Fields of a Pod that a variable may show.
const ENV_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// Fields of a Pod that a file of a downward API volume may show.
const VOLUME_FIELDS: [&str; 5] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];

/// Resources of a container that may be shown.
const RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

/// Checks `env` and `envFrom` of a container at `path`.
pub(super) fn check(errors: &mut Errors, path: &Path<'_>, container: &Value) {
    let env = path.child("env");
    for (index, variable) in items(container, "env").iter().enumerate() {
        let path = env.index(index);
        let name = text(variable, "name");
        if name.is_empty() {
            errors.push(FieldError::required(path.child("name"), ""));
        } else {
            complain(errors, path.child("name"), name, names::env_var_name(name));
        }
        check_value_from(errors, &path.child("valueFrom"), variable);
    }
    let env_from = path.child("envFrom");
    for (index, source) in items(container, "envFrom").iter().enumerate() {
        check_source(errors, &env_from, index, source);
    }
}

fn check_value_from(errors: &mut Errors, path: &Path<'_>, variable: &Value) {
    let source = &variable["valueFrom"];
    if source.is_null() {
        return;
    }
    let mut number = 0;
    for field in ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef"] {
        let (path, source) = (path.child(field), &source[field]);
        if source.is_null() {
            continue;
        }
        number += 1;
        match field {
            "fieldRef" => check_field_ref(errors, &path, source, &ENV_FIELDS),
            "resourceFieldRef" => check_resource_ref(errors, &path, source),
            _ => check_key_ref(errors, &path, source),
        }
    }
    if number == 0 {
        let words = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, \
                     `secretKeyRef` or `fileKeyRef`";
        errors.push(FieldError::invalid(path, "", words));
    } else if !text(variable, "value").is_empty() {
        let words = "may not be specified when `value` is not empty";
        errors.push(FieldError::invalid(path, "", words));
    }
    if number > 1 {
        let words = "may not have more than one field specified at a time";
        errors.push(FieldError::invalid(path, "", words));
    }
}

fn check_source(errors: &mut Errors, list: &Path<'_>, index: usize, source: &Value) {
    let path = list.index(index);
    let prefix = text(source, "prefix");
    if !prefix.is_empty() {
        complain(errors, path.child("prefix"), prefix, names::env_var_name(prefix));
    }
    let mut number = 0;
    for field in ["configMapRef", "secretRef"] {
        if has(source, field) {
            number += 1;
            check_object_name(errors, &path.child(field), &source[field]);
        }
    }
    if number == 0 {
        let words = "must specify one of: `configMapRef` or `secretRef`";
        errors.push(FieldError::invalid(list, "", words));
    } else if number > 1 {
        let words = "may not have more than one field specified at a time";
        errors.push(FieldError::invalid(list, "", words));
    }
}

fn check_object_name(errors: &mut Errors, path: &Path<'_>, source: &Value) {
    let name = text(source, "name");
    if name.is_empty() {
        errors.push(FieldError::required(path.child("name"), ""));
    } else {
        complain(errors, path.child("name"), name, names::dns1123_subdomain(name));
    }
}

fn check_key_ref(errors: &mut Errors, path: &Path<'_>, source: &Value) {
    let (name, key) = (text(source, "name"), text(source, "key"));
    if !name.is_empty() {
        complain(errors, path.child("name"), name, names::dns1123_subdomain(name));
    }
    if key.is_empty() {
        errors.push(FieldError::required(path.child("key"), ""));
    } else {
        complain(errors, path.child("key"), key, names::config_map_key(key));
    }
}

/// Checks a `fieldRef` of a file of a downward API volume.
pub(super) fn check_volume_field_ref(errors: &mut Errors, path: &Path<'_>, source: &Value) {
    check_field_ref(errors, path, source, &VOLUME_FIELDS);
}

fn check_field_ref(errors: &mut Errors, path: &Path<'_>, source: &Value, supported: &[&str]) {
    if text(source, "apiVersion").is_empty() {
        errors.push(FieldError::required(path.child("apiVersion"), ""));
    }
    let field = text(source, "fieldPath");
    let path = path.child("fieldPath");
    if field.is_empty() {
        errors.push(FieldError::required(path, ""));
    } else if let Some((map, key)) = subscript(field) {
        check_subscript(errors, &path, map, key);
    } else if !supported.contains(&field) {
        errors.push(FieldError::not_supported(path, field, supported));
    }
}

/// Splits `metadata.labels['key']` into the map and the key.
fn subscript(field: &str) -> Option<(&str, &str)> {
    let (map, rest) = field.split_once("['")?;
    Some((map, rest.strip_suffix("']")?))
}

fn check_subscript(errors: &mut Errors, path: &Path<'_>, map: &str, key: &str) {
    match map {
        "metadata.labels" => complain(errors, path, key, names::qualified_name(key)),
        "metadata.annotations" => {
            complain(errors, path, key, names::qualified_name(&key.to_ascii_lowercase()));
        }
        _ => errors.push(FieldError::invalid(path, map, "does not support subscript")),
    }
}

/// Checks a `resourceFieldRef`.
pub(super) fn check_resource_ref(errors: &mut Errors, path: &Path<'_>, source: &Value) {
    let resource = text(source, "resource");
    if resource.is_empty() {
        errors.push(FieldError::required(path.child("resource"), ""));
    } else if !RESOURCES.contains(&resource)
        && !resource.starts_with("requests.hugepages-")
        && !resource.starts_with("limits.hugepages-")
    {
        errors.push(FieldError::not_supported(path.child("resource"), resource, &RESOURCES));
    }
}
