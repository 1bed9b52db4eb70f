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
        Column::text("Up-to-date", "Pods that have the newest template."),
        Column::text("Available", "Pods that have been ready for long enough."),
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
pub(super) fn template(spec: &Value) -> [Value; 2] {
    let containers = items(&spec["template"]["spec"], "containers");
    ["name", "image"].map(|field| {
        let parts: Vec<&str> = containers.iter().map(|container| text(container, field)).collect();
        json!(parts.join(","))
    })
}

pub(super) fn selector(spec: &Value) -> String {
    match LabelSelector::from_value(&spec["selector"]) {
        Ok(selector) => selector.to_string(),
        Err(_) => "<invalid>".to_owned(),
    }
}

pub(super) const STATEFUL_SET: Printer = Printer {
    columns: &[
        NAME,
        Column::text("Ready", "Pods that are ready, of those wanted."),
        AGE,
        CONTAINERS,
        IMAGES,
    ],
    row: |object, now| {
        let (spec, status) = (&object["spec"], &object["status"]);
        let ready = format!("{}/{}", number(status, "readyReplicas"), number(spec, "replicas"));
        let mut cells = vec![json!(meta::name(object)), json!(ready), age(object, now)];
        cells.extend(template(spec));
        cells
    },
};

pub(super) const DAEMON_SET: Printer = Printer {
    columns: &[
        NAME,
        Column::integer("Desired", "Nodes that should run a pod."),
        Column::integer("Current", "Nodes that run a pod and should."),
        Column::integer("Ready", "Pods that are ready."),
        Column::integer("Up-to-date", "Pods that have the newest template."),
        Column::integer("Available", "Pods that have been ready for long enough."),
        Column::text("Node Selector", "Labels of the nodes."),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    row: |object, now| {
        let (spec, status) = (&object["spec"], &object["status"]);
        let nodes = LabelSelector::from_map(&spec["template"]["spec"]["nodeSelector"]).to_string();
        let count = |field: &str| json!(number(status, field));
        let mut cells = vec![
            json!(meta::name(object)),
            count("desiredNumberScheduled"),
            count("currentNumberScheduled"),
            count("numberReady"),
            count("updatedNumberScheduled"),
            count("numberAvailable"),
            json!(or(&nodes, "<none>")),
            age(object, now),
        ];
        cells.extend(template(spec));
        cells.push(json!(selector(spec)));
        cells
    },
};

pub(super) const REPLICATION_CONTROLLER: Printer = Printer {
    columns: REPLICA_SET.columns,
    row: |object, now| {
        let (spec, status) = (&object["spec"], &object["status"]);
        let chosen = LabelSelector::from_map(&spec["selector"]).to_string();
        let mut cells = vec![
            json!(meta::name(object)),
            json!(number(spec, "replicas")),
            json!(number(status, "replicas")),
            json!(number(status, "readyReplicas")),
            age(object, now),
        ];
        cells.extend(template(spec));
        cells.push(json!(or(&chosen, "<none>")));
        cells
    },
};

pub(super) const POD_TEMPLATE: Printer = Printer {
    columns: &[
        NAME,
        Column::text("Containers", "Names of the containers in the template."),
        Column::text("Images", "Images of the containers in the template."),
        Column::text("Pod Labels", "Labels of the pods made from it."),
    ],
    row: |object, _| {
        let labels = LabelSelector::from_map(&object["template"]["metadata"]["labels"]).to_string();
        let [names, images] = template(object);
        vec![json!(meta::name(object)), names, images, json!(or(&labels, "<none>"))]
    },
};
