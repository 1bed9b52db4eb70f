//! What size one metric asks for.

use std::collections::BTreeMap;
use std::sync::Arc;

use coracle_api::quantity::Quantity;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::{
    ContainerResourceMetricStatus, ExternalMetricStatus, MetricSpec, MetricStatus, MetricTarget,
    MetricValueStatus, ObjectMetricStatus, PodsMetricStatus, ResourceMetricStatus,
};
use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as WireQuantity;

use super::{Observed, Reading, Scale};
use crate::objects::{is_deleting, is_ready, name, phase};

/// How long after its start a pod that is not ready says nothing by its CPU. *Source:*
/// kube-controller-manager's `--horizontal-pod-autoscaler-cpu-initialization-period`.
const INITIALIZATION: SignedDuration = SignedDuration::from_mins(5);

/// A metric that asks for nothing else within this part of its target. *Source:*
/// kube-controller-manager's `--horizontal-pod-autoscaler-tolerance`.
const TOLERANCE: f64 = 0.1;

/// The size that a metric asks for.
#[derive(Debug, Clone)]
pub(super) struct Proposal {
    pub(super) replicas: i32,
    /// What the metric is, in words.
    pub(super) metric: String,
    /// What it reads, for the status.
    pub(super) status: MetricStatus,
}

/// Why a metric asks for no size: reason and words.
pub(super) type Refusal = (&'static str, String);

/// How far a metric may be off, upwards and downwards.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tolerance {
    up: f64,
    down: f64,
}

impl Tolerance {
    pub(super) fn of(observed: &Observed) -> Tolerance {
        let spec = &observed.autoscaler.spec;
        let behaviour = spec.as_ref().and_then(|spec| spec.behavior.as_ref());
        let read = |quantity: Option<&WireQuantity>| {
            quantity.and_then(milli).map_or(TOLERANCE, |milli| as_float(milli) / 1000.0)
        };
        let up = behaviour.and_then(|b| b.scale_up.as_ref());
        let down = behaviour.and_then(|b| b.scale_down.as_ref());
        Tolerance {
            up: read(up.and_then(|rules| rules.tolerance.as_ref())),
            down: read(down.and_then(|rules| rules.tolerance.as_ref())),
        }
    }

    fn bears(self, ratio: f64) -> bool {
        1.0 - self.down <= ratio && ratio <= 1.0 + self.up
    }
}

#[expect(clippy::cast_precision_loss, reason = "ratios of metrics need no more than 52 bits")]
fn as_float(n: i64) -> f64 {
    n as f64
}

/// Rounds a size up; what no i32 holds is cut off, and NaN is zero.
#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, which is what is wanted")]
fn up(size: f64) -> i32 {
    // A ratio such as 1.1 * 10 must not become 12 by its last bit.
    (size - 1e-9).ceil() as i32
}

/// Reads a quantity in thousandths.
pub(super) fn milli(quantity: &WireQuantity) -> Option<i64> {
    quantity.0.parse::<Quantity>().ok().map(Quantity::milli_value)
}

fn wire(milli: i64) -> WireQuantity {
    WireQuantity(Quantity::from_millis(milli).to_string())
}

/// Gives the size that the metric of a number asks for.
///
/// *Source:* Kubernetes docs, "Horizontal Pod Autoscaling: Algorithm details".
pub(super) fn propose(
    observed: &Observed,
    scale: &Scale,
    number: usize,
    now: Timestamp,
) -> Result<Proposal, Refusal> {
    let spec = observed.autoscaler.spec.clone().unwrap_or_default();
    let metrics = spec.metrics.unwrap_or_default();
    let unknown = Reading::Unknown("nothing was read".to_owned());
    let reading = observed.readings.get(number).unwrap_or(&unknown);
    let Some(metric) = metrics.get(number) else {
        return Err(("InvalidMetricSourceType", format!("there is no metric {number}")));
    };
    let failed = failure_of(metric);
    let input = Input { observed, scale, now, tolerance: Tolerance::of(observed) };
    let result = match reading {
        Reading::Unknown(why) => Err(why.clone()),
        Reading::Pods(usage) => input.by_pods(metric, usage),
        Reading::Value(value) => input.by_value(metric, *value),
    };
    let (replicas, value) = result.map_err(|why| (failed, why))?;
    Ok(Proposal { replicas, metric: words(metric), status: status(metric, value) })
}

fn failure_of(metric: &MetricSpec) -> &'static str {
    match metric.type_.as_str() {
        "Resource" => "FailedGetResourceMetric",
        "ContainerResource" => "FailedGetContainerResourceMetric",
        "Pods" => "FailedGetPodsMetric",
        "Object" => "FailedGetObjectMetric",
        "External" => "FailedGetExternalMetric",
        _ => "InvalidMetricSourceType",
    }
}

/// Names a metric as upstream's conditions do.
fn words(metric: &MetricSpec) -> String {
    let of = |target: &MetricTarget| {
        if target.average_utilization.is_some() {
            " utilization (percentage of request)"
        } else {
            ""
        }
    };
    if let Some(resource) = &metric.resource {
        return format!("{} resource{}", resource.name, of(&resource.target));
    }
    if let Some(resource) = &metric.container_resource {
        return format!("{} container resource{}", resource.name, of(&resource.target));
    }
    if let Some(pods) = &metric.pods {
        return format!("pods metric {}", pods.metric.name);
    }
    if let Some(object) = &metric.object {
        let kind = &object.described_object.kind;
        return format!("{} metric {}", kind, object.metric.name);
    }
    let external = metric.external.as_ref().map(|external| external.metric.name.clone());
    format!("external metric {}", external.unwrap_or_default())
}

/// Gives the target of a metric.
pub(super) fn target(metric: &MetricSpec) -> Option<&MetricTarget> {
    let resource = metric.resource.as_ref().map(|metric| &metric.target);
    let container = metric.container_resource.as_ref().map(|metric| &metric.target);
    let pods = metric.pods.as_ref().map(|metric| &metric.target);
    let object = metric.object.as_ref().map(|metric| &metric.target);
    let external = metric.external.as_ref().map(|metric| &metric.target);
    resource.or(container).or(pods).or(object).or(external)
}

fn status(metric: &MetricSpec, current: MetricValueStatus) -> MetricStatus {
    MetricStatus {
        type_: metric.type_.clone(),
        resource: metric.resource.as_ref().map(|metric| ResourceMetricStatus {
            name: metric.name.clone(),
            current: current.clone(),
        }),
        container_resource: metric.container_resource.as_ref().map(|metric| {
            ContainerResourceMetricStatus {
                container: metric.container.clone(),
                name: metric.name.clone(),
                current: current.clone(),
            }
        }),
        pods: metric.pods.as_ref().map(|metric| PodsMetricStatus {
            metric: metric.metric.clone(),
            current: current.clone(),
        }),
        object: metric.object.as_ref().map(|metric| ObjectMetricStatus {
            metric: metric.metric.clone(),
            described_object: metric.described_object.clone(),
            current: current.clone(),
        }),
        external: metric
            .external
            .as_ref()
            .map(|metric| ExternalMetricStatus { metric: metric.metric.clone(), current }),
    }
}

/// The pods of a target by what they say.
#[derive(Default)]
struct Groups {
    /// Usage of those that count.
    ready: BTreeMap<String, i64>,
    /// They have only just begun.
    n_unready: usize,
    /// Names of those without a measurement.
    missing: Vec<String>,
    unready: Vec<String>,
}

struct Input<'a> {
    observed: &'a Observed,
    scale: &'a Scale,
    now: Timestamp,
    tolerance: Tolerance,
}

type Sized = Result<(i32, MetricValueStatus), String>;

impl Input<'_> {
    fn by_pods(&self, metric: &MetricSpec, usage: &BTreeMap<String, i64>) -> Sized {
        let resource = metric.resource.as_ref().map(|metric| metric.name.as_str());
        let container = metric.container_resource.as_ref();
        let resource = resource.or(container.map(|metric| metric.name.as_str()));
        let groups = self.group(usage, resource == Some("cpu"));
        if groups.ready.is_empty() {
            return Err(
                "did not receive metrics for targeted pods (pods might be unready)".to_owned()
            );
        }
        let target = target(metric).ok_or("the metric has no target")?;
        if let (Some(percent), Some(resource)) = (target.average_utilization, resource) {
            let container = container.map(|metric| metric.container.as_str());
            let requests = self.requests(resource, container)?;
            return self.utilization(&groups, &requests, i64::from(percent));
        }
        let average = target.average_value.as_ref().and_then(milli);
        let average = average.filter(|average| *average > 0);
        self.plain(&groups, average.ok_or("the metric's target has no averageValue")?)
    }

    /// Splits the pods; those that go or have ended do not count at all.
    fn group(&self, usage: &BTreeMap<String, i64>, is_cpu: bool) -> Groups {
        let mut groups = Groups::default();
        let gone = |pod: &Pod| is_deleting(&pod.metadata) || phase(pod) == "Failed";
        for pod in self.observed.pods.iter().filter(|pod| !gone(pod)) {
            let name = name(&pod.metadata).to_owned();
            if phase(pod) == "Pending" || (is_cpu && self.has_just_begun(pod)) {
                groups.n_unready += 1;
                groups.unready.push(name);
                continue;
            }
            match usage.get(&name) {
                Some(value) => {
                    groups.ready.insert(name, *value);
                }
                None => groups.missing.push(name),
            }
        }
        groups
    }

    fn has_just_begun(&self, pod: &Pod) -> bool {
        let began = pod.status.as_ref().and_then(|status| status.start_time.as_ref());
        let young = began.is_none_or(|began| self.now.duration_since(began.0) < INITIALIZATION);
        young && !is_ready(pod)
    }

    fn requests(
        &self,
        resource: &str,
        container: Option<&str>,
    ) -> Result<BTreeMap<String, i64>, String> {
        let request = |container: &Container| -> Option<i64> {
            milli(container.resources.as_ref()?.requests.as_ref()?.get(resource)?)
        };
        let mut all = BTreeMap::new();
        for pod in &self.observed.pods {
            let pod_name = name(&pod.metadata);
            let spec = pod.spec.clone().unwrap_or_default();
            let counted = |one: &&Container| container.is_none_or(|wanted| one.name == wanted);
            let mut sum = 0_i64;
            for one in spec.containers.iter().filter(counted) {
                let request = request(one).ok_or_else(|| {
                    format!(
                        "missing request for {resource} in container {} of Pod {pod_name}",
                        one.name
                    )
                })?;
                sum = sum.saturating_add(request);
            }
            all.insert(pod_name.to_owned(), sum);
        }
        Ok(all)
    }

    fn utilization(
        &self,
        groups: &Groups,
        requests: &BTreeMap<String, i64>,
        percent: i64,
    ) -> Sized {
        let asked = |name: &String| requests.get(name).copied().unwrap_or(0);
        let ratio = |usage: &BTreeMap<String, i64>| -> Option<f64> {
            let used: i64 = usage.values().sum();
            let asked: i64 = usage.keys().map(asked).sum();
            (asked > 0).then(|| as_float(used) / as_float(asked) * 100.0 / as_float(percent))
        };
        let used: i64 = groups.ready.values().sum();
        let asked_ready: i64 = groups.ready.keys().map(asked).sum();
        let first = ratio(&groups.ready).ok_or("no metrics returned matched known pods")?;
        let current = used.saturating_mul(100).checked_div(asked_ready).unwrap_or(0);
        let n = i64::try_from(groups.ready.len()).unwrap_or(i64::MAX);
        let status = MetricValueStatus {
            average_utilization: i32::try_from(current).ok(),
            average_value: Some(wire(used.checked_div(n).unwrap_or(0))),
            value: None,
        };
        // A pod without a measurement is taken for one that needs what it is meant to need.
        let assumed = |name: &String| asked(name).saturating_mul(percent.max(100)) / 100;
        Ok((self.balance(groups, first, assumed, ratio), status))
    }

    fn plain(&self, groups: &Groups, target: i64) -> Sized {
        let ratio = |usage: &BTreeMap<String, i64>| -> Option<f64> {
            let n = i64::try_from(usage.len()).ok().filter(|n| *n > 0)?;
            Some(as_float(usage.values().sum::<i64>()) / as_float(n) / as_float(target))
        };
        let first = ratio(&groups.ready).ok_or("no pods returned by selector")?;
        let n = i64::try_from(groups.ready.len()).unwrap_or(i64::MAX);
        let average = groups.ready.values().sum::<i64>().checked_div(n).unwrap_or(0);
        let status = MetricValueStatus { average_value: Some(wire(average)), ..Default::default() };
        Ok((self.balance(groups, first, |_| target, ratio), status))
    }

    /// Turns a ratio into a size, careful about pods that say nothing: they never make it change
    /// its direction.
    fn balance(
        &self,
        groups: &Groups,
        first: f64,
        assumed: impl Fn(&String) -> i64,
        ratio: impl Fn(&BTreeMap<String, i64>) -> Option<f64>,
    ) -> i32 {
        let current = self.scale.spec;
        let counts_unready = groups.n_unready > 0 && first > 1.0;
        if !counts_unready && groups.missing.is_empty() {
            if self.tolerance.bears(first) {
                return current;
            }
            return up(first * as_float(i64::try_from(groups.ready.len()).unwrap_or(i64::MAX)));
        }
        let mut all = groups.ready.clone();
        for name in &groups.missing {
            let value = if first < 1.0 { assumed(name) } else { 0 };
            all.insert(name.clone(), value);
        }
        if counts_unready {
            all.extend(groups.unready.iter().map(|name| (name.clone(), 0)));
        }
        let Some(second) = ratio(&all) else { return current };
        let turned = (first < 1.0 && second > 1.0) || (first > 1.0 && second < 1.0);
        if self.tolerance.bears(second) || turned {
            return current;
        }
        let size = up(second * as_float(i64::try_from(all.len()).unwrap_or(i64::MAX)));
        let against = (second < 1.0 && size > current) || (second > 1.0 && size < current);
        if against { current } else { size }
    }

    fn by_value(&self, metric: &MetricSpec, value: i64) -> Sized {
        let target = target(metric).ok_or("the metric has no target")?;
        let (spec, told) = (self.scale.spec, self.scale.status);
        if let Some(average) = target.average_value.as_ref().and_then(milli).filter(|n| *n > 0) {
            let per_pod = as_float(value) / as_float(i64::from(told.max(1)));
            let ratio = per_pod / as_float(average);
            let same = told > 0 && self.tolerance.bears(ratio);
            let size = if same { told } else { up(as_float(value) / as_float(average)) };
            let average = value.checked_div(i64::from(told.max(1))).unwrap_or(0);
            let status =
                MetricValueStatus { average_value: Some(wire(average)), ..Default::default() };
            return Ok((size, status));
        }
        let wanted = target.value.as_ref().and_then(milli).filter(|n| *n > 0);
        let wanted = wanted.ok_or("the metric's target has neither value nor averageValue")?;
        let ratio = as_float(value) / as_float(wanted);
        let status = MetricValueStatus { value: Some(wire(value)), ..Default::default() };
        if spec == 0 {
            // From zero there is nothing to multiply: the ratio itself is the size.
            return Ok((up(ratio), status));
        }
        if self.tolerance.bears(ratio) {
            return Ok((spec, status));
        }
        let serving: Vec<&Arc<Pod>> =
            self.observed.pods.iter().filter(|pod| is_ready(pod)).collect();
        Ok((up(ratio * as_float(i64::try_from(serving.len()).unwrap_or(0))), status))
    }
}
