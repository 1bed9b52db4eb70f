//! What the agent is told at its start.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use coracle_client::Subscription;
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Namespace, Service, Taint};

use crate::eviction::thresholds::Thresholds;
use crate::images::RegistryHosts;
use crate::pods::shutdown::ShutdownGrace;
use crate::volumes::nfs::NfsShare;

/// Pods that one host takes unless told otherwise.
pub const PODS_MAX: u32 = 16_000;

/// Settings of the agent; the caller has read files and environment.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// Name of the Node object: the host name in lower case.
    pub node_name: String,
    /// The agent's own folder: images, volumes, logs, checkpoint, socket.
    pub data_dir: PathBuf,
    /// A folder in a memory file system, for Secrets and volumes with medium `Memory`. Outside of
    /// `data_dir`. Nobody else uses it.
    pub memory_dir: PathBuf,
    /// The key by which Secrets in the checkpoint are sealed: a file outside of `data_dir`, made
    /// when it is missing. Without one no Secret is kept, and pods that need one wait for the
    /// server after a restart.
    pub seal_key: Option<PathBuf>,
    /// The host's own address (`status.hostIP`, the node's `InternalIP`).
    pub host_ip: IpAddr,
    /// Most pods at once.
    pub pods_max: u32,
    /// Prefixes of host paths that pods may mount; empty for none.
    pub host_path_prefixes: Vec<PathBuf>,
    /// NFS shares that the machine has mounted, which pods may use.
    pub nfs_shares: Vec<NfsShare>,
    /// Lets pods have the host's network (`hostNetwork`).
    pub host_network: bool,
    /// Labels for the Node besides the usual ones.
    pub labels: BTreeMap<String, String>,
    /// Taints that the Node gets when it is made; later it belongs to the cluster.
    pub taints: Vec<Taint>,
    /// Makes the Node object. Without it somebody else has to.
    pub register: bool,
    /// What is kept from pods for the machine itself: `cpu`, `memory`, `ephemeral-storage` as
    /// quantities.
    pub reserved: BTreeMap<String, String>,
    /// Version shown as the node's `kubeletVersion`, such as `v1.35.4+coracle`.
    pub kubelet_version: String,
    /// Version shown as the node's `containerRuntimeVersion`, such as `wasmtime://48.0.8`.
    pub runtime_version: String,
    /// Address of the DNS server that `/etc/resolv.conf` names.
    pub dns_ip: Option<IpAddr>,
    /// Domain of the cluster.
    pub cluster_domain: String,
    /// When pods are ended because of what they take.
    pub eviction: EvictionConfig,
    /// Where images come from, and when those that nobody uses go.
    pub images: ImageConfig,
    /// A folder of this host with the manifests of static pods; none without one.
    pub pod_manifest_path: Option<PathBuf>,
    /// How long pods may take to end when the machine goes down.
    pub shutdown: ShutdownGrace,
}

/// Where images come from, and when those that nobody uses go.
#[derive(Clone, Debug)]
pub struct ImageConfig {
    /// Mirrors, authorities, credentials.
    pub hosts: RegistryHosts,
    /// Percent of the disk in use from which images that nobody uses are removed.
    pub gc_high_percent: u8,
    /// Percent of the disk in use down to which they are.
    pub gc_low_percent: u8,
    /// How long an image stays that nobody uses.
    pub min_age: SignedDuration,
}

impl Default for ImageConfig {
    /// *Source:* kubelet's `imageGCHighThresholdPercent`, `imageGCLowThresholdPercent` and
    /// `imageMinimumGCAge`.
    fn default() -> Self {
        Self {
            hosts: RegistryHosts::default(),
            gc_high_percent: 85,
            gc_low_percent: 80,
            min_age: SignedDuration::from_mins(2),
        }
    }
}

/// When pods are ended because of what they take.
#[derive(Clone, Debug)]
pub struct EvictionConfig {
    /// What must be left on the machine.
    pub thresholds: Thresholds,
    /// How long a pressure condition stays after its cause has gone.
    pub transition: SignedDuration,
    /// Time between two looks.
    pub interval: Duration,
}

impl Default for EvictionConfig {
    /// *Source:* kubelet's `--eviction-pressure-transition-period` and its monitoring interval.
    fn default() -> Self {
        Self {
            thresholds: Thresholds::default(),
            transition: SignedDuration::from_mins(5),
            interval: Duration::from_secs(10),
        }
    }
}

impl AgentConfig {
    /// Settings with the usual values for a node.
    #[must_use]
    pub fn new(node_name: &str, data_dir: PathBuf, memory_dir: PathBuf, host_ip: IpAddr) -> Self {
        Self {
            node_name: node_name.to_owned(),
            data_dir,
            memory_dir,
            seal_key: None,
            host_ip,
            pods_max: PODS_MAX,
            host_path_prefixes: Vec::new(),
            nfs_shares: Vec::new(),
            host_network: false,
            labels: BTreeMap::new(),
            taints: Vec::new(),
            register: true,
            reserved: BTreeMap::new(),
            kubelet_version: "v1.35.4+coracle".into(),
            runtime_version: "wasmtime://48.0.8".into(),
            dns_ip: None,
            cluster_domain: "cluster.local".into(),
            eviction: EvictionConfig::default(),
            images: ImageConfig::default(),
            pod_manifest_path: None,
            shutdown: ShutdownGrace::default(),
        }
    }

    /// Where the kubelet-like HTTP server listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.data_dir.join("agent.sock")
    }
}

/// Knows what a pod's surroundings contribute: Services become environment variables, a Namespace
/// may grant addresses outside.
pub trait Services: Send + Sync + 'static {
    /// Lists the Services of a namespace, and `default/kubernetes`, as far as they are known.
    fn in_namespace(&self, namespace: &str) -> Vec<Arc<Service>>;

    /// Gives the value of a namespace's `coracle.dev/egress` annotation.
    fn egress_of_namespace(&self, namespace: &str) -> Option<String>;

    /// Gives the public keys of which one must have signed the images of a namespace
    /// ([`KEYS_ANNOTATION`](crate::images::signature::KEYS_ANNOTATION)); `None` when nothing is known
    /// of the namespace, which is not the same as no keys.
    fn signature_keys(&self, namespace: &str) -> Option<Option<String>>;

    /// Calls `tell` with the name of each Namespace whose annotations change, for as long as what it
    /// gives is kept.
    fn on_namespace(&self, tell: Box<dyn Fn(&str) + Send + Sync>) -> Option<Subscription>;
}

/// The surroundings as the shared caches have them.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// All Services.
    pub services: coracle_client::Cache<Service>,
    /// All Namespaces.
    pub namespaces: coracle_client::Cache<Namespace>,
}

impl Services for Surroundings {
    fn in_namespace(&self, namespace: &str) -> Vec<Arc<Service>> {
        let mut services = self.services.list_in(namespace);
        if namespace != "default" {
            services.extend(self.services.get(Some("default"), "kubernetes"));
        }
        services
    }

    fn egress_of_namespace(&self, namespace: &str) -> Option<String> {
        let namespace = self.namespaces.get(None, namespace)?;
        namespace.metadata.annotations.as_ref()?.get("coracle.dev/egress").cloned()
    }

    fn signature_keys(&self, namespace: &str) -> Option<Option<String>> {
        let namespace = self.namespaces.get(None, namespace)?;
        let annotations = namespace.metadata.annotations.as_ref();
        Some(
            annotations
                .and_then(|notes| notes.get(crate::images::signature::KEYS_ANNOTATION))
                .cloned(),
        )
    }

    fn on_namespace(&self, tell: Box<dyn Fn(&str) + Send + Sync>) -> Option<Subscription> {
        let notes = |namespace: Option<&Arc<Namespace>>| {
            namespace.and_then(|namespace| namespace.metadata.annotations.clone())
        };
        Some(self.namespaces.observe(move |change| {
            if notes(change.old.as_ref()) != notes(change.new.as_ref()) {
                tell(&change.key.name);
            }
        }))
    }
}
