//! What `/metrics` shows of the server. Names and labels are kube-apiserver's where the meaning is equal.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::flow::Measures;
use crate::{process, version};

/// Upper bounds in seconds of the buckets for request durations. *Source:* kube-apiserver's, thinned out.
const DURATION_BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0];

/// Labels of a finished request. All values come from closed sets: the registry of kinds, the verbs, status codes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RequestLabels {
    /// The HTTP method, `LIST` or `WATCH`.
    pub(crate) verb: &'static str,
    /// API group.
    pub(crate) group: &'static str,
    /// API version.
    pub(crate) version: &'static str,
    /// Plural, `""` for non-resource paths.
    pub(crate) resource: &'static str,
    /// Subresource.
    pub(crate) subresource: &'static str,
    /// `resource`, `namespace`, `cluster`, or `""` for non-resource paths.
    pub(crate) scope: &'static str,
    /// HTTP status code.
    pub(crate) code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DurationLabels {
    verb: &'static str,
    group: &'static str,
    version: &'static str,
    resource: &'static str,
    subresource: &'static str,
    scope: &'static str,
}

/// The server's metrics.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter<u64, AtomicU64>>,
    durations: Family<DurationLabels, Histogram>,
    /// The same without streams, for objectives; the server waits for nobody within it but its own queues.
    objectives: Family<DurationLabels, Histogram>,
    /// Requests being worked on, watches and streams not counted.
    pub(crate) in_flight: Gauge,
    /// Watches and streams.
    pub(crate) long_running: Gauge,
    /// Flow control.
    pub(crate) flow: Measures,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let mut registry = Registry::default();
        let requests = Family::default();
        let durations: Family<DurationLabels, Histogram> =
            Family::new_with_constructor(|| Histogram::new(DURATION_BUCKETS));
        let objectives: Family<DurationLabels, Histogram> =
            Family::new_with_constructor(|| Histogram::new(DURATION_BUCKETS));
        let (in_flight, long_running) = (Gauge::default(), Gauge::default());
        registry.register(
            "apiserver_request",
            "Requests by verb, resource and status code",
            requests.clone(),
        );
        registry.register(
            "apiserver_request_duration_seconds",
            "Seconds from a request's head to the head of its answer",
            durations.clone(),
        );
        registry.register(
            "apiserver_request_sli_duration_seconds",
            "The same, streams and watches left out",
            objectives.clone(),
        );
        let build = [("git_version", version::GIT_VERSION), ("platform", std::env::consts::ARCH)];
        registry.register("kubernetes_build", "What is served", Info::new(build.to_vec()));
        registry.register(
            "apiserver_current_inflight_requests",
            "Requests being worked on",
            in_flight.clone(),
        );
        registry.register(
            "apiserver_longrunning_requests",
            "Watches and streams that are open",
            long_running.clone(),
        );
        let flow = Measures::default();
        flow.register(&mut registry);
        Metrics { registry, requests, durations, objectives, in_flight, long_running, flow }
    }
}

impl Metrics {
    /// Counts a finished request.
    pub(crate) fn record(&self, labels: RequestLabels, took: Duration) {
        let RequestLabels { verb, group, version, resource, subresource, scope, .. } = labels;
        let duration = DurationLabels { verb, group, version, resource, subresource, scope };
        self.durations.get_or_create(&duration).observe(took.as_secs_f64());
        let is_stream = ["exec", "attach", "portforward", "proxy", "log"].contains(&subresource);
        if verb != "WATCH" && !is_stream && !resource.is_empty() {
            self.objectives.get_or_create(&duration).observe(took.as_secs_f64());
        }
        self.requests.get_or_create(&labels).inc();
    }

    /// Writes all metrics in the OpenMetrics text format.
    pub(crate) fn encode(&self) -> String {
        let mut out = String::new();
        match text::encode(&mut out, &self.registry) {
            Ok(()) => {
                process::write(&mut out);
                out
            }
            Err(error) => format!("# cannot encode metrics: {error}\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_requests_under_upstreams_name() {
        let metrics = Metrics::default();
        let labels = RequestLabels {
            verb: "GET",
            resource: "pods",
            version: "v1",
            code: 200,
            ..Default::default()
        };
        metrics.record(labels, Duration::from_millis(2));
        let text = metrics.encode();
        assert!(text.contains(
            r#"apiserver_request_total{verb="GET",group="",version="v1",resource="pods",subresource="",scope="",code="200"} 1"#
        ));
    }
}
