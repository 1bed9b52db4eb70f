//! Applying manifests as `kubectl apply` does, for `up`: no kubectl is needed to see a first pod.

mod merge;
mod objects;
mod run;

pub(crate) use objects::Manifests;
pub(crate) use run::{Applied, apply, apply_in, delete, name_in, wait_gone};
