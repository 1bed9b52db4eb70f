//! Several hosts, one cluster: joining, and pods that talk across machines.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use base64::Engine as _;
use coracle_e2e::probe_pods::{
    HELLO, PROBE, ask, ask_until, echo, ended, labelled, machines_with_images, wait_pod_ready,
};
use coracle_e2e::{Machines, eventually, within};
use serde_json::{Value, json};

const REQUEST: &str = "GET / HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n";

#[test]
fn hosts_join_with_a_token_and_strangers_do_not() {
    let mut machines = Machines::start_flags(3, &["--cluster-signing-duration=60s"]);
    let words = machines.token();
    let with = |flag: &str, value: &str| -> Vec<String> {
        let mut changed = words.clone();
        let at = changed.iter().position(|word| word == flag).unwrap();
        value.clone_into(&mut changed[at + 1]);
        changed
    };
    let said = machines.failing_host(1, "stranger", &with("--token", "abcdef.0123456789abcdef"));
    assert!(
        said.contains("does not know the token") && said.contains("coracle token create"),
        "{said}"
    );
    let id = words[words.iter().position(|word| word == "--token").unwrap() + 1].clone();
    let id = id.split_once('.').unwrap().0.to_owned();
    let forged = with("--token", &format!("{id}.0123456789abcdef"));
    let said = machines.failing_host(1, "stranger", &forged);
    assert!(said.contains("not signed with this token"), "{said}");
    let said = machines.failing_host(1, "stranger", &with("--ca-hash", "sha256:00"));
    assert!(said.contains("another cluster"), "{said}");

    what_is_in_the_way_is_named(&machines, &words);
    machines.start_host(1, &words);
    machines.wait_ready(1);
    let joined_with = machines.host_kubeconfig(1);
    let mut taken = words.clone();
    taken.extend(["--node-name".to_owned(), machines.node(1)]);
    let said = machines.failing_host(2, "stranger", &taken);
    assert!(said.contains("taken") && said.contains("kubectl delete node host-1"), "{said}");

    // A token that is revoked lets nobody in; who is in, stays.
    let listed = machines.coracle(&["token", "list"]);
    assert!(listed.stdout.contains(&id) && listed.stdout.contains("a test"), "{listed:?}");
    assert!(machines.coracle(&["token", "revoke", &id]).ok);
    let refused = eventually("the token is forgotten", || {
        let said = machines.failing_host(2, "stranger", &words);
        if said.contains("expired or was revoked") { Ok(said) } else { Err(said) }
    });
    assert!(refused.contains("error:"), "{refused}");

    // The next host, by a new token; each has a range of its own.
    let second = machines.token();
    machines.start_host(2, &second);
    machines.wait_ready(2);
    let range = |node: &str| machines.get(&["node", node])["spec"]["podCIDR"].clone();
    let (one, two) = (range("host-1"), range("host-2"));
    assert!(one.is_string() && two.is_string() && one != two, "{one} {two}");

    // A node that is deleted comes back by itself, and so does a host that was killed: no token.
    let uid = |machines: &Machines| machines.get(&["node", "host-1"])["metadata"]["uid"].clone();
    let before = uid(&machines);
    // Not waited for: kubectl watches for the end of a name, and misses it when the name is taken again at once.
    machines.run(&["delete", "node", "host-1", "--wait=false"]);
    eventually("the node is made again", || {
        let node = machines.kubectl(&["get", "node", "host-1", "-o", "jsonpath={.metadata.uid}"]);
        if node.ok && before != node.stdout.as_str() { Ok(()) } else { Err(node) }
    });
    machines.wait_ready(1);
    certificates_follow_each_other(&mut machines, &joined_with);
}

/// A port that is closed between the machines (row `net.node-flat`), and ranges that are not the server's.
fn what_is_in_the_way_is_named(machines: &Machines, words: &[String]) {
    machines.close_way(1, 0, true);
    let said = machines.failing_host(1, "stranger", words);
    assert!(said.contains("nothing between closes TCP port 6443"), "{said}");
    machines.close_way(1, 0, false);
    // Addresses of pods are the server's to give: a host that takes others for pods' does not run.
    let mut elsewhere = words.to_vec();
    elsewhere.push("--cluster-cidr=10.64.0.0/10".to_owned());
    elsewhere.extend(["--node-name".to_owned(), "elsewhere".to_owned()]);
    let said = machines.failing_host(1, "elsewhere", &elsewhere);
    assert!(said.contains("outside of this host's --cluster-cidr"), "{said}");
    machines.run(&["delete", "node", "elsewhere"]);
}

/// Certificates are valid for 60 s here. When the one that the host joined with has ended, the host has another,
/// and is a host of the cluster by it: it is killed, so that nothing of before is left, and needs no token.
fn certificates_follow_each_other(machines: &mut Machines, joined_with: &str) {
    let certificate = |kubeconfig: &str| {
        let line = kubeconfig
            .lines()
            .find_map(|line| line.trim().strip_prefix("client-certificate-data:"));
        let encoded = line.unwrap().trim().trim_matches('"');
        base64::engine::general_purpose::STANDARD.decode(encoded).unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    let ends = |name: &str, kubeconfig: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, certificate(kubeconfig)).unwrap();
        let file = file.to_str().unwrap().to_owned();
        !machines.program(1, &["openssl", "x509", "-noout", "-checkend", "0", "-in", &file]).ok
    };
    eventually("the first certificate has ended", || {
        if ends("first", joined_with) { Ok(()) } else { Err("not yet") }
    });
    let now = machines.host_kubeconfig(1);
    assert!(!ends("now", &now), "the host has got the next one in time: {}", machines.logs());
    machines.kill_host(1);
    let server = ["--server".to_owned(), machines.url()];
    machines.start_host(1, &server);
    eventually("the server reaches the host over a connection that it made anew", || {
        let said = machines.kubectl(&["get", "--raw", "/api/v1/nodes/host-1/proxy/healthz"]);
        if said.ok && said.stdout == "ok" { Ok(()) } else { Err((said, machines.logs())) }
    });
    machines.wait_ready(1);
}

#[test]
fn pods_of_two_hosts_are_one_network() {
    let mut machines = machines_with_images(3);
    machines.apply(&echo("near", "host-1"));
    machines.apply(&echo("far", "host-2"));
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "echo"},
        "spec": {"selector": {"set": "echo"}, "ports": [{"port": 70, "targetPort": "echo"}]}});
    machines.apply(&service.to_string());
    machines.run(&["label", "pod", "near", "far", "set=echo"]);
    let (near, far) = (wait_pod_ready(&machines, "near"), wait_pod_ready(&machines, "far"));

    // Pod to pod: each sees the other's own address. More than all buffers hold goes through.
    let direct = format!("ask {far}:7000 hi");
    let load = format!("load {far}:7000 8");
    let nobody = format!("connect {far}:7001");
    let (client, said) =
        ask_until(&machines, "direct", 1, &[&direct, &load, &nobody], |_, said| {
            said.contains(" hi from ")
        });
    assert!(said.contains(&format!("=> {far}:7000 {client} hi from {far}:7000")), "{said}");
    assert!(said.contains("same true") && said.contains("=> ConnectionRefused"), "{said}");

    // By the Service's name, both backends answer.
    let many = vec!["ask echo.default.svc:70 hi"; 16];
    let both = [&near, &far].map(|ip| format!("{ip}:7000"));
    ask_until(&machines, "by-name", 2, &many, |_, said| {
        both.iter().all(|one| said.contains(one)) && said.matches(" hi from ").count() == 16
    });

    // The server reaches the agents of both, though it cannot dial them.
    for pod in ["near", "far"] {
        assert_eq!(machines.run(&["exec", pod, "--", "echo", "hello"]), "hello\n");
    }
    a_way_closed_in_one_direction_costs_no_service(&machines, &direct);

    // A host that is killed and started again is linked to again, its pods have their addresses.
    machines.kill_host(2);
    machines.start_host(2, &[]);
    machines.wait_ready(2);
    let mut round = 0;
    let (_, said) = eventually("pods talk again", || {
        round += 1;
        let name = format!("again-{round}");
        let asked = ask(&machines, &name, 1, &[&direct]);
        if asked.1.contains(" hi from ") { Ok(asked) } else { Err(asked) }
    });
    assert!(said.contains(&far), "{said}");
}

/// Host 1 cannot send to host 2, which can send to it, and the server reaches both. What was just being asked of
/// host 2 may be lost; whoever asks the Service from host 1 is served by the pod that is reached.
fn a_way_closed_in_one_direction_costs_no_service(machines: &Machines, direct: &str) {
    let container = json!({"name": "c", "image": PROBE,
        "args": ["await echo:70 x", "loop echo:70 way-was-closed"]});
    let mut client = labelled("one-way", &machines.node(1), &container);
    client["spec"]["restartPolicy"] = json!("Never");
    machines.apply(&client.to_string());
    eventually("the client is answered", || {
        let said = machines.kubectl(&["logs", "one-way"]);
        if said.stdout.contains(" x from ") { Ok(()) } else { Err(said) }
    });
    machines.close_way(1, 2, true);
    let mut round = 0;
    eventually("the pod of the other host is out of reach", || {
        round += 1;
        let (_, said) = ask(machines, &format!("cut-off-{round}"), 1, &[direct]);
        if said.contains(" hi from ") { Err(said) } else { Ok(()) }
    });
    for pod in ["near", "far"] {
        assert_eq!(machines.run(&["exec", pod, "--", "echo", "hello"]), "hello\n");
    }
    let end = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "way-was-closed"},
        "spec": {"ports": [{"port": 1}]}});
    machines.apply(&end.to_string());
    let (_, said) = ended(machines, "one-way");
    let runs = said.split_once("way-was-closed => ").unwrap().1.trim();
    let failed: u32 =
        runs.split(", ").filter_map(|run| run.strip_suffix(" failed")?.parse::<u32>().ok()).sum();
    assert!(failed <= 1 && runs.contains(" ok"), "{runs}");
    machines.close_way(1, 2, false);
    eventually("the way is open again", || {
        round += 1;
        let (_, said) = ask(machines, &format!("cut-off-{round}"), 1, &[direct]);
        if said.contains(" hi from ") { Ok(()) } else { Err(said) }
    });
}

#[test]
fn a_node_port_leads_from_every_host_to_a_pod_of_one() {
    let machines = machines_with_images(3);
    let spread = json!({"maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "web"}}});
    let container = json!({"name": "c", "image": HELLO, "ports": [{"containerPort": 8080}]});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": 4, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"topologySpreadConstraints": [spread], "containers": [container]}}}});
    machines.apply(&deployment.to_string());
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"type": "NodePort", "selector": {"app": "web"},
            "ports": [{"port": 80, "targetPort": 8080, "nodePort": 30080}]}});
    machines.apply(&service.to_string());
    machines.run(&["rollout", "status", "deployment/web", "--timeout=180s"]);
    let nodes = machines.run(&["get", "pods", "-o", "jsonpath={.items[*].spec.nodeName}"]);
    for node in ["host-1", "host-2"] {
        assert_eq!(nodes.matches(node).count(), 2, "{nodes}");
    }
    // Now only one, on one of them: the port of the other host leads there all the same.
    machines.run(&["scale", "deployment/web", "--replicas=1"]);
    eventually("one pod is left", || {
        let said = machines.run(&["get", "pods", "-l", "app=web", "-o", "name"]);
        if said.lines().count() == 1 { Ok(()) } else { Err(said) }
    });
    for machine in [1, 2] {
        let said = eventually(&format!("machine {machine} answers"), || {
            let said = machines.send(0, &machines.address(machine), 30080, REQUEST);
            said.ok().filter(|said| said.contains("hello")).ok_or_else(|| machines.logs())
        });
        assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    }
    // Who has no certificate gets nothing from the tunnel, and it goes on.
    for text in ["hello", "PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n"] {
        let said = eventually("the tunnel's port is open", || {
            machines.send(0, &machines.address(2), 15008, text)
        });
        assert!(!said.contains("HTTP"), "{said}");
    }
    eventually("the host goes on", || {
        let said = machines.send(0, &machines.address(1), 30080, REQUEST)?;
        if said.contains("hello") { Ok(()) } else { Err(said) }
    });
}

#[test]
fn a_policy_closes_the_way_between_hosts() {
    let machines = machines_with_images(3);
    machines.apply(&echo("server", "host-2"));
    let server = wait_pod_ready(&machines, "server");
    let question = format!("ask {server}:7000 hi");
    ask_until(&machines, "before", 1, &[&question], |_, said| said.contains(" hi from "));
    let policy = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "friends"}, "spec": {"podSelector": {"matchLabels": {"app": "server"}},
            "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "friend"}}}],
                "ports": [{"port": "echo"}]}]}});
    machines.apply(&policy.to_string());
    for (stranger, machine) in [("stranger", 1), ("local-stranger", 2)] {
        ask_until(&machines, stranger, machine, &[&question], |_, said| {
            said.contains("=> ConnectionRefused")
        });
    }
    // The server's host knows a new pod's labels a moment after that pod is there.
    let again = format!("await {server}:7000 hi");
    let (_, said) = ask(&machines, "friend", 1, &[&again]);
    assert!(said.contains(" hi from "), "{said}");
    eventually("the refusal is told", || {
        let path = "jsonpath={range .items[*]}{.reason}: {.message}\n{end}";
        let events = machines.run(&["get", "events", "-o", path]);
        let told = events.contains("NetworkPolicy friends isolates ingress to pod default/server");
        if told { Ok(()) } else { Err(events) }
    });
}

#[test]
fn pods_of_a_lost_host_move_and_it_comes_back_empty() {
    let mut machines = machines_with_images(3);
    let tolerations: Vec<Value> = ["not-ready", "unreachable"]
        .iter()
        .map(|kind| {
            json!({"key": format!("node.kubernetes.io/{kind}"), "operator": "Exists",
            "effect": "NoExecute", "tolerationSeconds": 1})
        })
        .collect();
    let container = json!({"name": "c", "image": HELLO, "ports": [{"containerPort": 8080}]});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"tolerations": tolerations, "containers": [container]}}}});
    machines.apply(&deployment.to_string());
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}});
    machines.apply(&service.to_string());
    machines.run(&["rollout", "status", "deployment/web", "--timeout=180s"]);
    let node =
        machines.run(&["get", "pods", "-l", "app=web", "-o", "jsonpath={.items[0].spec.nodeName}"]);
    let lost: usize = node.strip_prefix("host-").unwrap().parse().unwrap();
    machines.apply(&stateful(&tolerations, &node).to_string());
    machines.run(&["rollout", "status", "statefulset/kubia", "--timeout=180s"]);
    let before = kubia(&machines);
    assert_eq!(before.1, node);
    machines.kill_host(lost);
    let other = machines.node(3 - lost);
    within(Duration::from_secs(150), "the pod runs on the other host", || {
        let pods = machines.get(&["pods", "-l", "app=web"]);
        let items = pods["items"].as_array().unwrap();
        let moved = items.iter().any(|pod| {
            pod["spec"]["nodeName"] == other.as_str() && pod["status"]["phase"] == "Running"
        });
        if moved { Ok(()) } else { Err(pods) }
    });
    let taints = machines.get(&["node", &node])["spec"]["taints"].to_string();
    assert!(taints.contains("node.kubernetes.io/unreachable"), "{taints}");
    only_force_moves_a_stateful_pod(&machines, &before, &other);
    machines.start_host(lost, &[]);
    machines.wait_ready(lost);
    eventually("the old pod is gone", || {
        let path = "jsonpath={.items[*].spec.nodeName}";
        let nodes = machines.run(&["get", "pods", "-l", "app=web", "-o", path]);
        if nodes == other { Ok(()) } else { Err(nodes) }
    });
    // The host runs it no more, and only the other pod serves.
    eventually("the host has let go of it", || {
        let own = machines.kubectl(&["get", "--raw", &format!("/api/v1/nodes/{node}/proxy/pods")]);
        let holds = own.stdout.contains("\"web-") || own.stdout.contains("\"kubia-");
        if own.ok && !holds { Ok(()) } else { Err(own) }
    });
    let slices = ["get", "endpointslices", "-l", "kubernetes.io/service-name=web", "-o"];
    let path = "jsonpath={.items[*].endpoints[*].nodeName}";
    eventually("only the other pod serves", || {
        let nodes = machines.run(&[&slices[..], &[path]].concat());
        if nodes == other { Ok(()) } else { Err(nodes) }
    });
}

/// A StatefulSet of one that goes to a node if it can.
fn stateful(tolerations: &[Value], node: &str) -> Value {
    let here = json!([{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]);
    let affinity = json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 100, "preference": {"matchExpressions": here}}]}});
    let labels = json!({"app": "kubia"});
    json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "kubia"},
        "spec": {"serviceName": "kubia", "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels},
            "spec": {"tolerations": tolerations, "affinity": affinity,
                "containers": [{"name": "c", "image": HELLO}]}}}})
}

/// The uid of `kubia-0`, and its node.
fn kubia(machines: &Machines) -> (Value, Value) {
    let pod = machines.get(&["pod", "kubia-0"]);
    (pod["metadata"]["uid"].clone(), pod["spec"]["nodeName"].clone())
}

/// Row `node.lost-sts`: who knows that the old one runs no more says so, and nobody else does.
fn only_force_moves_a_stateful_pod(machines: &Machines, before: &(Value, Value), other: &str) {
    eventually("the pod of the lost node is to go", || {
        let pod = machines.get(&["pod", "kubia-0"]);
        if pod["metadata"]["deletionTimestamp"].is_null() { Err(pod) } else { Ok(()) }
    });
    assert_eq!(&kubia(machines), before, "nobody has said that it runs no more");
    machines.run(&["delete", "po", "kubia-0", "--force", "--grace-period", "0"]);
    eventually("another one runs elsewhere", || {
        let got = machines.kubectl(&["get", "pod", "kubia-0", "-o", "json"]);
        let pod: Value = serde_json::from_str(&got.stdout).unwrap_or_default();
        let fresh = pod["metadata"]["uid"] != before.0 && pod["spec"]["nodeName"] == other;
        if fresh && pod["status"]["phase"] == "Running" { Ok(()) } else { Err(got) }
    });
}
