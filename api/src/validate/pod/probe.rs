//! Rules for probes and life cycle hooks.

use serde_json::Value;

use super::super::{Errors, complain, has, items, non_negative, number, one_of, text};
use crate::field_error::{FieldError, Path};
use crate::names;

/// Kinds of action, in the order in which upstream looks at them.
const PROBE_HANDLERS: [&str; 4] = ["exec", "httpGet", "tcpSocket", "grpc"];
const HOOK_HANDLERS: [&str; 4] = ["exec", "httpGet", "tcpSocket", "sleep"];

/// Checks hooks and probes of a container at `path`; `grace` is the Pod's.
pub(super) fn check_all(
    errors: &mut Errors,
    path: &Path<'_>,
    container: &Value,
    grace: Option<i64>,
) {
    let lifecycle = path.child("lifecycle");
    for hook in ["postStart", "preStop"] {
        let handler = &container["lifecycle"][hook];
        if !handler.is_null() {
            check_handler(errors, &lifecycle.child(hook), handler, &HOOK_HANDLERS, grace);
        }
    }
    for field in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let probe = &container[field];
        if !probe.is_null() {
            check_probe(errors, &path.child(field), field, probe);
        }
    }
}

fn check_probe(errors: &mut Errors, path: &Path<'_>, field: &str, probe: &Value) {
    check_handler(errors, path, probe, &PROBE_HANDLERS, None);
    for field in [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ] {
        non_negative(errors, path.child(field), number(probe, field));
    }
    let grace = number(probe, "terminationGracePeriodSeconds");
    let grace_path = path.child("terminationGracePeriodSeconds");
    match grace {
        Some(seconds) if field == "readinessProbe" => {
            let words = "must not be set for readinessProbes";
            errors.push(FieldError::invalid(grace_path, seconds, words));
        }
        Some(seconds) if seconds <= 0 => {
            errors.push(FieldError::invalid(grace_path, seconds, "must be greater than 0"));
        }
        Some(_) | None => {}
    }
    let successes = number(probe, "successThreshold").unwrap_or(1);
    if field != "readinessProbe" && successes != 1 {
        let path = path.child("successThreshold");
        errors.push(FieldError::invalid(path, successes, "must be 1"));
    }
}

fn check_handler(
    errors: &mut Errors,
    path: &Path<'_>,
    handler: &Value,
    kinds: &[&str],
    grace: Option<i64>,
) {
    let mut number_of_kinds = 0;
    for kind in kinds.iter().filter(|kind| has(handler, kind)) {
        let (path, action) = (path.child(kind), &handler[kind]);
        if number_of_kinds > 0 {
            let words = "may not specify more than 1 handler type";
            errors.push(FieldError::forbidden(path, words));
            continue;
        }
        number_of_kinds += 1;
        match *kind {
            "exec" => {
                if items(action, "command").is_empty() {
                    errors.push(FieldError::required(path.child("command"), ""));
                }
            }
            "httpGet" => check_http_get(errors, &path, action),
            "tcpSocket" => check_port(errors, &path.child("port"), &action["port"]),
            "grpc" => check_port(errors, &path.child("port"), &action["port"]),
            _ => check_sleep(errors, &path, action, grace),
        }
    }
    if number_of_kinds == 0 {
        errors.push(FieldError::required(path, "must specify a handler type"));
    }
}

fn check_http_get(errors: &mut Errors, path: &Path<'_>, action: &Value) {
    if text(action, "path").is_empty() {
        errors.push(FieldError::required(path.child("path"), ""));
    }
    check_port(errors, &path.child("port"), &action["port"]);
    one_of(errors, path.child("scheme"), text(action, "scheme"), &["HTTP", "HTTPS"]);
    for header in items(action, "httpHeaders") {
        let name = text(header, "name");
        let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if name.is_empty() || !name.bytes().all(fits) {
            let words = "a valid HTTP header must consist of alphanumeric characters or '-' \
                         (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')";
            errors.push(FieldError::invalid(path.child("httpHeaders"), name, words));
        }
    }
}

/// Checks a port given by number or by name.
pub(in super::super) fn check_port(errors: &mut Errors, path: &Path<'_>, port: &Value) {
    match port {
        Value::String(name) => complain(errors, path, name, names::port_name(name)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            let port = port.as_i64().unwrap_or_default();
            complain(errors, path, port, names::port_number(port));
        }
    }
}

fn check_sleep(errors: &mut Errors, path: &Path<'_>, action: &Value, grace: Option<i64>) {
    let seconds = number(action, "seconds").unwrap_or_default();
    let grace = grace.unwrap_or_default();
    if seconds < 0 || seconds > grace {
        let words =
            format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
        errors.push(FieldError::invalid(path, seconds, words));
    }
}
