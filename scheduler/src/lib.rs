//! Which node for this pod, and why not the others.
//!
//! Comes in: pods and nodes as they change. Goes out: bindings, and for pods that fit nowhere the
//! reasons. Deciding is pure (`schedule`, `filters`, `scores`); books and order are pure too
//! (`snapshot`, `queue`, `scheduler`); only `run` speaks with the API server.

pub mod budgets;
pub mod classes;
pub mod condition;
pub mod configuration;
mod cycle;
mod domains;
pub mod filters;
pub mod fit_error;
pub mod groups;
pub mod namespaces;
pub mod node_info;
mod places;
pub mod pod_info;
pub mod preempt;
pub mod profile;
pub mod queue;
pub mod run;
pub mod schedule;
pub mod scheduler;
pub mod scores;
pub mod snapshot;
pub mod terms;
pub mod volumes;

#[cfg(test)]
mod testing;

pub use fit_error::FitError;
pub use profile::{Allocation, Profile};
pub use run::{Config, Running, run};
pub use schedule::{Decision, Verdict, explain, schedule};
pub use scheduler::{Scheduler, Step};

/// Name of the scheduler that takes pods which name none.
pub const SCHEDULER_NAME_DEFAULT: &str = "default-scheduler";
