//! What a change takes and loses: two states of an object, walked along the schema side by side.

use std::collections::BTreeMap;

use serde_json::Value;

use super::element;
use super::schema::{Level, Schema, Shape, member, shape_for};
use super::set::{Fields, Mark};

/// The places that a change touched.
#[derive(Debug, Default)]
pub(super) struct Difference {
    /// Places that are new or have another value.
    pub(super) took: Fields,
    /// Places that are gone.
    pub(super) lost: Fields,
}

impl Difference {
    /// Tells whether nothing changed.
    pub(super) fn is_empty(&self) -> bool {
        self.took.is_empty() && self.lost.is_empty()
    }
}

/// Compares two states of an object; `old` is `None` for an object that is being made.
///
/// `excluded` are members at the top that are left out. A list whose items cannot be told apart is
/// compared as a whole.
pub(super) fn compare<S: Schema>(
    schema: S,
    old: Option<&Value>,
    new: &Value,
    excluded: &[&str],
) -> Difference {
    let old = old.map_or(Side::Zero, Side::Is);
    let found = place(schema, old, Side::Is(new), Level::Object(excluded));
    Difference { took: found.took.below, lost: found.lost.below }
}

/// What stands at a place.
#[derive(Clone, Copy)]
enum Side<'a> {
    /// Nothing: somebody makes or removes the place.
    Absent,
    /// The zero value, which comes with the structure around it.
    Zero,
    /// A value.
    Is(&'a Value),
}

impl<'a> Side<'a> {
    fn value(self) -> Option<&'a Value> {
        match self {
            Side::Is(value) => Some(value),
            Side::Absent | Side::Zero => None,
        }
    }

    fn members(self) -> impl Iterator<Item = (&'a String, &'a Value)> {
        self.value().and_then(Value::as_object).into_iter().flatten()
    }

    fn is_absent(self) -> bool {
        matches!(self, Side::Absent)
    }

    /// The member of this name.
    fn member(self, name: &str, always_there: bool) -> Side<'a> {
        let found = self.value().and_then(|value| value.get(name));
        match (found, self) {
            (Some(value), _) => Side::Is(value),
            (None, Side::Absent) => Side::Absent,
            (None, Side::Zero | Side::Is(_)) if always_there => Side::Zero,
            (None, Side::Zero | Side::Is(_)) => Side::Absent,
        }
    }
}

/// What became of a place.
#[derive(Default)]
struct Found {
    took: Mark,
    lost: Mark,
}

impl Found {
    fn put(self, element: impl Fn() -> String, parent: &mut Found) {
        self.took.put(&element, &mut parent.took.below);
        self.lost.put(&element, &mut parent.lost.below);
    }
}

fn place<S: Schema>(schema: S, old: Side<'_>, new: Side<'_>, level: Level<'_>) -> Found {
    let mut found = match shape_for(schema, [old.value(), new.value()]) {
        Shape::Unit | Shape::Deduced => return unit(old, new),
        shape @ (Shape::Structure | Shape::Map) => match has_members(old) || has_members(new) {
            true => members(schema, shape, old, new, level),
            false => return unit(old, new),
        },
        shape @ (Shape::Set | Shape::Keyed) => match has_items(old) || has_items(new) {
            true => items(schema, shape, old, new),
            false => return unit(old, new),
        },
    };
    found.took.member |= old.is_absent() && level.is_ownable();
    found.lost.member |= new.is_absent() && level.is_ownable();
    found
}

fn has_members(side: Side<'_>) -> bool {
    side.value().and_then(Value::as_object).is_some_and(|members| !members.is_empty())
}

fn has_items(side: Side<'_>) -> bool {
    side.value().and_then(Value::as_array).is_some_and(|items| !items.is_empty())
}

/// Compares as a whole.
fn unit(old: Side<'_>, new: Side<'_>) -> Found {
    let (took, lost) = match (old, new) {
        (Side::Absent, Side::Is(_)) => (true, false),
        (Side::Is(_), Side::Absent) => (false, true),
        (Side::Is(old), Side::Is(new)) => (old != new, false),
        (Side::Zero, Side::Is(value)) | (Side::Is(value), Side::Zero) => (!is_zero(value), false),
        (Side::Absent | Side::Zero, Side::Absent | Side::Zero) => (false, false),
    };
    Found {
        took: Mark { member: took, ..Mark::default() },
        lost: Mark { member: lost, ..Mark::default() },
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(set) => !set,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

fn members<S: Schema>(
    schema: S,
    shape: Shape,
    old: Side<'_>,
    new: Side<'_>,
    level: Level<'_>,
) -> Found {
    let mut found = Found::default();
    let is_new = |name: &str| old.value().is_none_or(|old| old.get(name).is_none());
    let all = old.members().chain(new.members().filter(|(name, _)| is_new(name)));
    for (name, _) in all.filter(|(name, _)| !level.hides(name)) {
        let inner = member(schema, shape, name);
        let always_there = inner.is_some_and(Schema::is_always_there);
        let (before, after) = (old.member(name, always_there), new.member(name, always_there));
        let change = match inner {
            Some(schema) => place(schema, before, after, level.below(name)),
            None => unit(before, after),
        };
        change.put(|| element::of_member(name), &mut found);
    }
    found
}

fn items<S: Schema>(schema: S, shape: Shape, old: Side<'_>, new: Side<'_>) -> Found {
    if let (Side::Is(old), Side::Is(new)) = (old, new)
        && old == new
    {
        return Found::default();
    }
    let (Some(before), Some(after)) =
        (by_element(schema, shape, old), by_element(schema, shape, new))
    else {
        return unit(old, new);
    };
    let mut found = Found::default();
    let made = after.keys().filter(|element| !before.contains_key(*element));
    for element in before.keys().chain(made) {
        let none = Vec::new();
        let (olds, news) =
            (before.get(element).unwrap_or(&none), after.get(element).unwrap_or(&none));
        let item = schema.item();
        item_change(item, shape, olds, news).put(|| element.clone(), &mut found);
    }
    found
}

/// Items by what identifies them, duplicates together; `None` when one cannot be told from others.
fn by_element<'a, S: Schema>(
    schema: S,
    shape: Shape,
    side: Side<'a>,
) -> Option<BTreeMap<String, Vec<&'a Value>>> {
    let mut found: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for item in side.value().and_then(Value::as_array).into_iter().flatten() {
        found.entry(element::of_item(schema, shape, item).ok()?).or_default().push(item);
    }
    Some(found)
}

/// Compares the items of one identity; where there are several, they are one unit.
fn item_change<S: Schema>(schema: S, shape: Shape, olds: &[&Value], news: &[&Value]) -> Found {
    let one = |old: Option<&&Value>, new: Option<&&Value>| {
        let old = old.map_or(Side::Absent, |value| Side::Is(value));
        let new = new.map_or(Side::Absent, |value| Side::Is(value));
        if shape == Shape::Keyed { place(schema, old, new, Level::Inner) } else { unit(old, new) }
    };
    match (olds.len() > 1, news.len() > 1) {
        (false, false) => one(olds.first(), news.first()),
        (true, true) => {
            let took = Mark { member: olds != news, ..Mark::default() };
            Found { took, lost: Mark::default() }
        }
        (true, false) => {
            let mut found = news.first().map_or_else(Found::default, |new| one(None, Some(new)));
            found.lost.member = true;
            found
        }
        (false, true) => {
            let mut found = olds.first().map_or_else(Found::default, |old| one(Some(old), None));
            found.took.member = true;
            found
        }
    }
}
