//! An object decoded as far as a table looks at it, and its metadata as they are served.

use super::object::Object;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::fmt;

/// What stands between the beginning of `metadata` and the revision in it.
const BEFORE_REVISION: &str = r#"{"resourceVersion":""#;

/// An object in the form that costs least to print a row of it.
#[derive(Debug, PartialEq)]
pub struct Sketch<'a> {
    /// The object without `metadata.managedFields`: often a third of it, and no built-in column shows any of them.
    pub object: Value,
    /// The whole `metadata` as JSON.
    pub metadata: Cow<'a, [u8]>,
}

impl Object {
    /// Decodes the object for a row; `Null` when its bytes are no JSON, which only a damaged store brings about.
    pub fn sketch(&self) -> Sketch<'_> {
        self.metadata_start().and_then(|start| sketch(&self.json, start)).unwrap_or_else(|| {
            let object = self.value();
            // A value writes itself without fail.
            let metadata = serde_json::to_vec(&object["metadata"]).unwrap_or_default();
            Sketch { object, metadata: metadata.into() }
        })
    }

    /// `metadata` as JSON; copied only where the store did not write it.
    pub fn metadata(&self) -> Cow<'_, [u8]> {
        let raw = self.metadata_start().and_then(|start| {
            let tail = self.json.get(start..)?;
            let mut reader = serde_json::Deserializer::from_slice(tail);
            serde::Deserialize::deserialize(&mut reader).map(|IgnoredAny| ()).ok()?;
            tail.get(..reader.into_iter::<IgnoredAny>().byte_offset())
        });
        raw.map_or_else(|| self.sketch().metadata, Cow::Borrowed)
    }

    /// Where `metadata` begins in the JSON, when the writer left a place for the revision in it.
    fn metadata_start(&self) -> Option<usize> {
        let start = (self.stamp()? as usize).checked_sub(BEFORE_REVISION.len())?;
        self.json.get(start..)?.starts_with(BEFORE_REVISION.as_bytes()).then_some(start)
    }
}

fn sketch(json: &[u8], start: usize) -> Option<Sketch<'_>> {
    let tail = json.get(start..)?;
    let mut reader = serde_json::Deserializer::from_slice(tail);
    let metadata = Without("managedFields").deserialize(&mut reader).ok()?;
    let (raw, behind) = tail.split_at_checked(reader.into_iter::<IgnoredAny>().byte_offset())?;
    // Copied around the metadata: to pass over them once more would cost more.
    let rest = [json.get(..start)?, b"null".as_slice(), behind].concat();
    let mut object: Map<String, Value> = serde_json::from_slice(&rest).ok()?;
    object.insert("metadata".to_owned(), Value::Object(metadata));
    Some(Sketch { object: Value::Object(object), metadata: Cow::Borrowed(raw) })
}

/// A JSON object without one of its members, which is passed over and never built.
struct Without(&'static str);

impl<'de> DeserializeSeed<'de> for Without {
    type Value = Map<String, Value>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Without {
    type Value = Map<String, Value>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = from.next_key::<String>()? {
            if name == self.0 {
                let IgnoredAny = from.next_value()?;
            } else {
                members.insert(name, from.next_value()?);
            }
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use super::super::encode::encode;
    use super::*;
    use bytes::Bytes;
    use coracle_api::registry::by_kind;
    use coracle_store::{Kv, Revision, stamp};
    use serde_json::json;

    fn check(object: Value, with_place: bool, expected: Value) {
        let kind = by_kind("", "v1", "ConfigMap").unwrap();
        let content = encode(kind, &object);
        let (bytes, place) = match content.stamp.filter(|_| with_place) {
            Some(at) => (stamp(&content.bytes, at, Revision(42)), content.stamp),
            None => (Bytes::from(object.to_string()), None),
        };
        let key = Bytes::from_static(b"key");
        let kv =
            Kv { key, value: bytes, created: Revision(42), modified: Revision(42), stamp: place };
        let object = Object::new(kind, &kv, None);
        let sketch = object.sketch();
        assert_eq!(sketch.object, expected);
        let whole: Value = serde_json::from_slice(&sketch.metadata).unwrap();
        assert_eq!(whole, object.value()["metadata"]);
        assert_eq!(object.metadata(), sketch.metadata);
    }

    #[test]
    fn leaves_out_managed_fields_and_keeps_the_metadata_as_they_are() {
        let object = json!({
            "apiVersion": "v1", "data": {"a": "\"}{"}, "kind": "ConfigMap",
            "metadata": {"managedFields": [{"manager": "x"}], "name": "a\\\"}", "labels": {"b": "c"}},
        });
        let sketched = |metadata: Value| {
            let mut expected = object.clone();
            expected["metadata"] = metadata;
            expected
        };
        let name = "a\\\"}";
        let labels = json!({"b": "c"});
        check(
            object.clone(),
            true,
            sketched(json!({"name": name, "labels": labels, "resourceVersion": "42"})),
        );
        // Bytes that another writer made: whole, and right all the same.
        check(object.clone(), false, object.clone());
        check(json!({"metadata": {}}), true, json!({"metadata": {"resourceVersion": "42"}}));
    }
}
