//! Values without members: what JSON each type takes, its canonical form, and how to say no.
//!
//! The words are those of Go's JSON decoder, which Kubernetes users know, with the index of list
//! items in the path and a hint how to mend the usual mistakes.

use std::fmt::Display;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::quantity::Quantity;
use crate::schema::{FieldType, Type};
use crate::text::go_quote;

/// Why a value does not fit its type.
pub(super) enum Mismatch {
    /// Another kind of JSON value, or a number out of range.
    WrongKind,
    /// The right kind with wrong content; the text says what is wrong.
    Content(String),
}

/// Checks a value and brings it into canonical form.
pub(super) fn normalise(value: &mut Value, ty: &FieldType) -> Result<(), Mismatch> {
    match ty {
        FieldType::String => expect(value.is_string()),
        FieldType::Bool => expect(value.is_boolean()),
        FieldType::Int32 => expect(value.as_i64().is_some_and(|n| i32::try_from(n).is_ok())),
        FieldType::Int64 => expect(value.as_i64().is_some()),
        FieldType::Double => expect(value.is_number()),
        FieldType::Bytes => with_text(value, bytes),
        FieldType::Time => with_text(value, |text| time(text, 0)),
        FieldType::MicroTime => with_text(value, |text| time(text, 6)),
        FieldType::Duration => with_text(value, duration),
        FieldType::Quantity => quantity(value),
        FieldType::IntOrString => {
            let number = value.as_i64().is_some_and(|n| i32::try_from(n).is_ok());
            expect(number || value.is_string())
        }
        FieldType::FieldsV1 => expect(value.is_object()),
        FieldType::RawExtension | FieldType::Json => Ok(()),
        FieldType::Ref(_)
        | FieldType::List(_)
        | FieldType::Map(_)
        | FieldType::SchemaOrBool(_)
        | FieldType::SchemaOrArray(_)
        | FieldType::SchemaOrStrings(_) => Err(Mismatch::WrongKind),
    }
}

/// Gives what `null` means as an item of a list or map.
pub(super) fn zero(ty: &FieldType) -> Value {
    match ty {
        FieldType::String | FieldType::Bytes => json!(""),
        FieldType::Bool => json!(false),
        FieldType::Int32 | FieldType::Int64 | FieldType::Double | FieldType::IntOrString => {
            json!(0)
        }
        FieldType::Quantity => json!("0"),
        FieldType::Duration => json!("0s"),
        FieldType::Ref(_) | FieldType::Map(_) | FieldType::FieldsV1 => Value::Object(Map::new()),
        FieldType::List(_) => Value::Array(Vec::new()),
        FieldType::Time
        | FieldType::MicroTime
        | FieldType::RawExtension
        | FieldType::Json
        | FieldType::SchemaOrBool(_)
        | FieldType::SchemaOrArray(_)
        | FieldType::SchemaOrStrings(_) => Value::Null,
    }
}

fn expect(fits: bool) -> Result<(), Mismatch> {
    if fits { Ok(()) } else { Err(Mismatch::WrongKind) }
}

/// Replaces a text by its canonical form.
fn with_text(
    value: &mut Value,
    canonical: impl Fn(&str) -> Result<Option<String>, String>,
) -> Result<(), Mismatch> {
    let Value::String(text) = value else { return Err(Mismatch::WrongKind) };
    if let Some(better) = canonical(text).map_err(Mismatch::Content)? {
        *text = better;
    }
    Ok(())
}

/// Checks base64; line breaks are allowed on the way in and dropped.
fn bytes(text: &str) -> Result<Option<String>, String> {
    let error = match STANDARD.decode(text) {
        Ok(_) => return Ok(None),
        Err(error) => error,
    };
    if !text.contains(['\n', '\r']) {
        return Err(illegal_base64(error));
    }
    let one_line: String = text.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
    STANDARD.decode(&one_line).map_err(illegal_base64)?;
    Ok(Some(one_line))
}

fn illegal_base64(error: base64::DecodeError) -> String {
    format!("illegal base64 data ({error}): encode the bytes as standard, padded base64")
}

/// Brings RFC 3339 into UTC with this many digits of a second.
fn time(text: &str, digits: usize) -> Result<Option<String>, String> {
    let parsed = text.parse::<jiff::Timestamp>().ok().filter(|_| looks_like_rfc3339(text));
    let Some(timestamp) = parsed else {
        return Err(format!(
            "parsing time {} as \"2006-01-02T15:04:05Z07:00\": must be RFC 3339",
            go_quote(text)
        ));
    };
    let canonical = format!("{timestamp:.digits$}");
    Ok((canonical != text).then_some(canonical))
}

fn looks_like_rfc3339(text: &str) -> bool {
    text.as_bytes().get(10) == Some(&b'T') && !text.contains('[')
}

/// Checks a Go duration: a sign, then numbers with units `ns`, `us`, `ms`, `s`, `m`, `h`; or `0`.
fn duration(text: &str) -> Result<Option<String>, String> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let wrong = || format!("time: invalid duration {}", go_quote(text));
    if unsigned == "0" {
        return Ok(Some("0s".to_owned()));
    }
    let mut rest = unsigned;
    while !rest.is_empty() {
        let number = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        if number.len() == rest.len() {
            return Err(wrong());
        }
        let unit = ["ns", "us", "µs", "μs", "ms", "s", "m", "h"]
            .into_iter()
            .filter_map(|unit| number.strip_prefix(unit))
            .min_by_key(|after| after.len());
        rest = unit.ok_or_else(wrong)?;
    }
    if unsigned.is_empty() { Err(wrong()) } else { Ok(None) }
}

/// A quantity may be a number in JSON; it is stored as canonical text.
fn quantity(value: &mut Value) -> Result<(), Mismatch> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            return Err(Mismatch::WrongKind);
        }
    };
    let parsed = text.parse::<Quantity>().map_err(|error| Mismatch::Content(error.to_string()))?;
    let canonical = parsed.to_string();
    if value.as_str() != Some(&canonical) {
        *value = Value::String(canonical);
    }
    Ok(())
}

/// Names the kind of a JSON value as Go's decoder does.
pub(super) fn json_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Names a structure as Go does: `v1.PodSpec`.
pub(super) fn structure_name(ty: &Type) -> String {
    format!("{}.{}", ty.version(), ty.short_name())
}

/// Names a type as Go does.
fn type_name(ty: &FieldType) -> String {
    match ty {
        FieldType::Ref(inner) => structure_name(inner),
        FieldType::List(item) => format!("[]{}", type_name(item)),
        FieldType::Map(item) => format!("map[string]{}", type_name(item)),
        FieldType::String => "string".to_owned(),
        FieldType::Bool => "bool".to_owned(),
        FieldType::Int32 => "int32".to_owned(),
        FieldType::Int64 => "int64".to_owned(),
        FieldType::Double => "float64".to_owned(),
        FieldType::Bytes => "[]uint8".to_owned(),
        FieldType::Time => "v1.Time".to_owned(),
        FieldType::MicroTime => "v1.MicroTime".to_owned(),
        FieldType::Duration => "v1.Duration".to_owned(),
        FieldType::Quantity => "resource.Quantity".to_owned(),
        FieldType::IntOrString => "intstr.IntOrString".to_owned(),
        FieldType::RawExtension => "runtime.RawExtension".to_owned(),
        FieldType::FieldsV1 => "v1.FieldsV1".to_owned(),
        FieldType::Json => "v1.JSON".to_owned(),
        FieldType::SchemaOrBool(_) => "v1.JSONSchemaPropsOrBool".to_owned(),
        FieldType::SchemaOrArray(_) => "v1.JSONSchemaPropsOrArray".to_owned(),
        FieldType::SchemaOrStrings(_) => "v1.JSONSchemaPropsOrStringArray".to_owned(),
    }
}

/// Says what does not fit, where, and how to mend it.
pub(super) fn explain(
    problem: &Mismatch,
    value: &Value,
    ty: &FieldType,
    structure: &Type,
    path: &dyn Display,
) -> String {
    let place = format!("{}.{path}", structure.short_name());
    match problem {
        Mismatch::Content(text) => format!("json: Go struct field {place}: {text}"),
        Mismatch::WrongKind => format!(
            "json: cannot unmarshal {} into Go struct field {place} of type {}{}",
            shown(value),
            type_name(ty),
            hint(value, ty)
        ),
    }
}

/// A number is shown with its digits, as Go does, because its range may be what is wrong.
fn shown(value: &Value) -> String {
    match value {
        Value::Number(number) if !number.is_i64() => format!("number {number}"),
        Value::Number(number) if number.as_i64().is_some_and(|n| i32::try_from(n).is_err()) => {
            format!("number {number}")
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => json_kind(value).to_owned(),
    }
}

fn hint(value: &Value, ty: &FieldType) -> String {
    match (value, ty) {
        (Value::Number(_) | Value::Bool(_), FieldType::String) => {
            format!(" (put it in quotes: \"{value}\")")
        }
        (Value::String(text), FieldType::Int32 | FieldType::Int64 | FieldType::Double)
            if text.parse::<f64>().is_ok() =>
        {
            format!(" (leave out the quotes: {text})")
        }
        (Value::String(text), FieldType::Bool) if text == "true" || text == "false" => {
            format!(" (leave out the quotes: {text})")
        }
        (_, FieldType::List(_)) => " (write a list)".to_owned(),
        (_, FieldType::Ref(_) | FieldType::Map(_)) => " (write a mapping)".to_owned(),
        _ => String::new(),
    }
}
