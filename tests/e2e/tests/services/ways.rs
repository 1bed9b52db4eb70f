//! Ways into a Service and out of the cluster: Deployments behind an address, things outside, requests of
//! HTTP, the entrance, and what `coracle trace` says of a way.

use std::collections::BTreeMap;

use coracle_e2e::probe_pods::{PROBE, ask, ask_until, ended, labelled, serving, wait_pod_ready};
use coracle_e2e::{HTTP, Machines, eventually};
use serde_json::{Value, json};

use super::{apply_all, cluster_ip, server, service, tool, wait_endpoints};

/// The port of the HTTP server on machine 0, which is outside of the cluster.
const OUTSIDE_PORT: u16 = 8088;

fn deployment(name: &str, replicas: u32, container: &Value) -> Value {
    let labels = json!({"app": name});
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}}}})
}

/// A pod that runs commands of the probe and is not waited for.
fn begin(machines: &Machines, name: &str, machine: usize, commands: &[&str]) {
    let container = json!({"name": "c", "image": PROBE, "args": commands});
    let mut pod = labelled(name, &machines.node(machine), &container);
    pod["spec"]["restartPolicy"] = json!("Never");
    apply_all(machines, &[pod]);
}

/// A client that asks a Service until `end` is the name of one; returns once it was answered.
fn ask_without_pause(machines: &Machines, name: &str, machine: usize, (at, end): (&str, &str)) {
    let commands = [format!("await {at} x"), format!("loop {at} {end}")];
    begin(machines, name, machine, &[&commands[0], &commands[1]]);
    eventually("the client is answered", || {
        let said = machines.kubectl(&["logs", name]);
        if said.stdout.contains(" x from ") { Ok(()) } else { Err(said) }
    });
}

/// Ends such a client of machine 3, and gives the runs of what it saw: how often, and what. Before that the machine
/// has learned that there are pods to ask: Services and endpoints come to it each in their own time.
fn runs(machines: &Machines, name: &str, (at, end): (&str, &str)) -> Vec<(u32, String)> {
    ask(machines, &format!("before-{end}"), 3, &[&format!("await {at} x")]);
    apply_all(machines, &[service(end, json!({"ports": [{"port": 1}]}))]);
    let (_, said) = ended(machines, name);
    let (_, runs) = said.split_once(&format!(" {end} => ")).unwrap();
    let run = |run: &str| {
        let (count, what) = run.trim().split_once(' ').unwrap();
        (count.parse().unwrap(), what.to_owned())
    };
    runs.split(',').map(run).collect()
}

fn names_of(machines: &Machines, app: &str) -> Vec<String> {
    let path = "jsonpath={.items[*].metadata.name}";
    let names = machines.run(&["get", "pods", "-l", &format!("app={app}"), "-o", path]);
    names.split(' ').map(str::to_owned).collect()
}

/// Rows `svc.object`, `svc.clusterip`, `lb.health`.
pub(super) fn a_deployment_is_exposed_and_its_pods_come_and_go(machines: &Machines) {
    apply_all(machines, &[deployment("shop", 3, &serving(80))]);
    machines.run(&["expose", "deployment", "shop", "--port=80"]);
    wait_endpoints(machines, "shop", 3);
    let address = cluster_ip(machines, "shop");
    for machine in 1..=3 {
        let by_name = format!("of-{machine}");
        ask_until(machines, &by_name, machine, &["ask shop:80 x"], |_, said| {
            said.contains(&format!(" x from {address}:80"))
        });
        let outside = machines.ask_outside(machine, &address, 80, "x");
        assert!(outside.is_err(), "the machine itself does not have the address: {outside:?}");
    }
    // One is killed under a client that asks all the time: what it was just being asked may be lost.
    ask_without_pause(machines, "during-a-kill", 3, ("shop:80", "end-of-kill"));
    let before = names_of(machines, "shop");
    machines.run(&["delete", "pod", &before[0], "--force", "--grace-period=0"]);
    eventually("another one is ready in its place", || {
        let now = names_of(machines, "shop");
        if now.len() == 3 && !now.contains(&before[0]) { Ok(()) } else { Err(now) }
    });
    wait_endpoints(machines, "shop", 3);
    let runs_of_kill = runs(machines, "during-a-kill", ("shop:80", "end-of-kill"));
    let failed: u32 =
        runs_of_kill.iter().filter(|(_, what)| what == "failed").map(|(count, _)| count).sum();
    assert!(failed <= 1 && runs_of_kill.last().unwrap().1 == "ok", "{runs_of_kill:?}");
    // All of them go, and others come: the address stays, and the same client is served again.
    ask_without_pause(machines, "during-a-change", 3, ("shop:80", "end-of-change"));
    let before = names_of(machines, "shop");
    machines.run(&["delete", "pods", "-l", "app=shop", "--now"]);
    eventually("all pods are other ones", || {
        let now = names_of(machines, "shop");
        let others = now.iter().all(|name| !before.contains(name));
        if now.len() == 3 && others { Ok(()) } else { Err(now) }
    });
    wait_endpoints(machines, "shop", 3);
    assert_eq!(cluster_ip(machines, "shop"), address);
    let runs = runs(machines, "during-a-change", ("shop:80", "end-of-change"));
    assert_eq!(runs.last().unwrap().1, "ok", "{runs:?}");
}

/// What an HTTP pod says at a path, asked from pod `a1`.
fn http(machines: &Machines, url: &str) -> String {
    tool(machines, &format!("wget -qO- http://{url}"))
}

/// A pod of the HTTP guest on a node, with a Service of its name.
fn web(machines: &Machines, name: &str, machine: usize) -> [Value; 2] {
    let container = json!({"name": "c", "image": HTTP, "ports": [{"containerPort": 8080}]});
    let pod = labelled(name, &machines.node(machine), &container);
    let spec = json!({"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]});
    [pod, service(name, spec)]
}

/// Rows `svc.externalname`, `svc.manual-endpoints`: `caller` is a component that asks over `wasi:http`.
pub(super) fn requests_reach_what_is_outside(machines: &Machines) {
    machines.serve_http(0, OUTSIDE_PORT, "from outside");
    let (address, name) = (machines.address(0), Machines::outside_name(0));
    let [mut caller, of_caller] = web(machines, "caller", 1);
    let grant = format!("{name}:{OUTSIDE_PORT},{address}:{OUTSIDE_PORT}");
    caller["metadata"]["annotations"] = json!({"coracle.dev/egress": grant});
    let external = service("far", json!({"type": "ExternalName", "externalName": name}));
    let by_hand = service("by-hand", json!({"ports": [{"name": "http", "port": 80}]}));
    let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "by-hand-1", "labels": {"kubernetes.io/service-name": "by-hand"}},
        "addressType": "IPv4", "ports": [{"name": "http", "port": OUTSIDE_PORT}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": true}}]});
    apply_all(machines, &[caller, of_caller, external, by_hand, slice]);
    wait_pod_ready(machines, "caller");
    wait_endpoints(machines, "caller", 1);
    wait_endpoints(machines, "by-hand", 1);
    eventually("the name stands for one outside", || {
        let said = tool(machines, "dig far.default.svc.cluster.local");
        if said.contains(&format!("CNAME\t{name}.")) { Ok(()) } else { Err(said) }
    });
    for target in [format!("far:{OUTSIDE_PORT}"), "by-hand:80".to_owned()] {
        eventually(&format!("{target} answers"), || {
            let said = http(machines, &format!("caller/call?{target}/"));
            if said.trim() == "200 from outside" { Ok(()) } else { Err(said) }
        });
    }
}

/// Row `svc.env`.
pub(super) fn services_are_in_the_environment_of_later_pods(machines: &Machines) {
    let tcp = |port: u16| json!({"selector": {"app": "none"}, "ports": [{"port": port}]});
    apply_all(machines, &[service("backend-database", tcp(5432)), service("hub", tcp(4444))]);
    let (database, hub) = (cluster_ip(machines, "backend-database"), cluster_ip(machines, "hub"));
    eventually("the node knows the Service", || {
        let said = tool(machines, "nslookup hub");
        if said.contains(&hub) { Ok(()) } else { Err(said) }
    });
    let print = |name: &str, links: bool| {
        let container = json!({"name": "c", "image": PROBE, "command": ["env"]});
        let mut pod = labelled(name, &machines.node(1), &container);
        pod["spec"]["restartPolicy"] = json!("Never");
        pod["spec"]["enableServiceLinks"] = json!(links);
        apply_all(machines, &[pod]);
        ended(machines, name).1
    };
    let later = print("later", true);
    for wanted in [
        format!("BACKEND_DATABASE_SERVICE_HOST={database}"),
        "BACKEND_DATABASE_SERVICE_PORT=5432".to_owned(),
        format!("HUB_PORT_4444_TCP_ADDR={hub}"),
        "HUB_PORT_4444_TCP_PORT=4444".to_owned(),
        format!("HUB_PORT=tcp://{hub}:4444"),
    ] {
        assert!(later.lines().any(|line| line == wanted), "{wanted} in {later}");
    }
    // Pod `a1` is older than both; a pod that wants no links has the API server's alone.
    for other in [tool(machines, "env"), print("without-links", false)] {
        assert!(other.contains("KUBERNETES_SERVICE_HOST="), "{other}");
        assert!(!other.contains("BACKEND_DATABASE") && !other.contains("HUB_PORT"), "{other}");
    }
}

/// Row `net.layers`: pod to pod and by Service are tried above; this is the way in, at every host.
pub(super) fn the_entrance_leads_to_another_host(machines: &Machines) {
    let backend = json!({"service": {"name": "caller", "port": {"number": 80}}});
    let ingress = json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "caller"},
        "spec": {"rules": [{"host": "in.example", "http": {"paths": [
            {"path": "/", "pathType": "Prefix", "backend": backend}]}}]}});
    apply_all(machines, &[ingress]);
    let request = "GET /header?x-forwarded-for HTTP/1.1\\r\\nHost: in.example\\r\\nConnection: close\\r\\n\\r\\n";
    for machine in [1, 3] {
        let said = eventually(&format!("machine {machine} lets in"), || {
            let said = machines.send(0, &machines.address(machine), 80, request)?;
            if said.starts_with("HTTP/1.1 200") { Ok(said) } else { Err(said) }
        });
        let own = machines.address(0);
        assert!(said.lines().any(|line| line.trim() == own), "the client's own address: {said}");
    }
}

/// A Gateway that opens no TLS leads it on by the name in its greeting: the certificate that the client sees is
/// the one of the server behind, here the API server's on machine 0.
pub(super) fn tls_passes_through_to_whom_its_greeting_names(machines: &Machines) {
    const PORT: u16 = 8444;
    let name = "kubernetes.default.svc";
    let listener =
        json!({"name": "tls", "port": PORT, "protocol": "TLS", "tls": {"mode": "Passthrough"}});
    let gateway = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "tls"},
        "spec": {"gatewayClassName": "coracle", "listeners": [listener]}});
    let route = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "TLSRoute", "metadata": {"name": "tls"},
        "spec": {"parentRefs": [{"name": "tls"}], "hostnames": [name],
            "rules": [{"backendRefs": [{"name": "behind", "port": 443}]}]}});
    let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "behind-1", "labels": {"kubernetes.io/service-name": "behind"}},
        "addressType": "IPv4", "ports": [{"port": 6443}],
        "endpoints": [{"addresses": [machines.address(0)], "conditions": {"ready": true}}]});
    apply_all(
        machines,
        &[service("behind", json!({"ports": [{"port": 443}]})), slice, gateway, route],
    );
    let authority = machines.authority().display().to_string();
    let ask = |name: &str| {
        let at = format!("{name}:{PORT}:{}", machines.address(1));
        let url = format!("https://{name}:{PORT}/livez");
        let words =
            ["curl", "-sS", "--max-time", "10", "--cacert", &authority, "--resolve", &at, &url];
        machines.program(0, &words)
    };
    eventually("TLS goes to the server behind", || {
        let said = ask(name);
        if said.ok && said.stdout == "ok" { Ok(()) } else { Err(said) }
    });
    assert!(!ask("kubernetes.default").ok, "no route has this name, though the server would");
}

/// Row `lb.l7-grpc`: requests of one `wasi:http` client are spread, those of one connection are not.
pub(super) fn requests_are_spread_and_connections_are_not(machines: &Machines) {
    let container = json!({"name": "c", "image": HTTP, "ports": [{"containerPort": 8080}],
        "env": [{"name": "WHO", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]});
    let spec = json!({"selector": {"app": "who"}, "ports": [{"port": 80, "targetPort": 8080}]});
    apply_all(machines, &[deployment("who", 4, &container), service("who", spec)]);
    wait_endpoints(machines, "who", 4);
    let count = |line: &str| {
        let (who, count) = line.split_once(' ')?;
        Some((who.to_owned(), count.parse::<u32>().ok()?))
    };
    let counts = eventually("all four answer, the one as often as the others", || {
        let said = http(machines, "caller/spread?1000,who/env?WHO");
        let counts: Option<BTreeMap<String, u32>> = said.lines().map(count).collect();
        let counts = counts.ok_or_else(|| said.clone())?;
        // 250 each; so far off it is once in a million million times.
        let even = counts.values().all(|count| (150..350).contains(count));
        let all = (counts.len(), counts.values().sum::<u32>()) == (4, 1000);
        if all && even { Ok(counts) } else { Err(said) }
    });
    let request = "printf 'GET /env?WHO HTTP/1.1\\r\\nHost: who\\r\\n\\r\\n'";
    let script = format!("for n in 1 2 3 4 5 6 7 8 9; do {request}; done | nc who 80");
    let said = machines.run(&["exec", "a1", "--", "sh", "-c", &script]);
    // Whether the last one is answered after the client's end of the connection is another matter.
    let by = counts.keys().map(|who| said.matches(who.as_str()).count()).filter(|count| *count > 0);
    let by: Vec<usize> = by.collect();
    assert!(by.len() == 1 && by[0] > 4, "one pod has the whole connection: {said}");
}

/// Row `cp.abstraction-leak`.
pub(super) fn a_way_is_told_decision_by_decision(machines: &Machines) {
    let pod = |name: &str, machine| server(name, "traced", &machines.node(machine), 7000);
    let mut late = pod("traced-late", 3);
    late["spec"]["containers"][0]["readinessProbe"] = json!({"tcpSocket": {"port": 9}});
    let spec = json!({"selector": {"set": "traced"}, "ports": [{"name": "echo", "port": 70, "targetPort": "echo"}]});
    apply_all(machines, &[pod("traced", 2), late, service("traced", spec)]);
    let at = wait_pod_ready(machines, "traced");
    wait_endpoints(machines, "traced", 1);
    let address = cluster_ip(machines, "traced");
    let trace = |target: &str| machines.coracle(&["trace", target, "--from", "pod/a1"]);
    let parts = |told: &str, parts: &[String]| {
        let mut rest = told;
        for part in parts {
            let found = rest.split_once(part.as_str());
            assert!(found.is_some(), "no '{part}' in turn in:\n{told}");
            rest = found.unwrap().1;
        }
    };
    let told = eventually("the trace knows of both pods", || {
        let told = trace("svc/traced");
        if told.ok && told.stdout.contains("not ready") { Ok(told.stdout) } else { Err(told) }
    });
    parts(
        &told,
        &[
            "from pod a1 on node host-1 to svc/traced".to_owned(),
            format!("ok  traced means {address}"),
            format!("ok  {address}:70/TCP is port (echo) of Service default/traced"),
            "ok  1 of 2 are given connections".to_owned(),
            "ok  open".to_owned(),
            format!("{at}:7000: egress open"),
            format!("ok  {at}:7000: by the tunnel to node host-2 at {}:15008", machines.address(2)),
            "ok  taken".to_owned(),
        ],
    );
    assert!(told.contains(&format!("{at}:7000 on node host-2: ready")), "{told}");
    assert!(told.contains(" on node host-3: not ready"), "{told}");
    // A policy that stands in the way is named; so is the grant that is missing for what is outside.
    let policy = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "nobody"}, "spec": {"podSelector": {"matchLabels": {"set": "traced"}}}});
    apply_all(machines, &[policy]);
    let told = eventually("the policy is told of", || {
        let told = trace("svc/traced:echo");
        if told.stdout.contains("policy     NO") { Ok(told) } else { Err(told) }
    });
    assert!(!told.ok && told.stdout.contains("NetworkPolicy nobody isolates ingress"), "{told:?}");
    assert!(!told.stdout.contains("\nconnect "), "nothing was tried: {told:?}");
    machines.run(&["delete", "networkpolicy", "nobody"]);
    let told = trace(&format!("{}:{OUTSIDE_PORT}", machines.address(0)));
    assert!(!told.ok && told.stdout.contains("annotation coracle.dev/egress"), "{told:?}");
    let told = trace("svc/absent");
    assert!(!told.ok && told.stdout.contains("there is no Service default/absent"), "{told:?}");
    // Who may not ask nodes may not ask this.
    let path = "/api/v1/nodes/host-1/proxy/trace/default/a1?service=default/traced";
    let user = "--as=system:serviceaccount:default:default";
    let refused = machines.kubectl(&["get", "--raw", path, user]);
    assert!(!refused.ok && refused.stderr.contains("nodes/proxy"), "{refused:?}");
}
