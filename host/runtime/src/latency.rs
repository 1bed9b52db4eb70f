//! How long requests took: a histogram. Counting alone; nothing here waits or reads a clock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Upper bounds of the buckets, in seconds; what took longer is in one more.
///
/// *Source:* the bounds that OpenTelemetry advises for `http.server.request.duration`, with two finer
/// ones in front, because a request of a component takes tens of microseconds.
pub const LATENCY_BOUNDS_SECONDS: [f64; 16] = [
    0.0005, 0.001, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// Buckets, the one without a bound included.
pub const LATENCY_BUCKETS: usize = LATENCY_BOUNDS_SECONDS.len() + 1;

/// Classes of answers: the first digit of the status code; 0 is a request that got no answer.
pub const ANSWER_CLASSES: usize = 6;

/// What is counted of requests while they go on.
#[derive(Debug, Default)]
pub(crate) struct Latency {
    buckets: [AtomicU64; LATENCY_BUCKETS],
    sum_micros: AtomicU64,
    classes: [AtomicU64; ANSWER_CLASSES],
}

/// What was counted so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latencies {
    /// Requests by how long they took, each in one bucket; see [`LATENCY_BOUNDS_SECONDS`].
    pub buckets: [u64; LATENCY_BUCKETS],
    /// Microseconds that all of them took together.
    pub sum_usec: u64,
    /// Requests by the first digit of their status code; 0 is no answer.
    pub classes: [u64; ANSWER_CLASSES],
}

impl Latency {
    /// Counts a request that took `time` and ended with `status`, or with no answer.
    pub(crate) fn record(&self, time: Duration, status: Option<u16>) {
        let seconds = time.as_secs_f64();
        let place = LATENCY_BOUNDS_SECONDS.iter().position(|bound| seconds <= *bound);
        let place = place.unwrap_or(LATENCY_BUCKETS - 1);
        let class = usize::from(status.unwrap_or(0) / 100).min(ANSWER_CLASSES - 1);
        for count in [self.buckets.get(place), self.classes.get(class)].into_iter().flatten() {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Reads the counts. They are not of one moment: a request may be in one and not yet in another.
    pub(crate) fn counts(&self) -> Latencies {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Latencies {
            buckets: self.buckets.each_ref().map(read),
            sum_usec: read(&self.sum_micros),
            classes: self.classes.each_ref().map(read),
        }
    }
}

impl Latencies {
    /// Requests in all.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_is_in_one_bucket_and_one_class() {
        let latency = Latency::default();
        let rows = [
            (Duration::from_micros(500), Some(200), 0, 2),
            (Duration::from_micros(501), Some(204), 1, 2),
            (Duration::from_secs(10), Some(502), 15, 5),
            (Duration::from_secs(11), None, 16, 0),
            (Duration::from_millis(30), Some(999), 5, 5),
        ];
        for (time, status, bucket, class) in rows {
            let before = latency.counts();
            latency.record(time, status);
            let after = latency.counts();
            assert_eq!(after.buckets[bucket], before.buckets[bucket] + 1, "{time:?}");
            assert_eq!(after.classes[class], before.classes[class] + 1, "{time:?}");
            assert_eq!(after.count(), before.count() + 1);
        }
        assert_eq!(latency.counts().sum_usec, 500 + 501 + 10_000_000 + 11_000_000 + 30_000);
    }
}
