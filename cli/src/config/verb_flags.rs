//! Flags of the client verbs, named as kubectl names them.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::develop_flags::ReportForm;

/// Which cluster and namespace a verb speaks to.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ClusterFlags {
    /// Kubeconfig of the cluster [default: $KUBECONFIG, else the one in the data directory]
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,

    /// Namespace [default: the context's, else default]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
}

/// Which objects of a kind are meant.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct SelectFlags {
    /// Label selector, such as app=web,tier!=cache
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub(crate) selector: Option<String>,

    /// Field selector, such as status.phase=Running
    #[arg(long, value_name = "SELECTOR")]
    pub(crate) field_selector: Option<String>,

    /// In all namespaces
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,
}

/// The client verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Create or change objects so that they are as files say
    Apply(ApplyFlags),
    /// List objects, or print them
    Get(GetFlags),
    /// Print all about objects, with their events
    Describe(DescribeFlags),
    /// List applications: who owns them, and which need which others
    Apps(AppsFlags),
    /// Delete objects
    Delete(DeleteFlags),
    /// Print what a container has written
    Logs(LogsFlags),
    /// Run a command in a container
    Exec(ExecFlags),
    /// Open ports of this machine that lead into a pod
    PortForward(PortForwardFlags),
    /// Lead programs of this machine into the cluster's network: a proxy of SOCKS5 and HTTP
    Proxy(ProxyFlags),
    /// Say who answered a request, by its x-request-id; or each decision on a connection's way, and make it
    Trace(TraceFlags),
    /// Look at or steer rollouts
    #[command(subcommand)]
    Rollout(RolloutVerb),
    /// Set the number of replicas
    Scale(ScaleFlags),
    /// What pods or nodes use
    #[command(subcommand)]
    Top(TopVerb),
    /// Say what a kind or field is for
    Explain(ExplainFieldFlags),
    /// Wait until objects are as they should be
    Wait(WaitFlags),
    /// List events, the latest last
    Events(EventsFlags),
}

/// `coracle apply`.
#[derive(Debug, Args)]
pub(crate) struct ApplyFlags {
    /// A manifest, a folder of manifests, or - for standard input
    #[arg(short, long, value_name = "FILE", required = true)]
    pub(crate) filename: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) cluster: ClusterFlags,
}

/// `coracle get`.
#[derive(Debug, Args)]
pub(crate) struct GetFlags {
    /// KIND, KIND NAME…, KIND/NAME… or KIND,KIND…; `all` for the usual ones
    #[arg(value_name = "KIND", required = true)]
    pub(crate) what: Vec<String>,

    /// Form: json, yaml, name, wide or jsonpath=TEMPLATE [default: a table]
    #[arg(short, long, value_name = "FORM", default_value = "")]
    pub(crate) output: String,

    /// Go on and print each change
    #[arg(short, long)]
    pub(crate) watch: bool,

    /// A column with the labels
    #[arg(long)]
    pub(crate) show_labels: bool,

    /// Leave the headings out
    #[arg(long)]
    pub(crate) no_headers: bool,

    /// It is no error that a named object is not there
    #[arg(long)]
    pub(crate) ignore_not_found: bool,

    #[command(flatten)]
    pub(crate) select: SelectFlags,

    #[command(flatten)]
    pub(crate) cluster: ClusterFlags,
}

/// `coracle describe`.
#[derive(Debug, Args)]
pub(crate) struct DescribeFlags {
    /// KIND, KIND NAME… or KIND/NAME…
    #[arg(value_name = "KIND", required = true)]
    pub(crate) what: Vec<String>,

    #[command(flatten)]
    pub(crate) select: SelectFlags,

    #[command(flatten)]
    pub(crate) cluster: ClusterFlags,
}

/// `coracle apps`.
#[derive(Debug, Args)]
pub(crate) struct AppsFlags {
    /// Label selector, such as app.kubernetes.io/part-of=shop
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub(crate) selector: Option<String>,

    /// In all namespaces
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,

    /// Form of the result
    #[arg(short, long, value_enum, default_value = "text")]
    pub(crate) output: ReportForm,

    #[command(flatten)]
    pub(crate) cluster: ClusterFlags,
}

/// `coracle delete`.
#[derive(Debug, Args)]
pub(crate) struct DeleteFlags {
    /// KIND NAME… or KIND/NAME…
    #[arg(value_name = "KIND", required_unless_present = "filename")]
    pub(crate) what: Vec<String>,

    /// The objects in a manifest, a folder of manifests, or - for standard input
    #[arg(short, long, value_name = "FILE", conflicts_with = "what")]
    pub(crate) filename: Vec<PathBuf>,

    /// All objects of the kind
    #[arg(long)]
    pub(crate) all: bool,

    /// Seconds that pods have to end [default: what they say themselves]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub(crate) grace_period: Option<i64>,

    /// What becomes of dependents
    #[arg(long, value_enum, default_value = "background")]
    pub(crate) cascade: Cascade,

    /// Wait until the objects are gone
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub(crate) wait: bool,

    /// It is no error that an object is not there
    #[arg(long)]
    pub(crate) ignore_not_found: bool,

    #[command(flatten)]
    pub(crate) select: SelectFlags,

    #[command(flatten)]
    pub(crate) cluster: ClusterFlags,
}

/// What becomes of dependents when their owner is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Cascade {
    /// They go after it.
    Background,
    /// They go before it.
    Foreground,
    /// They stay.
    Orphan,
}

/// `coracle logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsFlags {
    /// A pod, or KIND/NAME of what has pods
    #[arg(value_name = "POD", required_unless_present = "selector")]
    pub(crate) pod: Option<String>,

    /// All pods with these labels
    #[arg(short = 'l', long, value_name = "SELECTOR", conflicts_with = "pod")]
    pub(crate) selector: Option<String>,

    /// The container [default: the first]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) container: Option<String>,

    /// All containers of the pod, each line with its name
    #[arg(long)]
    pub(crate) all_containers: bool,

    /// Go on with what is written from now on
    #[arg(short, long)]
    pub(crate) follow: bool,

    /// The container that ran before the last restart
    #[arg(short, long)]
    pub(crate) previous: bool,

    /// The time before each line
    #[arg(long)]
    pub(crate) timestamps: bool,

    /// Only this many lines from the end
    #[arg(long, value_name = "LINES")]
    pub(crate) tail: Option<u64>,

    /// Only what is younger, such as 30s or 2h
    #[arg(long, value_name = "DURATION")]
    pub(crate) since: Option<String>,

    #[command(flatten)]
    pub(crate) cluster: ClusterFlags,
}

/// `coracle exec`.
#[derive(Debug, Args)]
pub(crate) struct ExecFlags {
    /// A pod, or KIND/NAME of what has pods
    pub(crate) pod: String,

    /// The container [default: the first]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) container: Option<String>,

    /// Pass standard input on
    #[arg(short = 'i', long)]
    pub(crate) stdin: bool,

    /// The command has a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,

    /// The command and its arguments, after --
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,

    #[command(flatten)]
    pub(crate) cluster: ClusterFlags,
}

/// `coracle port-forward`.
#[derive(Debug, Args)]
pub(crate) struct PortForwardFlags {
    /// A pod, or KIND/NAME of a Service or of what has pods
    pub(crate) target: String,

    /// LOCAL:REMOTE, PORT for the same at both ends, :REMOTE for any free one here
    #[arg(required = true, value_name = "PORTS")]
    pub(crate) ports: Vec<String>,

    /// Address of this machine to listen on
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) address: std::net::IpAddr,

    #[command(flatten)]
    pub(crate) cluster: ClusterFlags,
}

/// `coracle proxy`.
#[derive(Debug, Args)]
pub(crate) struct ProxyFlags {
    /// Address and port of this machine to listen on; whoever reaches it reaches the pods
    #[arg(long, default_value = "127.0.0.1:1080", value_name = "ADDRESS:PORT")]
    pub(crate) listen: std::net::SocketAddr,

    #[command(flatten)]
    pub(crate) cluster: ClusterFlags,
}

/// `coracle trace`.
#[derive(Debug, Args)]
pub(crate) struct TraceFlags {
    /// The id of a request (x-request-id) or of its trace; with --from svc/NAME, svc/NAME:PORT,
    /// svc/NAME.NAMESPACE:PORT, or HOST:PORT by name or address
    pub(crate) target: String,

    /// The pod that connects: its name, or KIND/NAME of what has pods
    #[arg(long, value_name = "POD")]
    pub(crate) from: Option<String>,

    /// Form of what is known of a request [default: lines for people]
    #[arg(short, long, value_enum, conflicts_with = "from")]
    pub(crate) output: Option<TraceOutput>,

    /// The server's audit log, which has the names of the users who deployed what answered
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    pub(crate) audit_log: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) cluster: ClusterFlags,
}

/// Form of what `coracle trace` knows of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TraceOutput {
    /// One JSON object.
    Json,
}

/// `coracle rollout`.
#[derive(Debug, Subcommand)]
pub(crate) enum RolloutVerb {
    /// Wait until a rollout is done, and say how far it is
    Status(RolloutStatusFlags),
    /// The revisions that there are
    History(RolloutFlags),
    /// Replace all pods, as if the template had changed
    Restart(RolloutFlags),
    /// Go back to a former revision
    Undo(RolloutUndoFlags),
    /// Keep changes of the template from being rolled out
    Pause(RolloutFlags),
    /// Roll out again what changes
    Resume(RolloutFlags),
}

/// What the verbs of `rollout` take.
#[derive(Debug, Args)]
pub(crate) struct RolloutFlags {
    /// KIND/NAME, or KIND NAME
    #[arg(required = true, value_name = "KIND/NAME")]
    pub(crate) what: Vec<String>,

    #[command(flatten)]
    pub(crate) cluster: ClusterFlags,
}

/// `coracle rollout status`.
#[derive(Debug, Args)]
pub(crate) struct RolloutStatusFlags {
    #[command(flatten)]
    pub(crate) rollout: RolloutFlags,

    /// How long to wait, such as 30s; 0 for ever
    #[arg(long, value_name = "DURATION", default_value = "0s")]
    pub(crate) timeout: String,

    /// Print once and do not wait
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub(crate) watch: bool,
}

/// `coracle rollout undo`.
#[derive(Debug, Args)]
pub(crate) struct RolloutUndoFlags {
    #[command(flatten)]
    pub(crate) rollout: RolloutFlags,

    /// The revision to go back to [default: the one before]
    #[arg(long, value_name = "REVISION", default_value_t = 0)]
    pub(crate) to_revision: i64,
}

/// `coracle scale`.
#[derive(Debug, Args)]
pub(crate) struct ScaleFlags {
    /// KIND/NAME…, or KIND NAME…
    #[arg(required = true, value_name = "KIND/NAME")]
    pub(crate) what: Vec<String>,

    /// How many there should be
    #[arg(long)]
    pub(crate) replicas: u32,

    /// Only if there are this many now
    #[arg(long)]
    pub(crate) current_replicas: Option<u32>,

    #[command(flatten)]
    pub(crate) cluster: ClusterFlags,
}

/// `coracle top`.
#[derive(Debug, Subcommand)]
pub(crate) enum TopVerb {
    /// What pods use
    #[command(visible_aliases = ["pods", "po"])]
    Pod(TopFlags),
    /// What nodes use
    #[command(visible_aliases = ["nodes", "no"])]
    Node(TopFlags),
}

/// What both of `top` take.
#[derive(Debug, Args)]
pub(crate) struct TopFlags {
    /// Only this one
    pub(crate) name: Option<String>,

    /// A line for each container
    #[arg(long)]
    pub(crate) containers: bool,

    #[command(flatten)]
    pub(crate) select: SelectFlags,

    #[command(flatten)]
    pub(crate) cluster: ClusterFlags,
}

/// `coracle explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainFieldFlags {
    /// KIND or KIND.field.field
    #[arg(value_name = "KIND.FIELD")]
    pub(crate) path: String,

    /// All fields below, without what they are for
    #[arg(long)]
    pub(crate) recursive: bool,

    /// Version to look in, such as apps/v1 [default: the preferred one]
    #[arg(long, value_name = "GROUP/VERSION")]
    pub(crate) api_version: Option<String>,

    #[command(flatten)]
    pub(crate) cluster: ClusterFlags,
}

/// `coracle wait`.
#[derive(Debug, Args)]
pub(crate) struct WaitFlags {
    /// KIND/NAME…, or KIND NAME…
    #[arg(required = true, value_name = "KIND/NAME")]
    pub(crate) what: Vec<String>,

    /// create, delete, condition=NAME[=VALUE], or jsonpath={.path}[=VALUE]
    #[arg(long = "for", value_name = "STATE", required = true)]
    pub(crate) state: String,

    /// How long to wait at most
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    pub(crate) timeout: String,

    /// All objects of the kind
    #[arg(long)]
    pub(crate) all: bool,

    #[command(flatten)]
    pub(crate) select: SelectFlags,

    #[command(flatten)]
    pub(crate) cluster: ClusterFlags,
}

/// `coracle events`.
#[derive(Debug, Args)]
pub(crate) struct EventsFlags {
    /// Only of this object: KIND/NAME
    #[arg(long = "for", value_name = "KIND/NAME")]
    pub(crate) of: Option<String>,

    /// In all namespaces
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,

    #[command(flatten)]
    pub(crate) cluster: ClusterFlags,
}
