//! JSON patch: a list of operations that all succeed or change nothing.
//! *Source:* RFC 6902; limits and codes: `k8s.io/apiserver/pkg/endpoints/handlers/patch.go`.

use json_patch::{Patch, PatchOperation};
use serde_json::Value;

use crate::status::Status;

/// Most operations in one patch; a list of more is an attack on the server's time.
pub const OPERATIONS_MAX: usize = 10_000;

/// Most bytes that `copy` operations may add together; a patch that doubles itself is an attack on
/// the server's memory.
pub const COPIED_BYTES_MAX: usize = 3 * 1024 * 1024;

/// What a refusal begins with.
const REJECTED: &str = "the server rejected our request due to an error in our request";

/// Applies a JSON patch to an object.
///
/// # Errors
/// 400 when the patch is no list of objects, 413 beyond [`OPERATIONS_MAX`], 422 when an
/// operation is none, or cannot be carried out (missing path, failed `test`, too much copied); the message
/// says which.
pub fn apply(target: &Value, patch: &Value) -> Result<Value, Status> {
    let number = patch.as_array().map_or(0, Vec::len);
    if number > OPERATIONS_MAX {
        return Err(Status::too_large(format_args!(
            "The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {number}"
        )));
    }
    let is_list = patch.as_array().is_some_and(|all| all.iter().all(Value::is_object));
    let Patch(operations) = serde_json::from_value(patch.clone()).map_err(|why| {
        if is_list {
            Status::unprocessable(format!("{REJECTED}: {why}"))
        } else {
            Status::bad_request(format!("error decoding patch: {why}"))
        }
    })?;
    let mut object = target.clone();
    let mut copied_bytes = 0;
    for (index, operation) in operations.into_iter().enumerate() {
        copied_bytes += copied(&object, &operation);
        if copied_bytes > COPIED_BYTES_MAX {
            let why = format!("copies more than {COPIED_BYTES_MAX} bytes");
            return Err(unprocessable(index, &operation, why));
        }
        let shown = operation.clone();
        json_patch::patch(&mut object, &[operation])
            .map_err(|why| unprocessable(index, &shown, why.kind.to_string()))?;
    }
    Ok(object)
}

/// Gives the size of what a `copy` adds, 0 for other operations.
fn copied(object: &Value, operation: &PatchOperation) -> usize {
    match operation {
        PatchOperation::Copy(copy) => {
            object.pointer(copy.from.as_str()).map_or(0, |value| value.to_string().len())
        }
        PatchOperation::Add(_)
        | PatchOperation::Remove(_)
        | PatchOperation::Replace(_)
        | PatchOperation::Move(_)
        | PatchOperation::Test(_) => 0,
    }
}

fn unprocessable(index: usize, operation: &PatchOperation, why: String) -> Status {
    let (verb, path) = match operation {
        PatchOperation::Add(it) => ("add", &it.path),
        PatchOperation::Remove(it) => ("remove", &it.path),
        PatchOperation::Replace(it) => ("replace", &it.path),
        PatchOperation::Move(it) => ("move", &it.path),
        PatchOperation::Copy(it) => ("copy", &it.path),
        PatchOperation::Test(it) => ("test", &it.path),
    };
    Status::unprocessable(format!("{REJECTED}: operation {index} ({verb} {path}): {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(patch: Value, expected: Result<Value, u16>) {
        let target = json!({"a": {"b": [1, 2]}, "x": null});
        let found = apply(&target, &patch).map_err(|status| status.code());
        assert_eq!(found, expected, "{patch}");
    }

    #[test]
    fn operations() {
        check(
            json!([
                {"op": "test", "path": "/a/b/0", "value": 1},
                {"op": "add", "path": "/a/b/-", "value": 3},
                {"op": "remove", "path": "/a/b/0"},
                {"op": "replace", "path": "/x", "value": "y"},
                {"op": "copy", "from": "/x", "path": "/z"},
                {"op": "move", "from": "/z", "path": "/a/z~1w"},
            ]),
            Ok(json!({"a": {"b": [2, 3], "z/w": "y"}, "x": "y"})),
        );
    }

    #[test]
    fn refusals() {
        check(json!({"op": "add"}), Err(400));
        check(json!([{"op": "nope", "path": "/a"}]), Err(422));
        check(json!([{"op": "test", "path": "/a/b/0", "value": 2}]), Err(422));
        check(json!([{"op": "remove", "path": "/nope"}]), Err(422));
        check(json!([{"op": "add", "path": "/no/pe", "value": 1}]), Err(422));
        let many = vec![json!({"op": "test", "path": "/x", "value": null}); OPERATIONS_MAX + 1];
        check(Value::Array(many), Err(413));
    }

    #[test]
    fn doubling_is_stopped() {
        let double = json!({"op": "copy", "from": "/a", "path": "/a/b/-"});
        check(Value::Array(vec![double; 64]), Err(422));
    }

    #[test]
    fn messages_name_the_operation() {
        let patch = json!([{"op": "remove", "path": "/nope"}]);
        let message = apply(&json!({}), &patch).unwrap_err().message;
        assert!(message.contains("operation 0 (remove /nope): "), "{message}");
    }
}
