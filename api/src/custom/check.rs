//! Values against their schema, in the words of upstream's validator.
//!
//! *Source:* `k8s.io/kube-openapi/pkg/validation`, and `ValidateCustomResource` in apiextensions for
//! the form of its complaints.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::message::At;
use super::schema::{Limits, Structural};
use crate::field_error::FieldError;
use crate::schema::ListType;

type Errors = Vec<FieldError>;

/// Complaints that are made about one object; more would only make the answer long.
const ERRORS_MAX: usize = 100;

/// Says what is wrong with a whole object.
pub(super) fn check(object: &Value, schema: &Structural) -> Errors {
    let mut errors = Errors::new();
    // Metadata has rules of its own; what a schema says of it is about names, which upstream allows.
    check_value(&mut errors, &At::default(), object, schema);
    errors.truncate(ERRORS_MAX);
    errors
}

fn check_value(errors: &mut Errors, at: &At, value: &Value, schema: &Structural) {
    if errors.len() > ERRORS_MAX || (value.is_null() && schema.nullable) {
        return;
    }
    if let Some(wanted) = wrong_type(value, schema) {
        let found = type_of(value);
        let words = at.should(&format!("must be of type {wanted}: \"{found}\""));
        errors.push(FieldError::type_invalid(at.path(), found, words));
        return;
    }
    check_limits(errors, at, value, &schema.limits);
    match value {
        Value::Object(members) => check_members(errors, at, members, schema),
        Value::Array(items) => {
            check_list(errors, at, items, schema);
            let Some(schema) = &schema.items else { return };
            for (index, item) in items.iter().enumerate() {
                check_value(errors, &at.index(index), item, schema);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn check_members(errors: &mut Errors, at: &At, members: &Map<String, Value>, schema: &Structural) {
    for name in &schema.limits.required {
        if !members.contains_key(name.as_ref()) {
            errors.push(FieldError::required(at.field(name).path(), ""));
        }
    }
    for (name, value) in members {
        if let Some(property) = schema.properties.get(name.as_str()) {
            check_value(errors, &at.field(name), value, property);
        } else if let Some(other) = schema.member(name) {
            check_value(errors, &at.key(name), value, other);
        }
    }
    if schema.embedded {
        for name in ["apiVersion", "kind"] {
            if members.get(name).and_then(Value::as_str).unwrap_or_default().is_empty() {
                errors.push(FieldError::required(at.field(name).path(), "must not be empty"));
            }
        }
    }
}

/// Names the type that a value should have; `None` when it has it.
fn wrong_type<'a>(value: &Value, schema: &'a Structural) -> Option<&'a str> {
    if schema.int_or_string {
        let fits = value.is_string() || is_whole(value);
        return (!fits).then_some("integer,string");
    }
    let fits = match schema.ty.as_ref() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => is_whole(value),
        "number" => value.is_number(),
        _ => true,
    };
    (!fits).then_some(&schema.ty)
}

fn is_whole(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

/// Names the type of a value.
fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn check_limits(errors: &mut Errors, at: &At, value: &Value, limits: &Limits) {
    match value {
        Value::String(text) => check_text(errors, at, text, limits),
        Value::Number(_) => check_number(errors, at, value, limits),
        Value::Array(items) => check_size(errors, at, value, items.len(), limits),
        Value::Object(members) => check_count(errors, at, value, members.len(), limits),
        Value::Null | Value::Bool(_) => {}
    }
    if let Some(allowed) = limits.enumeration.as_ref().filter(|allowed| !allowed.contains(value)) {
        let words: Vec<String> = allowed
            .iter()
            .map(|word| word.as_str().map_or_else(|| word.to_string(), str::to_owned))
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        errors.push(FieldError::not_supported(at.path(), value, &words));
    }
    check_unions(errors, at, value, limits);
}

fn check_text(errors: &mut Errors, at: &At, text: &str, limits: &Limits) {
    let length = text.chars().count();
    if let Some(most) = limits.max_length.filter(|&most| length > most) {
        errors.push(FieldError::too_long(at.path(), most));
    }
    if let Some(least) = limits.min_length.filter(|&least| length < least) {
        let words = at.should(&format!("should be at least {least} chars long"));
        errors.push(at.invalid(text, &words));
    }
    if let Some(pattern) = limits.pattern.as_ref().filter(|pattern| !pattern.is_match(text)) {
        let words = at.should(&format!("should match '{pattern}'"));
        errors.push(at.invalid(text, &words));
    }
    if !has_format(text, &limits.format) {
        let words = at.should(&format!("must be of type {}: {text:?}", limits.format));
        errors.push(at.invalid(text, &words));
    }
}

/// Tells whether a text has a format; formats that upstream does not know either are no rule.
fn has_format(text: &str, format: &str) -> bool {
    use base64::Engine;
    match format {
        "date" => text.parse::<jiff::civil::Date>().is_ok() && text.len() == 10,
        "date-time" | "datetime" => text.parse::<jiff::Timestamp>().is_ok(),
        "duration" => text.parse::<jiff::SignedDuration>().is_ok(),
        "byte" => base64::engine::general_purpose::STANDARD.decode(text).is_ok(),
        "ipv4" => text.parse::<std::net::Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<std::net::Ipv6Addr>().is_ok(),
        "uuid" | "uuid3" | "uuid4" | "uuid5" => is_uuid(text),
        "k8s-short-name" => crate::names::is_dns1123_label(text),
        "k8s-long-name" => crate::names::is_dns1123_subdomain(text),
        _ => true,
    }
}

fn is_uuid(text: &str) -> bool {
    let plain: String = text.chars().filter(|letter| *letter != '-').collect();
    plain.len() == 32 && plain.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn check_number(errors: &mut Errors, at: &At, value: &Value, limits: &Limits) {
    let Some(number) = value.as_f64() else { return };
    if let Some(most) = limits.maximum {
        let (over, word) = match limits.exclusive_maximum {
            true => (number >= most, "less than"),
            false => (number > most, "less than or equal to"),
        };
        if over {
            errors.push(at.invalid(value, &at.should(&format!("should be {word} {most}"))));
        }
    }
    if let Some(least) = limits.minimum {
        let (under, word) = match limits.exclusive_minimum {
            true => (number <= least, "greater than"),
            false => (number < least, "greater than or equal to"),
        };
        if under {
            errors.push(at.invalid(value, &at.should(&format!("should be {word} {least}"))));
        }
    }
    if let Some(step) = limits.multiple_of.filter(|&step| step > 0.0) {
        let times = number / step;
        if (times - times.round()).abs() > 1e-9 {
            let words = at.should(&format!("should be a multiple of {step}"));
            errors.push(at.invalid(value, &words));
        }
    }
    let bits_fit = match limits.format.as_ref() {
        "int32" => value.as_i64().is_none_or(|whole| i32::try_from(whole).is_ok()),
        _ => true,
    };
    if !bits_fit {
        let words = at.should("must be of type int32: \"integer\"");
        errors.push(at.invalid(value, &words));
    }
}

fn check_size(errors: &mut Errors, at: &At, value: &Value, size: usize, limits: &Limits) {
    if let Some(most) = limits.max_items.filter(|&most| size > most) {
        errors.push(FieldError::too_many(at.path(), size, most));
    }
    if let Some(least) = limits.min_items.filter(|&least| size < least) {
        let words = at.should(&format!("should have at least {least} items"));
        errors.push(at.invalid(size, &words));
    }
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let mut seen = HashSet::new();
    if limits.unique_items && !items.iter().all(|item| seen.insert(item.to_string())) {
        errors.push(at.invalid(value, &at.should("shouldn't contain duplicates")));
    }
}

fn check_count(errors: &mut Errors, at: &At, value: &Value, count: usize, limits: &Limits) {
    if let Some(most) = limits.max_properties.filter(|&most| count > most) {
        errors.push(FieldError::too_many(at.path(), count, most));
    }
    if let Some(least) = limits.min_properties.filter(|&least| count < least) {
        let words = at.should(&format!("should have at least {least} properties"));
        errors.push(at.invalid(value, &words));
    }
}

fn check_unions(errors: &mut Errors, at: &At, value: &Value, limits: &Limits) {
    let fits = |schema: &Structural| {
        let mut found = Errors::new();
        check_value(&mut found, at, value, schema);
        found.is_empty()
    };
    let name = at.path();
    for schema in &limits.all_of {
        check_value(errors, at, value, schema);
    }
    if !limits.any_of.is_empty() && !limits.any_of.iter().any(fits) {
        let words = format!("\"{name}\" must validate at least one schema (anyOf)");
        errors.push(at.invalid(value, &words));
    }
    if !limits.one_of.is_empty() {
        let found = match limits.one_of.iter().filter(|schema| fits(schema)).count() {
            1 => None,
            0 => Some("Found none valid".to_owned()),
            many => Some(format!("Found {many} valid alternatives")),
        };
        if let Some(found) = found {
            let words =
                format!("\"{name}\" must validate one and only one schema (oneOf). {found}");
            errors.push(at.invalid(value, &words));
        }
    }
    if limits.not.as_deref().is_some_and(fits) {
        let words = format!("\"{name}\" must not validate the schema (not)");
        errors.push(at.invalid(value, &words));
    }
}

/// Refuses items of sets and maps that cannot be told apart.
///
/// *Source:* `ValidateListSetsAndMaps` in apiextensions.
fn check_list(errors: &mut Errors, at: &At, items: &[Value], schema: &Structural) {
    let mut seen = HashSet::new();
    for (index, item) in items.iter().enumerate() {
        let key = match schema.list_type {
            Some(ListType::Set) => item.clone(),
            Some(ListType::Map) => {
                let part = |key: &String| Some((key.clone(), item.get(key)?.clone()));
                Value::Object(schema.list_keys.iter().filter_map(part).collect())
            }
            Some(ListType::Atomic) | None => return,
        };
        if !seen.insert(key.to_string()) {
            errors.push(FieldError::duplicate(at.index(index).path(), key));
        }
    }
}
