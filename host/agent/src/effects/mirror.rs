//! Makes and deletes the mirrors of static pods.

use std::time::Duration;

use coracle_client::Failure as _;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, PostParams, Preconditions};

use super::{Message, Shared};
use crate::manifests::{FullName, mirror};

/// Pause after a server did not do what it was asked: it is asked again then.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Carries out what was decided about the mirror of a name; asks for another look when that failed.
pub(crate) async fn carry_out(shared: &Shared, name: FullName, action: mirror::Action) {
    let done = match &action {
        mirror::Action::Nothing => Ok(()),
        mirror::Action::Create(pod) => create(shared, pod).await,
        mirror::Action::Delete(uid) => delete(shared, &name, uid).await,
    };
    let failed = done.is_err();
    if let Err(error) = done {
        if error.is_already_exists() {
            tracing::debug!(pod = name.1, "a pod of the mirror's name is there");
        } else if error.is_refusal() {
            tracing::warn!(pod = name.1, error = error.message(), "mirror refused");
        } else {
            tracing::debug!(pod = name.1, error = error.message(), "mirror not written");
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
    let _ = shared.news.send(Message::Mirrored { name, failed });
}

async fn create(shared: &Shared, pod: &Pod) -> Result<(), kube::Error> {
    let node = shared.client.cluster::<Node>().get(&shared.config.node_name).await?;
    let object = mirror::object(pod, node.metadata.uid.as_deref().unwrap_or_default());
    let object: Pod = serde_json::from_value(object).map_err(kube::Error::SerdeError)?;
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let api = shared.client.namespaced::<Pod>(namespace);
    api.create(&PostParams::default(), &object).await.map(drop)
}

async fn delete(shared: &Shared, name: &FullName, uid: &str) -> Result<(), kube::Error> {
    let api = shared.client.namespaced::<Pod>(&name.0);
    let params = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
        ..DeleteParams::default()
    };
    match api.delete(&name.1, &params).await {
        Err(error) if !error.is_not_found() && !error.is_conflict() => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}
