//! Begins the actions that were decided on.

use futures::future::BoxFuture;

use super::{Agent, target};
use crate::clock::now;
use crate::effects;
use crate::manifests::is_static;
use crate::pods::plan::Index;
use crate::pods::reconcile::{Action, begin};
use crate::pods::state::PodEvent;

impl Agent {
    /// Begins one action. Effects run beside the loop and end with news for it.
    pub(super) fn carry_out(&mut self, uid: &str, action: Action) {
        let Some(worker) = self.workers.get_mut(uid) else { return };
        let target = target(worker, &self.images);
        let container = |index: Index| worker.state.containers.get(index);
        let run = |index: Index| container(index).and_then(|container| container.run().cloned());
        let shared = self.shared.clone();
        let work: BoxFuture<'static, ()> = match &action {
            Action::CreateSandbox => {
                let kept = worker.kept_ip.take().and_then(|ip| ip.parse().ok());
                Box::pin(async move { effects::sandbox::create(&shared, &target, kept).await })
            }
            Action::MountVolumes => {
                Box::pin(async move { effects::volumes::mount(&shared, &target).await })
            }
            Action::EnsureImage(index) => {
                let (index, before) = (*index, container(*index).map(|c| c.last_image_id.clone()));
                let before = before.unwrap_or_default();
                Box::pin(
                    async move { effects::image::ensure(&shared, &target, index, before).await },
                )
            }
            Action::Start(index) => {
                let (index, count) = (*index, container(*index).map_or(0, next_count));
                Box::pin(async move { effects::start::start(&shared, &target, index, count).await })
            }
            Action::PostStart(index) => {
                let (index, Some(run)) = (*index, run(*index)) else { return };
                Box::pin(async move {
                    effects::hooks::post_start(&shared, &target, index, run.id).await;
                })
            }
            Action::Probe(index, kind) => {
                let (index, kind, Some(run)) = (*index, *kind, run(*index)) else { return };
                Box::pin(async move {
                    effects::probes::probe(&shared, &target, index, kind, run.id).await;
                })
            }
            Action::Stop { index, reason, deadline } => {
                let (index, reason, deadline) = (*index, *reason, *deadline);
                let again = run(index).is_some_and(|run| run.stop_by.is_some());
                Box::pin(async move {
                    if again {
                        effects::stop::hurry(&shared, &target, index, deadline);
                    } else {
                        effects::stop::stop(&shared, &target, index, reason, deadline).await;
                    }
                })
            }
            Action::Condemn(verdict) => {
                let event = PodEvent::Condemned(verdict.clone());
                Box::pin(async move { shared.tell(&target.key.uid, event) })
            }
            Action::RemoveSandbox => {
                Box::pin(async move { effects::sandbox::remove(&shared, &target).await })
            }
            Action::RemoveVolumes => {
                Box::pin(async move { effects::volumes::remove(&shared, &target).await })
            }
            Action::Finalize if is_static(&worker.pod) => {
                begin(&mut worker.state, &action);
                // It has no object of its own; its mirror follows.
                worker.state.object_gone = true;
                self.touch(uid);
                return;
            }
            Action::Finalize => {
                begin(&mut worker.state, &action);
                if worker.may_finalize(&self.shared.host, now()) {
                    self.finalize(uid);
                }
                return;
            }
        };
        begin(&mut worker.state, &action);
        tokio::spawn(work);
    }
}

/// The restart count that a container will have once it is started.
fn next_count(container: &crate::pods::state::ContainerState) -> u32 {
    container.restart_count.saturating_add(u32::from(container.last.is_some()))
}
