//! What a host gives its pods, as a user meets it: addresses of both families, its own network where that
//! is granted, what init containers are for, and one copy of what many pods run.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use coracle_e2e::{
    BEHAVE, Cluster, HELLO, HTTP, build_guests, container, eventually, free_port, get, pod,
    service, sh,
};
use serde_json::{Value, json};

fn texts(value: &Value) -> Vec<String> {
    let all = value.as_array().unwrap().iter();
    all.map(|text| text.as_str().unwrap_or_else(|| text["ip"].as_str().unwrap()).to_owned())
        .collect()
}

#[test]
fn what_a_host_gives_its_pods() {
    let guests = build_guests("tests/guests");
    let cluster = Cluster::start_flags(|_| vec!["--allow-host-network".to_owned()]);
    cluster.wait_ready();
    cluster.push_guests(&guests);
    let own = json!({"env": [{"name": "IPS",
        "valueFrom": {"fieldRef": {"fieldPath": "status.podIPs"}}}]});
    let script = "while true; do sleep 60; done";
    cluster.make(&[pod("tool", &json!({"containers": [sh("c", script, &own)]}))]);
    pods_and_services_have_two_addresses(&cluster);
    a_pod_has_the_hosts_network(&cluster);
    init_containers_prepare_what_a_pod_needs(&cluster);
    many_pods_share_one_copy_of_their_image(&cluster);
}

fn pods_and_services_have_two_addresses(cluster: &Cluster) {
    let port = json!({"ports": [{"containerPort": 8080}]});
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ipFamilyPolicy": "RequireDualStack",
            "ports": [{"port": 80, "targetPort": 8080}]}});
    let web = json!({"containers": [container("c", HELLO, &port)]});
    cluster.make(&[service, pod("web", &web)]);
    let ips = texts(&cluster.ready("web")["status"]["podIPs"]);
    let node = &cluster.get(&["nodes"])["items"][0];
    let ranges = texts(&node["spec"]["podCIDRs"]);
    assert_eq!((ips.len(), ranges.len()), (2, 2), "{ips:?} {ranges:?}");
    assert!(ips[1].starts_with(ranges[1].trim_end_matches(":/64")), "{ips:?} {ranges:?}");
    let service = cluster.get(&["service", "web"]);
    let virtual_ips = texts(&service["spec"]["clusterIPs"]);
    assert_eq!(service["spec"]["ipFamilies"], json!(["IPv4", "IPv6"]));
    let own = texts(&cluster.ready("tool")["status"]["podIPs"]);
    cluster.exec_prints("tool", "echo $IPS", &own.join(","));
    let hello = get_hello(cluster, &format!("http://{}:8080/", ips[0]));
    for url in [
        format!("http://[{}]:8080/", ips[1]),
        format!("http://{}/", virtual_ips[0]),
        format!("http://[{}]/", virtual_ips[1]),
        "http://web/".to_owned(),
    ] {
        assert_eq!(get_hello(cluster, &url), hello, "{url}");
    }
    let found = cluster.exec("tool", "nslookup web.default.svc.cluster.local");
    assert!(virtual_ips.iter().all(|ip| found.stdout.contains(ip)), "{found:?}");
}

/// Something of the host's own, which answers on all its addresses.
fn serve_on_the_host() -> u16 {
    let own = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = own.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in own.incoming() {
            // A client that is gone is none of ours. What is not read would make the end a reset.
            let _ = stream.and_then(|mut stream| {
                let asked = stream.read(&mut [0; 4096])?;
                if asked > 0 { stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nhost") } else { Ok(()) }
            });
        }
    });
    assert_eq!(get(port, "/").unwrap().body, "host");
    port
}

fn get_hello(cluster: &Cluster, url: &str) -> String {
    eventually(&format!("{url} answers"), || {
        let output = cluster.exec("tool", &format!("curl -s '{url}'"));
        if output.ok && !output.stdout.is_empty() { Ok(output.stdout) } else { Err(output) }
    })
}

/// Row `net.hostnetwork`.
fn a_pod_has_the_hosts_network(cluster: &Cluster) {
    let addresses = &cluster.get(&["nodes"])["items"][0]["status"]["addresses"];
    let internal = addresses.as_array().unwrap().iter().find(|a| a["type"] == "InternalIP");
    let node_ip = internal.unwrap()["address"].as_str().unwrap().to_owned();
    let (port, own_port) = (free_port(), serve_on_the_host());
    let edge = |port: u16| {
        let ports = json!({"ports": [{"containerPort": port}]});
        json!({"hostNetwork": true, "containers": [container("web", HELLO, &ports),
            sh("tool", "while true; do sleep 60; done", &json!({"image": BEHAVE}))]})
    };
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "edge"},
        "spec": {"selector": {"app": "edge"}, "ports": [{"port": 80, "targetPort": port}]}});
    cluster.make(&[service, pod("edge", &edge(port))]);
    let shown = cluster.ready("edge");
    assert_eq!(shown["status"]["podIPs"], json!([{"ip": node_ip}]));
    // From outside, at every address of the host.
    let answer = eventually("the pod answers at the host's port", || get(port, "/"));
    assert_eq!(answer.status, 200);
    let outside: SocketAddr = format!("{node_ip}:{port}").parse().unwrap();
    drop(TcpStream::connect(outside).unwrap());
    // From another pod, by the address and by a Service; and never what is the host's own.
    for url in [format!("http://{node_ip}:{port}/"), "http://edge/".to_owned()] {
        assert_eq!(get_hello(cluster, &url), answer.body, "{url}");
    }
    for (name, container) in [("tool", "c"), ("edge", "tool")] {
        for host in [node_ip.as_str(), "127.0.0.1"] {
            let url = format!("http://{host}:{own_port}/");
            let said = cluster.kubectl(&["exec", name, "-c", container, "--", "curl", "-s", &url]);
            assert!(!said.ok, "{name} reached {url}: {said:?}");
        }
    }
    // Pod Security keeps it from namespaces that are not privileged.
    let safe = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "safe",
        "labels": {"pod-security.kubernetes.io/enforce": "baseline"}}});
    cluster.make(&[safe]);
    let manifest = pod("edge", &edge(port)).to_string();
    let refused = cluster.kubectl_with(&["apply", "-n", "safe", "-f", "-"], &manifest);
    assert!(refused.stderr.contains("hostNetwork=true"), "{refused:?}");
    cluster.run(&["delete", "pod", "edge", "tool", "web"]);
    eventually("the host's port is free", || TcpListener::bind(("0.0.0.0", port)).map(drop));
}

/// Row `ctr.init-uses`: wait for a Service, register, wait a while, fetch files, render a template.
fn init_containers_prepare_what_a_pod_needs(cluster: &Cluster) {
    let port = json!({"ports": [{"containerPort": 8080}]});
    let registrar = json!({"containers": [container("c", HTTP, &port)]});
    let template = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "template"},
        "data": {"app.conf": "name = @NAME@\n"}});
    let more = json!({"volumeMounts": [{"name": "work", "mountPath": "/work"},
        {"name": "template", "mountPath": "/template"}],
        "env": [{"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]});
    let init = [
        ("wait", "until nslookup late.default.svc >/dev/null 2>&1; do sleep 1; done"),
        (
            "register",
            "until curl -s -X POST -d \"$NAME is here\" http://registrar/echo > /work/told; do sleep 1; done",
        ),
        ("pause", "sleep 1"),
        ("fetch", "until wget -q -O /work/page http://registrar/count; do sleep 1; done"),
        ("render", "sed \"s/@NAME@/$NAME/\" /template/app.conf > /work/app.conf"),
    ];
    let init: Vec<Value> = init.iter().map(|(name, script)| sh(name, script, &more)).collect();
    let app = sh(
        "app",
        "cat /work/told; echo; cat /work/app.conf; test -f /work/page && echo fetched",
        &more,
    );
    let spec = json!({"restartPolicy": "Never", "initContainers": init, "containers": [app],
        "volumes": [{"name": "work", "emptyDir": {}}, {"name": "template", "configMap": {"name": "template"}}]});
    cluster.make(&[
        template,
        service("registrar", 8080),
        pod("registrar", &registrar),
        pod("prepared", &spec),
    ]);
    let waits = "/status/initContainerStatuses/0/state/running/startedAt";
    eventually("it waits for the Service", || {
        let shown = cluster.get(&["pod", "prepared"]);
        if shown.pointer(waits).is_some() { Ok(()) } else { Err(shown["status"].clone()) }
    });
    assert_eq!(cluster.get(&["pod", "prepared"])["status"]["phase"], "Pending");
    cluster.run(&["expose", "pod", "registrar", "--name", "late", "--port", "80"]);
    assert_eq!(cluster.printed("prepared"), "prepared is here\nname = prepared\nfetched\n");
    cluster.run(&["delete", "pod", "registrar", "prepared"]);
}

/// Row `vol.rootfs-perf`.
fn many_pods_share_one_copy_of_their_image(cluster: &Cluster) {
    const PODS: u32 = 100;
    let template = json!({"metadata": {"labels": {"app": "many"}}, "spec": {"terminationGracePeriodSeconds": 0,
        "containers": [container("c", HELLO, &json!({"ports": [{"containerPort": 8080}]}))]}});
    let spec =
        json!({"replicas": 1, "selector": {"matchLabels": {"app": "many"}}, "template": template});
    cluster.make(&[json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "many"}, "spec": spec})]);
    cluster.shows("deployment/many", "/status/readyReplicas", 1);
    let on_disk =
        || ["images", "compiled"].map(|folder| files(&cluster.data().join("host").join(folder)));
    let node = cluster.run(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]);
    let mapped = || {
        let page = cluster.run(&["get", "--raw", &format!("/api/v1/nodes/{node}/proxy/metrics")]);
        let line = page.lines().find_map(|line| line.strip_prefix("coracle_components_mapped "));
        line.unwrap().split(' ').next().unwrap().parse::<u32>().unwrap()
    };
    let (before, mapped_before) = (on_disk(), mapped());
    assert!(mapped_before > 0);
    assert!(before.iter().all(|(files, bytes)| *files > 0 && *bytes > 0), "{before:?}");
    cluster.run(&["scale", "deployment", "many", &format!("--replicas={PODS}")]);
    cluster.shows("deployment/many", "/status/readyReplicas", PODS);
    for (now, before) in on_disk().into_iter().zip(before) {
        assert!(now.0 <= before.0 && now.1 <= before.1, "{now:?} files and bytes, not {before:?}");
    }
    assert!(mapped() <= mapped_before, "one component for all: {} of {mapped_before}", mapped());
}

/// How many files a folder has, in all depths, and how many bytes they are.
fn files(folder: &std::path::Path) -> (u64, u64) {
    let all = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    // One that goes in between is none.
    let all = all.filter_map(|entry| Some((entry.metadata().ok()?, entry)));
    all.fold((0, 0), |(files, bytes), (kind, entry)| {
        let (more, its) = if kind.is_dir() { self::files(&entry.path()) } else { (1, kind.len()) };
        (files + more, bytes + its)
    })
}
