//! From OpenAPI 3.0 documents of single groups to one Swagger 2.0 document.

use serde_json::{Map, Value, json};

/// Puts documents of single groups together; what came first stays.
pub(super) fn merge(documents: impl Iterator<Item = Value>) -> Value {
    let (mut paths, mut definitions) = (Map::new(), Map::new());
    let mut info = json!({"title": "Kubernetes", "version": "unknown"});
    for document in documents {
        let mut document = members(document);
        info = document.remove("info").unwrap_or(info);
        for (path, item) in members(document.remove("paths").unwrap_or_default()) {
            paths.entry(path).or_insert_with(|| path_item(item));
        }
        let mut components = members(document.remove("components").unwrap_or_default());
        for (name, item) in members(components.remove("schemas").unwrap_or_default()) {
            definitions.entry(name).or_insert_with(|| whole(item));
        }
    }
    json!({"swagger": "2.0", "info": info, "paths": paths, "definitions": definitions})
}

fn members(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    }
}

fn path_item(item: Value) -> Value {
    let converted = members(item).into_iter().map(|(name, value)| {
        let value = if name == "parameters" { parameters(value, None) } else { operation(value) };
        (name, value)
    });
    Value::Object(converted.collect())
}

fn operation(operation: Value) -> Value {
    let mut operation = members(operation);
    let body = operation.remove("requestBody");
    let consumes =
        body.as_ref().map(|body| media_types(&body["content"])).unwrap_or(json!(["*/*"]));
    let mut produces = json!(["application/json"]);
    let mut responses = Map::new();
    for (code, response) in members(operation.remove("responses").unwrap_or_default()) {
        let content = &response["content"];
        let mut converted = json!({"description": response["description"]});
        if let Some(item) = content.get("application/json") {
            produces = media_types(content);
            converted["schema"] = schema(item["schema"].clone());
        }
        responses.insert(code, converted);
    }
    let own = operation.remove("parameters").unwrap_or_default();
    operation.insert("parameters".to_owned(), parameters(own, body));
    operation.insert("responses".to_owned(), responses.into());
    operation.insert("consumes".to_owned(), consumes);
    operation.insert("produces".to_owned(), produces);
    operation.into()
}

fn media_types(content: &Value) -> Value {
    content.as_object().into_iter().flatten().map(|(name, _)| json!(name)).collect()
}

/// Parameters carry their schema's members themselves, and a body is one more parameter.
fn parameters(list: Value, body: Option<Value>) -> Value {
    let mut converted: Vec<Value> = Vec::new();
    for parameter in list.as_array().into_iter().flatten() {
        let mut parameter = members(parameter.clone());
        for (name, value) in members(parameter.remove("schema").unwrap_or_default()) {
            parameter.insert(name, value);
        }
        converted.push(parameter.into());
    }
    if let Some(body) = body {
        let content = body["content"].as_object();
        let first =
            content.and_then(|content| content.values().next()).map(|item| item["schema"].clone());
        converted.push(json!({
            "in": "body", "name": "body", "required": body["required"], "schema": schema(first.unwrap_or_default()),
        }));
    }
    converted.into()
}

/// Swagger 2.0 knows neither `oneOf` nor members beside `$ref` inside `allOf`: a reference becomes the schema itself, a
/// union without a type becomes the string that it can always be written as. Of users' schemas goes what kubectl would
/// take for more than it is: the type of what may be null, and what is told of a place that takes anything.
///
/// *Source:* `ToStructuralOpenAPIV2` of apiextensions-apiserver says what goes.
fn schema(value: Value) -> Value {
    let value = members(value);
    let is = |name: &str| value.get(name) == Some(&Value::Bool(true));
    let takes_anything = is("x-kubernetes-preserve-unknown-fields");
    let has_form = value.contains_key("type") || value.contains_key("x-kubernetes-int-or-string");
    let untyped = is("nullable") || takes_anything;
    let required = required(&value);
    let mut converted = Map::new();
    for (name, value) in value {
        match name.as_str() {
            "$ref" => {
                converted.insert(name, json!(local(value.as_str().unwrap_or_default())));
            }
            "allOf" => {
                if let Some(target) = value[0]["$ref"].as_str() {
                    converted.insert("$ref".to_owned(), json!(local(target)));
                }
            }
            "oneOf" | "anyOf" => {
                if !has_form {
                    converted.insert("type".to_owned(), json!("string"));
                }
            }
            "type" | "items" | "properties" if untyped => {}
            "properties" => {
                let properties =
                    members(value).into_iter().map(|(name, value)| (name, schema(value)));
                converted.insert(name, Value::Object(properties.collect()));
            }
            "items" => {
                converted.insert(name, schema(value));
            }
            "additionalProperties" if value.is_object() => {
                converted.insert(name, schema(value));
            }
            "required" => {
                if !required.is_empty() {
                    converted.insert(name, json!(required));
                }
            }
            "default" | "nullable" | "not" => {}
            _ => {
                converted.insert(name, value);
            }
        }
    }
    if converted.get("type").is_some_and(|kind| kind == "array") && !converted.contains_key("items")
    {
        converted.remove("type");
    }
    converted.into()
}

/// The fields that must be there; one that may be null need not, as kubectl reads it.
fn required(schema: &Map<String, Value>) -> Vec<Value> {
    let may_be_null = |name: &Value| {
        let field = schema.get("properties").and_then(|all| all.get(name.as_str()?));
        field.is_some_and(|field| field["nullable"] == true)
    };
    let listed = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    listed.filter(|name| !may_be_null(name)).cloned().collect()
}

/// The schema of a whole object: of one that takes anything nothing is told, because kubectl would refuse the rest.
fn whole(value: Value) -> Value {
    if value["x-kubernetes-preserve-unknown-fields"] != true {
        return schema(value);
    }
    json!({"type": "object", "x-kubernetes-group-version-kind": value["x-kubernetes-group-version-kind"]})
}

fn local(reference: &str) -> String {
    reference.replace("#/components/schemas/", "#/definitions/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_lose_what_swagger_does_not_know() {
        let check = |from: Value, to: Value| assert_eq!(schema(from), to);
        check(
            json!({"allOf": [{"$ref": "#/components/schemas/a.B"}], "default": {}, "description": "d"}),
            json!({"$ref": "#/definitions/a.B", "description": "d"}),
        );
        check(
            json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]}),
            json!({"format": "int-or-string", "type": "string"}),
        );
        check(
            json!({"type": "array", "items": {"allOf": [{"$ref": "#/components/schemas/a"}]}, "x-k": 1}),
            json!({"type": "array", "items": {"$ref": "#/definitions/a"}, "x-k": 1}),
        );
        let anything = "x-kubernetes-preserve-unknown-fields";
        check(
            json!({"type": "object", "required": ["a", "b"], "not": {"required": ["c"]}, "properties": {
                "a": {"type": "string", "nullable": true},
                "b": {"type": "object", anything: true, "properties": {"c": {"type": "string"}}},
                "d": {"type": "array", "items": {"type": "string"}, anything: true},
                "e": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]},
                "f": {"type": "string", "anyOf": [{"minLength": 1}]},
            }}),
            json!({"type": "object", "required": ["b"], "properties": {
                "a": {}, "b": {anything: true}, "d": {anything: true},
                "e": {"x-kubernetes-int-or-string": true}, "f": {"type": "string"},
            }}),
        );
    }

    #[test]
    fn what_another_server_describes_changes_nothing_and_may_be_nonsense() {
        let own = json!({"info": {"title": "Own"}, "paths": {"/a": {"get": {"operationId": "own"}}},
            "components": {"schemas": {"A": {"type": "object"}}}});
        let other = json!({"paths": {"/a": 1, "/b": {"get": {"responses": {"200": ["x"]}, "requestBody": 5}}},
            "components": {"schemas": {"A": {"type": "string"}, "B": ["x"]}}});
        let merged = merge([own, other, json!([1]), json!({"components": "x"})].into_iter());
        assert_eq!(merged["info"]["title"], "Own");
        assert_eq!(merged["paths"]["/a"]["get"]["operationId"], "own");
        assert!(merged["paths"]["/b"]["get"].is_object());
        assert_eq!(merged["definitions"], json!({"A": {"type": "object"}, "B": {}}));
    }

    #[test]
    fn an_object_that_takes_anything_is_an_object_and_no_more() {
        let kinds = json!([{"group": "g", "version": "v1", "kind": "K"}]);
        let from = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true,
            "properties": {"metadata": {}}, "x-kubernetes-group-version-kind": kinds});
        assert_eq!(
            whole(from),
            json!({"type": "object", "x-kubernetes-group-version-kind": kinds})
        );
    }
}
