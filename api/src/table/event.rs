//! Events: what happened to which object, and how often.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Column, Printer, number, or, since, text};
use crate::meta;

pub(super) const EVENT: Printer = Printer {
    columns: &[
        Column::text("Last Seen", "Time since it happened last."),
        Column::text("Type", "Normal or Warning."),
        Column::text("Reason", "Why it happened, one word."),
        Column::text("Object", "What it happened to."),
        Column::wide("Subobject", "Which part of the object."),
        Column::wide("Source", "Who reports it."),
        Column::text("Message", "What happened, for people."),
        Column::wide("First Seen", "Time since it happened first."),
        Column::wide("Count", "How often it happened."),
        Column { format: "name", ..Column::wide("Name", "Name of the event.") },
    ],
    row,
};

fn row(object: &Value, now: Timestamp) -> Vec<Value> {
    let series = &object["series"];
    let first = or(text(object, "firstTimestamp"), text(object, "eventTime"));
    let last = if series.is_null() {
        or(text(object, "lastTimestamp"), first)
    } else {
        text(series, "lastObservedTime")
    };
    let count =
        if series.is_null() { number(object, "count").max(1) } else { number(series, "count") };
    vec![
        json!(since(last, now)),
        json!(text(object, "type")),
        json!(text(object, "reason")),
        json!(target(&object["involvedObject"])),
        json!(text(&object["involvedObject"], "fieldPath")),
        json!(source(object)),
        json!(text(object, "message").trim()),
        json!(since(first, now)),
        json!(count),
        json!(meta::name(object)),
    ]
}

fn target(involved: &Value) -> String {
    let kind = text(involved, "kind").to_lowercase();
    match text(involved, "name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    }
}

fn source(object: &Value) -> String {
    let component = or(text(&object["source"], "component"), text(object, "reportingComponent"));
    match or(text(&object["source"], "host"), text(object, "reportingInstance")) {
        "" => component.to_owned(),
        instance => format!("{component}, {instance}"),
    }
}
