//! From the bytes of a request body to an object that fits its schema.
//!
//! Two steps: `parse` makes a JSON tree out of JSON or YAML and notes duplicate keys; `conform`
//! walks it along the schema, refuses wrong types, notes and prunes unknown fields, and brings
//! values into the form in which Kubernetes stores them. Rules of a single kind are not for here.

mod conform;
mod json;
pub(crate) mod order;
mod path;
mod scalar;
mod yaml;

use serde_json::Value;

use crate::proto;
use crate::schema::Type;
use crate::status::Status;
use conform::Form;

pub use yaml::{YamlError, documents};

/// Form of a body, as `Content-Type` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaType {
    /// `application/json`
    Json,
    /// `application/yaml`
    Yaml,
    /// `application/vnd.kubernetes.protobuf`
    Protobuf,
}

/// What to do about unknown and duplicate fields (query parameter `fieldValidation`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FieldValidation {
    /// Drop them silently.
    Ignore,
    /// Drop them and say so in `Warning` headers; upstream's default.
    #[default]
    Warn,
    /// Refuse the request.
    Strict,
}

/// An object that fits its schema.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// The object, without unknown fields.
    pub value: Value,
    /// Texts for `Warning` headers: `unknown field "spec.x"`. Empty unless [`FieldValidation::Warn`].
    pub warnings: Vec<String>,
}

/// Unknown and duplicate fields that are named; the rest is dropped without a word, so that a
/// hostile body cannot make an answer larger than itself.
pub const STRICT_ERRORS_MAX: usize = 100;

/// Reads the body of a request as an object of type `ty`.
///
/// The object may lack `apiVersion` and `kind`; the caller compares or fills them.
///
/// # Errors
/// 400 for a body that is not JSON (or YAML, or protobuf), for a value of a wrong type (with its
/// path), and with [`FieldValidation::Strict`] for unknown and duplicate fields.
pub fn decode(
    bytes: &[u8],
    media_type: MediaType,
    ty: &'static Type,
    validation: FieldValidation,
) -> Result<Decoded, Status> {
    if let Some(version) = ty.custom() {
        return version.decode(bytes, media_type, validation);
    }
    let (value, duplicates) = match media_type {
        MediaType::Json => json::parse(bytes),
        MediaType::Yaml => yaml::parse(bytes),
        MediaType::Protobuf => proto::decode(bytes, ty)
            .map(|value| (value, Vec::new()))
            .map_err(|error| error.to_string()),
    }
    .map_err(|error| unreadable(ty, &error))?;
    checked(value, duplicates, ty, validation, bytes)
}

/// Makes an object that is already a JSON tree, such as the result of a patch, fit its schema.
///
/// # Errors
/// As [`decode`].
pub fn conform(value: Value, ty: &Type, validation: FieldValidation) -> Result<Decoded, Status> {
    if let Some(version) = ty.custom() {
        return version.conform(value, validation);
    }
    checked(value, Vec::new(), ty, validation, &[])
}

/// Gives the object that Go writes for a structure of which nothing is set.
pub fn empty(ty: &Type) -> Value {
    let mut value = Value::Object(serde_json::Map::new());
    // An object without members has no member of a wrong type.
    let _nothing_unknown = conform::object(&mut value, ty, Form::Stored);
    value
}

/// Reads a JSON body without a schema, such as a patch; returns duplicate keys as paths.
///
/// # Errors
/// 400 when it is not JSON.
pub fn decode_json(bytes: &[u8]) -> Result<(Value, Vec<String>), Status> {
    json::parse(bytes).map_err(|error| Status::bad_request(format!("json parse error: {error}")))
}

/// Reads a YAML (or JSON) body of one document without a schema, such as an apply patch.
///
/// # Errors
/// 400 when it is not YAML.
pub fn decode_yaml(bytes: &[u8]) -> Result<(Value, Vec<String>), Status> {
    yaml::parse(bytes)
        .map_err(|error| Status::bad_request(format!("error converting YAML to JSON: {error}")))
}

/// Says where a YAML body has a key of a mapping for the second time: `line 9: key "foo" already set in map`.
pub fn repeated_yaml_key(bytes: &[u8]) -> Option<String> {
    yaml::repeated(bytes)
}

/// Checks the types of a configuration for server-side apply and brings its values into canonical
/// form; unlike [`conform`], adds and leaves out nothing. Gives the paths of unknown fields, which
/// are removed.
///
/// # Errors
/// 400 for a value of a wrong type, with its path.
pub fn configuration(value: &mut Value, ty: &Type) -> Result<Vec<String>, Status> {
    if let Some(version) = ty.custom() {
        return version.configuration(value);
    }
    conform::object(value, ty, Form::Sent).map_err(|error| refused(value, ty, &error))
}

fn checked(
    mut value: Value,
    duplicates: Vec<String>,
    ty: &Type,
    validation: FieldValidation,
    body: &[u8],
) -> Result<Decoded, Status> {
    let mut found: Vec<String> =
        duplicates.into_iter().map(|path| format!("duplicate field \"{path}\"")).collect();
    let unknown = conform::object(&mut value, ty, Form::Stored)
        .map_err(|error| refused(&value, ty, &error))?;
    found.extend(unknown.into_iter().map(|path| format!("unknown field \"{path}\"")));
    found.truncate(STRICT_ERRORS_MAX);
    if validation != FieldValidation::Ignore {
        order::by_place(body, &mut found);
    }
    match validation {
        FieldValidation::Strict if !found.is_empty() => {
            let problem = format!("strict decoding error: {}", found.join(", "));
            Err(refused(&value, ty, &problem))
        }
        FieldValidation::Strict | FieldValidation::Ignore => {
            Ok(Decoded { value, warnings: Vec::new() })
        }
        FieldValidation::Warn => Ok(Decoded { value, warnings: found }),
    }
}

fn unreadable(ty: &Type, error: &str) -> Status {
    Status::bad_request(format!(
        "the object provided is unrecognized (must be of type {}): {error}",
        ty.short_name()
    ))
}

/// *Source:* `transformDecodeError` of the apiserver's handlers.
fn refused(value: &Value, ty: &Type, problem: &str) -> Status {
    let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
    let kind = if text("kind").is_empty() { ty.short_name() } else { text("kind") };
    let version = match text("apiVersion").rsplit('/').next() {
        Some(version) if !version.is_empty() => version,
        _ => ty.version(),
    };
    Status::bad_request(format!(
        "{kind} in version \"{version}\" cannot be handled as a {}: {problem}",
        ty.short_name()
    ))
}

#[cfg(test)]
mod tests;
