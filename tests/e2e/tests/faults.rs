//! kill -9 of the server and of the host: nothing acknowledged is lost, and pods serve.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use coracle_e2e::{Cluster, build_guests, eventually, get};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::PostParams;
use kube::{Api, Client, Config};
use serde_json::{Value, json};

fn serve_hello(cluster: &Cluster) -> u16 {
    let guests = build_guests("tests/guests");
    cluster.push("hello:1", &guests.join("hello_http.wasm"));
    let port = cluster.node_port(0);
    let template = json!({"metadata": {"labels": {"app": "hello"}}, "spec": {"containers": [
        {"name": "hello", "image": "registry.coracle.internal/hello:1", "ports": [{"containerPort": 8080}]}]}});
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "hello"},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "hello"}}, "template": template}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "hello"}, "spec": {"type": "NodePort",
            "selector": {"app": "hello"}, "ports": [{"port": 80, "targetPort": 8080, "nodePort": port}]}}]});
    cluster.apply(&list.to_string());
    cluster.run(&["rollout", "status", "deployment/hello", "--timeout=60s"]);
    eventually("hello answers", || answers(port));
    port
}

fn answers(port: u16) -> Result<(), String> {
    let answer = get(port, "/")?;
    if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
}

/// Creates ConfigMaps one after another until the server is gone; the names that were acknowledged.
async fn write_until_it_ends(client: Client, writer: usize, acknowledged: Arc<Mutex<Vec<String>>>) {
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    for number in 0..100_000 {
        let name = format!("map-{writer}-{number}");
        let map: ConfigMap =
            serde_json::from_value(json!({"metadata": {"name": name}, "data": {"n": name}}))
                .unwrap();
        match maps.create(&PostParams::default(), &map).await {
            Ok(_) => acknowledged.lock().unwrap().push(name),
            Err(_) => return,
        }
    }
}

#[test]
fn a_killed_server_loses_no_acknowledged_write_and_pods_serve_all_along() {
    let mut cluster = Cluster::start();
    let port = serve_hello(&cluster);
    let (serving, failures) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
    let asked = Arc::new(AtomicU32::new(0));
    let asker = thread::spawn({
        let (serving, failures, asked) =
            (Arc::clone(&serving), Arc::clone(&failures), Arc::clone(&asked));
        move || {
            while serving.load(Ordering::Relaxed) {
                asked.fetch_add(1, Ordering::Relaxed);
                failures.fetch_add(u32::from(answers(port).is_err()), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(5));
            }
        }
    });
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let kubeconfig = kube::config::Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
    let client = runtime.block_on(async {
        let config = Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
        Client::try_from(config).unwrap()
    });
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            runtime.spawn(write_until_it_ends(client.clone(), writer, Arc::clone(&acknowledged)))
        })
        .collect();
    eventually("writes are under way", || {
        let count = acknowledged.lock().unwrap().len();
        if count > 300 { Ok(()) } else { Err(count) }
    });
    cluster.kill_server();
    runtime.block_on(async {
        for writer in writers {
            writer.await.unwrap();
        }
    });
    thread::sleep(Duration::from_millis(300));
    cluster.start_server();
    cluster.wait_ready();
    serving.store(false, Ordering::Relaxed);
    asker.join().unwrap();
    assert_eq!(
        failures.load(Ordering::Relaxed),
        0,
        "of {} requests",
        asked.load(Ordering::Relaxed)
    );
    let names = cluster.run(&["get", "configmaps", "-o", "jsonpath={.items[*].metadata.name}"]);
    let there: std::collections::BTreeSet<&str> = names.split(' ').collect();
    let acknowledged = acknowledged.lock().unwrap();
    let lost: Vec<_> = acknowledged.iter().filter(|name| !there.contains(name.as_str())).collect();
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), acknowledged.len());
}

fn pods(cluster: &Cluster) -> Vec<(String, String, u64)> {
    let pods = cluster.get(&["pods", "-l", "app=hello"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut found: Vec<_> = pods["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pod| {
            let status = &pod["status"];
            let restarts = status["containerStatuses"][0]["restartCount"].as_u64().unwrap();
            (text(&pod["metadata"]["uid"]), text(&status["podIP"]), restarts)
        })
        .collect();
    found.sort();
    found
}

#[test]
fn a_killed_host_brings_its_pods_back_by_itself() {
    let cluster = Cluster::start();
    let port = serve_hello(&cluster);
    let before = pods(&cluster);
    cluster.kill_host();
    eventually("the pods serve again", || answers(port));
    let expected: Vec<_> =
        before.iter().map(|(uid, ip, restarts)| (uid.clone(), ip.clone(), restarts + 1)).collect();
    eventually("same pods and addresses, one restart more", || {
        let now = pods(&cluster);
        if now == expected { Ok(()) } else { Err((now, expected.clone())) }
    });
}

#[test]
fn a_killed_host_comes_back_with_no_server_reachable() {
    let mut cluster = Cluster::start();
    let port = serve_hello(&cluster);
    // Routes are saved a moment after they changed; only what is saved can come back.
    let ips: Vec<String> = pods(&cluster).into_iter().map(|(_, ip, _)| ip).collect();
    eventually("the routes are saved", || {
        let saved = std::fs::read_to_string(cluster.data().join("host/services.json")).unwrap();
        if ips.iter().all(|ip| saved.contains(ip.as_str())) { Ok(()) } else { Err(saved) }
    });
    cluster.kill_server();
    cluster.kill_host();
    eventually("the pods serve again without a server", || answers(port));
    cluster.start_server();
    cluster.wait_ready();
    answers(port).unwrap();
}
