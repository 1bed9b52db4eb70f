//! What is measured, and who knows it. Nothing here waits or reads a clock.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::telemetry::Resource;

/// Parts that are measured at once; one more is not, so that a collector's requests stay bounded.
pub const SOURCES_MAX: usize = 100_000;

/// One measurement, by its name in OpenTelemetry's conventions.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Its name, such as `http.server.request.duration`.
    pub name: &'static str,
    /// Its unit, such as `s` or `By`.
    pub unit: &'static str,
    /// Name and value of what tells it from others of its name.
    pub attributes: Vec<(&'static str, &'static str)>,
    /// What was measured.
    pub data: Data,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// What only grows, since the part began.
    Counter(f64),
    /// What there is now.
    Amount(u64),
    /// How often something was how much, since the part began.
    Histogram {
        /// Upper bounds of the buckets; what is above is in one more.
        bounds: Vec<f64>,
        /// How many there are in each bucket.
        buckets: Vec<u64>,
        /// All of them together.
        sum: f64,
    },
}

/// Tells what a part measures now; nothing once it is gone.
pub type Source = Box<dyn Fn() -> Option<Vec<Metric>> + Send + Sync>;

struct Part {
    resource: Resource,
    since_nanos: u64,
    source: Source,
}

/// All parts that are measured.
#[derive(Clone, Default)]
pub(crate) struct Sources {
    parts: Arc<Mutex<Vec<Part>>>,
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sources").field("parts", &self.parts.lock().len()).finish()
    }
}

impl Sources {
    /// Adds a part that counts since a time, in nanoseconds since 1970.
    pub(crate) fn add(&self, resource: Resource, since_nanos: u64, source: Source) {
        let mut parts = self.parts.lock();
        if parts.len() < SOURCES_MAX {
            parts.push(Part { resource, since_nanos, source });
        }
    }

    /// Asks all parts; those that are gone are forgotten.
    pub(crate) fn read(&self) -> Vec<(Resource, u64, Vec<Metric>)> {
        let mut read = Vec::new();
        self.parts.lock().retain(|part| {
            let Some(metrics) = (part.source)() else { return false };
            read.push((part.resource.clone(), part.since_nanos, metrics));
            true
        });
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_gone_is_forgotten() {
        let sources = Sources::default();
        let alive = Arc::new(());
        let weak = Arc::downgrade(&alive);
        let source = move || weak.upgrade().map(|_| Vec::new());
        sources.add(Resource::service("one"), 1, Box::new(source));
        sources.add(Resource::service("two"), 2, Box::new(|| Some(Vec::new())));
        assert_eq!(sources.read().len(), 2);
        drop(alive);
        let left = sources.read();
        assert_eq!((left.len(), left[0].1), (1, 2));
    }
}
