//! Definitions against objects: what is dropped, filled and refused, in upstream's words.

use serde_json::{Value, json};

use super::*;
use crate::decode::{FieldValidation, MediaType};
use crate::field_error::FieldError;

fn version(schema: Value) -> Version {
    let version = json!({"name": "v1", "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": schema}}}});
    let definition = json!({"spec": {"group": "x.io", "scope": "Namespaced", "names": {"kind": "Thing", "plural": "things"}}});
    Version::read(&definition, &version).unwrap()
}

fn thing(spec: Value) -> Value {
    json!({"apiVersion": "x.io/v1", "kind": "Thing", "metadata": {"name": "a", "namespace": "b"}, "spec": spec})
}

fn check(schema: Value, spec: Value, expected: &[&str]) {
    let errors = version(schema).validate(&thing(spec));
    let found: Vec<String> = errors.iter().map(FieldError::to_string).collect();
    assert_eq!(found, expected);
}

#[test]
fn values_fit_their_types() {
    let schema = json!({"type": "object", "required": ["image"], "properties": {
        "image": {"type": "string"}, "replicas": {"type": "integer", "minimum": 1, "maximum": 10},
        "port": {"x-kubernetes-int-or-string": true}, "on": {"type": "boolean"},
        "list": {"type": "array", "items": {"type": "string", "minLength": 2}, "maxItems": 2},
    }});
    check(schema.clone(), json!({"image": "i", "replicas": 3, "port": "x"}), &[]);
    check(
        schema.clone(),
        json!({"replicas": "3", "port": true, "on": 1}),
        &[
            "spec.image: Required value",
            "spec.on: Invalid value: \"integer\": spec.on in body must be of type boolean: \"integer\"",
            "spec.port: Invalid value: \"boolean\": spec.port in body must be of type integer,string: \"boolean\"",
            "spec.replicas: Invalid value: \"string\": spec.replicas in body must be of type integer: \"string\"",
        ],
    );
    check(
        schema,
        json!({"image": null, "replicas": 11, "list": ["a", "bb", "cc"]}),
        &[
            "spec.image: Invalid value: \"null\": spec.image in body must be of type string: \"null\"",
            "spec.list: Too many: 3: must have at most 2 items",
            "spec.list[0]: Invalid value: \"a\": spec.list[0] in body should be at least 2 chars long",
            "spec.replicas: Invalid value: 11: spec.replicas in body should be less than or equal to 10",
        ],
    );
}

#[test]
fn texts_and_unions() {
    let schema = json!({"type": "object", "properties": {
        "cron": {"type": "string", "pattern": "^[0-9]+$"}, "color": {"type": "string", "enum": ["red", "blue"]},
        "when": {"type": "string", "format": "date-time"},
    }, "oneOf": [{"required": ["color"]}, {"required": ["when"]}]});
    check(schema.clone(), json!({"color": "red", "cron": "12"}), &[]);
    check(
        schema,
        json!({"color": "green", "cron": "x", "when": "soon"}),
        &[
            "spec: Invalid value: {\"color\":\"green\",\"cron\":\"x\",\"when\":\"soon\"}: \"spec\" must validate one and only one schema (oneOf). Found 2 valid alternatives",
            "spec.color: Unsupported value: \"green\": supported values: \"red\", \"blue\"",
            "spec.cron: Invalid value: \"x\": spec.cron in body should match '^[0-9]+$'",
            "spec.when: Invalid value: \"soon\": spec.when in body must be of type date-time: \"soon\"",
        ],
    );
}

#[test]
fn items_of_sets_and_maps_differ() {
    let schema = json!({"type": "object", "properties": {
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
    }});
    check(
        schema,
        json!({"set": ["a", "a"], "map": [{"name": "x"}, {"name": "x"}]}),
        &["spec.map[1]: Duplicate value: {\"name\":\"x\"}", "spec.set[1]: Duplicate value: \"a\""],
    );
}

#[test]
fn unknown_fields_go() {
    let schema = json!({"type": "object", "properties": {
        "known": {"type": "string"},
        "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"shut": {"type": "object"}}},
        "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"a": {"type": "string"}}}},
        "list": {"type": "array", "items": {"type": "object"}},
        "pod": {"type": "object", "x-kubernetes-embedded-resource": true},
    }});
    let version = version(schema);
    let body = thing(json!({
        "known": "a", "other": 1, "open": {"x": 1, "shut": {"y": 1}}, "map": {"k": {"a": "b", "c": 1}},
        "list": [{"z": 1}], "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {}},
    }));
    let mut body = body;
    body["metadata"]["nonsense"] = json!(1);
    let bytes = body.to_string();
    let decoded = version.decode(bytes.as_bytes(), MediaType::Json, FieldValidation::Warn).unwrap();
    assert_eq!(
        decoded.value["spec"],
        json!({"known": "a", "open": {"x": 1, "shut": {}}, "map": {"k": {"a": "b"}}, "list": [{}],
            "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}})
    );
    assert_eq!(
        decoded.warnings,
        [
            "unknown field \"metadata.nonsense\"",
            "unknown field \"spec.list[0].z\"",
            "unknown field \"spec.map.k.c\"",
            "unknown field \"spec.open.shut.y\"",
            "unknown field \"spec.other\"",
            "unknown field \"spec.pod.spec\"",
        ]
    );
    let strict = version.decode(bytes.as_bytes(), MediaType::Json, FieldValidation::Strict);
    let message = strict.unwrap_err().message;
    assert!(message.starts_with("Thing in version \"v1\" cannot be handled as a Thing: strict decoding error: unknown field"), "{message}");
}

#[test]
fn defaults_are_filled() {
    let schema = json!({"type": "object", "default": {"size": 2}, "properties": {
        "size": {"type": "integer", "default": 1}, "name": {"type": "string", "nullable": true, "default": "x"},
        "list": {"type": "array", "items": {"type": "object", "properties": {"on": {"type": "boolean", "default": true}}}},
    }});
    let version = version(schema);
    let filled = |mut object: Value| {
        version.fill(&mut object);
        let once = object.clone();
        version.fill(&mut object);
        assert_eq!(object, once, "defaulting twice changes nothing");
        object["spec"].clone()
    };
    assert_eq!(filled(json!({})), json!({"size": 2, "name": "x"}));
    assert_eq!(
        filled(json!({"spec": {"size": null, "name": null}})),
        json!({"size": 1, "name": null})
    );
    assert_eq!(
        filled(json!({"spec": {"list": null, "unknown": null}})),
        json!({"size": 1, "name": "x", "unknown": null}),
        "a null that may not be goes, what nobody knows is left to pruning"
    );
    assert_eq!(
        filled(json!({"spec": {"list": [{}]}})),
        json!({"size": 1, "name": "x", "list": [{"on": true}]})
    );
}

fn rules() -> Version {
    version(json!({"type": "object", "properties": {
        "min": {"type": "integer"}, "max": {"type": "integer"},
        "name": {"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "name is immutable"}]},
    }, "x-kubernetes-validations": [
        {"rule": "self.min <= self.max", "messageExpression": "'min is ' + string(self.min)"},
        {"rule": "!has(self.name) || self.name != 'bad'", "reason": "FieldValueForbidden", "fieldPath": ".name"},
    ]}))
}

#[test]
fn rules_are_asked_of_what_has_its_form() {
    let check = |spec: Value, expected: &[&str]| {
        let found: Vec<String> =
            rules().validate(&thing(spec)).iter().map(FieldError::to_string).collect();
        assert_eq!(found, expected);
    };
    check(
        json!({"min": "x", "max": 2}),
        &[
            "spec.min: Invalid value: \"string\": spec.min in body must be of type integer: \"string\"",
            "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation",
        ],
    );
    let without = json!({"type": "object", "required": ["a"]});
    assert_eq!(version(without).validate(&thing(json!({}))).len(), 1, "no rules, no word of them");
}

#[test]
fn each_rule_sees_the_old_value_in_its_own_form() {
    let rules = json!([
        {"rule": "!oldSelf.hasValue() || self.min >= oldSelf.value().min", "optionalOldSelf": true},
        {"rule": "self.max >= oldSelf.max"},
    ]);
    let version = version(json!({"type": "object", "x-kubernetes-validations": rules,
        "properties": {"min": {"type": "integer"}, "max": {"type": "integer"}}}));
    let count = |new: Value, old: Value| version.validate_update(&thing(new), &thing(old)).len();
    assert_eq!(count(json!({"min": 1, "max": 2}), json!({"min": 1, "max": 2})), 0);
    assert_eq!(count(json!({"min": 1, "max": 2}), json!({"min": 1, "max": 3})), 1);
    assert_eq!(count(json!({"min": 1, "max": 2}), json!({"min": 2, "max": 3})), 2);
    assert_eq!(version.validate(&thing(json!({"min": 1, "max": 2}))).len(), 0);
}

#[test]
fn rules_are_kept() {
    let version = rules();
    let check = |new: Value, old: Option<Value>, expected: &[&str]| {
        let errors = match old {
            None => version.validate(&thing(new)),
            Some(old) => version.validate_update(&thing(new), &thing(old)),
        };
        let found: Vec<String> = errors.iter().map(FieldError::to_string).collect();
        assert_eq!(found, expected);
    };
    check(json!({"min": 1, "max": 2}), None, &[]);
    check(json!({"min": 3, "max": 2}), None, &["spec: Invalid value: \"object\": min is 3"]);
    check(
        json!({"min": 1, "max": 2, "name": "bad"}),
        None,
        &["spec.name: Forbidden: failed rule: !has(self.name) || self.name != 'bad'"],
    );
    check(
        json!({"min": 1}),
        None,
        &[
            "spec: Invalid value: \"object\": No such key: max evaluating rule: self.min <= self.max",
        ],
    );
    check(
        json!({"min": 1, "max": 2, "name": "b"}),
        Some(json!({"min": 1, "max": 2, "name": "a"})),
        &["spec.name: Invalid value: \"string\": name is immutable"],
    );
    check(json!({"min": 3, "max": 2}), Some(json!({"min": 3, "max": 2})), &[]);
}

#[test]
fn what_was_wrong_before_may_stay() {
    let version = version(json!({"type": "object", "required": ["a"], "properties": {
        "a": {"type": "string"}, "b": {"type": "string", "maxLength": 1}, "c": {"type": "string"}}}));
    let old = thing(json!({"a": "x", "b": "long", "c": "1"}));
    let new = thing(json!({"a": "x", "b": "long", "c": "2"}));
    assert!(version.validate_update(&new, &old).is_empty());
    let worse = thing(json!({"a": "x", "b": "longer", "c": "1"}));
    assert_eq!(version.validate_update(&worse, &old).len(), 1);
}

#[test]
fn columns_show_what_paths_find() {
    let definition = json!({"spec": {"group": "x.io", "names": {"kind": "Thing"}}});
    let read = json!({"name": "v1", "schema": {"openAPIV3Schema": {"type": "object"}}, "additionalPrinterColumns": [
        {"name": "Spec", "type": "string", "jsonPath": ".spec.cron"},
        {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"},
        {"name": "On", "type": "boolean", "jsonPath": ".spec.on", "priority": 1},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]});
    let version = Version::read(&definition, &read).unwrap();
    let mut object = thing(json!({"cron": "* *", "replicas": 3}));
    object["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
    let row = version.row(&object, "2026-01-01T00:05:00Z".parse().unwrap());
    assert_eq!(row, [json!("a"), json!("* *"), json!(3), Value::Null, json!("5m")]);
    assert_eq!(version.columns()[3]["priority"], 1);
}

#[test]
fn schemas_that_cannot_be_used_are_refused() {
    let problem = |schema: Value| Structural::read(&schema).unwrap_err().to_string();
    let bad = problem(json!({"properties": {"a": {"pattern": "("}}}));
    assert!(bad.starts_with("properties[a].pattern: must be a valid regular expression"), "{bad}");
    let bad = problem(json!({"x-kubernetes-validations": [{"rule": "self.x =="}]}));
    assert!(bad.starts_with("x-kubernetes-validations[0].rule: compilation failed"), "{bad}");
    let mut deep = json!({});
    for _ in 0..=schema::SCHEMA_DEPTH_MAX {
        deep = json!({"items": deep});
    }
    assert!(problem(deep).contains("must not be nested"));
}

#[test]
fn ownership_follows_the_schema() {
    let version = version(json!({"type": "object", "properties": {
        "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
        "plain": {"type": "array", "items": {"type": "string"}}}}));
    let whole = Place::Whole(&version.schema);
    let spec = whole.field("spec").unwrap();
    assert_eq!(spec.field("map").unwrap().keys(), ["name"]);
    assert_eq!(spec.field("plain").unwrap().shape(), crate::apply::Shape::Unit);
    assert!(spec.field("unknown").is_none());
}
