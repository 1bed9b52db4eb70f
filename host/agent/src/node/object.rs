//! The Node object: pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::facts::Machine;
use crate::settings::AgentConfig;

/// Makes the Node to register.
#[must_use]
pub fn node(config: &AgentConfig, arch: &str) -> Value {
    let mut labels: BTreeMap<String, String> = config.labels.clone();
    for (name, value) in [
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", arch),
        ("kubernetes.io/hostname", &config.node_name),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", arch),
        ("coracle.dev/engine", "wasmtime"),
    ] {
        labels.insert(name.to_owned(), value.to_owned());
    }
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": { "name": config.node_name, "labels": labels },
        "spec": {}
    })
}

/// Makes the status of the Node; `before` is what the object shows, for transition times.
#[must_use]
pub fn status(
    config: &AgentConfig,
    machine: &Machine,
    allocatable: &BTreeMap<String, String>,
    images: &[Value],
    before: &Value,
    now: Timestamp,
) -> Value {
    let rows = [
        (
            "MemoryPressure",
            "False",
            "KubeletHasSufficientMemory",
            "kubelet has sufficient memory available",
        ),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ];
    let at = seconds(now);
    let conditions: Vec<Value> = rows
        .into_iter()
        .map(|(kind, status, reason, message)| {
            let since = since(before, kind, status).unwrap_or_else(|| at.clone());
            json!({
                "type": kind, "status": status, "reason": reason, "message": message,
                "lastHeartbeatTime": at, "lastTransitionTime": since,
            })
        })
        .collect();
    json!({
        "addresses": [
            { "type": "InternalIP", "address": config.host_ip.to_string() },
            { "type": "Hostname", "address": config.node_name },
        ],
        "capacity": allocatable,
        "allocatable": allocatable,
        "conditions": conditions,
        "daemonEndpoints": { "kubeletEndpoint": { "Port": 10250 } },
        "images": images,
        "nodeInfo": {
            "machineID": machine.machine_id,
            "systemUUID": machine.machine_id,
            "bootID": machine.boot_id,
            "kernelVersion": machine.kernel,
            "osImage": machine.os_image,
            "containerRuntimeVersion": config.runtime_version,
            "kubeletVersion": config.kubelet_version,
            "kubeProxyVersion": "",
            "operatingSystem": "linux",
            "architecture": machine.arch,
        },
    })
}

/// Prints a moment as Kubernetes does, to the second.
#[must_use]
pub fn seconds(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn since(before: &Value, kind: &str, status: &str) -> Option<String> {
    let conditions = before.pointer("/status/conditions")?.as_array()?;
    let old =
        conditions.iter().find(|old| old.get("type").and_then(Value::as_str) == Some(kind))?;
    let same = old.get("status").and_then(Value::as_str) == Some(status);
    let at = old.get("lastTransitionTime").and_then(Value::as_str).map(str::to_owned);
    at.filter(|_| same)
}
