//! Rules for admission policies and their bindings. *Source:* `pkg/apis/admissionregistration/validation`.

use serde_json::Value;

use super::{Errors, has, items, metadata, one_of, text, webhook};
use crate::cel::{Expression, Makes};
use crate::field_error::{FieldError, Path};
use crate::names;

const SPEC: Path<'static> = Path::root("spec");
const OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const REASONS: &[&str] = &["Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"];

/// Checks a new ValidatingAdmissionPolicy.
pub fn validate_validating(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, false, names::dns1123_subdomain);
    check_validating(&mut errors, &object["spec"]);
    errors
}

/// Checks a changed ValidatingAdmissionPolicy.
pub fn validate_validating_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    if new["spec"] != old["spec"] {
        check_validating(&mut errors, &new["spec"]);
    }
    errors
}

/// Checks a new MutatingAdmissionPolicy.
pub fn validate_mutating(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, false, names::dns1123_subdomain);
    check_mutating(&mut errors, &object["spec"]);
    errors
}

/// Checks a changed MutatingAdmissionPolicy.
pub fn validate_mutating_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    if new["spec"] != old["spec"] {
        check_mutating(&mut errors, &new["spec"]);
    }
    errors
}

/// Checks a new ValidatingAdmissionPolicyBinding.
pub fn validate_binding(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, false, names::dns1123_subdomain);
    check_binding(&mut errors, &object["spec"]);
    check_actions(&mut errors, &object["spec"]);
    errors
}

/// Checks a changed ValidatingAdmissionPolicyBinding.
pub fn validate_binding_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    check_binding(&mut errors, &new["spec"]);
    check_actions(&mut errors, &new["spec"]);
    errors
}

/// Checks a new MutatingAdmissionPolicyBinding.
pub fn validate_mutating_binding(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, false, names::dns1123_subdomain);
    check_binding(&mut errors, &object["spec"]);
    errors
}

/// Checks a changed MutatingAdmissionPolicyBinding.
pub fn validate_mutating_binding_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    check_binding(&mut errors, &new["spec"]);
    errors
}

/// Checks a new configuration of webhooks: the conditions under which they are asked.
pub fn validate_webhooks(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, false, names::dns1123_subdomain);
    check_webhooks(&mut errors, object);
    errors
}

/// Checks a changed configuration of webhooks.
pub fn validate_webhooks_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    if new["webhooks"] != old["webhooks"] {
        check_webhooks(&mut errors, new);
    }
    errors
}

fn check_webhooks(errors: &mut Errors, object: &Value) {
    webhook::check(errors, object);
    let speech = Speech(vec!["object", "oldObject", "request", "authorizer"]);
    let path = Path::root("webhooks");
    for (index, webhook) in items(object, "webhooks").iter().enumerate() {
        let path = path.index(index);
        check_named(
            errors,
            path.child("matchConditions"),
            items(webhook, "matchConditions"),
            &speech,
        );
    }
}

/// Checks expressions that have names of their own.
fn check_named(errors: &mut Errors, path: Path<'_>, list: &[Value], speech: &Speech) {
    let mut names: Vec<&str> = Vec::new();
    for (index, item) in list.iter().enumerate() {
        let path = path.index(index);
        let name = text(item, "name");
        if name.is_empty() {
            errors.push(FieldError::required(path.child("name"), ""));
        } else if names.contains(&name) {
            errors.push(FieldError::duplicate(path.child("name"), name));
        }
        names.push(name);
        let expression = text(item, "expression");
        speech.check(errors, path.child("expression"), expression, Makes::Nothing);
    }
}

/// What the expressions of a policy may speak of.
struct Speech(Vec<&'static str>);

impl Speech {
    fn of(spec: &Value) -> Speech {
        let mut names =
            vec!["object", "oldObject", "request", "namespaceObject", "authorizer", "variables"];
        if has(spec, "paramKind") {
            names.push("params");
        }
        Speech(names)
    }

    /// Checks an expression that must be there.
    fn check(&self, errors: &mut Errors, path: Path<'_>, text: &str, makes: Makes) {
        if text.trim().is_empty() {
            errors.push(FieldError::required(path, ""));
        } else if let Err(error) = Expression::compile_making(text, &self.0, makes) {
            errors.push(FieldError::invalid(path, text, error.to_string()));
        }
    }
}

fn check_validating(errors: &mut Errors, spec: &Value) {
    let speech = Speech::of(spec);
    check_common(errors, spec, &speech);
    let (validations, annotations) = (items(spec, "validations"), items(spec, "auditAnnotations"));
    let path = SPEC.child("validations");
    if validations.is_empty() && annotations.is_empty() {
        let words = "validations or auditAnnotations must contain at least one item";
        errors.push(FieldError::required(path, words));
    }
    for (index, validation) in validations.iter().enumerate() {
        let path = path.index(index);
        let expression = text(validation, "expression");
        speech.check(errors, path.child("expression"), expression, Makes::Nothing);
        if has(validation, "messageExpression") {
            let made = text(validation, "messageExpression");
            speech.check(errors, path.child("messageExpression"), made, Makes::Nothing);
        }
        let message = text(validation, "message");
        if message.contains('\n') {
            let words = "must not contain line breaks";
            errors.push(FieldError::invalid(path.child("message"), message, words));
        }
        if has(validation, "reason") {
            one_of(errors, path.child("reason"), text(validation, "reason"), REASONS);
        }
    }
    let path = SPEC.child("auditAnnotations");
    for (index, annotation) in annotations.iter().enumerate() {
        let path = path.index(index);
        if text(annotation, "key").is_empty() {
            errors.push(FieldError::required(path.child("key"), ""));
        }
        let value = text(annotation, "valueExpression");
        speech.check(errors, path.child("valueExpression"), value, Makes::Nothing);
    }
}

fn check_mutating(errors: &mut Errors, spec: &Value) {
    let speech = Speech::of(spec);
    check_common(errors, spec, &speech);
    let path = SPEC.child("reinvocationPolicy");
    one_of(errors, path, text(spec, "reinvocationPolicy"), &["IfNeeded", "Never"]);
    let path = SPEC.child("mutations");
    if items(spec, "mutations").is_empty() {
        let words = "mutations must contain at least one item";
        errors.push(FieldError::required(path, words));
    }
    for (index, mutation) in items(spec, "mutations").iter().enumerate() {
        let path = path.index(index);
        let kinds = [("ApplyConfiguration", "applyConfiguration"), ("JSONPatch", "jsonPatch")];
        let patch_type = text(mutation, "patchType");
        one_of(errors, path.child("patchType"), patch_type, &kinds.map(|(name, _)| name));
        for (name, field) in kinds {
            let path = path.child(field);
            if name != patch_type && has(mutation, field) {
                let words = format!("must not be set when `patchType` is '{patch_type}'");
                errors.push(FieldError::forbidden(path, words));
            } else if name == patch_type && !has(mutation, field) {
                errors.push(FieldError::required(path, format!("must be set for '{name}'")));
            } else if name == patch_type {
                let expression = text(&mutation[field], "expression");
                speech.check(errors, path.child("expression"), expression, Makes::Mutations);
            }
        }
    }
}

/// What both kinds of policies have.
fn check_common(errors: &mut Errors, spec: &Value, speech: &Speech) {
    one_of(errors, SPEC.child("failurePolicy"), text(spec, "failurePolicy"), &["Fail", "Ignore"]);
    let path = SPEC.child("paramKind");
    if has(spec, "paramKind") {
        for field in ["apiVersion", "kind"] {
            if text(&spec["paramKind"], field).is_empty() {
                errors.push(FieldError::required(path.child(field), ""));
            }
        }
    }
    let path = SPEC.child("matchConstraints");
    if !has(spec, "matchConstraints") {
        errors.push(FieldError::required(path, ""));
    } else {
        if items(&spec["matchConstraints"], "resourceRules").is_empty() {
            errors.push(FieldError::required(path.child("resourceRules"), ""));
        }
        check_resources(errors, &path, &spec["matchConstraints"]);
    }
    for list in ["matchConditions", "variables"] {
        check_named(errors, SPEC.child(list), items(spec, list), speech);
    }
}

fn check_resources(errors: &mut Errors, path: &Path<'_>, constraints: &Value) {
    for list in ["resourceRules", "excludeResourceRules"] {
        let path = path.child(list);
        for (index, rule) in items(constraints, list).iter().enumerate() {
            let path = path.index(index);
            for field in ["apiGroups", "apiVersions", "operations", "resources"] {
                if items(rule, field).is_empty() {
                    errors.push(FieldError::required(path.child(field), ""));
                }
            }
            let operations = path.child("operations");
            for (index, operation) in items(rule, "operations").iter().enumerate() {
                let operation = operation.as_str().unwrap_or_default();
                one_of(errors, operations.index(index), operation, OPERATIONS);
            }
        }
    }
}

fn check_binding(errors: &mut Errors, spec: &Value) {
    let path = SPEC.child("policyName");
    let name = text(spec, "policyName");
    if name.is_empty() {
        errors.push(FieldError::required(path, ""));
    } else {
        super::complain(errors, path, name, names::dns1123_subdomain(name));
    }
    if has(spec, "matchResources") {
        check_resources(errors, &SPEC.child("matchResources"), &spec["matchResources"]);
    }
    if !has(spec, "paramRef") {
        return;
    }
    let (path, reference) = (SPEC.child("paramRef"), &spec["paramRef"]);
    match (text(reference, "name").is_empty(), has(reference, "selector")) {
        (true, false) => {
            errors.push(FieldError::required(path, "one of name or selector must be specified"));
        }
        (false, true) => {
            let words = "name and selector are mutually exclusive";
            errors.push(FieldError::forbidden(path.child("name"), words));
        }
        (true, true) | (false, false) => {}
    }
    let action = text(reference, "parameterNotFoundAction");
    one_of(errors, path.child("parameterNotFoundAction"), action, &["Allow", "Deny"]);
}

fn check_actions(errors: &mut Errors, spec: &Value) {
    let path = SPEC.child("validationActions");
    let actions: Vec<&str> =
        items(spec, "validationActions").iter().filter_map(Value::as_str).collect();
    if actions.is_empty() {
        errors.push(FieldError::required(path, ""));
    }
    for (index, action) in actions.iter().enumerate() {
        one_of(errors, path.index(index), action, &["Audit", "Deny", "Warn"]);
        if actions.iter().take(index).any(|other| other == action) {
            errors.push(FieldError::duplicate(path.index(index), action));
        }
    }
    if actions.contains(&"Deny") && actions.contains(&"Warn") {
        let words = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";
        errors.push(FieldError::invalid(path, &actions, words));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;
    use serde_json::json;

    fn policy(change: Value) -> Value {
        let mut object = json!({"metadata": {"name": "p"}, "spec": {
            "failurePolicy": "Fail", "reinvocationPolicy": "Never",
            "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"],
                "operations": ["CREATE"], "resources": ["pods"]}]},
        }});
        for (field, value) in change.as_object().unwrap() {
            object["spec"][field] = value.clone();
        }
        object
    }

    #[test]
    fn validating_policies() {
        check(validate_validating(&policy(json!({"validations": [{"expression": "true"}]}))), &[]);
        check(
            validate_validating(&policy(json!({}))),
            &[
                "spec.validations: Required value: validations or auditAnnotations must contain at least one item",
            ],
        );
        let broken = json!({"validations": [{"expression": "params.x == 1", "reason": "Odd"},
            {"expression": "Object{} != null"}], "matchConstraints": null});
        check(
            validate_validating(&policy(broken)),
            &[
                "spec.matchConstraints: Required value",
                "spec.validations[0].expression: Invalid value: \"params.x == 1\": compilation failed: undeclared reference to 'params' (in container '')",
                "spec.validations[0].reason: Unsupported value: \"Odd\": supported values: \"Forbidden\", \"Invalid\", \"RequestEntityTooLarge\", \"Unauthorized\"",
                "spec.validations[1].expression: Invalid value: \"Object{} != null\": compilation failed: undeclared reference to 'Object' (in container '')",
            ],
        );
    }

    #[test]
    fn mutating_policies() {
        let good = json!({"mutations": [
            {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{spec: Object.spec{priority: 1}}"}},
            {"patchType": "JSONPatch", "jsonPatch": {"expression": "[JSONPatch{op: 'remove', path: '/spec'}]"}},
        ]});
        check(validate_mutating(&policy(good)), &[]);
        let bad = json!({"mutations": [{"patchType": "JSONPatch", "applyConfiguration": {"expression": "Object{}"}}]});
        check(
            validate_mutating(&policy(bad)),
            &[
                "spec.mutations[0].applyConfiguration: Forbidden: must not be set when `patchType` is 'JSONPatch'",
                "spec.mutations[0].jsonPatch: Required value: must be set for 'JSONPatch'",
            ],
        );
        check(
            validate_mutating(&policy(json!({"mutations": []}))),
            &["spec.mutations: Required value: mutations must contain at least one item"],
        );
    }

    #[test]
    fn conditions_of_webhooks() {
        let hooks = |expression: &str| {
            json!({"metadata": {"name": "c"}, "webhooks": [{"name": "a.b.c", "sideEffects": "None",
                "clientConfig": {"url": "https://x"}, "admissionReviewVersions": ["v1"],
                "matchConditions": [{"name": "one", "expression": expression}]}]})
        };
        check(validate_webhooks(&hooks("request.userInfo.username != 'x'")), &[]);
        check(
            validate_webhooks(&hooks("params.x")),
            &[
                "webhooks[0].matchConditions[0].expression: Invalid value: \"params.x\": compilation failed: undeclared reference to 'params' (in container '')",
            ],
        );
    }

    #[test]
    fn bindings() {
        let binding = |spec: Value| json!({"metadata": {"name": "b"}, "spec": spec});
        let good = json!({"policyName": "p", "validationActions": ["Deny"]});
        check(validate_binding(&binding(good.clone())), &[]);
        check(validate_mutating_binding(&binding(good)), &[]);
        let bad = json!({"paramRef": {"name": "x", "selector": {}}, "validationActions": []});
        check(
            validate_binding(&binding(bad)),
            &[
                "spec.policyName: Required value",
                "spec.paramRef.name: Forbidden: name and selector are mutually exclusive",
                "spec.paramRef.parameterNotFoundAction: Required value",
                "spec.validationActions: Required value",
            ],
        );
    }
}
