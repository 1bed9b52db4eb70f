//! The command line, as clap reads it.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

use super::certificate_life;
use super::develop_flags::{
    BuildFlags, CompletionFlags, DevFlags, DoctorFlags, ManFlags, NewFlags, TestFlags, UpgradeFlags,
};
use super::node_flags::NodeFlags;
use super::oidc::OidcArguments;
use super::simulate_flags::SimulateFlags;
use super::store_flags::{StoreCommand, StoreFlags};
use super::telemetry_flags::TelemetryFlags;
use super::tenant_flags::TenantCommand;
use super::verb_flags::Verb;
use super::workload_flags::WorkloadFlags;

/// Kubernetes manifests on WebAssembly components, in one binary.
#[derive(Debug, Parser)]
#[command(name = "coracle", version, arg_required_else_help = true)]
pub(crate) struct Flags {
    /// Where state is kept [default: /var/lib/coracle as root, else $XDG_DATA_HOME/coracle]
    #[arg(long, global = true, value_name = "DIR", env = "CORACLE_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,

    /// What is logged, such as `info` or `coracle_agent=debug,warn` [default: info; warn for commands
    /// that talk to their user]
    #[arg(long, global = true, value_name = "FILTER", env = "CORACLE_LOG")]
    pub(crate) log: Option<String>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Flags {
    /// Reads the command line; `--log` also holds for the host that a server or supervisor starts.
    pub(crate) fn read() -> Self {
        let mut flags = Self::parse();
        let log = flags.log.clone();
        match &mut flags.command {
            Command::Up(up) => up.server.host.log = log,
            Command::Down(down) => down.server.host.log = log,
            Command::Dev(dev) => dev.server.host.log = log,
            Command::Test(test) => test.server.host.log = log,
            Command::Server(server) => server.host.log = log,
            Command::Host(host) => host.limits.log = log,
            Command::Push(_)
            | Command::Inspect(_)
            | Command::Schedule(_)
            | Command::Token(_)
            | Command::Tenant(_)
            | Command::Backup(_)
            | Command::Restore(_)
            | Command::Store(_)
            | Command::Verb(_)
            | Command::New(_)
            | Command::Build(_)
            | Command::Doctor(_)
            | Command::Simulate(_)
            | Command::Upgrade(_)
            | Command::Completion(_)
            | Command::Man(_)
            | Command::Worker
            | Command::Compile { .. } => {}
        }
        flags
    }

    /// What is logged. The client library's own lines repeat what we say with more sense.
    pub(crate) fn log_filter(&self) -> String {
        let level = match &self.command {
            Command::Server(_) | Command::Host(_) => "info",
            Command::Up(_)
            | Command::Down(_)
            | Command::Push(_)
            | Command::Inspect(_)
            | Command::Schedule(_)
            | Command::Token(_)
            | Command::Tenant(_)
            | Command::Backup(_)
            | Command::Restore(_)
            | Command::Store(_)
            | Command::Verb(_)
            | Command::New(_)
            | Command::Build(_)
            | Command::Dev(_)
            | Command::Test(_)
            | Command::Doctor(_)
            | Command::Simulate(_)
            | Command::Upgrade(_)
            | Command::Completion(_)
            | Command::Man(_)
            | Command::Worker
            | Command::Compile { .. } => "warn",
        };
        self.log.clone().unwrap_or_else(|| format!("{level},kube_client=off"))
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start server and host, build and push the images, apply the manifests, print the URL
    Up(UpFlags),
    /// Delete what `up` applied, and stop server and host
    Down(DownFlags),
    /// Run the API server, controllers and scheduler, and a host beside them
    Server(ServerFlags),
    /// Run the node agent, runtime and network of this machine
    Host(HostFlags),
    /// Tokens by which hosts on other machines join
    #[command(subcommand)]
    Token(TokenCommand),
    /// Tenants: what a namespace of somebody else's needs
    #[command(subcommand)]
    Tenant(TenantCommand),
    /// Write the whole cluster into a file, while the server goes on: all objects, the cluster's keys
    /// and the built-in registry's images
    Backup(BackupFlags),
    /// Make a data directory of a backup
    Restore(RestoreFlags),
    /// The place of all objects
    #[command(subcommand)]
    Store(StoreCommand),
    /// Push a component into the built-in registry
    Push(PushFlags),
    /// Print what an image imports and exports, or what another one does beyond it
    Inspect(InspectFlags),
    /// What the scheduler thinks
    #[command(subcommand)]
    Schedule(ScheduleCommand),
    /// Begin a guest: a folder that builds, runs and tests
    New(NewFlags),
    /// Build the images of a folder
    Build(BuildFlags),
    /// Run a folder in a cluster of its own, and follow each edit
    Dev(Box<DevFlags>),
    /// Run a folder in a cluster of its own, ask it, and judge the answers
    Test(Box<TestFlags>),
    /// Look for what is wrong with this machine or its cluster
    Doctor(DoctorFlags),
    /// Look whether servers and hosts may be replaced by this binary
    Upgrade(UpgradeFlags),
    /// Say what would happen to the objects of manifests when hosts die, in a simulated cluster
    Simulate(SimulateFlags),
    /// Print the completion script of a shell
    Completion(CompletionFlags),
    /// Write the manual pages
    Man(ManFlags),
    #[command(flatten)]
    Verb(Verb),
    /// Run one pod (internal: the host runs this in a confined child process)
    #[command(hide = true)]
    Worker,
    /// Compile a component (internal: the host runs this in a confined child process)
    #[command(hide = true)]
    Compile {
        /// What the host passes on.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

/// Ranges of addresses; the same for all servers and hosts of a cluster.
#[derive(Debug, Clone, Args)]
pub(crate) struct NetworkFlags {
    /// Addresses of pods: an IPv4 range, and after a comma an IPv6 range (at most a /32, of which each
    /// node gets a /64); without one pods have IPv4 alone
    #[arg(long, value_name = "CIDR", default_value = "10.128.0.0/9,fd63:6f72::/32")]
    pub(crate) cluster_cidr: String,

    /// Leading bits of the range that each node gets out of the cluster's
    #[arg(long, value_name = "BITS", default_value_t = 18)]
    pub(crate) node_mask: u8,

    /// Addresses of Services: an IPv4 range, and after a comma an IPv6 range; without one Services
    /// have IPv4 alone
    #[arg(long, value_name = "CIDR", default_value = "10.96.0.0/12,fd63:6f73::/108")]
    pub(crate) service_cidr: String,
}

/// A text of ranges, by family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Families {
    /// The IPv4 range.
    pub(crate) v4: String,
    /// The IPv6 range, if there is one.
    pub(crate) v6: Option<String>,
}

impl Families {
    fn of(flag: &str, text: &str) -> anyhow::Result<Self> {
        let six = |range: &&str| range.contains(':');
        let (v6, v4): (Vec<&str>, Vec<&str>) = text.split(',').map(str::trim).partition(six);
        match (v4.as_slice(), v6.as_slice()) {
            ([v4], []) => Ok(Self { v4: (*v4).to_owned(), v6: None }),
            ([v4], [v6]) => Ok(Self { v4: (*v4).to_owned(), v6: Some((*v6).to_owned()) }),
            _ => anyhow::bail!(
                "{flag} '{text}' must be an IPv4 range, and after a comma at most one IPv6 range"
            ),
        }
    }
}

impl NetworkFlags {
    /// The ranges of pods.
    pub(crate) fn cluster(&self) -> anyhow::Result<Families> {
        Families::of("--cluster-cidr", &self.cluster_cidr)
    }

    /// The ranges of Services.
    pub(crate) fn services(&self) -> anyhow::Result<Families> {
        Families::of("--service-cidr", &self.service_cidr)
    }

    /// The same as arguments.
    fn arguments(&self) -> Vec<String> {
        vec![
            format!("--cluster-cidr={}", self.cluster_cidr),
            format!("--node-mask={}", self.node_mask),
            format!("--service-cidr={}", self.service_cidr),
        ]
    }
}

/// `coracle server`.
#[derive(Debug, Args)]
pub(crate) struct ServerFlags {
    /// Address and port of the API
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:6443")]
    pub(crate) listen: SocketAddr,

    /// Address by which other hosts and pods reach the API [default: --listen's, or the address of
    /// the interface that leads out if that is all addresses]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) advertise_address: Option<IpAddr>,

    /// More names and addresses that the server's certificate is for
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) tls_san: Vec<String>,

    /// How long the certificates are valid that hosts and others ask for, such as 8760h; hosts ask for the
    /// next one in time
    #[arg(long, value_name = "DURATION", default_value = "8760h", value_parser = certificate_life::parse)]
    pub(crate) cluster_signing_duration: std::time::Duration,

    /// How long the server's own certificate and the administrator's in the kubeconfig are valid, such as 8760h;
    /// both are made anew in time
    #[arg(long, value_name = "DURATION", default_value = "8760h", value_parser = certificate_life::parse)]
    pub(crate) certificate_validity_period: std::time::Duration,

    #[command(flatten)]
    pub(crate) store: StoreFlags,

    /// Static bearer tokens, one `token,user,uid,"group,group"` a line
    #[arg(long, value_name = "FILE")]
    pub(crate) token_auth_file: Option<PathBuf>,

    /// Whether requests without credentials are taken, as those of system:anonymous, for what roles let everybody do
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    pub(crate) anonymous_auth: bool,

    #[command(flatten)]
    pub(crate) oidc: OidcArguments,

    /// Which resources are sealed in the store, and by which keys: an EncryptionConfiguration
    /// [default: Secrets, by a key in the data directory's pki/encryption.yaml]
    #[arg(long, value_name = "FILE")]
    pub(crate) encryption_provider_config: Option<PathBuf>,

    /// What the audit log tells: a Policy of audit.k8s.io/v1 [default: no audit log]
    #[arg(long, value_name = "FILE")]
    pub(crate) audit_policy_file: Option<PathBuf>,

    /// Where the audit log is written, JSON lines [default: audit.log in the data directory]
    #[arg(long, value_name = "FILE", requires = "audit_policy_file")]
    pub(crate) audit_log_path: Option<PathBuf>,

    /// Repositories of the built-in registry of which a tag always means the same image: names, or
    /// prefixes that end in *
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) registry_immutable_tags: Vec<String>,

    /// Bytes that one repository of the built-in registry may hold [default: no limit]
    #[arg(long, value_name = "BYTES")]
    pub(crate) registry_repository_quota: Option<u64>,

    /// Do not start a host beside the server
    #[arg(long)]
    pub(crate) no_host: bool,

    /// Node ports that Services may have
    #[arg(long, value_name = "FIRST-LAST", default_value = "30000-32767", value_parser = port_range)]
    pub(crate) service_node_port_range: RangeInclusive<u16>,

    #[command(flatten)]
    pub(crate) workload: WorkloadFlags,

    #[command(flatten)]
    pub(crate) network: NetworkFlags,

    #[command(flatten)]
    pub(crate) host: HostLimits,
}

impl ServerFlags {
    /// Arguments of the host that is started beside this server.
    pub(crate) fn host_arguments(&self) -> Vec<String> {
        [self.network.arguments(), self.host.arguments()].concat()
    }
}

fn port_range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let range = text.split_once('-').and_then(|(first, last)| {
        let range = first.parse::<u16>().ok()?..=last.parse::<u16>().ok()?;
        (!range.is_empty() && *range.start() > 0).then_some(range)
    });
    range.ok_or_else(|| "must be two ports such as 30000-32767".to_owned())
}

/// What a host is and allows.
#[derive(Debug, Clone, Args)]
pub(crate) struct HostLimits {
    /// Name of the Node [default: the machine's host name]
    #[arg(long, value_name = "NAME")]
    pub(crate) node_name: Option<String>,

    /// Address of the Node, by which other hosts reach this one [default: the address of the
    /// interface that leads out]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) node_ip: Option<IpAddr>,

    /// Port at which this host takes connections of other hosts
    #[arg(long, value_name = "PORT", default_value_t = 15008)]
    pub(crate) tunnel_port: u16,

    /// Pods that this host takes at most
    #[arg(long, value_name = "COUNT", default_value_t = 16_000)]
    pub(crate) max_pods: u32,

    #[command(flatten)]
    pub(crate) node: NodeFlags,

    #[command(flatten)]
    pub(crate) telemetry: TelemetryFlags,

    /// `--log` as it was given, for the host that is started with these limits.
    #[arg(skip)]
    pub(crate) log: Option<String>,
}

impl HostLimits {
    /// The same as arguments.
    fn arguments(&self) -> Vec<String> {
        let name = self.node_name.iter().map(|name| format!("--node-name={name}"));
        let log = self.log.iter().map(|filter| format!("--log={filter}"));
        let most = [
            format!("--max-pods={}", self.max_pods),
            format!("--tunnel-port={}", self.tunnel_port),
        ];
        let address = self.node_ip.iter().map(|address| format!("--node-ip={address}"));
        let spans = self.telemetry.arguments();
        let first = name.chain(address).chain(log).chain(most);
        first.chain(self.node.arguments()).chain(spans).collect()
    }
}

/// `coracle host`.
#[derive(Debug, Args)]
pub(crate) struct HostFlags {
    /// Kubeconfig by which the host reaches the API [default: the one that the server wrote]
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) join: JoinFlags,

    /// Keep the host running: start it again when it ends, until told to stop
    #[arg(long)]
    pub(crate) supervise: bool,

    /// The machine goes down: end the pods of the host that runs here, in order and for good, and
    /// then the host. For the stop command of a service that ends with the machine; an upgrade
    /// only stops the host (SIGTERM), and its pods go on
    #[arg(long, conflicts_with = "supervise")]
    pub(crate) shutdown: bool,

    #[command(flatten)]
    pub(crate) network: NetworkFlags,

    #[command(flatten)]
    pub(crate) limits: HostLimits,
}

impl HostFlags {
    /// Arguments of the host that a supervisor with these flags keeps running.
    pub(crate) fn passed_on(&self) -> Vec<String> {
        let kubeconfig =
            self.kubeconfig.iter().map(|path| format!("--kubeconfig={}", path.display()));
        let join = self.join.arguments();
        kubeconfig
            .chain(join)
            .chain(self.network.arguments())
            .chain(self.limits.arguments())
            .collect()
    }
}

/// `coracle backup`.
#[derive(Debug, Args)]
pub(crate) struct BackupFlags {
    /// File to make; whoever has it has the cluster, so only its owner may read it
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Leave out the images of the built-in registry
    #[arg(long)]
    pub(crate) without_images: bool,
}

/// `coracle restore`.
#[derive(Debug, Args)]
pub(crate) struct RestoreFlags {
    /// File that `coracle backup` made; it is restored into --data-dir, which must be empty
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// Which cluster a host belongs to, and how it may become part of it.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct JoinFlags {
    /// URL of the API server of the cluster to join, such as https://192.0.2.1:6443, or of several
    /// with commas between; the others of the cluster are found by themselves
    #[arg(long, value_name = "URL", conflicts_with = "kubeconfig")]
    pub(crate) server: Option<String>,

    /// Token to join with, as `coracle token create` prints it; needed once
    #[arg(long, value_name = "TOKEN", env = "CORACLE_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,

    /// Digest of the cluster's CA that must be found: sha256:…
    #[arg(long, value_name = "HASH")]
    pub(crate) ca_hash: Option<String>,
}

impl JoinFlags {
    fn arguments(&self) -> Vec<String> {
        let flags = [("server", &self.server), ("token", &self.token), ("ca-hash", &self.ca_hash)];
        let given = flags.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        given.map(|(name, value)| format!("--{name}={value}")).collect()
    }
}

/// `coracle token`.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token, and print the command by which a host joins with it
    Create(TokenCreateFlags),
    /// List the tokens
    List(TokenFlags),
    /// End a token: no host joins with it any more; hosts that have joined stay
    Revoke(TokenRevokeFlags),
}

/// What all of `coracle token` take.
#[derive(Debug, Args)]
pub(crate) struct TokenFlags {
    /// Kubeconfig of the cluster [default: the one in the data directory]
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    pub(crate) kubeconfig: Option<PathBuf>,
}

/// `coracle token create`.
#[derive(Debug, Args)]
pub(crate) struct TokenCreateFlags {
    /// How long the token is good, such as 30m or 24h; 0 for ever
    #[arg(long, value_name = "DURATION", default_value = "24h")]
    pub(crate) ttl: String,

    /// What the token is for
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) description: String,

    #[command(flatten)]
    pub(crate) common: TokenFlags,
}

/// `coracle token revoke`.
#[derive(Debug, Args)]
pub(crate) struct TokenRevokeFlags {
    /// The token, or its part before the dot
    pub(crate) token: String,

    #[command(flatten)]
    pub(crate) common: TokenFlags,
}

/// `coracle up`.
#[derive(Debug, Args)]
pub(crate) struct UpFlags {
    /// A manifest, or a folder of manifests with an optional coracle.toml that says how images are
    /// built
    #[arg(value_name = "DIR|FILE")]
    pub(crate) path: PathBuf,

    /// Seconds to wait for the pods to be ready
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub(crate) timeout: u64,

    /// Do not run the build command of coracle.toml
    #[arg(long)]
    pub(crate) no_build: bool,

    #[command(flatten)]
    pub(crate) server: ServerFlags,
}

/// `coracle down`.
#[derive(Debug, Args)]
pub(crate) struct DownFlags {
    /// Remove the data directory too
    #[arg(long)]
    pub(crate) data: bool,

    /// For the server that deletes the objects if none runs: as they were given to `up`
    #[command(flatten)]
    pub(crate) server: ServerFlags,
}

/// `coracle schedule`.
#[derive(Debug, Subcommand)]
pub(crate) enum ScheduleCommand {
    /// Say for each node why it does not take a pod, or how good it is
    Explain(ExplainFlags),
}

/// `coracle schedule explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainFlags {
    /// Name of the pod
    pub(crate) pod: String,

    /// Namespace of the pod
    #[arg(short, long, value_name = "NAME", default_value = "default")]
    pub(crate) namespace: String,

    /// Kubeconfig of the cluster [default: the one in the data directory]
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    pub(crate) kubeconfig: Option<PathBuf>,
}

/// `coracle inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectFlags {
    /// Compare two images: what an update from the first to the second gains and loses
    #[arg(long, requires = "other")]
    pub(crate) diff: bool,

    /// An image, such as hello:1 or ghcr.io/team/app:2, or a .wasm file
    pub(crate) image: String,

    /// The image to compare with
    #[arg(requires = "diff")]
    pub(crate) other: Option<String>,

    /// Kubeconfig of the cluster [default: the one in the data directory]
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    pub(crate) kubeconfig: Option<PathBuf>,
}

/// `coracle push`.
#[derive(Debug, Args)]
pub(crate) struct PushFlags {
    /// Name and tag, such as `hello:1` or registry.coracle.internal/hello:1
    pub(crate) name: String,

    /// The component or core module
    #[arg(value_name = "FILE.wasm")]
    pub(crate) file: PathBuf,

    /// Kubeconfig of the cluster [default: the one in the data directory]
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    pub(crate) kubeconfig: Option<PathBuf>,
}
