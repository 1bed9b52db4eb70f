//! The one publisher: what etcd's watch tells, in the order in which it happened, whoever wrote it.
//!
//! An edge: it waits for news, and reads the clock by which the history ages.

use super::client::{Client, Tries, Watching};
use super::compact::COMPACTED;
use super::error::CallError;
use super::load;
use super::messages::{
    REMOVAL, WatchCreateRequest, WatchEvent, WatchRequest, WatchResponse, everything,
};
use super::pending::Pending;
use super::value::{self, Origin};
use crate::backend::shared::Shared;
use crate::mvcc::{Batch, LoggedChange, Mvcc};
use crate::retention::Retention;
use crate::write::Note;
use crate::{Kv, Revision};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::time::sleep;

/// How long is waited before a watch that broke is begun again.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Follows etcd, and makes what it tells visible here.
pub(super) struct Follower {
    pub(super) client: Arc<Client>,
    pub(super) shared: Arc<Shared>,
    pub(super) pending: Pending,
    pub(super) origin: Origin,
    /// Somebody waits in vain: begin the watch anew, elsewhere.
    pub(super) doubt: Arc<Notify>,
}

/// Why a watch is over.
enum End {
    /// What it should have told next is gone.
    Compacted,
    /// It broke, or is doubted.
    Broken,
}

impl Follower {
    /// Follows without end.
    pub(super) async fn run(self) {
        let mut age = Age { retention: Retention::default(), started: now() };
        loop {
            match self.watch(&mut age).await {
                Ok(End::Compacted) => match self.catch_up().await {
                    Ok(()) => continue,
                    Err(error) => tracing::warn!(%error, "etcd cannot be read"),
                },
                Ok(End::Broken) => {}
                Err(error) => tracing::debug!(%error, "etcd cannot be watched"),
            }
            sleep(AGAIN_AFTER).await;
        }
    }

    async fn watch(&self, age: &mut Age) -> Result<End, CallError> {
        let (key, range_end) = everything();
        let after = self.origin.etcd(self.shared.revision());
        let create =
            WatchCreateRequest { key, range_end, start_revision: after + 1, fragment: true };
        let mut watching = self.client.watch(&WatchRequest { create: Some(create) }).await?;
        let end = self.listen(&mut watching, age).await;
        if matches!(end, End::Broken) {
            self.client.leave(watching).await;
        }
        Ok(end)
    }

    async fn listen(&self, watching: &mut Watching, age: &mut Age) -> End {
        let mut gathered = Vec::new();
        loop {
            let answer = tokio::select! {
                answer = watching.answers.next::<WatchResponse>() => answer,
                () = self.doubt.notified() => {
                    tracing::warn!("etcd's watch is behind; watching another member");
                    return End::Broken;
                }
            };
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) => {
                    tracing::info!(%error, "etcd's watch ended; watching again");
                    return End::Broken;
                }
            };
            if answer.compact_revision > 0 {
                return End::Compacted;
            }
            if answer.canceled {
                tracing::info!(reason = answer.cancel_reason, "etcd's watch ended; watching again");
                return End::Broken;
            }
            gathered.extend(answer.events);
            if !answer.fragment && !gathered.is_empty() {
                self.publish(std::mem::take(&mut gathered), age);
            }
        }
    }

    /// Makes events visible, those of each revision as one commit.
    fn publish(&self, events: Vec<WatchEvent>, age: &mut Age) {
        let (batch, floor) = {
            let state = self.shared.read();
            let batch = self.batch(&state.mvcc, events);
            (batch, age.floor(&state.mvcc))
        };
        let observers = self.shared.publish(batch.commits(), floor);
        for observer in observers {
            observer.acknowledged();
        }
    }

    fn batch(&self, mvcc: &Mvcc, events: Vec<WatchEvent>) -> Batch {
        let mut batch = Batch::default();
        let mut changes: Vec<(LoggedChange, Option<Note>)> = Vec::new();
        let mut open: Option<Revision> = None;
        for event in events {
            let Some(kv) = event.kv else { continue };
            let revision = self.origin.revision(kv.mod_revision);
            if revision <= mvcc.revision() {
                continue;
            }
            if let Some(before) = open.replace(revision).filter(|before| *before != revision) {
                mvcc.follow(&mut batch, before, std::mem::take(&mut changes));
            }
            if kv.key == COMPACTED {
                continue;
            }
            if event.kind == REMOVAL {
                changes.push((LoggedChange { key: kv.key, current: None }, None));
                continue;
            }
            let (kv, author) = value::read(kv, self.origin);
            let note = author.and_then(|author| self.pending.saw(author, revision, &kv.key));
            changes.push((LoggedChange { key: kv.key.clone(), current: Some(kv) }, note));
        }
        if let Some(last) = open {
            mvcc.follow(&mut batch, last, changes);
        }
        batch
    }

    /// Reads everything anew, and makes visible how it differs from what is known. The history is gone.
    async fn catch_up(&self) -> Result<(), CallError> {
        tracing::warn!("etcd has forgotten what happened since; reading all keys");
        let mut tries = Tries::begin();
        let present = loop {
            match load::all(&self.client, self.origin, 0).await {
                Ok(present) => break present,
                Err(error) => tries.again(error).await?,
            }
        };
        let revision = present.revision();
        let batch = difference(&self.shared.read().mvcc, &present);
        let observers = self.shared.publish(batch.commits(), Some(revision));
        for observer in observers {
            observer.acknowledged();
        }
        Ok(())
    }
}

/// What must have happened between two states: first what went, then what came or changed, so that a key that was
/// removed and made again is told as both.
fn difference(known: &Mvcc, present: &Mvcc) -> Batch {
    let mut batch = Batch::default();
    let revision = present.revision();
    let again = |kv: &Kv| present.get(&kv.key).is_none_or(|now| now.created != kv.created);
    let gone = known.scan(b"").filter(|kv| again(kv));
    let gone: Vec<_> =
        gone.map(|kv| (LoggedChange { key: kv.key.clone(), current: None }, None)).collect();
    // A removal and what followed it are two revisions at least.
    let before = Revision(revision.0 - 1);
    if !gone.is_empty() && before > known.revision() {
        known.follow(&mut batch, before, gone);
        known.follow(&mut batch, revision, changed(known, present));
    } else {
        known.follow(&mut batch, revision, gone.into_iter().chain(changed(known, present)));
    }
    batch
}

fn changed(
    known: &Mvcc,
    present: &Mvcc,
) -> impl Iterator<Item = (LoggedChange, Option<Note>)> + use<> {
    let is_new = |kv: &Kv| known.get(&kv.key).is_none_or(|old| old.modified != kv.modified);
    let changes: Vec<_> = present
        .scan(b"")
        .filter(|kv| is_new(kv))
        .map(|kv| (LoggedChange { key: kv.key.clone(), current: Some(kv.clone()) }, None))
        .collect();
    changes.into_iter()
}

/// The clock by which the history ages.
struct Age {
    retention: Retention,
    started: Instant,
}

impl Age {
    fn floor(&mut self, mvcc: &Mvcc) -> Option<Revision> {
        self.retention.floor(now().saturating_duration_since(self.started), mvcc)
    }
}

#[expect(clippy::disallowed_methods, reason = "the follower is the edge that has the clock")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn kv(key: &'static str, created: u64, modified: u64) -> Kv {
        let (created, modified) = (Revision(created), Revision(modified));
        Kv { key: Bytes::from(key), value: Bytes::new(), created, modified, stamp: None }
    }

    #[test]
    fn what_was_missed_is_told_as_removals_and_changes() {
        let same = kv("same", 2, 2);
        let known = vec![same.clone(), kv("changed", 3, 3), kv("again", 4, 4), kv("gone", 5, 5)];
        let known = Mvcc::at(known, Revision(5));
        let present = vec![same, kv("changed", 3, 6), kv("again", 9, 9), kv("new", 8, 8)];
        let present = Mvcc::at(present, Revision(20));
        let batch = difference(&known, &present);
        let told: Vec<_> = batch
            .commits()
            .iter()
            .flat_map(|commit| &commit.events)
            .map(|event| {
                let key = String::from_utf8_lossy(&event.key).into_owned();
                (event.revision.0, key, event.previous.is_some(), event.current.is_some())
            })
            .collect();
        let expected = [
            (19, "again", true, false),
            (19, "gone", true, false),
            (20, "again", false, true),
            (20, "changed", true, true),
            (20, "new", false, true),
        ];
        let expected = expected.map(|(at, key, before, now)| (at, key.to_owned(), before, now));
        assert_eq!(told, expected);
        let mut known = known;
        known.apply(batch.commits(), Some(Revision(20)));
        assert!(known.scan(b"").eq(present.scan(b"")));
        assert_eq!((known.revision(), known.compacted()), (Revision(20), Revision(20)));
    }
}
