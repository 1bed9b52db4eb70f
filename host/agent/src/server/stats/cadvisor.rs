//! `/metrics/cadvisor`: what each container has used. Pure.
//!
//! *Source:* cAdvisor's names, where the meaning is the same; those of kubernetes-mixin's rules and
//! dashboards in particular. Requests are OpenTelemetry's `http.server.request.duration`, as Prometheus
//! writes it. What is not measured is left out.

use coracle_runtime::LATENCY_BOUNDS_SECONDS;

use super::exposition::{Page, Wanted, containers, escaped, labels, pod_labels, seconds};
use super::sample::{ContainerSample, PodSample, Sample};

/// Microseconds of a period of a CPU limit. *Source:* the CFS period that kubelet sets.
const CPU_PERIOD_MICROS: u64 = 100_000;

/// Gives the value of a metric for a container, if it has one.
type Value = fn(&ContainerSample) -> Option<String>;

/// Gives a count of a container.
type Count = fn(&ContainerSample) -> u64;

/// Gives a count of a pod, if it is known.
type PodCount = fn(&PodSample) -> Option<u64>;

/// Metrics of containers: name, kind, help, value.
const METRICS: [(&str, &str, &str, Value); 15] = [
    (
        "container_cpu_usage_seconds_total",
        "counter",
        "Cumulative cpu time consumed in seconds.",
        |c| Some(seconds(c.cpu_nanos)),
    ),
    (
        "container_cpu_cfs_periods_total",
        "counter",
        "Number of elapsed enforcement period intervals.",
        |c| limited(c, |c| c.usage.throttling.periods.to_string()),
    ),
    (
        "container_cpu_cfs_throttled_periods_total",
        "counter",
        "Number of throttled period intervals.",
        |c| limited(c, |c| c.usage.throttling.throttled_periods.to_string()),
    ),
    (
        "container_cpu_cfs_throttled_seconds_total",
        "counter",
        "Total time duration the container has been throttled.",
        |c| limited(c, |c| micros(c.usage.throttling.throttled_usec)),
    ),
    ("container_spec_cpu_period", "gauge", "CPU period of the container.", |c| {
        limited(c, |_| CPU_PERIOD_MICROS.to_string())
    }),
    ("container_spec_cpu_quota", "gauge", "CPU quota of the container.", |c| {
        Some((u64::from(c.cpu_limit_millis?) * CPU_PERIOD_MICROS / 1000).to_string())
    }),
    (
        "container_memory_usage_bytes",
        "gauge",
        "Current memory usage in bytes, including all memory regardless of when it was accessed",
        |c| Some(c.memory_bytes.to_string()),
    ),
    ("container_memory_working_set_bytes", "gauge", "Current working set in bytes.", |c| {
        Some(c.memory_bytes.to_string())
    }),
    ("container_memory_rss", "gauge", "Size of RSS in bytes.", |c| {
        Some(c.memory_bytes.to_string())
    }),
    ("container_memory_cache", "gauge", "Number of bytes of page cache memory.", |_| {
        // Guests have none of their own; the machine's is nobody's.
        Some("0".to_owned())
    }),
    ("container_memory_swap", "gauge", "Container swap usage in bytes.", |_| Some("0".to_owned())),
    ("container_memory_max_usage_bytes", "gauge", "Maximum memory usage recorded in bytes", |c| {
        Some(c.usage.memory_bytes_max.to_string())
    }),
    ("container_spec_memory_limit_bytes", "gauge", "Memory limit for the container.", |c| {
        Some(c.memory_limit_bytes.unwrap_or(0).to_string())
    }),
    (
        "container_start_time_seconds",
        "gauge",
        "Start time of the container since unix epoch in seconds.",
        |c| Some(c.started?.as_second().to_string()),
    ),
    (
        "coracle_container_instances",
        "gauge",
        "Instances of the container's component that live now.",
        |c| Some(c.usage.instances.to_string()),
    ),
];

/// Metrics of what containers read from files and wrote to them.
const DISK: [(&str, &str, Count); 4] = [
    ("container_fs_reads_total", "Cumulative count of reads completed", |c| c.usage.disk.reads),
    ("container_fs_reads_bytes_total", "Cumulative count of bytes read", |c| {
        c.usage.disk.read_bytes
    }),
    ("container_fs_writes_total", "Cumulative count of writes completed", |c| c.usage.disk.writes),
    ("container_fs_writes_bytes_total", "Cumulative count of bytes written", |c| {
        c.usage.disk.written_bytes
    }),
];

/// Metrics of what pods have sent and received.
const NETWORK: [(&str, &str, PodCount); 4] = [
    ("container_network_receive_bytes_total", "Cumulative count of bytes received", |pod| {
        Some(pod.traffic?.received_bytes)
    }),
    ("container_network_receive_packets_total", "Cumulative count of packets received", |pod| {
        Some(pod.traffic?.received)
    }),
    ("container_network_transmit_bytes_total", "Cumulative count of bytes transmitted", |pod| {
        Some(pod.traffic?.sent_bytes)
    }),
    (
        "container_network_transmit_packets_total",
        "Cumulative count of packets transmitted",
        |pod| Some(pod.traffic?.sent),
    ),
];

/// Writes the page, or what is wanted of it.
pub(crate) fn cadvisor(sample: &Sample, wanted: &Wanted) -> String {
    let mut page = Page::of(sample.at, wanted);
    let each = || containers(&sample.pods);
    for (name, kind, help, value) in METRICS {
        let lines = each().filter_map(|(pod, c)| Some((full(pod, c), value(c)?)));
        page.metric((name, kind), help, lines);
    }
    for (name, help, value) in DISK {
        let device = escaped(&sample.device);
        let lines = each().map(|(pod, c)| {
            (format!("{},device=\"{device}\"", full(pod, c)), value(c).to_string())
        });
        page.metric((name, "counter"), help, lines);
    }
    for (name, help, value) in NETWORK {
        let lines = sample.pods.iter().filter_map(|pod| {
            let labels =
                format!("container=\"\",image=\"\",interface=\"eth0\",{}", pod_labels(pod));
            Some((labels, value(pod)?.to_string()))
        });
        page.metric((name, "counter"), help, lines);
    }
    requests(&mut page, sample);
    machine(&mut page, sample);
    page.text
}

/// How many requests http containers had, how they ended and how long they took.
fn requests(page: &mut Page<'_>, sample: &Sample) {
    let asked = || containers(&sample.pods).filter(|(_, c)| c.usage.requests > 0);
    let classes = asked().flat_map(|(pod, c)| {
        let named = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"].into_iter();
        named.zip(c.usage.latencies.classes).filter(|(_, count)| *count > 0).map(
            move |(class, count)| (format!("{},code=\"{class}\"", full(pod, c)), count.to_string()),
        )
    });
    page.metric(
        ("coracle_http_requests_total", "counter"),
        "Requests that have ended, by the class of their status code.",
        classes,
    );
    page.metric(
        ("coracle_http_request_faults_total", "counter"),
        "Requests that ended their instance: traps, timeouts, refused memory.",
        asked().map(|(pod, c)| (full(pod, c), c.usage.faults.to_string())),
    );
    page.histogram(
        ("http_server_request_duration_seconds", "Duration of HTTP server requests."),
        &LATENCY_BOUNDS_SECONDS,
        asked().map(|(pod, c)| {
            let latencies = &c.usage.latencies;
            (full(pod, c), latencies.buckets.to_vec(), micros(latencies.sum_usec))
        }),
    );
}

fn machine(page: &mut Page<'_>, sample: &Sample) {
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
}

fn limited(container: &ContainerSample, value: fn(&ContainerSample) -> String) -> Option<String> {
    container.cpu_limit_millis.map(|_| value(container))
}

fn full(pod: &PodSample, container: &ContainerSample) -> String {
    format!("{},image=\"{}\"", labels(pod, container), escaped(&container.image))
}

/// Microseconds as seconds.
fn micros(micros: u64) -> String {
    seconds(micros.saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::stats::sample::example;
    use expect_test::expect;

    #[test]
    fn only_what_is_asked_for_is_written() {
        for query in
            ["name[]=coracle_http_requests_total", "a=b&name%5B%5D=coracle_http_requests_total"]
        {
            let text = cadvisor(&example(), &Wanted::parse(query));
            assert_eq!(text.lines().filter(|line| !line.starts_with('#')).count(), 2, "{text}");
            assert!(
                text.lines().all(|line| line.contains("coracle_http_requests_total")),
                "{text}"
            );
        }
        assert_eq!(cadvisor(&example(), &Wanted::parse("name[]=none")), "");
    }

    #[test]
    fn each_container_has_its_lines() {
        let text = cadvisor(&example(), &Wanted::default());
        let own = r#"container="web",namespace="default",pod="web-0",image="web:1""#;
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let lines: Vec<_> =
            lines.map(|line| line.replace(own, "OWN").replace(" 100000", "")).collect();
        expect![[r#"
            container_cpu_usage_seconds_total{OWN} 1.500000000
            container_cpu_cfs_periods_total{OWN} 10
            container_cpu_cfs_throttled_periods_total{OWN} 4
            container_cpu_cfs_throttled_seconds_total{OWN} 0.250000000
            container_spec_cpu_period{OWN}
            container_spec_cpu_quota{OWN} 25000
            container_memory_usage_bytes{OWN} 4096
            container_memory_working_set_bytes{OWN} 4096
            container_memory_rss{OWN} 4096
            container_memory_cache{OWN} 0
            container_memory_swap{OWN} 0
            container_memory_max_usage_bytes{OWN} 9000
            container_spec_memory_limit_bytes{OWN} 16384
            container_start_time_seconds{OWN} 50
            coracle_container_instances{OWN} 0
            container_fs_reads_total{OWN,device="/dev/vda1"} 5
            container_fs_reads_bytes_total{OWN,device="/dev/vda1"} 500
            container_fs_writes_total{OWN,device="/dev/vda1"} 6
            container_fs_writes_bytes_total{OWN,device="/dev/vda1"} 600
            container_network_receive_bytes_total{container="",image="",interface="eth0",namespace="default",pod="web-0"} 10
            container_network_receive_packets_total{container="",image="",interface="eth0",namespace="default",pod="web-0"} 1
            container_network_transmit_bytes_total{container="",image="",interface="eth0",namespace="default",pod="web-0"} 20
            container_network_transmit_packets_total{container="",image="",interface="eth0",namespace="default",pod="web-0"} 2
            coracle_http_requests_total{OWN,code="2xx"} 2
            coracle_http_requests_total{OWN,code="5xx"} 1
            coracle_http_request_faults_total{OWN} 1
            http_server_request_duration_seconds_bucket{OWN,le="0.0005"} 2
            http_server_request_duration_seconds_bucket{OWN,le="0.001"} 2
            http_server_request_duration_seconds_bucket{OWN,le="0.005"} 2
            http_server_request_duration_seconds_bucket{OWN,le="0.01"} 2
            http_server_request_duration_seconds_bucket{OWN,le="0.025"} 2
            http_server_request_duration_seconds_bucket{OWN,le="0.05"} 2
            http_server_request_duration_seconds_bucket{OWN,le="0.075"} 2
            http_server_request_duration_seconds_bucket{OWN,le="0.1"} 2
            http_server_request_duration_seconds_bucket{OWN,le="0.25"} 2
            http_server_request_duration_seconds_bucket{OWN,le="0.5"} 2
            http_server_request_duration_seconds_bucket{OWN,le="0.75"} 2
            http_server_request_duration_seconds_bucket{OWN,le="1"} 2
            http_server_request_duration_seconds_bucket{OWN,le="2.5"} 2
            http_server_request_duration_seconds_bucket{OWN,le="5"} 2
            http_server_request_duration_seconds_bucket{OWN,le="7.5"} 2
            http_server_request_duration_seconds_bucket{OWN,le="10"} 2
            http_server_request_duration_seconds_bucket{OWN,le="+Inf"} 3
            http_server_request_duration_seconds_sum{OWN} 12.000500000
            http_server_request_duration_seconds_count{OWN} 3
            machine_cpu_cores 4
            machine_memory_bytes 10000"#]]
        .assert_eq(&lines.join("\n"));
    }

    /// What the recording rules, alerts and dashboards of kubernetes-mixin ask of the job `cadvisor`.
    /// Not here, because nothing counts them: `container_network_*_packets_dropped_total`.
    const OF_KUBERNETES_MIXIN: [&str; 15] = [
        "container_cpu_usage_seconds_total",
        "container_memory_working_set_bytes",
        "container_memory_rss",
        "container_memory_cache",
        "container_memory_swap",
        "container_cpu_cfs_periods_total",
        "container_cpu_cfs_throttled_periods_total",
        "container_network_receive_bytes_total",
        "container_network_transmit_bytes_total",
        "container_network_receive_packets_total",
        "container_network_transmit_packets_total",
        "container_fs_reads_total",
        "container_fs_writes_total",
        "container_fs_reads_bytes_total",
        "container_fs_writes_bytes_total",
    ];

    #[test]
    fn rules_of_kubernetes_mixin_find_their_names_and_labels() {
        let text = cadvisor(&example(), &Wanted::default());
        for name in OF_KUBERNETES_MIXIN {
            let line = text.lines().find(|line| line.starts_with(&format!("{name}{{")));
            let line = line.unwrap_or_else(|| panic!("no {name}"));
            for label in ["namespace=\"default\"", "pod=\"web-0\""] {
                assert!(line.contains(label), "{line}");
            }
            // Rules about containers leave out what has no image.
            let of_container = !name.starts_with("container_network");
            assert_eq!(line.contains("image=\"web:1\""), of_container, "{line}");
        }
    }
}
