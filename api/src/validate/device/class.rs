//! Rules for DeviceClasses. *Source:* `ValidateDeviceClass`.

use serde_json::Value;

use super::super::{Errors, has, items, metadata, same, text};
use super::{Age, CONFIGURATIONS_MAX, check_configuration, check_selectors, each};
use crate::field_error::{FieldError, Path};
use crate::names;

const SPEC: Path<'static> = Path::root("spec");

/// Checks a new DeviceClass.
pub fn validate(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, false, names::dns1123_subdomain);
    check(&mut errors, &object["spec"], None);
    errors
}

/// Checks a changed DeviceClass.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    check(&mut errors, &new["spec"], Some(&old["spec"]));
    errors
}

fn check(errors: &mut Errors, spec: &Value, old: Option<&Value>) {
    let age = |field: &str| match old {
        Some(old) if same(&spec[field], &old[field]) => Age::Stored,
        Some(_) | None => Age::New,
    };
    let path = SPEC.child("selectors");
    check_selectors(errors, &path, items(spec, "selectors"), age("selectors"));
    let (path, age) = (SPEC.child("config"), age("config"));
    each(errors, &path, items(spec, "config"), CONFIGURATIONS_MAX, |errors, path, one| {
        check_configuration(errors, path, one, age);
    });
    let field = "extendedResourceName";
    let name = text(spec, field);
    if has(spec, field) && !is_extended(name) {
        let words = "must be a valid extended resource name";
        errors.push(FieldError::invalid(SPEC.child(field), name, words));
    }
}

/// Tells whether a name is that of a resource which is nobody's but its vendor's.
fn is_extended(name: &str) -> bool {
    name.contains('/')
        && !name.contains("kubernetes.io/")
        && !name.starts_with("requests.")
        && names::qualified_name(&format!("requests.{name}")).is_empty()
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::check as compare;
    use super::*;
    use serde_json::json;

    fn class(spec: Value) -> Value {
        json!({"metadata": {"name": "gpu"}, "spec": spec})
    }

    #[test]
    fn selectors_configurations_and_names() {
        let expression = "device.driver == 'gpu.example.com' && device.attributes['gpu.example.com'].big && \
             device.capacity['gpu.example.com'].memory.compareTo(quantity('10Gi')) >= 0";
        let parameters = json!({"kind": "A"});
        let fine = json!({"selectors": [{"cel": {"expression": expression}}], "extendedResourceName": "example.com/gpu",
            "config": [{"opaque": {"driver": "gpu.example.com", "parameters": parameters}}]});
        compare(validate(&class(fine)), &[]);
        let wrong = json!({"selectors": [{}, {"cel": {"expression": "pod.name"}}], "extendedResourceName": "cpu",
            "config": [{}, {"opaque": {"driver": "", "parameters": [1]}}]});
        compare(
            validate(&class(wrong)),
            &[
                "spec.selectors[0].cel: Required value",
                "spec.selectors[1].cel.expression: Invalid value: \"pod.name\": compilation failed: undeclared reference to 'pod' (in container '')",
                "spec.config[0].opaque: Required value",
                "spec.config[1].opaque.driver: Required value",
                "spec.config[1].opaque.parameters: Invalid value: \"<value omitted>\": must be a valid JSON object",
                "spec.extendedResourceName: Invalid value: \"cpu\": must be a valid extended resource name",
            ],
        );
        let long = json!({"selectors": [{"cel": {"expression": "true".repeat(3_000)}}]});
        compare(
            validate(&class(long)),
            &["spec.selectors[0].cel.expression: Too long: may not be more than 10240 bytes"],
        );
        let many = json!({"config": vec![json!({}); 33]});
        compare(validate(&class(many)), &["spec.config: Too many: 33: must have at most 32 items"]);
    }

    #[test]
    fn what_is_stored_may_stay() {
        let parameters = json!({"a": "x".repeat(10 << 10)});
        let config =
            |driver: &str| json!([{"opaque": {"driver": driver, "parameters": parameters}}]);
        let selectors =
            |name: &str| json!([{"cel": {"expression": format!("{name}.driver == 'd'")}}]);
        let old = json!({"selectors": selectors("pod"), "config": config("d")});
        let named = |name: &str| json!({"extendedResourceName": name});
        let long = "spec.config[0].opaque.parameters: Too long: may not be more than 10240 bytes";
        let broken = "spec.selectors[0].cel.expression: Invalid value: \"vod.driver == 'd'\": compilation failed: undeclared reference to 'vod' (in container '')";
        for (change, expected) in [
            (named("example.com/gpu"), vec![]),
            (json!({"config": config("e")}), vec![long]),
            (json!({"selectors": selectors("vod")}), vec![broken]),
            (json!({"selectors": selectors("device")}), vec![]),
            (json!({"config": [{"opaque": {"driver": "d", "parameters": {}}}]}), vec![]),
        ] {
            let mut new = old.clone();
            new.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            compare(validate_update(&class(new), &class(old.clone())), &expected);
        }
    }
}
