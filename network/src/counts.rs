//! What the network counts of connections that were not let through, for `/metrics`.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::policy::Direction;

/// Counters that only grow, all of this process.
#[derive(Debug, Default)]
pub struct Counts {
    ingress: AtomicU64,
    egress: AtomicU64,
    rehearsed: AtomicU64,
    not_granted: AtomicU64,
    no_backend: AtomicU64,
    not_taken: AtomicU64,
    failed: AtomicU64,
}

/// Why something was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// A NetworkPolicy refused it.
    Policy(Direction),
    /// A NetworkPolicy in dry run would have refused it.
    Rehearsed,
    /// It led outside, where no grant of the pod leads.
    NotGranted,
    /// It went to a Service that had no backend or no such port.
    NoBackend,
    /// A backend did not take it; another one may have.
    NotTaken,
    /// A backend answered a request with a failure, or not at all.
    Failed,
}

impl Counts {
    /// Counts one.
    pub fn add(&self, what: Count) {
        let counter = match what {
            Count::Policy(Direction::Ingress) => &self.ingress,
            Count::Policy(Direction::Egress) => &self.egress,
            Count::Rehearsed => &self.rehearsed,
            Count::NotGranted => &self.not_granted,
            Count::NoBackend => &self.no_backend,
            Count::NotTaken => &self.not_taken,
            Count::Failed => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// The counters in Prometheus' text format; `ejected`: the backends that are left out now.
    #[must_use]
    pub fn page(&self, ejected: usize) -> String {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut page = Page::default();
        page.metric(
            ("coracle_network_policy_refusals_total", "counter"),
            "Connections that a NetworkPolicy refused, by the way that it closes.",
            &[
                ("direction=\"egress\"", of(&self.egress)),
                ("direction=\"ingress\"", of(&self.ingress)),
            ],
        );
        page.metric(
            ("coracle_network_policy_dry_run_refusals_total", "counter"),
            "Connections that a NetworkPolicy in dry run would have refused.",
            &[("", of(&self.rehearsed))],
        );
        page.metric(
            ("coracle_network_refusals_total", "counter"),
            "Connections of pods that led nowhere, by cause.",
            &[
                ("cause=\"no_backend\"", of(&self.no_backend)),
                ("cause=\"not_granted\"", of(&self.not_granted)),
            ],
        );
        page.metric(
            ("coracle_network_connect_failures_total", "counter"),
            "Connections that a backend of a Service did not take.",
            &[("", of(&self.not_taken))],
        );
        page.metric(
            ("coracle_network_backend_failures_total", "counter"),
            "Requests that a backend of a Service answered with 5xx or not at all.",
            &[("", of(&self.failed))],
        );
        page.metric(
            ("coracle_network_ejected_backends", "gauge"),
            "Backends that are left out for a while since they took no connections or failed requests.",
            &[("", ejected as u64)],
        );
        page.0
    }
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn metric(&mut self, (name, kind): (&str, &str), help: &str, rows: &[(&str, u64)]) {
        // Writing to a string cannot fail.
        let _infallible = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in rows {
            let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
            let _infallible = writeln!(self.0, "{name}{labels} {value}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_a_counter_of_its_own() {
        let counts = Counts::default();
        let all = [
            (Count::Policy(Direction::Ingress), "policy_refusals_total{direction=\"ingress\"}"),
            (Count::Policy(Direction::Egress), "policy_refusals_total{direction=\"egress\"}"),
            (Count::Rehearsed, "policy_dry_run_refusals_total"),
            (Count::NotGranted, "refusals_total{cause=\"not_granted\"}"),
            (Count::NoBackend, "refusals_total{cause=\"no_backend\"}"),
            (Count::NotTaken, "connect_failures_total"),
            (Count::Failed, "backend_failures_total"),
        ];
        for (times, (what, _)) in (1..).zip(all) {
            (0..times).for_each(|_| counts.add(what));
        }
        let page = counts.page(9);
        for (times, (_, name)) in (1..).zip(all) {
            assert!(page.contains(&format!("\ncoracle_network_{name} {times}\n")), "{page}");
        }
        assert!(page.ends_with("coracle_network_ejected_backends 9\n"), "{page}");
    }
}
