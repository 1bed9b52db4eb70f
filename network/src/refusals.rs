//! Telling a pod's owner that a connection was not let through.

use coracle_client::{EventKind, Recorder};
use k8s_openapi::api::core::v1::ObjectReference;
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinHandle;

use crate::network::{Refusal, RefusalKind};

/// Writes an Event about the pod for each refusal; the recorder joins equal ones and bounds their
/// rate. Ends with the network.
pub fn tell(mut refusals: Receiver<Refusal>, recorder: Recorder) -> JoinHandle<()> {
    tokio::spawn(async move {
        while let Some(refusal) = refusals.recv().await {
            if refusal.from.namespace().is_empty() {
                // Several pods are behind it: those with the host's network.
                tracing::debug!(from = %refusal.from, message = refusal.message, "connection refused");
                continue;
            }
            let pod = pod_of(&refusal);
            let reason = match refusal.kind {
                RefusalKind::Refused => "ConnectionRefused",
                RefusalKind::DryRun => "ConnectionWouldBeRefused",
            };
            recorder.event_about(pod, EventKind::Warning, reason, refusal.message);
        }
    })
}

fn pod_of(refusal: &Refusal) -> ObjectReference {
    let name = refusal.from.name().split_once('/').map_or("", |(_, name)| name);
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        namespace: Some(refusal.from.namespace().to_owned()),
        name: Some(name.to_owned()),
        uid: Some(refusal.from.id().to_owned()),
        ..ObjectReference::default()
    }
}
