//! Rules for roles and their bindings. *Source:* `pkg/apis/rbac/validation`.

use serde_json::Value;

use super::{Errors, complain, items, labels, metadata, text};
use crate::field_error::{FieldError, Path};
use crate::names;

const GROUP: &str = "rbac.authorization.k8s.io";

/// Checks a new Role.
pub fn validate_role(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, true, names::path_segment);
    check_rules(&mut errors, object, true);
    errors
}

/// Checks a changed Role.
pub fn validate_role_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    check_rules(&mut errors, new, true);
    errors
}

/// Checks a new ClusterRole.
pub fn validate_cluster_role(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, false, names::path_segment);
    check_cluster_role(&mut errors, object);
    errors
}

/// Checks a changed ClusterRole.
pub fn validate_cluster_role_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    check_cluster_role(&mut errors, new);
    errors
}

fn check_cluster_role(errors: &mut Errors, object: &Value) {
    check_rules(errors, object, false);
    let aggregation = &object["aggregationRule"];
    if aggregation.is_null() {
        return;
    }
    let path = Path::root("aggregationRule");
    let path = path.child("clusterRoleSelectors");
    let selectors = items(aggregation, "clusterRoleSelectors");
    if selectors.is_empty() {
        let words = "at least one clusterRoleSelector required if aggregationRule is non-nil";
        errors.push(FieldError::required(path, words));
    }
    for (index, selector) in selectors.iter().enumerate() {
        labels::check_selector(errors, &path.index(index), selector);
    }
}

fn check_rules(errors: &mut Errors, object: &Value, namespaced: bool) {
    let path = Path::root("rules");
    for (index, rule) in items(object, "rules").iter().enumerate() {
        check_rule(errors, &path.index(index), rule, namespaced);
    }
}

fn check_rule(errors: &mut Errors, path: &Path<'_>, rule: &Value, namespaced: bool) {
    let given = |field: &str| !items(rule, field).is_empty();
    if !given("verbs") {
        errors.push(FieldError::required(
            path.child("verbs"),
            "verbs must contain at least one value",
        ));
    }
    if given("nonResourceURLs") {
        let place = path.child("nonResourceURLs");
        let urls = &rule["nonResourceURLs"];
        if namespaced {
            let words = "namespaced rules cannot apply to non-resource URLs";
            errors.push(FieldError::invalid(place, urls, words));
        }
        if given("apiGroups") || given("resources") || given("resourceNames") {
            let words = "rules cannot apply to both regular resources and non-resource URLs";
            errors.push(FieldError::invalid(place, urls, words));
        }
        return;
    }
    for (field, words) in [
        ("apiGroups", "resource rules must supply at least one api group"),
        ("resources", "resource rules must supply at least one resource"),
    ] {
        if !given(field) {
            errors.push(FieldError::required(path.child(field), words));
        }
    }
}

/// Checks a new RoleBinding.
pub fn validate_binding(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, true, names::path_segment);
    check_binding(&mut errors, object, &["ClusterRole", "Role"]);
    errors
}

/// Checks a changed RoleBinding: its role stays.
pub fn validate_binding_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    check_binding(&mut errors, new, &["ClusterRole", "Role"]);
    keep_role(&mut errors, new, old);
    errors
}

/// Checks a new ClusterRoleBinding.
pub fn validate_cluster_binding(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, false, names::path_segment);
    check_binding(&mut errors, object, &["ClusterRole"]);
    errors
}

/// Checks a changed ClusterRoleBinding: its role stays.
pub fn validate_cluster_binding_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    check_binding(&mut errors, new, &["ClusterRole"]);
    keep_role(&mut errors, new, old);
    errors
}

fn keep_role(errors: &mut Errors, new: &Value, old: &Value) {
    if new["roleRef"] != old["roleRef"] {
        errors.push(FieldError::invalid("roleRef", &new["roleRef"], "cannot change roleRef"));
    }
}

fn check_binding(errors: &mut Errors, object: &Value, kinds: &[&str]) {
    let (path, role) = (Path::root("roleRef"), &object["roleRef"]);
    let group = text(role, "apiGroup");
    if group != GROUP {
        errors.push(FieldError::not_supported(path.child("apiGroup"), group, &[GROUP]));
    }
    let kind = text(role, "kind");
    if !kinds.contains(&kind) {
        errors.push(FieldError::not_supported(path.child("kind"), kind, kinds));
    }
    let name = text(role, "name");
    if name.is_empty() {
        errors.push(FieldError::required(path.child("name"), ""));
    } else {
        complain(errors, path.child("name"), name, names::path_segment(name));
    }
    let path = Path::root("subjects");
    let namespaced = kinds.len() > 1;
    for (index, subject) in items(object, "subjects").iter().enumerate() {
        check_subject(errors, &path.index(index), subject, namespaced);
    }
}

fn check_subject(errors: &mut Errors, path: &Path<'_>, subject: &Value, namespaced: bool) {
    let name = text(subject, "name");
    if name.is_empty() {
        errors.push(FieldError::required(path.child("name"), ""));
    }
    let group = text(subject, "apiGroup");
    match text(subject, "kind") {
        "ServiceAccount" => {
            if !name.is_empty() {
                complain(errors, path.child("name"), name, names::dns1123_subdomain(name));
            }
            if !group.is_empty() {
                errors.push(FieldError::not_supported(path.child("apiGroup"), group, &[""]));
            }
            if !namespaced && text(subject, "namespace").is_empty() {
                errors.push(FieldError::required(path.child("namespace"), ""));
            }
        }
        "User" | "Group" if group != GROUP => {
            errors.push(FieldError::not_supported(path.child("apiGroup"), group, &[GROUP]));
        }
        "User" | "Group" => {}
        kind => {
            let kinds = ["Group", "ServiceAccount", "User"];
            errors.push(FieldError::not_supported(path.child("kind"), kind, &kinds));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;
    use serde_json::json;

    #[test]
    fn rules() {
        let role =
            |rule: Value| json!({"metadata": {"name": "a:b", "namespace": "b"}, "rules": [rule]});
        check(
            validate_role(&role(
                json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}),
            )),
            &[],
        );
        check(
            validate_role(&role(json!({"nonResourceURLs": ["/x"]}))),
            &[
                "rules[0].verbs: Required value: verbs must contain at least one value",
                "rules[0].nonResourceURLs: Invalid value: [\"/x\"]: namespaced rules cannot apply to non-resource URLs",
            ],
        );
        check(
            validate_role(&role(json!({"verbs": ["get"]}))),
            &[
                "rules[0].apiGroups: Required value: resource rules must supply at least one api group",
                "rules[0].resources: Required value: resource rules must supply at least one resource",
            ],
        );
    }

    #[test]
    fn bindings() {
        let binding = |kind: &str, subject: Value| {
            json!({"metadata": {"name": "a"}, "subjects": [subject],
                "roleRef": {"apiGroup": GROUP, "kind": kind, "name": "r"}})
        };
        let user = json!({"kind": "User", "name": "u", "apiGroup": GROUP});
        let good = binding("ClusterRole", user.clone());
        check(validate_cluster_binding(&good), &[]);
        check(
            validate_cluster_binding(&binding(
                "Role",
                json!({"kind": "ServiceAccount", "name": "s"}),
            )),
            &[
                "roleRef.kind: Unsupported value: \"Role\": supported values: \"ClusterRole\"",
                "subjects[0].namespace: Required value",
            ],
        );
        let mut other = good.clone();
        other["roleRef"]["name"] = json!("x");
        check(
            validate_cluster_binding_update(&other, &good),
            &[
                "roleRef: Invalid value: {\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\",\"name\":\"x\"}: cannot change roleRef",
            ],
        );
    }
}
