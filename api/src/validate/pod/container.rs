//! Rules for containers and init containers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::{Errors, complain, has, items, number, one_of, resources, text};
use super::{env, probe};
use crate::field_error::{FieldError, Path};
use crate::names;

/// What containers are checked against.
pub(super) struct Context<'a> {
    /// The PodSpec they are in.
    pub(super) spec: &'a Value,
    /// Names of the Pod's volumes.
    pub(super) volumes: &'a BTreeSet<&'a str>,
    /// Seconds of grace of the Pod.
    pub(super) grace: Option<i64>,
}

/// Checks all containers of a PodSpec at `path`.
pub(super) fn check_all(errors: &mut Errors, path: &Path<'_>, context: &Context<'_>) {
    let containers_path = path.child("containers");
    let containers = items(context.spec, "containers");
    if containers.is_empty() {
        errors.push(FieldError::required(containers_path, ""));
    }
    let mut seen = BTreeSet::new();
    for (index, container) in containers.iter().enumerate() {
        let path = containers_path.index(index);
        check_name(errors, &path, container, &mut seen);
        check_container(errors, &path, container, context);
        probe::check_all(errors, &path, container, context.grace);
        if has(container, "restartPolicy") {
            let policies = ["Always", "Never", "OnFailure"];
            let policy = text(container, "restartPolicy");
            one_of(errors, path.child("restartPolicy"), policy, &policies);
        }
    }
    check_host_ports(errors, &containers_path, containers);
    let init_path = path.child("initContainers");
    for (index, container) in items(context.spec, "initContainers").iter().enumerate() {
        let path = init_path.index(index);
        check_name(errors, &path, container, &mut seen);
        check_container(errors, &path, container, context);
        check_init(errors, &path, container, context);
    }
}

pub(super) fn check_name<'a>(
    errors: &mut Errors,
    path: &Path<'_>,
    container: &'a Value,
    seen: &mut BTreeSet<&'a str>,
) {
    let name = text(container, "name");
    let path = path.child("name");
    if name.is_empty() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    complain(errors, path, name, names::dns1123_label(name));
    if !seen.insert(name) {
        errors.push(FieldError::duplicate(path, name));
    }
}

/// An init container runs to its end, so it has neither probes nor hooks unless it is a side-car.
fn check_init(errors: &mut Errors, path: &Path<'_>, container: &Value, context: &Context<'_>) {
    let policy = text(container, "restartPolicy");
    if has(container, "restartPolicy") {
        let policies = ["Always", "Never", "OnFailure"];
        one_of(errors, path.child("restartPolicy"), policy, &policies);
    }
    if policy == "Always" {
        probe::check_all(errors, path, container, context.grace);
        return;
    }
    for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
        if has(container, field) {
            let words = "may not be set for init containers without restartPolicy=Always";
            errors.push(FieldError::forbidden(path.child(field), words));
        }
    }
}

pub(super) fn check_container(
    errors: &mut Errors,
    path: &Path<'_>,
    container: &Value,
    context: &Context<'_>,
) {
    if text(container, "image").is_empty() {
        errors.push(FieldError::required(path.child("image"), ""));
    }
    let policy = text(container, "terminationMessagePolicy");
    let policies = ["FallbackToLogsOnError", "File"];
    one_of(errors, path.child("terminationMessagePolicy"), policy, &policies);
    let policy = text(container, "imagePullPolicy");
    let policies = ["Always", "IfNotPresent", "Never"];
    one_of(errors, path.child("imagePullPolicy"), policy, &policies);
    check_ports(errors, &path.child("ports"), items(container, "ports"));
    env::check(errors, path, container);
    check_mounts(errors, &path.child("volumeMounts"), container, context.volumes);
    resources::check(errors, &path.child("resources"), &container["resources"]);
}

fn check_ports(errors: &mut Errors, path: &Path<'_>, ports: &[Value]) {
    let mut seen = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        let name = text(port, "name");
        if !name.is_empty() {
            let complaints = names::port_name(name);
            if complaints.is_empty() && !seen.insert(name) {
                errors.push(FieldError::duplicate(path.child("name"), name));
            }
            complain(errors, path.child("name"), name, complaints);
        }
        match number(port, "containerPort").unwrap_or_default() {
            0 => errors.push(FieldError::required(path.child("containerPort"), "")),
            port => complain(errors, path.child("containerPort"), port, names::port_number(port)),
        }
        let host = number(port, "hostPort").unwrap_or_default();
        if host != 0 {
            complain(errors, path.child("hostPort"), host, names::port_number(host));
        }
        let protocols = ["SCTP", "TCP", "UDP"];
        one_of(errors, path.child("protocol"), text(port, "protocol"), &protocols);
    }
}

/// Refuses two containers that want the same port of the host.
fn check_host_ports(errors: &mut Errors, path: &Path<'_>, containers: &[Value]) {
    let mut seen = BTreeSet::new();
    for (index, container) in containers.iter().enumerate() {
        let path = path.index(index);
        let path = path.child("ports");
        for (index, port) in items(container, "ports").iter().enumerate() {
            let host = number(port, "hostPort").unwrap_or_default();
            let key = format!("{}/{}/{host}", text(port, "protocol"), text(port, "hostIP"));
            if host != 0 && !seen.insert(key.clone()) {
                let path = path.index(index);
                errors.push(FieldError::duplicate(path.child("hostPort"), key));
            }
        }
    }
}

fn check_mounts(errors: &mut Errors, path: &Path<'_>, container: &Value, volumes: &BTreeSet<&str>) {
    let mut seen: BTreeMap<&str, ()> = BTreeMap::new();
    for (index, mount) in items(container, "volumeMounts").iter().enumerate() {
        let path = path.index(index);
        let name = text(mount, "name");
        if name.is_empty() {
            errors.push(FieldError::required(path.child("name"), ""));
        }
        if !volumes.contains(name) {
            errors.push(FieldError::not_found(path.child("name"), name));
        }
        let at = text(mount, "mountPath");
        if at.is_empty() {
            errors.push(FieldError::required(path.child("mountPath"), ""));
        }
        if seen.insert(at, ()).is_some() {
            errors.push(FieldError::invalid(path.child("mountPath"), at, "must be unique"));
        }
        let (sub_path, sub_path_expr) = (text(mount, "subPath"), text(mount, "subPathExpr"));
        check_local_path(errors, &path.child("subPath"), sub_path);
        check_local_path(errors, &path.child("subPathExpr"), sub_path_expr);
        if !sub_path.is_empty() && !sub_path_expr.is_empty() {
            let words = "subPathExpr and subPath are mutually exclusive";
            errors.push(FieldError::invalid(path.child("subPathExpr"), sub_path_expr, words));
        }
        check_propagation(errors, &path, mount);
    }
}

fn check_propagation(errors: &mut Errors, path: &Path<'_>, mount: &Value) {
    if has(mount, "mountPropagation") {
        let supported = ["Bidirectional", "HostToContainer", "None"];
        let value = text(mount, "mountPropagation");
        one_of(errors, path.child("mountPropagation"), value, &supported);
    }
    if has(mount, "recursiveReadOnly") {
        let supported = ["Disabled", "Enabled", "IfPossible"];
        let value = text(mount, "recursiveReadOnly");
        one_of(errors, path.child("recursiveReadOnly"), value, &supported);
    }
}

/// Refuses paths that are absolute or climb.
pub(super) fn check_local_path(errors: &mut Errors, path: &Path<'_>, value: &str) {
    if value.starts_with('/') {
        errors.push(FieldError::invalid(path, value, "must be a relative path"));
    }
    check_no_climb(errors, path, value);
}

/// Refuses paths with a `..` step.
pub(super) fn check_no_climb(errors: &mut Errors, path: &Path<'_>, value: &str) {
    if value.split('/').any(|step| step == "..") {
        errors.push(FieldError::invalid(path, value, "must not contain '..'"));
    }
}
