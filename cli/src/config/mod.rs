//! Configuration of the binary: the only place that reads flags, the environment and host facts.
//! Everything below gets checked values as arguments.

mod certificate_life;
mod data_dir;
mod develop_flags;
mod flags;
mod node_flags;
mod oidc;
mod simulate_flags;
mod store_flags;
mod telemetry_flags;
mod tenant_flags;
mod verb_flags;
mod workload_flags;

pub(crate) use data_dir::{DataDir, Held, node_name};
pub(crate) use develop_flags::{
    BuildFlags, DevFlags, DoctorFlags, NewFlags, ReportForm, TestFlags, UpgradeFlags,
};
pub(crate) use flags::{
    BackupFlags, Command, DownFlags, ExplainFlags, Families, Flags, HostFlags, HostLimits,
    InspectFlags, JoinFlags, NetworkFlags, PushFlags, RestoreFlags, ScheduleCommand, ServerFlags,
    TokenCommand, TokenCreateFlags, TokenFlags, UpFlags,
};
pub(crate) use simulate_flags::SimulateFlags;
pub(crate) use store_flags::{MigrateFlags, StoreCommand, StorePlace};
pub(crate) use tenant_flags::{TenantCommand, TenantFlags};
pub(crate) use verb_flags::{
    ApplyFlags, AppsFlags, Cascade, ClusterFlags, DeleteFlags, DescribeFlags, EventsFlags,
    ExecFlags, ExplainFieldFlags, GetFlags, LogsFlags, PortForwardFlags, ProxyFlags, RolloutFlags,
    RolloutStatusFlags, RolloutUndoFlags, RolloutVerb, ScaleFlags, SelectFlags, TopFlags, TopVerb,
    TraceFlags, TraceOutput, Verb, WaitFlags,
};
