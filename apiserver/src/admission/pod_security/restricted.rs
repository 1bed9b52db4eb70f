//! The level `restricted`: what well-kept pods do without.
//!
//! Rules in the order of upstream's ids. *Source:* Kubernetes, "Pod Security Standards".

use super::Violation;
use super::subject::{name, named, names_where};
use serde_json::Value;

/// Volume types that may be used.
const VOLUMES: [&str; 8] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// What of the level a pod breaks, beyond `baseline`.
pub(super) fn check(pod: &Value) -> Vec<Violation> {
    let on_windows = pod.pointer("/spec/os/name").and_then(Value::as_str) == Some("windows");
    let mut found = Vec::new();
    if !on_windows {
        found.extend(privilege_escalation(pod));
        found.extend(capabilities(pod));
    }
    found.extend(volumes(pod));
    found.extend(non_root(pod));
    found.extend(root_user(pod));
    if !on_windows {
        found.extend(seccomp(pod));
    }
    found
}

fn violation(reason: &'static str, parts: Vec<String>) -> Option<Violation> {
    (!parts.is_empty()).then(|| Violation { reason, detail: parts.join("; ") })
}

fn privilege_escalation(pod: &Value) -> Option<Violation> {
    let field = "/securityContext/allowPrivilegeEscalation";
    let names = names_where(pod, |container| container.pointer(field) != Some(&Value::Bool(false)));
    if names.is_empty() {
        return None;
    }
    let detail = format!(
        "{} must set securityContext.allowPrivilegeEscalation=false",
        named("container", &names)
    );
    violation("allowPrivilegeEscalation != false", vec![detail])
}

fn capabilities(pod: &Value) -> Option<Violation> {
    let list = |container: &Value, field: &str| -> Vec<String> {
        let all = container
            .pointer(&format!("/securityContext/capabilities/{field}"))
            .and_then(Value::as_array);
        all.into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
    };
    let added = |container: &Value| {
        let mut added = list(container, "add");
        added.retain(|name| name != "NET_BIND_SERVICE");
        added
    };
    let mut parts = Vec::new();
    let keeps =
        names_where(pod, |container| !list(container, "drop").iter().any(|name| name == "ALL"));
    if !keeps.is_empty() {
        parts.push(format!(
            "{} must set securityContext.capabilities.drop=[\"ALL\"]",
            named("container", &keeps)
        ));
    }
    let adds = names_where(pod, |container| !added(container).is_empty());
    if !adds.is_empty() {
        let mut all: Vec<String> = super::subject::containers(pod).flat_map(added).collect();
        all.sort();
        all.dedup();
        let quoted: Vec<String> = all.iter().map(|name| format!("{name:?}")).collect();
        let who = named("container", &adds);
        parts.push(format!(
            "{who} must not include {} in securityContext.capabilities.add",
            quoted.join(", ")
        ));
    }
    violation("unrestricted capabilities", parts)
}

fn volumes(pod: &Value) -> Option<Violation> {
    let all = pod.pointer("/spec/volumes").and_then(Value::as_array);
    let mut names = Vec::new();
    let mut types: Vec<&str> = Vec::new();
    for volume in all.into_iter().flatten() {
        let source = volume.as_object().into_iter().flatten();
        let source = source.map(|(field, _)| field.as_str()).find(|field| *field != "name");
        match source {
            Some(source) if !VOLUMES.contains(&source) => {
                names.push(name(volume));
                types.push(source);
            }
            Some(_) | None => {}
        }
    }
    types.sort_unstable();
    types.dedup();
    if names.is_empty() {
        return None;
    }
    let uses = if names.len() == 1 { "uses" } else { "use" };
    let detail =
        format!("{} {uses} {}", named("volume", &names), named("restricted volume type", &types));
    violation("restricted volume types", vec![detail])
}

fn non_root(pod: &Value) -> Option<Violation> {
    let field = "/securityContext/runAsNonRoot";
    let own = pod["spec"].pointer(field).and_then(Value::as_bool);
    let of = |container: &Value| container.pointer(field).and_then(Value::as_bool);
    let wrong = names_where(pod, |container| of(container) == Some(false));
    let silent = names_where(pod, |container| of(container).is_none());
    let mut parts = Vec::new();
    // A pod's own word matters only where containers say nothing.
    if own == Some(false) && !silent.is_empty() {
        parts.push("pod must not set securityContext.runAsNonRoot=false".to_owned());
    }
    if !wrong.is_empty() {
        parts.push(format!(
            "{} must not set securityContext.runAsNonRoot=false",
            named("container", &wrong)
        ));
    }
    if own.is_none() && wrong.is_empty() && !silent.is_empty() {
        parts.push(format!(
            "pod or {} must set securityContext.runAsNonRoot=true",
            named("container", &silent)
        ));
    }
    violation("runAsNonRoot != true", parts)
}

fn root_user(pod: &Value) -> Option<Violation> {
    let field = "/securityContext/runAsUser";
    let is_root = |value: &Value| value.pointer(field).and_then(Value::as_i64) == Some(0);
    let mut parts = Vec::new();
    if is_root(&pod["spec"]) {
        parts.push("pod must not set runAsUser=0".to_owned());
    }
    let names = names_where(pod, is_root);
    if !names.is_empty() {
        parts.push(format!("{} must not set runAsUser=0", named("container", &names)));
    }
    violation("runAsUser=0", parts)
}

fn seccomp(pod: &Value) -> Option<Violation> {
    let field = "/securityContext/seccompProfile/type";
    let allowed = |text: &str| matches!(text, "RuntimeDefault" | "Localhost");
    let of = |value: &Value| value.pointer(field).and_then(Value::as_str).map(str::to_owned);
    let own = of(&pod["spec"]);
    let wrong = names_where(pod, |container| of(container).is_some_and(|text| !allowed(&text)));
    let silent = names_where(pod, |container| of(container).is_none());
    let mut parts = Vec::new();
    if let Some(text) = own.as_deref().filter(|text| !allowed(text) && !silent.is_empty()) {
        parts.push(format!("pod must not set securityContext.seccompProfile.type to {text:?}"));
    }
    if !wrong.is_empty() {
        let who = named("container", &wrong);
        parts.push(format!(
            "{who} must not set securityContext.seccompProfile.type to \"Unconfined\""
        ));
    }
    if own.is_none() && wrong.is_empty() && !silent.is_empty() {
        parts.push(format!(
            "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
            named("container", &silent)
        ));
    }
    violation("seccompProfile", parts)
}
