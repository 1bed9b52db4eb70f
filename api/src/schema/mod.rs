//! What Kubernetes' built-in types look like: one table of facts that drives everything.
//!
//! The table (`api/schema/types.txt`) is made by the Go program in `api/schema/generate` from
//! Kubernetes' published modules and holds names, types, numbers and keys, no prose. Decoding,
//! pruning, patching, OpenAPI and protobuf all read it through [`lookup`]. Its lines are read when
//! a type is first asked for, so what nobody uses costs nothing but its place in the binary.
//! Objects never live here, and no rule of a single kind does: those are in `registry`.

mod parse;
mod table;

pub use table::{kinds, lookup, named};

use std::sync::OnceLock;

use crate::custom::Version;

/// A structure with named fields, such as `PodSpec`.
///
/// Types are created once and live as long as the process; compare them by `name`.
#[derive(Debug)]
pub struct Type {
    /// OpenAPI name, unique: `io.k8s.api.core.v1.PodSpec`.
    pub name: &'static str,
    /// True when the whole structure is one unit for merging and ownership
    /// (`x-kubernetes-map-type: atomic`).
    pub atomic: bool,
    /// Lines of the table that describe the fields, read at the first use.
    lines: &'static str,
    fields: OnceLock<Fields>,
    /// What a user's kind is made of, which the table does not have.
    custom: Option<&'static Version>,
}

/// The fields of a type, with what is asked of them often.
#[derive(Debug)]
struct Fields {
    /// Sorted by name.
    all: Box<[Field]>,
    /// Indices of those that Go writes even when they are zero.
    always_written: Box<[usize]>,
    /// Protobuf numbers with the indices of their fields, sorted; `None` when some of the fields
    /// travel inside messages that JSON does not show.
    by_number: Option<Box<[(u32, usize)]>>,
}

/// Stands for a type that the table does not have; it has no fields.
static UNKNOWN: Type =
    Type { name: "unknown", atomic: false, lines: "", fields: OnceLock::new(), custom: None };

/// Returns a type without fields, for kinds that the table does not have.
pub(crate) fn unknown() -> &'static Type {
    &UNKNOWN
}

impl Type {
    /// Makes the type of a user's kind; it has no fields of the table's form.
    pub(crate) fn of_custom(name: &'static str, version: &'static Version) -> Type {
        Type { name, custom: Some(version), lines: "", atomic: false, fields: OnceLock::new() }
    }

    /// Returns what a user's kind is made of; `None` for built-in types.
    pub fn custom(&self) -> Option<&'static Version> {
        self.custom
    }

    /// Returns the name of the Go structure, the last part of the OpenAPI name: `PodSpec`.
    pub fn short_name(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }

    /// Returns the API version that the type belongs to: `v1`.
    pub fn version(&self) -> &'static str {
        self.name.rsplit('.').nth(1).unwrap_or_default()
    }

    /// Returns all fields, sorted by JSON name.
    pub fn fields(&self) -> &[Field] {
        &self.read().all
    }

    /// Returns the structures and scalars that Go writes even when they are zero, such as a
    /// container's `resources` and `name`.
    pub fn always_written(&self) -> impl Iterator<Item = &Field> {
        let fields = self.read();
        fields.always_written.iter().filter_map(|index| fields.all.get(*index))
    }

    /// Returns the fields that travel in protobuf, in the order of their numbers; `None` when some of
    /// them travel inside messages that JSON does not show.
    pub fn by_number(&self) -> Option<impl Iterator<Item = (u32, &Field)>> {
        let fields = self.read();
        let numbers = fields.by_number.as_ref()?.iter();
        Some(numbers.filter_map(|(number, index)| Some((*number, fields.all.get(*index)?))))
    }

    /// Returns the field with this protobuf number, of a type for which [`Type::by_number`] knows them.
    pub fn numbered(&self, number: u32) -> Option<&Field> {
        let fields = self.read();
        let numbers = fields.by_number.as_ref()?;
        let place = numbers.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        fields.all.get(numbers.get(place)?.1)
    }

    fn read(&self) -> &Fields {
        self.fields.get_or_init(|| {
            let all = parse::fields(self.lines);
            let written = |(index, field): (usize, &Field)| field.always_written().then_some(index);
            let always_written = all.iter().enumerate().filter_map(written).collect();
            let by_number = by_number(&all);
            Fields { all, always_written, by_number }
        })
    }

    /// Returns the field with exactly this JSON name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        let fields = self.fields();
        let index = fields.binary_search_by(|field| field.name.cmp(name)).ok()?;
        fields.get(index)
    }
}

fn by_number(fields: &[Field]) -> Option<Box<[(u32, usize)]>> {
    if fields.iter().any(|field| !field.proto_via.is_empty()) {
        return None;
    }
    let numbered = |(index, field): (usize, &Field)| Some((field.proto?, index));
    let mut numbers: Vec<(u32, usize)> = fields.iter().enumerate().filter_map(numbered).collect();
    numbers.sort_unstable();
    Some(numbers.into())
}

/// One field of a [`Type`].
#[derive(Debug)]
pub struct Field {
    /// JSON name, case-sensitive: `imagePullPolicy`.
    pub name: &'static str,
    /// What the field holds.
    pub ty: FieldType,
    /// True when Go leaves out the zero value (`omitempty` or `omitzero`).
    pub omitempty: bool,
    /// True when Go leaves out an empty structure, too (`omitzero`).
    pub omitzero: bool,
    /// True when the Go field is a pointer: zero and absent differ.
    pub pointer: bool,
    /// True when OpenAPI lists the field under `required`.
    pub required: bool,
    /// How a list merges when ownership is tracked (`x-kubernetes-list-type`).
    pub list_type: Option<ListType>,
    /// Names of the fields that identify an item of a `map` list, in upstream's order.
    pub map_keys: &'static [&'static str],
    /// True when the map or structure in this field is one unit for merging and ownership.
    pub map_atomic: bool,
    /// How strategic merge patch treats the field (`x-kubernetes-patch-strategy`).
    pub patch_strategy: PatchStrategy,
    /// Field that identifies an item for strategic merge patch.
    pub merge_key: Option<&'static str>,
    /// Default that the published schema names, as JSON text: `"TCP"`.
    pub default: Option<&'static str>,
    /// Values that a string may have, sorted; empty when the set is open.
    pub enumeration: &'static [&'static str],
    /// Field number in protobuf; `None` for a field that is never sent so.
    pub proto: Option<u32>,
    /// Numbers of the protobuf messages around this field that JSON does not show, outermost first:
    /// the fields of an inlined structure travel inside a message of their own.
    pub proto_via: &'static [u32],
    /// True when a list travels in a protobuf message with one repeated field numbered 1
    /// (named Go slices such as `ExtraValue`).
    pub proto_wrapped: bool,
}

impl Field {
    /// Tells whether Go writes the field when it is zero, in a way that clients rely on: lists, maps
    /// and times would be `null`, which means the same as absent.
    fn always_written(&self) -> bool {
        if self.pointer {
            return false;
        }
        match self.ty {
            FieldType::Ref(_) => !self.omitzero,
            FieldType::String
            | FieldType::Bool
            | FieldType::Int32
            | FieldType::Int64
            | FieldType::Double
            | FieldType::Quantity
            | FieldType::IntOrString => !self.omitempty,
            FieldType::List(_)
            | FieldType::Map(_)
            | FieldType::Bytes
            | FieldType::Time
            | FieldType::MicroTime
            | FieldType::Duration
            | FieldType::RawExtension
            | FieldType::FieldsV1
            | FieldType::Json
            | FieldType::SchemaOrBool(_)
            | FieldType::SchemaOrArray(_)
            | FieldType::SchemaOrStrings(_) => false,
        }
    }
}

/// What a field holds, and by that what JSON it accepts.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldType {
    /// A structure of its own.
    Ref(&'static Type),
    /// A JSON array.
    List(Box<FieldType>),
    /// A JSON object with free keys.
    Map(Box<FieldType>),
    /// A string.
    String,
    /// A boolean.
    Bool,
    /// A whole number of 32 bits.
    Int32,
    /// A whole number of 64 bits.
    Int64,
    /// A floating point number of 64 bits.
    Double,
    /// Bytes, in JSON as padded standard base64.
    Bytes,
    /// RFC 3339, whole seconds.
    Time,
    /// RFC 3339 with microseconds.
    MicroTime,
    /// Go duration text such as `1h30m`.
    Duration,
    /// Kubernetes quantity: a string such as `128Mi`, or a number.
    Quantity,
    /// A whole number or a string.
    IntOrString,
    /// Any object, kept as it is.
    RawExtension,
    /// `managedFields` set in its JSON form.
    FieldsV1,
    /// Any JSON, kept as it is.
    Json,
    /// `JSONSchemaProps` or a boolean.
    SchemaOrBool(&'static Type),
    /// `JSONSchemaProps` or an array of them.
    SchemaOrArray(&'static Type),
    /// `JSONSchemaProps` or an array of strings.
    SchemaOrStrings(&'static Type),
}

impl PartialEq for Type {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// How a list merges when ownership is tracked. *Source:* KEP-555, `+listType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListType {
    /// Replaced as a whole.
    Atomic,
    /// Scalars, each at most once.
    Set,
    /// Objects, identified by `map_keys`.
    Map,
}

/// How strategic merge patch treats a field. *Source:* `patchStrategy` struct tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PatchStrategy {
    /// List items are merged by merge key (or by value for scalars) instead of replaced.
    pub merge: bool,
    /// Keys that the patch does not name in `$retainKeys` are cleared.
    pub retain_keys: bool,
    /// The value is replaced as a whole.
    pub replace: bool,
}

impl PatchStrategy {
    /// Writes the strategy as in a struct tag: `merge,retainKeys`; `None` for the usual one.
    pub fn text(self) -> Option<String> {
        let words =
            [(self.merge, "merge"), (self.retain_keys, "retainKeys"), (self.replace, "replace")];
        let set: Vec<&str> =
            words.into_iter().filter(|(on, _)| *on).map(|(_, word)| word).collect();
        (!set.is_empty()).then(|| set.join(","))
    }
}
