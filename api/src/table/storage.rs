//! Volumes, claims, classes and the objects of storage drivers; devices.

use serde_json::{Value, json};

use super::{AGE, Column, NAME, Printer, age, items, number, or, text};
use crate::meta;

/// Marks the class that claims without one get.
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";

const CLASS: Column = Column::text("StorageClass", "Class that it belongs to.");
const ATTRIBUTES: Column = Column::text("VolumeAttributesClass", "Class of its attributes.");
const CAPACITY: Column = Column::text("Capacity", "How much it holds.");
const ACCESS: Column = Column::text("Access Modes", "Who may use it at once.");
const MODE: Column = Column::wide("VolumeMode", "File system or block device.");
const STATUS: Column = Column::text("Status", "How far it is.");

pub(super) const VOLUME: Printer = Printer {
    columns: &[
        NAME,
        CAPACITY,
        ACCESS,
        Column::text("Reclaim Policy", "What becomes of it after its claim."),
        STATUS,
        Column::text("Claim", "Whose it is."),
        CLASS,
        ATTRIBUTES,
        Column::text("Reason", "Why it is in this state."),
        AGE,
        MODE,
    ],
    row: |object, now| {
        let (spec, status) = (&object["spec"], &object["status"]);
        let claim = &spec["claimRef"];
        let claim = if claim.is_null() {
            String::new()
        } else {
            format!("{}/{}", text(claim, "namespace"), text(claim, "name"))
        };
        vec![
            json!(meta::name(object)),
            json!(text(&spec["capacity"], "storage")),
            json!(access_modes(spec)),
            json!(text(spec, "persistentVolumeReclaimPolicy")),
            json!(phase(object)),
            json!(claim),
            json!(text(spec, "storageClassName")),
            json!(or(text(spec, "volumeAttributesClassName"), "<unset>")),
            json!(text(status, "reason")),
            age(object, now),
            json!(or(text(spec, "volumeMode"), "<unset>")),
        ]
    },
};

pub(super) const CLAIM: Printer = Printer {
    columns: &[
        NAME,
        STATUS,
        Column::text("Volume", "The volume that it got."),
        CAPACITY,
        ACCESS,
        CLASS,
        ATTRIBUTES,
        AGE,
        MODE,
    ],
    row: |object, now| {
        let (spec, status) = (&object["spec"], &object["status"]);
        let volume = text(spec, "volumeName");
        let bound = |cell: String| if volume.is_empty() { String::new() } else { cell };
        vec![
            json!(meta::name(object)),
            json!(phase(object)),
            json!(volume),
            json!(bound(text(&status["capacity"], "storage").to_owned())),
            json!(bound(access_modes(status))),
            json!(text(spec, "storageClassName")),
            json!(or(text(spec, "volumeAttributesClassName"), "<unset>")),
            age(object, now),
            json!(or(text(spec, "volumeMode"), "<unset>")),
        ]
    },
};

fn phase(object: &Value) -> &str {
    let going = meta::deletion_timestamp(object).is_some();
    if going { "Terminating" } else { text(&object["status"], "phase") }
}

/// Writes access modes by their letters, each once and in a fixed order.
fn access_modes(place: &Value) -> String {
    const LETTERS: [(&str, &str); 4] = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let modes = items(place, "accessModes");
    let shown = LETTERS.iter().filter(|(mode, _)| modes.iter().any(|found| found == mode));
    shown.map(|(_, letters)| *letters).collect::<Vec<&str>>().join(",")
}

pub(super) const STORAGE_CLASS: Printer = Printer {
    columns: &[
        NAME,
        Column::text("Provisioner", "Who makes its volumes."),
        Column::text("ReclaimPolicy", "What becomes of a volume after its claim."),
        Column::text("VolumeBindingMode", "When a claim gets its volume."),
        Column::boolean("AllowVolumeExpansion", "Whether a claim may grow."),
        AGE,
    ],
    row: |object, now| {
        let is_default = object["metadata"]["annotations"][DEFAULT_CLASS] == "true";
        let suffix = if is_default { " (default)" } else { "" };
        vec![
            json!(format!("{}{suffix}", meta::name(object))),
            json!(text(object, "provisioner")),
            json!(or(text(object, "reclaimPolicy"), "Delete")),
            json!(or(text(object, "volumeBindingMode"), "Immediate")),
            json!(object["allowVolumeExpansion"] == true),
            age(object, now),
        ]
    },
};

pub(super) const ATTACHMENT: Printer = Printer {
    columns: &[
        NAME,
        Column::text("Attacher", "The driver that attaches."),
        Column::text("PV", "The volume."),
        Column::text("Node", "The node."),
        Column::boolean("Attached", "Whether it is attached."),
        AGE,
    ],
    row: |object, now| {
        let spec = &object["spec"];
        vec![
            json!(meta::name(object)),
            json!(text(spec, "attacher")),
            json!(text(&spec["source"], "persistentVolumeName")),
            json!(text(spec, "nodeName")),
            json!(object["status"]["attached"] == true),
            age(object, now),
        ]
    },
};

pub(super) const DRIVER: Printer = Printer {
    columns: &[
        NAME,
        Column::boolean("AttachRequired", "Whether volumes are attached before they are mounted."),
        Column::boolean("PodInfoOnMount", "Whether the driver hears of the pod."),
        Column::boolean("StorageCapacity", "Whether it publishes how much is free."),
        Column::text("TokenRequests", "Audiences of the tokens that it gets."),
        Column::boolean("RequiresRepublish", "Whether mounts are renewed."),
        Column::text("Modes", "Life cycles of its volumes."),
        AGE,
    ],
    row: |object, now| {
        let spec = &object["spec"];
        let tokens: Vec<&str> =
            items(spec, "tokenRequests").iter().map(|request| text(request, "audience")).collect();
        let modes: Vec<&str> =
            items(spec, "volumeLifecycleModes").iter().filter_map(Value::as_str).collect();
        vec![
            json!(meta::name(object)),
            json!(spec["attachRequired"] != false),
            json!(spec["podInfoOnMount"] == true),
            json!(spec["storageCapacity"] == true),
            json!(or(&tokens.join(","), "<unset>")),
            json!(spec["requiresRepublish"] == true),
            json!(or(&modes.join(","), "<none>")),
            age(object, now),
        ]
    },
};

pub(super) const STORAGE_NODE: Printer = Printer {
    columns: &[NAME, Column::integer("Drivers", "Drivers on the node."), AGE],
    row: |object, now| {
        let drivers = items(&object["spec"], "drivers").len();
        vec![json!(meta::name(object)), json!(drivers), age(object, now)]
    },
};

pub(super) const STORAGE_CAPACITY: Printer = Printer {
    columns: &[
        NAME,
        Column::text("StorageClassName", "Class of the storage."),
        Column::text("Capacity", "How much is free."),
    ],
    row: |object, _| {
        vec![
            json!(meta::name(object)),
            json!(text(object, "storageClassName")),
            json!(or(text(object, "capacity"), "<unset>")),
        ]
    },
};

pub(super) const ATTRIBUTES_CLASS: Printer = Printer {
    columns: &[NAME, Column::text("DriverName", "The driver that knows it."), AGE],
    row: |object, now| {
        vec![json!(meta::name(object)), json!(text(object, "driverName")), age(object, now)]
    },
};

pub(super) const RESOURCE_CLAIM: Printer = Printer {
    columns: &[NAME, Column::text("State", "How far it is."), AGE],
    row: |object, now| {
        let status = &object["status"];
        let states = [
            (meta::deletion_timestamp(object).is_some(), "deleted"),
            (!status["allocation"].is_null(), "allocated"),
            (!items(status, "reservedFor").is_empty(), "reserved"),
        ];
        let found: Vec<&str> = states.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
        let state = found.join(",");
        vec![json!(meta::name(object)), json!(or(&state, "pending")), age(object, now)]
    },
};

pub(super) const RESOURCE_SLICE: Printer = Printer {
    columns: &[
        NAME,
        Column::text("Node", "The node that has the devices."),
        Column::text("Driver", "The driver of the devices."),
        Column::text("Pool", "The pool that they belong to."),
        AGE,
    ],
    row: |object, now| {
        let spec = &object["spec"];
        vec![
            json!(meta::name(object)),
            json!(or(text(spec, "nodeName"), "<unset>")),
            json!(text(spec, "driver")),
            json!(text(&spec["pool"], "name")),
            age(object, now),
        ]
    },
};

pub(super) const RESOURCE_QUOTA: Printer = Printer {
    columns: &[
        NAME,
        Column::text("Request", "What is used of what may be requested."),
        Column::text("Limit", "What is used of the sum of limits."),
        AGE,
    ],
    row: |object, now| {
        let status = &object["status"];
        let used = |name: &str| or(text(&status["used"], name), "0").to_owned();
        let (mut requests, mut limits) = (vec![], vec![]);
        for (name, hard) in status["hard"].as_object().into_iter().flatten() {
            let cell = format!("{name}: {}/{}", used(name), hard.as_str().unwrap_or_default());
            let list = if name.starts_with("limits") { &mut limits } else { &mut requests };
            list.push(cell);
        }
        let name = json!(meta::name(object));
        vec![name, json!(requests.join(", ")), json!(limits.join(", ")), age(object, now)]
    },
};

pub(super) const FLOW_SCHEMA: Printer = Printer {
    columns: &[
        NAME,
        Column::text("PriorityLevel", "Where its requests go."),
        Column::integer("MatchingPrecedence", "Lower is asked first."),
        Column::text("DistinguisherMethod", "By what requests are told apart."),
        AGE,
        Column::text("MissingPL", "Whether its priority level is missing."),
    ],
    row: |object, now| {
        let spec = &object["spec"];
        let dangling = items(&object["status"], "conditions")
            .iter()
            .find(|condition| condition["type"] == "Dangling")
            .map_or("?", |condition| text(condition, "status"));
        vec![
            json!(meta::name(object)),
            json!(text(&spec["priorityLevelConfiguration"], "name")),
            json!(number(spec, "matchingPrecedence")),
            json!(or(text(&spec["distinguisherMethod"], "type"), "<none>")),
            age(object, now),
            json!(dangling),
        ]
    },
};

pub(super) const PRIORITY_LEVEL: Printer = Printer {
    columns: &[
        NAME,
        Column::text("Type", "Whether it is limited."),
        Column::text("NominalConcurrencyShares", "Its share of what the server does at once."),
        Column::text("Queues", "Number of queues."),
        Column::text("HandSize", "Queues that one flow is spread over."),
        Column::text("QueueLengthLimit", "Longest queue."),
        AGE,
    ],
    row: |object, now| {
        let spec = &object["spec"];
        let limited = &spec["limited"];
        let shown = |value: &Value| match value.as_i64() {
            Some(number) => json!(number),
            None => json!("<none>"),
        };
        let queuing = &limited["limitResponse"]["queuing"];
        let shares = if limited.is_null() { &spec["exempt"] } else { limited };
        vec![
            json!(meta::name(object)),
            json!(text(spec, "type")),
            shown(&shares["nominalConcurrencyShares"]),
            shown(&queuing["queues"]),
            shown(&queuing["handSize"]),
            shown(&queuing["queueLengthLimit"]),
            age(object, now),
        ]
    },
};
