//! Messages to JSON, field by field along the schema.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Number, Value};

use super::wire::{self, Reader, Wire, take_varint};
use super::{DEPTH_MAX, ProtoError, special};
use crate::schema::{Field, FieldType, Type};

/// Reads a message into an object. `via` is the path of message numbers that JSON does not show.
pub(super) fn message(
    object: &mut Map<String, Value>,
    bytes: &[u8],
    ty: &'static Type,
    via: &[u32],
    depth: usize,
) -> Result<(), ProtoError> {
    if depth > DEPTH_MAX {
        return Err(ProtoError::Depth);
    }
    for entry in Reader::new(bytes, ty.name) {
        let (number, wire) = entry?;
        let known = |field: &&'static Field| field.proto == Some(number) && field.proto_via == via;
        let field = ty.numbered(number).filter(|_| via.is_empty());
        if let Some(field) = field.or_else(|| ty.fields().iter().find(known)) {
            put_field(object, wire, &At { ty: ty.name, field, depth })?;
        } else if let (true, Wire::Bytes(inner)) = (is_inlined(ty, via, number), wire) {
            let inside: Vec<u32> = via.iter().copied().chain([number]).collect();
            message(object, inner, ty, &inside, depth + 1)?;
        }
        // Fields of a newer or older minor are skipped, as protobuf wants it.
    }
    Ok(())
}

/// Tells whether fields of `ty` travel in the message with this number.
fn is_inlined(ty: &'static Type, via: &[u32], number: u32) -> bool {
    ty.fields().iter().any(|field| {
        field.proto_via.strip_prefix(via).is_some_and(|rest| rest.first() == Some(&number))
    })
}

/// The field that is being read.
#[derive(Clone, Copy)]
pub(super) struct At {
    pub(super) ty: &'static str,
    pub(super) field: &'static Field,
    pub(super) depth: usize,
}

impl At {
    pub(super) fn wrong_wire(&self) -> ProtoError {
        ProtoError::WireType { ty: self.ty, field: self.field.name }
    }

    pub(super) fn truncated(&self) -> ProtoError {
        ProtoError::Truncated(self.field.name)
    }

    /// Expects text, bytes or a message.
    pub(super) fn bytes<'a>(&self, wire: Wire<'a>) -> Result<&'a [u8], ProtoError> {
        match wire {
            Wire::Bytes(bytes) => Ok(bytes),
            Wire::Varint(_) | Wire::Fixed64(_) | Wire::Fixed32(_) => Err(self.wrong_wire()),
        }
    }
}

fn put_field(object: &mut Map<String, Value>, wire: Wire<'_>, at: &At) -> Result<(), ProtoError> {
    let name = at.field.name;
    match &at.field.ty {
        FieldType::List(item) => {
            let list = object.entry(name).or_insert_with(|| Value::Array(Vec::new()));
            let Value::Array(list) = list else { return Err(at.wrong_wire()) };
            if at.field.proto_wrapped {
                wrapped(list, wire, item, at)
            } else {
                items(list, wire, item, at)
            }
        }
        FieldType::Map(item) => {
            let map = object.entry(name).or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(map) = map else { return Err(at.wrong_wire()) };
            map_entry(map, wire, item, at)
        }
        // A message that comes in parts is merged, as protobuf wants it.
        FieldType::Ref(inner) => {
            let inside = object.entry(name).or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(inside) = inside else { return Err(at.wrong_wire()) };
            message(inside, at.bytes(wire)?, inner, &[], at.depth + 1)
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
        | FieldType::Quantity
        | FieldType::IntOrString
        | FieldType::RawExtension
        | FieldType::FieldsV1
        | FieldType::Json
        | FieldType::SchemaOrBool(_)
        | FieldType::SchemaOrArray(_)
        | FieldType::SchemaOrStrings(_) => {
            let value = value(wire, &at.field.ty, at)?;
            object.insert(name.to_owned(), value);
            Ok(())
        }
    }
}

/// Reads one item, or several packed scalars.
fn items(
    list: &mut Vec<Value>,
    wire: Wire<'_>,
    ty: &'static FieldType,
    at: &At,
) -> Result<(), ProtoError> {
    let scalar = matches!(ty, FieldType::Int32 | FieldType::Int64 | FieldType::Bool);
    if let (true, Wire::Bytes(mut packed)) = (scalar, wire) {
        while !packed.is_empty() {
            let number = take_varint(&mut packed).ok_or_else(|| at.truncated())?;
            list.push(value(Wire::Varint(number), ty, at)?);
        }
        return Ok(());
    }
    list.push(value(wire, ty, at)?);
    Ok(())
}

/// Reads a list that travels in a message of its own.
fn wrapped(
    list: &mut Vec<Value>,
    wire: Wire<'_>,
    ty: &'static FieldType,
    at: &At,
) -> Result<(), ProtoError> {
    for entry in Reader::new(at.bytes(wire)?, at.field.name) {
        if let (1, inner) = entry? {
            items(list, inner, ty, at)?;
        }
    }
    Ok(())
}

fn map_entry(
    map: &mut Map<String, Value>,
    wire: Wire<'_>,
    ty: &'static FieldType,
    at: &At,
) -> Result<(), ProtoError> {
    let mut key = "";
    let mut found = None;
    for entry in Reader::new(at.bytes(wire)?, at.field.name) {
        match entry? {
            (1, wire) => key = wire::text(at.bytes(wire)?, at.field.name)?,
            (2, wire) => found = Some(wire),
            _ => {}
        }
    }
    let value = match (found, ty) {
        (Some(wire), FieldType::List(item)) => {
            let mut list = Vec::new();
            wrapped(&mut list, wire, item, at)?;
            Value::Array(list)
        }
        (Some(wire), _) => value(wire, ty, at)?,
        (None, _) => Value::Null,
    };
    map.insert(key.to_owned(), value);
    Ok(())
}

/// Reads a value that stands alone or in a list.
pub(super) fn value(wire: Wire<'_>, ty: &'static FieldType, at: &At) -> Result<Value, ProtoError> {
    match ty {
        FieldType::Ref(inner) => {
            let mut object = Map::new();
            message(&mut object, at.bytes(wire)?, inner, &[], at.depth + 1)?;
            Ok(Value::Object(object))
        }
        FieldType::String => Ok(wire::text(at.bytes(wire)?, at.field.name)?.into()),
        FieldType::Bytes => Ok(STANDARD.encode(at.bytes(wire)?).into()),
        FieldType::Bool | FieldType::Int32 | FieldType::Int64 | FieldType::Double => {
            number(wire, ty, at)
        }
        // Lists of lists and lists of maps are in no built-in type.
        FieldType::List(_) | FieldType::Map(_) => Err(at.wrong_wire()),
        FieldType::Time
        | FieldType::MicroTime
        | FieldType::Duration
        | FieldType::Quantity
        | FieldType::IntOrString
        | FieldType::RawExtension
        | FieldType::FieldsV1
        | FieldType::Json
        | FieldType::SchemaOrBool(_)
        | FieldType::SchemaOrArray(_)
        | FieldType::SchemaOrStrings(_) => special::decode(at.bytes(wire)?, ty, at),
    }
}

fn number(wire: Wire<'_>, ty: &FieldType, at: &At) -> Result<Value, ProtoError> {
    match (wire, ty) {
        (Wire::Varint(number), FieldType::Bool) => Ok(Value::Bool(number != 0)),
        // Truncated to 32 bits, as every protobuf library does.
        (Wire::Varint(number), FieldType::Int32) => Ok(Value::from(number as i32)),
        (Wire::Varint(number), FieldType::Int64) => Ok(Value::from(number as i64)),
        (Wire::Fixed64(bits), FieldType::Double) => {
            let number = Number::from_f64(f64::from_bits(bits));
            number.map(Value::Number).ok_or(ProtoError::Json(at.field.name))
        }
        _ => Err(at.wrong_wire()),
    }
}
