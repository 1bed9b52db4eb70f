//! NetworkPolicy between three hosts and the outside, way by way (row `np.object`). What policies mean in
//! full is `network/src/policy`'s; here is that they are in force wherever a pod runs.

use coracle_e2e::probe_pods::wait_pod_ready;
use coracle_e2e::{Machines, eventually};
use serde_json::{Value, json};

use super::{apply_all, server, service, wait_endpoints};

const NODE_PORT: u16 = 30090;

/// Whether a pod can connect to port 7000 of an address.
fn connects(machines: &Machines, (namespace, pod): (&str, &str), ip: &str) -> bool {
    machines.kubectl(&["exec", "-n", namespace, pod, "--", "nc", "-z", ip, "7000"]).ok
}

fn until(machines: &Machines, from: (&str, &str), ip: &str, wanted: bool) {
    eventually(&format!("{from:?} to {ip}: {wanted}"), || {
        if connects(machines, from, ip) == wanted { Ok(()) } else { Err(machines.logs()) }
    });
}

fn policy(machines: &Machines, name: &str, spec: Value) {
    let kind = "NetworkPolicy";
    apply_all(
        machines,
        &[
            json!({"apiVersion": "networking.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}),
        ],
    );
}

/// `guarded` is on another host than those that ask; of these `friend` and `other` are in its namespace,
/// `guest` is in another one, and machine 0 is outside.
pub(super) fn policies_open_and_close_each_way(machines: &Machines) {
    let pod = |name: &str, machine| server(name, name, &machines.node(machine), 7000);
    let mut guest = pod("guest", 3);
    guest["metadata"]["namespace"] = json!("other");
    let port = json!([{"port": 70, "targetPort": 7000, "nodePort": NODE_PORT}]);
    let spec = json!({"type": "NodePort", "selector": {"app": "guarded"}, "ports": port});
    apply_all(
        machines,
        &[pod("guarded", 2), pod("friend", 1), pod("other", 1), guest, service("guarded", spec)],
    );
    let ip = wait_pod_ready(machines, "guarded");
    let other_ip = wait_pod_ready(machines, "other");
    wait_pod_ready(machines, "friend");
    wait_endpoints(machines, "guarded", 1);
    eventually("the guest is ready", || {
        let pod = machines.get(&["pod", "guest", "-n", "other"]);
        let ready = pod["status"]["containerStatuses"][0]["ready"] == true;
        if ready { Ok(()) } else { Err(pod["status"].clone()) }
    });
    let (friend, other, guest) = (("default", "friend"), ("default", "other"), ("other", "guest"));
    let outside = || machines.ask_outside(0, &machines.address(1), NODE_PORT, "x");
    until(machines, guest, &ip, true);
    eventually("the outside gets in", outside);

    let own = json!({"matchLabels": {"app": "guarded"}});
    let ingress = |name: &str, rule: Value| {
        policy(machines, name, json!({"podSelector": own, "ingress": [rule]}));
    };
    policy(machines, "deny", json!({"podSelector": own, "policyTypes": ["Ingress"]}));
    for from in [friend, other, guest] {
        until(machines, from, &ip, false);
    }
    eventually("the outside is kept out", || match outside() {
        Ok(said) => Err(said),
        Err(_) => Ok(()),
    });
    // By pods, by namespace, by address, by port: each opens its own way and no other.
    ingress("pods", json!({"from": [{"podSelector": {"matchLabels": {"app": "friend"}}}]}));
    until(machines, friend, &ip, true);
    assert!(!connects(machines, other, &ip) && !connects(machines, guest, &ip));
    let namespace = json!({"matchLabels": {"kubernetes.io/metadata.name": "other"}});
    ingress("namespace", json!({"from": [{"namespaceSelector": namespace}]}));
    until(machines, guest, &ip, true);
    assert!(!connects(machines, other, &ip) && outside().is_err());
    let block = json!({"cidr": format!("{}/32", machines.address(0))});
    ingress("address", json!({"from": [{"ipBlock": block}]}));
    eventually("the outside gets in by its address", outside);
    assert!(!connects(machines, other, &ip));
    ingress("port", json!({"ports": [{"port": 7001}]}));
    assert!(!connects(machines, other, &ip));
    ingress("port", json!({"ports": [{"port": 7000}]}));
    until(machines, other, &ip, true);

    // The way out.
    let own = json!({"matchLabels": {"app": "friend"}});
    policy(machines, "quiet", json!({"podSelector": own, "policyTypes": ["Egress"]}));
    until(machines, friend, &ip, false);
    until(machines, friend, &other_ip, false);
    let to = json!([{"to": [{"podSelector": {"matchLabels": {"app": "other"}}}]}]);
    let spec = json!({"podSelector": own, "policyTypes": ["Egress"], "egress": to});
    policy(machines, "talk", spec);
    until(machines, friend, &other_ip, true);
    assert!(!connects(machines, friend, &ip));
    counted(machines);
    machines.run(&["delete", "networkpolicy", "--all"]);
}

/// Every refusal was counted where it was refused: the way in at the pod's host, the way out at the client's.
fn counted(machines: &Machines) {
    for (machine, way) in [(2, "ingress"), (1, "egress")] {
        let path = format!("/api/v1/nodes/{}/proxy/metrics", machines.node(machine));
        let page = machines.run(&["get", "--raw", &path]);
        let start = format!("coracle_network_policy_refusals_total{{direction=\"{way}\"}} ");
        let count = page.lines().find_map(|line| line.strip_prefix(&start)).unwrap_or("0");
        assert!(count.parse::<u64>().unwrap() > 0, "{start}{count}");
    }
    // What a pod's owner reads: which policy, and what was to go where; one event for many refusals.
    eventually("the refusals are told", || {
        let path = "jsonpath={range .items[*]}{.reason} {.message}\n{end}";
        let events = machines.run(&["get", "events", "-o", path]);
        let way_in = "ConnectionRefused NetworkPolicy deny isolates ingress to pod default/guarded";
        let way_out =
            "ConnectionRefused NetworkPolicy quiet isolates egress from pod default/friend";
        if events.contains(way_in) && events.contains(way_out) { Ok(()) } else { Err(events) }
    });
}
