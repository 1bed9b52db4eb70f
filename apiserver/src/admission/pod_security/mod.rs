//! Pod Security levels: what a namespace's labels let its pods be.
//!
//! `enforce` refuses pods; `warn` and `audit` speak of pods and of the templates of workloads.
//! *Source:* Kubernetes, "Pod Security Admission" and "Pod Security Standards"; the wording is upstream's.

mod baseline;
mod restricted;
pub(super) mod subject;

use super::{Operation, Request};
use crate::cache::{Caches, Selection};
use coracle_api::field_error::FieldError;
use coracle_api::meta;
use coracle_api::selector::{FieldSelector, LabelSelector, Labels};
use coracle_api::status::Status;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// What the labels of namespaces begin with.
const LABEL: &str = "pod-security.kubernetes.io/";

/// The labels of a namespace that name a level.
const LEVELS: [&str; 3] = [
    "pod-security.kubernetes.io/enforce",
    "pod-security.kubernetes.io/warn",
    "pod-security.kubernetes.io/audit",
];

/// Pods of a namespace that are looked at when its level rises; more are not named. *Source:* upstream's
/// `defaultNamespaceMaxPodsToCheck`.
const PODS_CHECKED_MAX: usize = 3000;

/// One rule that a pod breaks: what it is called, and where it is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Violation {
    reason: &'static str,
    detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.detail.as_str() {
            "" => f.write_str(self.reason),
            detail => write!(f, "{} ({detail})", self.reason),
        }
    }
}

/// How much a pod may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Privileged,
    Baseline,
    Restricted,
}

impl Level {
    fn parse(text: &str) -> Option<Level> {
        Some(match text {
            "privileged" => Level::Privileged,
            "baseline" => Level::Baseline,
            "restricted" => Level::Restricted,
            _ => return None,
        })
    }
}

/// A level with the version of the standards, as it is shown: `restricted:latest`.
struct Policy {
    level: Level,
    shown: String,
}

impl Policy {
    /// The policy of a mode; a level that is not known counts as restricted, so that a typing error opens nothing.
    fn of(namespace: &Value, mode: &str) -> Policy {
        let label = |key: String| {
            namespace
                .pointer("/metadata/labels")
                .and_then(|all| all.get(key))
                .and_then(Value::as_str)
        };
        let level = label(format!("{LABEL}{mode}"));
        let version = label(format!("{LABEL}{mode}-version")).unwrap_or("latest");
        let name = level.unwrap_or("privileged");
        let level = Level::parse(name).unwrap_or(Level::Restricted);
        Policy { level, shown: format!("{name}:{version}") }
    }

    /// What a pod breaks of the policy, as one text; `None` when nothing.
    fn check(&self, pod: &Value) -> Option<String> {
        let found = match self.level {
            Level::Privileged => return None,
            Level::Baseline => baseline::check(pod, false),
            Level::Restricted => {
                let mut found = baseline::check(pod, true);
                found.extend(restricted::check(pod));
                found
            }
        };
        let texts: Vec<String> = found.iter().map(Violation::to_string).collect();
        (!texts.is_empty()).then(|| texts.join(", "))
    }
}

/// Lets a pod or workload in, or not; adds warnings.
///
/// # Errors
/// 403 with every broken rule; 422 for a namespace with a label that says nothing.
pub(super) fn admit(
    request: &Request<'_>,
    object: &Value,
    old: Option<&Value>,
    caches: &Caches,
    warnings: &mut Vec<String>,
) -> Result<(), Status> {
    if request.is_core("Namespace") {
        return labels(request, object, old, caches, warnings);
    }
    let Some(namespace) = caches.get("", "namespaces", "", request.namespace) else {
        return Ok(());
    };
    // Most namespaces ask for nothing, so the pod is not looked at before.
    if lets_all(&*namespace.header) {
        return Ok(());
    }
    let Some(pod) = subject::pod_of(request, object) else { return Ok(()) };
    if old.is_some_and(|old| !subject::matters(request, object, old)) {
        return Ok(());
    }
    let namespace = namespace.value();
    let policy = Policy::of(&namespace, "audit");
    if let Some(broken) = policy.check(&pod) {
        let violation = format!("would violate PodSecurity {:?}: {broken}", policy.shown);
        request.notes.annotate(format!("{LABEL}audit-violations"), &violation);
    }
    if request.is_core("Pod") {
        let policy = Policy::of(&namespace, "enforce");
        request.notes.annotate(format!("{LABEL}enforce-policy"), &policy.shown);
        if let Some(broken) = policy.check(&pod) {
            return Err(
                request.forbidden(format!("violates PodSecurity {:?}: {broken}", policy.shown))
            );
        }
    }
    let policy = Policy::of(&namespace, "warn");
    if let Some(broken) = policy.check(&pod) {
        warnings.push(format!("would violate PodSecurity {:?}: {broken}", policy.shown));
    }
    Ok(())
}

/// Whether every level of a namespace lets every pod in.
fn lets_all(labels: &impl Labels) -> bool {
    LEVELS.iter().all(|label| labels.label(label).is_none_or(|level| level == "privileged"))
}

/// Checks the labels of a namespace, and names the pods that a higher level would not let in.
fn labels(
    request: &Request<'_>,
    namespace: &Value,
    old: Option<&Value>,
    caches: &Caches,
    warnings: &mut Vec<String>,
) -> Result<(), Status> {
    if request.operation == Operation::Delete {
        return Ok(());
    }
    check_labels(request, namespace)?;
    let Some(old) = old else { return Ok(()) };
    let (before, policy) = (Policy::of(old, "enforce"), Policy::of(namespace, "enforce"));
    if before.shown == policy.shown || policy.level == Level::Privileged {
        return Ok(());
    }
    let Some(pods) = caches.by_resource("", "pods") else { return Ok(()) };
    let everything = (LabelSelector::everything(), FieldSelector::default());
    let selection = Selection::new(pods.kind(), Some(request.name), everything.0, everything.1)?;
    let mut broken: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pod in pods.select(&selection).iter().take(PODS_CHECKED_MAX) {
        if let Some(text) = policy.check(&pod.value()) {
            broken.entry(text).or_default().push(pod.header.name().to_owned());
        }
    }
    if broken.is_empty() {
        return Ok(());
    }
    warnings.push(format!(
        "existing pods in namespace {:?} violate the new PodSecurity enforce level {:?}",
        request.name, policy.shown
    ));
    for (text, names) in broken {
        let others = match names.len().saturating_sub(1) {
            0 => String::new(),
            1 => " (and 1 other pod)".to_owned(),
            count => format!(" (and {count} other pods)"),
        };
        warnings.push(format!("{}{others}: {text}", names.first().map_or("", String::as_str)));
    }
    Ok(())
}

fn check_labels(request: &Request<'_>, namespace: &Value) -> Result<(), Status> {
    let labels = meta::labels(namespace).into_iter().flatten();
    let mut errors = Vec::new();
    for (key, value) in labels {
        let Some(mode) = key.strip_prefix(LABEL) else { continue };
        let field = format!("metadata.labels[{key}]");
        let text = value.as_str().unwrap_or_default();
        match mode {
            "enforce" | "audit" | "warn" if Level::parse(text).is_none() => {
                errors.push(FieldError::invalid(
                    field,
                    value,
                    "must be one of privileged, baseline, restricted",
                ))
            }
            "enforce-version" | "audit-version" | "warn-version" if !is_version(text) => {
                errors.push(FieldError::invalid(field, value, "must be \"latest\" or \"v1.x\""))
            }
            _ => {}
        }
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(Status::invalid(&request.kind.group_kind(), request.name, errors))
}

fn is_version(text: &str) -> bool {
    let minor = text.strip_prefix("v1.");
    text == "latest"
        || minor.is_some_and(|minor| {
            !minor.is_empty() && minor.bytes().all(|byte| byte.is_ascii_digit())
        })
}

#[cfg(test)]
mod tests;
