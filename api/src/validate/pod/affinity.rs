//! Rules for node and pod affinity.

use serde_json::Value;

use super::super::{Errors, complain, has, items, labels, number, text};
use crate::field_error::{FieldError, Path};
use crate::names;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// Checks `affinity` of a PodSpec.
pub(super) fn check(errors: &mut Errors, path: &Path<'_>, affinity: &Value) {
    check_node(errors, &path.child("nodeAffinity"), &affinity["nodeAffinity"]);
    for field in ["podAffinity", "podAntiAffinity"] {
        check_pods(errors, &path.child(field), &affinity[field]);
    }
}

fn check_node(errors: &mut Errors, path: &Path<'_>, affinity: &Value) {
    if has(affinity, REQUIRED) {
        check_node_selector(errors, &path.child(REQUIRED), &affinity[REQUIRED]);
    }
    let path = path.child(PREFERRED);
    for (index, preferred) in items(affinity, PREFERRED).iter().enumerate() {
        let path = path.index(index);
        check_weight(errors, &path, preferred);
        check_node_term(errors, &path.child("preference"), &preferred["preference"]);
    }
}

/// Checks a `NodeSelector`: its terms, of which one at least must be there.
pub(in super::super) fn check_node_selector(
    errors: &mut Errors,
    path: &Path<'_>,
    selector: &Value,
) {
    let path = path.child("nodeSelectorTerms");
    let terms = items(selector, "nodeSelectorTerms");
    if terms.is_empty() {
        let words = "must have at least one node selector term";
        errors.push(FieldError::required(path, words));
    }
    for (index, term) in terms.iter().enumerate() {
        check_node_term(errors, &path.index(index), term);
    }
}

fn check_node_term(errors: &mut Errors, path: &Path<'_>, term: &Value) {
    let expressions = path.child("matchExpressions");
    for (index, expression) in items(term, "matchExpressions").iter().enumerate() {
        check_node_expression(errors, &expressions.index(index), expression);
    }
    let fields = path.child("matchFields");
    for (index, field) in items(term, "matchFields").iter().enumerate() {
        check_node_field(errors, &fields.index(index), field);
    }
}

fn check_node_expression(errors: &mut Errors, path: &Path<'_>, expression: &Value) {
    let values = items(expression, "values");
    let values_path = path.child("values");
    match text(expression, "operator") {
        "In" | "NotIn" if values.is_empty() => {
            let words = "must be specified when `operator` is 'In' or 'NotIn'";
            errors.push(FieldError::required(values_path, words));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let words = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.push(FieldError::forbidden(values_path, words));
        }
        "Gt" | "Lt" if values.len() != 1 => {
            let words = "must be specified single value when `operator` is 'Lt' or 'Gt'";
            errors.push(FieldError::required(values_path, words));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        operator => {
            let words = "not a valid selector operator";
            errors.push(FieldError::invalid(path.child("operator"), operator, words));
        }
    }
    let key = text(expression, "key");
    complain(errors, path.child("key"), key, names::qualified_name(key));
    labels::check_values(errors, &values_path, values);
}

fn check_node_field(errors: &mut Errors, path: &Path<'_>, field: &Value) {
    match text(field, "operator") {
        "In" | "NotIn" => {
            if items(field, "values").len() != 1 {
                let words = "must be only one value when `operator` is 'In' or 'NotIn' for node \
                             field selector";
                errors.push(FieldError::required(path.child("values"), words));
            }
        }
        operator => {
            let words = "not a valid selector operator";
            errors.push(FieldError::invalid(path.child("operator"), operator, words));
        }
    }
    let key = text(field, "key");
    if key != "metadata.name" {
        let words = "not a valid field selector key";
        errors.push(FieldError::invalid(path.child("key"), key, words));
    }
}

fn check_pods(errors: &mut Errors, path: &Path<'_>, affinity: &Value) {
    let required = path.child(REQUIRED);
    for (index, term) in items(affinity, REQUIRED).iter().enumerate() {
        check_pod_term(errors, &required.index(index), term);
    }
    let preferred_path = path.child(PREFERRED);
    for (index, preferred) in items(affinity, PREFERRED).iter().enumerate() {
        let path = preferred_path.index(index);
        check_weight(errors, &path, preferred);
        check_pod_term(errors, &path.child("podAffinityTerm"), &preferred["podAffinityTerm"]);
    }
}

fn check_pod_term(errors: &mut Errors, path: &Path<'_>, term: &Value) {
    labels::check_selector(errors, &path.child("labelSelector"), &term["labelSelector"]);
    labels::check_selector(errors, &path.child("namespaceSelector"), &term["namespaceSelector"]);
    for name in items(term, "namespaces").iter().filter_map(Value::as_str) {
        complain(errors, path.child("namespace"), name, names::dns1123_label(name));
    }
    let key = text(term, "topologyKey");
    if key.is_empty() {
        errors.push(FieldError::required(path.child("topologyKey"), "can not be empty"));
    } else {
        complain(errors, path.child("topologyKey"), key, names::qualified_name(key));
    }
}

fn check_weight(errors: &mut Errors, path: &Path<'_>, preferred: &Value) {
    let weight = number(preferred, "weight").unwrap_or_default();
    if !(1..=100).contains(&weight) {
        let words = "must be in the range 1-100";
        errors.push(FieldError::invalid(path.child("weight"), weight, words));
    }
}
