//! Pods on several machines that answer, ask, and say what came of it.

use serde_json::{Value, json};

use crate::binary::build_guests;
use crate::hosts::Machines;
use crate::wait::eventually;

/// The image that runs network commands.
pub const PROBE: &str = "registry.coracle.internal/net-probe:1";
/// The image that answers HTTP.
pub const HELLO: &str = "registry.coracle.internal/hello:1";

/// Machines, of which all but the first run a host, with the images of the tests.
#[must_use]
pub fn machines_with_images(count: usize) -> Machines {
    machines_with_flags(count, &[])
}

/// The same with these flags for the server.
#[must_use]
pub fn machines_with_flags(count: usize, flags: &[&str]) -> Machines {
    let guests = build_guests("tests/guests");
    let mut machines = Machines::start_flags(count, flags);
    for (tag, file) in [("net-probe:1", "net-probe.wasm"), ("hello:1", "hello_http.wasm")] {
        let pushed = machines.coracle(&["push", tag, guests.join(file).to_str().unwrap()]);
        assert!(pushed.ok, "{pushed:?}");
    }
    machines.join_all();
    machines
}

/// A pod of one container on a node, with its name as its label `app`.
#[must_use]
pub fn labelled(name: &str, node: &str, container: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"nodeSelector": {"kubernetes.io/hostname": node}, "containers": [container]}})
}

/// A pod that answers at port 7000 with its own address, its client's, and what that sent.
#[must_use]
pub fn echo(name: &str, node: &str) -> String {
    labelled(name, node, &serving(7000)).to_string()
}

/// A container that answers at a port with its own address, its client's, and what that sent, more often than any
/// test asks. It is ready once it listens: without a probe a pod is ready as soon as it runs.
#[must_use]
pub fn serving(port: u16) -> Value {
    json!({"name": "c", "image": PROBE, "args": [format!("serve 0.0.0.0:{port} 1000000000")],
        "ports": [{"containerPort": port, "name": "echo"}],
        "startupProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1, "timeoutSeconds": 10,
            "failureThreshold": 1000}})
}

/// Waits until a pod is ready, and gives its address.
pub fn wait_pod_ready(machines: &Machines, name: &str) -> String {
    eventually(&format!("pod {name} is ready"), || {
        let pod = machines.get(&["pod", name]);
        let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let ready = conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True");
        let ip = pod["status"]["podIP"].as_str().map(str::to_owned);
        ip.filter(|_| ready).ok_or_else(|| (pod["status"].clone(), machines.logs()))
    })
}

/// Runs commands of the probe in a pod on a machine, and gives its address and what they said.
pub fn ask(machines: &Machines, name: &str, machine: usize, commands: &[&str]) -> (String, String) {
    let container = json!({"name": "c", "image": PROBE, "args": commands});
    let mut pod = labelled(name, &machines.node(machine), &container);
    pod["spec"]["restartPolicy"] = json!("Never");
    machines.apply(&pod.to_string());
    ended(machines, name)
}

/// Runs commands of the probe in one pod after another until what one said is `wanted`, which gets its address and
/// that: a host knows what was just made a moment later than the API does.
pub fn ask_until(
    machines: &Machines,
    name: &str,
    machine: usize,
    commands: &[&str],
    wanted: impl Fn(&str, &str) -> bool,
) -> (String, String) {
    let mut round = 0;
    eventually(&format!("what {name} says is wanted"), || {
        round += 1;
        let (ip, said) = ask(machines, &format!("{name}-{round}"), machine, commands);
        if wanted(&ip, &said) { Ok((ip, said)) } else { Err((said, machines.logs())) }
    })
}

/// Waits until a pod has ended, and gives its address and what it said.
pub fn ended(machines: &Machines, name: &str) -> (String, String) {
    eventually(&format!("{name} ended"), || {
        let pod = machines.get(&["pod", name]);
        let ip = pod["status"]["podIP"].as_str().unwrap_or_default().to_owned();
        match pod["status"]["phase"].as_str() {
            Some("Succeeded" | "Failed") => Ok((ip, machines.run(&["logs", name]))),
            _ => Err((pod["status"].clone(), machines.logs())),
        }
    })
}
