//! Pods that wait for a node: ready to be tried, waiting out a pause, or waiting for a change.
//!
//! A pod that fits nowhere is not tried again until something happens that could help it, or five
//! minutes have passed; and never before its pause is over, which doubles from 1 s to 10 s.
//! Time is an input: the duration since the scheduler began.
//! *Source:* `pkg/scheduler/backend/queue`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::filters::Cause;
use crate::pod_info::PodInfo;

/// First pause after a failed try.
pub const BACKOFF_MIN: Duration = Duration::from_secs(1);

/// Longest pause between tries.
pub const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// Longest stay without a try, in case a helpful change was not recognised.
pub const UNSCHEDULABLE_MAX: Duration = Duration::from_secs(5 * 60);

/// Order among pods that are ready: higher priority first, then who came first.
type Rank = (Reverse<i32>, u64);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// May be tried now.
    Active(Rank),
    /// Waits until its pause is over.
    Backoff { until: Duration },
    /// Waits for a change that helps one of the causes.
    Unschedulable { causes: BTreeSet<Cause>, since: Duration },
    /// Is being bound; stays out of the way.
    Flying,
}

#[derive(Debug, Clone)]
struct Entry {
    pod: Arc<PodInfo>,
    place: Place,
    /// When it came in, as a running number.
    arrival: u64,
    attempts: u32,
    /// End of the pause after the last try.
    paused_until: Duration,
}

/// The pods that wait for a node. Holds each pod once, by uid; bounded by the pods of the cluster.
#[derive(Debug, Default)]
pub struct Queue {
    entries: HashMap<String, Entry>,
    active: BTreeMap<Rank, String>,
    backoff: BTreeSet<(Duration, String)>,
    /// Pods that wait for a change, by the time since when.
    unschedulable: BTreeSet<(Duration, String)>,
    arrivals: u64,
}

impl Queue {
    /// Takes a pod in, ready at once. A pod that is in already is only replaced by its newer state.
    pub fn add(&mut self, pod: Arc<PodInfo>) {
        let uid = pod.uid().to_owned();
        if let Some(entry) = self.entries.get_mut(&uid) {
            entry.pod = pod;
            return;
        }
        self.arrivals += 1;
        let entry = Entry {
            pod,
            place: Place::Flying,
            arrival: self.arrivals,
            attempts: 0,
            paused_until: Duration::ZERO,
        };
        self.entries.insert(uid.clone(), entry);
        self.activate(&uid);
    }

    /// Takes a pod whose own spec or labels changed: whatever it waited for, it is worth a try.
    pub fn changed(&mut self, pod: Arc<PodInfo>, now: Duration) {
        let uid = pod.uid().to_owned();
        self.add(pod);
        let waits = |entry: &Entry| matches!(entry.place, Place::Unschedulable { .. });
        if self.entries.get(&uid).is_some_and(waits) {
            self.retry(&uid, now);
        }
    }

    /// Forgets a pod; tells whether it was there.
    pub fn remove(&mut self, uid: &str) -> bool {
        self.unplace(uid);
        self.entries.remove(uid).is_some()
    }

    /// Takes out the pod to try next, highest priority first. It stays known as flying until
    /// [`Queue::remove`], [`Queue::refused`] or [`Queue::failed`] says what came of it.
    pub fn pop(&mut self, now: Duration) -> Option<Arc<PodInfo>> {
        self.release(now);
        let (_, uid) = self.active.pop_first()?;
        let entry = self.entries.get_mut(&uid)?;
        entry.place = Place::Flying;
        entry.attempts += 1;
        Some(Arc::clone(&entry.pod))
    }

    /// Takes out a pod wherever it stands, as [`Queue::pop`] does; `None` for one that is out or not known.
    pub fn take(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        if self.entries.get(uid)?.place == Place::Flying {
            return None;
        }
        self.unplace(uid);
        let entry = self.entries.get_mut(uid)?;
        entry.place = Place::Flying;
        entry.attempts += 1;
        Some(Arc::clone(&entry.pod))
    }

    /// Puts a pod that no node took back: it waits for a change that helps one of the causes.
    pub fn refused(&mut self, uid: &str, causes: BTreeSet<Cause>, now: Duration) {
        if let Some(entry) = self.entries.get_mut(uid) {
            entry.paused_until = now + pause(entry.attempts);
            entry.place = Place::Unschedulable { causes, since: now };
            self.unschedulable.insert((now, uid.to_owned()));
        }
    }

    /// Puts a pod whose binding failed back: it is tried again after its pause.
    pub fn failed(&mut self, uid: &str, now: Duration) {
        if let Some(entry) = self.entries.get_mut(uid) {
            entry.paused_until = now + pause(entry.attempts);
        }
        self.retry(uid, now);
    }

    /// Wakes the pods that wait for one of these causes to change.
    pub fn happened(&mut self, helps: &[Cause], now: Duration) {
        let helped = |entry: &Entry| match &entry.place {
            // Without causes there were no nodes: any change may be the one.
            Place::Unschedulable { causes, .. } => {
                causes.is_empty() || helps.iter().any(|cause| causes.contains(cause))
            }
            Place::Active(_) | Place::Backoff { .. } | Place::Flying => false,
        };
        let waiting = self.unschedulable.iter().map(|(_, uid)| uid);
        let uids: Vec<String> =
            waiting.filter(|uid| self.entries.get(*uid).is_some_and(helped)).cloned().collect();
        for uid in uids {
            self.retry(&uid, now);
        }
    }

    /// Gives the time at which a pause ends or a pod has waited for long enough.
    pub fn wakes_at(&self) -> Option<Duration> {
        let backoff = self.backoff.first().map(|(until, _)| *until);
        let flush = self.unschedulable.first().map(|(since, _)| *since + UNSCHEDULABLE_MAX);
        backoff.into_iter().chain(flush).min()
    }

    /// Gives a pod that is known, wherever it stands.
    pub fn get(&self, uid: &str) -> Option<&Arc<PodInfo>> {
        self.entries.get(uid).map(|entry| &entry.pod)
    }

    /// Says how many pods are ready, pausing, and waiting for a change.
    pub fn lengths(&self) -> (usize, usize, usize) {
        (self.active.len(), self.backoff.len(), self.unschedulable.len())
    }

    /// Moves pods whose pause is over, or who waited for long enough, to the ready ones.
    fn release(&mut self, now: Duration) {
        while let Some((until, uid)) = self.backoff.first().cloned() {
            if until > now {
                break;
            }
            self.activate(&uid);
        }
        while let Some((since, uid)) = self.unschedulable.first().cloned() {
            if since + UNSCHEDULABLE_MAX > now {
                break;
            }
            self.activate(&uid);
        }
    }

    /// Makes a pod ready, or lets it wait out its pause.
    fn retry(&mut self, uid: &str, now: Duration) {
        let Some(until) = self.entries.get(uid).map(|entry| entry.paused_until) else { return };
        if until <= now {
            self.activate(uid);
            return;
        }
        self.unplace(uid);
        if let Some(entry) = self.entries.get_mut(uid) {
            entry.place = Place::Backoff { until };
            self.backoff.insert((until, uid.to_owned()));
        }
    }

    fn activate(&mut self, uid: &str) {
        self.unplace(uid);
        if let Some(entry) = self.entries.get_mut(uid) {
            let rank = (Reverse(entry.pod.priority()), entry.arrival);
            entry.place = Place::Active(rank);
            self.active.insert(rank, uid.to_owned());
        }
    }

    /// Takes a pod out of the index of the place where it stands.
    fn unplace(&mut self, uid: &str) {
        match self.entries.get(uid).map(|entry| entry.place.clone()) {
            Some(Place::Active(rank)) => {
                self.active.remove(&rank);
            }
            Some(Place::Backoff { until }) => {
                self.backoff.remove(&(until, uid.to_owned()));
            }
            Some(Place::Unschedulable { since, .. }) => {
                self.unschedulable.remove(&(since, uid.to_owned()));
            }
            Some(Place::Flying) | None => {}
        }
    }
}

/// Gives the pause after that many tries.
fn pause(attempts: u32) -> Duration {
    let doublings = attempts.saturating_sub(1).min(16);
    BACKOFF_MIN.saturating_mul(1 << doublings).min(BACKOFF_MAX)
}

#[cfg(test)]
mod tests;
