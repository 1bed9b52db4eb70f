//! Services and their names on a cluster of three hosts: what a user of Kubernetes relies on.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::time::Instant;

use coracle_e2e::probe_pods::{
    PROBE, ask, ask_until, ended, labelled, machines_with_images, serving, wait_pod_ready,
};
use coracle_e2e::{Machines, build_guests, eventually};
use serde_json::{Value, json};

#[path = "services/policies.rs"]
mod policies;
#[path = "services/ways.rs"]
mod ways;

fn service(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})
}

/// A pod that answers at a port with its own address, its client's, and what that sent.
fn server(name: &str, set: &str, node: &str, port: u16) -> Value {
    let mut pod = labelled(name, node, &serving(port));
    pod["metadata"]["labels"]["set"] = json!(set);
    pod
}

fn apply_all(machines: &Machines, objects: &[Value]) {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    machines.apply(&list.to_string());
}

/// Waits until the Service has this many ready endpoints.
fn wait_endpoints(machines: &Machines, service: &str, count: usize) {
    eventually(&format!("{service} has {count} endpoints"), || {
        let label = format!("kubernetes.io/service-name={service}");
        let slices = machines.get(&["endpointslices", "-l", &label]);
        let slices = slices["items"].as_array().cloned().unwrap_or_default();
        let all =
            slices.iter().flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten());
        let ready = all.filter(|endpoint| endpoint["conditions"]["ready"] == true).count();
        if ready == count { Ok(()) } else { Err((ready, slices.clone())) }
    });
}

/// The pods' own addresses that answers came from: the first word of each.
fn answered_by(said: &str) -> BTreeSet<String> {
    let answers = said.lines().filter_map(|line| line.split_once(" => "));
    answers.filter_map(|(_, answer)| Some(answer.split_once(':')?.0.to_owned())).collect()
}

fn cluster_ip(machines: &Machines, name: &str) -> String {
    machines.get(&["service", name])["spec"]["clusterIP"].as_str().unwrap().to_owned()
}

#[test]
fn services_of_three_hosts() {
    let machines = machines_with_images(4);
    let guests = build_guests("tests/guests");
    let wasm = guests.join("http_behave.wasm");
    assert!(machines.coracle(&["push", "http-behave:1", wasm.to_str().unwrap()]).ok);
    every_node_has_a_range_and_every_pod_an_address(&machines);
    a_service_is_one_address_inside(&machines);
    names_are_answered_by_a_real_server(&machines);
    ways::services_are_in_the_environment_of_later_pods(&machines);
    outside_things_have_names_inside(&machines);
    ways::requests_reach_what_is_outside(&machines);
    ways::the_entrance_leads_to_another_host(&machines);
    ways::tls_passes_through_to_whom_its_greeting_names(&machines);
    ways::requests_are_spread_and_connections_are_not(&machines);
    ways::a_deployment_is_exposed_and_its_pods_come_and_go(&machines);
    ways::a_way_is_told_decision_by_decision(&machines);
    local_policies_keep_to_their_node(&machines);
    datagrams_and_host_ports(&machines);
    namespaces_are_apart_when_a_policy_says_so(&machines);
    policies::policies_open_and_close_each_way(&machines);
}

/// Three nodes joined at once; three pods on each of them.
fn every_node_has_a_range_and_every_pod_an_address(machines: &Machines) {
    let pods: Vec<Value> = (1..=3)
        .flat_map(|n| ["a", "b", "c"].map(|letter| (n, format!("{letter}{n}"))))
        .map(|(n, name)| {
            server(&name, if n == 1 { "one" } else { "many" }, &machines.node(n), 7000)
        })
        .collect();
    apply_all(machines, &pods);
    let mut ranges = BTreeSet::new();
    let mut ips = BTreeSet::new();
    for n in 1..=3 {
        let node = machines.get(&["node", &machines.node(n)]);
        let range = node["spec"]["podCIDR"].as_str().unwrap().to_owned();
        let (start, bits) = range.split_once('/').unwrap();
        let number = |ip: &str| u32::from(ip.parse::<std::net::Ipv4Addr>().unwrap());
        let shift = 32 - bits.parse::<u32>().unwrap();
        for letter in ["a", "b", "c"] {
            let ip = wait_pod_ready(machines, &format!("{letter}{n}"));
            assert_eq!(number(&ip) >> shift, number(start) >> shift, "{ip} in {range}");
            assert!(ips.insert(ip));
        }
        assert!(ranges.insert(number(start) >> shift), "{range} is of one node alone");
    }
    assert_eq!((ranges.len(), ips.len()), (3, 9));
}

fn a_service_is_one_address_inside(machines: &Machines) {
    let ports = json!([{"port": 70, "targetPort": "echo"}]);
    let sticky =
        json!({"selector": {"set": "many"}, "sessionAffinity": "ClientIP", "ports": ports});
    let plain = json!({"selector": {"set": "many"}, "ports": ports});
    apply_all(machines, &[service("plain", plain), service("sticky", sticky)]);
    wait_endpoints(machines, "plain", 6);
    wait_endpoints(machines, "sticky", 6);
    // One of another version has the port of that name elsewhere.
    apply_all(machines, &[server("other", "many", &machines.node(1), 9090)]);
    let other = wait_pod_ready(machines, "other");
    wait_endpoints(machines, "plain", 7);
    let plain = cluster_ip(machines, "plain");
    let (at_plain, at_sticky) = (format!("ask {plain}:70 x"), "ask sticky:70 x");
    let mut commands = vec![at_plain.as_str(); 100];
    commands.extend([at_sticky; 100]);
    for machine in 1..=3 {
        let name = format!("client-{machine}");
        ask_until(machines, &name, machine, &commands, |_, said| {
            let (spread, kept) = said.split_once("ask sticky").unwrap();
            let all = answered_by(spread);
            let answers = spread.matches(&format!(" x from {plain}:70")).count();
            (all.len(), all.contains(&other), answers) == (7, true, 100)
                && answered_by(&format!("ask sticky{kept}")).len() == 1
        });
    }
    let outside = machines.ask_outside(1, &plain, 70, "x");
    assert!(outside.is_err(), "nothing outside has the address: {outside:?}");
    // All pods go and come: the address stays, and whoever asks it is served again.
    let many = ["a2", "b2", "c2", "a3", "b3", "c3", "other"];
    machines.run(&[&["delete", "pod", "--now"], &many[..]].concat());
    wait_endpoints(machines, "plain", 0);
    ask_until(machines, "none", 1, &[&at_plain], |_, said| said.contains("=> ConnectionRefused"));
    apply_all(machines, &[server("a2", "many", &machines.node(2), 7000)]);
    let ip = wait_pod_ready(machines, "a2");
    wait_endpoints(machines, "plain", 1);
    assert_eq!(cluster_ip(machines, "plain"), plain);
    ask_until(machines, "back", 3, &[&at_plain], |_, said| answered_by(said).contains(&ip));
}

/// What the toolbox says in pod `a1`.
fn tool(machines: &Machines, words: &str) -> String {
    let mut arguments = vec!["exec", "a1", "--"];
    arguments.extend(words.split(' '));
    let output = machines.kubectl(&arguments);
    format!("{}{}", output.stdout, output.stderr)
}

fn names_are_answered_by_a_real_server(machines: &Machines) {
    let dns = machines.get(&["service", "kube-dns", "-n", "kube-system"]);
    assert_eq!(dns["spec"]["clusterIP"], "10.96.0.10");
    let plain = cluster_ip(machines, "plain");
    // A name is there as soon as its Service, by whichever way it is asked.
    for ask in
        ["nslookup plain", "nslookup plain.default", "nslookup plain.default.svc.cluster.local"]
    {
        assert!(tool(machines, ask).contains(&format!("Address: {plain}\n")), "{ask}");
    }
    let full = "plain.default.svc.cluster.local";
    for way in ["", " +tcp"] {
        let said = tool(machines, &format!("dig @10.96.0.10 {full} +short{way}"));
        assert_eq!(said.trim(), plain);
    }
    assert_eq!(tool(machines, "dig plain +search +short").trim(), plain);
    assert_eq!(tool(machines, &format!("dig -x {plain} +short")).trim(), format!("{full}."));
    assert!(tool(machines, "dig nosuch.default.svc.cluster.local").contains("status: NXDOMAIN"));
    a_new_name_is_known_within_a_second(machines);
    // A headless Service is its pods, by its own name and by theirs.
    let headless = json!({"clusterIP": "None", "selector": {"set": "one"},
        "ports": [{"name": "echo", "port": 7000}]});
    let template = json!({"metadata": {"labels": {"app": "web", "set": "web"}}, "spec": {"containers":
        [{"name": "c", "image": PROBE, "args": ["serve 0.0.0.0:7000 1000"]}]}});
    let set = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "web"},
        "spec": {"serviceName": "web", "replicas": 1, "selector": {"matchLabels": {"app": "web"}},
            "template": template}});
    let governing =
        json!({"clusterIP": "None", "selector": {"app": "web"}, "ports": [{"port": 7000}]});
    apply_all(machines, &[service("ones", headless), service("web", governing), set]);
    wait_endpoints(machines, "ones", 3);
    wait_endpoints(machines, "web", 1);
    let address =
        |pod: &str| machines.get(&["pod", pod])["status"]["podIP"].as_str().unwrap().to_owned();
    let all: BTreeSet<String> = ["a1", "b1", "c1"].map(address).into();
    let lines = |said: String| said.lines().map(str::to_owned).collect::<BTreeSet<String>>();
    eventually("the headless name has all pods", || {
        let said = lines(tool(machines, "dig ones.default.svc.cluster.local +short"));
        if said == all { Ok(()) } else { Err(said) }
    });
    let said = tool(machines, "nslookup ones");
    assert!(all.iter().all(|ip| said.contains(&format!("Address: {ip}\n"))), "{said}");
    let said = tool(machines, "dig _echo._tcp.ones.default.svc.cluster.local SRV +short");
    assert_eq!(said.matches(" 7000 ").count(), 3, "{said}");
    let web = address("web-0");
    eventually("a pod of a StatefulSet has a name", || {
        let said = tool(machines, "nslookup web-0.web");
        if said.contains(&format!("Address: {web}\n")) { Ok(()) } else { Err(said) }
    });
    let dashed = web.replace('.', "-");
    assert_eq!(
        tool(machines, &format!("dig {dashed}.default.pod.cluster.local +short")).trim(),
        web
    );
    // A pod's own settings are in its file, and its lookups follow them.
    let mut own = labelled(
        "own-dns",
        &machines.node(1),
        &json!({"name": "c", "image": PROBE,
        "args": ["resolve plain", "resolve a1.b1"]}),
    );
    own["spec"]["restartPolicy"] = json!("Never");
    own["spec"]["hostAliases"] = json!([{"ip": "192.0.2.9", "hostnames": ["a1.b1"]}]);
    own["spec"]["dnsPolicy"] = json!("None");
    own["spec"]["dnsConfig"] =
        json!({"nameservers": ["10.96.0.10"], "searches": ["default.svc.cluster.local"]});
    apply_all(machines, &[own]);
    let (_, said) = ended(machines, "own-dns");
    assert_eq!(said, format!("resolve plain => {plain}\nresolve a1.b1 => 192.0.2.9\n"));
}

/// Row `dns.watch`. The time of a loaded machine proves nothing, so the best of some tries counts, less the time that
/// the same words take for a name that is known.
fn a_new_name_is_known_within_a_second(machines: &Machines) {
    let mut round = 0;
    eventually("a Service is resolved less than a second after it was made", || {
        round += 1;
        let name = format!("new-{round}");
        assert!(
            tool(machines, &format!("dig {name}.default.svc.cluster.local")).contains("NXDOMAIN")
        );
        apply_all(machines, &[service(&name, json!({"ports": [{"port": 80}]}))]);
        let made = Instant::now();
        let ip = cluster_ip(machines, &name);
        let wanted = format!("Address: {ip}\n");
        eventually("it is resolved", || {
            let said = tool(machines, &format!("nslookup {name}"));
            if said.contains(&wanted) { Ok(()) } else { Err(said) }
        });
        let took = made.elapsed();
        let known = Instant::now();
        let plain = cluster_ip(machines, "plain");
        assert!(tool(machines, "nslookup plain").contains(&format!("Address: {plain}\n")));
        let took = took.saturating_sub(known.elapsed());
        let said =
            tool(machines, &format!("dig @10.96.0.10 {name}.default.svc.cluster.local +short"));
        assert_eq!(said.trim(), ip);
        if took.as_millis() < 1000 { Ok(()) } else { Err(took) }
    });
}

/// The server's machine stands for something outside of the cluster: its API answers at port 6443.
fn outside_things_have_names_inside(machines: &Machines) {
    let outside = machines.address(0);
    let manual = json!({"ports": [{"name": "api", "port": 80, "targetPort": 6443}]});
    let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "manual-1", "labels": {"kubernetes.io/service-name": "manual"}},
        "addressType": "IPv4", "ports": [{"name": "api", "port": 6443}],
        "endpoints": [{"addresses": [outside], "conditions": {"ready": true}}]});
    let external =
        json!({"type": "ExternalName", "externalName": "plain.default.svc.cluster.local"});
    apply_all(machines, &[service("manual", manual), slice, service("swap", external)]);
    wait_endpoints(machines, "manual", 1);
    let client = |name: &str, grant: Option<&str>| {
        let container = json!({"name": "c", "image": PROBE,
            "args": ["connect manual:80", "ask swap:70 hi"]});
        let mut pod = labelled(name, &machines.node(1), &container);
        pod["spec"]["restartPolicy"] = json!("Never");
        if let Some(grant) = grant {
            pod["metadata"]["annotations"] = json!({"coracle.dev/egress": grant});
        }
        pod
    };
    // A Service opens nothing that the pod was not granted.
    let (grant, mut round) = (format!("{outside}:6443"), 0);
    eventually("who was granted it gets out", || {
        round += 1;
        let name = format!("granted-{round}");
        apply_all(machines, &[client(&name, Some(&grant))]);
        let (_, said) = ended(machines, &name);
        let out = said.contains("connect manual:80 => ok") && said.contains(" hi from ");
        if out { Ok(()) } else { Err(said) }
    });
    apply_all(machines, &[client("not-granted", None)]);
    let (_, said) = ended(machines, "not-granted");
    assert!(said.contains("connect manual:80 => ConnectionRefused"), "{said}");
    let said = tool(machines, "dig swap.default.svc.cluster.local");
    assert!(said.contains("CNAME\tplain.default.svc.cluster.local."), "{said}");
    // What was outside moves in: the same name, the same client.
    let inside = json!({"type": "ClusterIP", "externalName": null, "selector": {"set": "one"},
        "ports": [{"port": 70, "targetPort": 7000}]});
    machines.run(&["patch", "service", "swap", "-p", &json!({"spec": inside}).to_string()]);
    wait_endpoints(machines, "swap", 3);
    let ip = cluster_ip(machines, "swap");
    ask_until(machines, "swapped", 1, &["ask swap:70 hi"], |_, said| {
        said.contains(&format!(" hi from {ip}:70"))
    });
}

/// One pod on the first node, three on the second, none on the third.
fn local_policies_keep_to_their_node(machines: &Machines) {
    let mut pods = vec![server("l1", "local", &machines.node(1), 7000)];
    pods.extend(["l2", "m2", "n2"].map(|name| server(name, "local", &machines.node(2), 7000)));
    let spec = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local",
        "internalTrafficPolicy": "Local", "loadBalancerClass": "example.com/none",
        "selector": {"set": "local"}, "ports": [{"port": 70, "targetPort": 7000, "nodePort": 30070}]});
    pods.push(service("local", spec));
    apply_all(machines, &pods);
    let first = wait_pod_ready(machines, "l1");
    let second: BTreeSet<String> =
        ["l2", "m2", "n2"].map(|name| wait_pod_ready(machines, name)).into();
    wait_endpoints(machines, "local", 4);
    let health =
        machines.get(&["service", "local"])["spec"]["healthCheckNodePort"].as_u64().unwrap();
    let health = u16::try_from(health).unwrap();
    let check = |machine: usize| {
        let request = "GET /healthz HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n";
        machines.send(0, &machines.address(machine), health, request)
    };
    for (machine, status, count) in [(1, 200, 1), (2, 200, 3), (3, 503, 0)] {
        eventually(&format!("the health of machine {machine}"), || {
            let said = check(machine)?;
            let told = said.starts_with(&format!("HTTP/1.1 {status} "))
                && said.contains(&format!("\"localEndpoints\":{count}"));
            if told { Ok(()) } else { Err(said) }
        });
    }
    // A node without a pod refuses; elsewhere the pods of the node alone answer, and see the client.
    let nobody = machines.ask_outside(0, &machines.address(3), 30070, "x");
    assert_eq!(nobody.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let inside = |machine: usize, name: &str| {
        let (_, said) = ask(machines, name, machine, &["ask local:70 x"; 12]);
        said
    };
    assert_eq!(answered_by(&inside(1, "at-one")), [first.clone()].into());
    let of_two = answered_by(&inside(2, "at-two"));
    assert!(!of_two.is_empty() && of_two.is_subset(&second), "{of_two:?}");
    assert_eq!(inside(3, "at-three").matches("=> ConnectionRefused").count(), 12);
    let client = machines.address(0);
    for machine in [1, 2] {
        eventually(&format!("the node port of machine {machine} is open"), || {
            machines.ask_outside(0, &machines.address(machine), 30070, "hello")
        });
    }
    // As a load balancer that gives each healthy node the same: the pod that is alone on its node has as
    // much as the three of the other node together.
    let mut by_pod: BTreeMap<String, u32> = BTreeMap::new();
    for turn in 0..24 {
        let machine = 1 + turn % 2;
        let seen = machines.ask_outside(0, &machines.address(machine), 30070, "hello").unwrap();
        let (who, rest) = seen.split_once(':').unwrap();
        assert_eq!((second.contains(who), rest), (machine == 2, &*format!("7000 {client} hello")));
        *by_pod.entry(who.to_owned()).or_default() += 1;
    }
    let alone = by_pod.remove(&first).unwrap();
    assert_eq!((alone, by_pod.values().sum::<u32>()), (12, 12), "{by_pod:?}");
}

fn datagrams_and_host_ports(machines: &Machines) {
    let container = json!({"name": "c", "image": PROBE, "args": ["udp-serve 0.0.0.0:5353 1000"],
        "ports": [{"containerPort": 5353, "protocol": "UDP"}]});
    let mut pod = labelled("udp", &machines.node(2), &container);
    pod["metadata"]["labels"]["set"] = json!("udp");
    let ports = json!([{"port": 53, "targetPort": 5353, "protocol": "UDP", "nodePort": 30053}]);
    let spec = json!({"type": "NodePort", "selector": {"set": "udp"}, "ports": ports});
    let mut container = serving(7000);
    container["ports"][0]["hostPort"] = json!(8070);
    let template =
        json!({"metadata": {"labels": {"app": "spread"}}, "spec": {"containers": [container]}});
    let spread = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "spread"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "spread"}}, "template": template}});
    apply_all(machines, &[pod, service("udp", spec), spread]);
    wait_pod_ready(machines, "udp");
    wait_endpoints(machines, "udp", 1);
    let ip = cluster_ip(machines, "udp");
    ask_until(machines, "udp-client", 1, &["udp-ask udp:53 hi"], |_, said| {
        said == format!("udp-ask udp:53 hi => hi from {ip}:53, connected hi\n")
    });
    for machine in 1..=3 {
        eventually(&format!("a datagram at machine {machine} is answered"), || {
            let said = machines.ask_by_datagram(0, &machines.address(machine), 30053, "hi");
            if said.as_deref().is_ok_and(|said| said == "hi") { Ok(()) } else { Err(said) }
        });
    }
    // The host's port leads to the pod on its own node alone.
    machines.run(&["rollout", "status", "deployment/spread", "--timeout=180s"]);
    let path = "jsonpath={.items[*].spec.nodeName}";
    let node = machines.run(&["get", "pods", "-l", "app=spread", "-o", path]);
    for machine in 1..=3 {
        let answered = machines.ask_outside(0, &machines.address(machine), 8070, "x");
        assert_eq!(answered.is_ok(), machines.node(machine) == node, "{node} {answered:?}");
    }
    // Three fit, each on a node of its own; a fourth finds no port.
    machines.run(&["scale", "deployment/spread", "--replicas=4"]);
    eventually("three run and one waits", || {
        let pods = machines.get(&["pods", "-l", "app=spread"]);
        let pods = pods["items"].as_array().cloned().unwrap_or_default();
        let nodes: BTreeSet<&str> =
            pods.iter().filter_map(|pod| pod["spec"]["nodeName"].as_str()).collect();
        let why = pods
            .iter()
            .flat_map(|pod| pod["status"]["conditions"].as_array().into_iter().flatten());
        let why = why.filter_map(|condition| condition["message"].as_str());
        let why: String = why.collect();
        let waits = why.contains("free ports");
        if pods.len() == 4 && nodes.len() == 3 && waits { Ok(()) } else { Err((nodes.len(), why)) }
    });
}

fn namespaces_are_apart_when_a_policy_says_so(machines: &Machines) {
    machines.run(&["create", "namespace", "other"]);
    eventually("pods may be made in the namespace", || {
        let account = machines.kubectl(&["get", "serviceaccount", "default", "-n", "other"]);
        if account.ok { Ok(()) } else { Err(account) }
    });
    let target = wait_pod_ready(machines, "a1");
    let question = format!("ask {target}:7000 hi");
    let mut round = 0;
    let mut from_other = || {
        round += 1;
        let name = format!("visitor-{round}");
        let container = json!({"name": "c", "image": PROBE, "args": [question]});
        let mut pod = labelled(&name, &machines.node(2), &container);
        pod["metadata"]["namespace"] = json!("other");
        pod["spec"]["restartPolicy"] = json!("Never");
        machines.apply(&pod.to_string());
        eventually("the visitor has ended", || {
            let pod = machines.get(&["pod", &name, "-n", "other"]);
            match pod["status"]["phase"].as_str() {
                Some("Succeeded" | "Failed") => Ok(machines.run(&["logs", &name, "-n", "other"])),
                _ => Err(pod["status"].clone()),
            }
        })
    };
    let said = from_other();
    assert!(said.contains(" hi from "), "{said}");
    let own = json!([{"from": [{"podSelector": {}}]}]);
    let policy = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "own-only"}, "spec": {"podSelector": {}, "ingress": own}});
    machines.apply(&policy.to_string());
    eventually("the other namespace is refused", || {
        let said = from_other();
        if said.contains("=> ConnectionRefused") { Ok(()) } else { Err(said) }
    });
    // The host of `a1` knows a new pod's namespace a moment after that pod is there.
    let again = format!("await {target}:7000 hi");
    let (_, said) = ask(machines, "neighbour", 3, &[&again]);
    assert!(said.contains(" hi from "), "{said}");
    machines.run(&["delete", "networkpolicy", "own-only"]);
}
