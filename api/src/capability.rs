//! `CapabilityPolicy`: what the components of pods may import.
//!
//! A policy selects pods by labels of their namespaces and their own; each of its rules is an expression that is
//! asked once for each import. The API server writes the [`Terms`] of the policies that select a pod into the pod
//! when it lets it in ([`ANNOTATION`]), so that the host, which sees every image, judges by the same terms without
//! asking anybody. Pure.
//!
//! Vocabulary: an *import* is the name of an interface that a component needs from outside, such as
//! `wasi:sockets/tcp@0.2.0`; of a core module, the name of the module.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::cel::{Expression, Scope, Shape};
use crate::meta;
use crate::selector::LabelSelector;

/// The API group of the kind.
pub const GROUP: &str = "policy.coracle.dev";

/// The name of its resource.
pub const PLURAL: &str = "capabilitypolicies";

/// The kind.
pub const KIND: &str = "CapabilityPolicy";

/// The annotation of a pod with the terms that it was let in by. The server alone writes it.
pub const ANNOTATION: &str = "policy.coracle.dev/capabilities";

/// Prefix of the annotations of a pod that say what a container imports.
pub const IMPORTS_PREFIX: &str = "imports.coracle.dev/";

/// Prefix of the annotations of a pod that plug images into the imports of a container.
pub const COMPOSE_PREFIX: &str = "coracle.dev/compose.";

/// Imports that a sentence names; more are counted. A component has seldom more than thirty.
const NAMED_MAX: usize = 12;

/// What an expression may speak of.
const VARIABLES: [&str; 3] = ["capability", "container", "pod"];

/// A policy's terms, as they are written into a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The policy's name.
    pub policy: String,
    /// Whether what breaks them is only told.
    #[serde(default)]
    pub audit: bool,
    /// All of them must hold for each import.
    pub rules: Vec<Rule>,
}

/// One rule of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// An expression that must be true for an import to be allowed.
    pub expression: String,
    /// What is said when it is not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// Whose imports are judged.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The pod's namespace.
    pub namespace: &'a str,
    /// The pod's labels.
    pub labels: &'a Map<String, Value>,
    /// The container's name.
    pub container: &'a str,
    /// The container's image, as the pod writes it.
    pub image: &'a str,
}

/// What a policy has to say of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whether it is only told.
    pub audit: bool,
    /// A whole sentence.
    pub sentence: String,
}

/// The terms of a policy for a pod; `None` when it does not select the pod. A selector that cannot be read selects
/// every pod: a mistake must not open anything.
#[must_use]
pub fn terms(
    policy: &Value,
    namespace_labels: &Map<String, Value>,
    pod_labels: &Map<String, Value>,
) -> Option<Terms> {
    let spec = policy.get("spec")?;
    let selects = |field: &str, labels: &Map<String, Value>| match spec.get(field) {
        None | Some(Value::Null) => true,
        Some(selector) => {
            LabelSelector::from_value(selector).map_or(true, |selector| selector.matches(labels))
        }
    };
    let selected =
        selects("namespaceSelector", namespace_labels) && selects("podSelector", pod_labels);
    selected.then(|| Terms {
        policy: meta::name(policy).to_owned(),
        audit: spec.get("mode").and_then(Value::as_str) == Some("Audit"),
        rules: rules(spec).map(|(rule, _)| rule).collect(),
    })
}

fn rules(spec: &Value) -> impl Iterator<Item = (Rule, usize)> + '_ {
    let text = |rule: &Value, field: &str| {
        rule.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let rules = spec.get("rules").and_then(Value::as_array).into_iter().flatten().enumerate();
    rules.map(move |(index, rule)| {
        (Rule { expression: text(rule, "expression"), message: text(rule, "message") }, index)
    })
}

/// What is wrong with the expressions of a policy: the place of each, its text, and why.
#[must_use]
pub fn mistakes(policy: &Value) -> Vec<(String, String, String)> {
    let Some(spec) = policy.get("spec") else { return Vec::new() };
    let wrong = rules(spec).filter_map(|(rule, index)| {
        let error = Expression::compile(&rule.expression, &VARIABLES).err()?;
        let place = format!("spec.rules[{index}].expression");
        Some((place, rule.expression, error.to_string()))
    });
    wrong.collect()
}

/// Writes terms as the value of [`ANNOTATION`].
#[must_use]
pub fn write(terms: &[Terms]) -> String {
    json!(terms).to_string()
}

/// Reads the value of [`ANNOTATION`].
///
/// # Errors
/// When it is not what [`write()`] gives.
pub fn read(text: &str) -> Result<Vec<Terms>, serde_json::Error> {
    serde_json::from_str(text)
}

/// What a component needs from outside once others are plugged into it: `all` are the imports of it and of those,
/// `plugged` what those export.
#[must_use]
pub fn open(all: impl IntoIterator<Item = String>, plugged: &[String]) -> Vec<String> {
    let mut open: Vec<String> =
        all.into_iter().filter(|import| !plugged.contains(import)).collect();
    open.sort_unstable();
    open.dedup();
    open
}

/// Judges the imports of a container. `before` is what the same container has asked for until now, and by which image,
/// if that is known: what is asked for beyond it is shown.
#[must_use]
pub fn judge(
    terms: &[Terms],
    subject: &Subject<'_>,
    imports: &[String],
    before: Option<(&str, &[String])>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for terms in terms {
        let (mut refused, mut words): (Vec<&str>, Vec<String>) = (Vec::new(), Vec::new());
        // One for all imports, so that all that a policy asks of a container is limited together.
        let mut scope = scope(subject);
        for rule in &terms.rules {
            let expression = Expression::compile(&rule.expression, &VARIABLES);
            for import in imports {
                let Some(why) = broken(&expression, rule, &mut scope, import) else { continue };
                if !refused.contains(&import.as_str()) {
                    refused.push(import);
                }
                if !why.is_empty() && !words.contains(&why) {
                    words.push(why);
                }
            }
        }
        if refused.is_empty() {
            continue;
        }
        let mut sentence = format!(
            "container \"{}\": image \"{}\" imports {}, which CapabilityPolicy \"{}\" forbids",
            subject.container,
            subject.image,
            named(&refused),
            terms.policy
        );
        if !words.is_empty() {
            sentence.push_str(&format!(" ({})", words.join("; ")));
        }
        if let Some((image, before)) = before {
            let mut more: Vec<&String> =
                imports.iter().filter(|import| !before.contains(import)).collect();
            // What is forbidden comes first.
            more.sort_by_key(|import| !refused.contains(&import.as_str()));
            let more: Vec<String> = more.iter().map(|import| format!("+{import}")).collect();
            let more: Vec<&str> = more.iter().map(String::as_str).collect();
            if !more.is_empty() {
                sentence
                    .push_str(&format!("; compared with \"{image}\" it asks for {}", named(&more)));
            }
        }
        findings.push(Finding { audit: terms.audit, sentence });
    }
    findings
}

/// What all rules may speak of, but for the import.
fn scope(subject: &Subject<'_>) -> Scope {
    let mut scope = Scope::new();
    let container = json!({"name": subject.container, "image": subject.image});
    scope.bind("container", &container, Shape::Unknown);
    let pod = json!({"namespace": subject.namespace, "labels": subject.labels});
    scope.bind("pod", &pod, Shape::Unknown);
    scope
}

/// Why an import breaks a rule: the rule's message, or what went wrong; `None` when it does not. A rule that cannot be
/// evaluated is broken.
fn broken(
    expression: &Result<Expression, crate::cel::CelError>,
    rule: &Rule,
    scope: &mut Scope,
    import: &str,
) -> Option<String> {
    let expression = match expression {
        Ok(expression) => expression,
        Err(error) => return Some(error.to_string()),
    };
    let (package, rest) = import.split_once('/').unwrap_or((import, ""));
    let (interface, version) = rest.split_once('@').unwrap_or((rest, ""));
    let capability = json!({"name": import, "packageName": package, "interfaceName": interface, "version": version});
    scope.bind("capability", &capability, Shape::Unknown);
    match expression.is_true(scope) {
        Ok(true) => None,
        Ok(false) => Some(rule.message.clone()),
        Err(error) => Some(error.to_string()),
    }
}

fn named(names: &[&str]) -> String {
    let shown = names.iter().take(NAMED_MAX).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMED_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap_or_default()
    }

    fn policy(spec: Value) -> Value {
        json!({"metadata": {"name": "p"}, "spec": spec})
    }

    fn check(expression: &str, imports: &[&str], before: Option<&[&str]>) -> Vec<String> {
        let policy = policy(json!({"rules": [{"expression": expression, "message": "ask first"}]}));
        let none = Map::new();
        let terms = terms(&policy, &none, &none).unwrap();
        let labels = labels(json!({"tier": "web"}));
        let subject = Subject { namespace: "shop", labels: &labels, container: "c", image: "i:2" };
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let before = before.map(owned);
        let before = before.as_deref().map(|before| ("i:1", before));
        let read = read(&write(&[terms])).unwrap();
        let found = judge(&read, &subject, &owned(imports), before);
        found.into_iter().map(|finding| finding.sentence).collect()
    }

    const TCP: &str = "wasi:sockets/tcp@0.2.0";
    const ENV: &str = "wasi:cli/environment@0.2.3";

    #[test]
    fn each_import_is_asked_and_named() {
        let allow = "capability.packageName != 'wasi:sockets'";
        assert!(check(allow, &[ENV], None).is_empty());
        assert_eq!(
            check(allow, &[ENV, TCP], None),
            ["container \"c\": image \"i:2\" imports wasi:sockets/tcp@0.2.0, \
              which CapabilityPolicy \"p\" forbids (ask first)"]
        );
        let all = "capability.name == 'wasi:sockets/tcp@0.2.0' && capability.interfaceName == 'tcp' \
            && capability.version == '0.2.0' && container.name == 'c' && container.image == 'i:2' \
            && pod.namespace == 'shop' && pod.labels['tier'] == 'web'";
        assert!(check(all, &[TCP], None).is_empty());
        assert!(check("capability.packageName == 'env'", &["env"], None).is_empty());
    }

    #[test]
    fn what_is_asked_for_beyond_before_is_shown() {
        let found = check("false", &[ENV, TCP], Some(&[ENV]));
        assert!(found[0].ends_with("; compared with \"i:1\" it asks for +wasi:sockets/tcp@0.2.0"));
        assert!(!check("false", &[ENV], Some(&[ENV, TCP]))[0].contains("compared"));
    }

    #[test]
    fn what_cannot_be_evaluated_is_refused() {
        for wrong in ["", "1", "capability.missing", "nobody", "capability.name"] {
            assert_eq!(check(wrong, &[TCP], None).len(), 1, "{wrong}");
        }
        let of =
            |expression: &str| mistakes(&policy(json!({"rules": [{"expression": expression}]})));
        assert!(of("capability.name == ''").is_empty());
        assert_eq!(of("nobody")[0].0, "spec.rules[0].expression");
        for odd in [json!(null), json!([]), json!({"rules": 1}), json!({"rules": [1]})] {
            let _ = mistakes(&policy(odd.clone()));
            let _ = terms(&policy(odd), &Map::new(), &Map::new());
        }
    }

    #[test]
    fn all_that_a_policy_asks_is_limited_together() {
        let many: Vec<String> = (0..1_000).map(|n| format!("a:b/i{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(check("capability.packageName == 'a:b'", &many, None).is_empty());
        let list = vec!["1"; 200].join(", ");
        let dear = format!("true || [{list}].all(x, [{list}].all(y, x == y))");
        assert!(check(&dear, &many[..2], None).is_empty());
        assert!(check(&dear, &many, None)[0].contains("running out of cost budget"));
    }

    #[test]
    fn namespaces_and_pods_are_selected_by_labels() {
        let spec = json!({"mode": "Audit", "rules": [],
            "namespaceSelector": {"matchLabels": {"team": "a"}},
            "podSelector": {"matchExpressions": [{"key": "free", "operator": "DoesNotExist"}]}});
        let policy = policy(spec);
        let of = |namespace: Value, pod: Value| terms(&policy, &labels(namespace), &labels(pod));
        assert!(of(json!({"team": "a"}), json!({})).unwrap().audit);
        assert_eq!(of(json!({}), json!({})), None);
        assert_eq!(of(json!({"team": "a"}), json!({"free": ""})), None);
    }

    #[test]
    fn long_lists_are_cut_and_plugged_imports_are_none() {
        let many: Vec<String> = (10..30).map(|n| format!("a:b/i{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(check("false", &many, None)[0].contains("a:b/i21 and 8 more, which"));
        let all = [TCP, "acme:x/y", ENV, ENV].map(str::to_owned);
        assert_eq!(open(all, &["acme:x/y".to_owned()]), [ENV, TCP]);
    }
}
