//! A cluster whose server moves from its file to etcd and back, while its pods go on.
#![expect(clippy::unwrap_used, reason = "a test")]

use coracle_e2e::{Cluster, build_guests, eventually};
use coracle_etcd::Etcd;
use serde_json::{Value, json};

fn identities(cluster: &Cluster) -> Vec<(String, String)> {
    let all = cluster.get(&["deployments,services,secrets,pods,nodes,namespaces", "-A"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut found: Vec<_> = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (text(&item["metadata"]["name"]), text(&item["metadata"]["uid"])))
        .collect();
    found.sort();
    found
}

/// The started containers of the pods, each with how often it was started anew.
fn starts(cluster: &Cluster) -> Vec<(String, u64)> {
    let pods = cluster.get(&["pods", "-l", "app=hello"]);
    let mut found: Vec<_> = pods["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pod| {
            let status = &pod["status"]["containerStatuses"][0];
            let id = status["containerID"].as_str().unwrap_or_default().to_owned();
            (id, status["restartCount"].as_u64().unwrap())
        })
        .collect();
    found.sort();
    found
}

#[test]
fn a_cluster_moves_to_etcd_and_back_while_its_pods_go_on() {
    let etcd = Etcd::start();
    let mut cluster = Cluster::start();
    cluster.push("hello:1", &build_guests("tests/guests").join("hello_http.wasm"));
    let template = json!({"metadata": {"labels": {"app": "hello"}}, "spec": {"containers": [
        {"name": "hello", "image": "registry.coracle.internal/hello:1", "ports": [{"containerPort": 8080}]}]}});
    cluster.apply(
        &json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "hello"},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "hello"}}, "template": template}})
        .to_string(),
    );
    cluster.run(&["rollout", "status", "deployment/hello", "--timeout=180s"]);
    cluster.run(&["create", "secret", "generic", "kept", "--from-literal=word=open"]);
    let (before, started) = (identities(&cluster), starts(&cluster));

    let running = cluster.coracle(&["store", "migrate", "--to", &etcd.url()]);
    assert!(!running.ok && running.stderr.contains("no server may run"), "{running:?}");
    cluster.kill_server();
    let moved = cluster.coracle(&["store", "migrate", "--from", "redb", "--to", &etcd.url()]);
    assert!(moved.ok && moved.stdout.contains("moved"), "{moved:?}");
    let again = cluster.coracle(&["store", "migrate", "--from", "redb", "--to", &etcd.url()]);
    assert!(!again.ok && again.stderr.contains("holds keys already"), "{again:?}");
    cluster.set_flags(vec!["--store".to_owned(), etcd.url()]);
    // The file is not looked at any more.
    let file = cluster.data().join("store.redb");
    std::fs::rename(&file, cluster.folder().join("former.redb")).unwrap();
    cluster.start_server();
    cluster.wait_ready();
    same(&cluster, &before, &started);
    let secret = cluster.run(&["get", "secret", "kept", "-o", "jsonpath={.data.word}"]);
    assert_eq!(secret, "b3Blbg==");
    cluster.run(&["scale", "deployment", "hello", "--replicas=3"]);
    cluster.run(&["rollout", "status", "deployment/hello", "--timeout=180s"]);
    let (before, started) = (identities(&cluster), starts(&cluster));

    cluster.kill_server();
    let moved = cluster.coracle(&["store", "migrate", "--from", &etcd.url(), "--to", "redb"]);
    assert!(moved.ok, "{moved:?}");
    drop(etcd);
    cluster.set_flags(Vec::new());
    cluster.start_server();
    cluster.wait_ready();
    same(&cluster, &before, &started);
    cluster.run(&["scale", "deployment", "hello", "--replicas=1"]);
    eventually("one pod is left", || {
        let pods = cluster.run(&["get", "pods", "-l", "app=hello", "-o", "name"]);
        if pods.lines().count() == 1 { Ok(()) } else { Err(pods) }
    });
}

/// The same objects are there, and no container was started anew.
fn same(cluster: &Cluster, before: &[(String, String)], started: &[(String, u64)]) {
    eventually("the same objects", || {
        let now = identities(cluster);
        if now == before { Ok(()) } else { Err((now, before.to_vec())) }
    });
    assert_eq!(starts(cluster), started);
}
