//! Reads the counters.
//!
//! An edge: it asks the loop, the runtime and the kernel, and waits where a rate needs it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::disk::measure;
use super::pace::Walked;
use super::rates::Rated;
use super::sample::{ContainerSample, NodeSample, PodSample, ProcessSample, Sample, network, node};
use super::space::DiskSample;
use crate::clock::now;
use crate::effects::start::{amount, limit, millis};
use crate::effects::{PodView, Shared};
use crate::eviction::measure::pids;
use crate::node::facts::machine;
use crate::pods::plan;
use crate::server::routes::{ask, status_of};

/// How long the first one who asks waits for a rate: a little more than the shortest window.
const FIRST_WINDOW: Duration = Duration::from_millis(1100);

/// How long a walk over disks may take before the summary does without it: less than clients commonly wait for a page.
const DISK_WAIT_MAX: Duration = Duration::from_secs(5);

/// Says what is on disk; waits for the walk that is under way or due, but not for long.
pub(crate) async fn disk(shared: &Arc<Shared>) -> Arc<DiskSample> {
    shared.disk.begin(|| walk(shared.clone()));
    shared.disk.settled(DISK_WAIT_MAX).await
}

/// Says what was on disk when that was measured last, and has it measured again when that is due. Waits for nothing.
pub(crate) fn disk_seen(shared: &Arc<Shared>) -> Arc<DiskSample> {
    shared.disk.begin(|| walk(shared.clone()));
    shared.disk.last()
}

async fn walk(shared: Arc<Shared>) -> Option<Walked> {
    let views = ask(&shared, None).await;
    let walked = tokio::task::spawn_blocking(move || {
        let start = Instant::now();
        Walked { sample: measure(&shared, &views), took: start.elapsed() }
    });
    // There is none when the host is about to end.
    walked.await.ok()
}

/// Takes a sample.
pub(crate) async fn sample(shared: &Shared) -> Sample {
    let mut views = ask(shared, None).await;
    shared.runtime.measure().await;
    views.sort_by(|a, b| (&a.key.namespace, &a.key.name).cmp(&(&b.key.namespace, &b.key.name)));
    let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cores = machine(&shared.config).cores;
    let ticks = rustix::param::clock_ticks_per_second();
    Sample {
        at: now(),
        node_name: shared.config.node_name.clone(),
        node: NodeSample {
            network: network(&text("/proc/net/dev"), &text("/proc/net/route")),
            pids: pids(),
            ..node(&text("/proc/stat"), &text("/proc/meminfo"), ticks, cores)
        },
        process: process(ticks),
        components: shared.runtime.components(),
        device: device(&shared.config.data_dir).unwrap_or_default(),
        pods: views.iter().map(|view| pod(shared, view)).collect(),
    }
}

fn process(ticks: u64) -> ProcessSample {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let page_bytes = rustix::param::page_size() as u64;
    let open_fds = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    ProcessSample { open_fds, ..super::sample::process(&stat, ticks, page_bytes) }
}

/// The disk that a folder is on, if it is one.
fn device(folder: &Path) -> Option<String> {
    let number = rustix::fs::stat(folder).ok()?.st_dev;
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    let about = std::fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/uevent")).ok()?;
    let name = about.lines().find_map(|line| line.strip_prefix("DEVNAME="))?;
    Some(format!("/dev/{name}"))
}

/// Takes a sample with rates; waits a moment when there is none to compare it with.
pub(crate) async fn with_rates(shared: &Shared) -> Rated {
    loop {
        let taken = sample(shared).await;
        if let Some(rated) = shared.rates.lock().add(taken) {
            return rated;
        }
        tokio::time::sleep(FIRST_WINDOW).await;
    }
}

fn pod(shared: &Shared, view: &PodView) -> PodSample {
    let containers = plan::containers(&view.pod).filter_map(|(_, spec)| {
        let usage = shared.runtime.usage(&view.key, &spec.name)?;
        let state = status_of(view, &spec.name).and_then(|status| status.state.as_ref());
        let started = state.and_then(|state| state.running.as_ref()?.started_at.as_ref());
        Some(ContainerSample {
            name: spec.name.clone(),
            image: spec.image.clone().unwrap_or_default(),
            started: started.map(|time| time.0),
            cpu_nanos: usage.cpu_usec.saturating_mul(1000),
            memory_bytes: usage.memory_bytes,
            usage,
            memory_limit_bytes: limit(spec, "memory").and_then(amount),
            cpu_limit_millis: limit(spec, "cpu").and_then(millis),
        })
    });
    let started = view.status.as_ref().and_then(|status| status.start_time.as_ref());
    PodSample {
        namespace: view.key.namespace.clone(),
        name: view.key.name.clone(),
        uid: view.key.uid.clone(),
        started: started.map(|time| time.0),
        traffic: shared.runtime.traffic(&view.key),
        containers: containers.collect(),
    }
}
