//! Reads the counters.
//!
//! An edge: it asks the loop, the runtime and the kernel, and waits where a rate needs it.

use std::time::Duration;

use super::rates::Rated;
use super::sample::{ContainerSample, PodSample, Sample, node};
use crate::clock::now;
use crate::effects::{PodView, Shared};
use crate::node::facts::machine;
use crate::pods::plan;
use crate::server::routes::{ask, status_of};

/// How long the first one who asks waits for a rate: a little more than the shortest window.
const FIRST_WINDOW: Duration = Duration::from_millis(1100);

/// Takes a sample.
pub(crate) async fn sample(shared: &Shared) -> Sample {
    let mut views = ask(shared, None).await;
    views.sort_by(|a, b| (&a.key.namespace, &a.key.name).cmp(&(&b.key.namespace, &b.key.name)));
    let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cores = machine(&shared.config).cores;
    let ticks = rustix::param::clock_ticks_per_second();
    Sample {
        at: now(),
        node_name: shared.config.node_name.clone(),
        node: node(&text("/proc/stat"), &text("/proc/meminfo"), ticks, cores),
        pods: views.iter().map(|view| pod(shared, view)).collect(),
    }
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
        })
    });
    let started = view.status.as_ref().and_then(|status| status.start_time.as_ref());
    PodSample {
        namespace: view.key.namespace.clone(),
        name: view.key.name.clone(),
        uid: view.key.uid.clone(),
        started: started.map(|time| time.0),
        containers: containers.collect(),
    }
}
