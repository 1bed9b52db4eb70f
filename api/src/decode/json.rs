//! JSON text to a tree, with a note of every key that an object has twice.
//!
//! `serde_json::Value` alone keeps the last of two equal keys and says nothing; the walk here costs
//! no more than that and finds them. The last value wins, as upstream.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

use super::STRICT_ERRORS_MAX;

/// Reads JSON; gives the tree and the paths of duplicate keys.
pub(super) fn parse(bytes: &[u8]) -> Result<(Value, Vec<String>), String> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let mut duplicates = Vec::new();
    let tree = Tree { duplicates: &mut duplicates }
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value))
        .map_err(|error| format!("couldn't get version/kind; json parse error: {error}"))?;
    Ok((tree, duplicates))
}

/// Reads any self-describing input as JSON.
pub(super) struct Tree<'a> {
    /// Paths of duplicate keys, at most [`STRICT_ERRORS_MAX`], relative to this tree.
    pub(super) duplicates: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        // A whole number to Go; here it comes as one that has no sign otherwise.
        if value == 0.0 && value.is_sign_negative() {
            return Ok(Value::Number(0.into()));
        }
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number must be finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let before = self.duplicates.len();
            let Some(item) = items.next_element_seed(Tree { duplicates: self.duplicates })? else {
                return Ok(Value::Array(list));
            };
            prefix(self.duplicates, before, &format_args!("[{}]", list.len()));
            list.push(item);
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            let before = self.duplicates.len();
            let value = members.next_value_seed(Tree { duplicates: self.duplicates })?;
            prefix(self.duplicates, before, &key);
            match object.entry(key) {
                Entry::Vacant(place) => {
                    place.insert(value);
                }
                Entry::Occupied(mut place) => {
                    if self.duplicates.len() < STRICT_ERRORS_MAX {
                        self.duplicates.push(place.key().clone());
                    }
                    place.insert(value);
                }
            }
        }
        Ok(Value::Object(object))
    }
}

/// Puts the key or index in front of the paths that were found below it.
fn prefix(duplicates: &mut [String], from: usize, part: &dyn fmt::Display) {
    for path in duplicates.iter_mut().skip(from) {
        let dot = if path.starts_with('[') { "" } else { "." };
        *path = format!("{part}{dot}{path}");
    }
}
