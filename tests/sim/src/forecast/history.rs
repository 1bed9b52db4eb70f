//! What answered when: each change of a Service's endpoints and of a budget's health.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use crate::oracle::Objects;
use crate::promises::text;

const SERVICES: &str = "/registry/core/services/";
const SLICES: &str = "/registry/discovery.k8s.io/endpointslices/";
const BUDGETS: &str = "/registry/policy/poddisruptionbudgets/";

/// Changes that are told of one Service; the worst moments come first in time anyway.
const CHANGES_TOLD_MAX: usize = 20;

/// How a Service stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Standing {
    /// Endpoints that clients are led to.
    listed: usize,
    /// Those of them whose host lives.
    answer: usize,
}

/// How a budget stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Health {
    healthy: i64,
    wanted: i64,
}

/// All changes since the hosts died.
#[derive(Debug, Default)]
pub(super) struct History {
    services: BTreeMap<String, Vec<(Duration, Standing)>>,
    budgets: BTreeMap<String, Vec<(Duration, Health)>>,
}

impl History {
    /// Notes how everything stands at a time.
    pub(super) fn look(&mut self, at: Duration, objects: &Objects, dead: &BTreeSet<String>) {
        for (key, service) in objects.below(SERVICES) {
            if service.pointer("/spec/selector").is_some_and(Value::is_object) {
                let standing = standing(objects, service, dead);
                let name = key.trim_start_matches(SERVICES).to_owned();
                note(self.services.entry(name).or_default(), at, standing);
            }
        }
        for (key, budget) in objects.below(BUDGETS) {
            let number = |field: &str| budget["status"][field].as_i64().unwrap_or(0);
            let (healthy, wanted) = (number("currentHealthy"), number("desiredHealthy"));
            let name = key.trim_start_matches(BUDGETS).to_owned();
            note(self.budgets.entry(name).or_default(), at, Health { healthy, wanted });
        }
    }

    /// The history for people.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, changes) in &self.services {
            lines.push(format!("service {name}"));
            for (at, Standing { listed, answer }) in changes.iter().take(CHANGES_TOLD_MAX) {
                let share = (answer * 100).checked_div(*listed).unwrap_or(0);
                lines.push(format!(
                    "  {}  {answer} of {listed} endpoints answer: {share} % of new connections",
                    clock(*at)
                ));
            }
        }
        for (name, changes) in &self.budgets {
            lines.push(format!("budget {name}"));
            for (at, Health { healthy, wanted }) in changes.iter().take(CHANGES_TOLD_MAX) {
                let word = if healthy < wanted { "too few" } else { "kept" };
                lines.push(format!("  {}  {healthy} healthy, {wanted} wanted: {word}", clock(*at)));
            }
        }
        lines
    }
}

/// Adds a state if it is another one than the last.
fn note<T: PartialEq>(changes: &mut Vec<(Duration, T)>, at: Duration, state: T) {
    if changes.last().is_none_or(|(_, last)| *last != state) {
        changes.push((at, state));
    }
}

fn standing(objects: &Objects, service: &Value, dead: &BTreeSet<String>) -> Standing {
    let (namespace, name) = (text(service, "/metadata/namespace"), text(service, "/metadata/name"));
    let slices = objects.below(SLICES).map(|(_, slice)| slice).filter(|slice| {
        text(slice, "/metadata/namespace") == namespace
            && slice["metadata"]["labels"]["kubernetes.io/service-name"] == name
    });
    let all = slices.flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten());
    let ready: Vec<&Value> =
        all.filter(|endpoint| endpoint["conditions"]["ready"] == true).collect();
    let lives = |endpoint: &&&Value| !dead.contains(text(endpoint, "/nodeName"));
    Standing { listed: ready.len(), answer: ready.iter().filter(lives).count() }
}

fn clock(at: Duration) -> String {
    format!("{:02}:{:02}", at.as_secs() / 60, at.as_secs() % 60)
}
