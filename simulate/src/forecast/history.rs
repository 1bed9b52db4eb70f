//! What answered when: each change of a Service's endpoints, of a workload's pods and of a budget's health.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt};
use serde_json::Value;

use crate::objects::{
    BUDGETS, DAEMON_SETS, DEPLOYMENTS, NODES, Objects, PODS, SERVICES, SLICES, STATEFUL_SETS,
    is_active, is_ready, text,
};

/// Changes that are told of one object; how many more there were is told too.
const CHANGES_TOLD_MAX: usize = 20;

/// Where workloads are, what they are called, and where each says how many pods it wants.
const WORKLOADS: [(&str, &str, &str); 3] = [
    (DEPLOYMENTS, "deployment", "/spec/replicas"),
    (STATEFUL_SETS, "statefulset", "/spec/replicas"),
    (DAEMON_SETS, "daemonset", "/status/desiredNumberScheduled"),
];

/// Heartbeats and what is told about things: no change of the things themselves.
const IDLE_TALK: [&str; 3] = ["/registry/coordination.k8s.io/", "/registry/core/events/", NODES];

/// Tells whether a change of this key can change how something stands.
pub(super) fn matters(key: &str) -> bool {
    !IDLE_TALK.iter().any(|prefix| key.starts_with(prefix))
}

/// How many of how many do what they should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Standing {
    /// Endpoints whose host lives, pods that serve, pods that a budget counts.
    good: usize,
    /// Endpoints that clients are led to, pods that were asked for, pods that a budget demands.
    of: usize,
}

impl Standing {
    fn falls_short(self) -> bool {
        self.good < self.of || self.of == 0
    }

    /// Of the connections, in percent.
    fn share(self) -> usize {
        (self.good * 100).checked_div(self.of).unwrap_or(0)
    }
}

/// Since when something stood how, oldest first, each unlike the one before.
type Changes = Vec<(Duration, Standing)>;

/// All changes since the hosts died, by what they are about, such as `service default/web`.
#[derive(Debug, Default)]
pub(super) struct History {
    services: BTreeMap<String, Changes>,
    workloads: BTreeMap<String, Changes>,
    budgets: BTreeMap<String, Changes>,
}

impl History {
    /// Notes how everything stands at a time.
    pub(super) fn look(&mut self, at: Duration, objects: &Objects, dead: &BTreeSet<String>) {
        let slices = slices_by_service(objects);
        for (key, service) in objects.below(SERVICES) {
            if service.pointer("/spec/selector").is_some_and(Value::is_object) {
                let place = key.trim_start_matches(SERVICES);
                let standing = endpoints(slices.get(place).map_or(&[][..], Vec::as_slice), dead);
                note(self.services.entry(format!("service {place}")).or_default(), at, standing);
            }
        }
        let serving = Serving::of(objects, dead);
        for (prefix, kind, wanted) in WORKLOADS {
            for (key, workload) in objects.below(prefix) {
                let name = format!("{kind} {}", key.trim_start_matches(prefix));
                let standing =
                    Standing { good: serving.of_workload(workload), of: number(workload, wanted) };
                note(self.workloads.entry(name).or_default(), at, standing);
            }
        }
        for (key, budget) in objects.below(BUDGETS) {
            let name = format!("budget {}", key.trim_start_matches(BUDGETS));
            let standing = Standing {
                good: number(budget, "/status/currentHealthy"),
                of: number(budget, "/status/desiredHealthy"),
            };
            note(self.budgets.entry(name).or_default(), at, standing);
        }
    }

    /// The history for people.
    pub(super) fn lines(&self) -> Vec<String> {
        let service = |s: Standing| {
            format!("{} of {} endpoints answer: {} % of new connections", s.good, s.of, s.share())
        };
        let workload = |s: Standing| format!("{} of {} pods serve", s.good, s.of);
        let budget = |s: Standing| {
            let word = if s.good < s.of { "too few" } else { "kept" };
            format!("{} healthy, {} wanted: {word}", s.good, s.of)
        };
        let mut lines = Vec::new();
        tell(&mut lines, &self.services, service);
        tell(&mut lines, &self.workloads, workload);
        tell(&mut lines, &self.budgets, budget);
        lines
    }

    /// A line for each Service, workload and budget, of what the user of it notices.
    pub(super) fn summary(&self, watched_for: Duration) -> Vec<String> {
        let services = self.services.iter().map(|(name, changes)| {
            let worst = changes.iter().map(|(_, standing)| standing.share()).min().unwrap_or(0);
            let short = short_for(changes, watched_for);
            match (short.is_zero(), changes.iter().all(|(_, standing)| standing.of == 0)) {
                (_, true) => format!("  {name}: no pod is behind it"),
                (true, false) => format!("  {name}: answers all along"),
                (false, false) => format!(
                    "  {name}: at worst {worst} % of new connections are answered, fewer than all for {}",
                    clock(short)
                ),
            }
        });
        let workloads = self.workloads.iter().map(|(name, changes)| {
            let fewest = changes.iter().map(|(_, standing)| standing.good).min().unwrap_or(0);
            let last = changes.last().map_or(Standing { good: 0, of: 0 }, |(_, last)| *last);
            let short = short_for(changes, watched_for);
            let end = format!("{} of {} pods serve in the end", last.good, last.of);
            if short.is_zero() || last.of == 0 {
                return format!("  {name}: {end}");
            }
            format!("  {name}: {fewest} pods at worst, too few for {}; {end}", clock(short))
        });
        let budgets = self.budgets.iter().map(|(name, changes)| {
            let short = changes.iter().any(|(_, standing)| standing.good < standing.of);
            let word = if short { "broken by the loss itself" } else { "kept" };
            format!("  {name}: {word}")
        });
        services.chain(workloads).chain(budgets).collect()
    }
}

fn tell(
    lines: &mut Vec<String>,
    all: &BTreeMap<String, Changes>,
    say: impl Fn(Standing) -> String,
) {
    for (name, changes) in all {
        lines.push(name.clone());
        for (at, standing) in changes.iter().take(CHANGES_TOLD_MAX) {
            lines.push(format!("  {}  {}", clock(*at), say(*standing)));
        }
        if changes.len() > CHANGES_TOLD_MAX {
            lines.push(format!("  and {} more changes", changes.len() - CHANGES_TOLD_MAX));
        }
    }
}

/// Adds a state if it is another one than the last.
fn note(changes: &mut Changes, at: Duration, state: Standing) {
    if changes.last().is_none_or(|(_, last)| *last != state) {
        changes.push((at, state));
    }
}

/// How long something fell short, in all.
fn short_for(changes: &Changes, until: Duration) -> Duration {
    let ends = changes.iter().skip(1).map(|(at, _)| *at).chain([until]);
    let spans = changes.iter().zip(ends).filter(|((_, standing), _)| standing.falls_short());
    spans.map(|((from, _), end)| end.saturating_sub(*from)).sum()
}

/// The EndpointSlices of each Service, by `namespace/name`.
fn slices_by_service(objects: &Objects) -> BTreeMap<String, Vec<&Value>> {
    let mut slices: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for (_, slice) in objects.below(SLICES) {
        let service = text(slice, "/metadata/labels/kubernetes.io~1service-name");
        let place = format!("{}/{service}", text(slice, "/metadata/namespace"));
        slices.entry(place).or_default().push(slice);
    }
    slices
}

fn endpoints(slices: &[&Value], dead: &BTreeSet<String>) -> Standing {
    let all = slices.iter().flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten());
    let ready: Vec<&Value> =
        all.filter(|endpoint| endpoint["conditions"]["ready"] == true).collect();
    let lives = |endpoint: &&&Value| !dead.contains(text(endpoint, "/nodeName"));
    Standing { of: ready.len(), good: ready.iter().filter(lives).count() }
}

/// The labels of the pods that serve, so that a thousand pods are read once for all workloads and not for each.
struct Serving {
    pods: Vec<BTreeMap<String, String>>,
    /// Places in `pods`, by namespace and by namespace and each label.
    places: HashMap<Place, Vec<usize>>,
}

/// A namespace, and perhaps a label and its value.
type Place = (String, Option<(String, String)>);

impl Serving {
    fn of(objects: &Objects, dead: &BTreeSet<String>) -> Serving {
        let mut serving = Serving { pods: Vec::new(), places: HashMap::new() };
        for (_, pod) in objects.below(PODS) {
            if is_active(pod) && is_ready(pod) && !dead.contains(text(pod, "/spec/nodeName")) {
                serving.add(pod);
            }
        }
        serving
    }

    fn add(&mut self, pod: &Value) {
        let labels = pod.pointer("/metadata/labels").and_then(Value::as_object);
        let text_of = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let labels: BTreeMap<String, String> = labels
            .into_iter()
            .flatten()
            .map(|(key, value)| (key.clone(), text_of(value)))
            .collect();
        let namespace = text(pod, "/metadata/namespace").to_owned();
        let index = self.pods.len();
        for (key, value) in &labels {
            let place = (namespace.clone(), Some((key.clone(), value.clone())));
            self.places.entry(place).or_default().push(index);
        }
        self.places.entry((namespace, None)).or_default().push(index);
        self.pods.push(labels);
    }

    /// How many of them a workload's selector means.
    fn of_workload(&self, workload: &Value) -> usize {
        let selector = workload.pointer("/spec/selector");
        let selector = selector.cloned().unwrap_or_default();
        let Ok(selector) = serde_json::from_value::<LabelSelector>(selector) else { return 0 };
        let namespace = text(workload, "/metadata/namespace").to_owned();
        let label = selector.match_labels.iter().flatten().next();
        let label = label.map(|(key, value)| (key.clone(), value.clone()));
        let Ok(selector) = Selector::try_from(selector) else { return 0 };
        let near = self.places.get(&(namespace, label)).into_iter().flatten();
        near.filter(|index| selector.matches(&self.pods[**index])).count()
    }
}

fn number(object: &Value, pointer: &str) -> usize {
    let number = object.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn clock(at: Duration) -> String {
    format!("{:02}:{:02}", at.as_secs() / 60, at.as_secs() % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_something_fell_short_is_summed_up() {
        let check = |text: &str, expected: u64| {
            let mut changes = Changes::new();
            for change in text.split(' ').filter(|change| !change.is_empty()) {
                let (at, counts) = change.split_once(':').unwrap();
                let (good, of) = counts.split_once('/').unwrap();
                let standing = Standing { good: good.parse().unwrap(), of: of.parse().unwrap() };
                note(&mut changes, Duration::from_secs(at.parse().unwrap()), standing);
            }
            let short = short_for(&changes, Duration::from_secs(100));
            assert_eq!(short.as_secs(), expected, "{text}");
        };
        check("0:3/3", 0);
        check("0:2/3 40:2/2", 40);
        check("0:2/3 10:1/3 40:3/3 90:0/3", 50);
        check("0:2/3", 100);
        check("0:0/0 5:1/1", 5);
        check("", 0);
    }
}
