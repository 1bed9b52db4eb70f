//! One rule of an RBAC role: what it allows, and whether it covers another.
//!
//! Pure. *Source:* `rbac.authorization.k8s.io/v1 PolicyRule`; Kubernetes, "Using RBAC Authorization".

use super::Attributes;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt;

/// Stands for everything.
const ALL: &str = "*";

/// A rule: any of the verbs on any of the resources (of the given names, if there are any), or on any of the paths.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// Verbs in lower case, or `*`.
    pub verbs: Vec<String>,
    /// API groups, empty for core, or `*`.
    pub groups: Vec<String>,
    /// `PLURAL`, `PLURAL/SUBRESOURCE`, `*/SUBRESOURCE` or `*`.
    pub resources: Vec<String>,
    /// Names of objects; none stands for all.
    pub names: Vec<String>,
    /// Paths that are no resources; a `*` at the end stands for all below.
    pub paths: Vec<String>,
}

impl Rule {
    /// Reads a `PolicyRule`; what is no text is left out.
    pub fn read(rule: &Value) -> Rule {
        let list = |field: &str| -> Vec<String> {
            let items = rule.get(field).and_then(Value::as_array);
            items
                .into_iter()
                .flatten()
                .filter_map(|item| item.as_str().map(str::to_owned))
                .collect()
        };
        Rule {
            verbs: list("verbs"),
            groups: list("apiGroups"),
            resources: list("resources"),
            names: list("resourceNames"),
            paths: list("nonResourceURLs"),
        }
    }

    /// Reads the `rules` of a role.
    pub fn read_all(role: &Value) -> Vec<Rule> {
        role.get("rules").and_then(Value::as_array).into_iter().flatten().map(Rule::read).collect()
    }

    /// Writes a `PolicyRule`, without what is empty.
    pub fn to_value(&self) -> Value {
        let mut out = Map::new();
        for (field, list) in [
            ("verbs", &self.verbs),
            ("apiGroups", &self.groups),
            ("resources", &self.resources),
            ("resourceNames", &self.names),
            ("nonResourceURLs", &self.paths),
        ] {
            if !list.is_empty() || field == "verbs" {
                out.insert(field.to_owned(), json!(list));
            }
        }
        Value::Object(out)
    }

    /// Whether a request is among what the rule allows.
    pub fn allows(&self, request: &Attributes<'_>) -> bool {
        if !has(&self.verbs, request.verb) {
            return false;
        }
        if request.resource.is_empty() {
            return self.paths.iter().any(|path| path_covers(path, request.path));
        }
        has(&self.groups, request.group)
            && self.covers_resource(request.resource, request.subresource)
            && (self.names.is_empty() || self.names.iter().any(|name| name == request.name))
    }

    fn covers_resource(&self, resource: &str, subresource: &str) -> bool {
        self.resources.iter().any(|own| match own.split_once('/') {
            None => own == ALL || subresource.is_empty() && own == resource,
            Some((_, part)) if part != subresource || subresource.is_empty() => false,
            Some((whole, _)) => whole == ALL || whole == resource,
        })
    }

    /// The rule as rules of one verb on one resource or path each.
    fn single(&self) -> Vec<Rule> {
        let one = |text: &String| vec![text.clone()];
        let mut out = Vec::new();
        for verb in &self.verbs {
            for path in &self.paths {
                out.push(Rule { verbs: one(verb), paths: one(path), ..Rule::default() });
            }
            for group in &self.groups {
                for resource in &self.resources {
                    let single = Rule {
                        verbs: one(verb),
                        groups: one(group),
                        resources: one(resource),
                        ..Rule::default()
                    };
                    if self.names.is_empty() {
                        out.push(single.clone());
                    }
                    let named = |name| Rule { names: one(name), ..single.clone() };
                    out.extend(self.names.iter().map(named));
                }
            }
        }
        out
    }

    /// Whether this rule alone allows all that a rule of one verb, resource and name allows.
    fn covers(&self, single: &Rule) -> bool {
        let all_in = |wanted: &[String], own: &[String]| wanted.iter().all(|item| has(own, item));
        let names = self.names.is_empty()
            || !single.names.is_empty()
                && single.names.iter().all(|name| self.names.contains(name));
        let resource = |wanted: &String| {
            let (resource, subresource) = wanted.split_once('/').unwrap_or((wanted, ""));
            self.covers_resource(resource, subresource)
        };
        let path = |wanted: &String| self.paths.iter().any(|own| path_covers(own, wanted));
        all_in(&single.verbs, &self.verbs)
            && all_in(&single.groups, &self.groups)
            && single.resources.iter().all(resource)
            && single.paths.iter().all(path)
            && names
    }
}

impl fmt::Display for Rule {
    /// *Source:* the form in which kube-apiserver names missing permissions.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lists = [
            ("APIGroups", &self.groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.paths),
            ("ResourceNames", &self.names),
            ("Verbs", &self.verbs),
        ];
        let shown = lists.iter().filter(|(_, list)| !list.is_empty());
        let shown: Vec<String> =
            shown.map(|(name, list)| format!("{name}:{}", quoted(list))).collect();
        write!(f, "{{{}}}", shown.join(", "))
    }
}

/// A list of texts as Go prints one: `["a" "b"]`.
pub fn quoted(list: &[String]) -> String {
    let items: Vec<String> = list.iter().map(|item| format!("{item:?}")).collect();
    format!("[{}]", items.join(" "))
}

/// What of `wanted` none of the rules of `owned` allows; empty when all is covered. Verbs on the same resource are put
/// together.
pub fn missing(owned: &[Rule], wanted: &[Rule]) -> Vec<Rule> {
    let lacking = wanted
        .iter()
        .flat_map(Rule::single)
        .filter(|single| !owned.iter().any(|own| own.covers(single)));
    let mut by_place: BTreeMap<Rule, Vec<String>> = BTreeMap::new();
    for mut rule in lacking {
        let verbs = by_place.entry(Rule { verbs: Vec::new(), ..rule.clone() }).or_default();
        verbs.extend(rule.verbs.drain(..).filter(|verb| !verbs.contains(verb)).collect::<Vec<_>>());
    }
    by_place.into_iter().map(|(place, verbs)| Rule { verbs, ..place }).collect()
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|own| own == ALL || own == wanted)
}

fn path_covers(own: &str, path: &str) -> bool {
    own == path || own.strip_suffix('*').is_some_and(|prefix| path.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(verbs: &str, groups: &str, resources: &str, names: &str, paths: &str) -> Rule {
        let list = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        let groups = if groups == "core" { vec![String::new()] } else { list(groups) };
        Rule {
            verbs: list(verbs),
            groups,
            resources: list(resources),
            names: list(names),
            paths: list(paths),
        }
    }

    fn asked<'a>(verb: &'a str, resource: &'a str, name: &'a str) -> Attributes<'a> {
        if resource.starts_with('/') {
            return Attributes { verb, path: resource, ..Attributes::default() };
        }
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        Attributes { verb, resource, subresource, name, ..Attributes::default() }
    }

    #[test]
    fn a_rule_allows_what_it_names() {
        let check = |rule: &Rule, verb: &str, resource: &str, name: &str, expected: bool| {
            let found = rule.allows(&asked(verb, resource, name));
            assert_eq!(found, expected, "{rule}: {verb} {resource} {name}");
        };
        let pods = rule("get list", "core", "pods", "", "");
        check(&pods, "get", "pods", "a", true);
        check(&pods, "list", "pods", "", true);
        check(&pods, "delete", "pods", "a", false);
        check(&pods, "get", "pods/log", "a", false);
        check(&pods, "get", "secrets", "a", false);
        check(&pods, "get", "/pods", "", false);
        let named = rule("get", "core", "secrets", "a b", "");
        check(&named, "get", "secrets", "b", true);
        check(&named, "get", "secrets", "c", false);
        check(&named, "get", "secrets", "", false);
        let logs = rule("*", "*", "pods/log */scale", "", "");
        check(&logs, "get", "pods/log", "a", true);
        check(&logs, "patch", "deployments/scale", "a", true);
        check(&logs, "get", "deployments", "a", false);
        let all = rule("*", "*", "*", "", "");
        check(&all, "escalate", "pods/exec", "a", true);
        check(&all, "get", "/metrics", "", false);
        let paths = rule("get", "", "", "", "/healthz /apis/*");
        check(&paths, "get", "/healthz", "", true);
        check(&paths, "get", "/healthz/etcd", "", false);
        check(&paths, "get", "/apis/apps", "", true);
        check(&paths, "post", "/healthz", "", false);
        check(&rule("get", "apps", "pods", "", ""), "get", "pods", "a", false);
    }

    #[test]
    fn what_is_missing_is_named() {
        let check = |owned: &[Rule], wanted: Rule, expected: &[&str]| {
            let found: Vec<String> =
                missing(owned, &[wanted]).iter().map(Rule::to_string).collect();
            assert_eq!(found, expected);
        };
        let view = [rule("get list watch", "core", "pods services", "", "")];
        check(&view, rule("get list", "core", "pods", "", ""), &[]);
        check(&view, rule("get", "core", "pods", "a", ""), &[]);
        check(
            &view,
            rule("get delete create", "core", "pods secrets", "", ""),
            &[
                r#"{APIGroups:[""], Resources:["pods"], Verbs:["delete" "create"]}"#,
                r#"{APIGroups:[""], Resources:["secrets"], Verbs:["get" "delete" "create"]}"#,
            ],
        );
        check(
            &view,
            rule("*", "core", "pods", "", ""),
            &[r#"{APIGroups:[""], Resources:["pods"], Verbs:["*"]}"#],
        );
        check(
            &view,
            rule("get", "", "", "", "/metrics"),
            &[r#"{NonResourceURLs:["/metrics"], Verbs:["get"]}"#],
        );
        let named = [rule("get", "core", "secrets", "a", "")];
        check(&named, rule("get", "core", "secrets", "a", ""), &[]);
        check(
            &named,
            rule("get", "core", "secrets", "", ""),
            &[r#"{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}"#],
        );
        check(
            &named,
            rule("get", "core", "secrets", "b", ""),
            &[r#"{APIGroups:[""], Resources:["secrets"], ResourceNames:["b"], Verbs:["get"]}"#],
        );
        let all = [rule("*", "*", "*", "", "")];
        check(&all, rule("*", "apps", "deployments/scale", "", ""), &[]);
    }

    #[test]
    fn a_rule_is_written_as_it_is_read() {
        let value = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"]});
        assert_eq!(Rule::read(&value).to_value(), value);
    }
}
