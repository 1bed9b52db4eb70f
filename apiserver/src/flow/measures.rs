//! What `/metrics` shows of flow control, under upstream's names.
//!
//! *Source:* `apiserver_flowcontrol_*` of kube-apiserver; "API Priority and Fairness", section Metrics.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::clock;

/// Upper bounds in seconds of the buckets for waiting and working. *Source:* upstream's, thinned out.
const BUCKETS: [f64; 10] = [0.002, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 15.0];

/// Most pairs of FlowSchema and level that have series of their own, for a series outlives its objects; who makes and
/// deletes FlowSchemas all day finds the later ones under `other`.
const SERIES_MAX: usize = 1_000;

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, EncodeLabelSet)]
struct Labels {
    priority_level: String,
    flow_schema: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    priority_level: String,
    flow_schema: String,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Level {
    priority_level: String,
}

/// Why a request was refused. *Source:* the values of `reason` upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Its level does not let requests wait, and has no seat free.
    ConcurrencyLimit,
    /// As many as may do wait in its flow's queues.
    QueueFull,
    /// Its turn did not come in time.
    TimeOut,
}

/// The series of flow control; a clone shares them.
#[derive(Clone, Debug)]
pub(crate) struct Measures {
    dispatched: Family<Labels, Counter>,
    refused: Family<Refused, Counter>,
    waiting: Family<Labels, Gauge>,
    executing: Family<Labels, Gauge>,
    seats: Family<Labels, Gauge>,
    waited: Family<Labels, Histogram>,
    took: Family<Labels, Histogram>,
    nominal: Family<Level, Gauge>,
    lower: Family<Level, Gauge>,
    upper: Family<Level, Gauge>,
    known: Arc<Mutex<BTreeSet<Labels>>>,
}

impl Default for Measures {
    fn default() -> Measures {
        let histogram = || Family::new_with_constructor(histogram as fn() -> Histogram);
        Measures {
            dispatched: Family::default(),
            refused: Family::default(),
            waiting: Family::default(),
            executing: Family::default(),
            seats: Family::default(),
            waited: histogram(),
            took: histogram(),
            nominal: Family::default(),
            lower: Family::default(),
            upper: Family::default(),
            known: Arc::default(),
        }
    }
}

fn histogram() -> Histogram {
    Histogram::new(BUCKETS)
}

impl Measures {
    /// Names the series in a registry; the counters get their `_total` when they are written.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("apiserver_flowcontrol");
        registry.register("dispatched_requests", "Requests let in", self.dispatched.clone());
        registry.register("rejected_requests", "Requests refused", self.refused.clone());
        registry.register("current_inqueue_requests", "Requests that wait", self.waiting.clone());
        registry.register(
            "current_executing_requests",
            "Requests being worked on; of a watch, its beginning",
            self.executing.clone(),
        );
        registry.register("current_executing_seats", "Seats that are taken", self.seats.clone());
        registry.register(
            "request_wait_duration_seconds",
            "Seconds for which a request waited for its turn",
            self.waited.clone(),
        );
        registry.register(
            "request_execution_duration_seconds",
            "Seconds for which a request had its seats",
            self.took.clone(),
        );
        registry.register("nominal_limit_seats", "Seats by shares", self.nominal.clone());
        registry.register("lower_limit_seats", "Seats that are not lent", self.lower.clone());
        registry.register(
            "upper_limit_seats",
            "Seats with what may be borrowed",
            self.upper.clone(),
        );
    }

    /// The series of a FlowSchema in its level.
    pub(super) fn series(&self, level: &str, schema: &str) -> Series {
        let mut labels =
            Labels { priority_level: level.to_owned(), flow_schema: schema.to_owned() };
        let mut known = self.known.lock();
        if known.len() >= SERIES_MAX && !known.contains(&labels) {
            labels = Labels { priority_level: "other".to_owned(), flow_schema: "other".to_owned() };
        }
        known.insert(labels.clone());
        drop(known);
        Series {
            dispatched: self.dispatched.get_or_create(&labels).clone(),
            waiting: self.waiting.get_or_create(&labels).clone(),
            executing: self.executing.get_or_create(&labels).clone(),
            seats: self.seats.get_or_create(&labels).clone(),
            waited: self.waited.get_or_create(&labels).clone(),
            took: self.took.get_or_create(&labels).clone(),
            refused: self.refused.clone(),
            labels,
        }
    }

    /// Shows the limits of the levels that there are now, in seats: by shares, not lent, with what may be borrowed.
    pub(super) fn limits(&self, levels: impl Iterator<Item = (String, [usize; 3])>) {
        for family in [&self.nominal, &self.lower, &self.upper] {
            family.clear();
        }
        for (priority_level, [nominal, lower, upper]) in levels {
            let level = Level { priority_level };
            for (family, seats) in
                [(&self.nominal, nominal), (&self.lower, lower), (&self.upper, upper)]
            {
                family.get_or_create(&level).set(i64::try_from(seats).unwrap_or(i64::MAX));
            }
        }
    }
}

/// What is counted of one FlowSchema.
#[derive(Debug)]
pub(super) struct Series {
    labels: Labels,
    dispatched: Counter,
    refused: Family<Refused, Counter>,
    waiting: Gauge,
    executing: Gauge,
    seats: Gauge,
    waited: Histogram,
    took: Histogram,
}

impl Series {
    /// Counts a refusal.
    pub(super) fn refuse(&self, reason: Reason) {
        let Labels { priority_level, flow_schema } = self.labels.clone();
        let reason = match reason {
            Reason::ConcurrencyLimit => "concurrency-limit",
            Reason::QueueFull => "queue-full",
            Reason::TimeOut => "time-out",
        };
        self.refused.get_or_create(&Refused { priority_level, flow_schema, reason }).inc();
    }

    /// Counts a request as waiting until what comes back is dropped.
    pub(super) fn wait(&self) -> Counted {
        Counted::one(&self.waiting, 1)
    }

    /// Counts a request that is let in, `arrived` some time ago, and as being worked on until what comes back is
    /// dropped.
    pub(super) fn dispatch(&self, arrived: Instant, width: usize) -> Executing {
        self.dispatched.inc();
        let now = clock::instant();
        self.waited.observe(now.saturating_duration_since(arrived).as_secs_f64());
        Executing {
            _requests: Counted::one(&self.executing, 1),
            _seats: Counted::one(&self.seats, width),
            took: self.took.clone(),
            began: now,
        }
    }
}

/// A gauge that is higher as long as this lives.
#[derive(Debug)]
pub(super) struct Counted(Gauge, i64);

impl Counted {
    fn one(gauge: &Gauge, amount: usize) -> Counted {
        let amount = i64::try_from(amount).unwrap_or(i64::MAX);
        gauge.inc_by(amount);
        Counted(gauge.clone(), amount)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec_by(self.1);
    }
}

/// A request that is being worked on.
#[derive(Debug)]
pub(super) struct Executing {
    _requests: Counted,
    _seats: Counted,
    took: Histogram,
    began: Instant,
}

impl Drop for Executing {
    fn drop(&mut self) {
        self.took.observe(clock::instant().saturating_duration_since(self.began).as_secs_f64());
    }
}
