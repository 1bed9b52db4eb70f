//! Commands beside containers: probes and hooks with `exec`, and probes over TLS.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::harness::{Cluster, pod};

/// A pod whose one container has `more`.
fn with(name: &str, more: Value) -> Value {
    let mut pod = pod(name, json!({}));
    let container = pod["spec"]["containers"][0].as_object_mut().unwrap();
    container.extend(more.as_object().unwrap().clone());
    pod
}

fn exec(command: &[&str]) -> Value {
    json!({"exec": {"command": command}, "periodSeconds": 1})
}

#[tokio::test]
async fn an_exec_probe_decides_by_the_code_of_its_command() {
    let cluster = Cluster::start().await;
    cluster.runtime.answer_exec("check", Some(("not yet", 1)));
    let mut probe = exec(&["check", "$(WHAT)"]);
    probe["timeoutSeconds"] = json!(5);
    let env = json!([{"name": "WHAT", "value": "disk"}]);
    cluster.create::<Pod>(with("web", json!({"readinessProbe": probe, "env": env}))).await;
    let said = cluster.event("Unhealthy").await;
    assert_eq!(said, "Readiness probe failed: not yet");
    assert!(cluster.runtime.calls().contains(&"exec web/app check disk".to_owned()));
    cluster.runtime.answer_exec("check", Some(("", 0)));
    cluster.is_ready("web").await;
}

#[tokio::test]
async fn a_probe_whose_command_is_missing_says_so_and_decides_nothing() {
    let cluster = Cluster::start().await;
    cluster.create::<Pod>(with("web", json!({"livenessProbe": exec(&["nope"])}))).await;
    let said = cluster.event("Unhealthy").await;
    let missing = "\"nope\": executable file not found in the image or the toolbox";
    assert_eq!(said, format!("Liveness probe errored and resulted in unknown state: {missing}"));
    let shown = cluster.is_ready("web").await;
    assert_eq!(shown["status"]["containerStatuses"][0]["restartCount"], 0);
}

#[tokio::test]
async fn exec_hooks_run_after_the_start_and_before_the_stop() {
    let cluster = Cluster::start().await;
    cluster.runtime.answer_exec("warm", Some(("", 0)));
    cluster.runtime.answer_exec("drain", Some(("", 0)));
    let hooks = json!({"postStart": {"exec": {"command": ["warm"]}},
        "preStop": {"exec": {"command": ["drain", "now"]}}});
    cluster.create::<Pod>(with("web", json!({"lifecycle": hooks}))).await;
    cluster.is_ready("web").await;
    cluster.delete("web", None).await;
    cluster.is_gone("web").await;
    let calls = cluster.runtime.calls();
    let expected = [
        "create sandbox web",
        "start web/app",
        "exec web/app warm",
        "exec web/app drain now",
        "stop web/app",
        "remove sandbox web",
    ];
    assert_eq!(calls, expected);
}

#[tokio::test]
async fn a_pre_stop_command_that_fails_is_told_and_stops_nothing() {
    let cluster = Cluster::start().await;
    cluster.runtime.answer_exec("drain", Some(("still busy\n", 1)));
    let hooks = json!({"preStop": {"exec": {"command": ["drain"]}}});
    cluster.create::<Pod>(with("web", json!({"lifecycle": hooks}))).await;
    cluster.is_ready("web").await;
    cluster.delete("web", None).await;
    let said = cluster.event("FailedPreStopHook").await;
    assert_eq!(said, "PreStopHook failed: command 'drain' exited with 1: still busy");
    cluster.is_gone("web").await;
}

#[tokio::test]
async fn a_post_start_command_that_fails_ends_the_container() {
    let cluster = Cluster::start().await;
    cluster.runtime.answer_exec("warm", Some(("no disk\n", 2)));
    let hooks = json!({"postStart": {"exec": {"command": ["warm"]}}});
    cluster.create::<Pod>(with("web", json!({"lifecycle": hooks}))).await;
    let said = cluster.event("FailedPostStartHook").await;
    assert!(said.contains("command 'warm' exited with 2: no disk"), "{said}");
    let stopped = || cluster.runtime.calls().contains(&"stop web/app".to_owned());
    while !stopped() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_probe_over_tls_speaks_tls_first() {
    let cluster = Cluster::start().await;
    cluster.runtime.answer(8443, Some("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
    let probe = json!({"httpGet": {"port": 8443, "scheme": "HTTPS"}, "periodSeconds": 1});
    cluster.create::<Pod>(with("web", json!({"readinessProbe": probe}))).await;
    let said = cluster.event("Unhealthy").await;
    assert!(said.contains("Get \"https://10.128."), "{said}");
    assert!(said.contains("tls"), "plain HTTP is no answer: {said}");
}
