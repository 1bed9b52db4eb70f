//! The edge of the namespace controller: counts by list, deletes by collection.

use std::sync::Arc;

use coracle_api::registry::{Kind, kinds};
use coracle_client::{Cache, Change, Failure, ObjectKey, Outcome, Queue, drive};
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use kube::api::{DeleteParams, ListParams, ObjectMeta, PropagationPolicy};
use kube::core::Request;
use serde::Deserialize;
use serde_json::json;

use super::{Action, Content, FINALIZER, Found, Observed, reconcile};
use crate::context::{Context, Running};
use crate::objects::{is_deleting, name};
use crate::write::{self, WriteError, settle};

/// Objects counted of one kind; more are counted in the next round.
const COUNTED_MAX: u32 = 500;

struct Controller {
    context: Context,
    namespaces: Cache<Namespace>,
    definitions: Cache<CustomResourceDefinition>,
}

#[derive(Deserialize)]
struct Page {
    metadata: ListMeta,
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    metadata: ObjectMeta,
}

/// Starts the controller.
pub(crate) fn start(context: &Context) -> Running {
    let queue = Queue::new();
    let namespaces: Cache<Namespace> = context.caches.get();
    let pods: Cache<Pod> = context.caches.get();
    let feeds = vec![
        namespaces.observe({
            let queue = queue.clone();
            move |change| {
                let new = change.new.as_ref();
                if new.is_some_and(|namespace| is_deleting(&namespace.metadata)) {
                    queue.add(change.key.name.clone());
                }
            }
        }),
        pods.observe({
            let (queue, namespaces) = (queue.clone(), namespaces.clone());
            move |change| pod_changed(&queue, &namespaces, change)
        }),
    ];
    let controller = Arc::new(Controller {
        context: context.clone(),
        namespaces,
        definitions: context.caches.get(),
    });
    let drive = drive("namespace", queue, context.config.workers, move |name: String| {
        let controller = Arc::clone(&controller);
        async move { settle(controller.reconcile(&name).await) }
    });
    Running { drive, feeds }
}

/// A pod that went may have been the last thing that its namespace waited for.
fn pod_changed(queue: &Queue<String>, namespaces: &Cache<Namespace>, change: &Change<Pod>) {
    let Some(namespace) = change.key.namespace.as_ref().filter(|_| change.new.is_none()) else {
        return;
    };
    if namespaces.get(None, namespace).is_some_and(|found| is_deleting(&found.metadata)) {
        queue.add(namespace.clone());
    }
}

/// A kind that lives in namespaces.
struct Place {
    /// `deployments.apps`.
    resource: String,
    /// `/apis/apps/v1`.
    root: String,
    plural: String,
}

impl Place {
    fn of(kind: &Kind) -> Place {
        let root = if kind.group.is_empty() { "/api" } else { "/apis" };
        Place {
            resource: kind.group_resource().to_string(),
            root: format!("{root}/{}", kind.api_version()),
            plural: kind.plural.to_owned(),
        }
    }

    /// Gives the kind that a definition defines, in the version in which its objects are kept.
    fn defined(definition: &CustomResourceDefinition) -> Option<Place> {
        let spec = &definition.spec;
        let version = spec.versions.iter().find(|version| version.storage && version.served);
        let version = version.or_else(|| spec.versions.iter().find(|version| version.served))?;
        (spec.scope == "Namespaced").then(|| Place {
            resource: format!("{}.{}", spec.names.plural, spec.group),
            root: format!("/apis/{}/{}", spec.group, version.name),
            plural: spec.names.plural.clone(),
        })
    }

    fn request(&self, namespace: &str) -> Request {
        Request::new(format!("{}/namespaces/{namespace}/{}", self.root, self.plural))
    }
}

impl Controller {
    #[expect(clippy::disallowed_methods, reason = "the edge that turns the clock into an input")]
    async fn reconcile(&self, name: &str) -> Result<Outcome, WriteError> {
        let key = ObjectKey::cluster(name);
        let Some(namespace) = self.namespaces.get_key(&key) else { return Ok(Outcome::Done) };
        if !is_deleting(&namespace.metadata) {
            return Ok(Outcome::Done);
        }
        self.definitions.wait_synced().await;
        let places = self.contained();
        let contents = join_all(places.iter().map(|place| self.count(place, name))).await;
        let observed = Observed { namespace, contents };
        let mut outcome = Outcome::Done;
        for action in reconcile(&observed, Timestamp::now()) {
            if let Action::RequeueAfter(wait) = action {
                outcome = Outcome::RequeueAfter(wait);
            } else {
                self.apply(&observed.namespace, action).await?;
            }
        }
        Ok(outcome)
    }

    /// The kinds that live in namespaces, those of users among them.
    fn contained(&self) -> Vec<Place> {
        let built_in = kinds().iter();
        let built_in =
            built_in.filter(|kind| kind.namespaced && kind.verbs.contains(&"deletecollection"));
        let defined = self.definitions.list();
        let defined = defined.iter().filter_map(|definition| Place::defined(definition));
        built_in.map(Place::of).chain(defined).collect()
    }

    async fn count(&self, place: &Place, namespace: &str) -> Content {
        let found = match self.look(place, namespace).await {
            // A definition that is not served yet, or no more, has no objects.
            Err(error) if error.is_not_found() => Ok(Found::default()),
            other => other.map_err(|error| error.message()),
        };
        Content { resource: place.resource.clone(), found }
    }

    async fn look(&self, place: &Place, namespace: &str) -> Result<Found, kube::Error> {
        let parameters = ListParams { limit: Some(COUNTED_MAX), ..ListParams::default() };
        let list = place.request(namespace).list_metadata(&parameters);
        let page: Page =
            self.context.client.kube().request(list.map_err(kube::Error::BuildRequest)?).await?;
        let mut found = Found::default();
        let more = page.metadata.remaining_item_count.and_then(|n| usize::try_from(n).ok());
        found.n_all = page.items.len() + more.unwrap_or(0);
        for item in page.items {
            found.n_undeleted += usize::from(!is_deleting(&item.metadata));
            for finalizer in item.metadata.finalizers.into_iter().flatten() {
                *found.finalizers.entry(finalizer).or_default() += 1;
            }
        }
        Ok(found)
    }

    async fn apply(&self, namespace: &Namespace, action: Action) -> Result<(), WriteError> {
        let api = self.context.client.cluster();
        match action {
            Action::DeleteAll(resource) => {
                self.delete_all(&resource, name(&namespace.metadata)).await;
                Ok(())
            }
            Action::SetConditions(conditions) => {
                let body = json!({"status": {"conditions": conditions}});
                write::patch_status(&api, &self.namespaces, &namespace.metadata, &body).await
            }
            Action::Finalize => {
                let mut freed = namespace.clone();
                if let Some(spec) = &mut freed.spec {
                    spec.finalizers = spec.finalizers.take().map(|mut finalizers| {
                        finalizers.retain(|finalizer| finalizer != FINALIZER);
                        finalizers
                    });
                }
                write::finalize(&self.context.client, &self.namespaces, &freed).await
            }
            Action::RequeueAfter(_) => Ok(()),
        }
    }

    /// Deletes what there is; what could not be deleted shows when it is counted again.
    async fn delete_all(&self, resource: &str, namespace: &str) {
        let places = self.contained();
        let Some(place) = places.iter().find(|place| place.resource == resource) else { return };
        let parameters = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            ..DeleteParams::default()
        };
        let all = ListParams::default();
        let Ok(delete) = place.request(namespace).delete_collection(&parameters, &all) else {
            return;
        };
        if let Err(error) = self.context.client.kube().request_text(delete).await {
            tracing::warn!(namespace, resource, error = error.message(), "content not deleted");
        }
    }
}
