//! From the bytes of a request to an object of a user's kind.

use serde_json::Value;

use super::prune::prune;
use super::version::Version;
use crate::decode::{self, Decoded, FieldValidation, MediaType};
use crate::schema::{self, Type};
use crate::status::Status;

impl Version {
    /// Reads the body of a request: unknown fields are dropped, metadata fits its type.
    ///
    /// # Errors
    /// 400 for a body that is not JSON or YAML or no object, for metadata of a wrong type, and with
    /// [`FieldValidation::Strict`] for unknown and duplicate fields; 415 for protobuf, which no
    /// user's kind has.
    pub fn decode(
        &self,
        bytes: &[u8],
        media_type: MediaType,
        validation: FieldValidation,
    ) -> Result<Decoded, Status> {
        let (value, duplicates) = match media_type {
            MediaType::Json => decode::decode_json(bytes)?,
            MediaType::Yaml => decode::decode_yaml(bytes)?,
            MediaType::Protobuf => {
                return Err(Status::unsupported_media_type(
                    "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml",
                ));
            }
        };
        self.conformed(value, duplicates, validation, bytes)
    }

    /// Makes an object that is already a JSON tree, such as the result of a patch, fit.
    ///
    /// # Errors
    /// As [`Version::decode`].
    pub fn conform(&self, value: Value, validation: FieldValidation) -> Result<Decoded, Status> {
        self.conformed(value, Vec::new(), validation, &[])
    }

    /// Checks a configuration for server-side apply; adds nothing. Gives the paths of unknown
    /// fields, which are removed.
    ///
    /// # Errors
    /// 400 for what is no object, and for metadata of a wrong type.
    pub fn configuration(&self, value: &mut Value) -> Result<Vec<String>, Status> {
        if !value.is_object() {
            return Err(self.refused("json: cannot unmarshal into an object"));
        }
        let mut unknown = Vec::new();
        if let (Some(ty), Some(metadata)) = (metadata_type(), value.get_mut("metadata")) {
            let found = decode::configuration(metadata, ty)?;
            unknown.extend(found.into_iter().map(|path| format!("metadata.{path}")));
        }
        unknown.extend(prune(value, &self.schema));
        Ok(unknown)
    }

    fn conformed(
        &self,
        mut value: Value,
        duplicates: Vec<String>,
        validation: FieldValidation,
        body: &[u8],
    ) -> Result<Decoded, Status> {
        if !value.is_object() {
            return Err(self.refused("json: cannot unmarshal into an object"));
        }
        let mut found: Vec<String> =
            duplicates.into_iter().map(|path| format!("duplicate field \"{path}\"")).collect();
        found.extend(conform_metadata(&mut value)?);
        let gone = prune(&mut value, &self.schema);
        found.extend(gone.into_iter().map(|path| format!("unknown field \"{path}\"")));
        found.truncate(decode::STRICT_ERRORS_MAX);
        if validation != FieldValidation::Ignore {
            decode::order::by_place(body, &mut found);
        }
        match validation {
            FieldValidation::Strict if !found.is_empty() => {
                Err(self.refused(&format!("strict decoding error: {}", found.join(", "))))
            }
            FieldValidation::Strict | FieldValidation::Ignore => {
                Ok(Decoded { value, warnings: Vec::new() })
            }
            FieldValidation::Warn => Ok(Decoded { value, warnings: found }),
        }
    }

    fn refused(&self, problem: &str) -> Status {
        let (kind, version) = (&self.kind, &self.name);
        Status::bad_request(format!(
            "{kind} in version \"{version}\" cannot be handled as a {kind}: {problem}"
        ))
    }
}

fn metadata_type() -> Option<&'static Type> {
    schema::named("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")
}

/// Makes metadata fit its type; gives what was unknown there.
fn conform_metadata(object: &mut Value) -> Result<Vec<String>, Status> {
    let (Some(ty), Some(metadata)) = (metadata_type(), object.get_mut("metadata")) else {
        return Ok(Vec::new());
    };
    if metadata.is_null() {
        *metadata = Value::Object(serde_json::Map::new());
    }
    let decoded = decode::conform(metadata.take(), ty, FieldValidation::Warn)?;
    *metadata = decoded.value;
    let inside = |words: String| words.replacen("field \"", "field \"metadata.", 1);
    Ok(decoded.warnings.into_iter().map(inside).collect())
}
