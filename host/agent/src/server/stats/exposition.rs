//! Pages for Prometheus, and `/metrics/resource`. Pure.
//!
//! *Source:* the kubelet's names; Prometheus' text format 0.0.4.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::sample::{ContainerSample, PodSample, Sample};
use crate::server::select::decode;

/// Writes the kubelet's resource metrics.
pub(crate) fn resource(sample: &Sample) -> String {
    let mut page = Page::at(sample.at);
    let Sample { node, pods, .. } = sample;
    let each = || containers(pods);
    page.metric(
        ("container_cpu_usage_seconds_total", "counter"),
        "[STABLE] Cumulative cpu time consumed by the container in core-seconds",
        each().map(|(pod, c)| (labels(pod, c), seconds(c.cpu_nanos))),
    );
    page.metric(
        ("container_memory_working_set_bytes", "gauge"),
        "[STABLE] Current working set of the container in bytes",
        each().map(|(pod, c)| (labels(pod, c), c.memory_bytes.to_string())),
    );
    page.metric(
        ("container_start_time_seconds", "gauge"),
        "[STABLE] Start time of the container since unix epoch in seconds",
        each().filter_map(|(pod, c)| Some((labels(pod, c), c.started?.as_second().to_string()))),
    );
    page.metric(
        ("node_cpu_usage_seconds_total", "counter"),
        "[STABLE] Cumulative cpu time consumed by the node in core-seconds",
        [(String::new(), seconds(node.cpu_nanos))].into_iter(),
    );
    page.metric(
        ("node_memory_working_set_bytes", "gauge"),
        "[STABLE] Current working set of the node in bytes",
        [(String::new(), node.memory_bytes.to_string())].into_iter(),
    );
    page.metric(
        ("pod_cpu_usage_seconds_total", "counter"),
        "[STABLE] Cumulative cpu time consumed by the pod in core-seconds",
        pods.iter().map(|pod| (pod_labels(pod), seconds(pod.cpu_nanos()))),
    );
    page.metric(
        ("pod_memory_working_set_bytes", "gauge"),
        "[STABLE] Current working set of the pod in bytes",
        pods.iter().map(|pod| (pod_labels(pod), pod.memory_bytes().to_string())),
    );
    page.metric(
        ("resource_scrape_error", "gauge"),
        "[STABLE] 1 if there was an error while getting container metrics, 0 otherwise",
        [(String::new(), "0".to_owned())].into_iter(),
    );
    page.text
}

/// Which metrics of a page are asked for: those of the query's `name[]`, else all. Who follows one metric of thousands
/// of pods is spared the others.
///
/// *Source:* `name[]` of client_golang's handler of `/metrics`.
#[derive(Debug, Default)]
pub(crate) struct Wanted(Vec<String>);

impl Wanted {
    /// Reads a query; what else is in it is for others.
    pub(crate) fn parse(query: &str) -> Self {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        Self(
            pairs
                .filter(|(key, _)| decode(key) == "name[]")
                .map(|(_, name)| decode(name))
                .collect(),
        )
    }

    fn has(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|wanted| wanted == name)
    }
}

/// A page of metrics in the making.
pub(super) struct Page<'a> {
    pub(super) text: String,
    at_millis: i64,
    wanted: &'a Wanted,
}

impl<'a> Page<'a> {
    /// An empty page whose lines are of this moment.
    pub(super) fn at(at: Timestamp) -> Self {
        static ALL: Wanted = Wanted(Vec::new());
        Self::of(at, &ALL)
    }

    /// An empty page that takes only what is wanted.
    pub(super) fn of(at: Timestamp, wanted: &'a Wanted) -> Self {
        Self { text: String::new(), at_millis: at.as_millisecond(), wanted }
    }

    /// Adds a histogram: for each of its label sets, the counts of single buckets (one more than
    /// there are bounds) and the sum in seconds.
    pub(super) fn histogram(
        &mut self,
        (name, help): (&str, &str),
        bounds: &[f64],
        lines: impl Iterator<Item = (String, Vec<u64>, String)>,
    ) {
        let Page { text, at_millis, wanted } = self;
        if !wanted.has(name) {
            return;
        }
        let _infallible = writeln!(text, "# HELP {name} {help}\n# TYPE {name} histogram");
        for (labels, buckets, sum) in lines {
            let mut count = 0;
            let ends = bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
            for (bucket, end) in buckets.iter().zip(ends) {
                count += bucket;
                let _infallible =
                    writeln!(text, "{name}_bucket{{{labels},le=\"{end}\"}} {count} {at_millis}");
            }
            let _infallible = writeln!(text, "{name}_sum{{{labels}}} {sum} {at_millis}");
            let _infallible = writeln!(text, "{name}_count{{{labels}}} {count} {at_millis}");
        }
    }

    /// Adds a metric with its lines: labels without braces, and value.
    pub(super) fn metric(
        &mut self,
        (name, kind): (&str, &str),
        help: &str,
        lines: impl Iterator<Item = (String, String)>,
    ) {
        let Page { text, at_millis, wanted } = self;
        if !wanted.has(name) {
            return;
        }
        // Writing to a string cannot fail.
        let _infallible = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in lines {
            let braced = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
            let _infallible = writeln!(text, "{name}{braced} {value} {at_millis}");
        }
    }
}

/// All containers with their pods.
pub(super) fn containers(
    pods: &[PodSample],
) -> impl Iterator<Item = (&PodSample, &ContainerSample)> {
    pods.iter().flat_map(|pod| pod.containers.iter().map(move |container| (pod, container)))
}

/// Labels of a container, without braces.
pub(super) fn labels(pod: &PodSample, container: &ContainerSample) -> String {
    format!("container=\"{}\",{}", escaped(&container.name), pod_labels(pod))
}

/// Labels of a pod, without braces.
pub(super) fn pod_labels(pod: &PodSample) -> String {
    format!("namespace=\"{}\",pod=\"{}\"", escaped(&pod.namespace), escaped(&pod.name))
}

/// A text as the value of a label.
pub(super) fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Nanoseconds as seconds, with all their digits.
pub(super) fn seconds(nanos: u64) -> String {
    let (whole, part) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    format!("{whole}.{part:09}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::stats::sample::example;
    use expect_test::expect;

    #[test]
    fn resource_metrics_have_the_kubelets_names() {
        let values: Vec<String> = resource(&example())
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(str::to_owned)
            .collect();
        expect![[r#"
            container_cpu_usage_seconds_total{container="web",namespace="default",pod="web-0"} 1.500000000 100000
            container_memory_working_set_bytes{container="web",namespace="default",pod="web-0"} 4096 100000
            container_start_time_seconds{container="web",namespace="default",pod="web-0"} 50 100000
            node_cpu_usage_seconds_total 2.000000001 100000
            node_memory_working_set_bytes 8192 100000
            pod_cpu_usage_seconds_total{namespace="default",pod="web-0"} 1.500000000 100000
            pod_memory_working_set_bytes{namespace="default",pod="web-0"} 4096 100000
            resource_scrape_error 0 100000"#]]
        .assert_eq(&values.join("\n"));
    }
}
