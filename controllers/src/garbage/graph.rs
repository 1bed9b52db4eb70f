//! Who names whom as an owner, kept for the objects that name somebody or wait for somebody.

use std::collections::{BTreeSet, HashMap};

use coracle_api::key::ObjectKey;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::{FOREGROUND, ORPHAN};
use crate::objects::{is_deleting, uid};

/// What matters of an object here.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Number of its kind in the collector's list.
    pub kind: usize,
    /// Its name.
    pub key: ObjectKey,
    /// Its uid.
    pub uid: String,
    /// Its resourceVersion, which guards writes.
    pub revision: Option<String>,
    /// Its owners.
    pub owners: Vec<OwnerReference>,
    /// Its finalizers.
    pub finalizers: Vec<String>,
    /// Somebody has asked for its deletion.
    pub is_deleting: bool,
}

impl Entry {
    /// Takes what matters of an object's metadata.
    pub fn new(kind: usize, key: &ObjectKey, meta: &ObjectMeta) -> Entry {
        Entry {
            kind,
            key: key.clone(),
            uid: uid(meta).to_owned(),
            revision: meta.resource_version.clone(),
            owners: meta.owner_references.clone().unwrap_or_default(),
            finalizers: meta.finalizers.clone().unwrap_or_default(),
            is_deleting: is_deleting(meta),
        }
    }

    pub(super) fn has(&self, finalizer: &str) -> bool {
        self.finalizers.iter().any(|other| other == finalizer)
    }

    /// Says whether the object is deleted and waits for this collector.
    pub(super) fn waits(&self) -> bool {
        self.is_deleting && (self.has(FOREGROUND) || self.has(ORPHAN))
    }

    fn matters(&self) -> bool {
        !self.owners.is_empty() || self.waits()
    }
}

/// The objects that matter, by uid, and the way from owners to dependents.
#[derive(Debug, Default)]
pub struct Graph {
    objects: HashMap<String, Entry>,
    dependents: HashMap<String, BTreeSet<String>>,
}

impl Graph {
    /// Gives an object that matters.
    pub fn get(&self, uid: &str) -> Option<&Entry> {
        self.objects.get(uid)
    }

    /// Gives the objects that name an owner.
    pub fn dependents(&self, owner: &str) -> impl Iterator<Item = &Entry> {
        let uids = self.dependents.get(owner).into_iter().flatten();
        uids.filter_map(|uid| self.objects.get(uid))
    }

    /// Gives the uids of the objects that name an owner of a kind.
    pub fn owned_by_kind<'a>(
        &'a self,
        group: &'a str,
        kind: &'a str,
    ) -> impl Iterator<Item = &'a str> {
        let of_kind = move |owner: &OwnerReference| {
            let of = owner.api_version.split_once('/').map_or("", |(group, _)| group);
            owner.kind == kind && of == group
        };
        let owned = self.objects.values().filter(move |entry| entry.owners.iter().any(of_kind));
        owned.map(|entry| entry.uid.as_str())
    }

    /// Takes an object's state; gives the uids that are to be looked at because of it.
    pub fn put(&mut self, entry: Entry) -> Vec<String> {
        let old = self.take(&entry.uid);
        if !entry.matters() {
            return old.map_or_else(Vec::new, |old| waiting_owners(self, &old));
        }
        let changed = old.as_ref().is_none_or(|old| {
            (&old.owners, &old.finalizers, old.is_deleting)
                != (&entry.owners, &entry.finalizers, entry.is_deleting)
        });
        for owner in &entry.owners {
            let dependents = self.dependents.entry(owner.uid.clone()).or_default();
            dependents.insert(entry.uid.clone());
        }
        let mut visits = if changed { vec![entry.uid.clone()] } else { Vec::new() };
        self.objects.insert(entry.uid.clone(), entry);
        visits.extend(
            old.filter(|_| changed).map(|old| waiting_owners(self, &old)).unwrap_or_default(),
        );
        visits
    }

    /// Forgets an object; gives the uids that are to be looked at because it is gone.
    pub fn remove(&mut self, uid: &str) -> Vec<String> {
        let old = self.take(uid);
        let mut visits: Vec<String> = self.dependents(uid).map(|entry| entry.uid.clone()).collect();
        visits.extend(old.map(|old| waiting_owners(self, &old)).unwrap_or_default());
        visits
    }

    fn take(&mut self, uid: &str) -> Option<Entry> {
        let old = self.objects.remove(uid)?;
        for owner in &old.owners {
            if let Some(dependents) = self.dependents.get_mut(&owner.uid) {
                dependents.remove(uid);
                if dependents.is_empty() {
                    self.dependents.remove(&owner.uid);
                }
            }
        }
        Some(old)
    }
}

/// Owners that may be done waiting now that a dependent has changed.
fn waiting_owners(graph: &Graph, dependent: &Entry) -> Vec<String> {
    let owners = dependent.owners.iter().map(|owner| owner.uid.clone());
    owners.filter(|uid| graph.get(uid).is_some_and(Entry::waits)).collect()
}
