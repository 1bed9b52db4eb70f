//! What may change by `pods/ephemeralcontainers`: containers are added, none is changed or removed.
//!
//! *Source:* `ValidatePodEphemeralContainersUpdate` of kube-apiserver 1.35.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::{Errors, has, items, same, text};
use super::SPEC;
use super::container::{Context, check_container, check_name};
use crate::field_error::{FieldError, Path};

/// Fields that make no sense for a container that is only there to look around.
const REFUSED: [&str; 6] =
    ["lifecycle", "livenessProbe", "ports", "readinessProbe", "resources", "startupProbe"];

/// Checks a Pod with added ephemeral containers.
pub fn validate_ephemeral_update(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    let path = SPEC.child("ephemeralContainers");
    let (new, old) = (&new["spec"], &old["spec"]);
    let list = items(new, "ephemeralContainers");
    check_each(&mut errors, &path, new, list);
    let named = |list: &[Value], name: &str| -> Option<Value> {
        list.iter().find(|container| text(container, "name") == name).cloned()
    };
    for before in items(old, "ephemeralContainers") {
        let name = text(before, "name");
        let words = match named(list, name) {
            None => format!("existing ephemeral containers \"{name}\" may not be removed\n"),
            Some(after) if !same(&after, before) => {
                format!("existing ephemeral containers \"{name}\" may not be changed\n")
            }
            Some(_) => continue,
        };
        errors.push(FieldError::forbidden(path, words));
    }
    errors
}

fn check_each(errors: &mut Errors, path: &Path<'_>, spec: &Value, list: &[Value]) {
    let names = |list: &str| items(spec, list).iter().map(|container| text(container, "name"));
    let mut seen: BTreeSet<&str> = names("containers").chain(names("initContainers")).collect();
    let volumes: BTreeSet<&str> = names("volumes").collect();
    let context = Context { spec, volumes: &volumes, grace: None };
    for (index, container) in list.iter().enumerate() {
        let path = path.index(index);
        check_name(errors, &path, container, &mut seen);
        check_container(errors, &path, container, &context);
        for field in REFUSED {
            let empty = container[field].as_object().is_some_and(serde_json::Map::is_empty)
                || container[field].as_array().is_some_and(Vec::is_empty);
            if has(container, field) && !empty {
                let words = "cannot be set for an Ephemeral Container";
                errors.push(FieldError::forbidden(path.child(field), words));
            }
        }
        let target = text(container, "targetContainerName");
        if !target.is_empty() && !names("containers").any(|name| name == target) {
            errors.push(FieldError::not_found(path.child("targetContainerName"), target));
        }
        check_mounts(errors, &path.child("volumeMounts"), items(container, "volumeMounts"));
    }
}

fn check_mounts(errors: &mut Errors, path: &Path<'_>, mounts: &[Value]) {
    for (index, mount) in mounts.iter().enumerate() {
        for field in ["subPath", "subPathExpr"] {
            if !text(mount, field).is_empty() {
                let words = "cannot be set for an Ephemeral Container";
                errors.push(FieldError::forbidden(path.index(index).child(field), words));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(ephemeral: Value) -> Value {
        json!({"spec": {"containers": [{"name": "app", "image": "a"}],
            "ephemeralContainers": ephemeral}})
    }

    #[test]
    fn containers_are_only_added() {
        let debug = |more: Value| {
            let mut container = json!({"name": "debug", "image": "tools",
                "terminationMessagePolicy": "File", "imagePullPolicy": "Always"});
            let fields = container.as_object_mut().unwrap();
            fields.extend(more.as_object().unwrap().clone());
            container
        };
        let check = |new: Value, old: Value, expected: &[&str]| {
            let errors = validate_ephemeral_update(&pod(new), &pod(old));
            let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
            assert_eq!(texts, expected);
        };
        let plain = || json!([debug(json!({}))]);
        check(plain(), json!([]), &[]);
        check(
            json!([debug(json!({"targetContainerName": "app", "resources": {}}))]),
            json!([]),
            &[],
        );
        check(
            json!([]),
            plain(),
            &[
                "spec.ephemeralContainers: Forbidden: existing ephemeral containers \"debug\" may not be removed\n",
            ],
        );
        check(
            json!([debug(json!({"image": "other"}))]),
            plain(),
            &[
                "spec.ephemeralContainers: Forbidden: existing ephemeral containers \"debug\" may not be changed\n",
            ],
        );
        check(
            json!([debug(json!({"name": "app"}))]),
            json!([]),
            &["spec.ephemeralContainers[0].name: Duplicate value: \"app\""],
        );
        check(
            json!([debug(
                json!({"ports": [{"containerPort": 1, "protocol": "TCP"}], "targetContainerName": "x"})
            )]),
            json!([]),
            &[
                "spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container",
                "spec.ephemeralContainers[0].targetContainerName: Not found: \"x\"",
            ],
        );
    }
}
