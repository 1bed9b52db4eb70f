//! Three servers on one etcd, of which the one that leads is killed: how long writes and controllers stop, and how
//! many requests between pods fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use coracle_e2e::{BEHAVE, HELLO, HTTP, Servers, build_guests, eventually, get};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

const SERVERS: usize = 3;
const NODE: &str = "bench";
/// Times that the leader is killed.
const KILLS: usize = 3;
/// Pause between two writes, and between two requests of a pod.
const PAUSE: Duration = Duration::from_millis(10);
/// How long a client waits for one server.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Longest time for a leader to be followed by another.
const PATIENCE: Duration = Duration::from_secs(120);
/// Time with all servers before each kill.
const REST: Duration = Duration::from_secs(5);

pub(crate) async fn measure() -> anyhow::Result<Vec<String>> {
    let mut servers = Servers::start(SERVERS);
    servers.join_host(NODE);
    let port = serve(&servers);
    let mut clients = Vec::new();
    for index in 0..SERVERS {
        clients.push(client(&servers, index).await?);
    }
    let going = Arc::new(AtomicBool::new(true));
    let asking = std::thread::spawn({
        let going = Arc::clone(&going);
        move || ask(port, &going)
    });
    let writing = tokio::spawn(write(clients.clone(), Arc::clone(&going)));
    let mut stopped = Vec::new();
    for round in 0..KILLS {
        tokio::time::sleep(REST).await;
        let killed = leader(&servers)?;
        let others: Vec<usize> = (0..SERVERS).filter(|index| *index != killed).collect();
        let at = *others.first().context("another server")?;
        let start = Instant::now();
        servers.kill(killed);
        let client = clients.get(at).context("its client")?;
        stopped.push(controllers_go_on(client, round, start).await?);
        servers.start_server(killed);
    }
    going.store(false, Ordering::Relaxed);
    let (written, longest) = writing.await??;
    let (asked, failed) = asking.join().map_err(|_| anyhow::anyhow!("the asker panicked"))?;
    stopped.sort();
    Ok(vec![
        format!(
            "the leader of {SERVERS} servers killed, {KILLS} times: API writes stopped for {:.2} s at most (promised 2), of {written}",
            longest.as_secs_f64(),
        ),
        format!(
            "  a new Deployment's pod ran after {:.1} s, at most {:.1} s (promised 15, controllers); {failed} of {asked} requests between pods failed (promised none)",
            stopped.get(KILLS / 2).copied().unwrap_or_default().as_secs_f64(),
            stopped.last().copied().unwrap_or_default().as_secs_f64(),
        ),
    ])
}

/// Runs a pod that answers and one that asks it by its Service's name; the port at which it is asked to.
fn serve(servers: &Servers) -> u16 {
    let guests = build_guests("tests/guests");
    for (tag, file) in
        [("hello:1", "hello_http"), ("http-behave:1", "http_behave"), ("behave:1", "behave")]
    {
        servers.push(tag, &guests.join(format!("{file}.wasm")));
    }
    let port = servers.node_port();
    let pod = |name: &str, image: &str| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
            "spec": {"containers": [{"name": "c", "image": image, "ports": [{"containerPort": 8080}]}]}})
    };
    let service = |name: &str, more: serde_json::Value| {
        let mut spec =
            json!({"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]});
        if let (Some(spec), Some(more)) = (spec.as_object_mut(), more.as_object()) {
            spec.extend(more.clone());
        }
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})
    };
    let outside =
        json!({"type": "NodePort", "ports": [{"port": 80, "targetPort": 8080, "nodePort": port}]});
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [pod("hello", HELLO), pod("asker", HTTP),
        service("hello", json!({})), service("asker", outside)]});
    let applied = servers.kubectl_with(0, &["apply", "-f", "-"], &list.to_string());
    eventually("the pods are made", || if applied.ok { Ok(()) } else { Err(&applied) });
    eventually("a pod reaches the other", || answers(port));
    port
}

fn answers(port: u16) -> Result<(), String> {
    match get(port, "/call?hello.default.svc.cluster.local/") {
        Ok(answer) if answer.status == 200 && answer.body.contains("hello") => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

async fn client(servers: &Servers, index: usize) -> anyhow::Result<Client> {
    let kubeconfig = kube::config::Kubeconfig::read_from(servers.kubeconfig(index))?;
    let options = kube::config::KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    Ok(Client::try_from(config)?)
}

/// The server that leads the controllers, by the file in which it keeps who it is.
fn leader(servers: &Servers) -> anyhow::Result<usize> {
    let lease = servers.get(0, &["lease", "kube-controller-manager", "-n", "kube-system"]);
    let holder = lease["spec"]["holderIdentity"].as_str().context("nobody leads")?.to_owned();
    let is = |index: &usize| {
        let id = servers.kubeconfig(*index).with_file_name("server-id");
        std::fs::read_to_string(id).is_ok_and(|id| holder.ends_with(id.trim()))
    };
    (0..SERVERS).find(is).with_context(|| format!("{holder} is no server"))
}

/// Asks a pod to ask another, all along; how often, and how often in vain.
fn ask(port: u16, going: &AtomicBool) -> (u32, u32) {
    let (mut asked, mut failed) = (0, 0);
    while going.load(Ordering::Relaxed) {
        asked += 1;
        failed += u32::from(answers(port).is_err());
        std::thread::sleep(PAUSE);
    }
    (asked, failed)
}

/// Writes all along, at the next server when one does not answer; how often, and the longest time
/// between two writes that were acknowledged.
async fn write(clients: Vec<Client>, going: Arc<AtomicBool>) -> anyhow::Result<(u32, Duration)> {
    let (mut at, mut written, mut longest) = (0, 0, Duration::ZERO);
    let mut last = Instant::now();
    while going.load(Ordering::Relaxed) {
        let client = clients.get(at % clients.len()).context("a client")?.clone();
        let maps: Api<ConfigMap> = Api::default_namespaced(client);
        let map =
            json!({"metadata": {"generateName": "bench-"}, "data": {"n": written.to_string()}});
        let map = serde_json::from_value(map)?;
        let parameters = PostParams::default();
        match tokio::time::timeout(ANSWER_MAX, maps.create(&parameters, &map)).await {
            Ok(Ok(_)) => {
                longest = longest.max(last.elapsed());
                last = Instant::now();
                written += 1;
                tokio::time::sleep(PAUSE).await;
            }
            Ok(Err(_)) | Err(_) => at += 1,
        }
    }
    Ok((written, longest))
}

/// Makes a Deployment; the time from `start` until a pod of it runs, which takes controllers and scheduler.
async fn controllers_go_on(
    client: &Client,
    round: usize,
    start: Instant,
) -> anyhow::Result<Duration> {
    use k8s_openapi::api::apps::v1::Deployment;
    let name = format!("after-{round}");
    let container = json!({"name": "c", "image": BEHAVE, "args": ["sleep", "86400000"]});
    let deployment = json!({"metadata": {"name": name}, "spec": {"selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}}});
    let deployment: Deployment = serde_json::from_value(deployment)?;
    let deployments: Api<Deployment> = Api::default_namespaced(client.clone());
    while deployments.create(&PostParams::default(), &deployment).await.is_err() {
        ensure!(start.elapsed() < PATIENCE, "no Deployment can be made");
        tokio::time::sleep(PAUSE).await;
    }
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let parameters = ListParams::default().labels(&format!("app={name}"));
    loop {
        let runs = |pod: &Pod| {
            let status = pod.status.as_ref();
            status.and_then(|status| status.phase.as_deref()) == Some("Running")
        };
        if pods.list(&parameters).await.is_ok_and(|list| list.iter().any(runs)) {
            return Ok(start.elapsed());
        }
        ensure!(start.elapsed() < PATIENCE, "no pod of {name} runs after {PATIENCE:?}");
        tokio::time::sleep(PAUSE).await;
    }
}
