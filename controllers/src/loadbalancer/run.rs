//! The edge of the load balancer controller: observes Services, Ingresses and Nodes, writes statuses.

use std::sync::Arc;

use coracle_client::{Cache, Change, Index, ObjectKey, Outcome, Queue, Subscription, drive};
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use serde_json::{Value, json};

use super::{addresses_of, is_balanced, of_ingress, of_service};
use crate::context::{Context, Running};
use crate::endpointslice::SERVICE_NAME;
use crate::objects::{is_deleting, namespace};
use crate::write::{self, WriteError, merge_patch, settle};

struct Services {
    context: Context,
    services: Cache<Service>,
    nodes: Cache<Node>,
    slices: Cache<EndpointSlice>,
    by_service: Index<EndpointSlice>,
}

/// Starts the part for Services.
pub(crate) fn start_services(context: &Context) -> Running {
    let queue = Queue::new();
    let slices: Cache<EndpointSlice> = context.caches.get();
    let controller = Arc::new(Services {
        context: context.clone(),
        services: context.caches.get(),
        nodes: context.caches.get(),
        by_service: Index::of(&slices, |slice| {
            slice.metadata.labels.as_ref()?.get(SERVICE_NAME).map(String::as_str)
        }),
        slices,
    });
    let feeds = vec![
        controller.services.observe({
            let queue = queue.clone();
            move |change| {
                if change.latest().is_some_and(|service| concerns(service)) {
                    queue.add(change.key.clone());
                }
            }
        }),
        follow_nodes(&controller.nodes, {
            let (queue, services) = (queue.clone(), controller.services.clone());
            move || {
                for service in services.list().iter().filter(|service| is_balanced(service)) {
                    queue.add(write::key(&service.metadata));
                }
            }
        }),
        controller.slices.observe({
            let (queue, services) = (queue.clone(), controller.services.clone());
            move |change| {
                let Some(slice) = change.latest() else { return };
                let labels = slice.metadata.labels.as_ref();
                let Some(service) = labels.and_then(|all| all.get(SERVICE_NAME)) else { return };
                let key = ObjectKey::namespaced(namespace(&slice.metadata), service);
                if services.get_key(&key).is_some_and(|service| is_balanced(&service)) {
                    queue.add(key);
                }
            }
        }),
    ];
    let drive = drive("loadbalancer", queue, 1, move |key| {
        let controller = Arc::clone(&controller);
        async move { settle(controller.reconcile(&key).await) }
    });
    Running { drive, feeds }
}

/// A Service that is balanced, or whose status still says that it was.
fn concerns(service: &Service) -> bool {
    let told = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    is_balanced(service) || told.is_some_and(|told| told.ingress.is_some())
}

impl Services {
    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, WriteError> {
        self.services.wait_synced().await;
        self.nodes.wait_synced().await;
        self.slices.wait_synced().await;
        let Some(service) = self.services.get_key(key) else { return Ok(Outcome::Done) };
        if is_deleting(&service.metadata) {
            return Ok(Outcome::Done);
        }
        let mut slices = self.by_service.get(&key.name);
        slices.retain(|slice| slice.metadata.namespace == key.namespace);
        let wanted = of_service(&service, &self.nodes.list(), &slices);
        let told = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
        if let Some(patch) = wanted.and_then(|wanted| difference(told, &wanted)) {
            let api = write::api_of(&self.context.client, &service.metadata);
            write::patch_status(&api, &self.services, &service.metadata, &patch).await?;
        }
        Ok(Outcome::Done)
    }
}

struct Ingresses {
    context: Context,
    ingresses: Cache<Ingress>,
    classes: Cache<IngressClass>,
    nodes: Cache<Node>,
}

/// Starts the part for Ingresses.
pub(crate) fn start_ingresses(context: &Context) -> Running {
    let queue = Queue::new();
    let controller = Arc::new(Ingresses {
        context: context.clone(),
        ingresses: context.caches.get(),
        classes: context.caches.get(),
        nodes: context.caches.get(),
    });
    let all = {
        let (queue, ingresses) = (queue.clone(), controller.ingresses.clone());
        move || {
            for ingress in ingresses.list() {
                queue.add(write::key(&ingress.metadata));
            }
        }
    };
    let feeds = vec![
        controller.ingresses.observe({
            let queue = queue.clone();
            move |change| queue.add(change.key.clone())
        }),
        controller.classes.observe({
            let all = all.clone();
            move |_| all()
        }),
        follow_nodes(&controller.nodes, all),
    ];
    let drive = drive("ingress", queue, 1, move |key| {
        let controller = Arc::clone(&controller);
        async move { settle(controller.reconcile(&key).await) }
    });
    Running { drive, feeds }
}

impl Ingresses {
    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, WriteError> {
        self.ingresses.wait_synced().await;
        self.classes.wait_synced().await;
        self.nodes.wait_synced().await;
        let Some(ingress) = self.ingresses.get_key(key) else { return Ok(Outcome::Done) };
        if is_deleting(&ingress.metadata) {
            return Ok(Outcome::Done);
        }
        let wanted = of_ingress(&ingress, &self.classes.list(), &self.nodes.list());
        let told = ingress.status.as_ref().and_then(|status| status.load_balancer.as_ref());
        if let Some(patch) = wanted.and_then(|wanted| difference(told, &wanted)) {
            let api = write::api_of(&self.context.client, &ingress.metadata);
            write::patch_status(&api, &self.ingresses, &ingress.metadata, &patch).await?;
        }
        Ok(Outcome::Done)
    }
}

/// Calls when the addresses of a node change, which its heartbeats do not.
fn follow_nodes(nodes: &Cache<Node>, then: impl Fn() + Send + Sync + 'static) -> Subscription {
    nodes.observe(move |change: &Change<Node>| {
        let at = |node: &Option<Arc<Node>>| node.as_ref().map(|node| addresses_of(node));
        if at(&change.old) != at(&change.new) {
            then();
        }
    })
}

/// The merge patch that makes a status say what it should; `None` if it says so.
fn difference(told: Option<&impl serde::Serialize>, wanted: &Value) -> Option<Value> {
    // A typed status always has a JSON form.
    let told = told.and_then(|told| serde_json::to_value(told).ok()).unwrap_or_else(|| json!({}));
    (told != *wanted).then(|| json!({"status": {"loadBalancer": merge_patch(&told, wanted)}}))
}
