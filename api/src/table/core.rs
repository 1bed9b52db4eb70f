//! Small kinds of the core: Namespace, ConfigMap, Secret, Lease, PriorityClass.

use serde_json::{Map, Value, json};

use super::{AGE, Column, NAME, Printer, age, number, text};
use crate::meta;

pub(super) const NAMESPACE: Printer = Printer {
    columns: &[NAME, Column::text("Status", "Whether it is in use or being deleted."), AGE],
    row: |object, now| {
        vec![json!(meta::name(object)), json!(text(&object["status"], "phase")), age(object, now)]
    },
};

pub(super) const CONFIG_MAP: Printer = Printer {
    columns: &[NAME, Column::text("Data", "Number of keys."), AGE],
    row: |object, now| {
        let keys = keys(&object["data"]) + keys(&object["binaryData"]);
        vec![json!(meta::name(object)), json!(keys), age(object, now)]
    },
};

pub(super) const SECRET: Printer = Printer {
    columns: &[
        NAME,
        Column::text("Type", "What the keys are for."),
        Column::text("Data", "Number of keys."),
        AGE,
    ],
    row: |object, now| {
        let data = keys(&object["data"]);
        vec![json!(meta::name(object)), json!(text(object, "type")), json!(data), age(object, now)]
    },
};

pub(super) const LEASE: Printer = Printer {
    columns: &[NAME, Column::text("Holder", "Who holds it."), AGE],
    row: |object, now| {
        let holder = text(&object["spec"], "holderIdentity");
        vec![json!(meta::name(object)), json!(holder), age(object, now)]
    },
};

pub(super) const PRIORITY_CLASS: Printer = Printer {
    columns: &[
        NAME,
        Column::integer("Value", "Priority of the pods of this class; higher goes first."),
        Column::boolean("Global-Default", "Whether pods without a class get this one."),
        AGE,
        Column::text("PreemptionPolicy", "Whether its pods may displace others."),
    ],
    row: |object, now| {
        vec![
            json!(meta::name(object)),
            json!(number(object, "value")),
            json!(object["globalDefault"] == Value::Bool(true)),
            age(object, now),
            json!(text(object, "preemptionPolicy")),
        ]
    },
};

fn keys(map: &Value) -> usize {
    map.as_object().map_or(0, Map::len)
}

pub(super) const RUNTIME_CLASS: Printer = Printer {
    columns: &[NAME, Column::text("Handler", "What runs its pods."), AGE],
    row: |object, now| {
        vec![json!(meta::name(object)), json!(text(object, "handler")), age(object, now)]
    },
};

pub(super) const COMPONENT_STATUS: Printer = Printer {
    columns: &[
        NAME,
        Column::text("Status", "Whether it is healthy."),
        Column::text("Message", "What it says."),
        Column::text("Error", "What is wrong with it."),
    ],
    row: |object, _| {
        let conditions = object["conditions"].as_array();
        let healthy = conditions
            .and_then(|list| list.iter().find(|condition| condition["type"] == "Healthy"))
            .unwrap_or(&Value::Null);
        let status = match text(healthy, "status") {
            "True" => "Healthy",
            "False" => "Unhealthy",
            _ => "Unknown",
        };
        let [message, error] = ["message", "error"].map(|field| json!(text(healthy, field)));
        vec![json!(meta::name(object)), json!(status), message, error]
    },
};
