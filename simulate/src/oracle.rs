//! The model beside the system: everything that was committed, and what must be true of it.
//!
//! It is told of each commit by the store itself, before the commit's writer is. Whatever a client got acknowledged is
//! therefore here, and a server that comes back without it is caught.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use coracle_store::{Event, Mvcc};
use serde_json::Value;

use crate::objects::{NODES, Objects, Step, Stored};
use crate::stage::Rule;

/// What kind of event a watch shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Did {
    /// The object is new.
    Added,
    /// It was there before.
    Modified,
    /// It is gone.
    Deleted,
}

/// One committed event.
#[derive(Debug, Clone)]
pub struct Logged {
    /// The commit's revision.
    pub revision: u64,
    /// The store's key.
    pub key: String,
    /// What happened.
    pub did: Did,
}

/// Says of each step what it breaks.
pub trait Judge: Send {
    /// Looks at one step at a virtual time; `objects` are as they are after it. Gives what was broken, in words.
    fn see(
        &mut self,
        now: Duration,
        step: Step<'_>,
        objects: &Objects,
        known: &Known,
    ) -> Vec<String>;
}

/// What somebody did on purpose, of which the store does not tell.
#[derive(Debug, Default)]
pub struct Known {
    /// Keys of what a user has asked to delete.
    pub deleted_by_user: BTreeSet<String>,
    /// Namespace and name of pods that a user had forgotten though they may run: `--force --grace-period=0`.
    pub forced: BTreeSet<String>,
    /// Names of nodes whose object was deleted at some time.
    pub nodes_deleted: BTreeSet<String>,
}

/// The model.
#[derive(Default)]
pub struct Oracle {
    revision: u64,
    /// All objects.
    pub objects: Objects,
    /// All events, oldest first.
    pub log: Vec<Logged>,
    /// What was done on purpose.
    pub known: Known,
    /// Who looks at each event, besides the model itself.
    pub judges: Vec<Box<dyn Judge>>,
    /// What a scenario has hold after each event.
    pub always: Vec<Rule>,
    /// The promises that were broken.
    pub broken: Vec<String>,
}

impl Oracle {
    /// The revision of the last commit that is known.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// A server has opened its store: everything that was acknowledged must be in it, and what was written without
    /// being acknowledged may be. Gives the events of the latter.
    pub fn reopened(&mut self, now: Duration, mvcc: &Mvcc) -> Vec<Arc<Event>> {
        let found = mvcc.revision().0;
        if found < self.revision {
            self.broken.push(format!(
                "revision {} was acknowledged, after the crash the store is at {found}",
                self.revision
            ));
            return Vec::new();
        }
        let late = match mvcc.events_after(coracle_store::Revision(self.revision)) {
            Ok(events) => events.cloned().collect::<Vec<_>>(),
            Err(error) => {
                self.broken.push(format!("the history was lost over the crash: {error}"));
                Vec::new()
            }
        };
        for event in &late {
            self.event(now, event);
        }
        self.revision = self.revision.max(found);
        self.compare(mvcc);
        late
    }

    fn compare(&mut self, mvcc: &Mvcc) {
        let mut n_found = 0;
        for kv in mvcc.scan(b"") {
            n_found += 1;
            let key = String::from_utf8_lossy(&kv.key);
            let same = self
                .objects
                .stored(&key)
                .is_some_and(|stored| stored.bytes == kv.value && stored.revision == kv.modified.0);
            if !same {
                self.broken.push(format!("{key} changed over the crash"));
            }
        }
        if n_found != self.objects.len() {
            self.broken.push(format!(
                "{} objects were acknowledged, {n_found} are left after the crash",
                self.objects.len()
            ));
        }
    }

    /// Takes an event of a commit.
    pub fn event(&mut self, now: Duration, event: &Event) {
        let key = String::from_utf8_lossy(&event.key).into_owned();
        let revision = event.revision.0;
        if revision < self.revision {
            self.broken.push(format!("revision {revision} came after {}", self.revision));
        }
        self.revision = revision;
        let before = self.objects.stored(&key).cloned();
        if event.previous.as_ref().map(|kv| &kv.value) != before.as_ref().map(|old| &old.bytes) {
            self.broken.push(format!("the event {revision} of {key} has another past than it had"));
        }
        let after = event.value().map(|bytes| Stored {
            bytes: bytes.clone(),
            value: Arc::new(serde_json::from_slice(bytes).unwrap_or_default()),
            revision,
        });
        self.check_metadata(&key, revision, before.as_ref(), after.as_ref());
        let did = match (&before, &after) {
            (None, _) => Did::Added,
            (Some(_), Some(_)) => Did::Modified,
            (Some(_), None) => Did::Deleted,
        };
        self.objects.set(&key, after.clone());
        let step = Step {
            key: &key,
            before: before.as_ref().map(|stored| &*stored.value),
            after: after.as_ref().map(|stored| &*stored.value),
        };
        if let (Some(node), None) = (key.strip_prefix(NODES), step.after) {
            self.known.nodes_deleted.insert(node.to_owned());
        }
        for judge in &mut self.judges {
            self.broken.extend(judge.see(now, step, &self.objects, &self.known));
        }
        let unruly = self.always.iter().filter(|rule| !(rule.holds)(&self.objects));
        self.broken.extend(unruly.map(|rule| format!("{}, at {key}", rule.name)));
        self.log.push(Logged { revision, key, did });
    }

    fn check_metadata(
        &mut self,
        key: &str,
        revision: u64,
        before: Option<&Stored>,
        after: Option<&Stored>,
    ) {
        let Some(after) = after else { return };
        let told = after.value.pointer("/metadata/resourceVersion").and_then(Value::as_str);
        if told != Some(&*revision.to_string()) {
            self.broken.push(format!("{key} says resourceVersion {told:?} at revision {revision}"));
        }
        let uid = |stored: &Stored| stored.value.pointer("/metadata/uid").cloned();
        if before.is_some_and(|before| uid(before) != uid(after)) {
            self.broken.push(format!("{key} changed its uid at revision {revision}"));
        }
    }
}
