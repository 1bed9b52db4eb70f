//! The edge of the Job controller: observes caches, carries the actions out.

use std::sync::Arc;

use coracle_client::{Cache, Change, EventKind, Failure as _, ObjectKey, Outcome, Queue, drive};
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use kube::api::PropagationPolicy;
use serde_json::json;

use super::conditions::told;
use super::observe::is_tracked;
use super::{Action, Observed, TRACKING, reconcile};
use crate::claim::Claim;
use crate::context::{Context, Running};
use crate::objects::{PodSelector, namespace, uid};
use crate::owned;
use crate::pods::PodWriter;
use crate::write::{self, WriteError, settle};

/// A Job by name and uid: the pods of one that is gone are to be let go, its namesake's are not.
type JobKey = (ObjectKey, String);

struct Controller {
    context: Context,
    jobs: Cache<Job>,
    pods: Cache<Pod>,
    writer: PodWriter,
}

/// Starts the controller.
pub(crate) fn start(context: &Context) -> Running {
    let queue: Queue<JobKey> = Queue::new();
    let recorder = context.recorder("job-controller");
    let pods: Cache<Pod> = context.caches.get();
    let controller = Arc::new(Controller {
        context: context.clone(),
        jobs: context.caches.get(),
        pods: pods.clone(),
        writer: PodWriter { client: context.client.clone(), pods, recorder },
    });
    let feeds = vec![
        controller.jobs.observe({
            let queue = queue.clone();
            move |change| job_changed(&queue, change)
        }),
        controller.pods.observe({
            let (queue, jobs) = (queue.clone(), controller.jobs.clone());
            move |change| {
                let add = |key: ObjectKey, uid: &str| queue.add((key, uid.to_owned()));
                owned::find_owners(add, &jobs, change, selector);
            }
        }),
    ];
    let drive = drive("job", queue, context.config.workers, move |key: JobKey| {
        let controller = Arc::clone(&controller);
        async move { settle(controller.reconcile(&key).await) }
    });
    Running { drive, feeds }
}

fn job_changed(queue: &Queue<JobKey>, change: &Change<Job>) {
    for job in [&change.old, &change.new].into_iter().flatten() {
        queue.add((change.key.clone(), uid(&job.metadata).to_owned()));
    }
}

fn selector(job: &Job) -> Option<PodSelector> {
    job.spec.as_ref()?.selector.as_ref().map(PodSelector::new)
}

impl Controller {
    #[expect(clippy::disallowed_methods, reason = "the edge that turns the clock into an input")]
    async fn reconcile(&self, (key, id): &JobKey) -> Result<Outcome, WriteError> {
        self.jobs.wait_synced().await;
        self.pods.wait_synced().await;
        let job = self.jobs.get_key(key).filter(|job| uid(&job.metadata) == id);
        let Some(job) = job else { return self.let_go(key, id).await };
        let observed = self.observe(job);
        let mut outcome = Outcome::Done;
        for action in reconcile(&observed, Timestamp::now()) {
            if let Action::RequeueAfter(wait) = action {
                outcome = Outcome::RequeueAfter(wait);
            } else {
                self.apply(&observed.job, action).await?;
            }
        }
        Ok(outcome)
    }

    fn observe(&self, job: Arc<Job>) -> Observed {
        let mut pods = self.pods.controlled_by(uid(&job.metadata));
        pods.extend(self.pods.orphans_in(namespace(&job.metadata)));
        Observed { job, pods }
    }

    /// Lets the pods of a Job go that is gone: nobody will count them any more.
    async fn let_go(&self, key: &ObjectKey, id: &str) -> Result<Outcome, WriteError> {
        let mut pods = self.pods.controlled_by(id);
        pods.retain(|pod| is_tracked(pod));
        if pods.is_empty() {
            return Ok(Outcome::Done);
        }
        // The cache of Jobs may be behind that of pods: the server is asked before they are lost.
        let space = key.namespace.as_deref().unwrap_or_default();
        match self.context.client.namespaced::<Job>(space).get(&key.name).await {
            Ok(job) if uid(&job.metadata) == id => return Ok(Outcome::Retry),
            Err(error) if !error.is_not_found() => return Ok(Outcome::Retry),
            Ok(_) | Err(_) => {}
        }
        self.untrack(&pods).await?;
        Ok(Outcome::Done)
    }

    async fn apply(&self, job: &Arc<Job>, action: Action) -> Result<(), WriteError> {
        let client = &self.context.client;
        match action {
            Action::Claim(claim) => {
                owned::settle_claim(client, &self.pods, &**job, &claim).await?;
                match &claim {
                    Claim::Adopt(pod) => self.set_tracked(pod, true).await,
                    Claim::Release(pod) => self.set_tracked(pod, false).await,
                }
            }
            Action::SetStatus(new) => self.set_status(job, &new).await,
            Action::Untrack(pods) => self.untrack(&pods).await,
            Action::Delete(pod) => {
                self.writer.delete(&**job, &pod).await.map_err(|failed| failed.error)
            }
            Action::Discard(pod) => {
                self.set_tracked(&pod, false).await?;
                self.writer.delete(&**job, &pod).await.map_err(|failed| failed.error)
            }
            Action::Create(pods) => {
                let make = |at: usize| pods.get(at).cloned().unwrap_or_default();
                let made = self.writer.create_many(&**job, pods.len(), make).await;
                made.map_err(|failed| failed.error)
            }
            Action::Expire => {
                let api = write::api_of(client, &job.metadata);
                let foreground = PropagationPolicy::Foreground;
                write::delete(&api, &self.jobs, &job.metadata, foreground, None).await
            }
            Action::RequeueAfter(_) => Ok(()),
        }
    }

    async fn untrack(&self, pods: &[Arc<Pod>]) -> Result<(), WriteError> {
        let all = pods.iter().map(|pod| self.set_tracked(pod, false));
        let results = join_all(all).await;
        // One that is gone needs no more; another lost race is looked at again.
        let lost = results.into_iter().filter_map(Result::err);
        lost.filter(|error| !error.source.is_not_found()).map(Err).next().unwrap_or(Ok(()))
    }

    async fn set_tracked(&self, pod: &Pod, tracked: bool) -> Result<(), WriteError> {
        let fresh = self.pods.get_key(&write::key(&pod.metadata));
        let meta = fresh.as_ref().map_or(&pod.metadata, |fresh| &fresh.metadata);
        let mut finalizers = meta.finalizers.clone().unwrap_or_default();
        if finalizers.iter().any(|finalizer| finalizer == TRACKING) == tracked {
            return Ok(());
        }
        finalizers.retain(|finalizer| finalizer != TRACKING);
        finalizers.extend(tracked.then(|| TRACKING.to_owned()));
        let guard = meta.resource_version.as_deref();
        let finalizers = write::or_null(&finalizers);
        let body = json!({"metadata": {"finalizers": finalizers, "resourceVersion": guard}});
        write::patch_or_gone(&self.context.client, &self.pods, meta, &body).await
    }

    async fn set_status(&self, job: &Job, new: &JobStatus) -> Result<(), WriteError> {
        let api = write::api_of(&self.context.client, &job.metadata);
        write::set_status(&api, &self.jobs, &job.metadata, job.status.as_ref(), new).await?;
        for told in told(job.status.as_ref(), new) {
            let kind = if told.is_warning { EventKind::Warning } else { EventKind::Normal };
            self.writer.recorder.event(job, kind, told.reason, told.message);
        }
        Ok(())
    }
}
