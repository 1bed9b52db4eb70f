//! Stand-in until the printers land.
use coracle_api::registry::Kind;
use serde_json::{Value, json};
pub(crate) struct Column { pub(crate) name: &'static str, pub(crate) kind: &'static str, pub(crate) format: &'static str, pub(crate) description: &'static str, pub(crate) priority: i32 }
pub(crate) fn columns(_kind: &Kind) -> &'static [Column] {
    &[Column { name: "Name", kind: "string", format: "name", description: "", priority: 0 }]
}
pub(crate) fn row(_kind: &Kind, object: &Value, _now: jiff::Timestamp) -> Vec<Value> {
    vec![json!(object["metadata"]["name"])]
}
