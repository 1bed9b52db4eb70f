//! Serves the Gateway API's kinds from the first start on, and writes statuses; runs beside the
//! controllers.

use std::sync::Arc;
use std::time::Duration;

use coracle_client::{Cache, Caches, Change, Client, Failure, Scope, Subscription};
use k8s_openapi::api::core::v1::{Node, Secret, Service};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::follow::Following;
use super::objects::{CONTROLLER, GROUP};
use super::status::{Surroundings, of_class, of_gateway, of_route};
use super::world::World;
use crate::front::certificates;
use crate::front::routes::SecretKey;
use crate::table::ServiceKey;

/// The kinds, as `network/crds/generate` makes them of the published module.
const DEFINITIONS: &str = include_str!("../../crds/gateway.json");

/// Time between two tries to write something.
const RETRY: Duration = Duration::from_millis(500);

/// Changes within this time are looked at together.
const GATHER: Duration = Duration::from_millis(20);

/// Nodes that are not to be told to clients. *Source:* Kubernetes, "Well-known labels".
const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// Addresses in one status, as many as the API allows.
const ADDRESSES_MAX: usize = 16;

/// Writes statuses until it is dropped.
#[derive(Debug)]
pub struct Publishing(JoinHandle<()>);

impl Drop for Publishing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts: makes the definitions of the kinds and the class `coracle` where they are missing, and
/// then follows. With several servers, call it only while holding the lease. Needs a tokio runtime.
#[must_use = "nothing is written any more when it is dropped"]
pub fn start(caches: &Caches) -> Publishing {
    let caches = caches.clone();
    Publishing(tokio::spawn(async move {
        let client = caches.client().clone();
        install(&client).await;
        Publisher::new(&caches).run().await;
    }))
}

/// Makes what is missing. What is there stays as it is: somebody may have put a newer version there.
async fn install(client: &Client) {
    let definitions: Vec<CustomResourceDefinition> = match serde_json::from_str(DEFINITIONS) {
        Ok(definitions) => definitions,
        Err(error) => {
            tracing::error!(%error, "the built-in definitions of the Gateway API cannot be read");
            return;
        }
    };
    for definition in &definitions {
        create(&client.cluster(), definition).await;
    }
    let class = json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "GatewayClass", "metadata": {"name": "coracle"},
        "spec": {"controllerName": CONTROLLER},
    });
    let Ok(class) = serde_json::from_value::<DynamicObject>(class) else { return };
    create(&Api::all_with(client.kube(), &resource("GatewayClass", "gatewayclasses")), &class)
        .await;
}

async fn create<K>(api: &Api<K>, object: &K)
where
    K: Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    loop {
        match api.create(&PostParams::default(), object).await {
            Ok(_) => return,
            Err(error) if error.is_already_exists() => return,
            Err(kube::Error::Api(status)) if status.code == 422 => {
                tracing::error!(message = status.message, "a part of the Gateway API is not valid");
                return;
            }
            // A kind is served a moment after its definition is there.
            Err(error) => tracing::debug!(error = error.message(), "not made yet"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

fn resource(kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, "v1", kind), plural)
}

struct Publisher {
    client: Client,
    following: Following,
    services: Cache<Service>,
    nodes: Cache<Node>,
    secrets: Cache<Secret>,
}

impl Publisher {
    fn new(caches: &Caches) -> Self {
        let client = caches.client().clone();
        // Only Secrets that can hold certificates: others are nobody's business here.
        let scope = Scope::all().fields("type=kubernetes.io/tls");
        Self {
            secrets: Cache::start(&client, scope),
            following: Following::new(caches),
            services: caches.get(),
            nodes: caches.get(),
            client,
        }
    }

    async fn run(self) {
        let changed = Arc::new(Notify::new());
        let _following = self.observe(&changed);
        self.following.wait_synced().await;
        self.services.wait_synced().await;
        self.nodes.wait_synced().await;
        self.secrets.wait_synced().await;
        loop {
            if !self.publish().await {
                tokio::time::sleep(RETRY).await;
                continue;
            }
            changed.notified().await;
            tokio::time::sleep(GATHER).await;
        }
    }

    fn observe(&self, changed: &Arc<Notify>) -> Vec<Subscription> {
        let mut all = self.following.observe(changed);
        let note = || Arc::clone(changed);
        all.push(self.services.observe({
            let changed = note();
            move |change: &Change<Service>| {
                let ports = |one: &Option<Arc<Service>>| {
                    one.as_ref().map(|one| one.spec.as_ref().and_then(|spec| spec.ports.clone()))
                };
                if ports(&change.old) != ports(&change.new) {
                    changed.notify_one();
                }
            }
        }));
        all.push(self.nodes.observe({
            let changed = note();
            move |change: &Change<Node>| {
                let at = |one: &Option<Arc<Node>>| one.as_ref().map(|one| addresses_of(one));
                if at(&change.old) != at(&change.new) {
                    changed.notify_one();
                }
            }
        }));
        all.push(self.secrets.observe({
            let changed = note();
            move |_| changed.notify_one()
        }));
        all
    }

    /// Writes every status that differs; `false` if some could not be written.
    async fn publish(&self) -> bool {
        let mut done = true;
        for write in self.writes() {
            let Write { kind, plural, metadata, status } = write;
            let api: Api<DynamicObject> = match &metadata.namespace {
                Some(namespace) => {
                    Api::namespaced_with(self.client.kube(), namespace, &resource(kind, plural))
                }
                None => Api::all_with(self.client.kube(), &resource(kind, plural)),
            };
            let name = metadata.name.as_deref().unwrap_or_default();
            // Guarded by the revision: a status is of the object that was looked at.
            let patch = json!({
                "metadata": {"resourceVersion": metadata.resource_version}, "status": status,
            });
            let patched =
                api.patch_status(name, &PatchParams::default(), &Patch::Merge(&patch)).await;
            if let Err(error) = patched
                && !error.is_not_found()
            {
                tracing::debug!(kind, name, error = error.message(), "a status is not written yet");
                done = false;
            }
        }
        done
    }

    fn writes(&self) -> Vec<Write> {
        let objects = self.following.objects();
        let services = |key: &ServiceKey| self.services.get(Some(&key.namespace), &key.name);
        let labels = |namespace: &str| self.following.labels(namespace);
        let world = World { objects: &objects, services: &services, labels: &labels };
        let now = now();
        let addresses = self.addresses();
        let is_certificate = |(namespace, name): &SecretKey| {
            let secret = self.secrets.get(Some(namespace), name);
            secret.is_some_and(|secret| certificates::read(&secret).is_ok())
        };
        let with =
            Surroundings { addresses: &addresses, is_certificate: &is_certificate, now: &now };
        let mut writes = Vec::new();
        for class in objects.classes.iter().filter(|one| one.spec.controller_name == CONTROLLER) {
            let place = ("GatewayClass", "gatewayclasses");
            writes.extend(Write::of(place, &class.metadata, &class.status, of_class(class, &now)));
        }
        for gateway in world.gateways() {
            let status = of_gateway(&world, gateway, &with);
            let place = ("Gateway", "gateways");
            writes.extend(Write::of(place, &gateway.metadata, &gateway.status, status));
        }
        for route in world.routes() {
            let Some(status) = of_route(&world, &route, &now) else { continue };
            let place = match route.kind {
                super::world::RouteKind::Http => ("HTTPRoute", "httproutes"),
                super::world::RouteKind::Grpc => ("GRPCRoute", "grpcroutes"),
                super::world::RouteKind::Tls => ("TLSRoute", "tlsroutes"),
            };
            writes.extend(Write::of(place, route.metadata, route.status, status));
        }
        writes
    }

    fn addresses(&self) -> Vec<String> {
        let nodes = self.nodes.list();
        let mut all: Vec<String> = nodes.iter().flat_map(|node| addresses_of(node)).collect();
        all.sort();
        all.dedup();
        all.truncate(ADDRESSES_MAX);
        all
    }
}

/// A status to write.
struct Write {
    kind: &'static str,
    plural: &'static str,
    metadata: ObjectMeta,
    status: Value,
}

impl Write {
    /// `None` if the object says all of it already. Fields that others keep in the status stay.
    fn of(
        (kind, plural): (&'static str, &'static str),
        metadata: &ObjectMeta,
        said: &Value,
        status: Value,
    ) -> Option<Self> {
        let fields = status.as_object()?;
        let same = fields.iter().all(|(name, value)| said.get(name) == Some(value));
        (!same).then(|| Self { kind, plural, metadata: metadata.clone(), status })
    }
}

/// The addresses by which clients reach a node: its external ones, or else its internal ones; none
/// while it is not Ready or is kept out.
fn addresses_of(node: &Node) -> Vec<String> {
    let labels = node.metadata.labels.as_ref();
    let Some(status) = &node.status else { return Vec::new() };
    let mut conditions = status.conditions.iter().flatten();
    let ready = conditions.any(|one| one.type_ == "Ready" && one.status == "True");
    if !ready || labels.is_some_and(|all| all.contains_key(EXCLUDED)) {
        return Vec::new();
    }
    let of = |kind: &str| {
        let all = status.addresses.iter().flatten().filter(|address| address.type_ == kind);
        all.map(|address| address.address.clone()).collect::<Vec<_>>()
    };
    let external = of("ExternalIP");
    if external.is_empty() { of("InternalIP") } else { external }
}

#[expect(clippy::disallowed_methods, reason = "the time at which a condition was seen")]
fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
