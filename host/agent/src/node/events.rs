//! What the owner of the cluster is told about this node, as Events.
//!
//! *Source:* kubelet's node events; they name the node by its name in place of its uid, and kubectl
//! looks for them so.

use std::path::Path;

use coracle_client::EventKind;
use k8s_openapi::api::core::v1::ObjectReference;

use crate::effects::Shared;
use crate::eviction::signals::Shown;

/// What has been told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pressure: Shown,
}

impl Told {
    /// The pressure that was told last.
    pub(crate) fn pressure(&self) -> Shown {
        self.pressure
    }

    /// Tells that the node is there.
    pub(crate) fn registered(&self, shared: &Shared) {
        let reference = about(shared);
        shared.recorder.event_about(reference, EventKind::Normal, "Starting", "Starting kubelet.");
        for reason in changes(None, self.pressure) {
            status_is_now(shared, reason);
        }
        status_is_now(shared, "NodeReady");
    }

    /// Tells which pressures came or went.
    pub(crate) fn pressures(&mut self, shared: &Shared, now: Shown) {
        for reason in changes(Some(self.pressure), now) {
            status_is_now(shared, reason);
        }
        self.pressure = now;
    }
}

/// The words for what is another way `now` than `before`.
fn changes(before: Option<Shown>, now: Shown) -> Vec<&'static str> {
    let rows = [
        (
            before.map(|b| b.memory),
            now.memory,
            "NodeHasInsufficientMemory",
            "NodeHasSufficientMemory",
        ),
        (before.map(|b| b.disk), now.disk, "NodeHasDiskPressure", "NodeHasNoDiskPressure"),
        (before.map(|b| b.pids), now.pids, "NodeHasInsufficientPID", "NodeHasSufficientPID"),
    ];
    let changed = rows.into_iter().filter(|(before, now, _, _)| *before != Some(*now));
    changed.map(|(_, now, short, enough)| if now { short } else { enough }).collect()
}

/// Tells that the node is not ready any more.
pub(crate) fn not_ready(shared: &Shared) {
    status_is_now(shared, "NodeNotReady");
}

/// Tells that a file of the manifest folder makes no static pod.
pub(crate) fn bad_manifest(shared: &Shared, path: &Path, message: &str) {
    tracing::warn!(?path, message, "no static pod");
    let message = format!("manifest {}: {message}", path.display());
    let recorder = &shared.recorder;
    recorder.event_about(about(shared), EventKind::Warning, "InvalidStaticPod", message);
}

fn status_is_now(shared: &Shared, reason: &'static str) {
    let message = format!("Node {} status is now: {reason}", shared.config.node_name);
    shared.recorder.event_about(about(shared), EventKind::Normal, reason, message);
}

fn about(shared: &Shared) -> ObjectReference {
    let name = Some(shared.config.node_name.clone());
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Node".into()),
        uid: name.clone(),
        name,
        ..ObjectReference::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_is_told() {
        let disk = Shown { disk: true, ..Shown::default() };
        assert_eq!(changes(Some(Shown::default()), disk), ["NodeHasDiskPressure"]);
        assert_eq!(changes(Some(disk), Shown::default()), ["NodeHasNoDiskPressure"]);
        assert_eq!(changes(None, Shown::default()).len(), 3);
    }
}
