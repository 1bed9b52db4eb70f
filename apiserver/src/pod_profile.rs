//! Fields of pods that Kubernetes defines and that have no meaning for WebAssembly components.
//!
//! They are stored and returned; whoever writes one is told so in a `Warning` header. Nothing is dropped silently,
//! nothing pretends.

use coracle_api::registry::Kind;
use serde_json::Value;

use crate::warnings::{below, template_of};

/// Fields of a pod's spec, as JSON pointers, and why they do nothing.
const POD_FIELDS: [(&str, &str); 12] = [
    ("hostPID", "components have no process table to share"),
    ("hostIPC", "components have no IPC namespace"),
    ("hostUsers", "components have no user namespace"),
    ("shareProcessNamespace", "components have no process table to share"),
    ("securityContext/runAsUser", "components have no user ids"),
    ("securityContext/runAsGroup", "components have no group ids"),
    ("securityContext/supplementalGroups", "components have no group ids"),
    ("securityContext/fsGroup", "components have no group ids"),
    ("securityContext/seLinuxOptions", "components are isolated by WebAssembly, not by SELinux"),
    ("securityContext/seccompProfile", "components make no system calls"),
    ("securityContext/appArmorProfile", "components are isolated by WebAssembly, not by AppArmor"),
    ("securityContext/sysctls", "components have no kernel of their own"),
];

/// Fields of a container, as JSON pointers, and why they do nothing.
const CONTAINER_FIELDS: [(&str, &str); 10] = [
    ("securityContext/privileged", "components have no privileges to gain"),
    ("securityContext/allowPrivilegeEscalation", "components have no privileges to gain"),
    ("securityContext/capabilities/add", "components have no Linux capabilities"),
    ("securityContext/runAsUser", "components have no user ids"),
    ("securityContext/runAsGroup", "components have no group ids"),
    ("securityContext/seLinuxOptions", "components are isolated by WebAssembly, not by SELinux"),
    ("securityContext/seccompProfile", "components make no system calls"),
    ("securityContext/appArmorProfile", "components are isolated by WebAssembly, not by AppArmor"),
    ("securityContext/procMount", "components have no /proc"),
    ("volumeDevices", "components see no block devices"),
];

/// The warnings for an object that is being written: about the pod, or about the pod template it holds.
pub fn warnings(kind: &Kind, object: &Value) -> Vec<String> {
    if (kind.group, kind.kind) == ("", "Service") {
        return sctp(&object["spec"]["ports"], "spec.ports").collect();
    }
    let Some(template) = template_of(kind) else { return Vec::new() };
    let path = &below(template, "spec");
    let pointer = format!("/{}", path.replace('.', "/"));
    let Some(spec) = object.pointer(&pointer) else { return Vec::new() };
    let mut found = without_meaning(spec, path, &POD_FIELDS);
    found.extend(root_of_host(spec, path));
    for list in ["initContainers", "containers"] {
        for (index, container) in spec[list].as_array().into_iter().flatten().enumerate() {
            let path = format!("{path}.{list}[{index}]");
            found.extend(without_meaning(container, &path, &CONTAINER_FIELDS));
            found.extend(sctp(&container["ports"], &format!("{path}.ports")));
        }
    }
    found
}

/// A warning about a pod that wants to see all of its host's files, as `kubectl debug node/…` makes one: its owner
/// waits at a terminal and does not look for events.
fn root_of_host(spec: &Value, path: &str) -> Option<String> {
    let mut volumes = spec["volumes"].as_array().into_iter().flatten();
    let index = volumes.position(|volume| volume["hostPath"]["path"] == "/")?;
    let network = spec["hostNetwork"] == true;
    let flags = if network { " and --allow-host-network" } else { "" };
    Some(format!(
        "{path}.volumes[{index}].hostPath: the pod waits unless its host was started with --allow-host-path=/{flags}"
    ))
}

/// Warnings about ports of SCTP, of which WASI has no sockets.
fn sctp(ports: &Value, path: &str) -> impl Iterator<Item = String> {
    let ports = ports.as_array().into_iter().flatten().enumerate();
    ports.filter(|(_, port)| port["protocol"] == "SCTP").map(move |(index, _)| {
        format!(
            "{path}[{index}].protocol: SCTP has no effect on Coracle: components have sockets of TCP and UDP only, so nothing is led to this port"
        )
    })
}

fn without_meaning(value: &Value, path: &str, fields: &[(&str, &str)]) -> Vec<String> {
    let set = |field: &str| value.pointer(&format!("/{field}")).is_some_and(is_set);
    let fields = fields.iter().filter(|(field, _)| set(field));
    fields
        .map(|(field, why)| {
            format!("{path}.{}: has no effect on Coracle: {why}", field.replace('/', "."))
        })
        .collect()
}

/// Whether a field asks for something: `false` and empty values ask for nothing, and the runtime's own profile is what
/// every component has anyway.
fn is_set(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Bool(true) | Value::Number(_) | Value::String(_) => true,
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => {
            let is_default = members.get("type").and_then(Value::as_str) == Some("RuntimeDefault");
            !members.is_empty() && !is_default
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_api::registry::by_kind;
    use serde_json::json;

    #[test]
    fn fields_without_meaning_are_named() {
        let spec = json!({"hostPID": true, "hostIPC": false, "containers": [
            {"name": "a", "securityContext": {"capabilities": {"add": ["NET_ADMIN"]}, "runAsUser": 0}}]});
        let pod = json!({"spec": spec});
        assert_eq!(
            warnings(by_kind("", "v1", "Pod").unwrap(), &pod),
            [
                "spec.hostPID: has no effect on Coracle: components have no process table to share",
                "spec.containers[0].securityContext.capabilities.add: has no effect on Coracle: components have no Linux capabilities",
                "spec.containers[0].securityContext.runAsUser: has no effect on Coracle: components have no user ids",
            ]
        );
        let ports = json!([{"port": 80}, {"port": 9, "protocol": "SCTP"}]);
        let said =
            warnings(by_kind("", "v1", "Service").unwrap(), &json!({"spec": {"ports": ports}}));
        assert!(said[0].starts_with("spec.ports[1].protocol: SCTP has no effect"), "{said:?}");
        let pod = json!({"spec": {"containers": [{"name": "a", "ports": ports}]}});
        let said = warnings(by_kind("", "v1", "Pod").unwrap(), &pod);
        assert!(said[0].starts_with("spec.containers[0].ports[1].protocol: SCTP"), "{said:?}");
        let deployment = json!({"spec": {"template": {"spec": {"hostIPC": true}}}});
        assert_eq!(
            warnings(by_kind("apps", "v1", "Deployment").unwrap(), &deployment),
            [
                "spec.template.spec.hostIPC: has no effect on Coracle: components have no IPC namespace"
            ]
        );
        let pods = json!({"spec": {"hostPID": true}});
        for (group, kind) in [
            ("", "ReplicationController"),
            ("apps", "StatefulSet"),
            ("apps", "DaemonSet"),
            ("batch", "Job"),
        ] {
            let object = json!({"spec": {"template": pods}});
            let said = warnings(by_kind(group, "v1", kind).unwrap(), &object);
            assert!(said[0].starts_with("spec.template.spec.hostPID: has no effect"), "{said:?}");
        }
        let cron = json!({"spec": {"jobTemplate": {"spec": {"template": pods}}}});
        let said = warnings(by_kind("batch", "v1", "CronJob").unwrap(), &cron);
        assert!(said[0].starts_with("spec.jobTemplate.spec.template.spec.hostPID: "), "{said:?}");
        assert!(warnings(by_kind("", "v1", "ConfigMap").unwrap(), &pod).is_empty());
        let volumes = |path: &str| json!([{"emptyDir": {}}, {"hostPath": {"path": path}}]);
        let debug = json!({"spec": {"hostNetwork": true, "volumes": volumes("/")}});
        let said = warnings(by_kind("", "v1", "Pod").unwrap(), &debug);
        let flags = "--allow-host-path=/ and --allow-host-network";
        assert!(
            said[0].starts_with("spec.volumes[1].hostPath: ") && said[0].ends_with(flags),
            "{said:?}"
        );
        let pod = json!({"spec": {"volumes": volumes("/srv")}});
        assert!(warnings(by_kind("", "v1", "Pod").unwrap(), &pod).is_empty());
        let restricted = json!({"securityContext": {"allowPrivilegeEscalation": false, "runAsNonRoot": true,
            "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}}});
        let pod = json!({"spec": {"containers": [restricted]}});
        assert!(warnings(by_kind("", "v1", "Pod").unwrap(), &pod).is_empty());
    }
}
