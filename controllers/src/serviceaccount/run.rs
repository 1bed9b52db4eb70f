//! The edge of the ServiceAccount controller.

use std::sync::Arc;

use coracle_client::{Cache, ObjectKey, Outcome, Queue, Scope, drive};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use kube::core::PartialObjectMeta;

use super::{Action, DEFAULT_ACCOUNT, Observed, ROOT_CA, reconcile};
use crate::context::{Context, Running};
use crate::objects::namespace;
use crate::write::{self, WriteError, settle};

struct Controller {
    context: Context,
    namespaces: Cache<Namespace>,
    accounts: Cache<PartialObjectMeta<ServiceAccount>>,
    root_cas: Cache<ConfigMap>,
}

/// Starts the controller.
pub(crate) fn start(context: &Context) -> Running {
    let queue = Queue::new();
    let scope = Scope::all().fields(format!("metadata.name={ROOT_CA}"));
    let controller = Arc::new(Controller {
        context: context.clone(),
        namespaces: context.caches.get(),
        accounts: context.caches.get(),
        root_cas: Cache::start(&context.client, scope),
    });
    let feeds = vec![
        controller.namespaces.observe({
            let queue = queue.clone();
            move |change| queue.add(change.key.name.clone())
        }),
        controller.accounts.observe({
            let queue = queue.clone();
            move |change| {
                let gone = change.latest().filter(|_| change.new.is_none());
                if gone.is_some() && change.key.name == DEFAULT_ACCOUNT {
                    queue.add(change.key.namespace.clone().unwrap_or_default());
                }
            }
        }),
        controller.root_cas.observe({
            let queue = queue.clone();
            move |change| {
                if let Some(map) = change.latest() {
                    queue.add(namespace(&map.metadata).to_owned());
                }
            }
        }),
    ];
    let drive = drive("serviceaccount", queue, 1, move |name: String| {
        let controller = Arc::clone(&controller);
        async move { settle(controller.reconcile(&name).await) }
    });
    Running { drive, feeds }
}

impl Controller {
    async fn reconcile(&self, name: &str) -> Result<Outcome, WriteError> {
        self.namespaces.wait_synced().await;
        self.accounts.wait_synced().await;
        self.root_cas.wait_synced().await;
        let Some(namespace) = self.namespaces.get_key(&ObjectKey::cluster(name)) else {
            return Ok(Outcome::Done);
        };
        let observed = Observed {
            namespace,
            has_account: self.accounts.get(Some(name), DEFAULT_ACCOUNT).is_some(),
            root_ca: self.root_cas.get(Some(name), ROOT_CA),
            wanted_ca: self.context.config.root_ca.clone(),
        };
        for action in reconcile(&observed) {
            match self.apply(name, action).await {
                // Another server made it, or admission did.
                Err(error) if error.is_exists() || error.is_namespace_terminating() => {}
                other => other?,
            }
        }
        Ok(Outcome::Done)
    }

    async fn apply(&self, name: &str, action: Action) -> Result<(), WriteError> {
        let maps = self.context.client.namespaced(name);
        match action {
            Action::CreateAccount(account) => {
                let api = self.context.client.namespaced(name);
                write::create_untold(&api, &*account).await
            }
            Action::CreateRootCa(map) => {
                write::create(&maps, &self.root_cas, &*map).await.map(drop)
            }
            Action::UpdateRootCa(map) => write::replace(&maps, &self.root_cas, &*map).await,
        }
    }
}
