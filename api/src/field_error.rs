//! What is wrong with one field of an object, in upstream's words.
//!
//! Validators give lists of these; `Status::invalid` turns a list into the answer. A `Path` is
//! built on the stack and written out only when something is wrong.
//! *Source:* `k8s.io/apimachinery/pkg/util/validation/field`.

use std::fmt;

use serde_json::Value;

use crate::text::go_quote;

/// Why a field was refused; the wire word is `details.causes[].reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// A value refers to something that does not exist.
    NotFound,
    /// A value must be given.
    Required,
    /// A value must be unique and is not.
    Duplicate,
    /// A value is malformed or out of range.
    Invalid,
    /// A value is none of the listed ones.
    NotSupported,
    /// A value is well formed but not allowed here.
    Forbidden,
    /// A value has too many bytes.
    TooLong,
    /// A list has too many items.
    TooMany,
    /// A value has another type than the field.
    TypeInvalid,
    /// The server failed, whatever the value.
    Internal,
}

impl Cause {
    /// Gives the machine-readable word used on the wire.
    pub fn reason(self) -> &'static str {
        match self {
            Cause::NotFound => "FieldValueNotFound",
            Cause::Required => "FieldValueRequired",
            Cause::Duplicate => "FieldValueDuplicate",
            Cause::Invalid => "FieldValueInvalid",
            Cause::NotSupported => "FieldValueNotSupported",
            Cause::Forbidden => "FieldValueForbidden",
            Cause::TooLong => "FieldValueTooLong",
            Cause::TooMany => "FieldValueTooMany",
            Cause::TypeInvalid => "FieldValueTypeInvalid",
            Cause::Internal => "InternalError",
        }
    }

    /// Gives the words that begin the human-readable message.
    pub fn words(self) -> &'static str {
        match self {
            Cause::NotFound => "Not found",
            Cause::Required => "Required value",
            Cause::Duplicate => "Duplicate value",
            Cause::Invalid | Cause::TypeInvalid => "Invalid value",
            Cause::NotSupported => "Unsupported value",
            Cause::Forbidden => "Forbidden",
            Cause::TooLong => "Too long",
            Cause::TooMany => "Too many",
            Cause::Internal => "Internal error",
        }
    }
}

/// One refused field: which, why, and the message without the field's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FieldError {
    /// Why, as a closed set.
    pub cause: Cause,
    /// Path as in `spec.containers[0].name`.
    pub field: String,
    /// Message as in `Invalid value: "x": must be y`.
    pub message: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

impl std::error::Error for FieldError {}

impl FieldError {
    /// A value must be given; `detail` may be empty.
    pub fn required(field: impl fmt::Display, detail: impl AsRef<str>) -> Self {
        Self::new(Cause::Required, field, None, detail.as_ref())
    }

    /// A value is malformed; `detail` says what it must be.
    pub fn invalid(
        field: impl fmt::Display,
        value: impl serde::Serialize,
        detail: impl AsRef<str>,
    ) -> Self {
        Self::new(Cause::Invalid, field, Some(shown(&value)), detail.as_ref())
    }

    /// A value has the wrong type; `detail` says which is wanted.
    pub fn type_invalid(
        field: impl fmt::Display,
        value: impl serde::Serialize,
        detail: impl AsRef<str>,
    ) -> Self {
        Self::new(Cause::TypeInvalid, field, Some(shown(&value)), detail.as_ref())
    }

    /// A value is none of `supported`, which the message lists in the order given.
    pub fn not_supported(
        field: impl fmt::Display,
        value: impl serde::Serialize,
        supported: &[&str],
    ) -> Self {
        let detail = if supported.is_empty() {
            String::new()
        } else {
            let quoted: Vec<String> = supported.iter().map(|value| go_quote(value)).collect();
            format!("supported values: {}", quoted.join(", "))
        };
        Self::new(Cause::NotSupported, field, Some(shown(&value)), &detail)
    }

    /// A value occurs twice.
    pub fn duplicate(field: impl fmt::Display, value: impl serde::Serialize) -> Self {
        Self::new(Cause::Duplicate, field, Some(shown(&value)), "")
    }

    /// A value refers to something that is not there.
    pub fn not_found(field: impl fmt::Display, value: impl serde::Serialize) -> Self {
        Self::new(Cause::NotFound, field, Some(shown(&value)), "")
    }

    /// A field may not be set or changed here; `detail` says why.
    pub fn forbidden(field: impl fmt::Display, detail: impl AsRef<str>) -> Self {
        Self::new(Cause::Forbidden, field, None, detail.as_ref())
    }

    /// A value has more than `max_bytes` bytes; the value itself is not shown.
    pub fn too_long(field: impl fmt::Display, max_bytes: usize) -> Self {
        let unit = if max_bytes == 1 { "byte" } else { "bytes" };
        let detail = format!("may not be more than {max_bytes} {unit}");
        Self::new(Cause::TooLong, field, None, &detail)
    }

    /// A list has `actual` items where at most `max` are allowed.
    pub fn too_many(field: impl fmt::Display, actual: usize, max: usize) -> Self {
        let unit = if max == 1 { "item" } else { "items" };
        let detail = format!("must have at most {max} {unit}");
        Self::new(Cause::TooMany, field, Some(actual.to_string()), &detail)
    }

    /// The server could not judge the field.
    pub fn internal(field: impl fmt::Display, detail: impl AsRef<str>) -> Self {
        Self::new(Cause::Internal, field, None, detail.as_ref())
    }

    fn new(cause: Cause, field: impl fmt::Display, value: Option<String>, detail: &str) -> Self {
        let mut message = cause.words().to_owned();
        if let Some(value) = value {
            message.push_str(": ");
            message.push_str(&value);
        }
        if !detail.is_empty() {
            message.push_str(": ");
            message.push_str(detail);
        }
        FieldError { cause, field: field.to_string(), message }
    }
}

/// Writes a refused value: strings quoted as Go does, all else as JSON.
fn shown(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(text)) => go_quote(&text),
        Ok(other) => other.to_string(),
        Err(_) => "<unprintable>".to_owned(),
    }
}

/// Where a field is, as a chain of steps that borrows its parents.
///
/// Cheap to make for every field that is looked at: nothing is written until `to_string`.
#[derive(Debug, Clone, Copy)]
pub struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    Field(&'a str),
    Index(usize),
    Key(&'a str),
}

impl<'a> Path<'a> {
    /// Begins a path at a top-level field.
    pub const fn root(field: &'a str) -> Path<'a> {
        Path { parent: None, step: Step::Field(field) }
    }

    /// Goes on to a field: `.name`.
    pub const fn child<'b>(&'b self, field: &'b str) -> Path<'b>
    where
        'a: 'b,
    {
        Path { parent: Some(self), step: Step::Field(field) }
    }

    /// Goes on to a list item: `[3]`.
    pub const fn index<'b>(&'b self, index: usize) -> Path<'b>
    where
        'a: 'b,
    {
        Path { parent: Some(self), step: Step::Index(index) }
    }

    /// Goes on to a map entry: `[key]`.
    pub const fn key<'b>(&'b self, key: &'b str) -> Path<'b>
    where
        'a: 'b,
    {
        Path { parent: Some(self), step: Step::Key(key) }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            write!(f, "{parent}")?;
        }
        match self.step {
            Step::Field(name) if self.parent.is_some() => write!(f, ".{name}"),
            Step::Field(name) => f.write_str(name),
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Key(key) => write!(f, "[{key}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(error: FieldError, reason: &str, text: &str) {
        assert_eq!(error.to_string(), text);
        assert_eq!(error.cause.reason(), reason);
    }

    #[test]
    fn words_are_upstreams() {
        let spec = Path::root("spec");
        let containers = spec.child("containers");
        let first = containers.index(0);
        check(
            FieldError::invalid(first.child("name"), "A", "must be lower case"),
            "FieldValueInvalid",
            r#"spec.containers[0].name: Invalid value: "A": must be lower case"#,
        );
        check(
            FieldError::required(first.child("image"), ""),
            "FieldValueRequired",
            "spec.containers[0].image: Required value",
        );
        check(
            FieldError::not_supported(spec.child("type"), "x", &["A", "B"]),
            "FieldValueNotSupported",
            r#"spec.type: Unsupported value: "x": supported values: "A", "B""#,
        );
        check(
            FieldError::too_many(spec.child("ports"), 3, 1),
            "FieldValueTooMany",
            "spec.ports: Too many: 3: must have at most 1 item",
        );
        check(
            FieldError::too_long(Path::root("data").key("k"), 10),
            "FieldValueTooLong",
            "data[k]: Too long: may not be more than 10 bytes",
        );
        check(
            FieldError::invalid(spec.child("replicas"), -1, "must be positive"),
            "FieldValueInvalid",
            "spec.replicas: Invalid value: -1: must be positive",
        );
        check(
            FieldError::duplicate(spec.child("x"), serde_json::json!({"a": 1})),
            "FieldValueDuplicate",
            r#"spec.x: Duplicate value: {"a":1}"#,
        );
    }
}
