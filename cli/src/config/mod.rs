//! Configuration of the binary: the only place that reads flags, the environment and host facts.
//! Everything below gets checked values as arguments.

mod data_dir;
mod flags;
mod node_flags;
mod oidc;
mod telemetry_flags;

pub(crate) use data_dir::{DataDir, Held, node_name};
pub(crate) use flags::{
    BackupFlags, Command, DownFlags, ExplainFlags, Families, Flags, HostFlags, HostLimits,
    InspectFlags, JoinFlags, NetworkFlags, PushFlags, RestoreFlags, ScheduleCommand, ServerFlags,
    TokenCommand, TokenCreateFlags, TokenFlags, UpFlags,
};
