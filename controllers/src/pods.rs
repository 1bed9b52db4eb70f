//! Creating and deleting pods on behalf of an owner, with the events that tell its user.

use std::sync::Arc;

use coracle_client::{Cache, Client, EventKind, Failure as _, Recorder};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::Resource;

use crate::objects::{controller_reference, name};
use crate::write::{self, WriteError};

/// Deletions of one owner that are under way at once: enough for the store to write many in one turn, and few enough
/// that other owners' requests are among them.
const DELETES_AT_ONCE: usize = 32;

/// An attempt to create or delete a pod that did not succeed.
pub(crate) struct Failed {
    /// What the owner's status may tell of it: `FailedCreate` or `FailedDelete`, and the server's
    /// words. `None` for a lost race and for a namespace that is going away.
    pub(crate) told: Option<(&'static str, String)>,
    pub(crate) error: WriteError,
}

/// Writes pods and says so.
pub(crate) struct PodWriter {
    pub(crate) client: Client,
    pub(crate) pods: Cache<Pod>,
    pub(crate) recorder: Recorder,
}

impl PodWriter {
    /// Creates `n` pods, of which so many are under way at once as have been made so far, and one: a
    /// refusal costs one request and not hundreds, and nobody waits for the last of a batch. `make`
    /// gives the pod of a number. After the first failure no further one is begun.
    pub(crate) async fn create_many<O: Resource<DynamicType = ()>>(
        &self,
        owner: &O,
        n: usize,
        make: impl Fn(usize) -> Pod,
    ) -> Result<(), Box<Failed>> {
        let mut pods = (0..n).map(make);
        let mut under_way = FuturesUnordered::new();
        let (mut made, mut failed) = (0, None);
        loop {
            while failed.is_none() && under_way.len() <= made {
                let Some(pod) = pods.next() else { break };
                under_way.push(async move { self.create(owner, &pod).await });
            }
            match under_way.next().await {
                Some(Ok(())) => made += 1,
                Some(Err(why)) => failed = failed.or(Some(why)),
                None => return failed.map_or(Ok(()), Err),
            }
        }
    }

    /// Creates one pod.
    pub(crate) async fn create<O: Resource<DynamicType = ()>>(
        &self,
        owner: &O,
        pod: &Pod,
    ) -> Result<(), Box<Failed>> {
        let api = write::api_of(&self.client, &pod.metadata);
        match write::create(&api, &self.pods, pod).await {
            Ok(made) => {
                let message = format!("Created pod: {}", name(&made.metadata));
                self.recorder.event(owner, EventKind::Normal, "SuccessfulCreate", message);
                Ok(())
            }
            Err(error) if error.is_namespace_terminating() || error.is_race() => {
                Err(Box::new(Failed { told: None, error }))
            }
            Err(error) => Err(self.failed(owner, "FailedCreate", "creating", error)),
        }
    }

    /// Deletes pods, each with its own grace, several at once. After the first failure no further one is begun.
    pub(crate) async fn delete_many<O: Resource<DynamicType = ()>>(
        &self,
        owner: &O,
        pods: &[Arc<Pod>],
    ) -> Result<(), Box<Failed>> {
        let mut pods = pods.iter();
        let (mut under_way, mut failed) = (FuturesUnordered::new(), None);
        loop {
            while failed.is_none() && under_way.len() < DELETES_AT_ONCE {
                let Some(pod) = pods.next() else { break };
                under_way.push(self.delete(owner, pod));
            }
            match under_way.next().await {
                Some(Ok(())) => {}
                Some(Err(why)) => failed = failed.or(Some(why)),
                None => return failed.map_or(Ok(()), Err),
            }
        }
    }

    /// Deletes a pod with its own grace.
    pub(crate) async fn delete<O: Resource<DynamicType = ()>>(
        &self,
        owner: &O,
        pod: &Pod,
    ) -> Result<(), Box<Failed>> {
        match write::delete_pod(&self.client, &self.pods, pod).await {
            Ok(()) => {
                let message = format!("Deleted pod: {}", name(&pod.metadata));
                self.recorder.event(owner, EventKind::Normal, "SuccessfulDelete", message);
                Ok(())
            }
            Err(error) if error.is_race() => Err(Box::new(Failed { told: None, error })),
            Err(error) => Err(self.failed(owner, "FailedDelete", "deleting", error)),
        }
    }

    fn failed<O: Resource<DynamicType = ()>>(
        &self,
        owner: &O,
        reason: &'static str,
        doing: &str,
        error: WriteError,
    ) -> Box<Failed> {
        let message = error.source.message();
        let said = format!("Error {doing}: {message}");
        self.recorder.event(owner, EventKind::Warning, reason, said);
        Box::new(Failed { told: Some((reason, message)), error })
    }
}

/// Makes the pod that an owner's template describes; the server completes `prefix` to its name.
pub(crate) fn from_template<O: Resource<DynamicType = ()>>(
    owner: &O,
    template: PodTemplateSpec,
    prefix: String,
) -> Pod {
    let meta = template.metadata.unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(prefix),
            namespace: owner.meta().namespace.clone(),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![controller_reference(owner)]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}
