//! `status.details`: what a failure is about.

use serde_json::{Map, Value, json};

use crate::key::GroupResource;

/// One cause in `details.causes`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StatusCause {
    /// Machine-readable word, empty when there is none.
    pub reason: String,
    /// Human-readable message.
    pub message: String,
    /// Path of the field, empty when no field is meant.
    pub field: String,
}

/// What the failure is about; empty parts are left out on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Details {
    /// API group.
    pub group: String,
    /// Plural of the resource, or the kind for `Invalid`.
    pub kind: String,
    /// Object name.
    pub name: String,
    /// Object uid.
    pub uid: String,
    /// The single causes.
    pub causes: Vec<StatusCause>,
    /// Seconds after which a retry makes sense; 0 for no advice.
    pub retry_after_seconds: u32,
}

impl Details {
    /// Gives the details of one object of a resource.
    pub fn of(resource: &GroupResource, name: &str, uid: &str) -> Self {
        Details { uid: uid.to_owned(), ..details_of(resource, name) }
    }

    pub(super) fn to_value(&self) -> Value {
        let mut map = Map::new();
        for (field, text) in
            [("name", &self.name), ("group", &self.group), ("kind", &self.kind), ("uid", &self.uid)]
        {
            if !text.is_empty() {
                map.insert(field.to_owned(), json!(text));
            }
        }
        if !self.causes.is_empty() {
            let causes = self.causes.iter().map(StatusCause::to_value).collect();
            map.insert("causes".to_owned(), Value::Array(causes));
        }
        if self.retry_after_seconds > 0 {
            map.insert("retryAfterSeconds".to_owned(), json!(self.retry_after_seconds));
        }
        Value::Object(map)
    }
}

impl StatusCause {
    fn to_value(&self) -> Value {
        let mut map = Map::new();
        for (field, text) in
            [("reason", &self.reason), ("message", &self.message), ("field", &self.field)]
        {
            if !text.is_empty() {
                map.insert(field.to_owned(), json!(text));
            }
        }
        Value::Object(map)
    }
}

/// Gives the details of an object by its resource and name.
pub(super) fn details_of(resource: &GroupResource, name: &str) -> Details {
    Details {
        group: resource.group.to_string(),
        kind: resource.plural().to_owned(),
        name: name.to_owned(),
        ..Details::default()
    }
}
