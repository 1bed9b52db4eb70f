//! A structural schema as server-side apply asks it.

use serde_json::Value;

use super::schema::{Additional, Structural};
use crate::apply::Shape;
use crate::schema::ListType;

/// A place in an object of a user's kind.
#[derive(Debug, Clone, Copy)]
pub enum Place<'a> {
    /// The whole object, or one that is embedded: its metadata is built in.
    Whole(&'a Structural),
    /// A place that the schema describes.
    At(&'a Structural),
    /// A place of which nothing is known.
    Unknown,
}

impl<'a> Place<'a> {
    /// Says what a value at this place is.
    pub fn shape(self) -> Shape {
        let structural = match self {
            Place::Whole(_) => return Shape::Structure,
            Place::At(structural) => structural,
            Place::Unknown => return Shape::Deduced,
        };
        match (structural.ty.as_ref(), structural.list_type) {
            ("object", _) if structural.atomic_map => Shape::Unit,
            ("object", _) if !structural.properties.is_empty() => Shape::Structure,
            ("object", _) => Shape::Map,
            ("array", Some(ListType::Set)) => Shape::Set,
            ("array", Some(ListType::Map)) => Shape::Keyed,
            ("", _) if structural.preserve => Shape::Deduced,
            _ => Shape::Unit,
        }
    }

    /// Gives the place of a field; `None` for an unknown one.
    pub fn field(self, name: &str) -> Option<Place<'a>> {
        let structural = match self {
            Place::Whole(_) if matches!(name, "apiVersion" | "kind" | "metadata") => {
                return Some(Place::Unknown);
            }
            Place::Whole(structural) | Place::At(structural) => structural,
            Place::Unknown => return Some(Place::Unknown),
        };
        let place = |found: &'a Structural| {
            if found.embedded { Place::Whole(found) } else { Place::At(found) }
        };
        let is_open = structural.preserve || matches!(structural.additional, Additional::Any);
        structural.member(name).map(place).or_else(|| is_open.then_some(Place::Unknown))
    }

    /// Gives the place of each item of a list, or of each value of a map.
    pub fn item(self) -> Place<'a> {
        match self {
            Place::Whole(structural) | Place::At(structural) => {
                let additional = match &structural.additional {
                    Additional::Schema(schema) => Some(schema.as_ref()),
                    Additional::None | Additional::Any => None,
                };
                structural.items.as_deref().or(additional).map_or(Place::Unknown, Place::At)
            }
            Place::Unknown => Place::Unknown,
        }
    }

    /// Gives the names of the fields that tell the items of a list apart.
    pub fn keys(self) -> Vec<&'a str> {
        match self {
            Place::Whole(structural) | Place::At(structural) => {
                structural.list_keys.iter().map(String::as_str).collect()
            }
            Place::Unknown => Vec::new(),
        }
    }

    /// Gives the value that the place has when it is left out.
    pub fn default_value(self) -> Option<Value> {
        match self {
            Place::Whole(structural) | Place::At(structural) => structural.default.clone(),
            Place::Unknown => None,
        }
    }
}
