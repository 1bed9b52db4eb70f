//! Many pods on one host: 1,000 created at once, 10,000 idle http pods, 2,000 resident commands.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use coracle_e2e::{BEHAVE, Cluster, eventually, get, within};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, PostParams};
use serde_json::{Value, json};

use crate::paced::{self, Pace};
use crate::process::Processes;

const AT_ONCE: usize = 1_000;
const IDLE: u64 = 10_000;
const RESIDENT: u64 = 2_000;

/// Creations in flight.
const IN_FLIGHT: usize = 64;

/// How long any of them may take: far more than is promised, so that a slow machine has figures too.
const PATIENCE: Duration = Duration::from_secs(600);

/// Pause between two looks at a crowd of pods; each look takes the server's time as well.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Requests to the one pod that is not idle.
const PACE: Pace = Pace { connections: 8, rate: 400, time: Duration::from_secs(10) };

/// Pods created one by one, as fast as the API takes them.
pub(crate) async fn at_once() -> anyhow::Result<Vec<String>> {
    let cluster = Cluster::start();
    cluster.push("hello:1", &super::hello_wasm());
    cluster.apply(&super::hello_pod("warm-up").to_string());
    cluster.ready("warm-up");
    let pods: Api<Pod> = Api::default_namespaced(super::ready::client(&cluster).await?);
    let start = Instant::now();
    let create = |number: usize| {
        let pods = pods.clone();
        async move {
            let pod: Pod = serde_json::from_value(super::hello_pod(&format!("pod-{number}")))?;
            pods.create(&PostParams::default(), &pod).await.context("create a pod")
        }
    };
    let all = stream::iter(0..AT_ONCE).map(create).buffer_unordered(IN_FLIGHT);
    all.try_collect::<Vec<_>>().await?;
    let created = start.elapsed();
    // The one before them is Ready too.
    while ready(&pods).await? <= AT_ONCE {
        anyhow::ensure!(start.elapsed() < PATIENCE, "not all pods are Ready after {PATIENCE:?}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    let ready = start.elapsed();
    let cpu = Processes::of(&cluster)?;
    Ok(vec![format!(
        "{AT_ONCE} pods at once: created after {:.1} s, all Ready after {:.1} s (promised 3); CPU since their start: server {:.1} s, host {:.1} s",
        created.as_secs_f64(),
        ready.as_secs_f64(),
        cpu.server.cpu()?.as_secs_f64(),
        cpu.host.cpu()?.as_secs_f64(),
    )])
}

/// How many pods are Ready.
async fn ready(pods: &Api<Pod>) -> anyhow::Result<usize> {
    let is_ready = |pod: &Pod| {
        let status = pod.status.as_ref();
        let containers = status.and_then(|status| status.container_statuses.as_ref());
        containers.is_some_and(|all| all.iter().all(|container| container.ready))
    };
    let list = pods.list(&ListParams::default()).await.context("list the pods")?;
    Ok(list.iter().filter(|pod| is_ready(pod)).count())
}

/// Idle http pods, and what they do to the requests of another one.
pub(crate) async fn idle() -> anyhow::Result<Vec<String>> {
    let cluster = Cluster::start();
    cluster.push("hello:1", &super::hello_wasm());
    let port = cluster.node_port(0);
    cluster.apply(&super::hello_pod("hello").to_string());
    cluster.apply(&super::hello::service(port).to_string());
    eventually("hello answers", || match get(port, "/") {
        Ok(answer) if answer.status == 200 => Ok(()),
        other => Err(other),
    });
    let p99 = || anyhow::Ok(paced::run(port, PACE)?.percentile_ms(99.0));
    let alone = p99()?;
    let host = Processes::of(&cluster)?.host;
    let one = host.resident_bytes()?;
    let container = super::hello_pod("x")["spec"]["containers"][0].clone();
    let start = Instant::now();
    cluster.apply(&deployment("idle", IDLE, &container));
    available(&cluster, "idle", IDLE);
    let took = start.elapsed();
    let many = host.resident_bytes()?;
    let crowded = p99()?;
    Ok(vec![format!(
        "{IDLE} idle http pods: {:.1} KiB each (promised 60), all available after {:.0} s, {:.0} s of the host's CPU; p99 of another pod's requests {alone:.2} ms before, {crowded:.2} ms among them",
        many.saturating_sub(one) as f64 / 1024.0 / IDLE as f64,
        took.as_secs_f64(),
        host.cpu()?.as_secs_f64(),
    )])
}

/// Commands that sleep.
pub(crate) fn resident() -> anyhow::Result<Vec<String>> {
    let cluster = Cluster::start();
    let guests = coracle_e2e::build_guests("tests/guests");
    cluster.push("behave:1", &guests.join("behave.wasm"));
    let container = json!({"name": "c", "image": BEHAVE, "args": ["sleep", "86400000"]});
    cluster.apply(&deployment("first", 1, &container));
    available(&cluster, "first", 1);
    let host = Processes::of(&cluster)?.host;
    let one = host.resident_bytes()?;
    cluster.apply(&deployment("resident", RESIDENT, &container));
    available(&cluster, "resident", RESIDENT);
    let each = host.resident_bytes()?.saturating_sub(one) as f64 / 1024.0 / RESIDENT as f64;
    Ok(vec![format!(
        "{RESIDENT} resident command pods: {each:.0} KiB each, the guest's own memory included (promised 400 above it)"
    )])
}

fn deployment(name: &str, replicas: u64, container: &Value) -> String {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"crowd": name}},
            "template": {"metadata": {"labels": {"crowd": name}},
                "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]}}},
    })
    .to_string()
}

fn available(cluster: &Cluster, name: &str, pods: u64) {
    wait(cluster, &format!("deployment/{name}"), &|deployment| {
        deployment["status"]["availableReplicas"].as_u64() == Some(pods)
    });
}

fn wait(cluster: &Cluster, object: &str, is_so: &dyn Fn(&Value) -> bool) {
    within(PATIENCE, object, || {
        let shown = cluster.get(&[object]);
        if is_so(&shown) { Ok(()) } else { Err(shown["status"].clone()) }
    });
}
