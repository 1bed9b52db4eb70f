//! Rules for Pods and for the pod templates of workloads.

mod affinity;
mod container;
mod env;
mod ephemeral;
mod probe;
mod scheduling;
mod spec;
mod status;
mod update;
mod volume;

use serde_json::Value;

use super::{Errors, items, labels, metadata, text};
use crate::field_error::{FieldError, Path};
use crate::names;

pub(super) use affinity::check_node_selector;
pub use ephemeral::validate_ephemeral_update;
pub(super) use probe::check_port;
pub(super) use scheduling::check_taint_effect;
pub use status::validate_status_update;
pub use update::validate_update;

const METADATA: Path<'static> = Path::root("metadata");
const SPEC: Path<'static> = Path::root("spec");

/// Checks a new Pod.
pub fn validate(object: &Value) -> Errors {
    let mut errors = metadata_and_spec(object);
    if !items(&object["spec"], "ephemeralContainers").is_empty() {
        let words = "cannot be set on create";
        errors.push(FieldError::forbidden(SPEC.child("ephemeralContainers"), words));
    }
    errors
}

/// Checks what holds at every moment of a Pod's life.
fn metadata_and_spec(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, true, names::dns1123_subdomain);
    let spec = &object["spec"];
    check_annotations(&mut errors, &object["metadata"]["annotations"]);
    spec::check(&mut errors, &SPEC, spec);
    if text(spec, "serviceAccountName").is_empty() {
        check_no_tokens(&mut errors, spec);
    }
    for list in ["containers", "initContainers"] {
        let path = SPEC.child(list);
        for (index, container) in items(spec, list).iter().enumerate() {
            check_image_spaces(&mut errors, &path.index(index), text(container, "image"));
        }
    }
    errors
}

/// Checks a pod template at `path`.
pub(super) fn check_template(errors: &mut Errors, path: &Path<'_>, template: &Value) {
    let metadata_path = path.child("metadata");
    let metadata = &template["metadata"];
    labels::check(errors, &path.child("labels"), &metadata["labels"]);
    metadata::check_annotations(
        errors,
        &metadata_path.child("annotations"),
        &metadata["annotations"],
    );
    spec::check(errors, &path.child("spec"), &template["spec"]);
    if !items(&template["spec"], "ephemeralContainers").is_empty() {
        let spec = path.child("spec");
        let words = "ephemeral containers not allowed in pod template";
        errors.push(FieldError::forbidden(spec.child("ephemeralContainers"), words));
    }
}

fn check_annotations(errors: &mut Errors, annotations: &Value) {
    let key = "controller.kubernetes.io/pod-deletion-cost";
    if let Some(cost) = annotations[key].as_str().filter(|cost| cost.parse::<i32>().is_err()) {
        let path = METADATA.child("annotations");
        errors.push(FieldError::invalid(path.key(key), cost, "must be a 32bit integer"));
    }
}

fn check_no_tokens(errors: &mut Errors, spec: &Value) {
    let path = SPEC.child("volumes");
    for (index, volume) in items(spec, "volumes").iter().enumerate() {
        let path = path.index(index);
        let path = path.child("projected");
        let path = path.child("sources");
        for (index, source) in items(&volume["projected"], "sources").iter().enumerate() {
            if !source["serviceAccountToken"].is_null() {
                let path = path.index(index);
                let words = "must not be specified when serviceAccountName is not set";
                errors.push(FieldError::forbidden(path.child("serviceAccountToken"), words));
            }
        }
    }
}

fn check_image_spaces(errors: &mut Errors, path: &Path<'_>, image: &str) {
    if image.trim().len() != image.len() {
        let words = "must not have leading or trailing whitespace";
        errors.push(FieldError::invalid(path.child("image"), image, words));
    }
}

#[cfg(test)]
mod tests;
