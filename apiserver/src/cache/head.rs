//! The parts of an object that its header is made of, read without building the rest of it: a start reads every object
//! of the cluster this way.

use coracle_api::registry::Kind;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// The members of `metadata` that a header is made of.
const METADATA: [&str; 5] = ["name", "namespace", "uid", "labels", "deletionTimestamp"];

/// Reads an object as far as [`super::Header::of`] looks at it. `None` when it is no JSON, or has something else where an
/// object should be; then the whole of it has to be read.
pub(super) fn read(kind: &Kind, json: &[u8]) -> Option<Value> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let is_pod = kind.kind == "Pod" && kind.group.is_empty();
    let top = Members::Object { labels: kind.rules.selectable, is_pod };
    let object = top.deserialize(&mut reader).ok()?;
    reader.end().ok()?;
    Some(Value::Object(object))
}

/// An object of which some members are kept.
#[derive(Clone, Copy)]
enum Members {
    /// The whole object, of a kind with these selectable labels.
    Object { labels: &'static [&'static str], is_pod: bool },
    /// Its `metadata`.
    Metadata,
    /// The member of a name: what the labels that begin with it name.
    Labelled { labels: &'static [&'static str], top: &'static str },
}

/// What becomes of a member.
enum Keep {
    Nothing,
    Whole,
    Part(Members),
}

impl Members {
    fn keep(self, name: &str) -> Keep {
        match self {
            Members::Object { .. } if name == "metadata" => Keep::Part(Members::Metadata),
            Members::Object { labels, is_pod } => {
                let mut tops = labels.iter().map(|label| label.split('.').next().unwrap_or(label));
                match tops.find(|top| *top == name) {
                    None => Keep::Nothing,
                    // A pod's labels are the paths of its fields, and it is the kind of which there are most.
                    Some(top) if is_pod => Keep::Part(Members::Labelled { labels, top }),
                    Some(_) => Keep::Whole,
                }
            }
            Members::Metadata => whole_if(METADATA.contains(&name)),
            Members::Labelled { labels, top } => {
                let mut fields =
                    labels.iter().filter_map(|label| label.strip_prefix(top)?.strip_prefix('.'));
                whole_if(fields.any(|field| field == name))
            }
        }
    }
}

fn whole_if(is_kept: bool) -> Keep {
    if is_kept { Keep::Whole } else { Keep::Nothing }
}

impl<'de> DeserializeSeed<'de> for Members {
    type Value = Map<String, Value>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Members {
    type Value = Map<String, Value>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
        let mut members = Map::new();
        while let Some((name, keep)) = from.next_key_seed(Name(self))? {
            match keep {
                Keep::Nothing => {
                    let IgnoredAny = from.next_value()?;
                }
                Keep::Whole => {
                    members.insert(name, from.next_value()?);
                }
                Keep::Part(part) => {
                    let value = Value::Object(from.next_value_seed(part)?);
                    members.insert(name, value);
                }
            }
        }
        Ok(members)
    }
}

/// The name of a member, copied only where the member is kept.
struct Name(Members);

impl<'de> DeserializeSeed<'de> for Name {
    type Value = (String, Keep);

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = (String, Keep);

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        let keep = self.0.keep(name);
        let name = if matches!(keep, Keep::Nothing) { String::new() } else { name.to_owned() };
        Ok((name, keep))
    }
}
