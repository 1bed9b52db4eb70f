//! The edge of the quota controller: hears what goes, counts by list, writes the status.

use std::sync::Arc;
use std::time::Duration;

use coracle_api::quota::{Amounts, counts, usage};
use coracle_api::registry::{Kind, kinds};
use coracle_client::cache::Object;
use coracle_client::{Cache, Change, Failure, ObjectKey, Outcome, Queue, Subscription, drive};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{
    ConfigMap, PersistentVolumeClaim, Pod, ReplicationController, ResourceQuota, Secret, Service,
};
use kube::api::ListParams;
use kube::core::{PartialObjectMeta, Request};
use serde_json::{Value, json};

use super::{Observed, counted_kinds, reconcile};
use crate::context::{Context, Running};
use crate::objects::{is_deleting, is_terminal, namespace};
use crate::write::{self, WriteError, settle};

/// How long things that go are gathered before they are counted together.
const GATHER: Duration = Duration::from_millis(200);

/// How often kinds that nobody follows here are counted. *Source:* kube-controller-manager's
/// `--resource-quota-sync-period`.
const RECOUNT: Duration = Duration::from_secs(300);

struct Controller {
    context: Context,
    quotas: Cache<ResourceQuota>,
}

/// Starts the controller.
pub(crate) fn start(context: &Context) -> Running {
    let queue = Queue::new();
    let quotas: Cache<ResourceQuota> = context.caches.get();
    let mut feeds = vec![
        quotas.observe({
            let queue = queue.clone();
            move |change| quota_changed(&queue, change)
        }),
        context.caches.get::<Pod>().observe({
            let (queue, quotas) = (queue.clone(), quotas.clone());
            move |change| {
                let over = |pod: &Arc<Pod>| is_terminal(pod);
                let ended = change.new.as_ref().is_none_or(over);
                if ended && !change.old.as_ref().is_some_and(over) {
                    freed(&queue, &quotas, change);
                }
            }
        }),
    ];
    feeds.push(follow::<Service>(context, &queue, &quotas));
    feeds.push(follow::<PersistentVolumeClaim>(context, &queue, &quotas));
    feeds.push(follow::<ReplicationController>(context, &queue, &quotas));
    feeds.push(follow::<Deployment>(context, &queue, &quotas));
    feeds.push(follow::<ReplicaSet>(context, &queue, &quotas));
    feeds.push(follow::<StatefulSet>(context, &queue, &quotas));
    feeds.push(follow::<DaemonSet>(context, &queue, &quotas));
    feeds.push(follow::<Job>(context, &queue, &quotas));
    feeds.push(follow::<CronJob>(context, &queue, &quotas));
    feeds.push(follow::<PartialObjectMeta<ConfigMap>>(context, &queue, &quotas));
    feeds.push(follow::<PartialObjectMeta<Secret>>(context, &queue, &quotas));
    let controller = Arc::new(Controller { context: context.clone(), quotas });
    let drive = drive("resourcequota", queue, 1, move |key| {
        let controller = Arc::clone(&controller);
        async move { settle(controller.reconcile(&key).await) }
    });
    Running { drive, feeds }
}

/// A quota is counted when it is new or limits something else; charges are admission's.
fn quota_changed(queue: &Queue<ObjectKey>, change: &Change<ResourceQuota>) {
    let hard = |quota: &Arc<ResourceQuota>| quota.spec.clone();
    if change.new.is_some() && change.old.as_ref().map(hard) != change.new.as_ref().map(hard) {
        queue.add(change.key.clone());
    }
}

fn follow<K: Object>(
    context: &Context,
    queue: &Queue<ObjectKey>,
    quotas: &Cache<ResourceQuota>,
) -> Subscription {
    let (queue, quotas) = (queue.clone(), quotas.clone());
    context.caches.get::<K>().observe(move |change| {
        if change.new.is_none() {
            freed(&queue, &quotas, change);
        }
    })
}

fn freed<K>(queue: &Queue<ObjectKey>, quotas: &Cache<ResourceQuota>, change: &Change<K>) {
    let Some(space) = change.key.namespace.as_deref() else { return };
    for quota in quotas.list_in(space) {
        queue.add_after(write::key(&quota.metadata), GATHER);
    }
}

impl Controller {
    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, WriteError> {
        self.quotas.wait_synced().await;
        let Some(quota) = self.quotas.get_key(key) else { return Ok(Outcome::Done) };
        if is_deleting(&quota.metadata) {
            return Ok(Outcome::Done);
        }
        let used = self.count(&quota).await;
        let is_known = used.is_some();
        let observed = Observed { quota, used };
        if let Some(status) = reconcile(&observed) {
            let meta = &observed.quota.metadata;
            let api = write::api_of(&self.context.client, meta);
            // What admission charged meanwhile may not be written over.
            let body = json!({"metadata": {"resourceVersion": meta.resource_version},
                "status": write::difference(observed.quota.status.as_ref(), &status)});
            write::patch_status(&api, &self.quotas, meta, &body).await?;
        }
        Ok(if is_known { Outcome::RequeueAfter(RECOUNT) } else { Outcome::Retry })
    }

    async fn count(&self, quota: &ResourceQuota) -> Option<Amounts> {
        let as_value = serde_json::to_value(quota).ok()?;
        let names = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
        let wanted = counted_kinds(names.into_iter().flat_map(|hard| hard.keys()));
        let mut sum = Amounts::new();
        let all = kinds().iter().filter(|kind| kind.namespaced);
        for kind in all.filter(|kind| wanted.contains(&kind.group_resource().to_string())) {
            for object in self.list(kind, namespace(&quota.metadata)).await? {
                if counts(&as_value, kind.plural, &object) {
                    for (name, amount) in usage(kind.group, kind.plural, &object) {
                        *sum.entry(name).or_default() += amount;
                    }
                }
            }
        }
        Some(sum)
    }

    async fn list(&self, kind: &Kind, space: &str) -> Option<Vec<Value>> {
        let root = if kind.group.is_empty() { "/api" } else { "/apis" };
        let path = format!("{root}/{}/namespaces/{space}/{}", kind.api_version(), kind.plural);
        let list = Request::new(path).list(&ListParams::default()).ok()?;
        match self.context.client.kube().request::<Value>(list).await {
            Ok(mut list) => match list["items"].take() {
                Value::Array(items) => Some(items),
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::String(_)
                | Value::Object(_) => Some(Vec::new()),
            },
            // A kind that is not served has no objects.
            Err(error) if error.is_not_found() => Some(Vec::new()),
            Err(error) => {
                tracing::debug!(%error, kind = kind.plural, space, "not counted");
                None
            }
        }
    }
}
