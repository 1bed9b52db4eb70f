//! The API under load, over HTTPS with HTTP/2, durable: each operation's rate, times and server
//! CPU, ours beside kube-apiserver with etcd.

mod operations;
mod target;
mod watch;

use std::time::Duration;

use crate::sample::Samples;
use target::Target;

/// What is promised of an operation, in microseconds of server CPU for each.
struct Promise {
    name: &'static str,
    cpu_us: f64,
}

const PROMISES: [Promise; 10] = [
    Promise { name: "create", cpu_us: 180.0 },
    Promise { name: "get", cpu_us: 40.0 },
    Promise { name: "list of 10,000", cpu_us: 12_000.0 },
    Promise { name: "Table of 10,000", cpu_us: 35_000.0 },
    Promise { name: "list by label, 1 %", cpu_us: 500.0 },
    Promise { name: "update", cpu_us: 220.0 },
    Promise { name: "merge patch", cpu_us: 220.0 },
    Promise { name: "apply (server side)", cpu_us: 300.0 },
    Promise { name: "delivery to 100 watchers", cpu_us: 6.0 },
    Promise { name: "delete", cpu_us: 180.0 },
];

/// One operation, measured.
#[derive(Debug)]
struct Measured {
    name: &'static str,
    latency: Samples,
    wall: Duration,
    cpu_us: f64,
}

impl Measured {
    fn rate(&self) -> f64 {
        self.latency.len() as f64 / self.wall.as_secs_f64()
    }
}

pub(crate) async fn measure(with_references: bool) -> anyhow::Result<Vec<String>> {
    let (ours, resident) = measure_at(&Target::ours().await?).await?;
    let mut lines: Vec<String> = ours.iter().map(|one| line("", one)).collect();
    lines.push(format!("  server after it: {resident} MiB resident (promised 60)"));
    if with_references {
        let (theirs, resident) = measure_at(&Target::kube_apiserver().await?).await?;
        for (ours, theirs) in ours.iter().zip(&theirs) {
            lines.push(line("kube-apiserver + etcd: ", theirs));
            lines.push(format!(
                "  ratio: {:.1} x the rate, {:.2} x the CPU, {:.2} x the p50",
                ours.rate() / theirs.rate(),
                ours.cpu_us / theirs.cpu_us,
                ours.latency.percentile_ms(50.0) / theirs.latency.percentile_ms(50.0),
            ));
        }
        lines.push(format!("  kube-apiserver + etcd after it: {resident} MiB resident"));
    }
    Ok(lines)
}

/// All operations in the order of their names in [`PROMISES`], and the resident MiB with 10,000
/// objects after the lists.
async fn measure_at(target: &Target) -> anyhow::Result<(Vec<Measured>, u64)> {
    use operations as op;
    let mut all = vec![
        op::create(target).await?,
        op::get(target).await?,
        op::list(target).await?,
        op::table(target).await?,
        op::by_label(target).await?,
    ];
    // Lists are of objects as they were created: each further writer adds its managed fields.
    let resident = target.resident_bytes()? >> 20;
    all.push(op::update(target).await?);
    all.push(op::merge_patch(target).await?);
    all.push(op::apply(target).await?);
    all.push(watch::deliveries(target).await?);
    all.push(op::delete(target).await?);
    Ok((all, resident))
}

fn line(whose: &str, measured: &Measured) -> String {
    let promise = PROMISES.iter().find(|promise| promise.name == measured.name);
    let promised = promise.map_or(String::new(), |promise| {
        if whose.is_empty() { format!(" (promised {:.0})", promise.cpu_us) } else { String::new() }
    });
    format!(
        "{whose}{}: {:.0}/s, p50 {:.2} ms, p99 {:.2} ms, {:.1} us server CPU each{promised}",
        measured.name,
        measured.rate(),
        measured.latency.percentile_ms(50.0),
        measured.latency.percentile_ms(99.0),
        measured.cpu_us,
    )
}
