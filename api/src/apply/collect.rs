//! The field set of a configuration: every place that it names.

use std::collections::BTreeSet;

use serde_json::Value;

use super::element;
use super::schema::{Level, Schema, Shape, member, shape_for};
use super::set::{Fields, Mark};

/// Collects the places of an object, but for `excluded` members at its top.
///
/// # Errors
/// Names the path of a list whose items cannot be told apart.
pub(super) fn collect<S: Schema>(
    schema: S,
    object: &Value,
    excluded: &[&str],
) -> Result<Fields, String> {
    let mut path = String::new();
    Ok(place(schema, object, Level::Object(excluded), &mut path)?.below)
}

fn place<S: Schema>(
    schema: S,
    value: &Value,
    level: Level<'_>,
    path: &mut String,
) -> Result<Mark, String> {
    match shape_for(schema, [Some(value), None]) {
        Shape::Unit | Shape::Deduced => Ok(Mark::member()),
        shape @ (Shape::Structure | Shape::Map) => members(schema, shape, value, level, path),
        shape @ (Shape::Set | Shape::Keyed) => items(schema, shape, value, path),
    }
}

fn members<S: Schema>(
    schema: S,
    shape: Shape,
    value: &Value,
    level: Level<'_>,
    path: &mut String,
) -> Result<Mark, String> {
    let mut mark = Mark::default();
    let Value::Object(members) = value else {
        // `null`: the manager wants it gone, and owns that.
        return Ok(Mark { member: value.is_null(), ..mark });
    };
    for (name, value) in members.iter().filter(|(name, _)| !level.hides(name)) {
        let inner = level.below(name);
        let length = path.len();
        path.push('.');
        path.push_str(name);
        let mut found = match member(schema, shape, name) {
            Some(schema) => place(schema, value, inner, path)?,
            None => Mark::member(),
        };
        path.truncate(length);
        let is_empty = value.is_null() || value.as_object().is_some_and(|map| map.is_empty());
        let named = shape == Shape::Structure || schema.field(name).is_some();
        found.member |= (is_empty || !named) && inner.is_ownable();
        found.put(|| element::of_member(name), &mut mark.below);
    }
    Ok(mark)
}

fn items<S: Schema>(
    schema: S,
    shape: Shape,
    value: &Value,
    path: &mut String,
) -> Result<Mark, String> {
    let mut mark = Mark::default();
    let Value::Array(items) = value else {
        return Ok(Mark { member: value.is_null(), ..mark });
    };
    let mut seen = BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        let element = element::of_item(schema, shape, item)
            .map_err(|why| format!("{path}: element {index}: {why}"))?;
        let length = path.len();
        element::show(&element, path);
        if !seen.insert(element.clone()) {
            let shown = path.split_off(length);
            return Err(format!("{path}: duplicate entries for key {shown}"));
        }
        let mut found = match shape {
            Shape::Keyed => place(schema.item(), item, Level::Inner, path)?,
            Shape::Set | Shape::Unit | Shape::Structure | Shape::Map | Shape::Deduced => {
                Mark::default()
            }
        };
        path.truncate(length);
        found.member = true;
        found.put(|| element, &mut mark.below);
    }
    Ok(mark)
}
