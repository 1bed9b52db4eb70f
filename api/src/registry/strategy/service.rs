//! Services: addresses and ports that were allocated stay when an update leaves them out.

use serde_json::{Value, json};

use super::keep_status;

/// Starts without a load balancer.
pub fn create(object: &mut Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert("status".to_owned(), json!({"loadBalancer": {}}));
    }
}

/// Keeps status, and allocated addresses and ports where the new type still has them.
pub fn update(new: &mut Value, old: &Value) {
    keep_status(new, old);
    let kind = |service: &Value| text(service, "type").unwrap_or("ClusterIP").to_owned();
    let (new_type, old_type) = (kind(new), kind(old));
    let Some(old_spec) = old.get("spec") else { return };
    let Some(spec) = new.get_mut("spec") else { return };
    if new_type == "ExternalName" {
        drop_addresses(spec, &old_type);
        return;
    }
    if old_type != "ExternalName" {
        keep_addresses(spec, old_spec);
    }
    if has_node_ports(&new_type) && has_node_ports(&old_type) {
        keep_node_ports(spec, old_spec);
    }
    if !has_node_ports(&new_type) && has_node_ports(&old_type) {
        drop_node_ports(spec, old_spec);
    }
}

fn text<'a>(service: &'a Value, field: &str) -> Option<&'a str> {
    service.get("spec")?.get(field)?.as_str().filter(|text| !text.is_empty())
}

fn has_node_ports(service_type: &str) -> bool {
    service_type == "NodePort" || service_type == "LoadBalancer"
}

/// An address of its own makes no sense for an external name; it is dropped on a change of type.
fn drop_addresses(spec: &mut Value, old_type: &str) {
    if let Some(spec) = spec.as_object_mut()
        && old_type != "ExternalName"
    {
        spec.remove("clusterIP");
        spec.remove("clusterIPs");
    }
}

fn keep_addresses(spec: &mut Value, old: &Value) {
    let Some(spec) = spec.as_object_mut() else { return };
    let given = spec.get("clusterIP").and_then(Value::as_str).unwrap_or_default();
    if !given.is_empty() {
        if !spec.contains_key("clusterIPs") && old.get("clusterIP") == spec.get("clusterIP") {
            copy(spec, old, "clusterIPs");
        }
        return;
    }
    for field in ["clusterIP", "clusterIPs"] {
        copy(spec, old, field);
    }
}

fn copy(spec: &mut serde_json::Map<String, Value>, old: &Value, field: &str) {
    if let Some(value) = old.get(field) {
        spec.insert(field.to_owned(), value.clone());
    }
}

/// Gives a port without a node port the one that the same port had.
fn keep_node_ports(spec: &mut Value, old: &Value) {
    let old_ports = old.get("ports").and_then(Value::as_array).cloned().unwrap_or_default();
    let ports = spec.get_mut("ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten() {
        if node_port(port) != 0 {
            continue;
        }
        let same = old_ports.iter().find(|candidate| same_port(candidate, port));
        if let (Some(number), Some(port)) = (same.map(node_port), port.as_object_mut())
            && number != 0
        {
            port.insert("nodePort".to_owned(), json!(number));
        }
    }
}

/// Removes the node ports that were allocated for the former type; others are for validation.
fn drop_node_ports(spec: &mut Value, old: &Value) {
    let old_ports = old.get("ports").and_then(Value::as_array).cloned().unwrap_or_default();
    let ports = spec.get_mut("ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten() {
        let number = node_port(port);
        if let Some(fields) = port.as_object_mut()
            && old_ports.iter().any(|candidate| node_port(candidate) == number)
        {
            fields.remove("nodePort");
        }
    }
}

fn node_port(port: &Value) -> i64 {
    port.get("nodePort").and_then(Value::as_i64).unwrap_or_default()
}

fn same_port(one: &Value, other: &Value) -> bool {
    let protocol =
        |port: &Value| port.get("protocol").and_then(Value::as_str).unwrap_or("TCP").to_owned();
    one.get("port") == other.get("port") && protocol(one) == protocol(other)
}
