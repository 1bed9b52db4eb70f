//! `coracle server`: API server, store, controllers and scheduler in one process, and a host beside
//! them in another.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use coracle_apiserver::audit::{AuditLog, AuditPolicy};
use coracle_apiserver::authn::{Tokens, UserInfo};
use coracle_apiserver::oci::ImagePolicy;
use coracle_apiserver::pki::Pki;
use coracle_apiserver::seal::Sealer;
use coracle_apiserver::service_address::ServiceRanges;
use coracle_apiserver::{ApiServer, Config, FrontProxy, Member};
use coracle_client::{Caches, Client};
use coracle_controllers::nodescaler::HostHooks;
use coracle_scheduler::Profile;
use coracle_store::Store;
use coracle_telemetry::{Exporting, Resource, Telemetry};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;

use crate::certificates::Certificates;
use crate::config::{DataDir, Families, Held, ServerFlags, StorePlace, node_name};
use crate::host::own_address;
use crate::lead::{Led, lead};
use crate::nodes::Nodes;
use crate::{definitions, program_pages, shared_keys, signals, supervise};

/// How long the certificate is valid by which aggregated servers know this one. It is made anew at each start.
const FRONT_PROXY_VALID: std::time::Duration = std::time::Duration::from_secs(5 * 365 * 24 * 3600);

/// A running server. Everything that it runs ends with [`Server::stop`].
pub(crate) struct Server {
    api: ApiServer,
    store: Store,
    client: kube::Client,
    serving: JoinHandle<()>,
    controllers: Led,
    scheduler: Led,
    exporting: Option<Exporting>,
    supervisor: Option<supervise::Started>,
    _held: Held,
    _renewing: AbortOnDropHandle<()>,
    _giving_back: AbortOnDropHandle<()>,
}

/// Runs a server until SIGINT or SIGTERM. The host goes on: it is no part of the server.
pub(crate) async fn run(data: &DataDir, flags: &ServerFlags) -> anyhow::Result<()> {
    let mut stop = signals::Stop::listen()?;
    let server = Server::start(data, flags).await?;
    stop.wait().await;
    server.stop().await;
    Ok(())
}

impl Server {
    /// Starts everything; the API answers when this returns.
    pub(crate) async fn start(data: &DataDir, flags: &ServerFlags) -> anyhow::Result<Self> {
        let workload = (flags.workload.hooks()?, flags.workload.profiles()?);
        let held = data.hold("server")?;
        let listener = TcpListener::bind(flags.listen).await.with_context(|| {
            format!("listen on {}: free the port, or give another --listen", flags.listen)
        })?;
        let address = listener.local_addr().context("read the own address")?;
        let store = open_store(data, &flags.store.place()?).await?;
        if store.is_shared() {
            let key = flags.store.cluster_key_file.as_deref();
            shared_keys::settle(data, &store, key, now()).await?;
        }
        let pki = Pki::open(&data.pki(), now())?
            .valid_for(flags.certificate_validity_period)
            .signing_for(flags.cluster_signing_duration);
        let pki = Arc::new(pki);
        let mut config = configure(data, flags, address)?;
        let member = member(data, flags)?;
        let holder = member.holder.clone();
        config.member = store.is_shared().then_some(member);
        config.signer = Some(Arc::clone(&pki));
        config.front_proxy = Some(front_proxy(data, &pki)?);
        let telemetry = flags.host.telemetry.config();
        let telemetry = telemetry.as_ref().map(Telemetry::start).transpose()?;
        let (telemetry, exporting) = telemetry.unzip();
        config.tracer =
            telemetry.map(|telemetry| telemetry.tracer(&Resource::service("apiserver")));
        let api = ApiServer::new(config, store.clone()).await?;
        let certificates = Certificates {
            data: data.clone(),
            pki: Arc::clone(&pki),
            names: own_names(flags, address)?,
            address: reachable(address),
        };
        let under = certificates.first(&node_name(flags.host.node_name.as_deref()))?;
        let tls = pki.server_config_under(Arc::clone(&under))?;
        let renewing = AbortOnDropHandle::new(tokio::spawn(certificates.keep(under)));
        let serving = tokio::spawn({
            let api = api.clone();
            async move { api.serve(listener, tls).await }
        });
        let url = format!("https://{}", advertised(flags, address));
        let told = (pki.ca_certificate().to_owned(), url);
        let network = &flags.network;
        let (hooks, profiles) = workload;
        let node_grace = flags.workload.node_monitor_grace_period;
        let parts = Parts { holder, alone: !store.is_shared(), told, hooks, node_grace, profiles };
        let (controllers, scheduler) =
            start_parts(&api, network.cluster()?, network.node_mask, parts);
        let dashboard = format!("https://{}/ui/", reachable(address));
        tracing::info!(%address, dashboard, kubeconfig = %data.kubeconfig().display(), "the API is served");
        let supervisor = if flags.no_host {
            None
        } else {
            supervise::start_detached(data, &flags.host_arguments())?
        };
        let client = Client::in_process(api.in_process(UserInfo::component("coracle-up"))).kube();
        let (_held, _renewing) = (held, renewing);
        let _giving_back = AbortOnDropHandle::new(tokio::spawn(program_pages::give_back()));
        Ok(Self {
            api,
            store,
            client,
            serving,
            controllers,
            scheduler,
            exporting,
            supervisor,
            _held,
            _renewing,
            _giving_back,
        })
    }

    /// A client in this process that may do everything.
    pub(crate) fn client(&self) -> &kube::Client {
        &self.client
    }

    /// Stops the host beside it, whoever started that.
    pub(crate) async fn stop_host(&mut self, data: &DataDir) -> anyhow::Result<()> {
        supervise::stop_started(data, self.supervisor.take()).await
    }

    /// Finishes what is in flight and closes the store.
    pub(crate) async fn stop(self) {
        self.scheduler.end().await;
        self.controllers.end().await;
        self.api.leave().await;
        self.api.shut_down();
        if self.serving.await.is_err() {
            tracing::error!("the task that serves the API panicked");
        }
        self.store.close().await;
        if let Some(exporting) = self.exporting {
            exporting.stop().await;
        }
    }
}

/// All of it is read. Reading the file blocks, so that runs where it may.
async fn open_store(data: &DataDir, place: &StorePlace) -> anyhow::Result<Store> {
    match place {
        StorePlace::Redb => {
            let path = data.store();
            let opened = tokio::task::spawn_blocking(move || Store::open_redb(path)).await;
            let opened = opened.context("open the store")?;
            opened.with_context(|| format!("open {}", data.store().display()))
        }
        StorePlace::Etcd(config) => {
            let opened = Store::open_etcd(config.clone()).await;
            opened.context("open the store in etcd: is it running, and is --store its address?")
        }
    }
}

/// Which server this is: the same for as long as there is its data directory, which one server alone can hold.
fn member(data: &DataDir, flags: &ServerFlags) -> anyhow::Result<Member> {
    let path = data.root().join("server-id");
    let found = std::fs::read_to_string(&path).ok();
    let found = found.map(|text| text.trim().to_owned());
    let id = match found.filter(|id| !id.is_empty()) {
        Some(id) => id,
        None => {
            let id = format!("{:016x}", rand::random::<u64>());
            data.write_private(&path, id.as_bytes())?;
            id
        }
    };
    let holder = format!("{}_{id}", node_name(flags.host.node_name.as_deref()));
    Ok(Member { id, holder })
}

fn configure(data: &DataDir, flags: &ServerFlags, address: SocketAddr) -> anyhow::Result<Config> {
    let tokens = match &flags.token_auth_file {
        Some(path) => {
            let text = std::fs::read_to_string(path);
            let text =
                text.with_context(|| format!("read --token-auth-file {}", path.display()))?;
            Tokens::parse(&text).with_context(|| path.display().to_string())?
        }
        None => Pki::tokens(&data.pki())?,
    };
    let mut config = Config::new(advertised(flags, address), data.registry());
    config.tokens = tokens;
    config.anonymous_auth = flags.anonymous_auth;
    config.oidc = flags.oidc.issuers()?;
    config.token_keys = Some(Pki::service_account_keys(&data.pki())?);
    let encryption = match &flags.encryption_provider_config {
        Some(path) => std::fs::read_to_string(path)
            .with_context(|| format!("read --encryption-provider-config {}", path.display()))?,
        None => Pki::encryption_config(&data.pki())?,
    };
    config.sealer = Sealer::parse(&encryption)?;
    config.audit = audit_log(data, flags)?;
    config.image_policy = ImagePolicy {
        immutable_tags: flags.registry_immutable_tags.clone(),
        repository_bytes_max: flags.registry_repository_quota,
    };
    config.services = service_ranges(flags)?;
    config.describe = || Box::new(coracle_descriptions::describe());
    let local = node_name(flags.host.node_name.as_deref());
    config.nodes = Arc::new(Nodes::new(local, data.agent_socket()));
    Ok(config)
}

/// An authority of its own: whoever has a certificate of it may speak in anybody's name to aggregated servers.
fn front_proxy(data: &DataDir, pki: &Pki) -> anyhow::Result<FrontProxy> {
    let authority = Pki::open(&data.pki().join("front-proxy"), now())?.valid_for(FRONT_PROXY_VALID);
    Ok(FrontProxy::new(&authority, pki.ca_certificate())?)
}

fn audit_log(data: &DataDir, flags: &ServerFlags) -> anyhow::Result<Option<AuditLog>> {
    let Some(path) = &flags.audit_policy_file else { return Ok(None) };
    let text = std::fs::read_to_string(path);
    let text = text.with_context(|| format!("read --audit-policy-file {}", path.display()))?;
    let policy = AuditPolicy::parse(&text).with_context(|| path.display().to_string())?;
    let log = flags.audit_log_path.clone().unwrap_or_else(|| data.audit_log());
    Ok(Some(AuditLog::open(policy, &log)?))
}

fn service_ranges(flags: &ServerFlags) -> anyhow::Result<ServiceRanges> {
    let families = flags.network.services()?;
    let cidr = families.v4;
    let parsed = cidr.split_once('/').and_then(|(network, prefix)| {
        let prefix = prefix.parse::<u8>().ok().filter(|prefix| (8..=28).contains(prefix))?;
        Some((network.parse::<Ipv4Addr>().ok()?, prefix))
    });
    let (network, prefix) = parsed.with_context(|| {
        format!(
            "--service-cidr '{cidr}' must be an IPv4 range between /8 and /28, such as 10.96.0.0/12"
        )
    })?;
    let second = families.v6.as_deref().map(service_range6).transpose()?;
    let node_ports = flags.service_node_port_range.clone();
    Ok(ServiceRanges { network, prefix, second, node_ports })
}

/// *Source:* kube-apiserver takes IPv6 ranges of Services up to a /108, too.
fn service_range6(cidr: &str) -> anyhow::Result<(Ipv6Addr, u8)> {
    let parsed = cidr.split_once('/').and_then(|(network, prefix)| {
        let prefix = prefix.parse::<u8>().ok().filter(|prefix| (108..=124).contains(prefix))?;
        let network = network.parse::<Ipv6Addr>().ok()?;
        Some((Ipv6Addr::from_bits(network.to_bits() >> (128 - prefix) << (128 - prefix)), prefix))
    });
    parsed.with_context(|| {
        format!("--service-cidr '{cidr}' must be an IPv6 range between /108 and /124, such as fd63:6f73::/108")
    })
}

/// What the parts that one server alone runs are told.
struct Parts {
    /// Who this server is in their Leases.
    holder: String,
    /// No other server can be there.
    alone: bool,
    /// The certificate of the CA, and the URL of this server.
    told: (String, String),
    /// What adds and removes hosts.
    hooks: HostHooks,
    /// How long a host may say nothing.
    node_grace: Duration,
    /// How pods may be scheduled.
    profiles: Vec<Profile>,
}

/// Controllers and scheduler reach the API inside of the process, each under its own name; of several servers, the one
/// that holds their Lease runs them.
fn start_parts(api: &ApiServer, cluster: Families, node_mask: u8, parts: Parts) -> (Led, Led) {
    let as_part = |name: &str| Client::in_process(api.in_process(UserInfo::component(name)));
    let client = as_part("kube-controller-manager");
    let caches = Caches::lean(client.clone());
    let Parts { holder, alone, told: (root_ca, server_url), hooks, node_grace, profiles } = parts;
    let controllers = {
        let caches = caches.clone();
        move || {
            let config = coracle_controllers::Config {
                cluster_cidr: cluster.v4.clone(),
                cluster_cidr6: cluster.v6.clone(),
                node_mask,
                root_ca: Some(root_ca.clone()),
                server_url: Some(server_url.clone()),
                hooks: hooks.clone(),
                node_grace,
                ..coracle_controllers::Config::default()
            };
            let gateways = coracle_network::gateway::publish::start(&caches);
            let defining = definitions::start(&caches);
            (coracle_controllers::run(&caches, config), gateways, defining)
        }
    };
    let controllers = lead(&client, "kube-controller-manager", &holder, alone, controllers);
    let client = as_part("kube-scheduler");
    let config = coracle_scheduler::Config { profiles };
    let start = move || coracle_scheduler::run(&caches, config.clone());
    (controllers, lead(&client, "kube-scheduler", &holder, alone, start))
}

/// Names of this machine for the serving certificate, besides the well-known ones.
fn own_names(flags: &ServerFlags, address: SocketAddr) -> anyhow::Result<Vec<String>> {
    let mut names = flags.tls_san.clone();
    names.push(node_name(flags.host.node_name.as_deref()));
    names.push(advertised(flags, address).ip().to_string());
    Ok(names)
}

/// The address by which others reach the server.
fn advertised(flags: &ServerFlags, address: SocketAddr) -> SocketAddr {
    let own = || if address.ip().is_unspecified() { own_address() } else { address.ip() };
    (flags.advertise_address.unwrap_or_else(own), address.port()).into()
}

/// The address by which this machine reaches a listener.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        ip if !ip.is_unspecified() => address,
        IpAddr::V4(_) => (Ipv4Addr::LOCALHOST, address.port()).into(),
        IpAddr::V6(_) => (std::net::Ipv6Addr::LOCALHOST, address.port()).into(),
    }
}

#[expect(clippy::disallowed_methods, reason = "certificates are dated at the start of the server")]
fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
