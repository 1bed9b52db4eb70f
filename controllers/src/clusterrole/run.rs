//! The edge of the ClusterRole controller.

use std::sync::Arc;

use coracle_client::{Cache, Outcome, Queue, drive};
use k8s_openapi::api::rbac::v1::ClusterRole;

use super::reconcile;
use crate::context::{Context, Running};
use crate::write::{self, WriteError, settle};

struct Controller {
    context: Context,
    roles: Cache<ClusterRole>,
}

/// Starts the controller; its keys are names of roles that are sums.
pub(crate) fn start(context: &Context) -> Running {
    let queue = Queue::new();
    let controller = Arc::new(Controller { context: context.clone(), roles: context.caches.get() });
    let feeds = vec![controller.roles.observe({
        let (queue, roles) = (queue.clone(), controller.roles.clone());
        // Any role may be part of any sum, and there are few sums.
        move |change| {
            let own = change.new.clone();
            for role in roles.list().into_iter().chain(own) {
                if role.aggregation_rule.is_some() {
                    queue.add(role.metadata.name.clone().unwrap_or_default());
                }
            }
        }
    })];
    let drive = drive("clusterrole-aggregation", queue, 1, move |name: String| {
        let controller = Arc::clone(&controller);
        async move { settle(controller.reconcile(&name).await) }
    });
    Running { drive, feeds }
}

impl Controller {
    async fn reconcile(&self, name: &str) -> Result<Outcome, WriteError> {
        self.roles.wait_synced().await;
        let Some(role) = self.roles.get(None, name) else { return Ok(Outcome::Done) };
        if let Some(fresh) = reconcile(&role, &self.roles.list()) {
            let api = self.context.client.cluster();
            write::replace(&api, &self.roles, &fresh).await?;
        }
        Ok(Outcome::Done)
    }
}
