//! The node as its host keeps it: static pods, heartbeats, cordon, the end of the machine.
#![expect(clippy::expect_used, reason = "a test")]

use coracle_e2e::{BEHAVE, Cluster, HELLO, build_guests, container, eventually, pod, sh};
use serde_json::{Value, json};

fn cluster() -> Cluster {
    let guests = build_guests("tests/guests");
    let cluster = Cluster::start_flags(|folder| {
        vec![
            format!("--pod-manifest-path={}", folder.join("manifests").display()),
            format!("--allow-host-path={}", folder.join("config").display()),
            "--shutdown-grace-period=20".to_owned(),
        ]
    });
    cluster.wait_ready();
    cluster.push_guests(&guests);
    cluster
}

fn node(cluster: &Cluster) -> String {
    cluster.run(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"])
}

/// Rows `node.*`, `pod.static`.
#[test]
fn the_host_keeps_its_node() {
    let mut cluster = cluster();
    the_node_tells_of_itself(&cluster);
    the_node_tells_of_disks_settings_and_health(&cluster);
    a_cordoned_node_takes_no_new_pods(&cluster);
    a_file_is_a_pod(&mut cluster);
    the_machine_goes_down(&cluster);
}

/// Row `node.report`.
fn the_node_tells_of_itself(cluster: &Cluster) {
    let name = node(cluster);
    let described = cluster.run(&["describe", "node", &name]);
    for part in [
        "Capacity:",
        "Allocatable:",
        "cpu:",
        "memory:",
        "ephemeral-storage:",
        "pods:",
        "KubeletReady",
    ] {
        assert!(described.contains(part), "{part}: {described}");
    }
    let path = "jsonpath={.spec.renewTime}";
    let renewed = |but: &str| {
        eventually("the lease is renewed", || {
            let lease =
                cluster.kubectl(&["get", "lease", "-n", "kube-node-lease", &name, "-o", path]);
            let is_new = lease.ok && !lease.stdout.is_empty() && lease.stdout != but;
            if is_new { Ok(lease.stdout) } else { Err(lease) }
        })
    };
    let first = renewed("");
    let second = renewed(&first);
    assert!(second > first, "{first} {second}");
}

/// What is on disk, with which settings the agent runs, and how health checks came out.
fn the_node_tells_of_disks_settings_and_health(cluster: &Cluster) {
    let name = node(cluster);
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "kept"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}});
    let script =
        "for d in /own /kept /tmp; do dd if=/dev/zero of=$d/f bs=1000 count=100; done; sleep 600";
    let mounts = json!({"volumeMounts": [{"name": "own", "mountPath": "/own"},
        {"name": "kept", "mountPath": "/kept"}]});
    let spec = json!({"terminationGracePeriodSeconds": 1, "containers": [sh("c", script, &mounts)],
        "volumes": [{"name": "own", "emptyDir": {}},
            {"name": "kept", "persistentVolumeClaim": {"claimName": "kept"}}]});
    cluster.make(&[claim, pod("writes", &spec)]);
    let raw = |path: &str| {
        let path = format!("/api/v1/nodes/{name}/proxy/{path}");
        cluster.kubectl(&["get", "--raw", &path])
    };
    eventually("the summary knows what the pod has on disk", || {
        let output = raw("stats/summary");
        let summary: Value = serde_json::from_str(&output.stdout).unwrap_or_default();
        let pods = summary["pods"].as_array().into_iter().flatten();
        let own = pods.into_iter().find(|pod| pod["podRef"]["name"] == "writes");
        let own = own.cloned().unwrap_or_default();
        let used = |at: &Value| at["usedBytes"].as_u64().unwrap_or_default();
        let volume = |name: &str| {
            let all = own["volume"].as_array().into_iter().flatten();
            all.into_iter().find(|volume| volume["name"] == name).cloned().unwrap_or_default()
        };
        let container = &own["containers"][0];
        let is_there = used(&volume("own")) == 100_000
            && used(&volume("kept")) == 100_000
            && volume("kept")["capacityBytes"] == 1 << 20
            && volume("kept")["pvcRef"] == json!({"name": "kept", "namespace": "default"})
            && used(&container["rootfs"]) >= 100_000
            && used(&container["logs"]) > 0
            && used(&own["ephemeral-storage"]) >= 200_000
            && ["fs", "runtime", "rlimit"].iter().all(|part| summary["node"][part].is_object());
        if is_there { Ok(()) } else { Err((output.stderr, summary["node"].clone(), own)) }
    });
    let settings: Value = serde_json::from_str(&raw("configz").stdout).unwrap_or_default();
    let settings = &settings["kubeletconfig"];
    assert_eq!(settings["shutdownGracePeriod"], "20s", "{settings}");
    assert_eq!(settings["staticPodPath"], json!(cluster.folder().join("manifests")), "{settings}");
    assert_eq!(raw("healthz").stdout, "ok");
    let checked = "kubernetes_healthcheck{name=\"syncloop\",type=\"healthz\"} 1";
    let told = raw("metrics/slis").stdout;
    assert!(told.contains(checked), "{told}");
    assert_eq!(cluster.run(&["get", "--raw", "/livez"]), "ok");
    let told = cluster.run(&["get", "--raw", "/metrics/slis"]);
    assert!(told.contains("kubernetes_healthcheck{name=\"store\",type=\"livez\"} 1"), "{told}");
    assert!(told.contains("status=\"success\",type=\"livez\"}"), "{told}");
    cluster.run(&["delete", "pod", "writes"]);
}

/// Row `node.cordon`.
fn a_cordoned_node_takes_no_new_pods(cluster: &Cluster) {
    let name = node(cluster);
    let sleeps = || json!({"terminationGracePeriodSeconds": 1, "containers": [sh("c", "sleep 600", &json!({}))]});
    cluster.make(&[pod("old", &sleeps())]);
    let before = cluster.ready("old");
    cluster.run(&["cordon", &name]);
    let row = cluster.run(&["get", "node", &name, "--no-headers"]);
    assert!(row.contains("Ready,SchedulingDisabled"), "{row}");
    let shown = cluster.get(&["node", &name]);
    assert_eq!(shown["spec"]["unschedulable"], true);
    eventually("its taint", || {
        let taints = cluster.get(&["node", &name])["spec"]["taints"].clone();
        let there = taints.as_array().is_some_and(|all| {
            all.iter().any(|taint| taint["key"] == "node.kubernetes.io/unschedulable")
        });
        if there { Ok(()) } else { Err(taints) }
    });
    cluster.make(&[pod("new", &sleeps())]);
    cluster.says("pod/new", &["FailedScheduling", "node(s) were unschedulable"]);
    let after = cluster.ready("old");
    assert_eq!(before["status"]["containerStatuses"], after["status"]["containerStatuses"]);
    cluster.run(&["uncordon", &name]);
    cluster.ready("new");
    cluster.run(&["delete", "pod", "old", "new"]);
}

/// Row `pod.static`.
fn a_file_is_a_pod(cluster: &mut Cluster) {
    let (manifests, config) = (cluster.folder().join("manifests"), cluster.folder().join("config"));
    for folder in [&manifests, &config] {
        std::fs::create_dir_all(folder).expect("a folder");
    }
    std::fs::write(config.join("settings"), "from the host\n").expect("a file");
    let write = |file: &str, pod: &Value| {
        std::fs::write(manifests.join(file), pod.to_string()).expect("a manifest");
    };
    let mounts = json!({"volumeMounts": [{"name": "v", "mountPath": "/config", "readOnly": true}]});
    let spec = json!({"containers": [sh("c", "cat /config/settings; sleep 600", &mounts)],
        "volumes": [{"name": "v", "hostPath": {"path": config}}]});
    write("agent.json", &pod("agent", &spec));
    let full = format!("agent-{}", node(cluster));
    eventually("the mirror", || cluster.kubectl(&["get", "pod", &full]).ok.then_some(()).ok_or(()));
    let shown = cluster.ready(&full);
    assert_eq!(shown["metadata"]["annotations"]["kubernetes.io/config.source"], "file");
    eventually("it has read what is the host's", || {
        let log = cluster.kubectl(&["logs", &full]);
        if log.stdout == "from the host\n" { Ok(()) } else { Err(log) }
    });
    assert_eq!(cluster.exec(&full, "hostname").stdout.trim_end(), full);
    let uid = shown["metadata"]["uid"].as_str().expect("a uid").to_owned();
    cluster.run(&["delete", "pod", &full, "--wait=false"]);
    eventually("another mirror", || {
        let shown = cluster.kubectl(&["get", "pod", &full, "-o", "jsonpath={.metadata.uid}"]);
        if shown.ok && shown.stdout != uid { Ok(()) } else { Err(shown) }
    });

    let from = json!({"envFrom": [{"configMapRef": {"name": "cfg"}}]});
    write("refused.json", &pod("refused", &json!({"containers": [sh("c", "true", &from)]})));
    let name = node(cluster);
    cluster
        .says(&format!("node/{name}"), &["InvalidStaticPod", "may not refer to configmap \"cfg\""]);
    assert!(!cluster.kubectl(&["get", "pod", &format!("refused-{name}")]).ok);

    // The API is away; a file still makes a pod, and one that is there goes on.
    cluster.kill_server();
    let proof = config.join("proof");
    let mounts = json!({"volumeMounts": [{"name": "v", "mountPath": "/config"}]});
    let spec = json!({"containers": [sh("c", "echo ran > /config/proof; sleep 600", &mounts)],
        "volumes": [{"name": "v", "hostPath": {"path": config}}]});
    write("alone.json", &pod("alone", &spec));
    eventually("it runs without the API", || {
        std::fs::read_to_string(&proof).map_err(|error| error.to_string()).map(drop)
    });
    cluster.start_server();
    cluster.wait_ready();
    cluster.ready(&format!("alone-{name}"));
    std::fs::remove_file(manifests.join("alone.json")).expect("it was there");
    eventually("it is gone", || {
        let there = cluster.kubectl(&["get", "pod", &format!("alone-{name}")]);
        if there.ok { Err(there) } else { Ok(()) }
    });
}

/// Graceful node shutdown: `coracle host --shutdown`.
fn the_machine_goes_down(cluster: &Cluster) {
    let web = container("c", HELLO, &json!({"ports": [{"containerPort": 8080}]}));
    let works = container("c", BEHAVE, &json!({"args": ["sleep", "600000"]}));
    cluster.make(&[
        pod("web", &json!({"containers": [web]})),
        pod("works", &json!({"terminationGracePeriodSeconds": 2, "containers": [works]})),
    ]);
    cluster.ready("web");
    cluster.ready("works");
    let ended = cluster.coracle(&["host", "--shutdown"]);
    assert!(ended.ok, "{ended:?} {}", cluster.logs());
    for name in ["web", "works"] {
        let shown = cluster.get(&["pod", name]);
        let status = &shown["status"];
        assert_eq!(
            (&status["phase"], &status["reason"]),
            (&json!("Failed"), &json!("Terminated")),
            "{shown}"
        );
    }
    let name = node(cluster);
    let described = cluster.run(&["describe", "node", &name]);
    assert!(
        described.contains("KubeletNotReady") && described.contains("node is shutting down"),
        "{described}"
    );
    let again = cluster.coracle(&["host", "--shutdown"]);
    assert!(!again.ok && again.stderr.contains("no host runs"), "{again:?}");
}

/// Row `node.manual-register`.
#[test]
fn a_node_that_somebody_else_makes() {
    let flags = |_: &std::path::Path| {
        vec!["--register-node=false".to_owned(), "--node-name=by-hand".to_owned()]
    };
    let cluster = Cluster::start_flags(flags);
    eventually("the API answers", || {
        let nodes = cluster.kubectl(&["get", "nodes", "-o", "name"]);
        if nodes.ok { Ok(nodes) } else { Err(nodes) }
    });
    let made = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "by-hand"}});
    let file = cluster.folder().join("node.json");
    std::fs::write(&file, made.to_string()).expect("a file");
    assert_eq!(cluster.run(&["get", "nodes", "-o", "name"]), "");
    cluster.run(&["create", "-f", &file.display().to_string()]);
    cluster.wait_ready();
    assert_eq!(node(&cluster), "by-hand");
}
