//! The machine goes down: pods end for good, turn by turn, and the API is told before the host ends.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;

use super::Agent;
use crate::clock::now;
use crate::eviction::rank::is_spared;
use crate::pods::reconcile::is_over;
use crate::pods::shutdown::{TERMINATED, TERMINATED_MESSAGE, Turn, turns};
use crate::pods::state::{PodEvent, PodVerdict};

/// How long the host waits for the API to take the last statuses. The checkpoint has them too: they
/// are told after the next start at the latest.
const LAST_WORDS_MAX: Duration = Duration::from_secs(5);
/// Time between two looks whether they were taken.
const LAST_WORDS_LOOK: Duration = Duration::from_millis(50);

/// How far the end is.
pub(super) struct Shutdown {
    turns: VecDeque<Turn>,
    /// The pods whose turn it is, and when it is over.
    current: Option<(Vec<String>, Timestamp)>,
    /// All turns are over: when the host ends whatever was told.
    last_words: Option<Timestamp>,
}

impl Agent {
    /// Begins to end all pods.
    pub(super) fn begin_shutdown(&mut self) {
        let here = self.workers.iter().filter(|(_, worker)| !is_over(&worker.pod, &worker.state));
        let pods = here.map(|(uid, worker)| (uid.clone(), is_spared(&worker.pod))).collect();
        let turns = turns(pods, self.shared.config.shutdown);
        tracing::info!(pods = self.workers.len(), "the node shuts down");
        self.shutdown = Some(Shutdown { turns, current: None, last_words: None });
    }

    /// Goes on with the end; gives true when the host may end.
    pub(super) fn shutdown_over(&mut self) -> bool {
        let Some(mut shutdown) = self.shutdown.take() else { return false };
        let over = self.advance_shutdown(&mut shutdown);
        self.shutdown = Some(shutdown);
        over
    }

    /// When time alone lets the end go on.
    pub(super) fn shutdown_due(&self) -> Option<Timestamp> {
        let shutdown = self.shutdown.as_ref()?;
        let turn = shutdown.current.as_ref().map(|(_, until)| *until);
        shutdown.last_words.map(|_| later(now(), LAST_WORDS_LOOK)).or(turn)
    }

    fn advance_shutdown(&mut self, shutdown: &mut Shutdown) -> bool {
        loop {
            let at = now();
            if let Some((uids, until)) = &shutdown.current
                && at < *until
                && uids.iter().any(|uid| self.has_life(uid))
            {
                return false;
            }
            let Some(turn) = shutdown.turns.pop_front() else {
                shutdown.current = None;
                let last = *shutdown.last_words.get_or_insert(later(at, LAST_WORDS_MAX));
                return at >= last || self.all_told();
            };
            let until = later(at, turn.grace);
            for uid in &turn.uids {
                let verdict = PodVerdict {
                    reason: TERMINATED.into(),
                    message: TERMINATED_MESSAGE.into(),
                    until: Some(until),
                };
                self.apply(uid, PodEvent::Condemned(verdict));
            }
            self.settle();
            shutdown.current = Some((turn.uids, until));
        }
    }

    fn has_life(&self, uid: &str) -> bool {
        self.workers.get(uid).is_some_and(|worker| !is_over(&worker.pod, &worker.state))
    }

    fn all_told(&self) -> bool {
        let ended = self.workers.values().filter(|worker| {
            worker.state.verdict.as_ref().is_some_and(|verdict| verdict.reason == TERMINATED)
        });
        self.shared.told_shutdown.is_cancelled() && ended.into_iter().all(|worker| worker.is_told())
    }
}

fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_add(by).unwrap_or(at)
}
