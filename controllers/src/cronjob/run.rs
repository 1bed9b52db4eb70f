//! The edge of the CronJob controller: observes caches, carries the actions out.

use std::sync::Arc;
use std::time::Duration;

use coracle_client::{Cache, EventKind, Failure as _, ObjectKey, Outcome, Queue, Recorder, drive};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use kube::api::PropagationPolicy;

use super::{Action, Cause, Observed, reconcile};
use crate::context::{Context, Running};
use crate::objects::{is_controlled_by, name, uid};
use crate::owned;
use crate::write::{self, WriteError, settle};

/// A timer may fire a little early; a Job that starts this much late is on time.
const SLACK: Duration = Duration::from_millis(20);

struct Controller {
    context: Context,
    crons: Cache<CronJob>,
    jobs: Cache<Job>,
    recorder: Recorder,
}

/// Starts the controller.
pub(crate) fn start(context: &Context) -> Running {
    let queue = Queue::new();
    let controller = Arc::new(Controller {
        context: context.clone(),
        crons: context.caches.get(),
        jobs: context.caches.get(),
        recorder: context.recorder("cronjob-controller"),
    });
    let feeds = vec![
        controller.crons.observe({
            let queue = queue.clone();
            move |change| queue.add(change.key.clone())
        }),
        controller.jobs.observe({
            let (queue, crons) = (queue.clone(), controller.crons.clone());
            move |change| owned::queue_owners(&queue, &crons, change, |_| None)
        }),
    ];
    let drive = drive("cronjob", queue, context.config.workers, move |key| {
        let controller = Arc::clone(&controller);
        async move { settle(controller.reconcile(&key).await) }
    });
    Running { drive, feeds }
}

impl Controller {
    #[expect(clippy::disallowed_methods, reason = "the edge that turns the clock into an input")]
    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, WriteError> {
        self.crons.wait_synced().await;
        self.jobs.wait_synced().await;
        let Some(cron) = self.crons.get_key(key) else { return Ok(Outcome::Done) };
        let jobs = self.jobs.controlled_by(uid(&cron.metadata));
        let observed = Observed { cron, jobs };
        let mut outcome = Outcome::Done;
        for action in reconcile(&observed, Timestamp::now()) {
            if let Action::RequeueAfter(wait) = action {
                outcome = Outcome::RequeueAfter(wait + SLACK);
            } else {
                self.apply(&observed.cron, action).await?;
            }
        }
        Ok(outcome)
    }

    async fn apply(&self, cron: &CronJob, action: Action) -> Result<(), WriteError> {
        match action {
            Action::Create(job) => self.create(cron, &job).await,
            Action::Delete(job, cause) => {
                let api = write::api_of(&self.context.client, &job.metadata);
                let background = PropagationPolicy::Background;
                write::delete(&api, &self.jobs, &job.metadata, background, None).await?;
                let doing = match cause {
                    Cause::Replaced => "Deleted",
                    Cause::History => "Deleted finished",
                };
                self.tell(cron, "SuccessfulDelete", format!("{doing} job {}", name(&job.metadata)));
                Ok(())
            }
            Action::Tell(is_warning, reason, message) => {
                let kind = if is_warning { EventKind::Warning } else { EventKind::Normal };
                self.recorder.event(cron, kind, reason, message);
                Ok(())
            }
            Action::SetStatus(status) => {
                let api = write::api_of(&self.context.client, &cron.metadata);
                let old = cron.status.as_ref();
                write::set_status(&api, &self.crons, &cron.metadata, old, &*status).await
            }
            Action::RequeueAfter(_) => Ok(()),
        }
    }

    fn tell(&self, cron: &CronJob, reason: &'static str, message: String) {
        self.recorder.event(cron, EventKind::Normal, reason, message);
    }

    async fn create(&self, cron: &CronJob, job: &Job) -> Result<(), WriteError> {
        let api = write::api_of::<Job>(&self.context.client, &job.metadata);
        let name = name(&job.metadata);
        match write::create(&api, &self.jobs, job).await {
            Ok(_) => {
                self.tell(cron, "SuccessfulCreate", format!("Created job {name}"));
                Ok(())
            }
            Err(error) if error.is_exists() => {
                let there = api.get(name).await.ok();
                if there.is_some_and(|job| is_controlled_by(&job.metadata, &cron.metadata)) {
                    return Ok(());
                }
                let said = format!("Job {name} is there already and not this CronJob's");
                self.recorder.event(cron, EventKind::Warning, "FailedCreate", said);
                Ok(())
            }
            Err(error) => {
                if !error.is_namespace_terminating() {
                    let said = format!("Error creating job: {}", error.source.message());
                    self.recorder.event(cron, EventKind::Warning, "FailedCreate", said);
                }
                Err(error)
            }
        }
    }
}
