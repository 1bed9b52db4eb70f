//! What a container has used, by OpenTelemetry's names. Pure.
//!
//! *Source:* OpenTelemetry's conventions for `container.*` metrics, and for HTTP servers.

use std::sync::Weak;

use coracle_runtime::{Container, LATENCY_BOUNDS_SECONDS};
use coracle_telemetry::{Data, Metric, Source};

use super::Usage;

const MICROS_PER_SECOND: f64 = 1e6;

/// Tells what a container has used for as long as it is there.
pub(super) fn source(container: Weak<Container>) -> Source {
    Box::new(move || Some(metrics(&container.upgrade()?.usage())))
}

fn metrics(usage: &Usage) -> Vec<Metric> {
    let disk = |direction, bytes: u64| Metric {
        name: "container.disk.io",
        unit: "By",
        attributes: vec![("disk.io.direction", direction)],
        data: Data::Counter(bytes as f64),
    };
    let plain = |name, unit, data| Metric { name, unit, attributes: Vec::new(), data };
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
