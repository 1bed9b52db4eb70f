//! The edge of the autoscaler: reads scales and metrics, gives targets their size.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use coracle_api::quantity::Quantity;
use coracle_api::selector::LabelSelector;
use coracle_client::{
    Cache, Change, EventKind, Failure, ObjectKey, Outcome, Queue, Recorder, drive,
};
use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscaler, MetricIdentifier, MetricSpec};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ListParams, Patch, PatchParams};
use kube::core::{Request, Selector};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::target::{collection, described};
use super::{Action, Memory, Observed, Reading, Scale, reconcile};
use crate::context::{Context, Running};
use crate::objects::{is_deleting, namespace, uid};
use crate::write::{self, WriteError, settle};

struct Controller {
    context: Context,
    autoscalers: Cache<HorizontalPodAutoscaler>,
    pods: Cache<Pod>,
    definitions: Cache<CustomResourceDefinition>,
    memories: Mutex<HashMap<String, Memory>>,
    recorder: Recorder,
}

/// The scale of a target and where it is written.
struct Target {
    scale: Scale,
    selector: Option<LabelSelector>,
    path: String,
    name: String,
}

/// Starts the controller. Without autoscalers nothing is read.
pub(crate) fn start(context: &Context) -> Running {
    let queue = Queue::new();
    let controller = Arc::new(Controller {
        context: context.clone(),
        autoscalers: context.caches.get(),
        pods: context.caches.get(),
        definitions: context.caches.get(),
        memories: Mutex::default(),
        recorder: context.recorder("horizontal-pod-autoscaler"),
    });
    let feeds = vec![controller.autoscalers.observe({
        let (queue, controller) = (queue.clone(), Arc::clone(&controller));
        move |change| autoscaler_changed(&queue, &controller.memories, change)
    })];
    let drive = drive("podautoscaler", queue, context.config.workers, move |key| {
        let controller = Arc::clone(&controller);
        async move { settle(controller.reconcile(&key).await) }
    });
    Running { drive, feeds }
}

/// Its own status is no reason to look before the next pass is due.
fn autoscaler_changed(
    queue: &Queue<ObjectKey>,
    memories: &Mutex<HashMap<String, Memory>>,
    change: &Change<HorizontalPodAutoscaler>,
) {
    let spec = |autoscaler: &Arc<HorizontalPodAutoscaler>| autoscaler.spec.clone();
    match (&change.old, &change.new) {
        (old, Some(new)) if old.as_ref().map(spec) != Some(spec(new)) => {
            queue.add(change.key.clone());
        }
        (Some(old), None) => {
            memories.lock().remove(uid(&old.metadata));
        }
        (None | Some(_), _) => {}
    }
}

impl Controller {
    #[expect(clippy::disallowed_methods, reason = "the edge that turns the clock into an input")]
    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, WriteError> {
        self.autoscalers.wait_synced().await;
        self.pods.wait_synced().await;
        self.definitions.wait_synced().await;
        let Some(autoscaler) = self.autoscalers.get_key(key) else { return Ok(Outcome::Done) };
        if is_deleting(&autoscaler.metadata) {
            return Ok(Outcome::Done);
        }
        let target = self.target(&autoscaler).await;
        let observed = self.observe(autoscaler, &target).await;
        let mut outcome = Outcome::Done;
        for action in reconcile(&observed, Timestamp::now()) {
            if let Action::RequeueAfter(wait) = action {
                outcome = Outcome::RequeueAfter(wait);
            } else {
                self.apply(&observed.autoscaler, target.as_ref().ok(), action).await?;
            }
        }
        Ok(outcome)
    }

    async fn observe(
        &self,
        autoscaler: Arc<HorizontalPodAutoscaler>,
        target: &Result<Target, String>,
    ) -> Observed {
        let space = namespace(&autoscaler.metadata).to_owned();
        let metrics = autoscaler.spec.as_ref().and_then(|spec| spec.metrics.clone());
        let (mut pods, mut readings) = (Vec::new(), Vec::new());
        if let Ok(target) = target {
            if let Some(selector) = &target.selector {
                pods = self.pods.list_in(&space);
                pods.retain(|pod| {
                    selector.matches(&pod.metadata.labels.clone().unwrap_or_default())
                });
            }
            let asked = target.selector.as_ref().map(ToString::to_string).unwrap_or_default();
            for metric in metrics.iter().flatten() {
                let read = self.read(&space, &asked, metric).await;
                readings.push(read.unwrap_or_else(Reading::Unknown));
            }
        }
        let scale = target.as_ref().map(|target| target.scale.clone()).map_err(Clone::clone);
        let memory = self.memories.lock().get(uid(&autoscaler.metadata)).cloned();
        Observed { autoscaler, scale, pods, readings, memory: memory.unwrap_or_default() }
    }

    async fn target(&self, autoscaler: &HorizontalPodAutoscaler) -> Result<Target, String> {
        let reference = autoscaler.spec.clone().unwrap_or_default().scale_target_ref;
        let space = namespace(&autoscaler.metadata);
        let path = collection(&reference, space, &self.definitions.list())?;
        let got = self.get(&format!("{path}/{}/scale", reference.name)).await?;
        let number = |pointer: &str| {
            let number = got.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
            i32::try_from(number).unwrap_or(i32::MAX)
        };
        let selector = got["status"]["selector"].as_str().filter(|text| !text.is_empty());
        Ok(Target {
            scale: Scale { spec: number("/spec/replicas"), status: number("/status/replicas") },
            selector: selector.and_then(|text| LabelSelector::parse(text).ok()),
            path,
            name: reference.name,
        })
    }

    async fn get(&self, path: &str) -> Result<Value, String> {
        let request = http_get(path)?;
        self.context.client.kube().request(request).await.map_err(|error| error.message())
    }

    async fn read(&self, space: &str, pods: &str, metric: &MetricSpec) -> Result<Reading, String> {
        let of_space = |group: &str| format!("/apis/{group}/namespaces/{space}");
        if let Some(resource) = &metric.resource {
            return self.usage(space, pods, &resource.name, None).await;
        }
        if let Some(resource) = &metric.container_resource {
            return self.usage(space, pods, &resource.name, Some(&resource.container)).await;
        }
        if let Some(metric) = &metric.pods {
            let root = of_space("custom.metrics.k8s.io/v1beta2");
            let query = format!("labelSelector={}&{}", escaped(pods), of_metric(&metric.metric));
            let list = self.get(&format!("{root}/pods/*/{}?{query}", metric.metric.name)).await?;
            let read = |item: &Value| {
                let name = item["describedObject"]["name"].as_str()?.to_owned();
                Some((name, milli(&item["value"])?))
            };
            let items = list["items"].as_array().into_iter().flatten();
            return Ok(Reading::Pods(items.filter_map(read).collect()));
        }
        if let Some(metric) = &metric.object {
            let root = of_space("custom.metrics.k8s.io/v1beta2");
            let object = described(&metric.described_object, &self.definitions.list());
            let query = of_metric(&metric.metric);
            let path = format!("{root}/{object}/{}?{query}", metric.metric.name);
            let list = self.get(&path).await?;
            let value = list["items"].get(0).and_then(|item| milli(&item["value"]));
            return value.map(Reading::Value).ok_or_else(|| "no value returned".to_owned());
        }
        let Some(metric) = &metric.external else {
            return Err("unknown metric source type".to_owned());
        };
        let root = of_space("external.metrics.k8s.io/v1beta1");
        let selector = metric.metric.selector.clone().unwrap_or_default();
        let selector = Selector::try_from(selector).map_err(|error| error.to_string())?;
        let query = format!("labelSelector={}", escaped(&selector.to_string()));
        let list = self.get(&format!("{root}/{}?{query}", metric.metric.name)).await?;
        let values: Vec<i64> = list["items"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|item| milli(&item["value"]))
            .collect();
        if values.is_empty() {
            return Err("no metrics returned from external metrics API".to_owned());
        }
        Ok(Reading::Value(values.iter().sum()))
    }

    /// Reads what pods use from `metrics.k8s.io`, of one container or all.
    async fn usage(
        &self,
        space: &str,
        pods: &str,
        resource: &str,
        container: Option<&str>,
    ) -> Result<Reading, String> {
        let path = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{space}/pods");
        let list = self.get(&format!("{path}?labelSelector={}", escaped(pods))).await?;
        let mut usage = BTreeMap::new();
        for item in list["items"].as_array().into_iter().flatten() {
            let Some(name) = item["metadata"]["name"].as_str() else { continue };
            let containers = item["containers"].as_array().into_iter().flatten();
            let counted =
                containers.filter(|one| container.is_none_or(|wanted| one["name"] == wanted));
            let values: Vec<i64> =
                counted.filter_map(|one| milli(&one["usage"][resource])).collect();
            if !values.is_empty() {
                usage.insert(name.to_owned(), values.iter().sum());
            }
        }
        if usage.is_empty() {
            return Err("no metrics returned from resource metrics API".to_owned());
        }
        Ok(Reading::Pods(usage))
    }

    async fn apply(
        &self,
        autoscaler: &HorizontalPodAutoscaler,
        target: Option<&Target>,
        action: Action,
    ) -> Result<(), WriteError> {
        match action {
            Action::Scale(size, why) => match target {
                Some(target) => self.scale(autoscaler, target, size, &why).await,
                None => Ok(()),
            },
            Action::Remember(memory) => {
                self.memories.lock().insert(uid(&autoscaler.metadata).to_owned(), memory);
                Ok(())
            }
            Action::Warn(reason, message) => {
                self.recorder.event(autoscaler, EventKind::Warning, reason, message);
                Ok(())
            }
            Action::SetStatus(new) => {
                let meta = &autoscaler.metadata;
                let api = write::api_of(&self.context.client, meta);
                let old = autoscaler.status.as_ref();
                write::set_status(&api, &self.autoscalers, meta, old, &*new).await
            }
            Action::RequeueAfter(_) => Ok(()),
        }
    }

    async fn scale(
        &self,
        autoscaler: &HorizontalPodAutoscaler,
        target: &Target,
        size: i32,
        why: &str,
    ) -> Result<(), WriteError> {
        let body = Patch::Merge(json!({"spec": {"replicas": size}}));
        let request = Request::new(target.path.clone());
        let parameters = PatchParams::default();
        let patch = request.patch_subresource("scale", &target.name, &parameters, &body);
        let done = match patch.map_err(kube::Error::BuildRequest) {
            Ok(patch) => self.context.client.kube().request_text(patch).await.map(drop),
            Err(error) => Err(error),
        };
        match done {
            Ok(()) => {
                let said = format!("New size: {size}; reason: {why}");
                self.recorder.event(autoscaler, EventKind::Normal, "SuccessfulRescale", said);
                Ok(())
            }
            Err(error) => {
                let said = format!("New size: {size}; reason: {why}; error: {}", error.message());
                self.recorder.event(autoscaler, EventKind::Warning, "FailedRescale", said);
                Err(write::failed::<HorizontalPodAutoscaler>("scale for", &autoscaler.metadata)(
                    error,
                ))
            }
        }
    }
}

fn http_get(path: &str) -> Result<http::Request<Vec<u8>>, String> {
    // A list request without parameters is a plain GET of its path.
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let request = Request::new(path).list(&ListParams::default());
    let mut request = request.map_err(|error| error.to_string())?;
    let uri = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    *request.uri_mut() = uri.parse().map_err(|_| format!("{uri} is no path"))?;
    Ok(request)
}

/// Writes a text into a query: what is not plain becomes `%XX`.
fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    };
    text.bytes().map(escape).collect()
}

fn of_metric(metric: &MetricIdentifier) -> String {
    let selector = metric.selector.clone().and_then(|selector| Selector::try_from(selector).ok());
    selector.map_or_else(String::new, |selector| {
        format!("metricLabelSelector={}", escaped(&selector.to_string()))
    })
}

fn milli(value: &Value) -> Option<i64> {
    value.as_str()?.parse::<Quantity>().ok().map(Quantity::milli_value)
}
