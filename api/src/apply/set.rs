//! Field sets: trees of places, kept in the very form in which `fieldsV1` stores them.
//!
//! A node with `"."`, or without children, is a member of the set; a node with children and without
//! `"."` only leads to members. The root is never a member. Working on the stored form spares a
//! change of form for every entry of every write.

use serde_json::{Map, Value};

use super::element;

/// A node of a field set.
pub(super) type Fields = Map<String, Value>;

/// Marks a node with children as a member.
const SELF: &str = ".";

/// What is known of a place while a set is being made.
#[derive(Debug, Default)]
pub(super) struct Mark {
    /// Whether the place itself is a member.
    pub(super) member: bool,
    /// What is below it.
    pub(super) below: Fields,
}

impl Mark {
    /// A member without children.
    pub(super) fn member() -> Mark {
        Mark { member: true, below: Fields::new() }
    }

    /// Hangs the place under its parent, unless there is nothing to say of it.
    pub(super) fn put(mut self, element: impl FnOnce() -> String, parent: &mut Fields) {
        if !self.member && self.below.is_empty() {
            return;
        }
        if self.member && !self.below.is_empty() {
            self.below.insert(SELF.to_owned(), Value::Object(Fields::new()));
        }
        parent.insert(element(), Value::Object(self.below));
    }
}

/// Tells whether a node other than the root is a member.
pub(super) fn is_member(node: &Fields) -> bool {
    node.is_empty() || node.contains_key(SELF)
}

/// Tells whether a node leads to members below it.
pub(super) fn has_children(node: &Fields) -> bool {
    node.len() > usize::from(node.contains_key(SELF))
}

/// Gives the node of a path element.
pub(super) fn child<'a>(node: &'a Fields, element: &str) -> Option<&'a Fields> {
    node.get(element)?.as_object()
}

fn children(node: &Fields) -> impl Iterator<Item = (&String, &Fields)> {
    let inner = node.iter().filter(|(element, _)| *element != SELF);
    inner.filter_map(|(element, node)| Some((element, node.as_object()?)))
}

fn set_member(node: &mut Fields, member: bool) {
    node.remove(SELF);
    if member && !node.is_empty() {
        node.insert(SELF.to_owned(), Value::Object(Fields::new()));
    }
}

/// Takes the members of `gone` out of a set; what is below them stays.
pub(super) fn subtract(set: &mut Fields, gone: &Fields) {
    for (element, gone) in children(gone) {
        let Some(node) = set.get_mut(element).and_then(Value::as_object_mut) else { continue };
        let member = is_member(node) && !is_member(gone);
        node.remove(SELF);
        subtract(node, gone);
        let is_empty = node.is_empty();
        set_member(node, member);
        if is_empty && !member {
            set.remove(element);
        }
    }
}

/// Adds the members of another set.
pub(super) fn unite(set: &mut Fields, other: &Fields) {
    for (element, other) in children(other) {
        match set.get_mut(element).and_then(Value::as_object_mut) {
            None => {
                set.insert(element.clone(), Value::Object(other.clone()));
            }
            Some(node) => {
                let member = is_member(node) || is_member(other);
                node.remove(SELF);
                unite(node, other);
                set_member(node, member);
            }
        }
    }
}

/// Gives the members that two sets share, as a set.
pub(super) fn intersect(one: &Fields, other: &Fields) -> Fields {
    let mut shared = Fields::new();
    for (element, one) in children(one) {
        let Some(other) = child(other, element) else { continue };
        let mark =
            Mark { member: is_member(one) && is_member(other), below: intersect(one, other) };
        mark.put(|| element.clone(), &mut shared);
    }
    shared
}

/// Lists the members as paths for people: `.spec.template.spec.containers[name="web"].image`.
pub(super) fn paths(set: &Fields) -> Vec<String> {
    let mut found = Vec::new();
    collect_paths(set, &mut String::new(), &mut found);
    found
}

fn collect_paths(set: &Fields, path: &mut String, found: &mut Vec<String>) {
    for (element, node) in children(set) {
        let length = path.len();
        element::show(element, path);
        if is_member(node) {
            found.push(path.clone());
        }
        collect_paths(node, path, found);
        path.truncate(length);
    }
}

/// Most levels of a field set that a client sends: deeper than any object can be.
const DEPTH_MAX: usize = 128;

/// Tells whether a value that a client sent is a field set.
pub(super) fn is_well_formed(node: &Value, depth: usize) -> bool {
    let Value::Object(members) = node else { return false };
    depth < DEPTH_MAX
        && members.iter().all(|(element, node)| {
            (element == SELF || element::is_well_formed(element)) && is_well_formed(node, depth + 1)
        })
}
