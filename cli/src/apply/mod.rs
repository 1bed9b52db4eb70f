//! Applying manifests as `kubectl apply` does, for `up`: no kubectl is needed to see a first pod.

mod merge;
mod objects;
mod run;

pub(crate) use objects::{ManifestError, Manifests};
pub(crate) use run::{Applied, ApplyError, Outcome, apply, delete, wait_gone};
