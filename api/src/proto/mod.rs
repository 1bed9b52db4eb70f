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
    let empty = Map::new();
    let raw = encode::message(object.as_object().unwrap_or(&empty), ty, &[]);
    let mut body = MAGIC.to_vec();
    let mut type_meta = Vec::new();
    wire::put_bytes(&mut type_meta, 1, text("apiVersion").as_bytes());
    wire::put_bytes(&mut type_meta, 2, text("kind").as_bytes());
    wire::put_bytes(&mut body, 1, &type_meta);
    wire::put_bytes(&mut body, 2, &raw);
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
