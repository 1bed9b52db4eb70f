//! The model beside the system: everything that was committed, and what must be true of it.
//!
//! It is told of each commit by the store itself, before the commit's writer is. Whatever a client got acknowledged is
//! therefore here, and a server that comes back without it is caught.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coracle_store::{Event, Mvcc};
use serde_json::Value;

use crate::promises::{PODS, Promises, text};
use crate::scenario::Rule;

/// What kind of event a watch shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Did {
    /// The object is new.
    Added,
    /// It was there before.
    Modified,
    /// It is gone.
    Deleted,
}

/// One committed event.
#[derive(Debug, Clone)]
pub(crate) struct Logged {
    /// The commit's revision.
    pub(crate) revision: u64,
    /// The store's key.
    pub(crate) key: String,
    /// What happened.
    pub(crate) did: Did,
}

/// An object as it is in the store.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    /// The bytes.
    pub(crate) bytes: Bytes,
    /// The same, parsed.
    pub(crate) value: Arc<Value>,
    /// Revision of the last write.
    pub(crate) revision: u64,
}

/// All objects by the store's key.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    all: BTreeMap<String, Stored>,
    by_uid: BTreeMap<String, String>,
    /// Keys by uid of the controlling owner.
    by_controller: BTreeMap<String, BTreeSet<String>>,
    /// Keys of pods by node.
    by_node: BTreeMap<String, BTreeSet<String>>,
}

impl Objects {
    /// One object.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.all.get(key).map(|stored| &*stored.value)
    }

    /// The key and the object of a uid.
    pub(crate) fn by_uid(&self, uid: &str) -> Option<(&str, &Value)> {
        let key = self.by_uid.get(uid)?;
        Some((key, self.get(key)?))
    }

    /// What an owner controls, below a prefix.
    pub(crate) fn controlled_by<'a>(
        &'a self,
        uid: &str,
        prefix: &'a str,
    ) -> impl Iterator<Item = &'a Value> {
        let keys = self.by_controller.get(uid).into_iter().flatten();
        keys.filter(move |key| key.starts_with(prefix)).filter_map(|key| self.get(key))
    }

    /// The pods that are bound to a node.
    pub(crate) fn on_node(&self, node: &str) -> impl Iterator<Item = &Value> {
        let keys = self.by_node.get(node).into_iter().flatten();
        keys.filter_map(|key| self.get(key))
    }

    fn set(&mut self, key: &str, stored: Option<Stored>) {
        if let Some(old) = self.all.remove(key) {
            self.index(key, &old.value, |set, key| {
                set.remove(key);
            });
            self.by_uid.remove(text(&old.value, "/metadata/uid"));
        }
        if let Some(new) = stored {
            self.by_uid.insert(text(&new.value, "/metadata/uid").to_owned(), key.to_owned());
            self.index(key, &new.value, |set, key| {
                set.insert(key.to_owned());
            });
            self.all.insert(key.to_owned(), new);
        }
    }

    fn index(&mut self, key: &str, value: &Value, change: fn(&mut BTreeSet<String>, &str)) {
        let owners = value.pointer("/metadata/ownerReferences").and_then(Value::as_array);
        let mut owners = owners.into_iter().flatten();
        if let Some(owner) = owners.find(|owner| owner["controller"] == true) {
            change(self.by_controller.entry(text(owner, "/uid").to_owned()).or_default(), key);
        }
        if key.starts_with(PODS) {
            change(self.by_node.entry(text(value, "/spec/nodeName").to_owned()).or_default(), key);
        }
    }

    /// All objects below a prefix, such as `/registry/core/pods/`.
    pub(crate) fn below<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let from = self.all.range(prefix.to_owned()..);
        let all = from.map(|(key, stored)| (key.as_str(), &*stored.value));
        all.take_while(move |(key, _)| key.starts_with(prefix))
    }
}

/// One change of one object, parsed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step<'a> {
    /// The store's key.
    pub(crate) key: &'a str,
    /// The object before.
    pub(crate) before: Option<&'a Value>,
    /// The object after.
    pub(crate) after: Option<&'a Value>,
}

/// The model.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    revision: u64,
    /// All objects.
    pub(crate) objects: Objects,
    /// All events, oldest first.
    pub(crate) log: Vec<Logged>,
    /// The promises that are checked at each event.
    pub(crate) promises: Promises,
    /// What a scenario has hold after each event.
    pub(crate) always: Vec<Rule>,
    /// The promises that were broken.
    pub(crate) broken: Vec<String>,
}

impl Oracle {
    /// The revision of the last commit that is known.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// A server has opened its store: everything that was acknowledged must be in it, and what was written without
    /// being acknowledged may be. Gives the events of the latter.
    pub(crate) fn reopened(&mut self, now: Duration, mvcc: &Mvcc) -> Vec<Arc<Event>> {
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
            let same =
                self.objects.all.get(&*key).is_some_and(|stored| {
                    stored.bytes == kv.value && stored.revision == kv.modified.0
                });
            if !same {
                self.broken.push(format!("{key} changed over the crash"));
            }
        }
        if n_found != self.objects.all.len() {
            self.broken.push(format!(
                "{} objects were acknowledged, {n_found} are left after the crash",
                self.objects.all.len()
            ));
        }
    }

    /// Takes an event of a commit.
    pub(crate) fn event(&mut self, now: Duration, event: &Event) {
        let key = String::from_utf8_lossy(&event.key).into_owned();
        let revision = event.revision.0;
        if revision < self.revision {
            self.broken.push(format!("revision {revision} came after {}", self.revision));
        }
        self.revision = revision;
        let before = self.objects.all.get(&key).cloned();
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
        self.broken.extend(self.promises.see(now, step, &self.objects));
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
