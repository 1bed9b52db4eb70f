//! What may change in a Pod's status: conditions have types, a container that ended for good stays
//! ended, and addresses are addresses.

use std::net::IpAddr;

use serde_json::Value;

use super::super::{Errors, complain, has, items, metadata, text};
use crate::field_error::{FieldError, Path};
use crate::names;

const STATUS: Path<'static> = Path::root("status");

/// Checks a changed status of a Pod.
pub fn validate_status_update(new: &Value, old: &Value) -> Errors {
    let mut errors = metadata::validate_update(new, old);
    let (status, before) = (&new["status"], &old["status"]);
    check_conditions(&mut errors, items(status, "conditions"));
    check_ips(&mut errors, items(status, "podIPs"));
    if text(&new["spec"], "nodeName") != text(&old["spec"], "nodeName") {
        let words = "may not be changed directly";
        errors.push(FieldError::forbidden("spec.nodeName", words));
    }
    for (list, restarts) in
        [("containerStatuses", "containers"), ("initContainerStatuses", "initContainers")]
    {
        let path = STATUS.child(list);
        let containers = items(&new["spec"], restarts);
        check_ended(&mut errors, &path, new, containers, items(status, list), items(before, list));
    }
    errors
}

fn check_conditions(errors: &mut Errors, conditions: &[Value]) {
    let path = STATUS.child("conditions");
    for (index, condition) in conditions.iter().enumerate() {
        let kind = text(condition, "type");
        let path = path.index(index);
        complain(errors, path.child("Type"), kind, names::qualified_name(kind));
    }
}

fn check_ips(errors: &mut Errors, ips: &[Value]) {
    let path = STATUS.child("podIPs");
    for (index, ip) in ips.iter().enumerate() {
        let ip = text(ip, "ip");
        if ip.parse::<IpAddr>().is_err() {
            let words = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
            errors.push(FieldError::invalid(path.index(index), ip, words));
        }
    }
}

/// A container that ended and may not restart cannot be anything else again.
fn check_ended(
    errors: &mut Errors,
    path: &Path<'_>,
    pod: &Value,
    containers: &[Value],
    new: &[Value],
    old: &[Value],
) {
    let policy = text(&pod["spec"], "restartPolicy");
    if policy == "Always" || policy.is_empty() {
        return;
    }
    for before in old {
        let ended = &before["state"]["terminated"];
        let code = ended["exitCode"].as_i64().unwrap_or_default();
        let name = text(before, "name");
        let container = containers.iter().find(|container| text(container, "name") == name);
        let own_policy = container.is_some_and(|container| has(container, "restartPolicy"));
        if ended.is_null() || own_policy || (policy == "OnFailure" && code != 0) {
            continue;
        }
        let found = new.iter().enumerate().find(|(_, status)| text(status, "name") == name);
        if let Some((index, status)) = found
            && status["state"]["terminated"].is_null()
        {
            let words = "may not be transitioned to non-terminated state";
            let path = path.index(index);
            errors.push(FieldError::forbidden(path.child("state"), words));
        }
    }
}
