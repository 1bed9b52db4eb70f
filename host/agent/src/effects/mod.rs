//! Carries out the actions that `pods::reconcile` decides on: one async function each, which ends
//! with news for the loop. Nothing is decided here.

pub(crate) mod command;
pub(crate) mod grpc;
pub(crate) mod hooks;
pub(crate) mod image;
pub(crate) mod mirror;
pub(crate) mod probes;
pub(crate) mod sandbox;
pub(crate) mod start;
pub(crate) mod status;
pub(crate) mod stop;
pub(crate) mod tls;
pub(crate) mod volumes;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use coracle_client::{Client, Recorder};
use futures::future::BoxFuture;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::addresses::Addresses;
use crate::claims::Claims;
use crate::config::ObjectRef;
use crate::config::fields::Facts;
use crate::eviction::Pressure;
use crate::images::{Images, LocalImage};
use crate::manifests::FullName;
use crate::objects::Followed;
use crate::pods::plan::{Index, PodKey};
use crate::pods::state::PodEvent;
use crate::pods::status::HostFacts;
use crate::runtime::{ExitReport, Runtime};
use crate::settings::{AgentConfig, Services};
use crate::tokens::Tokens;
use crate::turns::Turns;
use crate::volumes::VolumeRoots;
use crate::worker::MountedVolumes;

/// News for the loop.
pub(crate) enum Message {
    /// Something happened to a pod.
    Event(String, PodEvent),
    /// A container was started; its end comes by `exit`.
    Started {
        uid: String,
        index: Index,
        id: String,
        at: Timestamp,
        exit: BoxFuture<'static, ExitReport>,
    },
    /// An object that pods refer to has changed.
    Object(ObjectRef),
    /// A status write is over; `sent` is what the server has now, if it took it.
    Told { uid: String, sent: Option<Map<String, Value>> },
    /// Something that the volumes of a pod show is due to be made anew.
    Refresh(String),
    /// A Namespace has changed, by name.
    Namespace(String),
    /// The first list of this host's pods is in.
    Synced,
    /// The static pods that the manifest folder asks for now, all of them.
    Manifests(Vec<Pod>),
    /// A write about the mirror of a static pod is over.
    Mirrored { name: FullName, failed: bool },
    /// Somebody asks what the agent knows of its pods: of one by namespace and name, or of all.
    Ask { one: Option<(String, String)>, answer: oneshot::Sender<Vec<PodView>> },
}

/// What the agent knows of one pod, for its HTTP server.
#[derive(Clone, Debug)]
pub(crate) struct PodView {
    pub(crate) key: PodKey,
    pub(crate) pod: Arc<Pod>,
    pub(crate) status: Option<k8s_openapi::api::core::v1::PodStatus>,
    /// Digests of the images that its volumes show.
    pub(crate) image_volumes: Vec<String>,
}

/// What every effect may use.
pub(crate) struct Shared {
    pub(crate) config: AgentConfig,
    pub(crate) client: Client,
    pub(crate) turns: Turns,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) images: Images,
    pub(crate) objects: Followed,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) claims: Arc<Claims>,
    pub(crate) pressure: Pressure,
    pub(crate) services: Arc<dyn Services>,
    pub(crate) recorder: Recorder,
    pub(crate) addresses: Addresses,
    pub(crate) volumes: VolumeRoots,
    pub(crate) host: HostFacts,
    pub(crate) allocatable: BTreeMap<String, String>,
    pub(crate) news: mpsc::UnboundedSender<Message>,
    /// Cancelled when the machine is about to go down.
    pub(crate) shut_down: CancellationToken,
    /// Cancelled once the Node says so, too.
    pub(crate) told_shutdown: CancellationToken,
    /// The sample of usage that the next one is compared with.
    pub(crate) rates: Mutex<crate::server::stats::Rates>,
    /// What was on disk when that was last measured.
    pub(crate) disk: Arc<crate::server::stats::Walks>,
    /// How the health checks came out.
    pub(crate) checks: Mutex<coracle_telemetry::Checks>,
}

impl Shared {
    pub(crate) fn tell(&self, uid: &str, event: PodEvent) {
        // The loop is gone only when the agent ends.
        let _ = self.news.send(Message::Event(uid.to_owned(), event));
    }

    /// The facts of the downward API about a pod.
    pub(crate) fn facts(&self, target: &Target) -> Facts {
        Facts {
            pod_ips: target.ips.clone(),
            host_ip: self.host.host_ip.clone(),
            allocatable: self.allocatable.clone(),
        }
    }
}

/// Images that are prepared for the next start of a pod's containers: the image and its plugs.
pub(crate) type PreparedImages = Arc<Mutex<HashMap<Index, (LocalImage, Vec<LocalImage>)>>>;

impl Target {
    /// `podIP`, once it has one.
    pub(crate) fn ip(&self) -> Option<&str> {
        self.ips.first().map(String::as_str)
    }
}

/// One pod as an effect sees it: what it was when the action was decided.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) key: PodKey,
    pub(crate) pod: Arc<Pod>,
    /// Its addresses, `podIP` first; none before it has any.
    pub(crate) ips: Vec<String>,
    pub(crate) volumes: MountedVolumes,
    pub(crate) filling: Arc<tokio::sync::Mutex<()>>,
    pub(crate) images: PreparedImages,
}
