//! `events.k8s.io`: the core group's Events in the words of a later version.
//!
//! Both versions are one stored object; fields only have other names.
//! *Source:* `pkg/apis/core/v1/conversion.go` and `pkg/apis/events/v1/conversion.go` of Kubernetes.

use serde_json::{Value, json};

use super::super::{Convert, Kind, Stored};
use super::NAMESPACED;
use super::core::EVENT_RULES;

pub(super) const KINDS: &[Kind] = &[Kind {
    group: "events.k8s.io",
    kind: "Event",
    plural: "events",
    singular: "event",
    short_names: &["ev"],
    storage_version_hash: "r2yiGXH7wu8=",
    stored: Some(&Stored {
        group: "",
        version: "v1",
        to: Convert::With(to_core),
        from: Convert::With(from_core),
    }),
    rules: &EVENT_RULES,
    ..NAMESPACED
}];

/// Names of one field: in the core group, in `events.k8s.io`.
const NAMES: [(&str, &str); 7] = [
    ("count", "deprecatedCount"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("involvedObject", "regarding"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
];

fn to_core(event: &mut Value) {
    rename(event, "v1", NAMES.map(|(core, events)| (events, core)));
}

fn from_core(event: &mut Value) {
    rename(event, "events.k8s.io/v1", NAMES);
}

fn rename(event: &mut Value, api_version: &str, names: [(&str, &str); 7]) {
    let Some(members) = event.as_object_mut() else { return };
    members.insert("apiVersion".to_owned(), json!(api_version));
    for (from, to) in names {
        if let Some(value) = members.remove(from) {
            members.insert(to.to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_say_the_same() {
        let core = json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"},
            "involvedObject": {"kind": "Pod"}, "message": "m", "reason": "r", "count": 2,
            "source": {"component": "c"}, "reportingComponent": "c", "eventTime": null,
        });
        let mut event = core.clone();
        from_core(&mut event);
        assert_eq!(
            event,
            json!({
                "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"},
                "regarding": {"kind": "Pod"}, "note": "m", "reason": "r", "deprecatedCount": 2,
                "deprecatedSource": {"component": "c"}, "reportingController": "c", "eventTime": null,
            })
        );
        to_core(&mut event);
        assert_eq!(event, core);
    }
}
