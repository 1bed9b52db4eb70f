//! How fast CPU is used: from two samples. Pure.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use super::sample::Sample;

/// Shortest time between two samples that give a rate: below it, the grain of the counters shows.
pub(crate) const WINDOW_MIN: SignedDuration = SignedDuration::from_secs(1);

/// From this age on the older sample gives way to a new one, so that rates stay recent.
const WINDOW_RENEWED: SignedDuration = SignedDuration::from_secs(15);

/// A sample older than this says nothing about now.
const WINDOW_MAX: SignedDuration = SignedDuration::from_secs(60);

/// The sample that the next ones are compared with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rates {
    base: Option<Sample>,
}

/// A sample and how fast CPU was used before it, in nanocores (billionths of a core).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rated {
    /// The counters.
    pub(crate) sample: Sample,
    /// Over which time, in seconds.
    pub(crate) window_seconds: i64,
    /// The node's rate.
    pub(crate) node: u64,
    /// Rates by pod uid and container; what did not run before has the mean since its start.
    pub(crate) containers: HashMap<(String, String), u64>,
}

impl Rated {
    /// The rate of a container.
    pub(crate) fn container(&self, uid: &str, name: &str) -> u64 {
        self.containers.get(&(uid.to_owned(), name.to_owned())).copied().unwrap_or(0)
    }
}

impl Rates {
    /// Compares a sample with the one before; `None` when that is missing, too old, or too recent:
    /// then the sample is kept for the next time, unless a recent one is there.
    pub(crate) fn add(&mut self, sample: Sample) -> Option<Rated> {
        let age = self.base.as_ref().map(|base| sample.at.duration_since(base.at));
        let Some(base) = self
            .base
            .as_ref()
            .filter(|_| age.is_some_and(|age| (WINDOW_MIN..=WINDOW_MAX).contains(&age)))
        else {
            if age.is_none_or(|age| age > WINDOW_MAX || age.is_negative()) {
                self.base = Some(sample);
            }
            return None;
        };
        let rated = compare(base, sample);
        if age.is_some_and(|age| age >= WINDOW_RENEWED) {
            self.base = Some(rated.sample.clone());
        }
        Some(rated)
    }
}

fn compare(base: &Sample, sample: Sample) -> Rated {
    let before: HashMap<(&str, &str), (Option<Timestamp>, u64)> = base
        .pods
        .iter()
        .flat_map(|pod| {
            pod.containers
                .iter()
                .map(|c| ((pod.uid.as_str(), c.name.as_str()), (c.started, c.cpu_nanos)))
        })
        .collect();
    let mut containers = HashMap::new();
    for pod in &sample.pods {
        for container in &pod.containers {
            let known = before.get(&(pod.uid.as_str(), container.name.as_str()));
            let same = known.filter(|(started, _)| *started == container.started);
            let (from, used) = match same {
                Some((_, cpu)) => (base.at, container.cpu_nanos.saturating_sub(*cpu)),
                None => (container.started.unwrap_or(base.at), container.cpu_nanos),
            };
            let rate = rate(used, sample.at.duration_since(from));
            containers.insert((pod.uid.clone(), container.name.clone()), rate);
        }
    }
    let window = sample.at.duration_since(base.at);
    let node = rate(sample.node.cpu_nanos.saturating_sub(base.node.cpu_nanos), window);
    Rated { window_seconds: window.as_secs(), node, containers, sample }
}

/// Nanoseconds of CPU over a time, as nanocores.
fn rate(used_nanos: u64, over: SignedDuration) -> u64 {
    // A container that began a moment ago is measured over a second at least.
    let nanos = over.max(WINDOW_MIN).as_nanos();
    u64::try_from(i128::from(used_nanos) * 1_000_000_000 / nanos.max(1)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::sample::{ContainerSample, NodeSample, PodSample, ProcessSample};
    use super::*;

    fn at(second: i64, cpu_millis: u64, started: i64) -> Sample {
        let moment = |second| Timestamp::from_second(second).unwrap();
        let container = ContainerSample {
            name: "c".into(),
            image: "i".into(),
            started: Some(moment(started)),
            cpu_nanos: cpu_millis * 1_000_000,
            memory_bytes: 1,
            usage: crate::runtime::Usage::default(),
            memory_limit_bytes: None,
            cpu_limit_millis: None,
        };
        Sample {
            at: moment(second),
            node_name: "h".into(),
            node: NodeSample { cpu_nanos: cpu_millis * 2_000_000, ..NodeSample::default() },
            process: ProcessSample::default(),
            components: 0,
            device: String::new(),
            pods: vec![PodSample {
                namespace: "default".into(),
                name: "p".into(),
                uid: "u".into(),
                started: None,
                traffic: None,
                containers: vec![container],
            }],
        }
    }

    #[test]
    fn a_rate_is_the_difference_over_the_time() {
        let mut rates = Rates::default();
        let mut check = |sample: Sample, expected: Option<(i64, u64, u64)>| {
            let rated = rates.add(sample);
            let parts = rated.map(|r| (r.window_seconds, r.node, r.container("u", "c")));
            assert_eq!(parts, expected);
        };
        check(at(100, 1000, 0), None);
        // Too soon: the first one stays.
        check(at(100, 1001, 0), None);
        // Half a core over ten seconds, then over fifteen, which becomes the new base.
        check(at(110, 6000, 0), Some((10, 1_000_000_000, 500_000_000)));
        check(at(115, 8500, 0), Some((15, 1_000_000_000, 500_000_000)));
        check(at(117, 8500, 0), Some((2, 0, 0)));
        // Begun anew three seconds ago: the mean since then.
        check(at(125, 300, 122), Some((10, 0, 100_000_000)));
        // Nobody asked for long.
        check(at(1000, 9000, 122), None);
        check(at(1002, 9500, 122), Some((2, 500_000_000, 250_000_000)));
    }
}
