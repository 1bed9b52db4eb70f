//! One request as the log tells it.
//!
//! Pure. *Source:* `audit.k8s.io/v1 Event`.

use super::notes::Notes;
use super::policy::{Stage, Told};
use crate::authn::UserInfo;
use crate::request_info::RequestInfo;
use crate::review::user_value;
use coracle_api::status::Status;
use jiff::Timestamp;
use serde_json::{Value, json};

/// What is known of a request when it has come.
pub(crate) struct Entry {
    told: Told,
    event: Value,
    notes: Notes,
}

/// How a request was answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answered<'a> {
    /// The status code.
    pub(crate) code: u16,
    /// The refusal or failure, if it is one.
    pub(crate) failure: Option<&'a Status>,
}

impl Answered<'_> {
    /// What clients are told of a failure, and the code alone of what went well.
    fn status(self) -> Value {
        let mut status = json!({"metadata": {}, "code": self.code});
        if let Some(failure) = self.failure.map(Status::to_value) {
            for field in ["status", "message", "reason", "details"] {
                if let Some(value) = failure.get(field) {
                    status[field] = value.clone();
                }
            }
        }
        status
    }
}

/// A time as the log writes it: microseconds, UTC.
fn micro(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

impl Entry {
    /// Begins to tell of a request. `acting_as` is set when the user impersonates another one.
    pub(crate) fn new(
        told: Told,
        id: &str,
        uri: &str,
        info: &RequestInfo,
        user: &UserInfo,
        acting_as: Option<&UserInfo>,
        received: Timestamp,
    ) -> Entry {
        let mut event = json!({
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": told.level.as_str(), "auditID": id,
            "requestURI": uri, "verb": info.verb.as_str(), "user": user_value(user),
            "requestReceivedTimestamp": micro(received),
        });
        if let Some(other) = acting_as {
            event["impersonatedUser"] = user_value(other);
        }
        if let Some(path) = &info.resource {
            let mut reference = json!({"resource": path.resource, "apiVersion": path.version});
            for (field, value) in [
                ("namespace", &path.namespace),
                ("name", &path.name),
                ("apiGroup", &path.group),
                ("subresource", &path.subresource),
            ] {
                if !value.is_empty() {
                    reference[field] = json!(value);
                }
            }
            event["objectRef"] = reference;
        }
        Entry { told, event, notes: Notes::kept() }
    }

    /// How much is told.
    pub(crate) fn told(&self) -> &Told {
        &self.told
    }

    /// Where the request's work leaves its notes.
    pub(crate) fn notes(&self) -> &Notes {
        &self.notes
    }

    /// Adds a field, such as `userAgent` or `requestObject`.
    pub(crate) fn set(&mut self, field: &str, value: Value) {
        self.event[field] = value;
    }

    /// The line of a moment; `None` when it is not told.
    pub(crate) fn line(
        &self,
        stage: Stage,
        answered: Option<Answered<'_>>,
        now: Timestamp,
    ) -> Option<String> {
        if !self.told.tells(stage) {
            return None;
        }
        let mut event = self.event.clone();
        event["stage"] = json!(stage.as_str());
        event["stageTimestamp"] = json!(micro(now));
        if let Some(answered) = answered {
            event["responseStatus"] = answered.status();
            let annotations = self.notes.annotations();
            if !annotations.is_empty() {
                event["annotations"] = json!(annotations);
            }
            let name = self.notes.noted_name();
            let reference = event.get_mut("objectRef").and_then(Value::as_object_mut);
            if let Some(reference) = reference.filter(|_| !name.is_empty()) {
                reference.entry("name").or_insert(json!(name));
            }
        }
        Some(event.to_string() + "\n")
    }
}
