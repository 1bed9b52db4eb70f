//! The edge of scale to zero: observes Services and Deployments, scales.

use std::collections::HashMap;
use std::sync::Arc;

use coracle_api::ondemand::{IDLE, REMEMBERED};
use coracle_client::{Cache, Change, EventKind, ObjectKey, Outcome, Queue, Recorder, drive};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use parking_lot::Mutex;
use serde_json::json;

use super::{Heard, Observed, Scale, Verdict, reconcile};
use crate::context::{Context, Running};
use crate::objects::{annotation, name, namespace};
use crate::write::{self, WriteError, settle};

struct Controller {
    context: Context,
    services: Cache<Service>,
    deployments: Cache<Deployment>,
    recorder: Recorder,
    /// Of the Services on demand that there are.
    heard: Mutex<HashMap<ObjectKey, Heard>>,
}

/// Starts the controller; its keys are those of Services on demand.
pub(crate) fn start(context: &Context) -> Running {
    let queue = Queue::new();
    let controller = Arc::new(Controller {
        context: context.clone(),
        services: context.caches.get(),
        deployments: context.caches.get(),
        recorder: context.recorder("ondemand-controller"),
        heard: Mutex::default(),
    });
    let feeds = vec![
        controller.services.observe({
            let queue = queue.clone();
            move |change| {
                let mut states = [&change.old, &change.new].into_iter().flatten();
                if states.any(|service| is_on_demand(service)) {
                    queue.add(change.key.clone());
                }
            }
        }),
        controller.deployments.observe({
            let (queue, services) = (queue.clone(), controller.services.clone());
            move |change| deployment_changed(&queue, &services, change)
        }),
    ];
    let drive = drive("ondemand", queue, 1, move |key| {
        let controller = Arc::clone(&controller);
        async move { settle(controller.reconcile(&key).await) }
    });
    Running { drive, feeds }
}

fn is_on_demand(service: &Service) -> bool {
    annotation(&service.metadata, IDLE).is_some()
}

/// A Deployment that somebody scaled or made may be unused from the beginning.
fn deployment_changed(
    queue: &Queue<ObjectKey>,
    services: &Cache<Service>,
    change: &Change<Deployment>,
) {
    let replicas = |deployment: &Arc<Deployment>| deployment.spec.as_ref().map(|s| s.replicas);
    if change.old.as_ref().map(replicas) == change.new.as_ref().map(replicas) {
        return;
    }
    let namespace = change.key.namespace.as_deref().unwrap_or_default();
    for service in services.list_in(namespace).iter().filter(|service| is_on_demand(service)) {
        queue.add(write::key(&service.metadata));
    }
}

impl Controller {
    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, WriteError> {
        self.services.wait_synced().await;
        self.deployments.wait_synced().await;
        let service = self.services.get_key(key).filter(|service| is_on_demand(service));
        let Some(service) = service else {
            self.heard.lock().remove(key);
            return Ok(Outcome::Done);
        };
        let deployments = self.deployments.list_in(namespace(&service.metadata));
        #[expect(
            clippy::disallowed_methods,
            reason = "the edge that turns the clock into an input"
        )]
        let now = Timestamp::now();
        let last_use = self.hear(key, &service, now);
        match reconcile(&Observed { service: Arc::clone(&service), deployments, last_use }, now) {
            Verdict::NotOnDemand => Ok(Outcome::Done),
            Verdict::Unreadable(text) => {
                self.recorder.event(&*service, EventKind::Warning, "InvalidAnnotation", text);
                Ok(Outcome::Done)
            }
            Verdict::Scale(all, again) => {
                for scale in &all {
                    self.scale(&service, scale).await?;
                }
                Ok(Outcome::after(again))
            }
        }
    }

    /// Gives when the Service was last heard of as used.
    fn hear(&self, key: &ObjectKey, service: &Service, now: Timestamp) -> Option<Timestamp> {
        let mut all = self.heard.lock();
        let before = all.get(key).copied();
        let heard = before.map_or_else(|| Heard::first(service, now), |it| it.then(service, now));
        all.insert(key.clone(), heard);
        heard.at
    }

    async fn scale(&self, service: &Service, scale: &Scale) -> Result<(), WriteError> {
        let meta = &scale.deployment.metadata;
        let remembered = scale.remember.map(|replicas| replicas.to_string());
        let patch = json!({
            "metadata": {
                "resourceVersion": meta.resource_version,
                "annotations": {REMEMBERED: remembered},
            },
            "spec": {"replicas": scale.replicas},
        });
        let api = write::api_of(&self.context.client, meta);
        write::patch(&api, &self.deployments, meta, &patch).await?;
        let (reason, why) = match scale.remember {
            Some(_) => ("ScaledToZero", "nobody used"),
            None => ("ScaledFromZero", "somebody uses"),
        };
        let note = format!(
            "Scaled Deployment {} to {}: {why} Service {}",
            name(meta),
            scale.replicas,
            name(&service.metadata),
        );
        self.recorder.event(&*scale.deployment, EventKind::Normal, reason, note);
        Ok(())
    }
}
