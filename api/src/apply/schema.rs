//! Where an object is one unit and where it has parts: the one question that ownership asks of a
//! schema.

use serde_json::Value;

use crate::custom::Place;
use crate::schema::{self, Field, FieldType, ListType, Type};

/// What a value at a place is, for merging and ownership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One unit: set, compared and owned as a whole.
    Unit,
    /// An object with named fields, each a place of its own.
    Structure,
    /// An object with free keys, each a place of its own.
    Map,
    /// A list of scalars, each at most once.
    Set,
    /// A list of objects that [`Schema::keys`] identify.
    Keyed,
    /// What the value itself suggests: an object is a [`Shape::Map`], all else a [`Shape::Unit`].
    Deduced,
}

/// A place in a schema. Cheap to copy: it points into the schema.
pub trait Schema: Copy {
    /// Says what a value at this place is.
    fn shape(self) -> Shape;

    /// Gives the place of a named field of a [`Shape::Structure`], `None` for an unknown one.
    fn field(self, name: &str) -> Option<Self>;

    /// Gives the place of each item of a list, or of each value of a map.
    fn item(self) -> Self;

    /// Gives the names of the fields that identify an item of a [`Shape::Keyed`] list.
    fn keys<'k>(self) -> Vec<&'k str>
    where
        Self: 'k;

    /// Gives the value that a field has when it is left out; it stands in for a missing key.
    fn default_value(self) -> Option<Value>;

    /// Tells whether the field is there, as its zero value, wherever the structure around it is, so
    /// that nobody makes it. Custom resources have no such fields.
    fn is_always_there(self) -> bool;
}

/// A place in the table of built-in types.
#[derive(Debug, Clone, Copy)]
pub enum Builtin {
    /// A whole object.
    Object(&'static Type),
    /// A named field.
    Field(&'static Field),
    /// An item of a list or map.
    Item(&'static FieldType),
    /// A place in an object of a user's kind.
    Custom(Place<'static>),
}

impl Builtin {
    /// Gives the place of metadata, which is the same for all kinds.
    fn metadata() -> Option<Builtin> {
        let any = schema::lookup("", "v1", "ConfigMap")?;
        any.field("metadata").map(Builtin::Field)
    }
}

impl Schema for Builtin {
    fn shape(self) -> Shape {
        match self {
            Builtin::Custom(place) => place.shape(),
            Builtin::Object(_) => Shape::Structure,
            Builtin::Field(field) if field.map_atomic => Shape::Unit,
            Builtin::Field(field) => match (&field.ty, field.list_type) {
                (FieldType::List(_), Some(ListType::Set)) => Shape::Set,
                (FieldType::List(_), Some(ListType::Map)) => Shape::Keyed,
                (ty, _) => shape_of(ty),
            },
            Builtin::Item(ty) => shape_of(ty),
        }
    }

    fn field(self, name: &str) -> Option<Builtin> {
        let ty = match self {
            Builtin::Object(ty) => match ty.custom() {
                Some(version) => return Builtin::Custom(Place::Whole(&version.schema)).field(name),
                None => ty,
            },
            Builtin::Custom(Place::Whole(_)) if name == "metadata" => return Builtin::metadata(),
            Builtin::Custom(place) => return place.field(name).map(Builtin::Custom),
            Builtin::Field(field) => structure(&field.ty)?,
            Builtin::Item(ty) => structure(ty)?,
        };
        ty.field(name).map(Builtin::Field)
    }

    fn item(self) -> Builtin {
        let ty = match self {
            Builtin::Object(_) => return self,
            Builtin::Custom(place) => return Builtin::Custom(place.item()),
            Builtin::Field(field) => &field.ty,
            Builtin::Item(ty) => ty,
        };
        match ty {
            FieldType::List(item) | FieldType::Map(item) => Builtin::Item(item),
            FieldType::Ref(_)
            | FieldType::String
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
            | FieldType::Json
            | FieldType::SchemaOrBool(_)
            | FieldType::SchemaOrArray(_)
            | FieldType::SchemaOrStrings(_) => self,
        }
    }

    fn keys<'k>(self) -> Vec<&'k str>
    where
        Self: 'k,
    {
        match self {
            Builtin::Field(field) => field.map_keys.to_vec(),
            Builtin::Custom(place) => place.keys(),
            Builtin::Object(_) | Builtin::Item(_) => Vec::new(),
        }
    }

    fn default_value(self) -> Option<Value> {
        match self {
            Builtin::Field(field) => serde_json::from_str(field.default?).ok(),
            Builtin::Custom(place) => place.default_value(),
            Builtin::Object(_) | Builtin::Item(_) => None,
        }
    }

    fn is_always_there(self) -> bool {
        match self {
            Builtin::Field(field) if field.pointer => false,
            Builtin::Field(field) => match field.ty {
                FieldType::Ref(_) => !field.omitzero,
                FieldType::List(_)
                | FieldType::Map(_)
                | FieldType::String
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
                | FieldType::Json
                | FieldType::SchemaOrBool(_)
                | FieldType::SchemaOrArray(_)
                | FieldType::SchemaOrStrings(_) => !field.omitempty,
            },
            Builtin::Object(_) | Builtin::Item(_) | Builtin::Custom(_) => false,
        }
    }
}

fn structure(ty: &'static FieldType) -> Option<&'static Type> {
    if let FieldType::Ref(ty) = ty { Some(ty) } else { None }
}

/// Lists without a list type are one unit, as upstream treats them.
fn shape_of(ty: &FieldType) -> Shape {
    match ty {
        FieldType::Ref(ty) if ty.atomic => Shape::Unit,
        FieldType::Ref(_) => Shape::Structure,
        FieldType::Map(_) => Shape::Map,
        FieldType::List(_)
        | FieldType::String
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
        | FieldType::Json
        | FieldType::SchemaOrBool(_)
        | FieldType::SchemaOrArray(_)
        | FieldType::SchemaOrStrings(_) => Shape::Unit,
    }
}

/// The schema of what has none: objects are maps, all else is a unit.
///
/// *Source:* `DeducedTypeConverter` of `k8s.io/apimachinery/pkg/util/managedfields`.
#[derive(Debug, Clone, Copy)]
pub struct Deduced;

impl Schema for Deduced {
    fn shape(self) -> Shape {
        Shape::Deduced
    }

    fn field(self, _name: &str) -> Option<Deduced> {
        None
    }

    fn item(self) -> Deduced {
        Deduced
    }

    fn keys<'k>(self) -> Vec<&'k str>
    where
        Self: 'k,
    {
        Vec::new()
    }

    fn default_value(self) -> Option<Value> {
        None
    }

    fn is_always_there(self) -> bool {
        false
    }
}

/// The shape of a place that holds these values.
pub(super) fn shape_for<S: Schema>(schema: S, values: [Option<&Value>; 2]) -> Shape {
    match schema.shape() {
        Shape::Deduced => {
            let mut there =
                values.into_iter().flatten().filter(|value| !value.is_null()).peekable();
            let is_map = there.peek().is_some() && there.all(Value::is_object);
            if is_map { Shape::Map } else { Shape::Unit }
        }
        shape @ (Shape::Unit | Shape::Structure | Shape::Map | Shape::Set | Shape::Keyed) => shape,
    }
}

/// The place of a member of an object: a named field, or a value of a map.
///
/// `None` for an unknown field of a structure, which is then one unit.
pub(super) fn member<S: Schema>(schema: S, shape: Shape, name: &str) -> Option<S> {
    match shape {
        Shape::Structure => schema.field(name),
        Shape::Map => Some(schema.field(name).unwrap_or_else(|| schema.item())),
        Shape::Unit | Shape::Set | Shape::Keyed | Shape::Deduced => None,
    }
}

/// A place in an object, as far as the server's own fields are concerned, which nobody owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level<'a> {
    /// The object itself, with the names of the members that this request cannot change.
    Object(&'a [&'a str]),
    /// `metadata`.
    Metadata,
    /// Anything below.
    Inner,
}

/// *Source:* the fields that upstream never writes into `managedFields`.
const UNOWNED_METADATA: [&str; 8] = [
    "creationTimestamp",
    "generation",
    "managedFields",
    "name",
    "namespace",
    "resourceVersion",
    "selfLink",
    "uid",
];

impl Level<'_> {
    /// Tells whether nobody can own this member.
    pub(super) fn hides(self, name: &str) -> bool {
        match self {
            Level::Object(excluded) => {
                name == "apiVersion" || name == "kind" || excluded.contains(&name)
            }
            Level::Metadata => UNOWNED_METADATA.contains(&name),
            Level::Inner => false,
        }
    }

    /// The level of a member.
    pub(super) fn below(self, name: &str) -> Level<'static> {
        match self {
            Level::Object(_) if name == "metadata" => Level::Metadata,
            Level::Object(_) | Level::Metadata | Level::Inner => Level::Inner,
        }
    }

    /// Tells whether the place itself, apart from what is in it, can be owned.
    pub(super) fn is_ownable(self) -> bool {
        self == Level::Inner
    }
}
