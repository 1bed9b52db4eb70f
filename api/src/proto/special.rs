//! Types whose JSON and protobuf forms have little in common: times, quantities, embedded JSON.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::decode::{self, At};
use super::encode::message;
use super::wire::{self, Reader, Wire};
use super::{Envelope, MAGIC, ProtoError};
use crate::schema::{FieldType, Type};

/// Reads the message of a type with a form of its own. An empty time is `null`.
pub(super) fn decode(bytes: &[u8], ty: &'static FieldType, at: &At) -> Result<Value, ProtoError> {
    match ty {
        FieldType::Time => time(bytes, 0, at),
        FieldType::MicroTime => time(bytes, 6, at),
        FieldType::Duration => Ok(duration_text(numbers(bytes, at)?.first).into()),
        FieldType::Quantity => text(bytes, 1, at).map(Value::from),
        FieldType::IntOrString => int_or_string(bytes, at),
        FieldType::RawExtension | FieldType::FieldsV1 | FieldType::Json => embedded(bytes, at),
        FieldType::SchemaOrBool(schema) => schema_or_bool(bytes, schema, at),
        FieldType::SchemaOrArray(schema) | FieldType::SchemaOrStrings(schema) => {
            schema_or_list(bytes, schema, ty, at)
        }
        FieldType::Ref(_)
        | FieldType::List(_)
        | FieldType::Map(_)
        | FieldType::String
        | FieldType::Bool
        | FieldType::Int32
        | FieldType::Int64
        | FieldType::Double
        | FieldType::Bytes => Err(at.wrong_wire()),
    }
}

/// Numbers of the fields 1 and 2.
#[derive(Default)]
struct Numbers {
    first: i64,
    second: i64,
}

fn numbers(bytes: &[u8], at: &At) -> Result<Numbers, ProtoError> {
    let mut numbers = Numbers::default();
    for field in Reader::new(bytes, at.field.name) {
        match field? {
            (1, Wire::Varint(number)) => numbers.first = number as i64,
            (2, Wire::Varint(number)) => numbers.second = number as i64,
            _ => {}
        }
    }
    Ok(numbers)
}

fn text(bytes: &[u8], wanted: u32, at: &At) -> Result<String, ProtoError> {
    let mut found = String::new();
    for field in Reader::new(bytes, at.field.name) {
        if let (number, Wire::Bytes(text)) = field?
            && number == wanted
        {
            found = wire::text(text, at.field.name)?.to_owned();
        }
    }
    Ok(found)
}

fn time(bytes: &[u8], digits: usize, at: &At) -> Result<Value, ProtoError> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let Numbers { first: seconds, second } = numbers(bytes, at)?;
    let nanos =
        if digits == 0 { 0 } else { i32::try_from(second / 1000 * 1000).unwrap_or_default() };
    let time = Timestamp::new(seconds, nanos).map_err(|_| at.truncated())?;
    Ok(format!("{time:.digits$}").into())
}

fn int_or_string(bytes: &[u8], at: &At) -> Result<Value, ProtoError> {
    let Numbers { first: kind, second: number } = numbers(bytes, at)?;
    if kind == 1 { text(bytes, 3, at).map(Value::from) } else { Ok(Value::from(number as i32)) }
}

/// Reads JSON in field 1, or an object in an envelope of its own.
fn embedded(bytes: &[u8], at: &At) -> Result<Value, ProtoError> {
    let mut raw: &[u8] = &[];
    for field in Reader::new(bytes, at.field.name) {
        if let (1, Wire::Bytes(bytes)) = field? {
            raw = bytes;
        }
    }
    if raw.is_empty() {
        return Ok(Value::Null);
    }
    if !raw.starts_with(MAGIC) {
        return serde_json::from_slice(raw).map_err(|_| ProtoError::Json(at.field.name));
    }
    let envelope = Envelope::read(raw)?;
    let mut object = Map::new();
    envelope.put_type(&mut object);
    if let Some(ty) = envelope.ty() {
        decode::message(&mut object, envelope.raw, ty, &[], at.depth + 1)?;
    }
    Ok(Value::Object(object))
}

fn schema_or_bool(bytes: &[u8], schema: &'static Type, at: &At) -> Result<Value, ProtoError> {
    let mut allows = false;
    for field in Reader::new(bytes, at.field.name) {
        match field? {
            (1, Wire::Varint(number)) => allows = number != 0,
            (2, Wire::Bytes(inner)) => return object(inner, schema, at),
            _ => {}
        }
    }
    Ok(Value::Bool(allows))
}

fn schema_or_list(
    bytes: &[u8],
    schema: &'static Type,
    ty: &FieldType,
    at: &At,
) -> Result<Value, ProtoError> {
    let mut list = Vec::new();
    for field in Reader::new(bytes, at.field.name) {
        match field? {
            (1, Wire::Bytes(inner)) => return object(inner, schema, at),
            (2, Wire::Bytes(item)) if matches!(ty, FieldType::SchemaOrStrings(_)) => {
                list.push(wire::text(item, at.field.name)?.into());
            }
            (2, Wire::Bytes(item)) => list.push(object(item, schema, at)?),
            _ => {}
        }
    }
    Ok(Value::Array(list))
}

fn object(bytes: &[u8], ty: &'static Type, at: &At) -> Result<Value, ProtoError> {
    let mut object = Map::new();
    decode::message(&mut object, bytes, ty, &[], at.depth + 1)?;
    Ok(Value::Object(object))
}

/// Writes the message of a type with a form of its own.
pub(super) fn encode(value: &Value, ty: &'static FieldType) -> Vec<u8> {
    let mut out = Vec::new();
    match ty {
        FieldType::Time => put_time(&mut out, value, false),
        FieldType::MicroTime => put_time(&mut out, value, true),
        FieldType::Duration => {
            let nanos = value.as_str().and_then(duration_nanos).unwrap_or_default();
            wire::put_number(&mut out, 1, nanos as u64);
        }
        FieldType::Quantity => {
            wire::put_bytes(&mut out, 1, value.as_str().unwrap_or_default().as_bytes());
        }
        FieldType::IntOrString => put_int_or_string(&mut out, value),
        FieldType::RawExtension | FieldType::FieldsV1 | FieldType::Json => {
            wire::put_bytes(&mut out, 1, value.to_string().as_bytes());
        }
        FieldType::SchemaOrBool(schema) => match value.as_object() {
            Some(object) => {
                wire::put_number(&mut out, 1, 1);
                wire::put_bytes(&mut out, 2, &message(object, schema, &[]));
            }
            None => wire::put_number(&mut out, 1, u64::from(value == &json!(true))),
        },
        FieldType::SchemaOrArray(schema) | FieldType::SchemaOrStrings(schema) => {
            put_schema_or_list(&mut out, value, schema);
        }
        FieldType::Ref(_)
        | FieldType::List(_)
        | FieldType::Map(_)
        | FieldType::String
        | FieldType::Bool
        | FieldType::Int32
        | FieldType::Int64
        | FieldType::Double
        | FieldType::Bytes => {}
    }
    out
}

fn put_time(out: &mut Vec<u8>, value: &Value, micro: bool) {
    let Some(time) = value.as_str().and_then(|text| text.parse::<Timestamp>().ok()) else { return };
    wire::put_number(out, 1, time.as_second() as u64);
    let nanos = if micro { time.subsec_nanosecond() } else { 0 };
    wire::put_number(out, 2, i64::from(nanos) as u64);
}

fn put_int_or_string(out: &mut Vec<u8>, value: &Value) {
    let text = value.as_str();
    wire::put_number(out, 1, u64::from(text.is_some()));
    wire::put_number(out, 2, value.as_i64().unwrap_or_default() as u64);
    wire::put_bytes(out, 3, text.unwrap_or_default().as_bytes());
}

fn put_schema_or_list(out: &mut Vec<u8>, value: &Value, schema: &'static Type) {
    if let Some(object) = value.as_object() {
        wire::put_bytes(out, 1, &message(object, schema, &[]));
    }
    for item in value.as_array().into_iter().flatten() {
        match (item.as_object(), item.as_str()) {
            (Some(object), _) => {
                wire::put_bytes(out, 2, &message(object, schema, &[]));
            }
            (None, Some(text)) => wire::put_bytes(out, 2, text.as_bytes()),
            (None, None) => {}
        }
    }
}

/// Units of a Go duration in nanoseconds, longest names first where one starts another.
const UNITS: [(&str, i64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
];

/// Writes nanoseconds as Go does: `1h2m3.5s`, `15ms`, `0s`.
fn duration_text(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let size = nanos.unsigned_abs();
    let small = [("ns", 1_u64), ("µs", 1_000), ("ms", 1_000_000)];
    if size == 0 {
        return "0s".to_owned();
    }
    if size < 1_000_000_000 {
        let unit = small.into_iter().rfind(|(_, scale)| size >= *scale);
        let (name, scale) = unit.unwrap_or(("ns", 1));
        return format!("{sign}{}{name}", decimal(size, scale));
    }
    let (minutes, rest) = (size / 60_000_000_000, size % 60_000_000_000);
    let seconds = decimal(rest, 1_000_000_000);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
        (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
    }
}

/// Writes `amount / scale` without trailing zeros; `scale` is a power of ten.
fn decimal(amount: u64, scale: u64) -> String {
    let (whole, rest) = (amount / scale, amount % scale);
    if rest == 0 {
        return whole.to_string();
    }
    let width = scale.ilog10() as usize;
    let digits = format!("{rest:0width$}");
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

/// Reads a Go duration; `None` when it is none or does not fit.
fn duration_nanos(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total = 0_f64;
    while !rest.is_empty() {
        let after = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let number: f64 = rest.get(..rest.len() - after.len())?.parse().ok()?;
        let (name, scale) = UNITS.into_iter().find(|(name, _)| after.starts_with(name))?;
        total += number * scale as f64;
        rest = after.strip_prefix(name)?;
    }
    let nanos = total.round() as i64;
    Some(if negative { -nanos } else { nanos })
}

#[cfg(test)]
mod tests {
    use super::{duration_nanos, duration_text};

    #[test]
    fn durations_are_written_as_go_does() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (15_000_000, "15ms"),
            (3_500_000_000, "3.5s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
            (-5_025_000_000_000, "-1h23m45s"),
        ] {
            assert_eq!(duration_text(nanos), text);
            assert_eq!(duration_nanos(text), Some(nanos), "{text}");
        }
        assert_eq!(duration_nanos("5 parsecs"), None);
    }
}
