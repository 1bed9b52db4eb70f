//! Containers of all three lists: pull policy, ports, probes, hooks, environment.

use serde_json::{Map, Value};

use super::fill::{Members, fill, fill_number, fill_pointer, inside, items, text};

/// Fills one container.
pub fn set(container: &mut Map<String, Value>) {
    if !text(container, "image").is_empty() || !container.contains_key("imagePullPolicy") {
        let policy = pull_policy(text(container, "image"));
        fill(container, "imagePullPolicy", policy);
    }
    fill(container, "terminationMessagePath", "/dev/termination-log");
    fill(container, "terminationMessagePolicy", "File");
    fill_pointer(container, "resources", Members::new());
    for port in items(container, "ports") {
        fill(port, "protocol", "TCP");
    }
    for variable in items(container, "env") {
        set_source(variable);
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = inside(container, name) {
            set_probe(probe);
        }
    }
    if let Some(lifecycle) = inside(container, "lifecycle") {
        for name in ["postStart", "preStop"] {
            if let Some(handler) = inside(lifecycle, name) {
                set_handler(handler);
            }
        }
    }
}

/// Returns the pull policy of an image reference: `Always` for `latest` and for no tag at all.
///
/// *Source:* `parsers.ParseImageName` and `SetDefaults_Container`.
pub fn pull_policy(image: &str) -> &'static str {
    if image.contains('@') {
        return "IfNotPresent";
    }
    let name = image.rsplit('/').next().unwrap_or(image);
    match name.split_once(':') {
        None | Some((_, "latest")) => "Always",
        Some(_) => "IfNotPresent",
    }
}

fn set_source(variable: &mut Members) {
    let Some(source) = inside(variable, "valueFrom") else { return };
    if let Some(field) = inside(source, "fieldRef") {
        fill(field, "apiVersion", "v1");
    }
    if let Some(file) = inside(source, "fileKeyRef") {
        fill_pointer(file, "optional", false);
    }
    if let Some(resource) = inside(source, "resourceFieldRef") {
        fill_pointer(resource, "divisor", "0");
    }
}

fn set_probe(probe: &mut Members) {
    set_handler(probe);
    fill_number(probe, "timeoutSeconds", 1);
    fill_number(probe, "periodSeconds", 10);
    fill_number(probe, "successThreshold", 1);
    fill_number(probe, "failureThreshold", 3);
}

fn set_handler(handler: &mut Members) {
    if let Some(http) = inside(handler, "httpGet") {
        fill(http, "path", "/");
        fill(http, "scheme", "HTTP");
    }
    if let Some(grpc) = inside(handler, "grpc") {
        fill_pointer(grpc, "service", "");
    }
}

/// On the host network a container port is the host's port.
pub(super) fn set_host_ports(container: &mut Members) {
    for port in items(container, "ports") {
        if let Some(number) = port.get("containerPort").and_then(Value::as_i64) {
            fill_number(port, "hostPort", number);
        }
    }
}

/// What is limited but not requested is requested up to the limit.
pub(super) fn set_requests(container: &mut Members) {
    let Some(resources) = inside(container, "resources") else { return };
    let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else { return };
    if limits.is_empty() {
        return;
    }
    let Some(requests) = super::fill::ensure(resources, "requests") else { return };
    for (name, amount) in limits {
        requests.entry(name).or_insert(amount);
    }
}
