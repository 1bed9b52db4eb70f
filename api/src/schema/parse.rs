//! Reads the lines of the table: text in, fields out.
//!
//! A malformed line is a mistake in the generator, which the tests of `table` find by reading every
//! line; at run time such a field is left out.

use super::{Field, FieldType, ListType, PatchStrategy, Type, table};

/// Reads the field lines of one type; the generator has them sorted by name.
pub(super) fn fields(lines: &'static str) -> Box<[Field]> {
    lines.lines().filter_map(field).collect()
}

/// Reads one line: name, type, protobuf number, flags and `key=value` extras, tab separated.
pub(super) fn field(line: &'static str) -> Option<Field> {
    let mut columns = line.split('\t');
    let name = columns.next()?;
    let ty = field_type(columns.next()?)?;
    let proto = columns.next()?.parse().ok().filter(|number| *number > 0);
    let flags = columns.next().unwrap_or_default();
    let mut field = Field {
        name,
        ty,
        omitempty: flags.contains('o'),
        omitzero: flags.contains('z'),
        pointer: flags.contains('p'),
        required: flags.contains('r'),
        list_type: None,
        map_keys: &[],
        map_atomic: flags.contains('a'),
        patch_strategy: PatchStrategy::default(),
        merge_key: None,
        default: None,
        enumeration: &[],
        proto,
        proto_via: &[],
        proto_wrapped: false,
    };
    for extra in columns {
        let (key, value) = extra.split_once('=')?;
        apply_extra(&mut field, key, value);
    }
    Some(field)
}

fn apply_extra(field: &mut Field, key: &str, value: &'static str) {
    match key {
        "list" => field.list_type = list_type(value),
        "keys" => field.map_keys = words(value),
        "patch" => field.patch_strategy = patch_strategy(value),
        "mergeKey" => field.merge_key = Some(value),
        "default" => field.default = Some(value),
        "enum" => field.enumeration = words(value),
        "via" => field.proto_via = numbers(value),
        "wrapped" => field.proto_wrapped = true,
        _ => {}
    }
}

/// Splits at commas. The result lives as long as the process, like the table it points into.
fn words(text: &'static str) -> &'static [&'static str] {
    Box::leak(text.split(',').collect())
}

fn numbers(text: &str) -> &'static [u32] {
    Box::leak(text.split('.').filter_map(|number| number.parse().ok()).collect())
}

fn list_type(text: &str) -> Option<ListType> {
    match text {
        "atomic" => Some(ListType::Atomic),
        "set" => Some(ListType::Set),
        "map" => Some(ListType::Map),
        _ => None,
    }
}

fn patch_strategy(text: &str) -> PatchStrategy {
    PatchStrategy {
        merge: text.split(',').any(|word| word == "merge"),
        retain_keys: text.split(',').any(|word| word == "retainKeys"),
        replace: text.split(',').any(|word| word == "replace"),
    }
}

fn field_type(text: &str) -> Option<FieldType> {
    if let Some(item) = text.strip_prefix("[]") {
        return Some(FieldType::List(Box::new(field_type(item)?)));
    }
    if let Some(item) = text.strip_prefix("{}") {
        return Some(FieldType::Map(Box::new(field_type(item)?)));
    }
    if let Some(name) = text.strip_prefix('@') {
        return table::named(name).map(FieldType::Ref);
    }
    scalar(text)
}

fn scalar(text: &str) -> Option<FieldType> {
    Some(match text {
        "string" => FieldType::String,
        "bool" => FieldType::Bool,
        "int32" => FieldType::Int32,
        "int64" => FieldType::Int64,
        "double" => FieldType::Double,
        "bytes" => FieldType::Bytes,
        "time" => FieldType::Time,
        "microtime" => FieldType::MicroTime,
        "duration" => FieldType::Duration,
        "quantity" => FieldType::Quantity,
        "intorstring" => FieldType::IntOrString,
        "raw" => FieldType::RawExtension,
        "fieldsv1" => FieldType::FieldsV1,
        "json" => FieldType::Json,
        "schemaorbool" => FieldType::SchemaOrBool(schema_props()?),
        "schemaorarray" => FieldType::SchemaOrArray(schema_props()?),
        "schemaorstrings" => FieldType::SchemaOrStrings(schema_props()?),
        _ => return None,
    })
}

fn schema_props() -> Option<&'static Type> {
    table::named("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps")
}
