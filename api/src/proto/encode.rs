//! JSON to messages, field by field along the schema.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::{special, wire};
use crate::schema::{Field, FieldType, Type};

/// Writes an object as a message, fields in the order of their numbers. `via` is the path of message
/// numbers that JSON does not show.
pub(super) fn message(object: &Map<String, Value>, ty: &'static Type, via: &[u32]) -> Vec<u8> {
    if let (Some(fields), []) = (ty.by_number(), via) {
        let mut out = Vec::with_capacity(128);
        for (number, field) in fields {
            put_field(&mut out, number, object.get(field.name), field);
        }
        return out;
    }
    let mut parts: Vec<(u32, Option<&'static Field>)> = Vec::new();
    for field in ty.fields() {
        match (field.proto_via.strip_prefix(via), field.proto) {
            (Some([]), Some(number)) => parts.push((number, Some(field))),
            (Some([number, ..]), Some(_)) => parts.push((*number, None)),
            (Some([]) | None, _) | (Some([..]), None) => {}
        }
    }
    parts.sort_by_key(|(number, _)| *number);
    parts.dedup_by_key(|(number, _)| *number);
    let mut out = Vec::new();
    for (number, field) in parts {
        match field {
            Some(field) => put_field(&mut out, number, object.get(field.name), field),
            None => {
                let inside: Vec<u32> = via.iter().copied().chain([number]).collect();
                let inner = message(object, ty, &inside);
                if !inner.is_empty() {
                    wire::put_bytes(&mut out, number, &inner);
                }
            }
        }
    }
    out
}

fn put_field(out: &mut Vec<u8>, number: u32, value: Option<&Value>, field: &'static Field) {
    let Some(value) = value.filter(|value| !value.is_null()) else { return };
    match (&field.ty, value) {
        (FieldType::List(item), Value::Array(items)) if field.proto_wrapped => {
            put_wrapped(out, number, items, item);
        }
        (FieldType::List(item), Value::Array(items)) => {
            items.iter().for_each(|value| put(out, number, value, item));
        }
        (FieldType::Map(item), Value::Object(members)) => {
            for (key, value) in members {
                let mut entry = Vec::new();
                wire::put_bytes(&mut entry, 1, key.as_bytes());
                match (&**item, value) {
                    (FieldType::List(item), Value::Array(items)) => {
                        put_wrapped(&mut entry, 2, items, item);
                    }
                    (item, value) => put(&mut entry, 2, value, item),
                }
                wire::put_bytes(out, number, &entry);
            }
        }
        (ty, value) => put(out, number, value, ty),
    }
}

fn put_wrapped(out: &mut Vec<u8>, number: u32, items: &[Value], ty: &'static FieldType) {
    let mut list = Vec::new();
    items.iter().for_each(|value| put(&mut list, 1, value, ty));
    wire::put_bytes(out, number, &list);
}

/// Writes a value that stands alone or in a list; one of a wrong type is left out.
fn put(out: &mut Vec<u8>, number: u32, value: &Value, ty: &'static FieldType) {
    match (ty, value) {
        (FieldType::Ref(inner), Value::Object(object)) => {
            wire::put_bytes(out, number, &message(object, inner, &[]));
        }
        (FieldType::String, Value::String(text)) => wire::put_bytes(out, number, text.as_bytes()),
        (FieldType::Bytes, Value::String(text)) => {
            let bytes = STANDARD.decode(text).unwrap_or_default();
            wire::put_bytes(out, number, &bytes);
        }
        (FieldType::Bool, Value::Bool(set)) => wire::put_number(out, number, u64::from(*set)),
        // Negative numbers are sign-extended to 64 bits.
        (FieldType::Int32 | FieldType::Int64, Value::Number(amount)) => {
            wire::put_number(out, number, amount.as_i64().unwrap_or_default() as u64);
        }
        (FieldType::Double, Value::Number(amount)) => {
            wire::put_double(out, number, amount.as_f64().unwrap_or_default());
        }
        (
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
            | FieldType::SchemaOrStrings(_),
            value,
        ) => wire::put_bytes(out, number, &special::encode(value, ty)),
        (
            FieldType::Ref(_)
            | FieldType::String
            | FieldType::Bytes
            | FieldType::Bool
            | FieldType::Int32
            | FieldType::Int64
            | FieldType::Double
            | FieldType::List(_)
            | FieldType::Map(_),
            _,
        ) => {}
    }
}
