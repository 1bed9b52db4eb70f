//! What a manager applied before and no longer names, and nobody else owns, goes.

use serde_json::Value;

use super::element;
use super::schema::{Schema, Shape, member, shape_for};
use super::set::{self, Fields};

/// Removes from a merged object what is in `last`, the manager's former field set, and in none of
/// the `owned` ones, which include its new set.
///
/// A structure of which the manager owned parts goes with them when nobody owns another part of it.
pub(super) fn prune<S: Schema>(schema: S, object: &mut Value, last: &Fields, owned: &[&Fields]) {
    let at = At { last, owned: owned.to_vec(), applied: false, forfeit: false };
    at.prune(schema, object);
}

/// A place with what is known of it.
struct At<'a> {
    last: &'a Fields,
    owned: Vec<&'a Fields>,
    /// Whether the manager applied this place or one around it.
    applied: bool,
    /// Whether a place around it, or it, was applied and has no owner.
    forfeit: bool,
}

impl<'a> At<'a> {
    /// The place of a path element; `None` when the manager never applied anything there. `named` is
    /// true for a field of a structure, which is owned with any part of it.
    fn below(&self, element: &str, named: bool) -> Option<(At<'a>, bool)> {
        let last = set::child(self.last, element)?;
        let has = |node: &Fields| set::is_member(node) || (named && set::has_children(node));
        let owned: Vec<&Fields> =
            self.owned.iter().filter_map(|node| set::child(node, element)).collect();
        let was_applied = has(last);
        let applied = self.applied || was_applied;
        let forfeit = self.forfeit || (applied && !owned.iter().any(|node| has(node)));
        Some((At { last, owned, applied, forfeit }, forfeit && was_applied))
    }

    fn prune<S: Schema>(&self, schema: S, value: &mut Value) {
        match shape_for(schema, [Some(value), None]) {
            Shape::Unit | Shape::Deduced => {}
            shape @ (Shape::Structure | Shape::Map) => self.members(schema, shape, value),
            shape @ (Shape::Set | Shape::Keyed) => self.items(schema, shape, value),
        }
    }

    fn members<S: Schema>(&self, schema: S, shape: Shape, value: &mut Value) {
        let Value::Object(members) = value else { return };
        members.retain(|name, value| {
            let named = shape == Shape::Structure || schema.field(name).is_some();
            let Some((at, goes)) = self.below(&element::of_member(name), named) else {
                return true;
            };
            if goes {
                return false;
            }
            let was_empty = is_empty(value);
            if let Some(schema) = member(schema, shape, name) {
                at.prune(schema, value);
            }
            was_empty || !is_empty(value)
        });
    }

    fn items<S: Schema>(&self, schema: S, shape: Shape, value: &mut Value) {
        let Value::Array(items) = value else { return };
        items.retain_mut(|item| {
            let Ok(element) = element::of_item(schema, shape, item) else { return true };
            let Some((at, goes)) = self.below(&element, false) else { return true };
            if !goes && shape == Shape::Keyed {
                at.prune(schema.item(), item);
            }
            !goes
        });
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
