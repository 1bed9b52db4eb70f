//! JSON as CEL sees it, and back.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube_cel::cel::objects::{Key, Map};
use kube_cel::cel::{Context, Program, Value as Cel};
use serde_json::{Map as Members, Number, Value, json};

use super::escape::{escape, is_reserved};

/// What is known of the form of a JSON value.
#[derive(Debug, Clone, Copy)]
pub enum Shape<'a> {
    /// An OpenAPI schema: names of its properties are escaped, formats are followed.
    Schema(&'a Value),
    /// Nothing: keys are what they are.
    Unknown,
}

/// Makes the CEL value of a JSON value.
///
/// *Source:* `UnstructuredToVal` in `k8s.io/apiserver/pkg/cel/common`.
pub fn of_json(value: &Value, shape: Shape<'_>) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(value) => Cel::Bool(*value),
        Value::Number(number) => of_number(number, shape),
        Value::String(text) => of_text(text, shape),
        Value::Array(items) => {
            let shape = shape.below("items");
            Cel::List(Arc::new(items.iter().map(|item| of_json(item, shape)).collect()))
        }
        Value::Object(members) => of_members(members, shape),
    }
}

impl<'a> Shape<'a> {
    fn schema(self) -> Option<&'a Value> {
        match self {
            Shape::Schema(schema) => Some(schema),
            Shape::Unknown => None,
        }
    }

    fn below(self, keyword: &str) -> Shape<'a> {
        let found = self.schema().and_then(|schema| schema.get(keyword));
        found.filter(|schema| schema.is_object()).map_or(Shape::Unknown, Shape::Schema)
    }

    fn says(self, keyword: &str) -> &'a str {
        self.schema().and_then(|schema| schema.get(keyword)?.as_str()).unwrap_or_default()
    }
}

fn of_number(number: &Number, shape: Shape<'_>) -> Cel {
    if shape.says("type") == "number" {
        return Cel::Float(number.as_f64().unwrap_or_default());
    }
    match number.as_i64() {
        Some(whole) => Cel::Int(whole),
        None => Cel::Float(number.as_f64().unwrap_or_default()),
    }
}

fn of_text(text: &str, shape: Shape<'_>) -> Cel {
    let plain = || Cel::String(Arc::new(text.to_owned()));
    match shape.says("format") {
        "byte" => STANDARD.decode(text).map_or_else(|_| plain(), |found| Cel::Bytes(found.into())),
        "date" => call("timestamp", &format!("{text}T00:00:00Z")).unwrap_or_else(plain),
        "date-time" => call("timestamp", text).unwrap_or_else(plain),
        "duration" => call("duration", text).unwrap_or_else(plain),
        _ => plain(),
    }
}

/// Lets CEL's own conversion read a time, so that it is the same as in an expression.
fn call(function: &str, text: &str) -> Option<Cel> {
    let program = Program::compile(&format!("{function}(text)")).ok()?;
    let mut context = Context::default();
    context.add_variable_from_value("text", text.to_owned());
    program.execute(&context).ok()
}

fn of_members(members: &Members<String, Value>, shape: Shape<'_>) -> Cel {
    let properties = shape.below("properties");
    let others = shape.below("additionalProperties");
    let mut map = HashMap::with_capacity(members.len());
    let embedded = shape.schema().is_some_and(|schema| {
        schema.get("x-kubernetes-embedded-resource") == Some(&Value::Bool(true))
    });
    for (name, value) in members {
        let known = properties.schema().and_then(|properties| properties.get(name));
        let named = known.is_some()
            || (embedded && matches!(name.as_str(), "apiVersion" | "kind" | "metadata"));
        let value = of_json(value, known.map_or(others, Shape::Schema));
        if !named {
            map.insert(key(name), value);
            continue;
        }
        let Some(escaped) = escape(name) else { continue };
        if is_reserved(name) {
            map.insert(key(name), value.clone());
        }
        map.insert(key(&escaped), value);
    }
    Cel::Map(Map { map: Arc::new(map) })
}

fn key(name: &str) -> Key {
    Key::String(Arc::new(name.to_owned()))
}

/// Makes the JSON of a CEL value; `None` for functions and other values that JSON does not have.
pub fn to_json(value: &Cel) -> Option<Value> {
    Some(match value {
        Cel::Null => Value::Null,
        Cel::Bool(value) => json!(value),
        Cel::Int(number) => json!(number),
        Cel::UInt(number) => json!(number),
        Cel::Float(number) => json!(number),
        Cel::String(text) => json!(text.as_str()),
        Cel::Bytes(bytes) => json!(STANDARD.encode(bytes.as_slice())),
        Cel::Timestamp(time) => json!(time.to_rfc3339()),
        Cel::Duration(length) => json!(format!("{}s", length.num_seconds())),
        Cel::List(items) => Value::Array(items.iter().map(to_json).collect::<Option<_>>()?),
        Cel::Map(map) => {
            let mut members = Members::new();
            for (key, value) in map.map.iter() {
                members.insert(key.to_string(), to_json(value)?);
            }
            Value::Object(members)
        }
        Cel::Function(..) | Cel::Opaque(_) => return None,
    })
}
