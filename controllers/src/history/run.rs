//! The edge of the revisions: carries the steps out.

use coracle_client::{Cache, Client};
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::api::PropagationPolicy;
use serde_json::json;

use super::{Step, same};
use crate::objects::name;
use crate::write::{self, WriteError};

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stepped {
    /// It is done.
    Done,
    /// Another object has the name: the owner must count one more collision.
    NameTaken,
}

/// Carries one step out.
pub(crate) async fn step(
    client: &Client,
    cache: &Cache<ControllerRevision>,
    step: &Step,
) -> Result<Stepped, WriteError> {
    match step {
        Step::Create(revision) => {
            let api = write::api_of(client, &revision.metadata);
            match write::create(&api, cache, revision).await {
                Ok(_) => {}
                Err(error) if !error.is_exists() => return Err(error),
                Err(error) => {
                    let there = api.get(name(&revision.metadata)).await;
                    let is_other = there.is_ok_and(|there| !same(&there, revision));
                    return if is_other { Ok(Stepped::NameTaken) } else { Err(error) };
                }
            }
        }
        Step::Renumber(revision, number) => {
            let api = write::api_of(client, &revision.metadata);
            let body = json!({"revision": number});
            write::patch(&api, cache, &revision.metadata, &body).await?;
        }
        Step::Delete(revision) => {
            let api = write::api_of::<ControllerRevision>(client, &revision.metadata);
            let background = PropagationPolicy::Background;
            write::delete(&api, cache, &revision.metadata, background, None).await?;
        }
    }
    Ok(Stepped::Done)
}
