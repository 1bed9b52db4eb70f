//! Objects into bytes, once, with a place left for the revision.

use super::header::Header;
use coracle_api::registry::Kind;
use coracle_store::{Content, Note};
use serde_json::{Map, Value};
use std::io::Write;
use std::sync::Arc;

/// The member of `metadata` that the store fills in.
const RESOURCE_VERSION: &str = "resourceVersion";

/// Makes the store's content of an object: compact JSON in which the store writes `metadata.resourceVersion`, and the
/// header for the caches. A `resourceVersion` that the object has is left out.
pub fn encode(kind: &Kind, object: &Value) -> Content {
    let mut json = Vec::with_capacity(1024);
    let stamp = write_object(object, &mut json);
    let note = Note(Arc::new(Header::of(kind, object)));
    Content { bytes: json.into(), stamp, note: Some(note) }
}

/// Writes an object with an empty `resourceVersion`, and gives the offset inside its quotes.
fn write_object(object: &Value, out: &mut Vec<u8>) -> Option<u32> {
    let Value::Object(members) = object else {
        write_value(object, out);
        return None;
    };
    let mut stamp = None;
    write_members(members, out, |name, value, out| match value.as_object() {
        Some(metadata) if name == "metadata" => stamp = write_metadata(metadata, out),
        Some(_) | None => write_value(value, out),
    });
    stamp
}

fn write_metadata(metadata: &Map<String, Value>, out: &mut Vec<u8>) -> Option<u32> {
    out.extend_from_slice(b"{\"resourceVersion\":\"");
    let stamp = u32::try_from(out.len()).ok();
    out.extend_from_slice(b"\"");
    for (name, value) in metadata.iter().filter(|(name, _)| *name != RESOURCE_VERSION) {
        out.push(b',');
        write_value(name, out);
        out.push(b':');
        write_value(value, out);
    }
    out.push(b'}');
    stamp
}

fn write_members(
    members: &Map<String, Value>,
    out: &mut Vec<u8>,
    mut write: impl FnMut(&str, &Value, &mut Vec<u8>),
) {
    out.push(b'{');
    for (index, (name, value)) in members.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_value(name, out);
        out.push(b':');
        write(name, value, out);
    }
    out.push(b'}');
}

/// Appends JSON; writing a `Value` or a string to memory cannot fail, and `null` keeps the text well-formed if it did.
fn write_value(value: &(impl serde::Serialize + ?Sized), out: &mut Vec<u8>) {
    let start = out.len();
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.truncate(start);
        let _infallible = out.write_all(b"null");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_api::registry::by_kind;
    use coracle_store::{Revision, stamp};
    use serde_json::json;

    fn check(object: Value, expected: &str) {
        let content = encode(by_kind("", "v1", "Pod").unwrap(), &object);
        let bytes = match content.stamp {
            Some(at) => stamp(&content.bytes, at, Revision(42)),
            None => content.bytes,
        };
        assert_eq!(std::str::from_utf8(&bytes).unwrap(), expected);
    }

    #[test]
    fn leaves_a_place_for_the_revision() {
        check(
            json!({"kind": "Pod", "metadata": {"name": "a", "resourceVersion": "7"}, "x": [1, null]}),
            r#"{"kind":"Pod","metadata":{"resourceVersion":"42","name":"a"},"x":[1,null]}"#,
        );
        check(json!({"metadata": {}}), r#"{"metadata":{"resourceVersion":"42"}}"#);
        check(json!({"a": "\"é\n"}), "{\"a\":\"\\\"é\\n\"}");
        check(json!([]), "[]");
    }
}
