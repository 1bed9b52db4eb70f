//! What a container and a pod have used, by OpenTelemetry's names. Pure.
//!
//! *Source:* OpenTelemetry's conventions for `container.*` and `k8s.pod.*` metrics, and for HTTP servers.

use std::sync::Weak;

use coracle_runtime::{Container, LATENCY_BOUNDS_SECONDS};
use coracle_telemetry::{Data, Metric, Resource, Source};
use coracle_vnet::TrafficCounts;

use super::Usage;
use super::wasm::PodSandbox;
use crate::pods::plan::PodKey;

const MICROS_PER_SECOND: f64 = 1e6;

/// Tells what a container has used for as long as it is there.
pub(super) fn source(container: Weak<Container>) -> Source {
    Box::new(move || Some(metrics(&container.upgrade()?.usage())))
}

/// Tells what a pod has used for as long as it is there.
pub(super) fn pod_source(pod: Weak<PodSandbox>) -> Source {
    Box::new(move || {
        let pod = pod.upgrade()?;
        let (cpu_usec, memory_bytes) = (pod.sandbox.cpu_usec(), pod.sandbox.memory_bytes());
        Some(pod_metrics(cpu_usec, memory_bytes, pod.traffic()))
    })
}

/// Whose a pod's measurements are.
pub(super) fn pod_resource(pod: &PodKey) -> Resource {
    Resource::default()
        .with("k8s.namespace.name", pod.namespace.as_str())
        .with("k8s.pod.name", pod.name.as_str())
        .with("k8s.pod.uid", pod.uid.as_str())
}

fn plain(name: &'static str, unit: &'static str, data: Data) -> Metric {
    Metric { name, unit, attributes: Vec::new(), data }
}

fn pod_metrics(cpu_usec: u64, memory_bytes: u64, traffic: Option<TrafficCounts>) -> Vec<Metric> {
    let mut found = vec![
        plain("k8s.pod.cpu.time", "s", Data::Counter(cpu_usec as f64 / MICROS_PER_SECOND)),
        plain("k8s.pod.memory.usage", "By", Data::Amount(memory_bytes)),
    ];
    let Some(traffic) = traffic else { return found };
    for (direction, bytes) in
        [("receive", traffic.received_bytes), ("transmit", traffic.sent_bytes)]
    {
        found.push(Metric {
            attributes: vec![("network.io.direction", direction)],
            ..plain("k8s.pod.network.io", "By", Data::Counter(bytes as f64))
        });
    }
    found
}

fn metrics(usage: &Usage) -> Vec<Metric> {
    let disk = |direction, bytes: u64| Metric {
        name: "container.disk.io",
        unit: "By",
        attributes: vec![("disk.io.direction", direction)],
        data: Data::Counter(bytes as f64),
    };
    let mut found = vec![
        plain("container.cpu.time", "s", Data::Counter(usage.cpu_usec as f64 / MICROS_PER_SECOND)),
        plain("container.memory.usage", "By", Data::Amount(usage.memory_bytes)),
        disk("read", usage.disk.read_bytes),
        disk("write", usage.disk.written_bytes),
    ];
    if usage.latencies.count() > 0 {
        found.push(Metric {
            name: "http.server.request.duration",
            unit: "s",
            attributes: vec![("url.scheme", "http")],
            data: Data::Histogram {
                bounds: LATENCY_BOUNDS_SECONDS.to_vec(),
                buckets: usage.latencies.buckets.to_vec(),
                sum: usage.latencies.sum_usec as f64 / MICROS_PER_SECOND,
            },
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pods_traffic_is_told_where_it_is_its_own() {
        let traffic =
            TrafficCounts { received_bytes: 3, sent_bytes: 4, ..TrafficCounts::default() };
        let found = pod_metrics(2_000_000, 5, Some(traffic));
        let told: Vec<_> = found.iter().map(|one| (one.name, one.data.clone())).collect();
        let want = [
            ("k8s.pod.cpu.time", Data::Counter(2.0)),
            ("k8s.pod.memory.usage", Data::Amount(5)),
            ("k8s.pod.network.io", Data::Counter(3.0)),
            ("k8s.pod.network.io", Data::Counter(4.0)),
        ];
        assert_eq!(told, want);
        assert_eq!(pod_metrics(0, 0, None).len(), 2);
    }

    #[test]
    fn requests_are_told_when_there_were_some() {
        let mut usage = Usage { cpu_usec: 1_500_000, memory_bytes: 7, ..Usage::default() };
        let names = |usage: &Usage| metrics(usage).iter().map(|one| one.name).collect::<Vec<_>>();
        let disk = "container.disk.io";
        let without = ["container.cpu.time", "container.memory.usage", disk, disk];
        assert_eq!(names(&usage), without);
        assert_eq!(metrics(&usage)[0].data, Data::Counter(1.5));
        usage.latencies.buckets[2] = 3;
        usage.latencies.sum_usec = 9_000;
        let found = metrics(&usage);
        let requests = found.last().unwrap();
        assert_eq!(requests.name, "http.server.request.duration");
        let Data::Histogram { bounds, buckets, sum } = &requests.data else { panic!("{found:?}") };
        assert_eq!(
            (bounds.len() + 1, buckets.iter().sum::<u64>(), *sum),
            (buckets.len(), 3, 0.009)
        );
    }
}
