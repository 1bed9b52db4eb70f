//! The edge of the Endpoints controller: observes caches, carries the actions out.

use std::sync::Arc;
use std::time::Duration;

use coracle_client::{Cache, Index, ObjectKey, Outcome, Queue, drive};
use k8s_openapi::api::core::v1::{Endpoints, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::PropagationPolicy;

use super::{Action, Observed, label, reconcile};
use crate::context::{Context, Running};
use crate::endpointslice::SERVICE_NAME;
use crate::objects::namespace;
use crate::write::{self, WriteError, settle};

/// How long changes of slices are gathered: Endpoints are one object, written whole each time.
const GATHER: Duration = Duration::from_millis(250);

struct Controller {
    context: Context,
    services: Cache<Service>,
    endpoints: Cache<Endpoints>,
    slices: Cache<EndpointSlice>,
    by_service: Index<EndpointSlice>,
}

/// Starts the controller.
pub(crate) fn start(context: &Context) -> Running {
    let queue = Queue::new();
    let slices: Cache<EndpointSlice> = context.caches.get();
    let controller = Arc::new(Controller {
        context: context.clone(),
        services: context.caches.get(),
        endpoints: context.caches.get(),
        by_service: Index::of(&slices, |slice| label(&slice.metadata, SERVICE_NAME)),
        slices,
    });
    let feeds = vec![
        controller.services.observe({
            let queue = queue.clone();
            move |change| queue.add(change.key.clone())
        }),
        controller.endpoints.observe({
            let queue = queue.clone();
            move |change| queue.add(change.key.clone())
        }),
        controller.slices.observe({
            let queue = queue.clone();
            move |change| {
                let Some(slice) = change.latest() else { return };
                if let Some(service) = label(&slice.metadata, SERVICE_NAME) {
                    let key = ObjectKey::namespaced(namespace(&slice.metadata), service);
                    queue.add_after(key, GATHER);
                }
            }
        }),
    ];
    let drive = drive("endpoints", queue, context.config.workers, move |key| {
        let controller = Arc::clone(&controller);
        async move { settle(controller.reconcile(&key).await) }
    });
    Running { drive, feeds }
}

impl Controller {
    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, WriteError> {
        self.services.wait_synced().await;
        self.endpoints.wait_synced().await;
        self.slices.wait_synced().await;
        let mut slices = self.by_service.get(&key.name);
        slices.retain(|slice| slice.metadata.namespace == key.namespace);
        let observed = Observed {
            service: self.services.get_key(key),
            endpoints: self.endpoints.get_key(key),
            slices,
        };
        for action in reconcile(&observed) {
            self.apply(action).await?;
        }
        Ok(Outcome::Done)
    }

    async fn apply(&self, action: Action) -> Result<(), WriteError> {
        let client = &self.context.client;
        let background = PropagationPolicy::Background;
        match action {
            Action::Create(new) => {
                let api = write::api_of(client, &new.metadata);
                write::create(&api, &self.endpoints, &*new).await.map(drop)
            }
            Action::Update(new) => {
                let api = write::api_of(client, &new.metadata);
                write::replace(&api, &self.endpoints, &*new).await
            }
            Action::Delete(old) => {
                let api = write::api_of::<Endpoints>(client, &old.metadata);
                write::delete(&api, &self.endpoints, &old.metadata, background, None).await
            }
            Action::CreateSlice(slice) => {
                let api = write::api_of(client, &slice.metadata);
                write::create(&api, &self.slices, &*slice).await.map(drop)
            }
            Action::UpdateSlice(slice) => {
                let api = write::api_of(client, &slice.metadata);
                write::replace(&api, &self.slices, &*slice).await
            }
            Action::DeleteSlice(slice) => {
                let api = write::api_of::<EndpointSlice>(client, &slice.metadata);
                write::delete(&api, &self.slices, &slice.metadata, background, None).await
            }
        }
    }
}
