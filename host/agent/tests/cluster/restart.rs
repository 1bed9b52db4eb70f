//! Containers that end, probes, and an agent that is killed.

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use serde_json::json;

use super::harness::{Cluster, container, pod};

#[tokio::test]
async fn a_container_that_ends_is_started_again_and_the_second_time_waits() {
    let cluster = Cluster::start().await;
    cluster.create::<Pod>(pod("web", json!({}))).await;
    cluster.is_ready("web").await;
    assert!(cluster.runtime.exit("web", "app", 1));
    let shown = cluster.shows("web", "/status/containerStatuses/0/restartCount", 1).await;
    let last = &shown["status"]["containerStatuses"][0]["lastState"]["terminated"];
    assert_eq!((&last["exitCode"], &last["reason"]), (&json!(1), &json!("Error")));
    assert!(cluster.runtime.exit("web", "app", 1));
    let reason = "/status/containerStatuses/0/state/waiting/reason";
    let shown = cluster.shows("web", reason, "CrashLoopBackOff").await;
    let uid = shown["metadata"]["uid"].as_str().unwrap();
    let message = &shown["status"]["containerStatuses"][0]["state"]["waiting"]["message"];
    let expected = format!("back-off 10s restarting failed container=app pod=web_default({uid})");
    assert_eq!(message, &json!(expected));
    assert_eq!(shown["status"]["phase"], "Running");
    let said = cluster.event("BackOff").await;
    assert_eq!(said, format!("Back-off restarting failed container app in pod web_default({uid})"));
    // Row `cri.sandbox`: all that was in one sandbox, which nobody made again.
    let calls = cluster.runtime.calls();
    let of_sandboxes: Vec<_> = calls.iter().filter(|call| call.contains("sandbox")).collect();
    assert_eq!(of_sandboxes, ["create sandbox web"], "{calls:?}");
    assert!(calls.iter().filter(|call| *call == "start web/app").count() >= 2, "{calls:?}");
}

#[tokio::test]
async fn readiness_follows_its_probe() {
    let cluster = Cluster::start().await;
    let probe = json!({"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 1, "failureThreshold": 1});
    let app = container(
        "app",
        json!({"ports": [{"name": "http", "containerPort": 8080}], "readinessProbe": probe}),
    );
    cluster.create::<Pod>(pod("web", json!({"containers": [app]}))).await;
    let message = cluster.event("Unhealthy").await;
    assert!(message.starts_with("Readiness probe failed: Get \"http://10.128."), "{message}");
    assert!(message.ends_with("connect: connection refused"), "{message}");
    cluster.runtime.answer(8080, Some("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
    cluster.is_ready("web").await;
    cluster.runtime.answer(8080, Some("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"));
    cluster.shows("web", "/status/containerStatuses/0/ready", false).await;
    cluster.delete("web", Some(0)).await;
    cluster.is_gone("web").await;
}

#[tokio::test]
async fn a_failing_liveness_probe_restarts_its_container_alone() {
    let cluster = Cluster::start().await;
    cluster.runtime.answer(8080, Some("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
    let probe = json!({"httpGet": {"port": 8080}, "periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 30});
    let containers =
        json!([container("app", json!({"livenessProbe": probe})), container("other", json!({}))]);
    cluster.create::<Pod>(pod("web", json!({"containers": containers}))).await;
    cluster.is_ready("web").await;
    cluster.runtime.answer(8080, None);
    let shown = cluster.shows("web", "/status/containerStatuses/0/restartCount", 1).await;
    assert_eq!(shown["status"]["containerStatuses"][1]["restartCount"], 0);
    let said = cluster.event("Killing").await;
    assert_eq!(said, "Container app failed liveness probe, will be restarted");
}

#[tokio::test]
async fn a_killed_agent_comes_back_with_the_same_pods() {
    let mut cluster = Cluster::start().await;
    cluster.create::<ConfigMap>(json!({"metadata": {"name": "cfg"}, "data": {"a": "1"}})).await;
    cluster
        .create::<Secret>(json!({"metadata": {"name": "key"}, "stringData": {"pw": "hunter2"}}))
        .await;
    let env = json!([{"name": "PW", "valueFrom": {"secretKeyRef": {"name": "key", "key": "pw"}}}]);
    let app =
        container("app", json!({"env": env, "volumeMounts": [{"name": "d", "mountPath": "/d"}]}));
    let spec = json!({"containers": [app], "volumes": [{"name": "d", "emptyDir": {}}]});
    cluster.create::<Pod>(pod("web", spec)).await;
    let before = cluster.is_ready("web").await;
    let uid = before["metadata"]["uid"].as_str().unwrap().to_owned();
    let data = cluster.agent_dir().join("pods").join(&uid).join("volumes/d");
    std::fs::write(data.join("kept"), "1").unwrap();
    cluster.saved(&uid).await;
    cluster.kill_agent().await;
    cluster.start_agent();
    let shown = cluster.shows("web", "/status/containerStatuses/0/restartCount", 1).await;
    assert_eq!(shown["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(shown["status"]["podIPs"], before["status"]["podIPs"]);
    assert_eq!(shown["status"]["podIPs"][1]["ip"], "fd63:6f72:a80::a80:2");
    assert!(data.join("kept").exists());
    let request = cluster.runtime.request("web", "app").unwrap();
    assert!(request.env.contains(&("PW".into(), "hunter2".into())));
    assert!(!cluster.on_disk("hunter2"), "the Secret is in plain text on disk");
}

#[tokio::test]
async fn a_pod_that_was_deleted_meanwhile_is_cleared_away() {
    let mut cluster = Cluster::start().await;
    cluster.create::<Pod>(pod("web", json!({}))).await;
    let shown = cluster.is_ready("web").await;
    let uid = shown["metadata"]["uid"].as_str().unwrap().to_owned();
    cluster.saved(&uid).await;
    cluster.kill_agent().await;
    cluster.delete("web", Some(0)).await;
    cluster.is_gone("web").await;
    let starts = |cluster: &Cluster| {
        cluster.runtime.calls().into_iter().filter(|call| call.starts_with("start ")).count()
    };
    let before = starts(&cluster);
    cluster.start_agent();
    let folder = cluster.agent_dir().join("pods").join(&uid);
    let record = cluster.agent_dir().join("checkpoint/pods").join(format!("{uid}.json"));
    cluster.eventually("absence of its files", || !folder.exists() && !record.exists()).await;
    // Not for a moment: another pod may be in its place.
    assert_eq!(starts(&cluster), before, "{:?}", cluster.runtime.calls());
}

#[tokio::test]
async fn a_pod_too_many_is_refused() {
    let cluster = Cluster::start().await;
    let app = container("app", json!({"resources": {"requests": {"cpu": "1000"}}}));
    cluster.create::<Pod>(pod("big", json!({"containers": [app]}))).await;
    let shown = cluster.shows("big", "/status/phase", "Failed").await;
    assert_eq!(shown["status"]["reason"], "OutOfcpu");
    assert!(shown["status"]["containerStatuses"].is_null(), "{shown}");
    let message = shown["status"]["message"].as_str().unwrap();
    assert!(message.starts_with("Pod was rejected: Node didn't have enough resource: cpu, requested: 1000000, used: 0, capacity: "), "{message}");
}
