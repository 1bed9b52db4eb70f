//! Rules for labels and label selectors.
//! *Source:* `k8s.io/apimachinery/pkg/apis/meta/v1/validation`.

use serde_json::Value;

use super::{Errors, complain, items, text};
use crate::field_error::{FieldError, Path};
use crate::names;

/// Checks a map of labels.
pub(super) fn check(errors: &mut Errors, path: &Path<'_>, labels: &Value) {
    for (key, value) in labels.as_object().into_iter().flatten() {
        complain(errors, path, key, names::qualified_name(key));
        let value = value.as_str().unwrap_or_default();
        complain(errors, path, value, names::label_value(value));
    }
}

/// Checks a `metav1.LabelSelector`.
pub(super) fn check_selector(errors: &mut Errors, path: &Path<'_>, selector: &Value) {
    check(errors, &path.child("matchLabels"), &selector["matchLabels"]);
    let path = path.child("matchExpressions");
    for (index, expression) in items(selector, "matchExpressions").iter().enumerate() {
        check_expression(errors, &path.index(index), expression);
    }
}

fn check_expression(errors: &mut Errors, path: &Path<'_>, expression: &Value) {
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
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        operator => {
            let words = "not a valid selector operator";
            errors.push(FieldError::invalid(path.child("operator"), operator, words));
        }
    }
    let key = text(expression, "key");
    complain(errors, path.child("key"), key, names::qualified_name(key));
    check_values(errors, &values_path, values);
}

/// Checks the values that a selector compares with.
pub(super) fn check_values(errors: &mut Errors, path: &Path<'_>, values: &[Value]) {
    for (index, value) in values.iter().filter_map(Value::as_str).enumerate() {
        complain(errors, path.index(index), value, names::label_value(value));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors() {
        let selector = json!({
            "matchLabels": {"a/b/c": "x"},
            "matchExpressions": [
                {"key": "a", "operator": "In"},
                {"key": "a", "operator": "Exists", "values": ["x"]},
                {"key": "a", "operator": "Is"},
            ],
        });
        let mut errors = vec![];
        let spec = Path::root("spec");
        check_selector(&mut errors, &spec.child("selector"), &selector);
        assert_eq!(errors.remove(0).field, "spec.selector.matchLabels");
        testing::check(
            errors,
            &[
                "spec.selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
                "spec.selector.matchExpressions[1].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                "spec.selector.matchExpressions[2].operator: Invalid value: \"Is\": not a valid selector operator",
            ],
        );
    }
}
