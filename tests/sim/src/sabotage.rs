//! Breaks a promise on purpose, so that a test shows that the break is found.

use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use coracle_client::Client;
use coracle_simulate::note;
use coracle_simulate::objects::{PODS, is_active, text};
use coracle_simulate::world::{Tampering, World};
use http::{Method, Request};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::sleep;

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sabotage {
    /// The disk says that it has synced and has not.
    LyingDisk,
    /// The network leaves out a frame of a watch.
    LostEvent,
    /// The network sends a frame of a watch twice.
    DoubledEvent,
    /// Pods are deleted for no reason.
    Deletion,
    /// Pods of a ReplicaSet are made that it did not ask for.
    Pod,
    /// A pod is put where it has no room.
    Placement,
    /// A host never starts.
    IdleHost,
}

/// Time between two tries of a rogue.
const EVERY: Duration = Duration::from_secs(3);

/// Breaks what is broken from the beginning on: the disk, or the watches of the clients that compare.
pub(crate) fn prepare(world: &World, sabotage: Sabotage) {
    let tamper = |how| {
        world.weather.send_modify(|weather| weather.tampered = Some(("watcher", how)));
    };
    match sabotage {
        Sabotage::LyingDisk => world.disk.lie(),
        Sabotage::LostEvent => tamper(Tampering::LeftOut),
        Sabotage::DoubledEvent => tamper(Tampering::Doubled),
        Sabotage::Deletion | Sabotage::Pod | Sabotage::Placement | Sabotage::IdleHost => {}
    }
}

/// Lets a rogue client do its harm again and again; nothing for the other kinds.
pub(crate) async fn run(world: Arc<World>, client: Client, sabotage: Sabotage) {
    loop {
        sleep(EVERY).await;
        let Some((method, path, body)) = harm(&world, sabotage) else { continue };
        note!(world, "rogue: {method} {path}");
        let request = Request::builder().method(method).uri(path);
        let request = request.header("content-type", "application/json");
        if let Ok(request) = request.body(Body::from(body.to_string().into_bytes())) {
            // What fails is tried again.
            let _ = client.kube().send(request).await;
        }
    }
}

fn harm(world: &World, sabotage: Sabotage) -> Option<(Method, String, Value)> {
    let all = "/api/v1/namespaces/default/pods";
    let (key, pod) = {
        let oracle = world.oracle.lock();
        let mut pods = oracle
            .objects
            .below(PODS)
            .filter(|(key, pod)| is_active(pod) && key.starts_with("/registry/core/pods/default/"));
        let (key, pod) = pods.find(|(_, pod)| !text(pod, "/spec/nodeName").is_empty())?;
        (key.to_owned(), pod.clone())
    };
    let name = coracle_simulate::objects::name_of(&key);
    match sabotage {
        Sabotage::Deletion => Some((Method::DELETE, format!("{all}/{name}"), json!({}))),
        Sabotage::Pod => {
            let body = json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "a", "image": "b"}]},
                "metadata": {"generateName": "rogue-", "ownerReferences": pod["metadata"]["ownerReferences"]}});
            Some((Method::POST, all.to_owned(), body))
        }
        Sabotage::Placement => {
            let container =
                json!({"name": "a", "image": "b", "resources": {"requests": {"cpu": "64"}}});
            let body = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "rogue-"},
                "spec": {"nodeName": pod["spec"]["nodeName"], "containers": [container]}});
            Some((Method::POST, all.to_owned(), body))
        }
        Sabotage::LyingDisk | Sabotage::LostEvent | Sabotage::DoubledEvent | Sabotage::IdleHost => {
            None
        }
    }
}
