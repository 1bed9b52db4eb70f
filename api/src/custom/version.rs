//! One version of a definition, ready to work on objects.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::column::Column;
use super::schema::{SchemaError, Structural};
use super::{check, fill, prune, rule};
use crate::field_error::{Cause, FieldError};
use crate::meta;
use crate::names;
use crate::validate::{metadata, same};

/// What is done to and asked of the objects of a user's kind in one version.
#[derive(Debug)]
pub struct Version {
    /// Kind of the objects.
    pub kind: String,
    /// Name of the version: `v1`.
    pub name: String,
    /// `group/version`.
    pub api_version: String,
    /// Form of the objects.
    pub schema: Structural,
    /// The schema as it was written, for OpenAPI.
    pub written: Value,
    /// Objects live in a namespace.
    namespaced: bool,
    columns: Vec<Column>,
}

impl Version {
    /// Reads a version out of a CustomResourceDefinition.
    ///
    /// # Errors
    /// When its schema cannot be used; the path is that inside of `openAPIV3Schema`.
    pub fn read(definition: &Value, version: &Value) -> Result<Version, SchemaError> {
        let spec = &definition["spec"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let written = version["schema"]["openAPIV3Schema"].clone();
        let listed = version["additionalPrinterColumns"].as_array();
        let columns = match listed.filter(|list| !list.is_empty()) {
            Some(list) => list.iter().filter_map(Column::read).collect(),
            None => Column::age().into_iter().collect(),
        };
        let name = text(&version["name"]);
        Ok(Version {
            kind: text(&spec["names"]["kind"]),
            api_version: format!("{}/{name}", text(&spec["group"])),
            name,
            schema: Structural::read(&written)?,
            written,
            namespaced: spec["scope"] != "Cluster",
            columns,
        })
    }

    /// Fills what the user left out.
    pub fn fill(&self, object: &mut Value) {
        fill::fill(object, &self.schema);
    }

    /// Removes what the schema does not know, such as after a change of the schema.
    pub fn prune(&self, object: &mut Value) {
        prune::prune(object, &self.schema);
    }

    /// Says what is wrong with a new object.
    pub fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = metadata::validate(object, self.namespaced, names::dns1123_subdomain);
        errors.extend(self.check(object, None));
        errors
    }

    /// Says what is wrong with a change; what was wrong before and stays as it was is let pass.
    ///
    /// *Source:* KEP-4008, validation ratcheting.
    pub fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = metadata::validate_update(new, old);
        errors.extend(self.check(new, Some(old)));
        errors
    }

    fn check(&self, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let mut errors = check::check(object, &self.schema);
        if let Some(old) = old {
            errors.retain(|error| !is_old(error, object, old));
        }
        if errors.iter().any(blocks_rules) {
            if rule::any(&self.schema) {
                errors.push(FieldError::invalid("<nil>", Value::Null, NOT_CHECKED));
            }
        } else {
            let unchanged = |error: &FieldError| old.is_some_and(|old| is_old(error, object, old));
            let broken = rule::check(object, old, &self.schema);
            errors.extend(broken.into_iter().filter(|error| !unchanged(error)));
        }
        errors
    }

    /// Gives the wire form of the columns.
    pub fn columns(&self) -> Value {
        let name = json!({"name": "Name", "type": "string", "format": "name", "priority": 0,
            "description": "Name of the object, unique for its kind."});
        std::iter::once(name).chain(self.columns.iter().map(Column::to_value)).collect()
    }

    /// Gives the cells of an object.
    pub fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let name = json!(meta::name(object));
        std::iter::once(name).chain(self.columns.iter().map(|c| c.cell(object, now))).collect()
    }
}

/// What is said where rules could not be asked.
const NOT_CHECKED: &str = "some validation rules were not checked because the object was invalid; correct the existing \
     errors to complete validation";

/// Tells whether an object is so wrong that its rules are not asked, which rely on its form.
///
/// *Source:* `hasBlockingErr` of apiextensions-apiserver.
fn blocks_rules(error: &FieldError) -> bool {
    match error.cause {
        Cause::NotSupported
        | Cause::Required
        | Cause::TooLong
        | Cause::TooMany
        | Cause::TypeInvalid => true,
        Cause::NotFound
        | Cause::Duplicate
        | Cause::Invalid
        | Cause::Forbidden
        | Cause::Internal => false,
    }
}

/// Tells whether a complaint is about a place that did not change.
fn is_old(error: &FieldError, new: &Value, old: &Value) -> bool {
    let path = error.field.as_str();
    if path == "<nil>" {
        return same(new, old);
    }
    match (at(new, path), at(old, path)) {
        (Some(new), Some(old)) => same(new, old),
        // A field that is missing in both: its parent tells.
        (None, None) => {
            let parent = path.rfind(['.', '[']).map_or("", |end| &path[..end]);
            !parent.is_empty()
                && at(new, parent).zip(at(old, parent)).is_some_and(|(new, old)| same(new, old))
        }
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// Finds the value at a path such as `spec.items[0].name`.
fn at<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(object, |value, step| {
        let mut parts = step.split('[');
        let value = value.get(parts.next()?)?;
        parts.try_fold(value, |value, index| {
            value.get(index.strip_suffix(']')?.parse::<usize>().ok()?)
        })
    })
}
