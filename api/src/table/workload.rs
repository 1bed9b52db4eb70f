//! Deployments, ReplicaSets, ControllerRevisions.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    AGE, CONTAINERS, Column, IMAGES, NAME, Printer, SELECTOR, age, items, number, or, text,
};
use crate::meta;
use crate::selector::LabelSelector;

pub(super) const DEPLOYMENT: Printer = Printer {
    columns: &[
        NAME,
        Column::text("Ready", "Pods that are ready, of those wanted."),
        Column::integer("Up-to-date", "Pods that have the newest template."),
        Column::integer("Available", "Pods that have been ready for long enough."),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    row: |object, now| {
        let (spec, status) = (&object["spec"], &object["status"]);
        let ready = format!("{}/{}", number(status, "readyReplicas"), number(spec, "replicas"));
        let mut cells = vec![
            json!(meta::name(object)),
            json!(ready),
            json!(number(status, "updatedReplicas")),
            json!(number(status, "availableReplicas")),
            age(object, now),
        ];
        cells.extend(template(spec));
        cells.push(json!(selector(spec)));
        cells
    },
};

pub(super) const REPLICA_SET: Printer = Printer {
    columns: &[
        NAME,
        Column::integer("Desired", "Pods wanted."),
        Column::integer("Current", "Pods that exist."),
        Column::integer("Ready", "Pods that are ready."),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    row: |object, now| {
        let (spec, status) = (&object["spec"], &object["status"]);
        let mut cells = vec![
            json!(meta::name(object)),
            json!(number(spec, "replicas")),
            json!(number(status, "replicas")),
            json!(number(status, "readyReplicas")),
            age(object, now),
        ];
        cells.extend(template(spec));
        cells.push(json!(or(&selector(spec), "<none>")));
        cells
    },
};

pub(super) const CONTROLLER_REVISION: Printer = Printer {
    columns: &[
        NAME,
        Column::text("Controller", "Whose state it keeps."),
        Column::text("Revision", "Its number."),
        AGE,
    ],
    row: controller_revision,
};

fn controller_revision(object: &Value, now: Timestamp) -> Vec<Value> {
    let controller = match meta::controller_of(object) {
        None => "<none>".to_owned(),
        Some(owner) => {
            let kind = text(owner, "kind").to_lowercase();
            let group = text(owner, "apiVersion").split_once('/').map_or("", |(group, _)| group);
            let dot = if group.is_empty() { "" } else { "." };
            format!("{kind}{dot}{group}/{}", text(owner, "name"))
        }
    };
    let revision = number(object, "revision");
    vec![json!(meta::name(object)), json!(controller), json!(revision), age(object, now)]
}

/// Gives names and images of the template's containers.
fn template(spec: &Value) -> [Value; 2] {
    let containers = items(&spec["template"]["spec"], "containers");
    ["name", "image"].map(|field| {
        let parts: Vec<&str> = containers.iter().map(|container| text(container, field)).collect();
        json!(parts.join(","))
    })
}

fn selector(spec: &Value) -> String {
    match LabelSelector::from_value(&spec["selector"]) {
        Ok(selector) => selector.to_string(),
        Err(_) => "<invalid>".to_owned(),
    }
}
