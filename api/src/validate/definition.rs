//! Rules for CustomResourceDefinitions. *Source:* `pkg/apis/apiextensions/validation`.

use std::collections::HashSet;

use serde_json::Value;

use super::{Errors, complain, has, immutable, items, metadata, one_of, text};
use crate::custom::{Budgets, JsonPath, Structural, Version};
use crate::field_error::{FieldError, Path};
use crate::meta;
use crate::names;

const SPEC: Path<'static> = Path::root("spec");

/// Types of printer columns.
const COLUMN_TYPES: &[&str] = &["boolean", "date", "integer", "number", "string"];

/// Words that a structural schema must not have, with the reason.
const FORBIDDEN: &[(&str, &str)] = &[
    ("$ref", "must not be set for structural schemas"),
    ("definitions", "definitions is not supported"),
    ("dependencies", "dependencies is not supported"),
    ("patternProperties", "patternProperties is not supported"),
    ("additionalItems", "additionalItems is not supported"),
];

/// Checks a new CustomResourceDefinition.
pub fn validate(object: &Value) -> Errors {
    let mut errors = metadata::validate(object, false, names::dns1123_subdomain);
    check_spec(&mut errors, object);
    check_rules(&mut errors, object, None);
    errors
}

/// Checks a changed CustomResourceDefinition: what its objects are called stays.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    check_spec(&mut errors, new);
    // What was taken once does not keep the rest from changing.
    if new["spec"]["versions"] != old["spec"]["versions"] {
        check_rules(&mut errors, new, Some(old));
    }
    let (spec, before) = (&new["spec"], &old["spec"]);
    let path = SPEC.child("names");
    for field in ["group", "scope"] {
        immutable(&mut errors, SPEC.child(field), &spec[field], &before[field]);
    }
    for field in ["plural", "kind"] {
        immutable(&mut errors, path.child(field), &spec["names"][field], &before["names"][field]);
    }
    for name in items(&old["status"], "storedVersions").iter().filter_map(Value::as_str) {
        if !items(spec, "versions").iter().any(|version| version["name"] == name) {
            let words =
                "missing from spec.versions; all stored versions must be listed in spec.versions";
            errors.push(FieldError::invalid("status.storedVersions[0]", name, words));
        }
    }
    errors
}

fn check_spec(errors: &mut Errors, object: &Value) {
    let spec = &object["spec"];
    let group = text(spec, "group");
    if group.is_empty() {
        errors.push(FieldError::required(SPEC.child("group"), ""));
    } else {
        complain(errors, SPEC.child("group"), group, names::dns1123_subdomain(group));
        if !group.contains('.') {
            let words = "should be a domain with at least one dot";
            errors.push(FieldError::invalid(SPEC.child("group"), group, words));
        }
    }
    one_of(errors, SPEC.child("scope"), text(spec, "scope"), &["Cluster", "Namespaced"]);
    check_names(errors, &spec["names"]);
    let plural = text(&spec["names"], "plural");
    if meta::name(object) != format!("{plural}.{group}") {
        let words = "must be spec.names.plural+\".\"+spec.group";
        errors.push(FieldError::invalid("metadata.name", meta::name(object), words));
    }
    check_versions(errors, object);
    check_conversion(errors, &spec["conversion"]);
}

/// Checks what the rules of the schemas say of their places; schemas that cannot be read are told of elsewhere.
fn check_rules(errors: &mut Errors, object: &Value, old: Option<&Value>) {
    let path = SPEC.child("versions");
    for (index, version) in items(&object["spec"], "versions").iter().enumerate() {
        let Ok(read) = Version::read(object, version) else { continue };
        let place = format!("{}.schema.openAPIV3Schema", path.index(index));
        errors.extend(read.schema.mistakes_of_rules(&place));
        let is_same = |other: &Value| {
            other["name"] == version["name"] && other["schema"] == version["schema"]
        };
        let had = old.is_some_and(|old| items(&old["spec"], "versions").iter().any(is_same));
        let budgets = if had { Budgets::Schema } else { Budgets::All };
        errors.extend(read.schema.costs_of_rules(&place, budgets));
    }
}

fn check_names(errors: &mut Errors, names: &Value) {
    let path = SPEC.child("names");
    for field in ["plural", "singular", "kind", "listKind"] {
        let name = text(names, field);
        let lower = name.to_lowercase();
        if name.is_empty() {
            errors.push(FieldError::required(path.child(field), ""));
            continue;
        }
        let form = if field.ends_with("ind") { lower.as_str() } else { name };
        complain(errors, path.child(field), name, names::dns1035_label(form));
    }
    for field in ["shortNames", "categories"] {
        let path = path.child(field);
        for (index, name) in items(names, field).iter().filter_map(Value::as_str).enumerate() {
            complain(errors, path.index(index), name, names::dns1035_label(name));
        }
    }
    let kind = text(names, "kind");
    if !kind.is_empty() && kind == text(names, "listKind") {
        let words = "kind and listKind may not be the same";
        errors.push(FieldError::invalid(path.child("listKind"), kind, words));
    }
}

fn check_versions(errors: &mut Errors, object: &Value) {
    let versions = items(&object["spec"], "versions");
    let path = SPEC.child("versions");
    if versions.is_empty() {
        errors.push(FieldError::required(path, "must have at least one version"));
    }
    let mut seen = HashSet::new();
    for (index, version) in versions.iter().enumerate() {
        let path = path.index(index);
        let name = text(version, "name");
        complain(errors, path.child("name"), name, names::dns1035_label(name));
        if !seen.insert(name) {
            let words = "must not have duplicated versions";
            errors.push(FieldError::invalid(path.child("name"), name, words));
        }
        check_version(errors, &path, object, version);
    }
    let kept = versions.iter().filter(|version| version["storage"] == true).count();
    if kept != 1 && !versions.is_empty() {
        let words = "must have exactly one version marked as storage version";
        let names: Vec<&str> = versions.iter().map(|version| text(version, "name")).collect();
        errors.push(FieldError::invalid(path, names, words));
    }
}

fn check_version(errors: &mut Errors, path: &Path<'_>, object: &Value, version: &Value) {
    let schema = &version["schema"]["openAPIV3Schema"];
    let place = path.child("schema");
    let place = place.child("openAPIV3Schema");
    if schema.is_null() {
        errors.push(FieldError::required(place, "schemas are required"));
    } else {
        check_root(errors, &place, schema);
        if text(schema, "type").is_empty() {
            return;
        }
        let before = errors.len();
        check_schema(errors, &place.to_string(), schema, Rank::Structural);
        match Version::read(object, version) {
            Err(error) => {
                let place = format!("{place}.{}", error.path);
                errors.push(FieldError::invalid(place, "", error.problem));
            }
            Ok(read) if errors.len() == before => {
                check_defaults(errors, &place.to_string(), schema, &read.schema);
            }
            Ok(_) => {}
        }
    }
    check_columns(errors, path, version);
    check_subresources(errors, &path.child("subresources"), &version["subresources"]);
    let place = path.child("selectableFields");
    for (index, field) in items(version, "selectableFields").iter().enumerate() {
        let path = place.index(index);
        check_path(errors, &path.child("jsonPath"), text(field, "jsonPath"));
    }
}

fn check_root(errors: &mut Errors, path: &Path<'_>, schema: &Value) {
    let ty = text(schema, "type");
    if ty.is_empty() {
        errors.push(FieldError::required(path.child("type"), "must not be empty at the root"));
    } else if ty != "object" {
        errors.push(FieldError::invalid(path.child("type"), ty, "must be object at the root"));
    }
    if schema["nullable"] == true {
        let words = "nullable cannot be true at the root";
        errors.push(FieldError::forbidden(path.child("nullable"), words));
    }
}

/// Whether a schema says what there is, or only limits it inside of a union.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rank {
    Structural,
    Limits,
}

fn check_schema(errors: &mut Errors, path: &str, schema: &Value, rank: Rank) {
    let at = |field: &str| format!("{path}.{field}");
    for (word, why) in FORBIDDEN {
        if has(schema, word) {
            errors.push(FieldError::forbidden(at(word), why));
        }
    }
    if schema["uniqueItems"] == true {
        let words =
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.push(FieldError::forbidden(at("uniqueItems"), words));
    }
    match rank {
        Rank::Structural => check_form(errors, path, schema),
        Rank::Limits => {
            for word in
                ["type", "default", "nullable", "additionalProperties", "description", "title"]
            {
                if has(schema, word)
                    && !(word == "type" && has(schema, "x-kubernetes-int-or-string"))
                {
                    let words = "must be empty to be structural";
                    errors.push(FieldError::forbidden(at(word), words));
                }
            }
        }
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        check_schema(errors, &format!("{path}.properties[{name}]"), property, rank);
    }
    for word in ["items", "additionalProperties"] {
        if schema[word].is_object() {
            check_schema(errors, &at(word), &schema[word], rank);
        }
    }
    for word in ["allOf", "anyOf", "oneOf"] {
        for (index, inner) in items(schema, word).iter().enumerate() {
            // The two ways of an int-or-string have types; upstream lets that pass.
            let rank =
                if schema["x-kubernetes-int-or-string"] == true { continue } else { Rank::Limits };
            check_schema(errors, &format!("{path}.{word}[{index}]"), inner, rank);
        }
    }
    if schema["not"].is_object() {
        check_schema(errors, &at("not"), &schema["not"], Rank::Limits);
    }
}

fn check_form(errors: &mut Errors, path: &str, schema: &Value) {
    let at = |field: &str| format!("{path}.{field}");
    let flag = |field: &str| schema[field] == true;
    let ty = text(schema, "type");
    let typeless =
        flag("x-kubernetes-int-or-string") || flag("x-kubernetes-preserve-unknown-fields");
    if ty.is_empty() && !typeless {
        let words = "must not be empty for specified object fields";
        errors.push(FieldError::required(at("type"), words));
    }
    let types = ["array", "boolean", "integer", "number", "object", "string"];
    if !ty.is_empty() && !types.contains(&ty) {
        errors.push(FieldError::not_supported(at("type"), ty, &types));
    }
    if ty == "array" && !has(schema, "items") {
        errors.push(FieldError::required(at("items"), "must be specified"));
    }
    if has(schema, "properties") && has(schema, "additionalProperties") {
        let words = "must not be set if `properties` is set: additionalProperties and properties are mutual exclusive";
        errors.push(FieldError::forbidden(at("additionalProperties"), words));
    }
    if schema["additionalProperties"] == false {
        let words = "must not be used: additionalProperties cannot be set to false";
        errors.push(FieldError::forbidden(at("additionalProperties"), words));
    }
    if flag("x-kubernetes-embedded-resource") {
        if ty != "object" {
            let words = "must be object if x-kubernetes-embedded-resource is true";
            errors.push(FieldError::invalid(at("type"), ty, words));
        }
        if !has(schema, "properties") && !flag("x-kubernetes-preserve-unknown-fields") {
            let words = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
            errors.push(FieldError::required(at("properties"), words));
        }
    }
    check_list(errors, path, schema);
}

fn check_list(errors: &mut Errors, path: &str, schema: &Value) {
    let at = |field: &str| format!("{path}.{field}");
    let kind = text(schema, "x-kubernetes-list-type");
    if has(schema, "x-kubernetes-list-type") {
        if text(schema, "type") != "array" {
            let words = "must be array if x-kubernetes-list-type is specified";
            errors.push(FieldError::invalid(at("type"), text(schema, "type"), words));
        }
        one_of(errors, at("x-kubernetes-list-type"), kind, &["atomic", "map", "set"]);
    }
    let keys = items(schema, "x-kubernetes-list-map-keys");
    if kind == "map" {
        if keys.is_empty() {
            let words = "must not be empty if x-kubernetes-list-type is map";
            errors.push(FieldError::required(at("x-kubernetes-list-map-keys"), words));
        }
        for (index, key) in keys.iter().filter_map(Value::as_str).enumerate() {
            if !has(&schema["items"]["properties"], key) {
                let place = at(&format!("x-kubernetes-list-map-keys[{index}]"));
                let words = "entries must all be names of item properties";
                errors.push(FieldError::invalid(place, key, words));
            }
        }
    } else if !keys.is_empty() {
        let words = "must be map if x-kubernetes-list-map-keys is non-empty";
        errors.push(FieldError::invalid(at("x-kubernetes-list-type"), kind, words));
    }
}

/// A default has to be a value of its own schema.
fn check_defaults(errors: &mut Errors, path: &str, written: &Value, schema: &Structural) {
    if let Some(default) = &schema.default {
        let path = format!("{path}.default");
        for error in schema.complaints(default) {
            let place = if error.field == "<nil>" {
                path.clone()
            } else {
                format!("{path}.{}", error.field)
            };
            errors.push(FieldError { field: place, ..error });
        }
    }
    for (name, property) in &schema.properties {
        let below = &written["properties"][name.as_ref()];
        check_defaults(errors, &format!("{path}.properties[{name}]"), below, property);
    }
    if let Some(items) = &schema.items {
        check_defaults(errors, &format!("{path}.items"), &written["items"], items);
    }
}

fn check_columns(errors: &mut Errors, path: &Path<'_>, version: &Value) {
    let path = path.child("additionalPrinterColumns");
    for (index, column) in items(version, "additionalPrinterColumns").iter().enumerate() {
        let path = path.index(index);
        if text(column, "name").is_empty() {
            errors.push(FieldError::required(path.child("name"), ""));
        }
        let ty = text(column, "type");
        if ty.is_empty() {
            let words = format!("must be one of {}", COLUMN_TYPES.join(","));
            errors.push(FieldError::required(path.child("type"), words));
        } else if !COLUMN_TYPES.contains(&ty) {
            let words = format!("must be one of {}", COLUMN_TYPES.join(","));
            errors.push(FieldError::invalid(path.child("type"), ty, words));
        }
        check_path(errors, &path.child("jsonPath"), text(column, "jsonPath"));
    }
}

fn check_path(errors: &mut Errors, path: &Path<'_>, value: &str) {
    if value.is_empty() {
        errors.push(FieldError::required(path, ""));
    } else if let Err(error) = JsonPath::read(value) {
        errors.push(FieldError::invalid(path, value, error.to_string()));
    }
}

fn check_subresources(errors: &mut Errors, path: &Path<'_>, subresources: &Value) {
    let scale = &subresources["scale"];
    if scale.is_null() {
        return;
    }
    let path = path.child("scale");
    for (field, under) in [
        ("specReplicasPath", &["spec"][..]),
        ("statusReplicasPath", &["status"][..]),
        ("labelSelectorPath", &["spec", "status"][..]),
    ] {
        let value = text(scale, field);
        if value.is_empty() {
            if field != "labelSelectorPath" {
                errors.push(FieldError::required(path.child(field), ""));
            }
            continue;
        }
        let is_plain = JsonPath::read(value).ok().and_then(|path| path.pointer()).is_some();
        let is_under = under.iter().any(|part| value.starts_with(&format!(".{part}.")));
        if !is_plain {
            let words = "should be a json path without array notation";
            errors.push(FieldError::invalid(path.child(field), value, words));
        } else if !is_under {
            let places: Vec<String> = under.iter().map(|part| format!(".{part}")).collect();
            let words = format!("should be a json path under {}", places.join(" or "));
            errors.push(FieldError::invalid(path.child(field), value, words));
        }
    }
}

fn check_conversion(errors: &mut Errors, conversion: &Value) {
    let path = SPEC.child("conversion");
    if conversion.is_null() {
        return;
    }
    let strategy = text(conversion, "strategy");
    one_of(errors, path.child("strategy"), strategy, &["None", "Webhook"]);
    if strategy == "None" && has(conversion, "webhook") {
        let words = "should not be set when strategy is not set to Webhook";
        errors.push(FieldError::forbidden(path.child("webhook"), words));
    }
    if strategy != "Webhook" {
        return;
    }
    let path = path.child("webhook");
    let webhook = &conversion["webhook"];
    if webhook.is_null() {
        let words = "required when strategy is set to Webhook";
        return errors.push(FieldError::required(path, words));
    }
    let client = &webhook["clientConfig"];
    let place = path.child("clientConfig");
    if has(client, "url") == has(client, "service") {
        let words = "exactly one of url or service is required";
        errors.push(FieldError::required(place, words));
    }
    if has(client, "url") && !text(client, "url").starts_with("https://") {
        let words = "'https' is the only allowed URL scheme";
        errors.push(FieldError::invalid(place.child("url"), text(client, "url"), words));
    }
    if has(client, "service") {
        let place = place.child("service");
        for field in ["name", "namespace"] {
            if text(&client["service"], field).is_empty() {
                errors.push(FieldError::required(place.child(field), ""));
            }
        }
    }
    let versions = items(webhook, "conversionReviewVersions");
    let place = path.child("conversionReviewVersions");
    if versions.is_empty() {
        errors.push(FieldError::required(place, ""));
    } else if !versions.iter().any(|version| version == "v1") {
        errors.push(FieldError::invalid(place, versions, "must include at least one of v1"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;
    use serde_json::json;

    fn definition(schema: Value) -> Value {
        json!({"metadata": {"name": "things.x.io"}, "spec": {
            "group": "x.io", "scope": "Namespaced",
            "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]}})
    }

    #[test]
    fn names_and_versions() {
        let object = json!({"type": "object"});
        check(validate(&definition(object.clone())), &[]);
        let mut bad = definition(object);
        bad["metadata"]["name"] = json!("other");
        bad["spec"]["group"] = json!("io");
        bad["spec"]["scope"] = json!("Here");
        bad["spec"]["versions"][0]["storage"] = json!(false);
        check(
            validate(&bad),
            &[
                "spec.group: Invalid value: \"io\": should be a domain with at least one dot",
                "spec.scope: Unsupported value: \"Here\": supported values: \"Cluster\", \"Namespaced\"",
                "metadata.name: Invalid value: \"other\": must be spec.names.plural+\".\"+spec.group",
                "spec.versions: Invalid value: [\"v1\"]: must have exactly one version marked as storage version",
            ],
        );
    }

    #[test]
    fn schemas_are_structural() {
        let root = "spec.versions[0].schema.openAPIV3Schema";
        let one = |schema: Value, expected: &str| {
            check(validate(&definition(schema)), &[&format!("{root}{expected}")]);
        };
        one(json!({}), ".type: Required value: must not be empty at the root");
        one(
            json!({"type": "object", "properties": {"spec": {}}}),
            ".properties[spec].type: Required value: must not be empty for specified object fields",
        );
        one(
            json!({"type": "object", "properties": {"a": {"type": "array"}}}),
            ".properties[a].items: Required value: must be specified",
        );
        one(
            json!({"type": "object", "anyOf": [{"type": "object"}]}),
            ".anyOf[0].type: Forbidden: must be empty to be structural",
        );
        one(
            json!({"type": "object", "properties": {"a": {"type": "integer", "default": "x"}}}),
            ".properties[a].default: Invalid value: \"string\":  in body must be of type integer: \"string\"",
        );
        one(
            json!({"type": "object", "x-kubernetes-validations": [{"rule": "other > 1"}]}),
            ".x-kubernetes-validations[0].rule: Invalid value: \"\": compilation failed: undeclared reference to 'other' (in container '')",
        );
    }

    #[test]
    fn rules_speak_of_what_is_there() {
        let root = "spec.versions[0].schema.openAPIV3Schema.properties[spec]";
        let one = |rule: Value, expected: &str| {
            let schema = json!({"type": "object", "properties": {"spec": {"type": "object",
                "properties": {"n": {"type": "integer"}, "names": {"type": "array", "items": {"type": "string"}},
                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
                "x-kubernetes-validations": [rule]}}});
            let line = format!("{root}.x-kubernetes-validations[0].{expected}");
            let expected: &[&str] = if expected.is_empty() { &[] } else { &[&line] };
            check(validate(&definition(schema)), expected);
        };
        one(json!({"rule": "self.n > 1 && self.names.all(x, x != '') && self.free.any == 1"}), "");
        one(
            json!({"rule": "self.n >= oldSelf.n", "messageExpression": "'n: ' + self.names[0]"}),
            "",
        );
        one(
            json!({"rule": "self.m > 1"}),
            "rule: Invalid value: \"self.m > 1\": compilation failed: ERROR: <input>: undefined field 'm'\n | self.m > 1",
        );
        one(
            json!({"rule": "self.n"}),
            "rule: Invalid value: \"self.n\": cel expression must evaluate to a bool",
        );
        one(
            json!({"rule": "true", "messageExpression": "self.n"}),
            "messageExpression: Invalid value: \"self.n\": messageExpression must evaluate to a string",
        );
    }

    #[test]
    fn columns_and_scale() {
        let mut bad = definition(json!({"type": "object"}));
        bad["spec"]["versions"][0]["additionalPrinterColumns"] =
            json!([{"name": "a", "type": "x", "jsonPath": "spec"}]);
        bad["spec"]["versions"][0]["subresources"] = json!({"scale": {"specReplicasPath": ".status.n", "statusReplicasPath": ".status.a[0]"}});
        check(
            validate(&bad),
            &[
                "spec.versions[0].additionalPrinterColumns[0].type: Invalid value: \"x\": must be one of boolean,date,integer,number,string",
                "spec.versions[0].additionalPrinterColumns[0].jsonPath: Invalid value: \"spec\": is malformed: must start with '.' or '['",
                "spec.versions[0].subresources.scale.specReplicasPath: Invalid value: \".status.n\": should be a json path under .spec",
                "spec.versions[0].subresources.scale.statusReplicasPath: Invalid value: \".status.a[0]\": should be a json path without array notation",
            ],
        );
    }
}
