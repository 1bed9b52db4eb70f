//! Flags of the commands for people who write guests.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use clap_complete::Shell;

use super::flags::ServerFlags;

/// Form of what a command prints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportForm {
    /// Lines for people.
    #[default]
    Text,
    /// JSON for programs.
    Json,
}

impl ReportForm {
    /// Whether it is JSON.
    pub(crate) fn is_json(self) -> bool {
        self == Self::Json
    }
}

/// `coracle new`.
#[derive(Debug, Args)]
pub(crate) struct NewFlags {
    /// LANGUAGE-KIND, such as rust-http; `coracle new --list` shows all
    #[arg(required_unless_present = "list")]
    pub(crate) template: Option<String>,

    /// Name of the folder, the image and the objects: lower-case letters, digits and -
    #[arg(required_unless_present = "list")]
    pub(crate) name: Option<String>,

    /// List the templates
    #[arg(long)]
    pub(crate) list: bool,
}

/// `coracle build`.
#[derive(Debug, Args)]
pub(crate) struct BuildFlags {
    /// Folder with a coracle.toml
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) folder: PathBuf,

    /// Form of the result
    #[arg(short, long, value_enum, default_value = "text")]
    pub(crate) output: ReportForm,
}

/// `coracle dev`.
#[derive(Debug, Args)]
pub(crate) struct DevFlags {
    /// Folder with manifests and a coracle.toml
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) folder: PathBuf,

    /// Seconds to wait for the pods to be ready
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub(crate) timeout: u64,

    #[command(flatten)]
    pub(crate) server: ServerFlags,
}

/// `coracle test`.
#[derive(Debug, Args)]
pub(crate) struct TestFlags {
    /// Folder with manifests and a coracle.toml
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) folder: PathBuf,

    /// What to ask and what to expect [default: requests.toml in the folder]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    /// Seconds to wait for the pods to be ready
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub(crate) timeout: u64,

    /// Form of the result
    #[arg(short, long, value_enum, default_value = "text")]
    pub(crate) output: ReportForm,

    #[command(flatten)]
    pub(crate) server: ServerFlags,
}

/// `coracle doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorFlags {
    /// Kubeconfig of the cluster [default: $KUBECONFIG, else the one in the data directory]
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    pub(crate) kubeconfig: Option<PathBuf>,

    /// Form of the result
    #[arg(short, long, value_enum, default_value = "text")]
    pub(crate) output: ReportForm,
}

/// `coracle upgrade`.
#[derive(Debug, Args)]
pub(crate) struct UpgradeFlags {
    /// Look at the cluster as this binary would meet it; nothing is changed
    #[arg(long)]
    pub(crate) check: bool,

    /// Kubeconfig of the cluster [default: $KUBECONFIG, else the one in the data directory]
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    pub(crate) kubeconfig: Option<PathBuf>,

    /// Form of the result
    #[arg(short, long, value_enum, default_value = "text")]
    pub(crate) output: ReportForm,
}

/// `coracle completion`.
#[derive(Debug, Args)]
pub(crate) struct CompletionFlags {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// `coracle man`.
#[derive(Debug, Args)]
pub(crate) struct ManFlags {
    /// Folder to write the pages into
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
}
