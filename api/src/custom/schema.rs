//! A structural schema, read once from the JSON in a definition.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::budget::Budgets;
use super::pattern::Pattern;
use super::rule::Rule;
use crate::cel::CelError;
use crate::field_error::FieldError;
use crate::schema::ListType;

/// Deepest nesting of a schema; each level costs stack when an object is walked.
pub(super) const SCHEMA_DEPTH_MAX: usize = 64;

/// Why a schema cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct SchemaError {
    /// Where in the schema: `properties[spec].pattern`.
    pub path: String,
    /// What is wrong there.
    pub problem: String,
}

/// What an object may have beside its named properties.
#[derive(Debug, Default)]
pub enum Additional {
    /// Nothing.
    #[default]
    None,
    /// Anything.
    Any,
    /// Values of this form.
    Schema(Box<Structural>),
}

/// One place of a structural schema.
#[derive(Debug, Default)]
pub struct Structural {
    /// `object`, `array`, `string`, `integer`, `number`, `boolean`; empty for any.
    pub ty: Box<str>,
    /// Named properties.
    pub properties: BTreeMap<Box<str>, Structural>,
    /// Form of the items of a list.
    pub items: Option<Box<Structural>>,
    /// What is allowed beside the properties.
    pub additional: Additional,
    /// Unknown fields stay (`x-kubernetes-preserve-unknown-fields`).
    pub preserve: bool,
    /// A whole number or text (`x-kubernetes-int-or-string`).
    pub int_or_string: bool,
    /// An object of its own (`x-kubernetes-embedded-resource`).
    pub embedded: bool,
    /// `null` is a value.
    pub nullable: bool,
    /// What is filled in when the place is absent.
    pub default: Option<Value>,
    /// How a list merges (`x-kubernetes-list-type`).
    pub list_type: Option<ListType>,
    /// Fields that tell items of a `map` list apart.
    pub list_keys: Vec<String>,
    /// The map is one unit (`x-kubernetes-map-type: atomic`).
    pub atomic_map: bool,
    /// Limits of values.
    pub(super) limits: Limits,
    /// Rules in CEL, with as much of the schema as shapes `self`.
    pub(super) rules: Vec<Rule>,
    pub(super) shape: Value,
}

/// What a value must fulfil beside its type.
#[derive(Debug, Default)]
pub(super) struct Limits {
    pub(super) required: Vec<Box<str>>,
    pub(super) enumeration: Option<Vec<Value>>,
    pub(super) pattern: Option<Pattern>,
    pub(super) format: Box<str>,
    pub(super) minimum: Option<f64>,
    pub(super) maximum: Option<f64>,
    pub(super) exclusive_minimum: bool,
    pub(super) exclusive_maximum: bool,
    pub(super) multiple_of: Option<f64>,
    pub(super) min_length: Option<usize>,
    pub(super) max_length: Option<usize>,
    pub(super) min_items: Option<usize>,
    pub(super) max_items: Option<usize>,
    pub(super) min_properties: Option<usize>,
    pub(super) max_properties: Option<usize>,
    pub(super) unique_items: bool,
    pub(super) all_of: Vec<Structural>,
    pub(super) any_of: Vec<Structural>,
    pub(super) one_of: Vec<Structural>,
    pub(super) not: Option<Box<Structural>>,
}

impl Structural {
    /// Reads a schema.
    ///
    /// # Errors
    /// For a pattern that is no regular expression, a rule that is no expression, and a schema that
    /// is nested too deeply; with the first place found.
    pub fn read(schema: &Value) -> Result<Structural, SchemaError> {
        read(schema, "", 0)
    }

    /// Gives the format of texts; empty when there is none.
    pub(crate) fn format(&self) -> &str {
        &self.limits.format
    }

    /// Says what is wrong with a value at this place.
    pub fn complaints(&self, value: &Value) -> Vec<FieldError> {
        super::check::check(value, self)
    }

    /// Says what the rules of the schema of a whole object get wrong about their places, as far as that can be said
    /// before there is an object. `path` is that of the schema in its definition.
    pub fn mistakes_of_rules(&self, path: &str) -> Vec<FieldError> {
        super::rule::mistakes(self, path)
    }

    /// Says which rules of the schema of a whole object could cost more than is allowed. `path` is that of the schema in
    /// its definition.
    pub fn costs_of_rules(&self, path: &str, budgets: Budgets) -> Vec<FieldError> {
        super::budget::complaints(self, path, budgets)
    }

    /// Returns the form of a member of an object; `None` for an unknown one.
    pub fn member(&self, name: &str) -> Option<&Structural> {
        self.properties.get(name).or(match &self.additional {
            Additional::Schema(schema) => Some(schema),
            Additional::None | Additional::Any => None,
        })
    }
}

fn read(schema: &Value, path: &str, depth: usize) -> Result<Structural, SchemaError> {
    if depth > SCHEMA_DEPTH_MAX {
        let problem = format!("must not be nested more than {SCHEMA_DEPTH_MAX} deep");
        return Err(SchemaError { path: path.to_owned(), problem });
    }
    let flag = |name: &str| schema[name] == true;
    let below = |value: &Value, step: &str| read(value, &join(path, step), depth + 1);
    let mut properties = BTreeMap::new();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let read = below(property, &format!("properties[{name}]"))?;
        properties.insert(name.as_str().into(), read);
    }
    let items = &schema["items"];
    let items = items.is_object().then(|| below(items, "items")).transpose()?.map(Box::new);
    let additional = match &schema["additionalProperties"] {
        Value::Bool(true) => Additional::Any,
        found @ Value::Object(_) => {
            Additional::Schema(Box::new(below(found, "additionalProperties")?))
        }
        Value::Null
        | Value::Bool(false)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_) => Additional::None,
    };
    let rules = rules(schema, path)?;
    let keys = schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten();
    Ok(Structural {
        ty: schema["type"].as_str().unwrap_or_default().into(),
        properties,
        items,
        additional,
        preserve: flag("x-kubernetes-preserve-unknown-fields"),
        int_or_string: flag("x-kubernetes-int-or-string"),
        embedded: flag("x-kubernetes-embedded-resource"),
        nullable: flag("nullable"),
        default: schema.get("default").cloned(),
        list_type: match schema["x-kubernetes-list-type"].as_str() {
            Some("set") => Some(ListType::Set),
            Some("map") => Some(ListType::Map),
            Some("atomic") => Some(ListType::Atomic),
            Some(_) | None => None,
        },
        list_keys: keys.filter_map(Value::as_str).map(str::to_owned).collect(),
        atomic_map: schema["x-kubernetes-map-type"] == "atomic",
        limits: limits(schema, path, depth)?,
        shape: if rules.is_empty() { Value::Null } else { shape(schema) },
        rules,
    })
}

/// What of a schema decides how rules see a value: the rest would be kept once for each place with rules.
fn shape(schema: &Value) -> Value {
    let mut kept = Map::new();
    for name in ["format", "x-kubernetes-embedded-resource"] {
        if let Some(value) = schema.get(name) {
            kept.insert(name.to_owned(), value.clone());
        }
    }
    if schema["type"] == "number" {
        kept.insert("type".to_owned(), schema["type"].clone());
    }
    for name in ["items", "additionalProperties"] {
        if let Some(below) = schema.get(name).filter(|below| below.is_object()) {
            kept.insert(name.to_owned(), shape(below));
        }
    }
    if let Some(properties) = schema["properties"].as_object() {
        let shapes = properties.iter().map(|(name, below)| (name.clone(), shape(below)));
        kept.insert("properties".to_owned(), Value::Object(shapes.collect()));
    }
    Value::Object(kept)
}

fn limits(schema: &Value, path: &str, depth: usize) -> Result<Limits, SchemaError> {
    let float = |name: &str| schema[name].as_f64();
    let size = |name: &str| schema[name].as_u64().and_then(|size| usize::try_from(size).ok());
    let list = |name: &str| -> Result<Vec<Structural>, SchemaError> {
        let schemas = schema[name].as_array().into_iter().flatten().enumerate();
        let step = |index: usize| join(path, &format!("{name}[{index}]"));
        schemas.map(|(index, found)| read(found, &step(index), depth + 1)).collect()
    };
    let pattern = schema["pattern"].as_str().map(Pattern::read).transpose();
    let required = schema["required"].as_array().into_iter().flatten();
    let not = &schema["not"];
    Ok(Limits {
        required: required.filter_map(Value::as_str).map(Into::into).collect(),
        enumeration: schema["enum"].as_array().cloned(),
        pattern: pattern.map_err(|error| SchemaError {
            path: join(path, "pattern"),
            problem: format!("must be a valid regular expression, but isn't: {error}"),
        })?,
        format: schema["format"].as_str().unwrap_or_default().into(),
        minimum: float("minimum"),
        maximum: float("maximum"),
        exclusive_minimum: schema["exclusiveMinimum"] == true,
        exclusive_maximum: schema["exclusiveMaximum"] == true,
        multiple_of: float("multipleOf"),
        min_length: size("minLength"),
        max_length: size("maxLength"),
        min_items: size("minItems"),
        max_items: size("maxItems"),
        min_properties: size("minProperties"),
        max_properties: size("maxProperties"),
        unique_items: schema["uniqueItems"] == true,
        all_of: list("allOf")?,
        any_of: list("anyOf")?,
        one_of: list("oneOf")?,
        not: not
            .is_object()
            .then(|| read(not, &join(path, "not"), depth + 1))
            .transpose()?
            .map(Box::new),
    })
}

fn rules(schema: &Value, path: &str) -> Result<Vec<Rule>, SchemaError> {
    let written = schema["x-kubernetes-validations"].as_array().into_iter().flatten().enumerate();
    let place = |index: usize, field: &str| {
        join(path, &format!("x-kubernetes-validations[{index}].{field}"))
    };
    let read = |(index, value): (usize, &Value)| {
        Rule::read(value).map_err(|(field, error): (&str, CelError)| SchemaError {
            path: place(index, field),
            problem: error.to_string(),
        })
    };
    written.map(read).collect()
}

fn join(path: &str, step: &str) -> String {
    if path.is_empty() { step.to_owned() } else { format!("{path}.{step}") }
}
