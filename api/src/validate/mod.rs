//! What is wrong with an object, kind by kind, in upstream's words.
//!
//! Each kind has `validate` for a new object and `validate_update` (new, old) for a change, which
//! says what may not change as well; some have `validate_status_update`. All look at decoded and
//! defaulted objects: a field of a wrong type does not occur, an absent one is Go's zero value.
//! Nothing here changes an object.
//! *Source:* `k8s.io/kubernetes/pkg/apis/*/validation`.

mod amount;
pub mod apiservice;
pub mod autoscaler;
pub mod configmap;
pub mod controllerrevision;
pub mod cronjob;
pub mod csidriver;
pub mod csinode;
pub mod daemonset;
pub mod definition;
pub mod deployment;
pub mod device;
pub mod disruptionbudget;
pub mod endpoints;
pub mod endpointslice;
pub mod event;
pub mod flowschema;
pub mod ingress;
pub mod ipaddress;
pub mod job;
pub mod labels;
pub mod lease;
pub mod metadata;
pub mod namespace;
pub mod node;
pub mod plain;
pub mod pod;
pub mod podtemplate;
pub mod policy;
pub mod priorityclass;
pub mod prioritylevel;
pub mod quota;
pub mod rbac;
pub mod replicaset;
pub mod replicationcontroller;
mod resources;
pub mod runtimeclass;
pub mod secret;
pub mod service;
pub mod serviceaccount;
pub mod servicecidr;
pub mod signingrequest;
pub(crate) mod spelling;
pub mod statefulset;
pub mod storage;
pub mod storagecapacity;
pub mod volumeattachment;
pub mod volumeattributesclass;
pub mod webhook;
mod workload;

use std::fmt::Display;

use serde_json::Value;

use crate::field_error::FieldError;

/// Words for a field that may not change.
pub(crate) const IMMUTABLE: &str = "field is immutable";

/// Words for a number below zero.
const NEGATIVE: &str = "must be greater than or equal to 0";

/// Most bytes of a mode of a file: octal 0777.
const FILE_MODE_MAX: i64 = 0o777;

/// What was found so far.
type Errors = Vec<FieldError>;

/// Gives a string field, empty when absent.
fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}

/// Gives a list field, empty when absent.
fn items<'a>(object: &'a Value, field: &str) -> &'a [Value] {
    object[field].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Gives a whole number, `None` when absent.
fn number(object: &Value, field: &str) -> Option<i64> {
    object[field].as_i64()
}

/// Tells whether a field is there and not `null`.
fn has(object: &Value, field: &str) -> bool {
    !object[field].is_null()
}

/// Adds one `Invalid value` for each complaint about a value.
fn complain(
    errors: &mut Errors,
    field: impl Display,
    value: impl serde::Serialize,
    complaints: Vec<String>,
) {
    errors.extend(complaints.iter().map(|words| FieldError::invalid(&field, &value, words)));
}

/// Refuses a number below zero.
fn non_negative(errors: &mut Errors, field: impl Display, value: Option<i64>) {
    if let Some(value) = value.filter(|&value| value < 0) {
        errors.push(FieldError::invalid(field, value, NEGATIVE));
    }
}

/// Refuses a change of a field.
fn immutable(errors: &mut Errors, field: impl Display, new: &Value, old: &Value) {
    if !same(new, old) {
        errors.push(FieldError::invalid(field, new, IMMUTABLE));
    }
}

/// Refuses a value that is none of the listed ones; an absent one is required.
fn one_of(errors: &mut Errors, field: impl Display, value: &str, supported: &[&str]) {
    if value.is_empty() {
        errors.push(FieldError::required(field, ""));
    } else if !supported.contains(&value) {
        errors.push(FieldError::not_supported(field, value, supported));
    }
}

/// Tells whether two values mean the same: `null` and an empty list are as good as absent.
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            a.iter().all(|(key, value)| same(value, b.get(key).unwrap_or(&Value::Null)))
                && b.iter().all(|(key, value)| a.contains_key(key) || same(value, &Value::Null))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Null, Value::Array(list)) | (Value::Array(list), Value::Null) => list.is_empty(),
        (a, b) => a == b,
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! One `check` for the tests of all kinds.

    use super::Errors;
    use crate::field_error::FieldError;
    use serde_json::{Value, json};

    /// Makes an object with a selector and a template that fit; `change` replaces members of the spec.
    pub(crate) fn workload(change: Value) -> Value {
        let mut object = json!({
            "metadata": {"name": "a", "namespace": "b"},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": {"app": "web"}},
                "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {
                        "terminationGracePeriodSeconds": 30,
                        "restartPolicy": "Always",
                        "dnsPolicy": "ClusterFirst",
                        "containers": [{"name": "c", "image": "i", "imagePullPolicy": "Always", "terminationMessagePolicy": "File"}],
                    },
                },
            },
        });
        for (field, value) in change.as_object().unwrap() {
            object["spec"][field] = value.clone();
        }
        object
    }

    /// Compares complaints line by line with the expected text.
    pub(crate) fn check(found: Errors, expected: &[&str]) {
        let found: Vec<String> = found.iter().map(FieldError::to_string).collect();
        assert_eq!(found, expected);
    }
}

#[cfg(test)]
mod tests;
