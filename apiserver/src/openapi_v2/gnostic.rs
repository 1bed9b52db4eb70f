//! Swagger 2.0 in protobuf, with the messages and numbers of gnostic's `OpenAPIv2.proto`.

use serde_json::Value;

/// Protobuf wire types.
const VARINT: u64 = 0;
const LENGTH: u64 = 2;

/// A message in the making.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | LENGTH);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// Writes text unless it is empty or missing.
    fn text(&mut self, field: u64, value: &Value) {
        if let Some(text) = value.as_str().filter(|text| !text.is_empty()) {
            self.bytes(field, text.as_bytes());
        }
    }

    fn texts(&mut self, field: u64, value: &Value) {
        for item in value.as_array().into_iter().flatten() {
            self.text(field, item);
        }
    }

    fn flag(&mut self, field: u64, value: &Value) {
        if value.as_bool() == Some(true) {
            self.varint(field << 3 | VARINT);
            self.varint(1);
        }
    }

    fn message(&mut self, field: u64, write: impl FnOnce(&mut Message)) {
        let mut inner = Message::default();
        write(&mut inner);
        self.bytes(field, &inner.0);
    }

    /// Writes a map as repeated messages of a name (1) and a value (2).
    fn named(&mut self, field: u64, members: &Value, write: impl Fn(&mut Message, &Value)) {
        for (name, value) in members.as_object().into_iter().flatten() {
            self.message(field, |entry| {
                entry.bytes(1, name.as_bytes());
                entry.message(2, |inner| write(inner, value));
            });
        }
    }

    /// Writes `x-` members as `NamedAny`, whose value is YAML; JSON is YAML.
    fn extensions(&mut self, field: u64, object: &Value) {
        for (name, value) in
            object.as_object().into_iter().flatten().filter(|(name, _)| name.starts_with("x-"))
        {
            self.message(field, |entry| {
                entry.bytes(1, name.as_bytes());
                entry.message(2, |any| any.bytes(2, format!("{value}\n").as_bytes()));
            });
        }
    }
}

/// Message `Document`.
pub(super) fn document(value: &Value) -> Vec<u8> {
    let mut document = Message::default();
    document.text(1, &value["swagger"]);
    document.message(2, |info| {
        info.text(1, &value["info"]["title"]);
        info.text(2, &value["info"]["version"]);
    });
    document.message(8, |paths| paths.named(2, &value["paths"], path_item));
    document.message(9, |definitions| definitions.named(1, &value["definitions"], schema));
    document.0
}

fn path_item(message: &mut Message, item: &Value) {
    for (field, method) in [(2, "get"), (3, "put"), (4, "post"), (5, "delete"), (8, "patch")] {
        if let Some(value) = item.get(method) {
            message.message(field, |message| operation(message, value));
        }
    }
    parameters(message, 9, &item["parameters"]);
}

fn operation(message: &mut Message, value: &Value) {
    message.texts(1, &value["tags"]);
    message.text(3, &value["description"]);
    message.text(5, &value["operationId"]);
    message.texts(6, &value["produces"]);
    message.texts(7, &value["consumes"]);
    parameters(message, 8, &value["parameters"]);
    message.message(9, |responses| {
        responses.named(1, &value["responses"], |message, value| {
            message.message(1, |m| response(m, value))
        });
    });
    message.extensions(13, value);
}

fn response(message: &mut Message, value: &Value) {
    message.text(1, &value["description"]);
    if let Some(of) = value.get("schema") {
        message.message(2, |item| item.message(1, |message| schema(message, of)));
    }
}

/// `ParametersItem` of `Parameter`: a body (1), or one of the others (2), of which the server has two.
fn parameters(message: &mut Message, field: u64, list: &Value) {
    for value in list.as_array().into_iter().flatten() {
        message.message(field, |item| {
            item.message(1, |parameter| match value["in"].as_str() {
                Some("body") => parameter.message(1, |message| body_parameter(message, value)),
                Some("path") => parameter
                    .message(2, |other| other.message(4, |message| path_parameter(message, value))),
                Some(_) | None => {
                    parameter.message(2, |other| {
                        other.message(3, |message| query_parameter(message, value))
                    });
                }
            });
        });
    }
}

fn body_parameter(message: &mut Message, value: &Value) {
    message.text(1, &value["description"]);
    message.text(2, &value["name"]);
    message.text(3, &value["in"]);
    message.flag(4, &value["required"]);
    message.message(5, |message| schema(message, &value["schema"]));
}

fn path_parameter(message: &mut Message, value: &Value) {
    message.flag(1, &value["required"]);
    message.text(2, &value["in"]);
    message.text(3, &value["description"]);
    message.text(4, &value["name"]);
    message.text(5, &value["type"]);
}

fn query_parameter(message: &mut Message, value: &Value) {
    message.flag(1, &value["required"]);
    message.text(2, &value["in"]);
    message.text(3, &value["description"]);
    message.text(4, &value["name"]);
    message.text(6, &value["type"]);
}

fn schema(message: &mut Message, value: &Value) {
    message.text(1, &value["$ref"]);
    message.text(2, &value["format"]);
    message.text(4, &value["description"]);
    message.texts(19, &value["required"]);
    if let Some(values) = value.get("additionalProperties") {
        message.message(21, |item| match values {
            Value::Bool(_) => item.flag(2, values),
            Value::Null
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => {
                item.message(1, |message| schema(message, values));
            }
        });
    }
    if value["type"].is_string() {
        message.message(22, |item| item.text(1, &value["type"]));
    }
    if let Some(items) = value.get("items") {
        message.message(23, |item| item.message(1, |message| schema(message, items)));
    }
    if let Some(properties) = value.get("properties") {
        message.message(25, |message| message.named(1, properties, schema));
    }
    message.extensions(31, value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_small_document() {
        let value = json!({"swagger": "2.0", "info": {"title": "K", "version": "v"}, "paths": {},
            "definitions": {"a": {"type": "object", "x-y": 1}}});
        let expected: &[u8] =
            b"\x0a\x032.0\x12\x06\x0a\x01K\x12\x01v\x42\x00\x4a\x20\x0a\x1e\x0a\x01a\x12\x19\
            \xb2\x01\x08\x0a\x06object\xfa\x01\x0b\x0a\x03x-y\x12\x04\x12\x021\x0a";
        assert_eq!(document(&value), expected);
    }
}
