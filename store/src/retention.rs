//! How long the history is kept: by age, by count and by bytes, whichever ends first.

use crate::{Mvcc, Revision};
use std::collections::VecDeque;
use std::time::Duration;

/// How long events are kept for watches that resume and pages that go on, when the other limits allow it.
///
/// *Source:* kube-apiserver compacts etcd every 5 minutes, and clients expect a continue token to expire within 10.
pub const HISTORY_AGE_MAX: Duration = Duration::from_secs(300);

/// How many events are kept at most; kube-apiserver's watch cache has the same bound.
pub const HISTORY_EVENTS_MAX: usize = 100_000;

/// How many bytes the overwritten values in the history may hold in memory.
pub const HISTORY_BYTES_MAX: usize = 64 << 20;

/// Ages are told apart in steps of this, so that the marks stay few.
const MARK_EVERY: Duration = Duration::from_secs(10);

/// Remembers when revisions were committed, as far as ages need it.
///
/// Times are durations since any fixed moment; the caller has the clock.
#[derive(Debug, Default)]
pub(crate) struct Retention {
    /// The latest revision at some past moments, oldest first.
    marks: VecDeque<(Duration, Revision)>,
}

impl Retention {
    /// Up to and with which revision the history should go now; `None` when all of it may stay.
    pub(crate) fn floor(&mut self, now: Duration, mvcc: &Mvcc) -> Option<Revision> {
        self.mark(now, mvcc.revision());
        [self.by_age(now), by_count(mvcc), by_bytes(mvcc)]
            .into_iter()
            .flatten()
            .max()
            .filter(|floor| *floor > mvcc.compacted())
    }

    fn mark(&mut self, now: Duration, revision: Revision) {
        let due = self.marks.back().is_none_or(|(last, _)| now >= *last + MARK_EVERY);
        if due {
            self.marks.push_back((now, revision));
        }
    }

    fn by_age(&mut self, now: Duration) -> Option<Revision> {
        let mut floor = None;
        while let Some((_, revision)) =
            self.marks.pop_front_if(|(at, _)| now.saturating_sub(*at) >= HISTORY_AGE_MAX)
        {
            floor = Some(revision);
        }
        floor
    }
}

fn by_count(mvcc: &Mvcc) -> Option<Revision> {
    let excess = mvcc.history_len().checked_sub(HISTORY_EVENTS_MAX + 1)?;
    // A tenth at a time, so that a full history is not trimmed with each commit.
    mvcc.history_revision(excess + HISTORY_EVENTS_MAX / 10)
}

fn by_bytes(mvcc: &Mvcc) -> Option<Revision> {
    let excess = mvcc.history_bytes().checked_sub(HISTORY_BYTES_MAX + 1)?;
    // Taking all events for equal in size is good enough: the next commit corrects it.
    let share = (excess as u128 * mvcc.history_len() as u128) / mvcc.history_bytes() as u128;
    let tenth = mvcc.history_len() / 10;
    mvcc.history_revision((usize::try_from(share).unwrap_or(0) + tenth).min(mvcc.history_len() - 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Batch, Guard, Write};
    use bytes::Bytes;

    fn commit(mvcc: &mut Mvcc, value: Bytes) {
        let mut batch = Batch::default();
        mvcc.stage(&mut batch, vec![Write::put("k", value, Guard::Any)]).unwrap();
        mvcc.apply(batch.commits(), None);
    }

    #[test]
    fn keeps_by_age() {
        let mut mvcc = Mvcc::default();
        let mut retention = Retention::default();
        let at = Duration::from_secs;
        commit(&mut mvcc, Bytes::new());
        assert_eq!(retention.floor(at(0), &mvcc), None);
        commit(&mut mvcc, Bytes::new());
        assert_eq!(retention.floor(at(299), &mvcc), None);
        assert_eq!(retention.floor(at(300), &mvcc), Some(Revision(2)));
        mvcc.compact(Revision(2));
        assert_eq!(retention.floor(at(301), &mvcc), None);
        assert_eq!(retention.floor(at(700), &mvcc), Some(Revision(3)));
    }

    #[test]
    fn keeps_by_count() {
        let mut mvcc = Mvcc::default();
        for _ in 0..=HISTORY_EVENTS_MAX {
            commit(&mut mvcc, Bytes::new());
        }
        let floor = Retention::default().floor(Duration::ZERO, &mvcc).unwrap();
        mvcc.compact(floor);
        assert!(mvcc.history_len() <= HISTORY_EVENTS_MAX);
    }

    #[test]
    fn keeps_by_bytes() {
        let mut mvcc = Mvcc::default();
        let value = Bytes::from(vec![0; 1 << 20]);
        for _ in 0..66 {
            commit(&mut mvcc, value.clone());
        }
        assert!(mvcc.history_bytes() > HISTORY_BYTES_MAX);
        let floor = Retention::default().floor(Duration::ZERO, &mvcc).unwrap();
        mvcc.compact(floor);
        assert!(mvcc.history_bytes() <= HISTORY_BYTES_MAX);
    }
}
