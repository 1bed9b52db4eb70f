//! When two pod templates are the same, and the name that one gives its ReplicaSet.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::Value;

/// Label by which pods and ReplicaSets of different templates are told apart.
pub(crate) const HASH_LABEL: &str = "pod-template-hash";

/// Fields in which an empty map means the same as none; elsewhere (`emptyDir: {}`) it says a lot.
const MAPS_MAYBE_EMPTY: [&str; 9] = [
    "labels",
    "annotations",
    "nodeSelector",
    "matchLabels",
    "limits",
    "requests",
    "overhead",
    "metadata",
    "resources",
];

/// Letters of a hash: none that could form a word, or be taken for another.
const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// Says whether two templates describe the same pods, whatever hash labels they carry.
pub(crate) fn same(a: &PodTemplateSpec, b: &PodTemplateSpec) -> bool {
    a == b || canonical(a) == canonical(b)
}

/// Gives the hash of a template; `collisions` makes it another when that name is taken.
///
/// At most ten letters, 32 bits. Needs only to be stable within one Deployment.
pub(crate) fn hash(template: &PodTemplateSpec, collisions: Option<i32>) -> String {
    const OFFSET: u32 = 0x811c_9dc5;
    const PRIME: u32 = 0x0100_0193;
    let text = canonical(template).to_string();
    let salt = collisions.filter(|n| *n > 0).map_or([0; 4], i32::to_le_bytes);
    let bytes = text.bytes().chain(salt);
    let sum = bytes.fold(OFFSET, |sum, byte| (sum ^ u32::from(byte)).wrapping_mul(PRIME));
    let letter = |digit: u8| char::from(LETTERS[usize::from(digit) % LETTERS.len()]);
    sum.to_string().bytes().map(letter).collect()
}

/// Gives the template as a value without the hash label and without what is empty.
pub(crate) fn canonical(template: &PodTemplateSpec) -> Value {
    // Typed objects always have a JSON form; should one not, it equals nothing but itself.
    let mut value = serde_json::to_value(template).unwrap_or_default();
    if let Some(labels) = value.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(HASH_LABEL);
    }
    prune(&mut value);
    value
}

fn prune(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(prune);
            fields.retain(|field, value| match value {
                Value::Null => false,
                Value::Array(items) => !items.is_empty(),
                Value::Object(map) => !map.is_empty() || !MAPS_MAYBE_EMPTY.contains(&&**field),
                Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
            });
        }
        Value::Array(items) => items.iter_mut().for_each(prune),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod unit {
    use super::*;
    use serde_json::json;

    fn template(value: Value) -> PodTemplateSpec {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_hash_label_and_empty_lists_make_no_difference_but_an_empty_dir_does() {
        let a = template(json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}}));
        let b = template(json!({"metadata": {"labels": {"a": "b", "pod-template-hash": "x"}},
            "spec": {"containers": [], "volumes": [], "nodeSelector": {}}}));
        assert!(same(&a, &b));
        assert_eq!(hash(&a, None), hash(&b, Some(0)));
        assert_ne!(hash(&a, None), hash(&a, Some(1)));
        let volume = |source: Value| {
            let mut volume = json!({"name": "v"});
            volume.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
            template(json!({"spec": {"containers": [], "volumes": [volume]}}))
        };
        assert!(!same(&volume(json!({"emptyDir": {}})), &volume(json!({"projected": {}}))));
    }

    #[test]
    fn a_hash_is_a_label_value() {
        let text = hash(&PodTemplateSpec::default(), None);
        assert!((1..=10).contains(&text.len()), "{text}");
        assert!(text.bytes().all(|byte| LETTERS.contains(&byte)));
    }
}
