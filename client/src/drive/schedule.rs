//! Which key runs next: the pure core of the queue.
//!
//! Time comes in as the duration since the queue began.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::time::Duration;

/// First pause of a key that failed.
const BACK_OFF_FIRST: Duration = Duration::from_millis(5);

/// Longest pause of a key that keeps failing: a fault that goes away is noticed within a minute.
const BACK_OFF_MAX: Duration = Duration::from_secs(60);

/// Keys that wait, run, or are due later.
#[derive(Debug)]
pub(super) struct Schedule<T> {
    ready: VecDeque<T>,
    dirty: HashSet<T>,
    running: HashSet<T>,
    delayed: BTreeMap<(Duration, u64), T>,
    due: HashMap<T, (Duration, u64)>,
    failures: HashMap<T, u32>,
    next_id: u64,
}

impl<T> Default for Schedule<T> {
    fn default() -> Self {
        Schedule {
            ready: VecDeque::new(),
            dirty: HashSet::new(),
            running: HashSet::new(),
            delayed: BTreeMap::new(),
            due: HashMap::new(),
            failures: HashMap::new(),
            next_id: 0,
        }
    }
}

impl<T: Clone + Eq + Hash> Schedule<T> {
    /// Marks a key as dirty; says whether it can run at once.
    pub(super) fn add(&mut self, key: T) -> bool {
        if !self.dirty.insert(key.clone()) || self.running.contains(&key) {
            return false;
        }
        self.ready.push_back(key);
        true
    }

    /// Plans a key for later; of several plans the earliest stays.
    pub(super) fn add_at(&mut self, key: T, at: Duration) {
        if let Some(planned) = self.due.get(&key) {
            if planned.0 <= at {
                return;
            }
            self.delayed.remove(planned);
        }
        let slot = (at, self.next_id);
        self.next_id += 1;
        self.due.insert(key.clone(), slot);
        self.delayed.insert(slot, key);
    }

    /// Plans a key after its back-off, which `jitter` (0.5 to 1) shortens.
    pub(super) fn add_failed(&mut self, key: T, now: Duration, jitter: f64) {
        let failures = self.failures.entry(key.clone()).or_default();
        *failures += 1;
        let doubled = BACK_OFF_FIRST.saturating_mul(1 << (*failures - 1).min(20));
        self.add_at(key, now + doubled.min(BACK_OFF_MAX).mul_f64(jitter));
    }

    /// Forgets a key's failures.
    pub(super) fn succeeded(&mut self, key: &T) {
        self.failures.remove(key);
    }

    /// Says how often in a row a key has failed.
    #[cfg(test)]
    fn failures(&self, key: &T) -> u32 {
        self.failures.get(key).copied().unwrap_or(0)
    }

    /// Makes everything due ready, and gives the time of the next.
    pub(super) fn ripen(&mut self, now: Duration) -> Option<Duration> {
        while let Some((&slot, _)) = self.delayed.first_key_value() {
            if slot.0 > now {
                return Some(slot.0);
            }
            if let Some(key) = self.delayed.remove(&slot) {
                self.due.remove(&key);
                self.add(key);
            }
        }
        None
    }

    /// Takes the next key to run.
    pub(super) fn take(&mut self) -> Option<T> {
        let key = self.ready.pop_front()?;
        self.dirty.remove(&key);
        self.running.insert(key.clone());
        Some(key)
    }

    /// Ends the run of a key; it is ready again if it was added meanwhile.
    pub(super) fn finish(&mut self, key: T) {
        self.running.remove(&key);
        if self.dirty.contains(&key) {
            self.ready.push_back(key);
        }
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Says whether nothing is ready or running; what is due later does not count.
    pub(super) fn is_idle(&self) -> bool {
        self.ready.is_empty() && self.running.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_key_added_while_it_runs_runs_once_more() {
        let mut schedule = Schedule::default();
        assert!(schedule.add("a"));
        assert!(!schedule.add("a"));
        assert_eq!(schedule.take(), Some("a"));
        assert!(!schedule.add("a"));
        assert!(!schedule.add("a"));
        assert_eq!(schedule.take(), None);
        schedule.finish("a");
        assert_eq!(schedule.take(), Some("a"));
        schedule.finish("a");
        assert_eq!(schedule.take(), None);
        assert!(schedule.is_idle());
    }

    #[test]
    fn of_two_plans_the_earlier_counts() {
        let mut schedule = Schedule::default();
        schedule.add_at("a", ms(50));
        schedule.add_at("a", ms(20));
        schedule.add_at("a", ms(90));
        assert_eq!(schedule.ripen(ms(0)), Some(ms(20)));
        assert_eq!(schedule.take(), None);
        assert_eq!(schedule.ripen(ms(20)), None);
        assert_eq!(schedule.take(), Some("a"));
    }

    #[test]
    fn failures_double_the_pause_up_to_its_bound() {
        let mut schedule = Schedule::default();
        let mut pauses = vec![];
        for _ in 0..20 {
            schedule.add_failed("a", ms(0), 1.0);
            pauses.push(schedule.ripen(ms(0)).unwrap());
            schedule.ripen(Duration::MAX);
        }
        assert_eq!(pauses[..3], [ms(5), ms(10), ms(20)]);
        assert_eq!(pauses[19], BACK_OFF_MAX);
        schedule.succeeded(&"a");
        assert_eq!(schedule.failures(&"a"), 0);
    }
}
