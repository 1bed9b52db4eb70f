//! Bindings of roles, signing requests, webhooks, policies and API services.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{AGE, Column, NAME, Printer, age, items, or, text};
use crate::meta;
use crate::text::human_duration;

pub(super) const ROLE_BINDING: Printer = Printer {
    columns: &[
        NAME,
        Column::text("Role", "What it allows."),
        AGE,
        Column::wide("Users", "Users to whom it is allowed."),
        Column::wide("Groups", "Groups to which it is allowed."),
        Column::wide("ServiceAccounts", "Service accounts to which it is allowed."),
    ],
    row: |object, now| {
        let role = &object["roleRef"];
        let subjects = |kind: &str| {
            let found = items(object, "subjects").iter().filter(|subject| subject["kind"] == kind);
            let names = found.map(|subject| match kind {
                "ServiceAccount" => {
                    format!("{}/{}", text(subject, "namespace"), text(subject, "name"))
                }
                _ => text(subject, "name").to_owned(),
            });
            json!(names.collect::<Vec<String>>().join(", "))
        };
        vec![
            json!(meta::name(object)),
            json!(format!("{}/{}", text(role, "kind"), text(role, "name"))),
            age(object, now),
            subjects("User"),
            subjects("Group"),
            subjects("ServiceAccount"),
        ]
    },
};

pub(super) const SIGNING_REQUEST: Printer = Printer {
    columns: &[
        NAME,
        AGE,
        Column::text("SignerName", "Who is to sign."),
        Column::text("Requestor", "Who asks."),
        Column::text("RequestedDuration", "How long the certificate should last."),
        Column::text("Condition", "How far it is."),
    ],
    row: |object, now| {
        let spec = &object["spec"];
        let asked = spec["expirationSeconds"].as_i64().map(human_duration);
        vec![
            json!(meta::name(object)),
            age(object, now),
            json!(or(text(spec, "signerName"), "<none>")),
            json!(text(spec, "username")),
            json!(asked.unwrap_or_else(|| "<none>".to_owned())),
            json!(signing_state(&object["status"])),
        ]
    },
};

fn signing_state(status: &Value) -> String {
    let has = |name: &str| items(status, "conditions").iter().any(|c| c["type"] == name);
    let mut state = if has("Denied") {
        "Denied"
    } else if has("Approved") {
        "Approved"
    } else {
        "Pending"
    }
    .to_owned();
    if has("Failed") {
        state.push_str(",Failed");
    }
    if !text(status, "certificate").is_empty() {
        state.push_str(",Issued");
    }
    state
}

pub(super) const WEBHOOKS: Printer = Printer {
    columns: &[NAME, Column::integer("Webhooks", "Number of webhooks."), AGE],
    row: |object, now| {
        vec![json!(meta::name(object)), json!(items(object, "webhooks").len()), age(object, now)]
    },
};

pub(super) const POLICY: Printer = Printer {
    columns: &[
        NAME,
        Column::integer("Validations", "Number of rules."),
        Column::text("ParamKind", "Kind of its parameters."),
        AGE,
    ],
    row: |object, now| policy_row(object, "validations", now),
};

pub(super) const MUTATING_POLICY: Printer = Printer {
    columns: &[
        NAME,
        Column::integer("Mutations", "Number of changes."),
        Column::text("ParamKind", "Kind of its parameters."),
        AGE,
    ],
    row: |object, now| policy_row(object, "mutations", now),
};

fn policy_row(object: &Value, list: &str, now: Timestamp) -> Vec<Value> {
    let spec = &object["spec"];
    let kind = &spec["paramKind"];
    let kind = if kind.is_null() {
        "<unset>".to_owned()
    } else {
        format!("{}/{}", text(kind, "apiVersion"), text(kind, "kind"))
    };
    let rules = items(spec, list).len();
    vec![json!(meta::name(object)), json!(rules), json!(kind), age(object, now)]
}

pub(super) const POLICY_BINDING: Printer = Printer {
    columns: &[
        NAME,
        Column::text("PolicyName", "The policy that it puts into force."),
        Column::text("ParamRef", "Where its parameters are."),
        AGE,
    ],
    row: |object, now| {
        let spec = &object["spec"];
        let reference = &spec["paramRef"];
        let (space, name) = (text(reference, "namespace"), or(text(reference, "name"), "*"));
        let slash = if space.is_empty() { "" } else { "/" };
        let given = format!("{space}{slash}{name}");
        let parameters = if reference.is_null() { "<unset>" } else { &given };
        vec![
            json!(meta::name(object)),
            json!(text(spec, "policyName")),
            json!(parameters),
            age(object, now),
        ]
    },
};

pub(super) const API_SERVICE: Printer = Printer {
    columns: &[
        NAME,
        Column::text("Service", "Who serves the group; `Local` is this server."),
        Column::text("Available", "Whether it can be reached."),
        AGE,
    ],
    row: |object, now| {
        let found = &object["spec"]["service"];
        let service = if found.is_null() {
            "Local".to_owned()
        } else {
            format!("{}/{}", text(found, "namespace"), text(found, "name"))
        };
        let conditions = items(&object["status"], "conditions");
        let available = match conditions.iter().find(|found| found["type"] == "Available") {
            None => "Unknown".to_owned(),
            Some(found) if found["status"] == "True" => "True".to_owned(),
            Some(found) => format!("{} ({})", text(found, "status"), text(found, "reason")),
        };
        vec![json!(meta::name(object)), json!(service), json!(available), age(object, now)]
    },
};
