//! Configuration of the binary: the only place that reads flags, the environment and host facts.
//! Everything below gets checked values as arguments.

mod data_dir;
mod flags;
mod node_flags;

pub(crate) use data_dir::{DataDir, Held, node_name};
pub(crate) use flags::{
    Command, DownFlags, ExplainFlags, Flags, HostFlags, InspectFlags, NetworkFlags, PushFlags,
    ScheduleCommand, ServerFlags, UpFlags,
};
