//! The Node object: pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::facts::Machine;
use crate::eviction::signals::Shown;
use crate::settings::AgentConfig;

/// Makes the Node to register.
#[must_use]
pub(crate) fn node(config: &AgentConfig, arch: &str) -> Value {
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
        "spec": { "taints": config.taints },
    })
}

/// What a Node's status is made from.
pub(crate) struct Sources<'a> {
    pub(crate) config: &'a AgentConfig,
    pub(crate) machine: &'a Machine,
    pub(crate) capacity: &'a BTreeMap<String, String>,
    pub(crate) allocatable: &'a BTreeMap<String, String>,
    pub(crate) images: &'a [Value],
    pub(crate) pressure: Shown,
    pub(crate) shuts_down: bool,
}

/// A condition: kind, status, reason and message.
type Row = (&'static str, &'static str, &'static str, &'static str);

/// *Source:* kubelet's node status setters.
fn rows(pressure: Shown, shuts_down: bool) -> [Row; 4] {
    let memory = if pressure.memory {
        ("True", "KubeletHasInsufficientMemory", "kubelet has insufficient memory available")
    } else {
        ("False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available")
    };
    let disk = if pressure.disk {
        ("True", "KubeletHasDiskPressure", "kubelet has disk pressure")
    } else {
        ("False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure")
    };
    let pids = if pressure.pids {
        ("True", "KubeletHasInsufficientPID", "kubelet has insufficient PID available")
    } else {
        ("False", "KubeletHasSufficientPID", "kubelet has sufficient PID available")
    };
    let ready = if shuts_down {
        ("False", "KubeletNotReady", "node is shutting down")
    } else {
        ("True", "KubeletReady", "kubelet is posting ready status")
    };
    let row = |kind, (status, reason, message)| (kind, status, reason, message);
    [
        row("MemoryPressure", memory),
        row("DiskPressure", disk),
        row("PIDPressure", pids),
        row("Ready", ready),
    ]
}

/// Makes the status of the Node; `before` is what the object shows, for transition times.
#[must_use]
pub(crate) fn status(sources: &Sources<'_>, before: &Value, now: Timestamp) -> Value {
    let Sources { config, machine, capacity, allocatable, images, pressure, shuts_down } = *sources;
    let at = seconds(now);
    let conditions: Vec<Value> = rows(pressure, shuts_down)
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
        "capacity": capacity,
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
pub(crate) fn seconds(moment: Timestamp) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_is_shown_and_a_condition_keeps_its_time_until_it_changes() {
        let config =
            AgentConfig::new("h1", "/".into(), "/".into(), std::net::IpAddr::from([192, 0, 2, 1]));
        let none = BTreeMap::new();
        let show = |disk, before: &Value, at| {
            let sources = Sources {
                config: &config,
                machine: &Machine::default(),
                capacity: &none,
                allocatable: &none,
                images: &[],
                pressure: Shown { disk, ..Shown::default() },
                shuts_down: at > 100,
            };
            status(&sources, before, Timestamp::from_second(at).unwrap())
        };
        let first = show(false, &json!({}), 0);
        let second = show(true, &json!({ "status": first }), 60);
        let lines = |status: &Value| {
            let line = |c: &Value| {
                format!("{}={} {} {}", c["type"], c["status"], c["reason"], c["lastTransitionTime"])
            };
            status["conditions"].as_array().unwrap().iter().map(line).collect::<Vec<_>>().join("\n")
        };
        expect_test::expect![[r#"
            "MemoryPressure"="False" "KubeletHasSufficientMemory" "1970-01-01T00:00:00Z"
            "DiskPressure"="True" "KubeletHasDiskPressure" "1970-01-01T00:01:00Z"
            "PIDPressure"="False" "KubeletHasSufficientPID" "1970-01-01T00:00:00Z"
            "Ready"="True" "KubeletReady" "1970-01-01T00:00:00Z""#]]
        .assert_eq(&lines(&second));
        let last = show(false, &json!({ "status": second }), 200);
        let ready = lines(&last).lines().last().unwrap_or_default().to_owned();
        assert_eq!(ready, r#""Ready"="False" "KubeletNotReady" "1970-01-01T00:03:20Z""#);
    }
}
