//! The control plane in this process: API server over a store on disk, scheduler, controllers, and hosts that only say
//! that their pods run. So the CPU of all parts is that of one process.

pub(crate) mod large;
pub(crate) mod quiet;
pub(crate) mod rollout;
pub(crate) mod scheduling;

mod hosts;
mod progress;

use anyhow::{Context as _, anyhow};
use coracle_apiserver::authn::UserInfo;
use coracle_apiserver::{ApiServer, Config};
use coracle_client::{Caches, Client};
use coracle_store::Store;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, ServiceAccount};
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::process::Process;

/// Creations in flight.
const IN_FLIGHT: usize = 64;

/// A server and what its other parts share.
struct Plane {
    api: ApiServer,
    caches: Caches,
    store: Store,
    _folder: tempfile::TempDir,
}

impl Plane {
    /// Starts the server alone, with an empty store on disk.
    async fn start() -> anyhow::Result<Plane> {
        let folder = tempfile::tempdir().context("make a folder")?;
        let store = Store::open_redb(folder.path().join("store.redb")).context("open a store")?;
        let mut config = Config::new("127.0.0.1:6443".parse()?, folder.path().join("registry"));
        config.describe = || Box::new(|_, _| None);
        let api = ApiServer::new(config, store.clone()).await;
        let api = api.map_err(|error| anyhow!("start the API server: {error:?}"))?;
        let own =
            Client::in_process(api.in_process(UserInfo::component("kube-controller-manager")));
        let plane = Plane { api, caches: Caches::lean(own), store, _folder: folder };
        plane.furnish().await?;
        Ok(plane)
    }

    /// What pods need to be let in where no controllers run.
    async fn furnish(&self) -> anyhow::Result<()> {
        let space: Namespace = serde_json::from_value(json!({"metadata": {"name": "default"}}))?;
        let made =
            self.client().cluster::<Namespace>().create(&PostParams::default(), &space).await;
        anyhow::ensure!(made.is_ok() || is_there(&made), "make the namespace: {made:?}");
        let account: ServiceAccount =
            serde_json::from_value(json!({"metadata": {"name": "default"}}))?;
        let accounts = self.client().namespaced::<ServiceAccount>("default");
        let made = accounts.create(&PostParams::default(), &account).await;
        anyhow::ensure!(made.is_ok() || is_there(&made), "make the account: {made:?}");
        Ok(())
    }

    fn client(&self) -> &Client {
        self.caches.client()
    }

    /// The client of a host.
    fn host(&self, name: &str) -> Client {
        let user = UserInfo::new(&format!("system:node:{name}"), ["system:nodes"]);
        Client::in_process(self.api.in_process(user))
    }

    /// Registers nodes that are ready, each with room for so many pods.
    async fn nodes(&self, count: usize, pods: usize) -> anyhow::Result<()> {
        let nodes = self.client().cluster::<Node>();
        let create = |number: usize| {
            let nodes = nodes.clone();
            async move {
                let node: Node = serde_json::from_value(node(number, pods))?;
                nodes.create(&PostParams::default(), &node).await.context("create a node")
            }
        };
        let all = stream::iter(0..count).map(create).buffer_unordered(IN_FLIGHT);
        all.try_for_each(async |_| Ok(())).await
    }

    /// Creates pods in `default`; `pod` gives each of them without its name and labels.
    async fn pods(&self, count: usize, pod: impl Fn(usize) -> Value) -> anyhow::Result<()> {
        let pods = self.client().namespaced::<Pod>("default");
        let create = |number: usize| {
            let pods = pods.clone();
            let pod: Result<Pod, _> = serde_json::from_value(pod(number));
            async move {
                let mut pod = pod?;
                pod.metadata.name = Some(format!("web-{number:06}"));
                pod.metadata.labels = Some([("app".to_owned(), "web".to_owned())].into());
                pods.create(&PostParams::default(), &pod).await.context("create a pod")
            }
        };
        let all = stream::iter(0..count).map(create).buffer_unordered(IN_FLIGHT);
        all.try_for_each(async |_| Ok(())).await
    }
}

fn is_there<K>(made: &Result<K, kube::Error>) -> bool {
    made.as_ref()
        .is_err_and(|error| matches!(error, kube::Error::Api(status) if status.code == 409))
}

fn own() -> Process {
    Process(std::process::id())
}

fn node_name(number: usize) -> String {
    format!("node-{number:05}")
}

fn node(number: usize, pods: usize) -> Value {
    let name = node_name(number);
    let room = json!({"cpu": "64", "memory": "512Gi", "pods": pods.to_string()});
    json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name,
            "topology.kubernetes.io/zone": format!("zone-{}", number % 10)}},
        "status": {"allocatable": room, "capacity": room, "conditions": [{"type": "Ready", "status": "True",
            "reason": "KubeletReady", "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
    })
}

/// The spec of a pod that asks for little and bears every taint: a new node has one until somebody looks after it.
fn pod_spec(more: &Value) -> Value {
    let mut spec = json!({
        "tolerations": [{"operator": "Exists"}], "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "web", "image": "registry.coracle.internal/web:1",
            "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}}}],
    });
    if let (Some(spec), Some(more)) = (spec.as_object_mut(), more.as_object()) {
        spec.extend(more.clone());
    }
    spec
}
