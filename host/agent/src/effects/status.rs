//! Tells the API server: status patches and the final deletion.

use std::time::Duration;

use coracle_client::Failure as _;
use k8s_openapi::api::core::v1::Pod;
use kube::Resource as _;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::Request;
use serde_json::{Map, Value};

use super::{Message, Shared, Target};
use crate::pods::state::PodEvent;

/// Pause before a status is sent again that the server did not take.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Sends a patch; afterwards the server has `sent`.
pub(crate) async fn send(shared: &Shared, target: &Target, patch: Value, sent: Map<String, Value>) {
    let sent = match shared.turns.ask(patch_status(shared, target, &patch)).await {
        Some(Ok(_)) => Some(sent),
        // The pod is gone or another one has its name: nobody is left to be told.
        Some(Err(error)) if error.is_not_found() || error.is_conflict() => Some(sent),
        None => {
            tracing::debug!(pod = %target.key, "status not sent: the server does not answer");
            None
        }
        Some(Err(error)) => {
            if error.is_refusal() {
                tracing::warn!(pod = %target.key, error = error.message(), "status refused");
            } else {
                tracing::debug!(pod = %target.key, error = error.message(), "status not sent");
            }
            tokio::time::sleep(RETRY_PAUSE).await;
            None
        }
    };
    let _ = shared.news.send(Message::Told { uid: target.key.uid.clone(), sent });
}

/// Patches the status. The answer is the whole pod, of which nothing is wanted, so it is not decoded: the watch brings
/// the pod in any case.
async fn patch_status(shared: &Shared, target: &Target, patch: &Value) -> Result<(), kube::Error> {
    let pods = Request::new(Pod::url_path(&(), Some(&target.key.namespace)));
    let params = PatchParams::default();
    let request =
        pods.patch_subresource("status", &target.key.name, &params, &Patch::Strategic(patch));
    let request = request.map_err(kube::Error::BuildRequest)?;
    shared.client.kube().request_text(request).await.map(drop)
}

/// Deletes the object for good.
pub(crate) async fn finalize(shared: &Shared, target: &Target) {
    let api = shared.client.namespaced::<Pod>(&target.key.namespace);
    let params = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions {
            uid: Some(target.key.uid.clone()),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    let error = match shared.turns.ask(api.delete(&target.key.name, &params)).await {
        Some(Ok(_)) => return,
        Some(Err(error)) if error.is_not_found() || error.is_conflict() => return,
        Some(Err(error)) => error.message(),
        None => "the server does not answer".to_owned(),
    };
    tracing::debug!(pod = %target.key, error, "pod not deleted");
    tokio::time::sleep(RETRY_PAUSE).await;
    shared.tell(&target.key.uid, PodEvent::FinalizeFailed);
}
