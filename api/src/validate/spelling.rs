//! Amounts that a change only writes in another way: `1Gi` and `1073741824` are the same.
//!
//! The canonical text of an amount keeps its format, so texts that differ may mean the same. What may not change is
//! compared without knowing which texts are amounts; the schema knows.
//! *Source:* `apiequality.Semantic` of `k8s.io/apimachinery`, by which upstream's rules compare.

use serde_json::Value;

use crate::quantity::Quantity;
use crate::schema::{FieldType, Type};

/// Gives the new object with amounts that stay written as they were; `None` when all of them are already.
pub(crate) fn as_before(new: &Value, old: &Value, ty: &Type) -> Option<Value> {
    let mut settled = new.clone();
    settle_members(&mut settled, old, ty).then_some(settled)
}

/// Tells whether something was written anew.
fn settle_members(new: &mut Value, old: &Value, ty: &Type) -> bool {
    let mut changed = false;
    for (name, value) in new.as_object_mut().into_iter().flatten() {
        if let Some((before, field)) = old.get(name).zip(ty.field(name)) {
            changed |= settle(value, before, &field.ty);
        }
    }
    changed
}

fn settle(new: &mut Value, old: &Value, ty: &FieldType) -> bool {
    match ty {
        FieldType::Ref(ty) => settle_members(new, old, ty),
        FieldType::List(item) => {
            let pairs =
                new.as_array_mut().into_iter().flatten().zip(old.as_array().into_iter().flatten());
            pairs.fold(false, |changed, (new, old)| settle(new, old, item) || changed)
        }
        FieldType::Map(member) => {
            let members = new.as_object_mut().into_iter().flatten();
            let pairs = members.filter_map(|(key, value)| Some((value, old.get(key)?)));
            pairs.fold(false, |changed, (new, old)| settle(new, old, member) || changed)
        }
        FieldType::Quantity => {
            let amount =
                |value: &Value| value.as_str().and_then(|text| text.parse::<Quantity>().ok());
            let is_other_text = new != old && amount(new).is_some() && amount(new) == amount(old);
            if is_other_text {
                *new = old.clone();
            }
            is_other_text
        }
        FieldType::String
        | FieldType::Bool
        | FieldType::Int32
        | FieldType::Int64
        | FieldType::Double
        | FieldType::Bytes
        | FieldType::Time
        | FieldType::MicroTime
        | FieldType::Duration
        | FieldType::IntOrString
        | FieldType::RawExtension
        | FieldType::FieldsV1
        | FieldType::Json
        | FieldType::SchemaOrBool(_)
        | FieldType::SchemaOrArray(_)
        | FieldType::SchemaOrStrings(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::decode::{self, FieldValidation};
    use crate::registry;
    use serde_json::{Value, json};

    /// Changes an amount of what may not change, and tells whether that is refused.
    fn check(
        group: &str,
        kind: &str,
        spec: fn(&str) -> Value,
        [old, new]: [&str; 2],
        refused: bool,
    ) {
        let kind = registry::by_kind(group, "v1", kind).unwrap();
        let object = |amount: &str| {
            let metadata = json!({"name": "a", "namespace": "b"});
            let object = json!({"apiVersion": kind.api_version(), "kind": kind.kind, "metadata": metadata,
                "spec": spec(amount)});
            let mut object =
                decode::conform(object, kind.ty(), FieldValidation::Strict).unwrap().value;
            kind.fill(&mut object);
            object
        };
        let found = kind.validate_update(&object(new), &object(old));
        assert_eq!(!found.is_empty(), refused, "{kind:?} from {old} to {new}: {found:?}");
    }

    #[test]
    fn another_word_for_the_same_amount_is_no_change() {
        fn devices(amount: &str) -> Value {
            json!({"devices": {"requests": [{"name": "g", "exactly": {"deviceClassName": "c",
                "capacity": {"requests": {"memory": amount}}}}]}})
        }
        fn template(amount: &str) -> Value {
            json!({"spec": devices(amount)})
        }
        fn job(amount: &str) -> Value {
            json!({"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}},
                "spec": {"restartPolicy": "Never",
                    "containers": [{"name": "c", "image": "i", "resources": {"limits": {"memory": amount}}}]}}})
        }
        for (amounts, refused) in [
            (["1Gi", "1024Mi"], false),
            (["1Gi", "1073741824"], false),
            (["1e3", "1k"], false),
            (["1Gi", "1025Mi"], true),
            (["1Gi", "1G"], true),
        ] {
            check("resource.k8s.io", "ResourceClaim", devices, amounts, refused);
            check("resource.k8s.io", "ResourceClaimTemplate", template, amounts, refused);
            check("batch", "Job", job, amounts, refused);
        }
    }
}
