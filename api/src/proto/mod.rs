//! Kubernetes' protobuf encoding of the built-in types, driven by the schema table.
//!
//! kubectl and Helm send some bodies only in this form. What comes out is the same JSON tree that
//! the JSON body would have given, so that nothing after decoding knows the difference. Custom
//! resources have no protobuf form.
//!
//! *Source:* `k8s.io/apimachinery/pkg/runtime/serializer/protobuf` (envelope) and the protobuf tags
//! of the Go structures (messages).

mod decode;
mod encode;
mod special;
mod wire;

use serde_json::{Map, Value};

use crate::schema::{self, Type};
use wire::{Reader, Wire};

/// First bytes of every body.
pub const MAGIC: &[u8; 4] = b"k8s\0";

/// Messages within messages, more than any built-in type has; custom schemas nest freely.
pub const DEPTH_MAX: usize = 100;

/// Why a body is not the protobuf form of an object.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtoError {
    /// The first four bytes are not [`MAGIC`].
    #[error("provided data does not appear to be a protobuf message, expected prefix 6b 38 73 00")]
    Prefix,
    /// A tag, length or number goes beyond the end, or a number has too many bytes.
    #[error("unexpected end or malformed number in {0}")]
    Truncated(&'static str),
    /// A field has another wire type than its schema says.
    #[error("field {field} of {ty} has a wrong wire type")]
    WireType {
        /// Type of the message.
        ty: &'static str,
        /// JSON name of the field.
        field: &'static str,
    },
    /// Text is not UTF-8.
    #[error("field {0} is not UTF-8")]
    Text(&'static str),
    /// Embedded JSON cannot be read.
    #[error("field {0} holds no JSON")]
    Json(&'static str),
    /// More than [`DEPTH_MAX`] messages within each other.
    #[error("nested deeper than {DEPTH_MAX} messages")]
    Depth,
    /// The body's content encoding is not supported.
    #[error("content encoding {0:?} is not supported")]
    Encoding(String),
}

/// Reads a body as an object of type `ty`; `apiVersion` and `kind` are those of the envelope.
///
/// Zero values are kept as they were sent: `decode::conform` drops those that JSON leaves out.
///
/// # Errors
/// [`ProtoError`] when it is not an envelope around a message of that type.
pub fn decode(bytes: &[u8], ty: &'static Type) -> Result<Value, ProtoError> {
    let envelope = Envelope::read(bytes)?;
    let mut object = Map::new();
    envelope.put_type(&mut object);
    decode::message(&mut object, envelope.raw, ty, &[], 0)?;
    Ok(Value::Object(object))
}

/// Reads a message of type `ty` that stands without an envelope, such as an event of a watch.
///
/// # Errors
/// [`ProtoError`] when it is no message of that type.
pub fn decode_raw(bytes: &[u8], ty: &'static Type) -> Result<Value, ProtoError> {
    let mut object = Map::new();
    decode::message(&mut object, bytes, ty, &[], 0)?;
    Ok(Value::Object(object))
}

/// Reads `apiVersion` and `kind` of a body without reading the object.
///
/// # Errors
/// [`ProtoError`] when it is not an envelope.
pub fn type_meta(bytes: &[u8]) -> Result<(&str, &str), ProtoError> {
    let envelope = Envelope::read(bytes)?;
    Ok((envelope.api_version, envelope.kind))
}

/// Writes an object of type `ty` as a body. Fields that the schema does not know are left out.
pub fn encode(object: &Value, ty: &'static Type) -> Vec<u8> {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    in_envelope(text("apiVersion"), text("kind"), &raw(object, ty))
}

/// Writes an object as a body by the type that it names itself; `None` when the schema does not have
/// that type.
pub fn encode_named(object: &Value) -> Option<Vec<u8>> {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    let api_version = text("apiVersion");
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    schema::lookup(group, version, text("kind")).map(|ty| encode(object, ty))
}

/// Writes a list as a body, item by item, so that the whole list never exists as JSON values.
///
/// `metadata` is the list's `ListMeta`; `item` is the type of the items.
pub fn encode_list(
    api_version: &str,
    list_kind: &str,
    metadata: &Value,
    item: &'static Type,
    items: impl Iterator<Item = Value>,
) -> Vec<u8> {
    let mut list = Vec::new();
    if let Some(ty) = schema::named("io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta") {
        wire::put_bytes(&mut list, LIST_METADATA, &raw(metadata, ty));
    }
    for object in items {
        wire::put_bytes(&mut list, LIST_ITEMS, &raw(&object, item));
    }
    in_envelope(api_version, list_kind, &list)
}

/// Numbers of the fields that every list has.
const LIST_METADATA: u32 = 1;
const LIST_ITEMS: u32 = 2;

/// Appends one event of a watch to a stream: its length in four bytes, big-endian, and a
/// `WatchEvent` without an envelope around the body of the object.
///
/// *Source:* `k8s.io/apimachinery/pkg/util/framer`, and the raw serializer of its protobuf package.
pub fn write_watch_event(event_type: &str, object: &[u8], out: &mut Vec<u8>) {
    let mut raw_extension = Vec::with_capacity(object.len() + 8);
    wire::put_bytes(&mut raw_extension, 1, object);
    let mut event = Vec::with_capacity(raw_extension.len() + 24);
    wire::put_bytes(&mut event, 1, event_type.as_bytes());
    wire::put_bytes(&mut event, 2, &raw_extension);
    // An event is one object, and those are far below 4 GiB.
    let length = u32::try_from(event.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&event);
}

fn raw(object: &Value, ty: &'static Type) -> Vec<u8> {
    let empty = Map::new();
    encode::message(object.as_object().unwrap_or(&empty), ty, &[])
}

fn in_envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(raw.len() + 64);
    body.extend_from_slice(MAGIC);
    let mut type_meta = Vec::new();
    wire::put_bytes(&mut type_meta, 1, api_version.as_bytes());
    wire::put_bytes(&mut type_meta, 2, kind.as_bytes());
    wire::put_bytes(&mut body, 1, &type_meta);
    wire::put_bytes(&mut body, 2, raw);
    wire::put_bytes(&mut body, 3, b"");
    wire::put_bytes(&mut body, 4, b"");
    body
}

/// `runtime.Unknown`: the type of an object beside its message.
struct Envelope<'a> {
    api_version: &'a str,
    kind: &'a str,
    raw: &'a [u8],
}

impl<'a> Envelope<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, ProtoError> {
        let body = bytes.strip_prefix(MAGIC).ok_or(ProtoError::Prefix)?;
        let mut envelope = Envelope { api_version: "", kind: "", raw: &[] };
        for field in Reader::new(body, "runtime.Unknown") {
            match field? {
                (1, Wire::Bytes(type_meta)) => envelope.read_type(type_meta)?,
                (2, Wire::Bytes(raw)) => envelope.raw = raw,
                (3, Wire::Bytes(encoding)) if !encoding.is_empty() => {
                    let name = String::from_utf8_lossy(encoding).into_owned();
                    return Err(ProtoError::Encoding(name));
                }
                _ => {}
            }
        }
        Ok(envelope)
    }

    fn read_type(&mut self, bytes: &'a [u8]) -> Result<(), ProtoError> {
        for field in Reader::new(bytes, "runtime.TypeMeta") {
            match field? {
                (1, Wire::Bytes(text)) => self.api_version = wire::text(text, "apiVersion")?,
                (2, Wire::Bytes(text)) => self.kind = wire::text(text, "kind")?,
                _ => {}
            }
        }
        Ok(())
    }

    fn put_type(&self, object: &mut Map<String, Value>) {
        for (name, text) in [("apiVersion", self.api_version), ("kind", self.kind)] {
            if !text.is_empty() {
                object.insert(name.to_owned(), text.into());
            }
        }
    }

    /// Finds the type that the envelope names.
    fn ty(&self) -> Option<&'static Type> {
        let (group, version) = self.api_version.split_once('/').unwrap_or(("", self.api_version));
        schema::lookup(group, version, self.kind)
    }
}

#[cfg(test)]
mod tests;
