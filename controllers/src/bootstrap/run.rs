//! The edge of the controller of bootstrap tokens.

use std::sync::Arc;
use std::time::Duration;

use coracle_client::{Cache, Outcome, Queue, Scope, drive};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::PropagationPolicy;

use super::{CLUSTER_INFO, PUBLIC_NAMESPACE, Token, cluster_info, expired, public_kubeconfig};
use crate::context::{Context, Running};
use crate::write::{self, WriteError, settle};

struct Controller {
    context: Context,
    kubeconfig: Option<String>,
    secrets: Cache<Secret>,
    maps: Cache<ConfigMap>,
}

/// Starts the controller, which has one key. Without an authority or a server's address in the
/// configuration it makes no `cluster-info`.
pub(crate) fn start(context: &Context) -> Running {
    let queue = Queue::new();
    let config = &context.config;
    let known = config.server_url.as_ref().zip(config.root_ca.as_ref());
    let secrets = Scope::all()
        .in_namespace(super::token::NAMESPACE)
        .fields(format!("type={}", super::token::SECRET_TYPE));
    let maps =
        Scope::all().in_namespace(PUBLIC_NAMESPACE).fields(format!("metadata.name={CLUSTER_INFO}"));
    let controller = Arc::new(Controller {
        context: context.clone(),
        kubeconfig: known.map(|(server, authority)| public_kubeconfig(server, authority)),
        secrets: Cache::start(&context.client, secrets),
        maps: Cache::start(&context.client, maps),
    });
    let again = |queue: &Queue<()>| {
        let queue = queue.clone();
        move || queue.add(())
    };
    let (of_secrets, of_maps) = (again(&queue), again(&queue));
    let feeds = vec![
        controller.secrets.observe(move |_| of_secrets()),
        controller.maps.observe(move |_| of_maps()),
    ];
    queue.add(());
    let drive = drive("bootstrapsigner", queue, 1, move |()| {
        let controller = Arc::clone(&controller);
        async move { settle(controller.reconcile().await) }
    });
    Running { drive, feeds }
}

impl Controller {
    #[expect(clippy::disallowed_methods, reason = "the edge that turns the clock into an input")]
    async fn reconcile(&self) -> Result<Outcome, WriteError> {
        self.secrets.wait_synced().await;
        self.maps.wait_synced().await;
        let now = Timestamp::now();
        let secrets = self.secrets.list();
        let (gone, next) = expired(secrets.iter().map(|secret| &**secret), now);
        for secret in gone {
            let api = self.context.client.namespaced(super::token::NAMESPACE);
            let how = PropagationPolicy::Background;
            write::delete(&api, &self.secrets, &secret.metadata, how, None).await?;
        }
        if let Some(kubeconfig) = &self.kubeconfig {
            let tokens: Vec<Token> = secrets.iter().filter_map(|s| Token::read(s)).collect();
            self.publish(kubeconfig, &tokens, now).await?;
        }
        let wait = next.map(|next| Duration::try_from(next.duration_since(now)));
        Ok(Outcome::after(wait.map(Result::unwrap_or_default)))
    }

    async fn publish(
        &self,
        kubeconfig: &str,
        tokens: &[Token],
        now: Timestamp,
    ) -> Result<(), WriteError> {
        let current = self.maps.get(Some(PUBLIC_NAMESPACE), CLUSTER_INFO);
        let Some(map) = cluster_info(current.as_deref(), kubeconfig, tokens, now) else {
            return Ok(());
        };
        let api = self.context.client.namespaced(PUBLIC_NAMESPACE);
        match current {
            Some(_) => write::replace(&api, &self.maps, &map).await,
            None => write::create(&api, &self.maps, &map).await.map(drop),
        }
    }
}
