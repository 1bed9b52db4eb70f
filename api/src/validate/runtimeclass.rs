//! Rules for RuntimeClasses.

use serde_json::Value;

use super::{Errors, complain, immutable, metadata, text};
use crate::names;

/// Checks a new RuntimeClass.
pub fn validate(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, false, names::dns1123_subdomain);
    let handler = text(object, "handler");
    complain(&mut errors, "handler", handler, names::dns1123_label(handler));
    errors
}

/// Checks a changed RuntimeClass: pods that run by it do not come under another handler.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    immutable(&mut errors, "handler", &new["handler"], &old["handler"]);
    errors
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;
    use serde_json::json;

    #[test]
    fn handlers_are_labels_and_stay() {
        let class = |handler: &str| json!({"metadata": {"name": "a"}, "handler": handler});
        check(validate(&class("coracle")), &[]);
        assert_eq!(validate(&class("Bad Handler")).len(), 1);
        check(
            validate_update(&class("b"), &class("a")),
            &["handler: Invalid value: \"b\": field is immutable"],
        );
    }
}
