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
    if new_type != "LoadBalancer"
        && let Some(status) = new.get_mut("status")
    {
        status["loadBalancer"] = json!({});
    }
    let Some(spec) = new.get_mut("spec") else { return };
    drop_what_the_type_has_not(spec, old_spec, &new_type, &old_type);
    if new_type != "ExternalName" && old_type != "ExternalName" {
        keep_addresses(spec, old_spec);
    }
    if has_node_ports(&new_type) && has_node_ports(&old_type) {
        keep_node_ports(spec, old_spec);
    }
}

/// Leaves out what only the former type has, where the client has not changed it; what it has changed is for validation.
///
/// *Source:* `dropTypeDependentFields` of kube-apiserver.
fn drop_what_the_type_has_not(spec: &mut Value, old: &Value, new_type: &str, old_type: &str) {
    if new_type == "ExternalName" && old_type != "ExternalName" {
        let addresses = ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"];
        drop_same(spec, old, &addresses);
        drop_same(spec, old, &["internalTrafficPolicy"]);
    }
    if has_node_ports(old_type) && !has_node_ports(new_type) {
        drop_node_ports(spec, old);
        let external = spec.get("externalIPs").and_then(Value::as_array);
        if external.is_none_or(Vec::is_empty) {
            drop_same(spec, old, &["externalTrafficPolicy"]);
        }
    }
    if old_type == "LoadBalancer" && new_type != "LoadBalancer" {
        let fields = ["allocateLoadBalancerNodePorts", "healthCheckNodePort", "loadBalancerClass"];
        drop_same(spec, old, &fields);
    }
}

fn drop_same(spec: &mut Value, old: &Value, fields: &[&str]) {
    let Some(spec) = spec.as_object_mut() else { return };
    for field in fields {
        if spec.get(*field) == old.get(*field) {
            spec.remove(*field);
        }
    }
}

fn text<'a>(service: &'a Value, field: &str) -> Option<&'a str> {
    service.get("spec")?.get(field)?.as_str().filter(|text| !text.is_empty())
}

fn has_node_ports(service_type: &str) -> bool {
    service_type == "NodePort" || service_type == "LoadBalancer"
}

fn keep_addresses(spec: &mut Value, old: &Value) {
    let Some(spec) = spec.as_object_mut() else { return };
    let given = spec.get("clusterIP").and_then(Value::as_str).unwrap_or_default();
    if !given.is_empty() {
        let is_same = old.get("clusterIP") == spec.get("clusterIP");
        if is_same && !spec.contains_key("clusterIPs") {
            copy(spec, old, "clusterIPs");
        }
        // Who changes the one means the other too, and validation says whether that may be.
        if !is_same
            && old.get("clusterIPs") == spec.get("clusterIPs")
            && let Some(first) = spec.get("clusterIP").cloned()
            && let Some(place) = spec.get_mut("clusterIPs").and_then(|all| all.get_mut(0))
        {
            *place = first;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(old: Value, change: Value, expected: Value) {
        let old =
            json!({"spec": old, "status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}});
        let mut new = old.clone();
        for (field, value) in change.as_object().into_iter().flatten() {
            new["spec"][field] = value.clone();
        }
        update(&mut new, &old);
        assert_eq!(new["spec"], expected);
        let has_balancer = new["spec"]["type"] == "LoadBalancer";
        assert_eq!(new["status"]["loadBalancer"]["ingress"].is_array(), has_balancer);
    }

    #[test]
    fn a_change_of_type_leaves_out_what_was_of_the_old_one() {
        let ports = json!([{"port": 80, "nodePort": 30080}]);
        let addresses = json!({"type": "ClusterIP", "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"],
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"});
        let to_name = json!({"type": "ExternalName", "externalName": "a.b"});
        check(addresses.clone(), to_name.clone(), to_name.clone());
        let mut balanced = addresses.clone();
        balanced["type"] = json!("LoadBalancer");
        balanced["ports"] = ports;
        balanced["externalTrafficPolicy"] = json!("Cluster");
        balanced["allocateLoadBalancerNodePorts"] = json!(true);
        let mut plain = addresses.clone();
        plain["ports"] = json!([{"port": 80}]);
        check(balanced.clone(), json!({"type": "ClusterIP"}), plain);
        check(balanced.clone(), json!({"type": "LoadBalancer"}), balanced.clone());
        let mut named = to_name.clone();
        named["ports"] = json!([{"port": 80}]);
        check(balanced, to_name, named);
    }

    #[test]
    fn what_the_client_changes_is_for_validation() {
        let old = json!({"type": "ClusterIP", "clusterIP": "10.96.0.9"});
        let change = json!({"type": "ExternalName", "clusterIP": "10.96.0.10"});
        check(old, change.clone(), change);
    }
}
