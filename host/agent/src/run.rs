//! Starts the agent: opens its folders, registers the node, and runs the loop until it is told to
//! end.

use std::sync::Arc;
use std::time::Duration;

use coracle_client::{Cache, Client, Recorder, Scope};
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::addresses::Addresses;
use crate::agent::Agent;
use crate::checkpoint::seal::Sealer;
use crate::checkpoint::{Files, Writer};
use crate::claims::Claims;
use crate::effects::{Message, Shared};
use crate::eviction::{self, Pressure};
use crate::images::registry::{BuiltInRegistry, OciRegistry, Registries};
use crate::images::{ImageStore, Images};
use crate::manifests::watch;
use crate::node;
use crate::objects::Followed;
use crate::pods::status::HostFacts;
use crate::runtime::Runtime;
use crate::server;
use crate::settings::{AgentConfig, Services};
use crate::tokens::Tokens;
use crate::turns::Turns;
use crate::volumes::VolumeRoots;
use crate::volumes::plugin::LocalDriver;

/// What containers get to stop when the host ends.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// How long a host that comes back with pods of its checkpoint waits for a server that neither refuses nor answers,
/// before it starts them by what it knew: they may have been deleted while it was away, and others be in their place.
const FIRST_WORD_MAX: Duration = Duration::from_secs(2);

/// Why the agent cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// A folder, the key or the socket cannot be used.
    #[error("{what} {path}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: std::path::PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The image store cannot be used.
    #[error("open the image store")]
    Images(#[source] crate::images::store::StoreError),
    /// The memory folder lies on a disk, where Secrets must not be.
    #[error("memory folder {path} must be on a tmpfs; Secrets are kept there")]
    MemoryDir {
        /// The folder.
        path: std::path::PathBuf,
    },
}

/// What the agent works with.
pub struct Parts {
    /// The host's own connection to the API server.
    pub client: Client,
    /// What runs containers.
    pub runtime: Arc<dyn Runtime>,
    /// Services and Namespaces.
    pub services: Arc<dyn Services>,
    /// Cancelled when the machine is about to go down: the node says that it is not ready, all pods
    /// are ended for good within [`AgentConfig::shutdown`], and the agent returns. An agent that is
    /// only stopped leaves its pods to the next start.
    pub shut_down: CancellationToken,
}

/// Makes this node's pods true until `stop` is cancelled; then ends what runs and returns.
///
/// Works with no server reachable: pods of the checkpoint are started again, at once if nothing listens there, and after
/// two seconds if nothing answers. Where a server answers, only those start again that it still has.
///
/// # Errors
/// When a folder, the key or the socket cannot be used.
pub async fn run(
    config: AgentConfig,
    parts: Parts,
    stop: CancellationToken,
) -> Result<(), AgentError> {
    let (files, volumes) = open(&config)?;
    let (news, received) = mpsc::unbounded_channel();
    let _namespaces = parts.services.on_namespace({
        let news = news.clone();
        Box::new(move |name| {
            let _ = news.send(Message::Namespace(name.to_owned()));
        })
    });
    let shared = Arc::new(share(config, parts, &files, volumes, &news)?);
    let end = stop.child_token();
    let _end = end.clone().drop_guard();
    let server = server::listen(shared.clone(), end.clone()).await?;
    let node = tokio::spawn(node::keep(shared.clone(), files.clone(), end.clone()));
    let scope = Scope::all().fields(format!("spec.nodeName={}", shared.config.node_name));
    let pods = Cache::<Pod>::start(&shared.client, scope);
    let mut agent = Agent::new(shared.clone(), Writer::start(files.clone()));
    recover(&mut agent, &shared, &files);
    if agent.has_pods() {
        tokio::select! {
            () = stop.cancelled() => {}
            () = first_word(&shared, &pods) => {}
        }
    }
    let synced = {
        let pods = pods.clone();
        tokio::spawn(async move {
            pods.wait_synced().await;
            let _ = news.send(Message::Synced);
        })
    };
    let manifests = shared.config.pod_manifest_path.clone();
    let manifests = manifests.map(|folder| tokio::spawn(watch::follow(shared.clone(), folder)));
    if manifests.is_none() {
        // Mirrors of a folder that nobody names any more go.
        let _ = shared.news.send(Message::Manifests(Vec::new()));
    }
    let beside = [
        synced,
        tokio::spawn(shared.tokens.clone().follow()),
        tokio::spawn(shared.claims.clone().clear()),
        tokio::spawn(eviction::follow(shared.clone())),
    ];
    agent.run(pods, received, stop).await;
    beside.iter().chain(&manifests).for_each(tokio::task::JoinHandle::abort);
    agent.shut_down(SHUTDOWN_GRACE).await;
    end.cancel();
    let _ = tokio::join!(server, node);
    Ok(())
}

/// Puts together what every effect may use.
fn share(
    config: AgentConfig,
    parts: Parts,
    files: &Files,
    volumes: VolumeRoots,
    news: &mpsc::UnboundedSender<Message>,
) -> Result<Shared, AgentError> {
    let images = ImageStore::open(config.data_dir.join("images")).map_err(AgentError::Images)?;
    let built_in = Arc::new(BuiltInRegistry::new(parts.client.kube()));
    let other = Arc::new(OciRegistry::new(config.images.hosts.clone()));
    let changed = {
        let news = news.clone();
        Arc::new(move |object| {
            let _ = news.send(Message::Object(object));
        })
    };
    let plugin = Arc::new(LocalDriver::new(config.data_dir.clone()));
    let node = config.node_name.clone();
    let turns = Turns::default();
    Ok(Shared {
        tokens: Tokens::new(parts.client.clone(), files.clone(), turns.clone(), news.clone()),
        turns,
        claims: Claims::new(parts.client.clone(), files.clone(), node, plugin, news.clone()),
        pressure: Pressure::default(),
        client: parts.client.clone(),
        runtime: parts.runtime,
        images: Images::new(Arc::new(images), Registries::new(built_in, other)),
        objects: Followed::new(parts.client.clone(), files.clone(), changed),
        services: parts.services,
        recorder: Recorder::new(&parts.client, "kubelet", &config.node_name),
        addresses: Addresses::new(),
        volumes,
        host: HostFacts { host_ip: config.host_ip.to_string() },
        allocatable: node::facts::allocatable(&config),
        news: news.clone(),
        shut_down: parts.shut_down,
        told_shutdown: CancellationToken::new(),
        rates: parking_lot::Mutex::default(),
        disk: Arc::new(crate::server::stats::Walks::new()),
        checks: parking_lot::Mutex::default(),
        config,
    })
}

fn open(config: &AgentConfig) -> Result<(Files, VolumeRoots), AgentError> {
    let io = |what, path: &std::path::Path| {
        let path = path.to_owned();
        move |source| AgentError::Io { what, path, source }
    };
    for path in [&config.data_dir, &config.memory_dir] {
        std::fs::create_dir_all(path).map_err(io("make folder", path))?;
    }
    let private = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o700);
    for path in [&config.data_dir, &config.memory_dir] {
        std::fs::set_permissions(path, private.clone()).map_err(io("protect folder", path))?;
    }
    if !is_in_memory(&config.memory_dir) {
        return Err(AgentError::MemoryDir { path: config.memory_dir.clone() });
    }
    let sealer = config
        .seal_key
        .as_ref()
        .map(|path| Sealer::open(path).map(Arc::new).map_err(io("open host key", path)));
    let checkpoint = config.data_dir.join("checkpoint");
    let files = Files::open(checkpoint.clone(), sealer.transpose()?)
        .map_err(io("open checkpoint", &checkpoint))?;
    let volumes =
        VolumeRoots { disk: config.data_dir.join("pods"), memory: config.memory_dir.join("pods") };
    for path in [&volumes.disk, &volumes.memory] {
        std::fs::create_dir_all(path).map_err(io("make folder", path))?;
    }
    Ok((files, volumes))
}

fn is_in_memory(path: &std::path::Path) -> bool {
    const TMPFS: u64 = 0x0102_1994;
    const RAMFS: u64 = 0x8584_58f6;
    rustix::fs::statfs(path).is_ok_and(|stat| {
        let kind = u64::try_from(stat.f_type).unwrap_or(0);
        kind == TMPFS || kind == RAMFS
    })
}

/// Ends when the server has said which pods there are, or is known not to answer.
async fn first_word(shared: &Shared, pods: &Cache<Pod>) {
    let word = async {
        // Where nothing listens, there is no word to wait for.
        if shared.client.kube().apiserver_version().await.is_ok() {
            pods.wait_synced().await;
        }
    };
    if tokio::time::timeout(FIRST_WORD_MAX, word).await.is_err() {
        tracing::warn!("the server does not answer; pods start by what was known of them");
    }
}

/// Brings back the pods of the checkpoint, and clears what belongs to none of them.
fn recover(agent: &mut Agent, shared: &Arc<Shared>, files: &Files) {
    let node = files.node();
    if !node.pod_cidr.is_empty() {
        shared.addresses.set(&node.cidrs());
    }
    let saved = files.pods();
    let known: std::collections::HashSet<String> =
        saved.iter().filter_map(|record| record.pod.metadata.uid.clone()).collect();
    for uid in shared.volumes.uids().into_iter().filter(|uid| !known.contains(uid)) {
        if let Err(error) = shared.volumes.remove(&uid) {
            tracing::warn!(uid, %error, "cannot remove the volumes of a pod that is gone");
        }
    }
    for uid in &known {
        // Their copy-up layers ended with the containers that wrote them.
        let _ = std::fs::remove_dir_all(shared.volumes.scratch(uid));
    }
    tracing::info!(pods = saved.len(), "took up the pods of the checkpoint");
    agent.recover(saved);
}
