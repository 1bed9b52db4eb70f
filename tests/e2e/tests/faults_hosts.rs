//! What happens to a host, and to its way to others: a host that is gone leaves its Services because the others say so,
//! one that only some do not reach stays.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;

use coracle_e2e::probe_pods::{
    PROBE, ask_until, ended, labelled, machines_with_flags, serving, wait_pod_ready,
};
use coracle_e2e::{Machines, eventually};
use serde_json::json;

/// Longer than any test: no Lease that ends by itself takes a host out.
const NEVER: &str = "--node-monitor-grace-period=10h";

/// The status of a node's condition `Ready`.
fn readiness(machines: &Machines, index: usize) -> String {
    let path = "jsonpath={.status.conditions[?(@.type=='Ready')].status}";
    machines.run(&["get", "node", &machines.node(index), "-o", path])
}

/// Whether the server reaches the agent of a host.
fn is_reached(machines: &Machines, index: usize) -> bool {
    let path = format!("/api/v1/nodes/{}/proxy/healthz", machines.node(index));
    machines.kubectl(&["get", "--raw", &path, "--request-timeout=3s"]).ok
}

/// The addresses of the Service's endpoints that are ready.
fn endpoints(machines: &Machines) -> BTreeSet<String> {
    let slices = machines.get(&["endpointslices", "-l", "kubernetes.io/service-name=echo"]);
    let slices = slices["items"].as_array().unwrap();
    let all = slices.iter().flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten());
    let ready = all.filter(|endpoint| endpoint["conditions"]["ready"] == true);
    ready.map(|endpoint| endpoint["addresses"][0].as_str().unwrap().to_owned()).collect()
}

fn expect_endpoints(machines: &Machines, wanted: &[&String]) {
    let wanted: BTreeSet<String> = wanted.iter().map(|ip| (*ip).clone()).collect();
    eventually("the Service has the endpoints that are there", || {
        let there = endpoints(machines);
        if there == wanted { Ok(()) } else { Err((there, wanted.clone(), machines.logs())) }
    });
}

/// What a host says in its Lease of those that answer it, and of those that do not.
fn says(machines: &Machines, index: usize) -> (String, String) {
    let lease = machines.get(&["lease", &machines.node(index), "-n", "kube-node-lease"]);
    let text = |key: &str| lease["metadata"]["annotations"][key].as_str().unwrap_or("").to_owned();
    (text("coracle.dev/peers-answer"), text("coracle.dev/peers-silent"))
}

/// Whether the others ever agreed that a host does not answer: none is lost because of them before it is asked to renew
/// its Lease, which stays written in its Node. Looked at after what it may have led to.
fn was_doubted(machines: &Machines, index: usize) -> bool {
    let node = machines.get(&["node", &machines.node(index)]);
    !node["metadata"]["annotations"]["coracle.dev/renew-asked"].is_null()
}

fn expect_said(machines: &Machines, index: usize, answer: &str, silent: &str) {
    eventually("the host says who answers", || {
        let said = says(machines, index);
        if said == (answer.to_owned(), silent.to_owned()) {
            Ok(())
        } else {
            Err((said, machines.logs()))
        }
    });
}

#[test]
fn a_host_is_lost_when_its_peers_and_its_lease_agree_and_by_no_single_word() {
    let mut machines = machines_with_flags(4, &[NEVER]);
    for index in 1..=3 {
        let name = format!("echo-{index}");
        machines.apply(&labelled(&name, &machines.node(index), &serving(7000)).to_string());
    }
    let pods: Vec<String> =
        (1..=3).map(|index| wait_pod_ready(&machines, &format!("echo-{index}"))).collect();
    let [one, two, three] = [&pods[0], &pods[1], &pods[2]];
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "echo"},
        "spec": {"selector": {"set": "echo"}, "ports": [{"port": 70, "targetPort": "echo"}]}});
    machines.apply(&service.to_string());
    machines.run(&["label", "pod", "--all", "set=echo"]);
    expect_endpoints(&machines, &[one, two, three]);
    expect_said(&machines, 1, "host-2,host-3", "");
    expect_said(&machines, 2, "host-1,host-3", "");

    a_host_that_does_not_reach_the_server_stays(&machines, three);

    // One says that another is gone, which is there.
    let lie = "coracle.dev/peers-silent=host-2";
    machines.run(&["annotate", "lease", "host-1", "-n", "kube-node-lease", lie, "--overwrite"]);
    machines.kill_host(3);
    expect_endpoints(&machines, &[one, two]);
    assert_eq!(readiness(&machines, 3), "Unknown");
    expect_said(&machines, 2, "host-1", "host-3");
    for index in [1, 2] {
        assert_eq!(readiness(&machines, index), "True");
    }
    let question = format!("ask {two}:7000 hi");
    ask_until(&machines, "meanwhile", 1, &[&question], |_, said| said.contains(" hi from "));

    // It comes back by itself, and its pods with it.
    machines.start_host(3, &[]);
    machines.wait_ready(3);
    expect_endpoints(&machines, &[one, two, three]);
    expect_said(&machines, 2, "host-1,host-3", "");
    a_bad_line_costs_time_and_nothing_else(&mut machines, [one, two, three]);
}

/// Frames to and from host 3 are lost, late and out of order; what its pod is sent arrives whole, and the server
/// reaches it.
fn a_bad_line_costs_time_and_nothing_else(machines: &mut Machines, pods: [&String; 3]) {
    let pod = pods[2];
    machines.spoil_line(3, 2, 10);
    let (load, question) = (format!("load {pod}:7000 1"), format!("ask {pod}:7000 hi"));
    let mut commands = vec![load.as_str()];
    commands.extend([question.as_str(); 20]);
    ask_until(machines, "far-away", 1, &commands, |_, said| {
        said.contains("same true") && said.matches(" hi from ").count() == 20
    });
    eventually("a command runs in the pod", || {
        let said = machines.kubectl(&["exec", "echo-3", "--", "echo", "hello"]);
        if said.stdout == "hello\n" { Ok(()) } else { Err((said, machines.logs())) }
    });
    let (lost, overtook) = machines.mend_line();
    assert!(lost > 0 && overtook > 0, "{lost} {overtook}: the line was bad");
    expect_endpoints(machines, &pods);
}

/// Host 3 cannot send to the server, which can send to it; then the other way round. The other hosts reach it all
/// along, and nothing that they ask is lost.
fn a_host_that_does_not_reach_the_server_stays(machines: &Machines, pod: &str) {
    for (round, (from, to)) in [(3, 0), (0, 3)].into_iter().enumerate() {
        let end = format!("way-{round}");
        let container = json!({"name": "c", "image": PROBE,
            "args": [format!("loop {pod}:7000 {end}")]});
        let name = format!("asks-{round}");
        let mut client = labelled(&name, &machines.node(1), &container);
        client["spec"]["restartPolicy"] = json!("Never");
        machines.apply(&client.to_string());
        wait_pod_ready(machines, &name);
        machines.close_way(from, to, true);
        eventually("the server does not reach the host", || {
            if is_reached(machines, 3) { Err(machines.logs()) } else { Ok(()) }
        });
        let (ready, there) = (readiness(machines, 3), endpoints(machines));
        // On a busy machine both others may miss two answers; then the host is rightly asked, and rightly lost.
        if !was_doubted(machines, 3) {
            assert_eq!(ready, "True");
            assert!(there.contains(pod), "{there:?}");
        }
        machines.close_way(from, to, false);
        eventually("the server reaches the host again", || {
            if is_reached(machines, 3) { Ok(()) } else { Err(machines.logs()) }
        });
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": end},
            "spec": {"ports": [{"port": 1}]}});
        machines.apply(&service.to_string());
        let (_, said) = ended(machines, &name);
        let runs = said.rsplit("=> ").next().unwrap();
        assert!(runs.contains(" ok") && !runs.contains("failed"), "{said}");
    }
}
