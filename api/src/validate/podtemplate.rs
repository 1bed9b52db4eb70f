//! Rules for PodTemplates. *Source:* `ValidatePodTemplate` in `pkg/apis/core/validation`.

use serde_json::Value;

use super::{Errors, metadata, pod};
use crate::field_error::Path;
use crate::names;

const TEMPLATE: Path<'static> = Path::root("template");

/// Checks a new PodTemplate.
pub fn validate(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, true, names::dns1123_subdomain);
    pod::check_template(&mut errors, &TEMPLATE, &object["template"]);
    errors
}

/// Checks a changed PodTemplate.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    pod::check_template(&mut errors, &TEMPLATE, &new["template"]);
    errors
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, workload};
    use super::*;
    use serde_json::json;

    #[test]
    fn the_template_is_looked_at() {
        let template = workload(json!({}))["spec"]["template"].clone();
        let mut object = json!({"metadata": {"name": "a", "namespace": "b"}, "template": template});
        let old = object.clone();
        check(validate(&object), &[]);
        object["template"]["spec"]["containers"] = json!([]);
        let line = "template.spec.containers: Required value";
        check(validate(&object), &[line]);
        check(validate_update(&object, &old), &[line]);
    }
}
