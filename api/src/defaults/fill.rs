//! Small steps that all defaults are made of.

use serde_json::{Map, Value};

/// Members of a JSON object.
pub(super) type Members = Map<String, Value>;

/// Sets a member that is absent, `null` or empty text.
pub(super) fn fill(members: &mut Members, name: &str, default: impl Into<Value>) {
    let absent = match members.get(name) {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => false,
    };
    if absent {
        members.insert(name.to_owned(), default.into());
    }
}

/// Sets a member that is absent or `null`; empty text counts as said.
pub(super) fn fill_pointer(members: &mut Members, name: &str, default: impl Into<Value>) {
    if members.get(name).is_none_or(Value::is_null) {
        members.insert(name.to_owned(), default.into());
    }
}

/// Sets a number that is absent or zero.
pub(super) fn fill_number(members: &mut Members, name: &str, default: i64) {
    if members.get(name).and_then(Value::as_i64).unwrap_or_default() == 0 {
        members.insert(name.to_owned(), default.into());
    }
}

/// Gives a member that is an object.
pub(super) fn inside<'a>(members: &'a mut Members, name: &str) -> Option<&'a mut Members> {
    members.get_mut(name)?.as_object_mut()
}

/// Gives a member that is an object, making it when it is absent; `None` when it is something else.
pub(super) fn ensure<'a>(members: &'a mut Members, name: &str) -> Option<&'a mut Members> {
    fill_pointer(members, name, Members::new());
    inside(members, name)
}

/// Gives the objects of a list.
pub(super) fn items<'a>(
    members: &'a mut Members,
    name: &str,
) -> impl Iterator<Item = &'a mut Members> {
    let list = members.get_mut(name).and_then(Value::as_array_mut);
    list.into_iter().flatten().filter_map(Value::as_object_mut)
}

/// Reads text, empty when absent.
pub(super) fn text<'a>(members: &'a Members, name: &str) -> &'a str {
    members.get(name).and_then(Value::as_str).unwrap_or_default()
}
