//! An API server over the memory store, an agent with a scripted runtime, and ways to wait.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use coracle_agent::eviction::thresholds::Thresholds;
use coracle_agent::images::{ImageStore, LocalImage, Reference};
use coracle_agent::runtime::fake::FakeRuntime;
use coracle_agent::{AgentConfig, AgentError, Parts, Surroundings};
use coracle_apiserver::authn::UserInfo;
use coracle_apiserver::{ApiServer, Config as ServerConfig};
use coracle_client::cache::Object;
use coracle_client::{Cache, Caches, Client};
use coracle_store::Store;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Node, Pod, ServiceAccount};
use kube::Resource;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::gate::{self, Gate};

/// Long enough for a loaded machine; nothing here waits for time to pass.
const PATIENCE: Duration = Duration::from_secs(120);

/// An image that is on the host from the beginning.
pub(crate) const IMAGE: &str = "registry.coracle.internal/app:1";

pub(crate) struct Cluster {
    pub(crate) server: ApiServer,
    pub(crate) admin: Client,
    pub(crate) caches: Caches,
    pub(crate) runtime: FakeRuntime,
    pub(crate) gate: Arc<gate::State>,
    pub(crate) data: tempfile::TempDir,
    memory: tempfile::TempDir,
    /// Cancelled to say that the machine goes down.
    pub(crate) shut_down: CancellationToken,
    tune: fn(&mut AgentConfig),
    agent: Option<(CancellationToken, JoinHandle<Result<(), AgentError>>)>,
}

impl Cluster {
    /// Starts server and agent; the node is registered and has its range.
    pub(crate) async fn start() -> Cluster {
        Self::start_with(|_| {}).await
    }

    /// The same with an agent whose settings `tune` changes.
    pub(crate) async fn start_with(tune: fn(&mut AgentConfig)) -> Cluster {
        Self::start_in(tune, ["10.128.0.0/18", "fd63:6f72:a80::/64"]).await
    }

    /// The same with other ranges of the node.
    pub(crate) async fn start_in(tune: fn(&mut AgentConfig), ranges: [&str; 2]) -> Cluster {
        let data = tempfile::tempdir().unwrap();
        let memory = tempfile::tempdir_in("/dev/shm").unwrap();
        let address = "127.0.0.1:6443".parse().unwrap();
        let config = ServerConfig::new(address, data.path().join("registry"));
        let server = ApiServer::new(config, Store::memory()).await.unwrap();
        let user = UserInfo::new("admin", ["system:masters"]);
        let admin = Client::in_process(server.in_process(user));
        let caches = Caches::new(admin.clone());
        let runtime = FakeRuntime::default();
        let mut cluster = Cluster {
            server,
            admin,
            caches,
            runtime,
            gate: Arc::default(),
            data,
            memory,
            shut_down: CancellationToken::new(),
            tune,
            agent: None,
        };
        cluster.keep_image(IMAGE, '1');
        cluster.furnish().await;
        cluster.start_agent();
        cluster.give_range(ranges).await;
        cluster
    }

    /// Makes what a controller makes in every namespace, and what pods mount of it.
    async fn furnish(&self) {
        self.create::<ServiceAccount>(json!({"metadata": {"name": "default"}})).await;
        let ca = json!({"metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": "PEM"}});
        self.create::<ConfigMap>(ca).await;
    }

    pub(crate) fn agent_dir(&self) -> PathBuf {
        self.data.path().join("host")
    }

    pub(crate) fn memory_dir(&self) -> PathBuf {
        self.memory.path().join("agent")
    }

    /// Puts an image on the host whose digest is this digit again and again; gives its file.
    pub(crate) fn keep_image(&self, name: &str, digit: char) -> PathBuf {
        let store = ImageStore::open(self.agent_dir().join("images")).unwrap();
        let reference = Reference::parse(name).unwrap();
        let digest = format!("sha256:{}", digit.to_string().repeat(64));
        let wasm = store.blob(&digest);
        std::fs::write(&wasm, b"\0asm").unwrap();
        let image = LocalImage {
            image_id: reference.image_id(&digest),
            manifest_digest: digest.clone(),
            wasm: wasm.clone(),
            wasm_digest: digest,
            rootfs: None,
            entrypoint: Vec::new(),
            arguments: Vec::new(),
            env: Vec::new(),
            working_dir: None,
            size_bytes: 4,
        };
        store.keep(&reference, &image).unwrap();
        wasm
    }

    /// Starts the agent as the node `h1`, with the rights of a node.
    pub(crate) fn start_agent(&mut self) {
        let user = UserInfo::new("system:node:h1", ["system:nodes"]);
        let server = self.server.in_process(user);
        let client = Client::in_process(Gate { state: self.gate.clone(), server });
        let caches = Caches::new(client.clone());
        let surroundings = Surroundings { services: caches.get(), namespaces: caches.get() };
        let host_ip = "192.0.2.1".parse().unwrap();
        let mut config = AgentConfig::new("h1", self.agent_dir(), self.memory_dir(), host_ip);
        config.seal_key = Some(self.data.path().join("key/host.key"));
        // How full this machine is must decide nothing here.
        config.eviction.thresholds = Thresholds(Vec::new());
        config.images.gc_high_percent = 100;
        (self.tune)(&mut config);
        let parts = Parts {
            client,
            runtime: Arc::new(self.runtime.clone()),
            services: Arc::new(surroundings),
            shut_down: self.shut_down.clone(),
        };
        let stop = CancellationToken::new();
        let task = tokio::spawn(coracle_agent::run(config, parts, stop.clone()));
        self.agent = Some((stop, task));
    }

    /// Gives other settings to the next start of the agent.
    pub(crate) fn retune(&mut self, tune: fn(&mut AgentConfig)) {
        self.tune = tune;
    }

    /// Waits until so many pods were evicted, and lists them in the order in which it was told.
    pub(crate) async fn evictions(&self, count: usize) -> Vec<String> {
        self.until(&format!("{count} evictions"), |events: &Cache<Event>| {
            let mut all = events.list();
            all.retain(|event| event.reason.as_deref() == Some("Evicted"));
            all.sort_by_key(|event| {
                event.metadata.resource_version.as_ref().unwrap().parse::<u64>().unwrap()
            });
            let name = |event: &Arc<Event>| event.involved_object.name.clone().unwrap();
            (all.len() == count).then(|| all.iter().map(name).collect())
        })
        .await
    }

    /// Kills the agent as `kill -9` would: nothing is stopped or written any more.
    pub(crate) async fn kill_agent(&mut self) {
        let (_, task) = self.agent.take().unwrap();
        task.abort();
        let _ = task.await;
        self.runtime = FakeRuntime::default();
    }

    /// Stops the agent as an upgrade would.
    pub(crate) async fn stop_agent(&mut self) {
        let (stop, task) = self.agent.take().unwrap();
        stop.cancel();
        task.await.unwrap().unwrap();
    }

    /// Waits until the agent has ended by itself.
    pub(crate) async fn agent_ended(&mut self) {
        let (_stop, task) = self.agent.take().unwrap();
        let ended = tokio::time::timeout(PATIENCE, task).await;
        ended.unwrap().unwrap().unwrap();
    }

    async fn give_range(&self, ranges: [&str; 2]) {
        self.until("node", |nodes: &Cache<Node>| nodes.get(None, "h1")).await;
        let patch = json!({"spec": {"podCIDR": ranges[0], "podCIDRs": ranges}});
        let nodes = self.admin.cluster::<Node>();
        nodes.patch("h1", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    pub(crate) async fn create<K>(&self, object: Value) -> K
    where
        K: Object + Serialize + Resource<Scope = NamespaceResourceScope>,
    {
        let object: K = serde_json::from_value(object).unwrap();
        let api = self.admin.namespaced::<K>("default");
        api.create(&PostParams::default(), &object).await.unwrap()
    }

    pub(crate) async fn patch<K>(&self, name: &str, patch: Value)
    where
        K: Object + Resource<Scope = NamespaceResourceScope>,
    {
        let api = self.admin.namespaced::<K>("default");
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    pub(crate) async fn delete(&self, pod: &str, grace: Option<u32>) {
        let params = DeleteParams { grace_period_seconds: grace, ..DeleteParams::default() };
        self.admin.namespaced::<Pod>("default").delete(pod, &params).await.unwrap();
    }

    /// Waits until what a cache holds fulfils a condition, and gives what that is.
    pub(crate) async fn until<K: Object, T>(
        &self,
        what: &str,
        find: impl Fn(&Cache<K>) -> Option<T>,
    ) -> T {
        let cache: Cache<K> = self.caches.get();
        let mut changes = cache.subscribe();
        let wait = async {
            cache.wait_synced().await;
            loop {
                if let Some(found) = find(&cache) {
                    return found;
                }
                changes.next().await;
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(found) => found,
            Err(_) => {
                panic!("no {what}; calls {:?}; there are {:#?}", self.runtime.calls(), cache.list())
            }
        }
    }

    /// Waits until a pod's status shows a value at a JSON pointer.
    pub(crate) async fn shows(&self, pod: &str, pointer: &str, value: impl Into<Value>) -> Value {
        let value = value.into();
        self.until(&format!("{pod} with {pointer} = {value}"), |pods: &Cache<Pod>| {
            let pod = serde_json::to_value(&*pods.get(Some("default"), pod)?).unwrap();
            (pod.pointer(pointer) == Some(&value)).then_some(pod)
        })
        .await
    }

    pub(crate) async fn is_ready(&self, pod: &str) -> Value {
        self.until(&format!("ready pod {pod}"), |pods: &Cache<Pod>| {
            let pod = pods.get(Some("default"), pod)?;
            let conditions = pod.status.as_ref()?.conditions.as_ref()?;
            let ready = conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True");
            ready.then(|| serde_json::to_value(&*pod).unwrap())
        })
        .await
    }

    /// Waits until an init container runs.
    pub(crate) async fn started(&self, pod: &str, init: usize) {
        self.until(&format!("running init container {init} of {pod}"), |pods: &Cache<Pod>| {
            let pod = serde_json::to_value(&*pods.get(Some("default"), pod)?).unwrap();
            let pointer = format!("/status/initContainerStatuses/{init}/state/running");
            pod.pointer(&pointer).map(drop)
        })
        .await;
    }

    pub(crate) async fn is_gone(&self, pod: &str) {
        self.until(&format!("absence of {pod}"), |pods: &Cache<Pod>| {
            pods.get(Some("default"), pod).is_none().then_some(())
        })
        .await;
    }

    /// Waits for an event with a reason, and gives its message.
    pub(crate) async fn event(&self, reason: &str) -> String {
        self.until(&format!("event {reason}"), |events: &Cache<Event>| {
            let all = events.list();
            let found = all.iter().find(|event| event.reason.as_deref() == Some(reason))?;
            found.message.clone()
        })
        .await
    }

    /// Waits until something outside of the API is so.
    pub(crate) async fn eventually(&self, what: &str, holds: impl Fn() -> bool) {
        let wait = async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let done = tokio::time::timeout(PATIENCE, wait).await;
        assert!(done.is_ok(), "no {what}");
    }

    /// Waits until the runtime is asked for something.
    pub(crate) async fn heard(&self, call: &str) {
        let all = parking_lot::Mutex::new(Vec::new());
        self.eventually(call, || {
            let mut all = all.lock();
            all.extend(self.runtime.calls());
            all.iter().any(|made| made == call)
        })
        .await;
    }

    /// Waits until the checkpoint has the pod as it runs.
    pub(crate) async fn saved(&self, uid: &str) {
        let path = self.agent_dir().join("checkpoint/pods").join(format!("{uid}.json"));
        let holds =
            || std::fs::read_to_string(&path).is_ok_and(|text| text.contains("\"running\":{"));
        self.eventually("record of the running pod", holds).await;
    }

    /// Tells whether a text is in any file of the data directory.
    pub(crate) fn on_disk(&self, text: &str) -> bool {
        let found = std::process::Command::new("grep")
            .args(["-r", "-q", text])
            .arg(self.agent_dir())
            .status()
            .unwrap();
        found.success()
    }

    /// Waits for an event that begins with this, as `Reason: message`, and gives all of it.
    pub(crate) async fn told(&self, begin: &str) -> String {
        self.until(&format!("event '{begin}'"), |events: &Cache<Event>| {
            let line = |event: &Arc<Event>| {
                let (reason, message) = (event.reason.as_deref(), event.message.as_deref());
                format!("{}: {}", reason.unwrap_or_default(), message.unwrap_or_default())
            };
            events.list().iter().map(line).find(|line| line.starts_with(begin))
        })
        .await
    }
}

/// A pod with one container `app`, bound to the node; `more` is merged into its spec.
pub(crate) fn pod(name: &str, more: Value) -> Value {
    let mut spec = json!({"nodeName": "h1", "containers": [container("app", json!({}))]});
    merge(&mut spec, more);
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
}

pub(crate) fn container(name: &str, more: Value) -> Value {
    let mut container = json!({"name": name, "image": IMAGE});
    merge(&mut container, more);
    container
}

fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}
