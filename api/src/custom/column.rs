//! Printer columns of users' kinds: `additionalPrinterColumns`.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::jsonpath::JsonPath;
use crate::text::human_duration;

/// One column.
#[derive(Debug, Clone)]
pub struct Column {
    name: String,
    ty: String,
    format: String,
    description: String,
    priority: i64,
    path: JsonPath,
}

impl Column {
    /// Reads a column; `None` when its path is malformed, which validation refuses.
    pub(super) fn read(column: &Value) -> Option<Column> {
        let text = |field: &str| column[field].as_str().unwrap_or_default().to_owned();
        Some(Column {
            name: text("name"),
            ty: text("type"),
            format: text("format"),
            description: text("description"),
            priority: column["priority"].as_i64().unwrap_or_default(),
            path: JsonPath::read(column["jsonPath"].as_str()?).ok()?,
        })
    }

    /// Makes the column that kinds without columns of their own have.
    pub(super) fn age() -> Option<Column> {
        Column::read(
            &json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}),
        )
    }

    /// Gives the wire form, an item of `columnDefinitions`.
    pub fn to_value(&self) -> Value {
        json!({
            "name": self.name,
            "type": self.ty,
            "format": self.format,
            "description": self.description,
            "priority": self.priority,
        })
    }

    /// Gives the cell of an object; `null` when there is nothing of the column's type at its path.
    ///
    /// *Source:* `cellForJSONValue` of apiextensions' table convertor.
    pub fn cell(&self, object: &Value, now: Timestamp) -> Value {
        let found = self.path.find(object);
        let Some(value) = found.first() else { return Value::Null };
        match self.ty.as_str() {
            "string" => json!(value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
            "integer" => match (value.as_i64(), value.as_f64()) {
                (Some(whole), _) => json!(whole),
                #[expect(clippy::cast_possible_truncation, reason = "a cell shows whole numbers")]
                (None, Some(number)) => json!(number as i64),
                (None, None) => Value::Null,
            },
            "number" => value.as_f64().map_or(Value::Null, |number| json!(number)),
            "boolean" => value.as_bool().map_or(Value::Null, |truth| json!(truth)),
            "date" => match value.as_str().map(str::parse::<Timestamp>) {
                Some(Ok(then)) => json!(human_duration(now.duration_since(then).as_secs())),
                Some(Err(_)) => json!("<invalid>"),
                None => Value::Null,
            },
            _ => Value::Null,
        }
    }
}
