//! What is to be said of a pod, or of a template of pods.
//!
//! *Source:* `k8s.io/kubernetes/pkg/api/pod` in behaviour.

use super::{at, below, claim, fraction, items, node, overlap, ports, text};
use serde_json::Value;
use std::collections::HashSet;

/// Annotations that do nothing any more, and what does it now.
const ANNOTATIONS: [(&str, &str); 3] = [
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    (
        "security.alpha.kubernetes.io/sysctls",
        "non-functional in v1.11+; use the \"sysctls\" field instead",
    ),
    (
        "security.alpha.kubernetes.io/unsafe-sysctls",
        "non-functional in v1.11+; use the \"sysctls\" field instead",
    ),
];

/// Kinds of volumes that are out of use.
const VOLUMES: [(&str, &str); 9] = [
    ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

/// What annotations for seccomp begin with.
const SECCOMP: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
/// What annotations for AppArmor begin with.
const APPARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// Adds the warnings for a pod, or a template at a path.
pub(super) fn add(found: &mut Vec<String>, pod: &Value, path: &str) {
    let (spec, path_of_spec) = (&pod["spec"], below(path, "spec"));
    let containers: Vec<(String, &Value)> = ["initContainers", "containers", "ephemeralContainers"]
        .into_iter()
        .flat_map(|list| items(spec, list).map(move |(index, item)| (list, index, item)))
        .map(|(list, index, item)| (format!("{path_of_spec}.{list}[{index}]"), item))
        .collect();
    placement(found, spec, &path_of_spec);
    annotations(found, pod, path);
    volumes(found, &spec["volumes"], &path_of_spec);
    overlap::add(found, &spec["volumes"]);
    repeated(found, spec, &path_of_spec);
    for resource in ["memory", "ephemeral-storage"] {
        found.extend(fraction(&spec["overhead"], resource, &format!("{path_of_spec}.overhead")));
    }
    for (place, container) in &containers {
        profiles(found, pod, container, path);
        amounts(found, container, place);
        variables(found, container, place);
    }
    ports::add(found, &containers);
    if spec["terminationGracePeriodSeconds"].as_i64().is_some_and(|seconds| seconds < 0) {
        found.push(format!(
            "{path_of_spec}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
        ));
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        affinity(found, &spec["affinity"][kind], &format!("{path_of_spec}.affinity.{kind}"));
    }
}

/// Adds the warnings for sources of volumes that are out of use, of a volume at a path.
pub(super) fn gone_sources(found: &mut Vec<String>, volume: &Value, path: &str) {
    let gone =
        VOLUMES.iter().filter(|(source, _)| volume.get(source).is_some_and(Value::is_object));
    found.extend(gone.map(|(source, why)| format!("{path}.{source}: {why}")));
}

/// Labels of nodes that are out of use, and selectors that select nothing.
fn placement(found: &mut Vec<String>, spec: &Value, path: &str) {
    found.extend(node::selector(&spec["nodeSelector"], &format!("{path}.nodeSelector"), true));
    let required = "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution";
    for (index, term) in items(at(spec, required), "nodeSelectorTerms") {
        node::term(found, term, &format!("{path}.{required}.nodeSelectorTerms[{index}]"));
    }
    let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
    for (index, term) in items(at(spec, "affinity.nodeAffinity"), preferred) {
        let path = format!("{path}.affinity.nodeAffinity.{preferred}[{index}].preference");
        node::term(found, &term["preference"], &path);
    }
    for (index, constraint) in items(spec, "topologySpreadConstraints") {
        let path = format!("{path}.topologySpreadConstraints[{index}]");
        let key = text(constraint, "topologyKey");
        if let Some(why) = node::deprecated(key) {
            found.push(format!("{path}.topologyKey: {key} is {why}"));
        }
        found.extend(selects_nothing(constraint, &path));
    }
}

fn selects_nothing(value: &Value, path: &str) -> Option<String> {
    value["labelSelector"]
        .is_null()
        .then(|| format!("{path}.labelSelector: a null labelSelector results in matching no pod"))
}

fn affinity(found: &mut Vec<String>, affinity: &Value, path: &str) {
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    for (index, term) in items(affinity, required) {
        found.extend(selects_nothing(term, &format!("{path}.{required}[{index}]")));
    }
    let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
    for (index, term) in items(affinity, preferred) {
        let path = format!("{path}.{preferred}[{index}].podAffinityTerm");
        found.extend(selects_nothing(&term["podAffinityTerm"], &path));
    }
}

fn annotations(found: &mut Vec<String>, pod: &Value, path: &str) {
    let path = below(path, "metadata.annotations");
    let has = |key: &str| pod["metadata"]["annotations"].get(key).is_some();
    let gone = ANNOTATIONS.iter().filter(|(key, _)| has(key));
    found.extend(gone.map(|(key, why)| format!("{path}[{key}]: {why}")));
    if has(SECCOMP) && at(pod, "spec.securityContext.seccompProfile").is_null() {
        found.push(format!(
            "{path}[{SECCOMP}]: non-functional in v1.27+; use the \"seccompProfile\" field instead"
        ));
    }
}

/// Annotations that speak of one container.
fn profiles(found: &mut Vec<String>, pod: &Value, container: &Value, path: &str) {
    let name = text(container, "name");
    let place = below(path, "metadata.annotations");
    let has = |key: &str| pod["metadata"]["annotations"].get(key).is_some();
    let unset = |field: &str| container["securityContext"][field].is_null();
    let key = format!("{SECCOMP_CONTAINER}{name}");
    if has(&key) && unset("seccompProfile") {
        found.push(format!(
            "{place}[{key}]: non-functional in v1.27+; use the \"seccompProfile\" field instead"
        ));
    }
    let key = format!("{APPARMOR}{name}");
    let of_pod = at(pod, "spec.securityContext.appArmorProfile");
    if has(&key) && unset("appArmorProfile") && of_pod.is_null() {
        found.push(format!(
            "{place}[{key}]: deprecated since v1.30; use the \"appArmorProfile\" field instead"
        ));
    }
}

fn volumes(found: &mut Vec<String>, volumes: &Value, path: &str) {
    for (index, volume) in volumes.as_array().into_iter().flatten().enumerate() {
        let path = format!("{path}.volumes[{index}]");
        gone_sources(found, volume, &path);
        let spec = at(volume, "ephemeral.volumeClaimTemplate.spec");
        found.extend(claim(spec, &format!("{path}.ephemeral.volumeClaimTemplate.spec")));
    }
}

/// Things that are named twice, or not at all.
fn repeated(found: &mut Vec<String>, spec: &Value, path: &str) {
    for (list, field) in [("hostAliases", "ip"), ("imagePullSecrets", "name")] {
        let mut known = HashSet::new();
        for (index, item) in items(spec, list) {
            let value = text(item, field);
            if !known.insert(value) {
                found.push(format!("{path}.{list}[{index}].{field}: duplicate {field} {value:?}"));
            }
        }
    }
    for (index, secret) in items(spec, "imagePullSecrets") {
        if text(secret, "name").is_empty() {
            found.push(format!("{path}.imagePullSecrets[{index}].name: invalid empty name \"\""));
        }
    }
}

fn amounts(found: &mut Vec<String>, container: &Value, path: &str) {
    for resource in ["memory", "ephemeral-storage"] {
        for list in ["limits", "requests"] {
            let path = format!("{path}.resources.{list}");
            found.extend(fraction(&container["resources"][list], resource, &path));
        }
    }
}

/// Variables that are set twice, unless the second value is made of the first.
fn variables(found: &mut Vec<String>, container: &Value, path: &str) {
    let mut known = HashSet::new();
    for (index, variable) in items(container, "env") {
        let (name, value) = (text(variable, "name"), text(variable, "value"));
        if known.insert(name) {
            continue;
        }
        let reference = format!("$({name})");
        let keeps = value != reference && value.contains(&reference);
        if !keeps || !variable["valueFrom"].is_null() {
            found.push(format!(
                "{path}.env[{index}]: hides previous definition of {name:?}, which may be dropped when using apply"
            ));
        }
    }
}
