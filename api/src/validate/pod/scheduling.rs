//! Rules for tolerations and topology spread constraints.

use serde_json::Value;

use super::super::{Errors, complain, has, labels, number, one_of, text};
use crate::field_error::{FieldError, Path};
use crate::names;

/// Checks tolerations.
pub(super) fn check_tolerations(errors: &mut Errors, path: &Path<'_>, tolerations: &[Value]) {
    for (index, toleration) in tolerations.iter().enumerate() {
        check_toleration(errors, &path.index(index), toleration);
    }
}

fn check_toleration(errors: &mut Errors, path: &Path<'_>, toleration: &Value) {
    let (key, operator) = (text(toleration, "key"), text(toleration, "operator"));
    let (value, effect) = (text(toleration, "value"), text(toleration, "effect"));
    let operator_path = path.child("operator");
    if !key.is_empty() {
        complain(errors, path.child("key"), key, names::qualified_name(key));
    } else if operator != "Exists" {
        let words = "operator must be Exists when `key` is empty, which means \"match all values \
                     and all keys\"";
        errors.push(FieldError::invalid(operator_path, operator, words));
    }
    if has(toleration, "tolerationSeconds") && effect != "NoExecute" {
        let words = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        errors.push(FieldError::invalid(path.child("effect"), effect, words));
    }
    match operator {
        "Equal" | "" => {
            let complaints = names::label_value(value);
            if !complaints.is_empty() {
                errors.push(FieldError::invalid(operator_path, value, complaints.join(";")));
            }
        }
        "Exists" if !value.is_empty() => {
            let words = "value must be empty when `operator` is 'Exists'";
            errors.push(FieldError::invalid(operator_path, value, words));
        }
        "Exists" => {}
        _ => {
            errors.push(FieldError::not_supported(operator_path, operator, &["Equal", "Exists"]));
        }
    }
    if !effect.is_empty() {
        check_taint_effect(errors, &path.child("effect"), effect);
    }
}

/// Checks the effect of a taint or toleration that has one.
pub(in super::super) fn check_taint_effect(errors: &mut Errors, path: &Path<'_>, effect: &str) {
    let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
    if !effects.contains(&effect) {
        errors.push(FieldError::not_supported(path, effect, &effects));
    }
}

/// Checks topology spread constraints.
pub(super) fn check_spread(errors: &mut Errors, path: &Path<'_>, constraints: &[Value]) {
    for (index, constraint) in constraints.iter().enumerate() {
        let path = path.index(index);
        let skew = number(constraint, "maxSkew").unwrap_or_default();
        if skew <= 0 {
            let words = "must be greater than zero";
            errors.push(FieldError::invalid(path.child("maxSkew"), skew, words));
        }
        let key = text(constraint, "topologyKey");
        let key_path = path.child("topologyKey");
        if key.is_empty() {
            errors.push(FieldError::required(key_path, "can not be empty"));
        } else {
            complain(errors, key_path, key, names::qualified_name(key));
        }
        let when = text(constraint, "whenUnsatisfiable");
        let supported = ["DoNotSchedule", "ScheduleAnyway"];
        one_of(errors, path.child("whenUnsatisfiable"), when, &supported);
        let repeated = constraints[index + 1..].iter().any(|other| {
            text(other, "topologyKey") == key && text(other, "whenUnsatisfiable") == when
        });
        if repeated {
            let path = path.child("{topologyKey, whenUnsatisfiable}");
            errors.push(FieldError::duplicate(path, format!("{{{key}, {when}}}")));
        }
        check_min_domains(errors, &path, constraint, when);
        labels::check_selector(errors, &path.child("labelSelector"), &constraint["labelSelector"]);
    }
}

fn check_min_domains(errors: &mut Errors, path: &Path<'_>, constraint: &Value, when: &str) {
    let Some(domains) = number(constraint, "minDomains") else { return };
    let path = path.child("minDomains");
    if domains <= 0 {
        errors.push(FieldError::invalid(path, domains, "must be greater than zero"));
    }
    if when != "DoNotSchedule" {
        let words =
            format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {when}");
        errors.push(FieldError::invalid(path, domains, words));
    }
}
