//! The roles and bindings that every cluster has, read from `policy.txt`, and how stored ones are put right.
//!
//! Pure. *Source:* Kubernetes, "Default roles and role bindings" and "Auto-reconciliation".

use super::rbac::GROUP;
use super::rule::{self, Rule};
use coracle_api::meta;
use serde_json::{Map, Value, json};

/// The table of roles and bindings.
static POLICY: &str = include_str!("policy.txt");

/// Annotation by which an administrator keeps a default role as it is: `false`.
const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// Every default role and binding, roles before the bindings that refer to them.
pub(crate) fn objects() -> Vec<Value> {
    let mut out: Vec<Value> = Vec::new();
    for line in POLICY.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["role", name, labels @ ..] => out.push(role(name, labels)),
            ["bind", name, role, subjects @ ..] => out.push(binding(name, role, subjects)),
            ["from", label] => {
                if let Some(role) = out.last_mut() {
                    let selector = json!({"matchLabels": {*label: "true"}});
                    role["aggregationRule"] = json!({"clusterRoleSelectors": [selector]});
                    role["rules"] = Value::Null;
                }
            }
            rule => {
                let rules = out.last_mut().and_then(|role| role["rules"].as_array_mut());
                if let Some(rules) = rules {
                    rules.push(rule_of(rule).to_value());
                }
            }
        }
    }
    out
}

/// A stored default object with what it lacks of the wanted one; `None` when it lacks nothing, or is to stay as it is.
///
/// Nothing that is there is taken away, but for the role that a binding refers to.
pub(crate) fn repaired(stored: &Value, wanted: &Value) -> Option<Value> {
    if stored.pointer("/metadata/annotations").and_then(|all| all.get(AUTOUPDATE))
        == Some(&json!("false"))
    {
        return None;
    }
    let mut fresh = stored.clone();
    for (field, key) in [("labels", "kubernetes.io/bootstrapping"), ("annotations", AUTOUPDATE)] {
        fresh["metadata"][field][key] = wanted["metadata"][field][key].clone();
    }
    if wanted.get("roleRef").is_some() {
        fresh["roleRef"] = wanted["roleRef"].clone();
        add_lacking(&mut fresh, wanted, "/subjects");
    } else if wanted.get("aggregationRule").is_some() {
        add_lacking(&mut fresh, wanted, "/aggregationRule/clusterRoleSelectors");
    } else {
        let lacking = rule::missing(&Rule::read_all(stored), &Rule::read_all(wanted));
        let rules = lacking.iter().map(Rule::to_value);
        match fresh["rules"].as_array_mut() {
            Some(own) => own.extend(rules),
            None => fresh["rules"] = rules.collect(),
        }
    }
    (fresh != *stored).then_some(fresh)
}

fn add_lacking(fresh: &mut Value, wanted: &Value, pointer: &str) {
    let Some(all) = wanted.pointer(pointer).and_then(Value::as_array) else { return };
    match fresh.pointer_mut(pointer).and_then(Value::as_array_mut) {
        Some(own) => {
            let lacking = all.iter().filter(|item| !own.contains(item));
            let lacking: Vec<Value> = lacking.cloned().collect();
            own.extend(lacking);
        }
        None => {
            let field = pointer.split('/').nth(1).unwrap_or_default();
            fresh[field] = wanted[field].clone();
        }
    }
}

fn role(name: &str, labels: &[&str]) -> Value {
    let mut role = object(name, "Role");
    for (key, value) in labels.iter().filter_map(|label| label.split_once('=')) {
        role["metadata"]["labels"][key] = json!(value);
    }
    role["rules"] = json!([]);
    role
}

fn binding(name: &str, role: &str, subjects: &[&str]) -> Value {
    let mut binding = object(name, "RoleBinding");
    let kind = if meta::namespace(&binding).is_empty() { "ClusterRole" } else { "Role" };
    binding["roleRef"] = json!({"apiGroup": GROUP, "kind": kind, "name": role});
    let subjects: Vec<Value> = subjects.iter().filter_map(|subject| subject_of(subject)).collect();
    if !subjects.is_empty() {
        binding["subjects"] = Value::Array(subjects);
    }
    binding
}

fn subject_of(text: &str) -> Option<Value> {
    let (kind, name) = text.split_once(':')?;
    if kind == "account" {
        let (namespace, name) = name.split_once('/')?;
        return Some(json!({"kind": "ServiceAccount", "name": name, "namespace": namespace}));
    }
    let kind = if kind == "group" { "Group" } else { "User" };
    Some(json!({"apiGroup": GROUP, "kind": kind, "name": name}))
}

fn object(name: &str, kind: &str) -> Value {
    let mut metadata = Map::new();
    let kind = match name.split_once('/') {
        Some((namespace, name)) => {
            metadata.insert("namespace".to_owned(), json!(namespace));
            metadata.insert("name".to_owned(), json!(name));
            kind.to_owned()
        }
        None => {
            metadata.insert("name".to_owned(), json!(name));
            format!("Cluster{kind}")
        }
    };
    metadata.insert("labels".to_owned(), json!({"kubernetes.io/bootstrapping": "rbac-defaults"}));
    metadata.insert("annotations".to_owned(), json!({AUTOUPDATE: "true"}));
    json!({"apiVersion": format!("{GROUP}/v1"), "kind": kind, "metadata": metadata})
}

fn rule_of(words: &[&str]) -> Rule {
    let list = |index: usize| -> Vec<String> {
        let text = words.get(index).copied().unwrap_or_default();
        text.split(',').filter(|item| !item.is_empty()).map(str::to_owned).collect()
    };
    if words.get(1) == Some(&"url") {
        return Rule { verbs: list(0), paths: list(2), ..Rule::default() };
    }
    let groups =
        list(1).into_iter().map(|group| if group == "core" { String::new() } else { group });
    Rule {
        verbs: list(0),
        groups: groups.collect(),
        resources: list(2),
        names: list(3),
        ..Rule::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::Attributes;
    use expect_test::{Expect, expect};

    fn named(kind: &str, name: &str) -> Value {
        let found = objects()
            .into_iter()
            .find(|object| object["kind"] == kind && meta::name(object) == name);
        found.unwrap()
    }

    fn check(object: &Value, expected: Expect) {
        expected.assert_eq(&object.to_string());
    }

    #[test]
    fn the_table_is_read() {
        check(
            &named("ClusterRole", "cluster-admin"),
            expect![[
                r#"{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{"annotations":{"rbac.authorization.kubernetes.io/autoupdate":"true"},"labels":{"kubernetes.io/bootstrapping":"rbac-defaults"},"name":"cluster-admin"},"rules":[{"apiGroups":["*"],"resources":["*"],"verbs":["*"]},{"nonResourceURLs":["*"],"verbs":["*"]}]}"#
            ]],
        );
        check(
            &named("ClusterRole", "view"),
            expect![[
                r#"{"aggregationRule":{"clusterRoleSelectors":[{"matchLabels":{"rbac.authorization.k8s.io/aggregate-to-view":"true"}}]},"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRole","metadata":{"annotations":{"rbac.authorization.kubernetes.io/autoupdate":"true"},"labels":{"kubernetes.io/bootstrapping":"rbac-defaults","rbac.authorization.k8s.io/aggregate-to-edit":"true"},"name":"view"},"rules":null}"#
            ]],
        );
        check(
            &named("RoleBinding", "system::leader-locking-kube-scheduler"),
            expect![[
                r#"{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"RoleBinding","metadata":{"annotations":{"rbac.authorization.kubernetes.io/autoupdate":"true"},"labels":{"kubernetes.io/bootstrapping":"rbac-defaults"},"name":"system::leader-locking-kube-scheduler","namespace":"kube-system"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"system::leader-locking-kube-scheduler"},"subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"system:kube-scheduler"},{"kind":"ServiceAccount","name":"kube-scheduler","namespace":"kube-system"}]}"#
            ]],
        );
    }

    #[test]
    fn every_binding_has_its_role_and_every_role_a_rule() {
        let all = objects();
        for object in &all {
            let rules = object["rules"].as_array().is_some_and(|rules| !rules.is_empty());
            let role = object["roleRef"]["name"].as_str().is_some_and(|role| {
                all.iter().any(|other| {
                    meta::name(other) == role && other["kind"] == object["roleRef"]["kind"]
                })
            });
            assert!(rules || role || object.get("aggregationRule").is_some(), "{object}");
        }
    }

    #[test]
    fn a_controller_has_a_role_by_its_account_and_a_node_by_nobody() {
        check(
            &named("ClusterRoleBinding", "system:controller:job-controller")["subjects"],
            expect![[
                r#"[{"kind":"ServiceAccount","name":"job-controller","namespace":"kube-system"}]"#
            ]],
        );
        check(
            &named("RoleBinding", "system:controller:bootstrap-signer")["roleRef"],
            expect![[
                r#"{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"system:controller:bootstrap-signer"}"#
            ]],
        );
        let nodes = named("ClusterRoleBinding", "system:node");
        assert_eq!(nodes.get("subjects"), None);
        assert_eq!(repaired(&nodes, &nodes), None);
    }

    #[test]
    fn the_roles_of_people_cover_events_of_both_groups() {
        let check = |role: &str, verb: &str, expected: bool| {
            let rules = Rule::read_all(&named("ClusterRole", role));
            for group in ["", "events.k8s.io"] {
                let asked = Attributes { verb, group, resource: "events", ..Attributes::default() };
                let allowed = rules.iter().any(|rule| rule.allows(&asked));
                assert_eq!(allowed, expected, "{role} {verb} {group}");
            }
        };
        check("system:aggregate-to-view", "watch", true);
        check("system:aggregate-to-view", "create", false);
        check("system:aggregate-to-edit", "create", true);
        check("system:node", "patch", true);
    }

    #[test]
    fn what_was_taken_away_comes_back_and_what_was_added_stays() {
        let wanted = named("ClusterRole", "system:discovery");
        assert_eq!(repaired(&wanted, &wanted), None);
        let mut stored = wanted.clone();
        stored["rules"] = json!([{"verbs": ["get"], "nonResourceURLs": ["/mine"]}]);
        let fresh = repaired(&stored, &wanted).unwrap();
        assert!(rule::missing(&Rule::read_all(&fresh), &Rule::read_all(&wanted)).is_empty());
        assert_eq!(fresh["rules"][0], stored["rules"][0]);
        stored["metadata"]["annotations"][AUTOUPDATE] = json!("false");
        assert_eq!(repaired(&stored, &wanted), None);

        let wanted = named("ClusterRoleBinding", "system:basic-user");
        let mut stored = wanted.clone();
        stored["subjects"] = json!([{"kind": "User", "name": "a"}]);
        let fresh = repaired(&stored, &wanted).unwrap();
        assert_eq!(fresh["subjects"].as_array().unwrap().len(), 2);
    }
}
