//! Registers the Node, renews its Lease, and keeps its status true.

use std::sync::Arc;
use std::time::Duration;

use coracle_client::Failure as _;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{events, facts, object};
use crate::checkpoint::Files;
use crate::checkpoint::files::SavedNode;
use crate::clock::now;
use crate::effects::Shared;

/// Time between two heartbeats.
///
/// *Source:* kubelet renews a lease of 40 s every 10 s.
const HEARTBEAT: Duration = Duration::from_secs(10);
pub(crate) const LEASE_SECONDS: i32 = 40;
/// Time between two tries while the server does not answer or the node has no range yet.
const RETRY: Duration = Duration::from_millis(200);
/// Longest pause between tries.
const RETRY_MAX: Duration = Duration::from_secs(5);
/// Heartbeats after which the status is sent though nothing changed (5 min).
const STATUS_BEATS: u32 = 30;
/// Most images that the status lists. *Source:* kubelet's `nodeStatusMaxImages`.
const IMAGES_MAX: usize = 50;

/// Runs until `end` is cancelled.
pub(crate) async fn keep(shared: Arc<Shared>, files: Files, end: CancellationToken) {
    let work = async {
        register(&shared, &files).await;
        let mut beats: u32 = 0;
        let mut sent_images = Vec::new();
        let mut told = events::Told::default();
        told.registered(&shared);
        loop {
            tokio::select! {
                () = tokio::time::sleep(HEARTBEAT) => {
                    if let Err(error) = renew(&shared).await {
                        tracing::debug!(error = error.message(), "lease not renewed");
                    }
                    beats = beats.wrapping_add(1);
                }
                () = shared.pressure.changed() => {}
                () = shared.shut_down.cancelled(), if !shared.told_shutdown.is_cancelled() => {
                    tell_shutdown(&shared).await;
                    continue;
                }
            }
            let (images, pressure) = (images(&shared), shared.pressure.shown());
            let news = images != sent_images || pressure != told.pressure();
            let due = beats.is_multiple_of(STATUS_BEATS) || news;
            match look_after(&shared, &images, due).await {
                Ok(true) => {
                    sent_images = images;
                    told.pressures(&shared, pressure);
                }
                Ok(false) => {}
                // The object was deleted under us: make it again.
                Err(error) if error.is_not_found() => register(&shared, &files).await,
                Err(error) => tracing::debug!(error = error.message(), "node status not sent"),
            }
        }
    };
    tokio::select! {
        () = end.cancelled() => {}
        () = work => {}
    }
}

/// Sends the status when it is `due`, or when somebody took the node for lost while it was silent;
/// gives true when it was sent.
async fn look_after(shared: &Shared, images: &[Value], due: bool) -> Result<bool, kube::Error> {
    let node = shared.client.cluster::<Node>().get(&shared.config.node_name).await?;
    let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
    let ready = conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True");
    if due || !ready {
        send_status(shared, images).await?;
    }
    Ok(due || !ready)
}

/// Says that the node is not ready any more, once, whether the server takes it or not.
async fn tell_shutdown(shared: &Shared) {
    if let Err(error) = send_status(shared, &images(shared)).await {
        tracing::warn!(error = error.message(), "cannot tell that the node shuts down");
    } else {
        events::not_ready(shared);
    }
    shared.told_shutdown.cancel();
}

/// Makes the object, its status and its lease; waits until it has a range of pod addresses.
async fn register(shared: &Shared, files: &Files) {
    let mut pause = RETRY;
    let mut announced = false;
    loop {
        match try_register(shared, &mut announced).await {
            Ok(node) => {
                let saved = SavedNode::of(&node);
                if !saved.pod_cidr.is_empty() {
                    shared.addresses.set(&saved.cidrs());
                    if let Err(error) = files.write_node(&saved) {
                        tracing::warn!(%error, "cannot keep the node's range");
                    }
                    return;
                }
                pause = RETRY;
            }
            Err(error) => {
                if error.is_refusal() {
                    tracing::warn!(error = error.message(), "the server refuses this node");
                } else {
                    tracing::debug!(error = error.message(), "node not registered yet");
                }
                pause = (pause * 2).min(RETRY_MAX);
            }
        }
        tokio::time::sleep(pause).await;
    }
}

async fn try_register(shared: &Shared, announced: &mut bool) -> Result<Node, kube::Error> {
    let api = shared.client.cluster::<Node>();
    let name = &shared.config.node_name;
    if *announced {
        return api.get(name).await;
    }
    let wanted = object::node(&shared.config, &facts::machine(&shared.config).arch);
    let there = api.get_opt(name).await?;
    if there.is_none() && !shared.config.register {
        // Whoever makes it may take a while.
        return api.get(name).await;
    }
    if there.is_none() {
        let node: Node = serde_json::from_value(wanted).map_err(kube::Error::SerdeError)?;
        match api.create(&PostParams::default(), &node).await {
            Err(error) if !error.is_already_exists() => return Err(error),
            Ok(_) | Err(_) => {}
        }
    } else {
        let labels = wanted.pointer("/metadata/labels").cloned().unwrap_or_default();
        let patch = json!({ "metadata": { "labels": labels } });
        api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
    }
    send_status(shared, &images(shared)).await?;
    renew(shared).await?;
    *announced = true;
    tracing::info!(node = %name, "registered the node");
    api.get(name).await
}

async fn send_status(shared: &Shared, images: &[Value]) -> Result<Node, kube::Error> {
    let api = shared.client.cluster::<Node>();
    let name = &shared.config.node_name;
    let before = serde_json::to_value(api.get(name).await?).map_err(kube::Error::SerdeError)?;
    let machine = facts::machine(&shared.config);
    let sources = object::Sources {
        config: &shared.config,
        machine: &machine,
        capacity: &facts::capacity(&shared.config),
        allocatable: &shared.allocatable,
        images,
        pressure: shared.pressure.shown(),
        shuts_down: shared.shut_down.is_cancelled(),
    };
    let status = object::status(&sources, &before, now());
    let patch = json!({ "status": status });
    api.patch_status(name, &PatchParams::default(), &Patch::Strategic(&patch)).await
}

async fn renew(shared: &Shared) -> Result<(), kube::Error> {
    let api = shared.client.namespaced::<Lease>("kube-node-lease");
    let name = &shared.config.node_name;
    let at = now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
    let spec = json!({
        "holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": at,
    });
    let patch = json!({ "spec": spec });
    match api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await {
        Err(error) if error.is_not_found() => {}
        done => return done.map(drop),
    }
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": { "name": name, "namespace": "kube-node-lease" }, "spec": spec,
    });
    let lease: Lease = serde_json::from_value(lease).map_err(kube::Error::SerdeError)?;
    api.create(&PostParams::default(), &lease).await.map(drop)
}

fn images(shared: &Shared) -> Vec<Value> {
    let mut images = shared.images.store().list();
    images.sort_by_key(|(_, image)| std::cmp::Reverse(image.size_bytes));
    let row = |(mut names, image): (Vec<String>, crate::images::LocalImage)| {
        names.insert(0, image.image_id);
        json!({ "names": names, "sizeBytes": image.size_bytes })
    };
    images.into_iter().take(IMAGES_MAX).map(row).collect()
}
