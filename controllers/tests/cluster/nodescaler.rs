//! Programs that add and remove hosts, called for real.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use coracle_controllers::nodescaler::{Hook, HostHooks};

use super::*;

/// A program that writes down its argument and what it is told.
fn program(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    let script = format!(
        "#!/bin/sh\n(echo \"$1\"; cat) > {0}.part && mv {0}.part {0}.said\n",
        path.display()
    );
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Waits until a program was called, and gives its argument and what it was told.
async fn said(program: &Path) -> (String, Value) {
    let said = program.with_extension("said");
    let wait = async {
        loop {
            if let Ok(text) = std::fs::read_to_string(&said) {
                let (argument, told) = text.split_once('\n').unwrap();
                return (argument.to_owned(), serde_json::from_str(told).unwrap());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, wait).await {
        Ok(said) => said,
        Err(_) => panic!("{} was not called", program.display()),
    }
}

async fn node(cluster: &Cluster, name: &str) {
    let nodes = cluster.client.cluster::<Node>();
    let node = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
    nodes.create(&PostParams::default(), &node).await.unwrap();
    let status = json!({"status": {"allocatable": {"cpu": "4", "memory": "4Gi", "pods": "10"},
        "conditions": [{"type": "Ready", "status": "True"}]}});
    nodes.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    let free = Patch::Merge(json!({"spec": {"taints": null}}));
    nodes.patch(name, &PatchParams::default(), &free).await.unwrap();
}

fn bound(name: &str, node: &str, owner: Option<&ConfigMap>) -> Value {
    let owners = owner.map(|set| {
        json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": set.name_any(),
            "uid": set.uid(), "controller": true}])
    });
    json!({"metadata": {"name": name, "labels": {"app": "web"}, "ownerReferences": owners},
        "spec": {"nodeName": node, "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}}]}})
}

/// Rows `ca.scale-up`, `ca.scale-down`.
#[tokio::test]
async fn hosts_come_for_pods_without_room_and_go_when_they_are_idle() {
    let folder = tempfile::tempdir().unwrap();
    let (add, remove) = (program(folder.path(), "add"), program(folder.path(), "remove"));
    let hooks = HostHooks {
        add: Some(Hook::Program(add.clone())),
        remove: Some(Hook::Program(remove.clone())),
        idle_after: Duration::from_millis(300),
        look_every: Duration::from_millis(50),
        ..HostHooks::default()
    };
    let cluster = Cluster::with(Config { hooks, ..Config::default() }).await;
    // While a pod has no room no host goes, so the idle ones stay until it is deleted.
    cluster
        .create::<Pod>(json!({"metadata": {"name": "large"}, "spec": {
        "containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "64"}}}]}}))
        .await;
    let refusal = json!({"status": {"conditions": [{"type": "PodScheduled", "status": "False",
        "reason": "Unschedulable", "message": "0/2 nodes are available: 2 Insufficient cpu.",
        "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
    let pods = cluster.client.namespaced::<Pod>("default");
    pods.patch_status("large", &PatchParams::default(), &Patch::Merge(refusal)).await.unwrap();
    let (_, told) = said(&add).await;
    assert_eq!(told["pods"][0]["name"], "large");
    assert_eq!(told["pods"][0]["requests"]["cpu"], "64000m");
    for name in ["bare", "idle", "other"] {
        node(&cluster, name).await;
    }
    // Somebody who makes pods anew, and is none of our own controllers.
    let set = cluster.create::<ConfigMap>(json!({"metadata": {"name": "owner"}})).await;
    cluster.create::<Pod>(bound("alone", "bare", None)).await;
    cluster.create::<Pod>(bound("moves", "idle", Some(&set))).await;
    for name in ["stays-1", "stays-2", "stays-3"] {
        cluster.create::<Pod>(bound(name, "other", Some(&set))).await;
    }
    pods.delete("large", &DeleteParams::default().grace_period(0)).await.unwrap();
    let (name, told) = said(&remove).await;
    assert_eq!((name.as_str(), &told["node"]), ("idle", &json!("idle")));
    cluster
        .until("only the other nodes", |all: &Cache<Node>| {
            let names: Vec<String> = all.list().iter().map(|node| node.name_any()).collect();
            (names == ["bare", "other"]).then_some(())
        })
        .await;
    let there: Cache<Pod> = cluster.caches.get();
    assert!(there.get(Some("default"), "alone").is_some(), "a bare pod keeps its host");
    assert!(there.get(Some("default"), "moves").is_none(), "the host was drained first");
}
