//! PersistentVolumeClaims on the host: mounted, kept, grown, removed.

use coracle_agent::runtime::MountSource;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::harness::{Cluster, container, pod};

fn volume(node: &str) -> Value {
    json!({"metadata": {"name": "pvc-1", "finalizers": ["local.coracle.dev/folder"]}, "spec": {
        "capacity": {"storage": "1Mi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "",
        "csi": {"driver": "local.coracle.dev", "volumeHandle": "pvc-1",
            "volumeAttributes": {"local.coracle.dev/node": node}}}})
}

impl Cluster {
    async fn make_volume(&self, volume: Value) {
        let volume: PersistentVolume = serde_json::from_value(volume).unwrap();
        let api = self.admin.cluster::<PersistentVolume>();
        api.create(&PostParams::default(), &volume).await.unwrap();
    }

    async fn make_claim(&self) {
        let claim = json!({"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"],
            "storageClassName": "", "volumeName": "pvc-1", "resources": {"requests": {"storage": "1Mi"}}}});
        self.create::<PersistentVolumeClaim>(claim).await;
    }

    async fn bind(&self, size: &str) {
        let status = json!({"status": {"phase": "Bound", "capacity": {"storage": size}}});
        let claims = self.admin.namespaced::<PersistentVolumeClaim>("default");
        let params = PatchParams::default();
        claims.patch_status("data", &params, &Patch::Merge(&status)).await.unwrap();
    }
}

fn user(name: &str) -> Value {
    let mounts = json!([{"name": "d", "mountPath": "/d"}, {"name": "d", "mountPath": "/sub", "subPath": "a/b"}]);
    let app = container("app", json!({"volumeMounts": mounts}));
    let volumes = json!([{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]);
    pod(name, json!({"containers": [app], "volumes": volumes}))
}

#[tokio::test]
async fn a_claim_is_mounted_once_bound_outlives_its_pod_and_its_folder_goes_with_its_volume() {
    let cluster = Cluster::start().await;
    cluster.make_volume(volume("h1")).await;
    cluster.make_claim().await;
    cluster.create::<Pod>(user("first")).await;
    cluster
        .shows("first", "/status/containerStatuses/0/state/waiting/reason", "ContainerCreating")
        .await;
    cluster.bind("1Mi").await;
    cluster.is_ready("first").await;
    let folder = cluster.agent_dir().join("persistent/pvc-1");
    let mounts = cluster.runtime.request("first", "app").unwrap().mounts;
    assert_eq!(mounts[0].source, MountSource::Host(folder.clone()));
    assert_eq!(mounts[0].quota.as_ref().unwrap().bytes_max, 1 << 20);
    assert!(folder.join("a/b").is_dir() && !mounts[0].read_only);
    std::fs::write(folder.join("kept"), "1").unwrap();

    cluster.bind("2Mi").await;
    cluster.heard("resize first/d 2097152").await;
    let grown = || {
        cluster.runtime.exit("first", "app", 1);
        let mounts = cluster.runtime.request("first", "app").unwrap().mounts;
        mounts[0].quota.as_ref().unwrap().bytes_max == 2 << 20
    };
    cluster.eventually("the new size at the next start", grown).await;

    cluster.delete("first", Some(0)).await;
    cluster.is_gone("first").await;
    cluster.create::<Pod>(user("second")).await;
    cluster.is_ready("second").await;
    assert!(folder.join("kept").exists());
    cluster.delete("second", Some(0)).await;
    cluster.is_gone("second").await;
    let volumes = cluster.admin.cluster::<PersistentVolume>();
    volumes.delete("pvc-1", &DeleteParams::default()).await.unwrap();
    cluster.eventually("room again", || !folder.exists()).await;
    cluster
        .until("absence of the volume", |volumes: &coracle_client::Cache<PersistentVolume>| {
            volumes.get(None, "pvc-1").is_none().then_some(())
        })
        .await;
}

#[tokio::test]
async fn a_volume_of_another_host_is_refused() {
    let cluster = Cluster::start().await;
    cluster.make_volume(volume("h2")).await;
    cluster.make_claim().await;
    cluster.bind("1Mi").await;
    cluster.create::<Pod>(user("web")).await;
    let said = cluster.event("FailedMount").await;
    let words =
        "MountVolume.SetUp failed for volume \"d\" : volume \"pvc-1\" is a folder of h2, not of h1";
    assert_eq!(said, words);
}
