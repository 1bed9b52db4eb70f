//! Types of the table as OpenAPI schemas, each once per document, with all that they refer to.
//!
//! *Source:* the shape of `api/openapi-spec/v3` upstream and KEP-2896.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::Describe;
use crate::registry::Kind;
use crate::schema::{self, Field, FieldType, ListType, Type};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

const EXTENSIONS: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1";

/// A kind whose fields are described as those of every kind are.
const ANY_KIND: &str = "io.k8s.api.core.v1.ConfigMap";

/// The schemas of one document.
pub(super) struct Schemas<'a> {
    describe: &'a Describe,
    done: BTreeMap<String, Value>,
    wanted: BTreeSet<&'static str>,
    /// Names of users' types, by group, version and kind.
    custom: BTreeMap<(String, String, String), String>,
    /// Kinds by type name, for `x-kubernetes-group-version-kind`.
    kinds: BTreeMap<&'static str, Vec<Value>>,
}

impl<'a> Schemas<'a> {
    pub(super) fn new(describe: &'a Describe) -> Self {
        let mut kinds: BTreeMap<&'static str, Vec<Value>> = BTreeMap::new();
        for (api_version, kind, ty) in schema::kinds() {
            if api_version != "meta.k8s.io/v1" {
                let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
                let entry = json!({"group": group, "version": version, "kind": kind});
                kinds.entry(ty.name).or_default().push(entry);
            }
        }
        Schemas {
            describe,
            done: BTreeMap::new(),
            wanted: BTreeSet::new(),
            custom: BTreeMap::new(),
            kinds,
        }
    }

    /// Adds the schemas of a user's kind and of a list of it; does nothing for built-in kinds.
    pub(super) fn add_custom(&mut self, kind: &Kind) {
        let Some(custom) = kind.custom else { return };
        let name = custom.ty.name;
        let object = |name: &str, kind: &str| (name.to_owned(), kind.to_owned());
        let (list, list_kind) = object(&format!("{name}List"), &kind.list_kind());
        let (one, many) = (self.meta("ObjectMeta"), self.meta("ListMeta"));
        let own = self.custom_object(&custom.version.written, kind, one);
        let all = self.custom_list(name, kind, &list_kind, many);
        for (name, kind_name, schema) in
            [(name.to_owned(), kind.kind, own), (list, &list_kind, all)]
        {
            let key = (kind.group.to_owned(), kind.version.to_owned(), kind_name.to_owned());
            self.custom.insert(key, name.clone());
            self.done.insert(name, schema);
        }
    }

    /// Refers to a shared type of metadata.
    fn meta(&mut self, name: &str) -> Value {
        let ty = schema::named(&format!("{META}.{name}"));
        ty.map_or_else(|| json!({"type": "object"}), |ty| self.reference(ty))
    }

    /// Refers to the type of a kind; `None` when the table does not have it.
    pub(super) fn kind(&mut self, group: &str, version: &str, kind: &str) -> Option<Value> {
        if !self.custom.is_empty() {
            let key = (group.to_owned(), version.to_owned(), kind.to_owned());
            if let Some(name) = self.custom.get(&key) {
                return Some(refer(name));
            }
        }
        schema::lookup(group, version, kind).map(|ty| self.reference(ty))
    }

    /// Refers to a type, which will then be part of the document.
    fn reference(&mut self, ty: &'static Type) -> Value {
        if !self.done.contains_key(ty.name) {
            self.wanted.insert(ty.name);
        }
        refer(ty.name)
    }

    /// Makes every schema that was referred to, and those that they refer to.
    pub(super) fn finish(mut self) -> Map<String, Value> {
        while let Some(name) = self.wanted.pop_first() {
            // Reserved first, because a type may refer to itself.
            self.done.insert(name.to_owned(), Value::Null);
            if let Some(ty) = schema::named(name) {
                let schema = self.structure(ty);
                self.done.insert(name.to_owned(), schema);
            }
        }
        self.done.into_iter().collect()
    }

    fn structure(&mut self, ty: &'static Type) -> Value {
        let mut object = Map::new();
        self.put_description(&mut object, ty.name, "");
        object.insert("type".to_owned(), json!("object"));
        let mut properties = Map::new();
        for field in ty.fields() {
            properties.insert(field.name.to_owned(), self.property(ty, field));
        }
        if !properties.is_empty() {
            object.insert("properties".to_owned(), Value::Object(properties));
        }
        let required = ty.fields().iter().filter(|field| field.required).map(|field| field.name);
        let required: Vec<&str> = required.collect();
        if !required.is_empty() {
            object.insert("required".to_owned(), json!(required));
        }
        if ty.atomic {
            object.insert("x-kubernetes-map-type".to_owned(), json!("atomic"));
        }
        if let Some(kinds) = self.kinds.get(ty.name) {
            object.insert("x-kubernetes-group-version-kind".to_owned(), json!(kinds));
        }
        Value::Object(object)
    }

    fn property(&mut self, ty: &Type, field: &'static Field) -> Value {
        let mut schema = self.value(&field.ty);
        // A reference stands alone in OpenAPI 3.0, so what is said beside it wraps it.
        if schema.contains_key("$ref") {
            schema = Map::from_iter([("allOf".to_owned(), json!([schema]))]);
            if !field.pointer && matches!(field.ty, FieldType::Ref(_)) {
                schema.insert("default".to_owned(), json!({}));
            }
        }
        self.put_description(&mut schema, ty.name, field.name);
        if let Some(default) = field.default.and_then(|text| serde_json::from_str(text).ok()) {
            schema.insert("default".to_owned(), default);
        }
        put_enumeration(&mut schema, field);
        put_merging(&mut schema, field);
        Value::Object(schema)
    }

    fn put_description(&self, schema: &mut Map<String, Value>, ty: &str, field: &str) {
        if let Some(text) = (self.describe)(ty, field) {
            schema.insert("description".to_owned(), Value::String(text));
        }
    }

    fn value(&mut self, ty: &'static FieldType) -> Map<String, Value> {
        match ty {
            FieldType::Ref(inner) => object(self.reference(inner)),
            FieldType::List(item) => {
                let items = self.item(item);
                object(json!({"type": "array", "items": items}))
            }
            FieldType::Map(item) => {
                let items = self.item(item);
                object(json!({"type": "object", "additionalProperties": items}))
            }
            FieldType::String => object(json!({"type": "string"})),
            FieldType::Bool => object(json!({"type": "boolean"})),
            FieldType::Int32 => object(json!({"type": "integer", "format": "int32"})),
            FieldType::Int64 => object(json!({"type": "integer", "format": "int64"})),
            FieldType::Double => object(json!({"type": "number", "format": "double"})),
            FieldType::Bytes => object(json!({"type": "string", "format": "byte"})),
            FieldType::Duration => object(json!({"type": "string"})),
            FieldType::Time
            | FieldType::MicroTime
            | FieldType::Quantity
            | FieldType::IntOrString
            | FieldType::RawExtension
            | FieldType::FieldsV1
            | FieldType::Json
            | FieldType::SchemaOrBool(_)
            | FieldType::SchemaOrArray(_)
            | FieldType::SchemaOrStrings(_) => self.special(ty),
        }
    }

    fn item(&mut self, ty: &'static FieldType) -> Value {
        let schema = self.value(ty);
        if schema.contains_key("$ref") && matches!(ty, FieldType::Ref(_)) {
            return json!({"allOf": [schema], "default": {}});
        }
        Value::Object(schema)
    }

    /// Types with a form of their own, which are schemas by name all the same.
    fn special(&mut self, ty: &FieldType) -> Map<String, Value> {
        let Some((name, schema)) = special(ty) else { return Map::new() };
        if !self.done.contains_key(&name) {
            let mut schema = object(schema);
            self.put_description(&mut schema, &name, "");
            self.done.insert(name.clone(), Value::Object(schema));
        }
        object(refer(&name))
    }

    /// The schema of a user's objects as it was written, with what every object has.
    fn custom_object(&self, written: &Value, kind: &Kind, metadata: Value) -> Value {
        let mut schema = if written.is_object() { written.clone() } else { json!({}) };
        schema["type"] = json!("object");
        if !schema["properties"].is_object() {
            schema["properties"] = json!({});
        }
        self.put_type(&mut schema["properties"]);
        schema["properties"]["metadata"] =
            json!({"allOf": [metadata], "description": self.of_every_object("metadata")});
        schema["x-kubernetes-group-version-kind"] =
            json!([{"group": kind.group, "version": kind.version, "kind": kind.kind}]);
        schema
    }

    fn custom_list(&self, item: &str, kind: &Kind, list_kind: &str, metadata: Value) -> Value {
        let items = format!("List of {}.", kind.plural);
        let mut properties = json!({
            "items": {"type": "array", "items": refer(item), "description": items},
            "metadata": {"allOf": [metadata]},
        });
        self.put_type(&mut properties);
        json!({
            "type": "object", "required": ["items"], "properties": properties,
            "description": format!("A list of {}.", kind.kind),
            "x-kubernetes-group-version-kind":
                [{"group": kind.group, "version": kind.version, "kind": list_kind}],
        })
    }

    fn put_type(&self, properties: &mut Value) {
        for field in ["apiVersion", "kind"] {
            properties[field] =
                json!({"type": "string", "description": self.of_every_object(field)});
        }
    }

    /// What is said about a field that objects of all kinds have.
    fn of_every_object(&self, field: &str) -> String {
        (self.describe)(ANY_KIND, field).unwrap_or_else(|| format!("The object's {field}."))
    }
}

fn special(ty: &FieldType) -> Option<(String, Value)> {
    Some(match ty {
        FieldType::Time => {
            (format!("{META}.Time"), json!({"type": "string", "format": "date-time"}))
        }
        FieldType::MicroTime => {
            (format!("{META}.MicroTime"), json!({"type": "string", "format": "date-time"}))
        }
        FieldType::FieldsV1 => (format!("{META}.FieldsV1"), json!({"type": "object"})),
        FieldType::RawExtension => {
            ("io.k8s.apimachinery.pkg.runtime.RawExtension".to_owned(), json!({"type": "object"}))
        }
        FieldType::Quantity => (
            "io.k8s.apimachinery.pkg.api.resource.Quantity".to_owned(),
            json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
        ),
        FieldType::IntOrString => (
            "io.k8s.apimachinery.pkg.util.intstr.IntOrString".to_owned(),
            json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]}),
        ),
        FieldType::Ref(_)
        | FieldType::List(_)
        | FieldType::Map(_)
        | FieldType::String
        | FieldType::Bool
        | FieldType::Int32
        | FieldType::Int64
        | FieldType::Double
        | FieldType::Bytes
        | FieldType::Duration => return None,
        // They may be of several types, so each is described alone: clients take an empty schema for none.
        FieldType::Json => described("JSON", "Any JSON value."),
        FieldType::SchemaOrBool(_) => {
            described("JSONSchemaPropsOrBool", "A schema, or whether any value is taken.")
        }
        FieldType::SchemaOrArray(_) => {
            described("JSONSchemaPropsOrArray", "A schema, or a list of schemas.")
        }
        FieldType::SchemaOrStrings(_) => {
            described("JSONSchemaPropsOrStringArray", "A schema, or a list of names.")
        }
    })
}

/// A schema of definitions of custom resources that only says in words what it takes.
fn described(name: &str, words: &str) -> (String, Value) {
    (format!("{EXTENSIONS}.{name}"), json!({"description": words}))
}

/// The set of values stands at the string, which may be the item of a list.
fn put_enumeration(schema: &mut Map<String, Value>, field: &Field) {
    if field.enumeration.is_empty() {
        return;
    }
    let place = match schema.get_mut("items").and_then(Value::as_object_mut) {
        Some(items) => items,
        None => schema,
    };
    if place.get("type").is_some_and(|kind| kind == "string") {
        place.insert("enum".to_owned(), json!(field.enumeration));
    }
}

fn put_merging(schema: &mut Map<String, Value>, field: &Field) {
    let mut put = |name: &str, value: Value| schema.insert(name.to_owned(), value);
    if let Some(kind) = field.list_type {
        let name = match kind {
            ListType::Atomic => "atomic",
            ListType::Set => "set",
            ListType::Map => "map",
        };
        put("x-kubernetes-list-type", json!(name));
    }
    if !field.map_keys.is_empty() {
        put("x-kubernetes-list-map-keys", json!(field.map_keys));
    }
    if field.map_atomic {
        put("x-kubernetes-map-type", json!("atomic"));
    }
    if let Some(key) = field.merge_key {
        put("x-kubernetes-patch-merge-key", json!(key));
    }
    if let Some(strategy) = field.patch_strategy.text() {
        put("x-kubernetes-patch-strategy", json!(strategy));
    }
}

fn refer(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    }
}
