//! The walk of an object along its schema.
//!
//! In place: wrong types end it, unknown fields are noted and removed, and values take the form that
//! a round trip through upstream's Go structures gives them: `null` is absent, zero values that Go
//! leaves out are left out, what Go always writes is written, times and quantities are
//! canonical. Two objects that mean the same are then equal, which is what "unchanged" relies on.

use serde_json::{Map, Value};

use super::STRICT_ERRORS_MAX;
use super::path::Path;
use super::scalar::{self, Mismatch};
use crate::schema::{Field, FieldType, Type};

/// Which values a walk leaves out and adds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Those that Go leaves out and writes.
    Stored,
    /// None: what was sent says what its sender wants, zeros and `null` included.
    Sent,
}

/// Makes an object fit; gives the paths of the unknown fields that were removed.
pub(super) fn object(value: &mut Value, ty: &Type, form: Form) -> Result<Vec<String>, String> {
    let mut walk = Walk { unknown: Vec::new(), form };
    let Value::Object(members) = value else {
        return Err(format!(
            "json: cannot unmarshal {} into Go value of type {}",
            scalar::json_kind(value),
            scalar::structure_name(ty)
        ));
    };
    walk.structure(members, ty, Path::Root)?;
    Ok(walk.unknown)
}

struct Walk {
    unknown: Vec<String>,
    form: Form,
}

/// The field in which a value stands, for messages.
struct Place<'a> {
    structure: &'a Type,
    path: Path<'a>,
}

impl Walk {
    fn structure(
        &mut self,
        members: &mut Map<String, Value>,
        ty: &Type,
        path: Path<'_>,
    ) -> Result<(), String> {
        let mut leave: Vec<String> = Vec::new();
        for (name, value) in members.iter_mut() {
            let here = Path::Key(&path, name);
            let Some(field) = ty.field(name) else {
                self.note_unknown(here);
                leave.push(name.clone());
                continue;
            };
            if value.is_null() {
                if self.form == Form::Stored {
                    leave.push(name.clone());
                }
                continue;
            }
            self.value(value, &field.ty, &Place { structure: ty, path: here })?;
            if self.form == Form::Stored && is_left_out(value, field) {
                leave.push(name.clone());
            }
        }
        for name in leave {
            members.remove(&name);
        }
        match self.form {
            Form::Stored => self.add_zeros(members, ty, path),
            Form::Sent => Ok(()),
        }
    }

    /// Adds what Go writes even when it is zero: `resources: {}`, `name: ""`.
    fn add_zeros(
        &mut self,
        members: &mut Map<String, Value>,
        ty: &Type,
        path: Path<'_>,
    ) -> Result<(), String> {
        for field in ty.always_written() {
            if members.contains_key(field.name) {
                continue;
            }
            let mut zero = scalar::zero(&field.ty);
            if let (Value::Object(empty), FieldType::Ref(inner)) = (&mut zero, &field.ty) {
                self.structure(empty, inner, Path::Key(&path, field.name))?;
            }
            members.insert(field.name.to_owned(), zero);
        }
        Ok(())
    }

    fn note_unknown(&mut self, path: Path<'_>) {
        if self.unknown.len() < STRICT_ERRORS_MAX {
            self.unknown.push(path.to_string());
        }
    }

    fn value(
        &mut self,
        value: &mut Value,
        ty: &FieldType,
        place: &Place<'_>,
    ) -> Result<(), String> {
        match ty {
            FieldType::Ref(inner) => match value {
                Value::Object(members) => self.structure(members, inner, place.path),
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::String(_)
                | Value::Array(_) => Err(mismatch(Mismatch::WrongKind, value, ty, place)),
            },
            FieldType::List(item) => self.list(value, item, ty, place),
            FieldType::Map(item) => self.map(value, item, ty, place),
            FieldType::SchemaOrBool(inner)
            | FieldType::SchemaOrArray(inner)
            | FieldType::SchemaOrStrings(inner) => self.schema_or(value, ty, inner, place),
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
            | FieldType::Json => {
                scalar::normalise(value, ty).map_err(|problem| mismatch(problem, value, ty, place))
            }
        }
    }

    fn list(
        &mut self,
        value: &mut Value,
        item: &FieldType,
        ty: &FieldType,
        place: &Place<'_>,
    ) -> Result<(), String> {
        let Value::Array(items) = value else {
            return Err(mismatch(Mismatch::WrongKind, value, ty, place));
        };
        for (index, value) in items.iter_mut().enumerate() {
            let path = Path::Index(&place.path, index);
            self.item(value, item, &Place { structure: place.structure, path })?;
        }
        Ok(())
    }

    fn map(
        &mut self,
        value: &mut Value,
        item: &FieldType,
        ty: &FieldType,
        place: &Place<'_>,
    ) -> Result<(), String> {
        let Value::Object(members) = value else {
            return Err(mismatch(Mismatch::WrongKind, value, ty, place));
        };
        for (name, value) in members.iter_mut() {
            let path = Path::Key(&place.path, name);
            self.item(value, item, &Place { structure: place.structure, path })?;
        }
        Ok(())
    }

    /// Items cannot be absent, so `null` becomes the zero value of their type.
    fn item(&mut self, value: &mut Value, ty: &FieldType, place: &Place<'_>) -> Result<(), String> {
        if value.is_null() && self.form == Form::Sent {
            return Ok(());
        }
        if value.is_null() {
            *value = scalar::zero(ty);
            if value.is_null() {
                return Ok(());
            }
        }
        self.value(value, ty, place)
    }

    /// Fields of CustomResourceDefinitions that hold a schema or something simpler.
    fn schema_or(
        &mut self,
        value: &mut Value,
        ty: &FieldType,
        schema: &Type,
        place: &Place<'_>,
    ) -> Result<(), String> {
        match (value, ty) {
            (Value::Object(members), _) => self.structure(members, schema, place.path),
            (Value::Bool(_), FieldType::SchemaOrBool(_)) => Ok(()),
            (value @ Value::Array(_), FieldType::SchemaOrArray(inner)) => {
                self.list(value, &FieldType::Ref(inner), ty, place)
            }
            (value @ Value::Array(_), FieldType::SchemaOrStrings(_)) => {
                self.list(value, &FieldType::String, ty, place)
            }
            (value, _) => Err(mismatch(Mismatch::WrongKind, value, ty, place)),
        }
    }
}

/// Tells whether Go would leave the value out when it writes the structure.
fn is_left_out(value: &Value, field: &Field) -> bool {
    if !field.omitempty || field.pointer {
        return false;
    }
    // An empty list of owners says that a client wants them forgotten.
    if field.name == "managedFields" {
        return value.is_null();
    }
    match value {
        Value::Null => true,
        Value::Bool(set) => !set,
        // An int-or-string is a structure in Go, which is never left out.
        Value::Number(number) => field.ty != FieldType::IntOrString && number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty() && field.ty != FieldType::IntOrString,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty() && matches!(field.ty, FieldType::Map(_)),
    }
}

fn mismatch(problem: Mismatch, value: &Value, ty: &FieldType, place: &Place<'_>) -> String {
    scalar::explain(&problem, value, ty, place.structure, &place.path)
}
