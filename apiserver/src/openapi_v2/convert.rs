//! From OpenAPI 3.0 documents of single groups to one Swagger 2.0 document.

use serde_json::{Map, Value, json};

/// Puts documents of single groups together.
pub(super) fn merge(documents: impl Iterator<Item = Value>) -> Value {
    let (mut paths, mut definitions) = (Map::new(), Map::new());
    let mut info = json!({"title": "Kubernetes", "version": "unknown"});
    for mut document in documents {
        info = document["info"].take();
        for (path, item) in members(document["paths"].take()) {
            paths.insert(path, path_item(item));
        }
        for (name, item) in members(document["components"]["schemas"].take()) {
            definitions.entry(name).or_insert_with(|| schema(item));
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
    for (code, mut response) in members(operation.remove("responses").unwrap_or_default()) {
        let content = response["content"].take();
        let mut converted = json!({"description": response["description"]});
        if let Some(item) = content.get("application/json") {
            produces = media_types(&content);
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
/// union becomes the string that it can always be written as.
fn schema(value: Value) -> Value {
    let mut converted = Map::new();
    for (name, value) in members(value) {
        match name.as_str() {
            "$ref" => {
                converted.insert(name, json!(local(value.as_str().unwrap_or_default())));
            }
            "allOf" => {
                let target = value[0]["$ref"].as_str().unwrap_or_default();
                converted.insert("$ref".to_owned(), json!(local(target)));
            }
            "oneOf" | "anyOf" => {
                converted.insert("type".to_owned(), json!("string"));
            }
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
            "default" | "nullable" => {}
            _ => {
                converted.insert(name, value);
            }
        }
    }
    converted.into()
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
    }
}
