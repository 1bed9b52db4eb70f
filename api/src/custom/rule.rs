//! Rules in CEL: `x-kubernetes-validations`.

use serde_json::{Map, Value};

use super::message::At;
use super::schema::{Additional, Structural};
use crate::cel::{CelError, Expression, Form, Known, OldSelf, Scope, Shape};
use crate::field_error::FieldError;
use crate::schema::ListType;

/// Variables of a rule.
const VARIABLES: &[&str] = &["self", "oldSelf"];

/// One rule of a place.
#[derive(Debug)]
pub(super) struct Rule {
    expression: Expression,
    message: String,
    message_expression: Option<Expression>,
    field_path: String,
    reason: String,
    /// Speaks of the old value, and so is asked only when there is one.
    is_transition: bool,
    optional_old: bool,
}

impl Rule {
    /// Compiles a rule; a failure names the field of the rule that is wrong.
    pub(super) fn read(rule: &Value) -> Result<Rule, (&'static str, CelError)> {
        let text = |field: &str| rule[field].as_str().unwrap_or_default();
        let expression =
            Expression::compile(text("rule"), VARIABLES).map_err(|error| ("rule", error))?;
        let message_expression = match text("messageExpression") {
            "" => None,
            words => {
                let compiled = Expression::compile(words, VARIABLES);
                Some(compiled.map_err(|error| ("messageExpression", error))?)
            }
        };
        Ok(Rule {
            is_transition: expression.uses("oldSelf"),
            optional_old: rule["optionalOldSelf"] == true,
            expression,
            message: text("message").trim().to_owned(),
            message_expression,
            field_path: text("fieldPath").to_owned(),
            reason: text("reason").to_owned(),
        })
    }

    /// Gives what the rule and its `messageExpression` may cost at most at a place whose values have a form.
    pub(super) fn costs_max(&self, form: &Form) -> (u64, Option<u64>) {
        let old = if self.optional_old { OldSelf::Optional } else { OldSelf::Value };
        let message = self.message_expression.as_ref().map(|made| made.cost_max(form, old));
        (self.expression.cost_max(form, old), message)
    }

    /// Says what the rule gets wrong about its place: the field of the rule, its text, and words.
    fn mistakes(&self, known: Known<'_>) -> Vec<(&'static str, &str, String)> {
        let old = if self.optional_old { Known::Dyn } else { known };
        let variables = [("self", known), ("oldSelf", old)];
        let mut found = Vec::new();
        let mut look = |field, expression: &'_ Expression, wanted: &str, article: &str| {
            let (mistakes, gives) = expression.checked(&variables);
            let text = expression.text().to_owned();
            for mistake in &mistakes {
                let words = format!("compilation failed: ERROR: <input>: {mistake}\n | {text}");
                found.push((field, words));
            }
            if mistakes.is_empty() && gives.is_some_and(|gives| gives != wanted) {
                found.push((field, format!("{article} must evaluate to a {wanted}")));
            }
        };
        look("rule", &self.expression, "bool", "cel expression");
        if let Some(expression) = &self.message_expression {
            look("messageExpression", expression, "string", "messageExpression");
        }
        let text = |field| match (&self.message_expression, field) {
            (Some(expression), "messageExpression") => expression.text(),
            (_, _) => self.expression.text(),
        };
        found.into_iter().map(|(field, words)| (field, text(field), words)).collect()
    }

    fn check(&self, scope: &Scope, at: &At, ty: &str) -> Option<FieldError> {
        let error = match self.expression.is_true(scope) {
            Ok(true) => return None,
            Ok(false) => None,
            Err(error) => Some(error),
        };
        let words = match error {
            None => self.message(scope),
            Some(error) => format!("{error} evaluating rule: {}", self.shown()),
        };
        let path = format!("{}{}", at.path(), self.field_path);
        let path = path.strip_prefix("<nil>.").unwrap_or(&path);
        Some(match self.reason.as_str() {
            "FieldValueForbidden" => FieldError::forbidden(path, words),
            "FieldValueRequired" => FieldError::required(path, words),
            "FieldValueDuplicate" => FieldError::duplicate(path, ty),
            _ => FieldError::invalid(path, ty, words),
        })
    }

    /// The rule in a complaint about itself: by its message, or as it is written.
    fn shown(&self) -> &str {
        if self.message.is_empty() { self.expression.text().trim() } else { &self.message }
    }

    fn message(&self, scope: &Scope) -> String {
        let made = self.message_expression.as_ref().and_then(|made| made.text_value(scope).ok());
        let made = made.filter(|text| !text.trim().is_empty() && !text.contains('\n'));
        made.unwrap_or_else(|| {
            if self.message.is_empty() {
                format!("failed rule: {}", self.expression.text().trim())
            } else {
                self.message.clone()
            }
        })
    }
}

/// Says what the rules of a whole object's schema get wrong about their places. `path` is that of the schema.
pub(super) fn mistakes(schema: &Structural, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    look(&mut errors, schema, Known::Whole(schema), path);
    errors
}

fn look(errors: &mut Vec<FieldError>, schema: &Structural, known: Known<'_>, path: &str) {
    for (index, rule) in schema.rules.iter().enumerate() {
        errors.extend(rule.mistakes(known).into_iter().map(|(field, text, words)| {
            let place = format!("{path}.x-kubernetes-validations[{index}].{field}");
            FieldError::invalid(place, text, words)
        }));
    }
    let below = |errors: &mut Vec<FieldError>, schema: &Structural, step: &str| {
        look(errors, schema, Known::of_schema(schema), &format!("{path}.{step}"));
    };
    for (name, property) in &schema.properties {
        below(errors, property, &format!("properties[{name}]"));
    }
    if let Some(items) = &schema.items {
        below(errors, items, "items");
    }
    if let Additional::Schema(values) = &schema.additional {
        below(errors, values, "additionalProperties");
    }
}

/// Tells whether a schema has a rule anywhere.
pub(super) fn any(schema: &Structural) -> bool {
    let additional = match &schema.additional {
        Additional::Schema(values) => any(values),
        Additional::None | Additional::Any => false,
    };
    !schema.rules.is_empty()
        || additional
        || schema.properties.values().any(any)
        || schema.items.as_deref().is_some_and(any)
}

/// Says which rules an object breaks; `old` is the object before, for rules about changes.
pub(super) fn check(object: &Value, old: Option<&Value>, schema: &Structural) -> Vec<FieldError> {
    let mut errors = Vec::new();
    walk(&mut errors, &At::default(), (object, old), schema);
    errors
}

fn walk(
    errors: &mut Vec<FieldError>,
    at: &At,
    (value, old): (&Value, Option<&Value>),
    schema: &Structural,
) {
    if value.is_null() && schema.nullable {
        return;
    }
    check_place(errors, at, (value, old), schema);
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let old = old.and_then(|old| old.get(name));
                if let Some(property) = schema.properties.get(name.as_str()) {
                    walk(errors, &at.field(name), (value, old), property);
                } else if let Additional::Schema(other) = &schema.additional {
                    walk(errors, &at.key(name), (value, old), other);
                }
            }
        }
        Value::Array(items) => {
            let Some(form) = &schema.items else { return };
            for (index, item) in items.iter().enumerate() {
                let old = old.and_then(|old| same_item(item, old, schema));
                walk(errors, &at.index(index), (item, old), form);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Finds the item of a `map` list that had the same keys; items of other lists have no past.
fn same_item<'a>(item: &Value, old: &'a Value, schema: &Structural) -> Option<&'a Value> {
    if schema.list_type != Some(ListType::Map) {
        return None;
    }
    let same = |other: &&Value| schema.list_keys.iter().all(|key| other.get(key) == item.get(key));
    old.as_array()?.iter().find(same)
}

fn check_place(
    errors: &mut Vec<FieldError>,
    at: &At,
    (value, old): (&Value, Option<&Value>),
    schema: &Structural,
) {
    if schema.rules.is_empty() {
        return;
    }
    let shape = Shape::Schema(&schema.shape);
    let mut scope = Scope::new();
    let known = whole_members(value, at);
    scope.bind("self", known.as_ref().unwrap_or(value), shape);
    for rule in &schema.rules {
        if rule.is_transition && old.is_none() && !rule.optional_old {
            continue;
        }
        match old {
            _ if rule.is_transition && rule.optional_old => bind_optional(&mut scope, old, shape),
            // The rule before may have bound another form of it.
            Some(old) if rule.is_transition => scope.bind("oldSelf", old, shape),
            Some(_) | None => {}
        }
        errors.extend(rule.check(&scope, at, &schema.ty));
    }
}

/// A rule that is also asked of new objects sees the old value as one that may be missing.
fn bind_optional(scope: &mut Scope, old: Option<&Value>, shape: Shape<'_>) {
    let mut inner = Scope::new();
    let text = match old {
        Some(old) => {
            inner.bind("value", old, shape);
            "optional.of(value)"
        }
        None => "optional.none()",
    };
    let optional = Expression::compile(text, &["value"]).and_then(|made| made.evaluate(&inner));
    if let Ok(optional) = optional {
        scope.bind_value("oldSelf", optional);
    }
}

/// Of a whole object's metadata, rules see names alone.
fn whole_members(value: &Value, at: &At) -> Option<Value> {
    let members = value.as_object().filter(|_| at.path() == "<nil>")?;
    let mut shown: Map<String, Value> = members.clone();
    if let Some(metadata) = members.get("metadata").and_then(Value::as_object) {
        let names =
            metadata.iter().filter(|(name, _)| matches!(name.as_str(), "name" | "generateName"));
        let kept = names.map(|(name, value)| (name.clone(), value.clone())).collect();
        shown.insert("metadata".to_owned(), Value::Object(kept));
    }
    Some(Value::Object(shown))
}
