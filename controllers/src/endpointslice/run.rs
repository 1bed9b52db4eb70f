//! The edge of the EndpointSlice controller: observes caches, carries the actions out.

use std::sync::Arc;

use coracle_client::{Cache, Change, ObjectKey, Outcome, Queue, drive};
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PropagationPolicy;

use super::reconcile::has_selector;
use super::{Action, CONTROLLER, MANAGED_BY, Observed, SERVICE_NAME, ZONE, matters, reconcile};
use crate::context::{Context, Running};
use crate::gather::Looks;
use crate::objects::namespace;
use crate::write::{self, WriteError, settle};

struct Controller {
    context: Context,
    services: Cache<Service>,
    pods: Cache<Pod>,
    slices: Cache<EndpointSlice>,
    nodes: Cache<Node>,
    looks: Looks,
}

/// Starts the controller.
pub(crate) fn start(context: &Context) -> Running {
    let queue = Queue::new();
    let controller = Arc::new(Controller {
        context: context.clone(),
        services: context.caches.get(),
        pods: context.caches.get(),
        slices: context.caches.get(),
        nodes: context.caches.get(),
        looks: Looks::default(),
    });
    let feeds = vec![
        controller.services.observe({
            let queue = queue.clone();
            move |change| queue.add(change.key.clone())
        }),
        controller.slices.observe({
            let (queue, looks) = (queue.clone(), controller.looks.clone());
            move |change| {
                let slice = change.latest().filter(|slice| is_kept(&slice.metadata));
                if let Some(service) = slice.and_then(|slice| service_of(&slice.metadata)) {
                    looks.add(&queue, service);
                }
            }
        }),
        controller.pods.observe({
            let (queue, services) = (queue.clone(), controller.services.clone());
            let looks = controller.looks.clone();
            move |change| pod_changed(&queue, &services, &looks, change)
        }),
        controller.nodes.observe({
            let (queue, services) = (queue.clone(), controller.services.clone());
            move |change| {
                if zone(change.old.as_deref()) != zone(change.new.as_deref()) {
                    let all = services.list();
                    all.iter().for_each(|service| queue.add(write::key(&service.metadata)));
                }
            }
        }),
    ];
    let drive = drive("endpointslice", queue, context.config.workers, move |key| {
        let controller = Arc::clone(&controller);
        async move { settle(controller.reconcile(&key).await) }
    });
    Running { drive, feeds }
}

fn zone(node: Option<&Node>) -> Option<&String> {
    node?.metadata.labels.as_ref()?.get(ZONE)
}

fn is_kept(meta: &ObjectMeta) -> bool {
    let labels = meta.labels.as_ref();
    labels.and_then(|labels| labels.get(MANAGED_BY)).is_some_and(|by| by == CONTROLLER)
}

fn service_of(meta: &ObjectMeta) -> Option<ObjectKey> {
    let service = meta.labels.as_ref()?.get(SERVICE_NAME)?;
    Some(ObjectKey::namespaced(namespace(meta), service))
}

fn selects(service: &Service, meta: &ObjectMeta) -> bool {
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let (Some(selector), Some(labels)) = (selector, &meta.labels) else { return false };
    !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// Adds the Services of a pod, and those that it has just left, when anything they tell changed.
fn pod_changed(
    queue: &Queue<ObjectKey>,
    services: &Cache<Service>,
    looks: &Looks,
    change: &Change<Pod>,
) {
    if let (Some(old), Some(new)) = (&change.old, &change.new)
        && !matters(old, new)
    {
        return;
    }
    let Some(pod) = change.latest() else { return };
    for service in services.list_in(namespace(&pod.metadata)) {
        let mut states = [&change.old, &change.new].into_iter().flatten();
        if states.any(|pod| selects(&service, &pod.metadata)) {
            looks.add(queue, write::key(&service.metadata));
        }
    }
}

impl Controller {
    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, WriteError> {
        self.services.wait_synced().await;
        self.pods.wait_synced().await;
        self.slices.wait_synced().await;
        self.nodes.wait_synced().await;
        let Some(service) = self.services.get_key(key) else {
            self.looks.note(key, 0);
            return Ok(Outcome::Done);
        };
        if !has_selector(&service) {
            return Ok(Outcome::Done);
        }
        for action in reconcile(&self.observe(service)) {
            self.apply(action).await?;
        }
        Ok(Outcome::Done)
    }

    fn observe(&self, service: Arc<Service>) -> Observed {
        let namespace = namespace(&service.metadata);
        let mut pods = self.pods.list_in(namespace);
        pods.retain(|pod| selects(&service, &pod.metadata));
        let mut slices = self.slices.list_in(namespace);
        let key = write::key(&service.metadata);
        self.looks.note(&key, pods.len());
        slices.retain(|slice| {
            is_kept(&slice.metadata) && service_of(&slice.metadata).as_ref() == Some(&key)
        });
        let nodes = pods.iter().filter_map(|pod| pod.spec.as_ref()?.node_name.clone());
        let zones = nodes.filter_map(|name| {
            let node = self.nodes.get(None, &name);
            zone(node.as_deref()).cloned().map(|zone| (name, zone))
        });
        let zones = zones.collect();
        Observed { service, pods, slices, zones }
    }

    async fn apply(&self, action: Action) -> Result<(), WriteError> {
        match action {
            Action::Create(slice) => {
                let api = write::api_of(&self.context.client, &slice.metadata);
                write::create(&api, &self.slices, &*slice).await.map(drop)
            }
            Action::Update(slice) => {
                let api = write::api_of(&self.context.client, &slice.metadata);
                write::replace(&api, &self.slices, &*slice).await
            }
            Action::Delete(slice) => {
                let api = write::api_of::<EndpointSlice>(&self.context.client, &slice.metadata);
                let background = PropagationPolicy::Background;
                write::delete(&api, &self.slices, &slice.metadata, background, None).await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[tokio::test(start_paused = true)]
    async fn a_service_with_many_pods_is_not_looked_at_again_at_once() {
        let at_once = |pods: usize| {
            let service = json!({"metadata": {"name": "web", "namespace": "a"},
                "spec": {"selector": {"app": "web"}}});
            let services = Cache::fixed([serde_json::from_value::<Service>(service).unwrap()]);
            let pod =
                json!({"metadata": {"name": "p", "namespace": "a", "labels": {"app": "web"}}});
            let change = Change {
                key: ObjectKey::namespaced("a", "p"),
                old: None,
                new: Some(serde_json::from_value(pod).map(Arc::new).unwrap()),
            };
            let (queue, looks) = (Queue::new(), Looks::default());
            looks.note(&ObjectKey::namespaced("a", "web"), pods);
            pod_changed(&queue, &services, &looks, &change);
            !queue.is_idle()
        };
        assert!(at_once(0) && at_once(500));
        assert!(!at_once(501));
    }
}
