//! Jobs: the selector that keeps the pods of two Jobs of one name apart.

use serde_json::{Map, Value, json};

use super::with_generation;
use crate::meta;

/// Labels that every pod of a Job carries; the unprefixed ones are kept for old clients.
const UID_LABELS: [&str; 2] = ["batch.kubernetes.io/controller-uid", "controller-uid"];
const NAME_LABELS: [&str; 2] = ["batch.kubernetes.io/job-name", "job-name"];

/// Starts a Job, with a selector by its uid unless its author sees to that.
pub fn create(object: &mut Value) {
    with_generation::create(object);
    let manual = object.pointer("/spec/manualSelector") == Some(&Value::Bool(true));
    let follows = meta::labels(object) == labels_of_pods(object);
    if !manual {
        select(object);
    }
    // A Job without labels of its own has those of its pods.
    if let Some(labels) = labels_of_pods(object).filter(|_| follows).cloned() {
        meta::set(object, "labels", labels);
    }
}

fn labels_of_pods(job: &Value) -> Option<&Map<String, Value>> {
    job.pointer("/spec/template/metadata/labels")?.as_object()
}

fn select(object: &mut Value) {
    let (uid, name) = (meta::uid(object).to_owned(), meta::name(object).to_owned());
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let template = entry(spec, "template");
    let labels = template.and_then(|template| entry(template, "metadata"));
    if let Some(labels) = labels.and_then(|metadata| entry(metadata, "labels")) {
        UID_LABELS.iter().for_each(|label| put(labels, label, &uid));
        NAME_LABELS.iter().for_each(|label| put(labels, label, &name));
    }
    let selector = entry(spec, "selector");
    if let Some(labels) = selector.and_then(|selector| entry(selector, "matchLabels")) {
        put(labels, UID_LABELS[0], &uid);
    }
}

fn entry<'a>(
    members: &'a mut Map<String, Value>,
    name: &str,
) -> Option<&'a mut Map<String, Value>> {
    members.entry(name).or_insert_with(|| json!({})).as_object_mut()
}

fn put(labels: &mut Map<String, Value>, label: &str, value: &str) {
    labels.entry(label).or_insert_with(|| json!(value));
}
