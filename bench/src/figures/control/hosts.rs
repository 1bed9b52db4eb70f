//! Hosts that only say: their Lease is renewed, every pod that is bound to them is Running and Ready at once, and one
//! that is to go is gone at once. Each follows its own pods and speaks for itself, as a real one.

use std::time::Duration;

use coracle_client::{Cache, Client, Scope};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::Resource as _;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::core::Request;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{Plane, node_name};

/// Time between two heartbeats, as in the agent.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Starts hosts for the nodes of the first numbers; they end when dropped.
pub(super) fn start(plane: &Plane, count: usize) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for number in 0..count {
        let (name, client) = (node_name(number), plane.host(&node_name(number)));
        tasks.spawn(beat(name.clone(), client.clone()));
        tasks.spawn(run(number, name, client));
    }
    tasks
}

/// The heartbeats alone.
pub(super) fn beat_only(plane: &Plane, count: usize) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for number in 0..count {
        tasks.spawn(beat(node_name(number), plane.host(&node_name(number))));
    }
    tasks
}

async fn beat(name: String, client: Client) {
    let leases = client.namespaced::<Lease>("kube-node-lease");
    loop {
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
        let spec = json!({"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": now});
        let patch = Patch::Merge(json!({"spec": spec}));
        if leases.patch(&name, &PatchParams::default(), &patch).await.is_err() {
            let lease =
                json!({"metadata": {"name": name, "namespace": "kube-node-lease"}, "spec": spec});
            if let Ok(lease) = serde_json::from_value(lease) {
                // Without its namespace it is made at the next beat.
                let _ = leases.create(&PostParams::default(), &lease).await;
            }
        }
        tokio::time::sleep(HEARTBEAT).await;
    }
}

async fn run(number: usize, name: String, client: Client) {
    let cache = Cache::<Pod>::start(&client, Scope::all().fields(format!("spec.nodeName={name}")));
    let mut changes = cache.subscribe();
    let mut n_pods: u32 = 0;
    loop {
        let Some(pod) = changes.next().await.new else { continue };
        let (meta, phase) =
            (&pod.metadata, pod.status.as_ref().and_then(|status| status.phase.as_deref()));
        let space = meta.namespace.as_deref().unwrap_or_default();
        let (pods, name) =
            (client.namespaced::<Pod>(space), meta.name.as_deref().unwrap_or_default());
        // What fails comes again with the pod's next change; pods that are gone are no failure.
        if meta.deletion_timestamp.is_some() {
            let _ = pods.delete(name, &DeleteParams::default().grace_period(0)).await;
        } else if phase != Some("Running") {
            n_pods += 1;
            // As a real host, which does not decode the answer.
            let patch = Patch::Strategic(running(number, n_pods));
            let request = Request::new(Pod::url_path(&(), Some(space)));
            let params = PatchParams::default();
            if let Ok(request) = request.patch_subresource("status", name, &params, &patch) {
                let _ = client.kube().request_text(request).await;
            }
        }
    }
}

pub(super) fn running(host: usize, pod: u32) -> Value {
    let [_, _, high, low] = pod.to_be_bytes();
    let (ip, now) = (format!("10.{}.{high}.{low}", 128 + host % 128), "2026-01-01T00:00:00Z");
    let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": now});
    let conditions = ["Initialized", "Ready", "ContainersReady"].map(condition);
    json!({"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "startTime": now,
        "conditions": conditions,
        "containerStatuses": [{"name": "web", "ready": true, "restartCount": 0, "started": true,
            "image": "registry.coracle.internal/web:1", "imageID": "", "state": {"running": {"startedAt": now}}}]}})
}
