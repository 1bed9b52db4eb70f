//! One request as the log tells it.
//!
//! Pure. *Source:* `audit.k8s.io/v1 Event`.

use super::policy::{Stage, Told};
use crate::authn::UserInfo;
use crate::request_info::RequestInfo;
use crate::review::user_value;
use jiff::Timestamp;
use serde_json::{Value, json};

/// What is known of a request when it has come.
pub(crate) struct Entry {
    told: Told,
    event: Value,
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
        Entry { told, event }
    }

    /// How much is told.
    pub(crate) fn told(&self) -> &Told {
        &self.told
    }

    /// Adds a field, such as `userAgent` or `requestObject`.
    pub(crate) fn set(&mut self, field: &str, value: Value) {
        self.event[field] = value;
    }

    /// The line of a moment; `None` when it is not told. `code` is that of the answer.
    pub(crate) fn line(&self, stage: Stage, code: Option<u16>, now: Timestamp) -> Option<String> {
        if !self.told.tells(stage) {
            return None;
        }
        let mut event = self.event.clone();
        event["stage"] = json!(stage.as_str());
        event["stageTimestamp"] = json!(micro(now));
        if let Some(code) = code {
            event["responseStatus"] = json!({"metadata": {}, "code": code});
            let decision = if code == 403 { "forbid" } else { "allow" };
            event["annotations"] = json!({"authorization.k8s.io/decision": decision});
        }
        Some(event.to_string() + "\n")
    }
}
