//! `/metrics/resource` and `/metrics/cadvisor`, for Prometheus. Pure.
//!
//! *Source:* the kubelet's and cAdvisor's names, where the meaning is the same.

use std::fmt::Write as _;

use super::sample::{ContainerSample, PodSample, Sample};

/// Writes the kubelet's resource metrics.
pub(crate) fn resource(sample: &Sample) -> String {
    let mut page = Page { text: String::new(), at_millis: sample.at.as_millisecond() };
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

/// Writes those of cAdvisor's metrics that have a meaning here.
pub(crate) fn cadvisor(sample: &Sample) -> String {
    let mut page = Page { text: String::new(), at_millis: sample.at.as_millisecond() };
    let each = || containers(&sample.pods);
    let full = |pod: &PodSample, container: &ContainerSample| {
        format!("{},image=\"{}\"", labels(pod, container), escaped(&container.image))
    };
    page.metric(
        ("container_cpu_usage_seconds_total", "counter"),
        "Cumulative cpu time consumed in seconds.",
        each().map(|(pod, c)| (full(pod, c), seconds(c.cpu_nanos))),
    );
    page.metric(
        ("container_memory_usage_bytes", "gauge"),
        "Current memory usage in bytes, including all memory regardless of when it was accessed",
        each().map(|(pod, c)| (full(pod, c), c.memory_bytes.to_string())),
    );
    page.metric(
        ("container_memory_working_set_bytes", "gauge"),
        "Current working set in bytes.",
        each().map(|(pod, c)| (full(pod, c), c.memory_bytes.to_string())),
    );
    page.metric(
        ("container_start_time_seconds", "gauge"),
        "Start time of the container since unix epoch in seconds.",
        each().filter_map(|(pod, c)| Some((full(pod, c), c.started?.as_second().to_string()))),
    );
    page.metric(
        ("machine_cpu_cores", "gauge"),
        "Number of logical CPU cores.",
        [(String::new(), sample.node.cores.to_string())].into_iter(),
    );
    page.metric(
        ("machine_memory_bytes", "gauge"),
        "Amount of memory installed on the machine.",
        [(String::new(), sample.node.memory_bytes_max.to_string())].into_iter(),
    );
    page.text
}

struct Page {
    text: String,
    at_millis: i64,
}

impl Page {
    /// Adds a metric with its lines: labels without braces, and value.
    fn metric(
        &mut self,
        (name, kind): (&str, &str),
        help: &str,
        lines: impl Iterator<Item = (String, String)>,
    ) {
        let Page { text, at_millis } = self;
        // Writing to a string cannot fail.
        let _infallible = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in lines {
            let braced = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
            let _infallible = writeln!(text, "{name}{braced} {value} {at_millis}");
        }
    }
}

fn containers(pods: &[PodSample]) -> impl Iterator<Item = (&PodSample, &ContainerSample)> {
    pods.iter().flat_map(|pod| pod.containers.iter().map(move |container| (pod, container)))
}

fn labels(pod: &PodSample, container: &ContainerSample) -> String {
    format!("container=\"{}\",{}", escaped(&container.name), pod_labels(pod))
}

fn pod_labels(pod: &PodSample) -> String {
    format!("namespace=\"{}\",pod=\"{}\"", escaped(&pod.namespace), escaped(&pod.name))
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Nanoseconds as seconds, with all their digits.
fn seconds(nanos: u64) -> String {
    let (whole, part) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    format!("{whole}.{part:09}")
}

#[cfg(test)]
mod tests {
    use super::super::sample::NodeSample;
    use super::*;
    use expect_test::expect;
    use jiff::Timestamp;

    fn sample() -> Sample {
        let container = ContainerSample {
            name: "web".into(),
            image: "web:1".into(),
            started: Some(Timestamp::from_second(50).unwrap()),
            cpu_nanos: 1_500_000_000,
            memory_bytes: 4096,
        };
        let pod = PodSample {
            namespace: "default".into(),
            name: "web-0".into(),
            uid: "u".into(),
            started: None,
            containers: vec![container],
        };
        let node = NodeSample {
            cpu_nanos: 2_000_000_001,
            memory_bytes: 8192,
            memory_bytes_max: 10_000,
            cores: 4,
        };
        let at = Timestamp::from_second(100).unwrap();
        Sample { at, node_name: "h1".into(), node, pods: vec![pod] }
    }

    #[test]
    fn resource_metrics_have_the_kubelets_names() {
        let values: Vec<String> = resource(&sample())
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

    #[test]
    fn cadvisors_metrics_name_the_image() {
        let text = cadvisor(&sample());
        let line = r#"container_cpu_usage_seconds_total{container="web",namespace="default",pod="web-0",image="web:1"} 1.500000000 100000"#;
        assert!(text.contains(line), "{text}");
        assert!(text.contains("# TYPE machine_cpu_cores gauge\nmachine_cpu_cores 4 100000\n"));
    }
}
