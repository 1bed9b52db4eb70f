//! Create, run, order, end, delete.

use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::json;

use super::harness::{Cluster, container, pod};

#[tokio::test]
async fn a_pod_runs_is_ready_and_goes() {
    let cluster = Cluster::start().await;
    cluster.create::<Pod>(pod("web", json!({}))).await;
    let shown = cluster.is_ready("web").await;
    let status = &shown["status"];
    assert_eq!(status["phase"], "Running");
    assert_eq!(status["hostIP"], "192.0.2.1");
    assert_eq!(status["qosClass"], "BestEffort");
    let ips = json!([{"ip": "10.128.0.2"}, {"ip": "fd63:6f72:a80::a80:2"}]);
    assert_eq!((&status["podIP"], &status["podIPs"]), (&ips[0]["ip"], &ips));
    let container = &status["containerStatuses"][0];
    assert_eq!((&container["ready"], &container["started"]), (&json!(true), &json!(true)));
    assert!(container["containerID"].as_str().unwrap().starts_with("wasmtime://"));
    assert!(
        container["imageID"].as_str().unwrap().starts_with("registry.coracle.internal/app@sha256:")
    );
    assert_eq!(cluster.event("Started").await, "Container started");
    let request = cluster.runtime.request("web", "app").unwrap();
    let variable =
        |name: &str| request.env.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    assert_eq!(variable("HOSTNAME"), Some("web"));
    assert_eq!(variable("PORT"), Some("80"));
    assert_eq!(variable("KUBERNETES_SERVICE_HOST"), Some("10.96.0.1"));
    cluster.delete("web", None).await;
    cluster.is_gone("web").await;
    let calls = cluster.runtime.calls();
    assert_eq!(
        calls,
        ["create sandbox web", "start web/app", "stop web/app", "remove sandbox web"]
    );
}

#[tokio::test]
async fn init_containers_and_side_cars_start_in_order_and_stop_in_reverse() {
    let cluster = Cluster::start().await;
    let init = json!([
        container("first", json!({})),
        container("side", json!({"restartPolicy": "Always"})),
        container("second", json!({})),
    ]);
    cluster.create::<Pod>(pod("web", json!({"initContainers": init}))).await;
    cluster.started("web", 0).await;
    assert!(cluster.runtime.exit("web", "first", 0));
    cluster.started("web", 2).await;
    let shown = cluster.shows("web", "/status/phase", "Pending").await;
    assert_eq!(
        shown["status"]["initContainerStatuses"][0]["state"]["terminated"]["reason"],
        "Completed"
    );
    assert_eq!(
        shown["status"]["containerStatuses"][0]["state"]["waiting"]["reason"],
        "PodInitializing"
    );
    let conditions = shown["status"]["conditions"].as_array().unwrap();
    let initialized = conditions.iter().find(|c| c["type"] == "Initialized").unwrap();
    assert_eq!(initialized["message"], "containers with incomplete status: [second]");
    assert!(cluster.runtime.exit("web", "second", 0));
    cluster.is_ready("web").await;
    cluster.delete("web", None).await;
    cluster.is_gone("web").await;
    let calls = cluster.runtime.calls();
    let expected = [
        "create sandbox web",
        "start web/first",
        "start web/side",
        "start web/second",
        "start web/app",
        "stop web/app",
        "stop web/side",
        "remove sandbox web",
    ];
    assert_eq!(calls, expected);
}

#[tokio::test]
async fn a_pod_that_has_done_its_work_succeeds_and_keeps_its_address() {
    let cluster = Cluster::start().await;
    cluster.create::<Pod>(pod("job", json!({"restartPolicy": "Never"}))).await;
    cluster.is_ready("job").await;
    assert!(cluster.runtime.exit("job", "app", 0));
    let shown = cluster.shows("job", "/status/phase", "Succeeded").await;
    let ended = &shown["status"]["containerStatuses"][0]["state"]["terminated"];
    assert_eq!((&ended["exitCode"], &ended["reason"]), (&json!(0), &json!("Completed")));
    assert!(shown["status"]["podIP"].is_string());
    cluster.create::<Pod>(pod("bad", json!({"restartPolicy": "Never"}))).await;
    cluster.is_ready("bad").await;
    assert!(cluster.runtime.exit("bad", "app", 3));
    let shown = cluster.shows("bad", "/status/phase", "Failed").await;
    assert_eq!(shown["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"], 3);
}

#[tokio::test]
async fn the_node_registers_and_renews() {
    let cluster = Cluster::start().await;
    let node = cluster
        .until("ready node", |nodes: &coracle_client::Cache<Node>| {
            let node = nodes.get(None, "h1")?;
            let status = serde_json::to_value(node.status.as_ref()?).unwrap();
            status.pointer("/conditions/3/status").is_some().then_some((node, status))
        })
        .await;
    let (node, status) = node;
    assert_eq!(node.metadata.labels.as_ref().unwrap()["coracle.dev/engine"], "wasmtime");
    assert_eq!(status["nodeInfo"]["containerRuntimeVersion"], "wasmtime://48.0.8");
    assert_eq!(status["allocatable"]["pods"], "16k");
}

#[tokio::test]
async fn the_hosts_network_is_for_pods_of_a_host_that_allows_it() {
    let mut cluster = Cluster::start().await;
    let wants = pod("web", json!({"hostNetwork": true}));
    cluster.create::<Pod>(wants).await;
    let said = cluster.event("FailedCreatePodSandBox").await;
    assert!(said.contains("start it with --allow-host-network"), "{said}");
    assert!(cluster.runtime.request("web", "app").is_none());
    cluster.stop_agent().await;
    cluster.retune(|config| config.host_network = true);
    cluster.start_agent();
    let shown = cluster.is_ready("web").await;
    assert_eq!(shown["status"]["podIPs"], json!([{"ip": "192.0.2.1"}]));
    let request = cluster.runtime.request("web", "app").unwrap();
    assert!(request.env.contains(&("HOSTNAME".into(), "h1".into())), "{:?}", request.env);
}

/// Rows `cni.role` and `cni.plugins`: an address for each pod of the node's range, given back with it.
#[tokio::test]
async fn a_node_without_a_free_address_says_so_and_gives_it_when_one_is() {
    let cluster = Cluster::start_in(|_| {}, ["10.128.0.0/29", "fd63:6f72:a80::/64"]).await;
    let mut ips = std::collections::BTreeSet::new();
    for name in ["a", "b", "c", "d", "e"] {
        cluster.create::<Pod>(pod(name, json!({}))).await;
        let shown = cluster.is_ready(name).await;
        ips.insert(shown["status"]["podIP"].as_str().unwrap().to_owned());
    }
    assert_eq!(ips.len(), 5, "{ips:?}");
    cluster.create::<Pod>(pod("late", json!({}))).await;
    let said = cluster.event("FailedCreatePodSandBox").await;
    assert!(said.contains("no free pod address in a range of 5"), "{said}");
    assert!(said.contains("--node-mask"), "{said}");
    cluster.delete("c", Some(0)).await;
    cluster.is_gone("c").await;
    let shown = cluster.is_ready("late").await;
    assert!(ips.contains(shown["status"]["podIP"].as_str().unwrap()), "{shown}");
}
