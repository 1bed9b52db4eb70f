//! The API server as one value: what it is made of, and the parts that all requests share.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use coracle_api::openapi;
use coracle_api::registry::{self, Kind};
use coracle_api::status::Status;
use coracle_store::Store;
use coracle_telemetry::Tracer;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::admission::policy::{self, Mutations, Policies};
use crate::admit::QuotaTurns;
use crate::aggregation::{self, FrontProxy, Remotes};
use crate::audit::AuditLog;
use crate::authn::{Authenticator, Oidc, ServiceAccounts, TokenKeys, Tokens};
use crate::authz::Authorizer;
use crate::bootstrap;
use crate::cache::{Caches, ResourceCache, Selection};
use crate::crd::{self, Definitions};
use crate::discovery::Discovery;
use crate::flow::{self, Flows};
use crate::members::{self, Member};
use crate::metrics::Metrics;
use crate::node_dialer::{NoNodes, NodeDialer};
use crate::oci::{ImagePolicy, ImageRegistry, ImageStore};
use crate::pki::{Pki, PkiError};
use crate::seal::{OpenError, Sealer, Storage};
use crate::service_address::{ServiceAddresses, ServiceRanges};
use crate::streams::STREAMS_MAX;
use crate::token_secrets;
use crate::webhook::Clients;

/// Age from which a blob that no manifest names counts as left by a push that was never finished.
const UNFINISHED_PUSH: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

/// Time between the bookmarks of a watch. *Source:* kube-apiserver's `bookmarkFrequency`.
const BOOKMARK_PERIOD: Duration = Duration::from_secs(60);

/// Bookmarks between two looks at the age of Events: they may stay a few minutes longer than they must.
const BOOKMARKS_PER_EVENT_SWEEP: u64 = 5;

/// Bookmarks between two sweeps of the image registry: once an hour, for what is left of pushes.
const BOOKMARKS_PER_IMAGE_SWEEP: u64 = 60;

/// What an [`ApiServer`] is made with.
pub struct Config {
    /// Where clients inside the cluster reach this server: the endpoint of the `kubernetes` Service.
    pub address: SocketAddr,
    /// Folder of the built-in image registry.
    pub images: PathBuf,
    /// What the image registry lets its repositories do.
    pub image_policy: ImagePolicy,
    /// Addresses and ports for Services.
    pub services: ServiceRanges,
    /// Field descriptions for OpenAPI.
    pub describe: openapi::LoadDescriptions,
    /// Static bearer tokens; client certificates need no configuration but the TLS one.
    pub tokens: Tokens,
    /// Whether a request without credentials is taken, as one of `system:anonymous`; else it gets 401.
    pub anonymous_auth: bool,
    /// OpenID Connect issuers that are trusted.
    pub oidc: Oidc,
    /// Keys of service accounts' tokens; `None` makes one that lives as long as the server.
    pub token_keys: Option<Arc<TokenKeys>>,
    /// What is kept sealed in the store.
    pub sealer: Sealer,
    /// The audit log.
    pub audit: Option<AuditLog>,
    /// Makes a span of each request that comes over the network; `None` makes none.
    pub tracer: Option<Tracer>,
    /// The authority that signs requests for certificates; `None` leaves them to others.
    pub signer: Option<Arc<Pki>>,
    /// How nodes are reached.
    pub nodes: Arc<dyn NodeDialer>,
    /// How this server vouches for users towards aggregated servers; `None`: not at all.
    pub front_proxy: Option<FrontProxy>,
    /// Which server this is, where there may be several; `None`: it is the only one.
    pub member: Option<Member>,
}

impl Config {
    /// A configuration without tokens, nodes and field descriptions.
    pub fn new(address: SocketAddr, images: PathBuf) -> Config {
        Config {
            address,
            images,
            image_policy: ImagePolicy::default(),
            services: ServiceRanges::default(),
            describe: || Box::new(|_, _| None),
            tokens: Tokens::default(),
            anonymous_auth: true,
            oidc: Oidc::default(),
            token_keys: None,
            sealer: Sealer::default(),
            audit: None,
            tracer: None,
            signer: None,
            nodes: Arc::new(NoNodes),
            front_proxy: None,
            member: None,
        }
    }
}

/// Why a server could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The folder of the image registry cannot be used.
    #[error("open the image registry in {path}")]
    Images {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// A stored value cannot be opened.
    #[error(transparent)]
    Sealed(#[from] OpenError),
    /// No key for service accounts' tokens could be made.
    #[error(transparent)]
    TokenKeys(#[from] PkiError),
    /// The objects that every cluster has could not be made.
    #[error("make the cluster's first objects")]
    Bootstrap(#[source] Status),
}

/// The API server; a clone is the same server.
#[derive(Clone)]
pub struct ApiServer {
    pub(crate) core: Arc<Core>,
}

/// What all requests share.
pub(crate) struct Core {
    pub(crate) address: SocketAddr,
    pub(crate) store: Storage,
    pub(crate) caches: Arc<Caches>,
    pub(crate) authenticator: Authenticator,
    pub(crate) authorizer: Authorizer,
    /// Users' kinds.
    pub(crate) definitions: Definitions,
    pub(crate) discovery: Discovery,
    pub(crate) openapi: Arc<openapi::Documents>,
    pub(crate) images: ImageRegistry,
    pub(crate) addresses: ServiceAddresses,
    pub(crate) quota_turns: QuotaTurns,
    pub(crate) nodes: Arc<dyn NodeDialer>,
    pub(crate) metrics: Metrics,
    pub(crate) flows: Flows,
    pub(crate) policies: Policies,
    pub(crate) mutations: Mutations,
    pub(crate) webhooks: Arc<Clients>,
    /// The servers behind APIServices.
    pub(crate) remotes: Remotes,
    pub(crate) front_proxy: Option<FrontProxy>,
    pub(crate) member: Option<Member>,
    pub(crate) audit: Option<AuditLog>,
    pub(crate) tracer: Option<Tracer>,
    pub(crate) signer: Option<Arc<Pki>>,
    /// Places for connections that have changed their protocol.
    pub(crate) streams: Arc<Semaphore>,
    /// Counts up whenever watches should send bookmarks.
    pub(crate) bookmarks: watch::Sender<u64>,
    pub(crate) shutdown: CancellationToken,
    /// How the health checks came out.
    pub(crate) checks: parking_lot::Mutex<coracle_telemetry::Checks>,
    ready: AtomicBool,
}

impl ApiServer {
    /// Makes a server over a store: fills the caches, notes the Services' addresses and makes what every cluster has.
    ///
    /// The server answers through [`ApiServer::in_process`] as soon as this returns, over TLS once
    /// [`ApiServer::serve`] runs.
    ///
    /// # Errors
    /// When the image registry's folder cannot be used, or the store fails.
    pub async fn new(config: Config, store: Store) -> Result<ApiServer, StartError> {
        let caches = Caches::start_sealed(&store, &config.sealer);
        if let Some(error) = config.sealer.failed() {
            return Err(error.into());
        }
        let stale = config.sealer.take_stale();
        let images = ImageStore::open(&config.images)
            .map_err(|source| StartError::Images { path: config.images.clone(), source })?
            .with_policy(config.image_policy);
        let lost = images.collect(UNFINISHED_PUSH);
        if lost > 0 {
            tracing::info!(blobs = lost, "removed blobs of pushes that were never finished");
        }
        let keys = config.token_keys.map_or_else(Pki::passing_service_account_keys, Ok)?;
        let accounts = ServiceAccounts::new(keys, caches.clone());
        let metrics = Metrics::default();
        let core = Core {
            address: config.address,
            store: Storage::new(store, config.sealer),
            authorizer: Authorizer::new(caches.clone()),
            authenticator: Authenticator::new(config.tokens, accounts, caches.clone())
                .with_oidc(config.oidc)
                .with_anonymous(config.anonymous_auth),
            caches,
            definitions: Definitions::default(),
            discovery: Discovery::new(&config.address.to_string()),
            openapi: Arc::new(openapi::Documents::new(config.describe)),
            images: ImageRegistry::new(images),
            addresses: ServiceAddresses::new(config.services),
            quota_turns: QuotaTurns::default(),
            nodes: config.nodes,
            flows: Flows::measured(metrics.flow.clone()),
            metrics,
            policies: Policies::default(),
            mutations: Mutations::default(),
            webhooks: Arc::default(),
            remotes: Remotes::default(),
            front_proxy: config.front_proxy,
            member: config.member,
            audit: config.audit,
            tracer: config.tracer,
            signer: config.signer,
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            bookmarks: watch::Sender::new(0),
            shutdown: CancellationToken::new(),
            checks: parking_lot::Mutex::default(),
            ready: AtomicBool::new(false),
        };
        core.restore_addresses();
        let server = ApiServer { core: Arc::new(core) };
        server.core.webhooks.connector.reach(Arc::downgrade(&server.core));
        server.make_ready(stale).await?;
        Ok(server)
    }

    /// Makes what every cluster has, and starts what follows the store's objects. What is sealed with an older key,
    /// `stale`, is sealed anew.
    async fn make_ready(&self, stale: HashSet<Bytes>) -> Result<(), StartError> {
        self.core.seal_anew(stale).await.map_err(StartError::Bootstrap)?;
        self.bootstrap().await.map_err(StartError::Bootstrap)?;
        self.core.restore_definitions().await;
        tokio::spawn(crd::follow(Arc::downgrade(&self.core)));
        self.core.settle_flows().await;
        tokio::spawn(policy::follow(Arc::downgrade(&self.core)));
        tokio::spawn(bootstrap::follow(Arc::downgrade(&self.core)));
        tokio::spawn(token_secrets::follow(Arc::downgrade(&self.core)));
        tokio::spawn(flow::follow(Arc::downgrade(&self.core)));
        tokio::spawn(aggregation::follow(Arc::downgrade(&self.core)));
        if let Some(member) = self.core.member.clone() {
            tokio::spawn(members::follow(Arc::downgrade(&self.core), member));
        }
        self.core.ready.store(true, Ordering::Release);
        tokio::spawn(tick(Arc::downgrade(&self.core)));
        Ok(())
    }

    /// Takes this server out of the endpoints of the `kubernetes` Service, where there are several.
    pub async fn leave(&self) {
        let Some(member) = &self.core.member else { return };
        if let Err(status) = self.core.leave(member).await {
            tracing::warn!(why = status.message, "the server is still in the endpoints");
        }
    }

    /// Ends all watches and refuses new connections; requests in flight are finished.
    pub fn shut_down(&self) {
        self.core.ready.store(false, Ordering::Release);
        self.core.shutdown.cancel();
    }
}

impl Core {
    /// The cache of a kind.
    ///
    /// # Errors
    /// 500 for a kind that is not of the registry, which only a defect brings about.
    pub(crate) fn objects(&self, kind: &Kind) -> Result<Arc<ResourceCache>, Status> {
        if kind.custom.is_some() {
            // Its definition went while the request was under way.
            return self.caches.custom(kind).ok_or_else(Status::unknown_path);
        }
        let cache = self.caches.resource(kind).cloned();
        cache.ok_or_else(|| Status::internal(format!("no cache for {kind:?}")))
    }

    /// Whether the server has all that it needs to answer.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Counts a watch or stream for as long as the value lives.
    pub(crate) fn long_running(&self) -> Counted {
        Counted::new(&self.metrics.long_running)
    }

    /// Notes the addresses of the Services that exist.
    fn restore_addresses(&self) {
        let Some(kind) = registry::by_kind("", "v1", "Service") else { return };
        let services = self.caches.resource(kind).map(|cache| cache.select(&Selection::all(kind)));
        for service in services.unwrap_or_default() {
            self.addresses.restore(&service.value());
        }
    }
}

/// Something that a gauge counts for as long as it lives.
pub(crate) struct Counted(Gauge);

impl Counted {
    /// Counts one more.
    pub(crate) fn new(gauge: &Gauge) -> Counted {
        gauge.inc();
        Counted(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Makes watches send bookmarks and removes old Events; one timer for all of it. Ends with the server.
async fn tick(core: std::sync::Weak<Core>) {
    for count in 1u64.. {
        let Some(shutdown) = core.upgrade().map(|core| core.shutdown.clone()) else { return };
        tokio::select! {
            () = tokio::time::sleep(BOOKMARK_PERIOD) => {}
            () = shutdown.cancelled() => return,
        }
        let Some(core) = core.upgrade() else { return };
        core.bookmarks.send_modify(|count| *count += 1);
        if count % BOOKMARKS_PER_EVENT_SWEEP == 0 {
            core.remove_old_events().await;
        }
        if count % BOOKMARKS_PER_IMAGE_SWEEP == 0 {
            core.images.collect(UNFINISHED_PUSH).await;
        }
    }
}
