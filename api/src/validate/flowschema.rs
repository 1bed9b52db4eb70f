//! Rules for FlowSchemas: which requests go to which priority level.
//!
//! *Source:* `ValidateFlowSchema` in `pkg/apis/flowcontrol/validation`.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::{Errors, complain, has, items, metadata, number, same, text};
use crate::field_error::{FieldError, Path};
use crate::names;

const SPEC: Path<'static> = Path::root("spec");

/// Highest number in the order in which FlowSchemas are tried.
const PRECEDENCE_MAX: i64 = 10_000;

const VERBS: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];

/// Checks a new FlowSchema.
pub fn validate(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, false, names::dns1123_subdomain);
    check(&mut errors, object);
    errors
}

/// Checks a changed FlowSchema.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    check(&mut errors, new);
    errors
}

/// Checks a changed status of a FlowSchema.
pub fn validate_status_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    check_conditions(&mut errors, new);
    errors
}

/// Gives the spec that one of the two schemas without which nothing works has for good.
pub fn mandatory(name: &str) -> Option<Value> {
    let group = |name: &str| json!({"kind": "Group", "group": {"name": name}});
    let all = |subjects: Vec<Value>| {
        json!([{"subjects": subjects,
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true, "namespaces": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]}])
    };
    match name {
        "exempt" => {
            Some(json!({"matchingPrecedence": 1, "priorityLevelConfiguration": {"name": name},
            "rules": all(vec![group("system:masters")])}))
        }
        "catch-all" => {
            let everybody = vec![group("system:unauthenticated"), group("system:authenticated")];
            Some(
                json!({"matchingPrecedence": PRECEDENCE_MAX, "priorityLevelConfiguration": {"name": name},
                "distinguisherMethod": {"type": "ByUser"}, "rules": all(everybody)}),
            )
        }
        _ => None,
    }
}

fn check(errors: &mut Errors, object: &Value) {
    let (name, spec) = (text(&object["metadata"], "name"), &object["spec"]);
    check_spec(errors, name, spec);
    if mandatory(name).is_some_and(|fixed| !same(spec, &fixed)) {
        let words = format!("spec of '{name}' must equal the fixed value");
        errors.push(FieldError::invalid("spec", spec, words));
    }
    check_conditions(errors, object);
}

fn check_spec(errors: &mut Errors, name: &str, spec: &Value) {
    let path = SPEC.child("matchingPrecedence");
    let precedence = number(spec, "matchingPrecedence").unwrap_or_default();
    if precedence <= 0 {
        errors.push(FieldError::invalid(path, precedence, "must be a positive value"));
    }
    if precedence > PRECEDENCE_MAX {
        let words = format!("must not be greater than {PRECEDENCE_MAX}");
        errors.push(FieldError::invalid(path, precedence, words));
    }
    if precedence == 1 && name != "exempt" {
        let words = "only the schema named 'exempt' may have matchingPrecedence 1";
        errors.push(FieldError::invalid(path, precedence, words));
    }
    let method = &spec["distinguisherMethod"];
    let methods = ["ByNamespace", "ByUser"];
    if has(spec, "distinguisherMethod") && !methods.contains(&text(method, "type")) {
        let path = SPEC.child("distinguisherMethod");
        errors.push(FieldError::not_supported(path.child("type"), method, &methods));
    }
    let level = text(&spec["priorityLevelConfiguration"], "name");
    let path = SPEC.child("priorityLevelConfiguration");
    let path = path.child("name");
    if level.is_empty() {
        errors.push(FieldError::required(path, "must reference a priority level"));
    } else {
        complain(errors, path, level, names::dns1123_subdomain(level));
    }
    let path = SPEC.child("rules");
    for (index, rule) in items(spec, "rules").iter().enumerate() {
        check_rule(errors, &path.index(index), rule);
    }
}

fn check_rule(errors: &mut Errors, path: &Path<'_>, rule: &Value) {
    let subjects = items(rule, "subjects");
    let subjects_path = path.child("subjects");
    if subjects.is_empty() {
        let words = "subjects must contain at least one value";
        errors.push(FieldError::required(subjects_path, words));
    }
    for (index, subject) in subjects.iter().enumerate() {
        check_subject(errors, &subjects_path.index(index), subject);
    }
    let (resources, others) = (items(rule, "resourceRules"), items(rule, "nonResourceRules"));
    if resources.is_empty() && others.is_empty() {
        let words = "at least one of resourceRules and nonResourceRules has to be non-empty";
        errors.push(FieldError::required(path, words));
    }
    let resources_path = path.child("resourceRules");
    for (index, rule) in resources.iter().enumerate() {
        check_resources(errors, &resources_path.index(index), rule);
    }
    let others_path = path.child("nonResourceRules");
    for (index, rule) in others.iter().enumerate() {
        let path = others_path.index(index);
        check_verbs(errors, &path, rule);
        check_urls(errors, &path.child("nonResourceURLs"), rule);
    }
}

/// The kinds of subjects, and the field that each has.
const SUBJECTS: [(&str, &str); 3] =
    [("Group", "group"), ("ServiceAccount", "serviceAccount"), ("User", "user")];

fn check_subject(errors: &mut Errors, path: &Path<'_>, subject: &Value) {
    let kind = text(subject, "kind");
    let Some((_, own)) = SUBJECTS.iter().find(|(known, _)| *known == kind) else {
        let known = SUBJECTS.map(|(kind, _)| kind);
        return errors.push(FieldError::not_supported(path.child("kind"), kind, &known));
    };
    let own_path = path.child(own);
    let value = &subject[*own];
    if value.is_null() {
        let words = format!("{own} is required when subject kind is '{kind}'");
        errors.push(FieldError::required(own_path, words));
    } else if kind == "ServiceAccount" {
        check_account(errors, &own_path, value);
    } else if text(value, "name").is_empty() {
        errors.push(FieldError::required(own_path.child("name"), ""));
    }
    for (kind, other) in ["ServiceAccount", "User", "Group"].into_iter().filter_map(|kind| {
        let (_, field) = SUBJECTS.iter().find(|(known, _)| *known == kind)?;
        Some((kind, *field))
    }) {
        if other != *own && has(subject, other) {
            let words = format!("{other} is forbidden when subject kind is not '{kind}'");
            errors.push(FieldError::forbidden(path.child(other), words));
        }
    }
}

fn check_account(errors: &mut Errors, path: &Path<'_>, account: &Value) {
    let name = text(account, "name");
    if name.is_empty() {
        errors.push(FieldError::required(path.child("name"), ""));
    } else if name != "*" {
        complain(errors, path.child("name"), name, names::dns1123_subdomain(name));
    }
    let namespace = text(account, "namespace");
    if namespace.is_empty() {
        let words = "must specify namespace for service account";
        errors.push(FieldError::required(path.child("namespace"), words));
    } else {
        complain(errors, path.child("namespace"), namespace, names::dns1123_label(namespace));
    }
}

fn is_wild(list: &[Value]) -> bool {
    list.iter().any(|one| one == "*")
}

/// Refuses more beside `*`; tells whether that is in the list.
fn check_wild(errors: &mut Errors, path: Path<'_>, list: &[Value], what: &str) -> bool {
    if is_wild(list) && list.len() > 1 {
        let words = format!("if '*' is present, must not specify other {what}");
        errors.push(FieldError::invalid(path, list, words));
    }
    is_wild(list)
}

fn check_verbs(errors: &mut Errors, path: &Path<'_>, rule: &Value) {
    let verbs = items(rule, "verbs");
    let path = path.child("verbs");
    if verbs.is_empty() {
        errors.push(FieldError::required(path, "verbs must contain at least one value"));
    } else if !check_wild(errors, path, verbs, "verbs")
        && !verbs.iter().filter_map(Value::as_str).all(|verb| VERBS.contains(&verb))
    {
        errors.push(FieldError::not_supported(path, verbs, VERBS));
    }
}

fn check_resources(errors: &mut Errors, path: &Path<'_>, rule: &Value) {
    check_verbs(errors, path, rule);
    for (field, what, one) in
        [("apiGroups", "api groups", "api group"), ("resources", "resources", "resource")]
    {
        let list = items(rule, field);
        if list.is_empty() {
            let words = format!("resource rules must supply at least one {one}");
            errors.push(FieldError::required(path.child(field), words));
        }
        check_wild(errors, path.child(field), list, what);
    }
    let namespaces = items(rule, "namespaces");
    let path = path.child("namespaces");
    if namespaces.is_empty() && rule["clusterScope"] != true {
        let words = "resource rules that are not cluster scoped must supply at least one namespace";
        errors.push(FieldError::required(path, words));
    } else if !check_wild(errors, path, namespaces, "namespaces") {
        for (index, namespace) in namespaces.iter().filter_map(Value::as_str).enumerate() {
            let begin = "each member of this list must be '*' or a DNS-1123 label; ";
            let wrong = names::dns1123_label(namespace).into_iter();
            let wrong = wrong.map(|words| format!("{begin}{words}")).collect();
            complain(errors, path.index(index), namespace, wrong);
        }
    }
}

fn check_urls(errors: &mut Errors, path: &Path<'_>, rule: &Value) {
    let urls = items(rule, "nonResourceURLs");
    if urls.is_empty() {
        let words = "nonResourceURLs must contain at least one value";
        errors.push(FieldError::required(path, words));
    } else if !check_wild(errors, *path, urls, "non-resource URLs") {
        for (index, url) in urls.iter().filter_map(Value::as_str).enumerate() {
            complain(errors, path.index(index), url, url_complaint(url).into_iter().collect());
        }
    }
}

fn url_complaint(url: &str) -> Option<String> {
    let words = match url {
        "" => "must not be empty",
        "/" => return None,
        _ if !url.starts_with('/') => "must start with slash",
        _ if url.contains(' ') => "must not contain white-space",
        _ if url.contains("//") => "must not contain double slash",
        _ => match url.matches('*').count() {
            0 => return None,
            1 if url.ends_with("/*") => return None,
            _ => "wildcard can only do suffix matching",
        },
    };
    Some(words.to_owned())
}

/// Checks conditions of which only the type matters: there, and each once.
pub(super) fn check_conditions(errors: &mut Errors, object: &Value) {
    let path = Path::root("status");
    let path = path.child("conditions");
    let mut seen = HashSet::new();
    for (index, condition) in items(&object["status"], "conditions").iter().enumerate() {
        let (path, kind) = (path.index(index), text(condition, "type"));
        if !seen.insert(kind) {
            errors.push(FieldError::duplicate(path.child("type"), kind));
        }
        if kind.is_empty() {
            errors.push(FieldError::required(path.child("type"), ""));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    fn schema(name: &str, spec: Value) -> Value {
        json!({"metadata": {"name": name}, "spec": spec})
    }

    fn check(spec: Value, expected: &[&str]) {
        let mut whole =
            json!({"matchingPrecedence": 100, "priorityLevelConfiguration": {"name": "a"}});
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        testing::check(validate(&schema("own", whole)), expected);
    }

    #[test]
    fn precedence_and_level() {
        check(json!({}), &[]);
        check(
            json!({"matchingPrecedence": 20_000, "priorityLevelConfiguration": {"name": ""}, "distinguisherMethod": {"type": "ByDay"}}),
            &[
                "spec.matchingPrecedence: Invalid value: 20000: must not be greater than 10000",
                "spec.distinguisherMethod.type: Unsupported value: {\"type\":\"ByDay\"}: supported values: \"ByNamespace\", \"ByUser\"",
                "spec.priorityLevelConfiguration.name: Required value: must reference a priority level",
            ],
        );
        check(
            json!({"matchingPrecedence": 1}),
            &[
                "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1",
            ],
        );
    }

    #[test]
    fn subjects() {
        let rule = |subject: Value| json!({"rules": [{"subjects": [subject], "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]}]});
        check(rule(json!({"kind": "User", "user": {"name": "*"}})), &[]);
        check(
            rule(json!({"kind": "Dog"})),
            &[
                "spec.rules[0].subjects[0].kind: Unsupported value: \"Dog\": supported values: \"Group\", \"ServiceAccount\", \"User\"",
            ],
        );
        check(
            rule(
                json!({"kind": "ServiceAccount", "serviceAccount": {"name": "*"}, "group": {"name": "g"}}),
            ),
            &[
                "spec.rules[0].subjects[0].serviceAccount.namespace: Required value: must specify namespace for service account",
                "spec.rules[0].subjects[0].group: Forbidden: group is forbidden when subject kind is not 'Group'",
            ],
        );
        check(
            rule(json!({"kind": "User"})),
            &[
                "spec.rules[0].subjects[0].user: Required value: user is required when subject kind is 'User'",
            ],
        );
    }

    #[test]
    fn rules() {
        let user = json!({"kind": "User", "user": {"name": "ann"}});
        check(
            json!({"rules": [{}]}),
            &[
                "spec.rules[0].subjects: Required value: subjects must contain at least one value",
                "spec.rules[0]: Required value: at least one of resourceRules and nonResourceRules has to be non-empty",
            ],
        );
        check(
            json!({"rules": [{"subjects": [user], "resourceRules": [
                {"verbs": ["fly"], "apiGroups": ["*", "apps"], "resources": []},
                {"verbs": ["*", "get"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["A"]}]}]}),
            &[
                "spec.rules[0].resourceRules[0].verbs: Unsupported value: [\"fly\"]: supported values: \"create\", \"delete\", \"deletecollection\", \"get\", \"list\", \"patch\", \"proxy\", \"update\", \"watch\"",
                "spec.rules[0].resourceRules[0].apiGroups: Invalid value: [\"*\",\"apps\"]: if '*' is present, must not specify other api groups",
                "spec.rules[0].resourceRules[0].resources: Required value: resource rules must supply at least one resource",
                "spec.rules[0].resourceRules[0].namespaces: Required value: resource rules that are not cluster scoped must supply at least one namespace",
                "spec.rules[0].resourceRules[1].verbs: Invalid value: [\"*\",\"get\"]: if '*' is present, must not specify other verbs",
                "spec.rules[0].resourceRules[1].namespaces[0]: Invalid value: \"A\": each member of this list must be '*' or a DNS-1123 label; a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
            ],
        );
        for (url, words) in [
            ("a", "must start with slash"),
            ("/a b", "must not contain white-space"),
            ("/a//b", "must not contain double slash"),
            ("/a*", "wildcard can only do suffix matching"),
        ] {
            let rules = json!([{"subjects": [user], "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/", "/a/*", url]}]}]);
            let line = format!(
                "spec.rules[0].nonResourceRules[0].nonResourceURLs[2]: Invalid value: {url:?}: {words}"
            );
            check(json!({"rules": rules}), &[&line]);
        }
    }

    #[test]
    fn two_are_what_they_are() {
        for name in ["exempt", "catch-all"] {
            let mut object = schema(name, mandatory(name).unwrap());
            testing::check(validate(&object), &[]);
            object["spec"]["distinguisherMethod"] = json!({"type": "ByNamespace"});
            let found = validate(&object);
            let words = format!("spec of '{name}' must equal the fixed value");
            assert!(found.len() == 1 && found[0].message.ends_with(&words), "{found:?}");
        }
    }

    #[test]
    fn conditions_have_types_once() {
        let mut object = schema(
            "own",
            json!({"matchingPrecedence": 5, "priorityLevelConfiguration": {"name": "a"}}),
        );
        let old = object.clone();
        object["status"] = json!({"conditions": [{"type": "A"}, {"type": "A"}, {"type": ""}]});
        testing::check(
            validate_status_update(&object, &old),
            &[
                "status.conditions[1].type: Duplicate value: \"A\"",
                "status.conditions[2].type: Required value",
            ],
        );
    }
}
