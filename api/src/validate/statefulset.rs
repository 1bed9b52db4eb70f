//! Rules for StatefulSets. *Source:* `ValidateStatefulSetSpec` in `pkg/apis/apps/validation`.

use serde_json::{Value, json};

use super::{
    Errors, amount, has, items, metadata, non_negative, number, one_of, same, text, workload,
};
use crate::field_error::{FieldError, Path};
use crate::names;

const SPEC: Path<'static> = Path::root("spec");

/// Fields of the spec that may change.
const MUTABLE: &[&str] = &[
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

/// Checks a new StatefulSet.
pub fn validate(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, true, names::dns1123_subdomain);
    check_spec(&mut errors, &object["spec"]);
    errors
}

/// Checks a changed StatefulSet: little of it may change.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    check_spec(&mut errors, &new["spec"]);
    let fixed = |spec: &Value| -> Value {
        let members = spec.as_object().into_iter().flatten();
        let kept = members.filter(|(name, _)| !MUTABLE.contains(&name.as_str()));
        kept.map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    if !same(&fixed(&new["spec"]), &fixed(&old["spec"])) {
        let words = "updates to statefulset spec for fields other than 'replicas', 'ordinals', \
                     'template', 'updateStrategy', 'revisionHistoryLimit', \
                     'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
        errors.push(FieldError::forbidden(SPEC, words));
    }
    errors
}

/// Checks a changed status of a StatefulSet.
pub fn validate_status_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    let (status, path) = (&new["status"], Path::root("status"));
    let replicas = number(status, "replicas").unwrap_or_default();
    non_negative(&mut errors, path.child("replicas"), Some(replicas));
    for field in ["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"] {
        let count = number(status, field);
        non_negative(&mut errors, path.child(field), count);
        if let Some(count) = count.filter(|&count| count > replicas) {
            let words = "cannot be greater than status.replicas";
            errors.push(FieldError::invalid(path.child(field), count, words));
        }
    }
    errors
}

fn check_spec(errors: &mut Errors, spec: &Value) {
    let policy = text(spec, "podManagementPolicy");
    if policy.is_empty() {
        errors.push(FieldError::required(SPEC.child("podManagementPolicy"), ""));
    } else if !matches!(policy, "OrderedReady" | "Parallel") {
        let words = "must be 'OrderedReady' or 'Parallel'";
        errors.push(FieldError::invalid(SPEC.child("podManagementPolicy"), policy, words));
    }
    check_strategy(errors, &spec["updateStrategy"]);
    check_retention(errors, &spec["persistentVolumeClaimRetentionPolicy"]);
    for field in ["replicas", "minReadySeconds", "revisionHistoryLimit"] {
        non_negative(errors, SPEC.child(field), number(spec, field));
    }
    if let Some(start) = number(&spec["ordinals"], "start") {
        let path = SPEC.child("ordinals");
        non_negative(errors, path.child("start"), Some(start));
    }
    workload::check_as(errors, &with_claims(spec), "StatefulSet", "statefulset");
    let path = SPEC.child("volumeClaimTemplates");
    for (index, template) in items(spec, "volumeClaimTemplates").iter().enumerate() {
        let path = path.index(index);
        if text(&template["metadata"], "name").is_empty() {
            let path = path.child("metadata");
            errors.push(FieldError::required(path.child("name"), ""));
        }
    }
}

/// The spec with a volume for each claim, as the pods will have: containers may mount them.
fn with_claims(spec: &Value) -> Value {
    let mut spec = spec.clone();
    let names: Vec<Value> = items(&spec, "volumeClaimTemplates")
        .iter()
        .map(|claim| claim["metadata"]["name"].clone())
        .filter(|name| {
            let volumes = items(&spec["template"]["spec"], "volumes");
            name.is_string() && volumes.iter().all(|volume| volume["name"] != *name)
        })
        .collect();
    let pod = spec.pointer_mut("/template/spec").and_then(Value::as_object_mut);
    if let Some(pod) = pod.filter(|_| !names.is_empty()) {
        let volumes = pod.entry("volumes").or_insert_with(|| json!([]));
        if let Some(volumes) = volumes.as_array_mut() {
            volumes.extend(
                names.into_iter().map(
                    |name| json!({"name": name, "persistentVolumeClaim": {"claimName": name}}),
                ),
            );
        }
    }
    spec
}

fn check_strategy(errors: &mut Errors, strategy: &Value) {
    let path = SPEC.child("updateStrategy");
    let rolling = path.child("rollingUpdate");
    match text(strategy, "type") {
        "" => errors.push(FieldError::required(path, "")),
        "OnDelete" if has(strategy, "rollingUpdate") => {
            let words = "only allowed for updateStrategy 'RollingUpdate'";
            errors.push(FieldError::invalid(rolling, &strategy["rollingUpdate"], words));
        }
        "OnDelete" => {}
        "RollingUpdate" => {
            let update = &strategy["rollingUpdate"];
            non_negative(errors, rolling.child("partition"), number(update, "partition"));
            let unavailable = rolling.child("maxUnavailable");
            amount::check(errors, &unavailable, &update["maxUnavailable"]);
            if has(update, "maxUnavailable") && amount::read(&update["maxUnavailable"]) == Some(0) {
                let words = "cannot be 0";
                errors.push(FieldError::invalid(unavailable, &update["maxUnavailable"], words));
            }
        }
        _ => {
            let words = "must be 'RollingUpdate' or 'OnDelete'";
            errors.push(FieldError::invalid(path, strategy, words));
        }
    }
}

fn check_retention(errors: &mut Errors, policy: &Value) {
    let path = SPEC.child("persistentVolumeClaimRetentionPolicy");
    for field in ["whenDeleted", "whenScaled"] {
        let value = text(policy, field);
        if has(policy, field) {
            one_of(errors, path.child(field), value, &["Delete", "Retain"]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, workload};
    use super::*;

    fn set(change: Value) -> Value {
        let mut object = workload(change);
        if object["spec"]["podManagementPolicy"].is_null() {
            object["spec"]["podManagementPolicy"] = json!("OrderedReady");
        }
        if object["spec"]["updateStrategy"].is_null() {
            object["spec"]["updateStrategy"] =
                json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}});
        }
        object
    }

    #[test]
    fn specs() {
        check(validate(&set(json!({}))), &[]);
        check(
            validate(&set(json!({"podManagementPolicy": "x", "replicas": -1,
                "updateStrategy": {"type": "OnDelete", "rollingUpdate": {}}, "volumeClaimTemplates": [{}]}))),
            &[
                "spec.podManagementPolicy: Invalid value: \"x\": must be 'OrderedReady' or 'Parallel'",
                "spec.updateStrategy.rollingUpdate: Invalid value: {}: only allowed for updateStrategy 'RollingUpdate'",
                "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
                "spec.volumeClaimTemplates[0].metadata.name: Required value",
            ],
        );
        check(
            validate(&set(json!({"selector": {}}))),
            &["spec.selector: Invalid value: {}: empty selector is invalid for statefulset"],
        );
    }

    #[test]
    fn containers_mount_claims() {
        let claimed = |mounted: &str| {
            let mut object = set(json!({"volumeClaimTemplates": [{"metadata": {"name": "data"}}]}));
            object["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] =
                json!([{"name": mounted, "mountPath": "/data"}]);
            object
        };
        check(validate(&claimed("data")), &[]);
        check(
            validate(&claimed("other")),
            &["spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"other\""],
        );
    }

    #[test]
    fn little_may_change() {
        let old = set(json!({}));
        check(validate_update(&set(json!({"replicas": 5})), &old), &[]);
        check(
            validate_update(&set(json!({"serviceName": "other"})), &old),
            &[
                "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
            ],
        );
    }
}
