//! The flags of `coracle tenant`.

use clap::{Args, Subcommand};

/// What to do about tenants.
#[derive(Debug, Subcommand)]
pub(crate) enum TenantCommand {
    /// Print the manifest that makes a tenant: namespace, quota, limits, walls, and its people's role
    Create(TenantFlags),
}

/// What the tenant is.
#[derive(Debug, Args)]
pub(crate) struct TenantFlags {
    /// The tenant's name, and its namespace's
    pub(crate) name: String,

    /// A user who looks after it; may be given several times
    #[arg(long = "admin", value_name = "USER")]
    pub(crate) admins: Vec<String>,

    /// A group of users who look after it; may be given several times
    #[arg(long = "admin-group", value_name = "GROUP")]
    pub(crate) admin_groups: Vec<String>,

    /// CPU that all its pods together may request
    #[arg(long, value_name = "QUANTITY", default_value = "2", value_parser = quantity)]
    pub(crate) cpu: String,

    /// CPU that all its pods together may be limited to: what they use while hosts have it to spare
    /// [default: 500m for each pod that it may have]
    #[arg(long, value_name = "QUANTITY", value_parser = quantity)]
    pub(crate) cpu_limit: Option<String>,

    /// Memory that all its pods together may request, and be limited to
    #[arg(long, value_name = "QUANTITY", default_value = "4Gi", value_parser = quantity)]
    pub(crate) memory: String,

    /// Storage that its claims together may request
    #[arg(long, value_name = "QUANTITY", default_value = "10Gi", value_parser = quantity)]
    pub(crate) storage: String,

    /// Pods that it may have
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    pub(crate) pods: u32,

    /// How the names of its images begin; may be given several times
    /// [default: registry.coracle.internal/NAME/]
    #[arg(long = "registry", value_name = "PREFIX")]
    pub(crate) registries: Vec<String>,

    /// A WIT package that its components may import, such as wasi:http; may be given several times
    /// [default: what every host gives, without wasi:tls]
    #[arg(long = "import", value_name = "PACKAGE")]
    pub(crate) imports: Vec<String>,

    /// What its pods reach outside of the cluster, as in the annotation coracle.dev/egress
    #[arg(long, value_name = "GRANTS")]
    pub(crate) egress: Option<String>,
}

/// Takes a quantity as it is written.
fn quantity(text: &str) -> Result<String, String> {
    text.parse::<coracle_api::quantity::Quantity>()
        .map(|_| text.to_owned())
        .map_err(|error| error.to_string())
}
