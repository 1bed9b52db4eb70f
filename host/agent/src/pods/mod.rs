//! The pods of this host as a pure state machine.
//!
//! `plan` says what a pod asks for, `state` what is known about it, `reconcile` what to do next,
//! `status` what its object shows. News come in as `PodEvent`s, actions go out; the edge (`run`)
//! carries them out. Never here: IO, clock, tasks.

pub mod plan;
pub mod reconcile;
pub mod state;

pub mod probe;
pub mod restart;
pub mod shutdown;

pub mod conditions;
pub mod container_status;
pub mod hostname;
pub mod notes;
pub mod patch;
pub mod qos;
pub mod status;

mod container;

#[cfg(test)]
mod tests;
