//! Static pods in the loop: which run, and which mirrors the API is to have.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Agent;
use crate::clock::now;
use crate::effects;
use crate::manifests::mirror::{Action, Observed, decide};
use crate::manifests::{CONFIG_MIRROR, FullName, annotation, full_name, is_static};

/// What the loop knows of static pods.
#[derive(Default)]
pub(super) struct Statics {
    /// What the folder asks for.
    wanted: BTreeMap<FullName, Arc<Pod>>,
    /// What the API has.
    mirrors: BTreeMap<FullName, Arc<Pod>>,
    /// Names about which a write is under way, and whether anything was heard of them meanwhile: the API's news of a
    /// write may come before the answer to it.
    writing: BTreeMap<FullName, bool>,
    /// The folder has been read.
    pub(super) read: bool,
    /// The API has told which mirrors there are.
    pub(super) synced: bool,
}

impl Agent {
    /// Takes what the manifest folder asks for now.
    pub(super) fn manifests(&mut self, pods: Vec<Pod>) {
        let old: Vec<FullName> = self.statics.wanted.keys().cloned().collect();
        self.statics.wanted =
            pods.into_iter().map(|pod| (full_name(&pod), Arc::new(pod))).collect();
        self.statics.read = true;
        let uid = |pod: &Arc<Pod>| pod.metadata.uid.clone().unwrap_or_default();
        let wanted: BTreeSet<String> = self.statics.wanted.values().map(uid).collect();
        let here = self.workers.iter().filter(|(_, worker)| is_static(&worker.pod));
        let gone = here.filter(|(uid, _)| !wanted.contains(*uid)).map(|(uid, _)| uid.clone());
        for uid in gone.collect::<Vec<_>>() {
            self.end_static(&uid);
        }
        let mirrors = self.statics.mirrors.keys().cloned();
        let names: BTreeSet<FullName> =
            old.into_iter().chain(self.statics.wanted.keys().cloned()).chain(mirrors).collect();
        for name in names {
            self.start_static(&name);
            self.mirror(&name);
        }
    }

    /// Begins to run the static pod of a name, once none of the same name runs any more.
    pub(super) fn start_static(&mut self, name: &FullName) {
        let Some(pod) = self.statics.wanted.get(name).cloned() else { return };
        if self.static_worker(name).is_none() {
            self.observe(pod);
        }
    }

    /// Ends a static pod as a deletion would, within its own grace period.
    fn end_static(&mut self, uid: &str) {
        let Some(worker) = self.workers.get_mut(uid) else { return };
        if worker.pod.metadata.deletion_timestamp.is_none() {
            let mut pod = (*worker.pod).clone();
            pod.metadata.deletion_timestamp = Some(Time(now()));
            worker.pod = Arc::new(pod);
            worker.state.observe(&worker.pod, now());
            self.touch(uid);
        }
    }

    /// Takes a mirror as the API has it now.
    pub(super) fn observe_mirror(&mut self, mirror: Arc<Pod>) {
        let name = full_name(&mirror);
        self.statics.mirrors.insert(name.clone(), mirror);
        self.mirror(&name);
    }

    /// Takes note that an object is gone from the API; gives true when it was a mirror.
    pub(super) fn mirror_gone(&mut self, object: &Pod) -> bool {
        let name = full_name(object);
        let known = self.statics.mirrors.get(&name);
        if known.is_none_or(|known| known.metadata.uid != object.metadata.uid) {
            return false;
        }
        self.statics.mirrors.remove(&name);
        self.mirror(&name);
        true
    }

    /// Takes note that a write about a mirror is over.
    pub(super) fn mirrored(&mut self, name: &FullName, failed: bool) {
        let heard = self.statics.writing.remove(name);
        if failed || heard == Some(true) {
            self.mirror(name);
        }
    }

    /// Looks after the mirrors of all names, once it is known which there are.
    pub(super) fn mirrors_synced(&mut self) {
        self.statics.synced = true;
        let all = self.statics.mirrors.keys().chain(self.statics.wanted.keys());
        for name in all.cloned().collect::<BTreeSet<_>>() {
            self.mirror(&name);
        }
    }

    /// Brings the mirror of a name towards what it is to be.
    pub(super) fn mirror(&mut self, name: &FullName) {
        self.show_through(name);
        let unknown = !self.statics.read || !self.statics.synced;
        if let Some(heard) = self.statics.writing.get_mut(name) {
            *heard = true;
            return;
        }
        if unknown {
            return;
        }
        let wanted = self.statics.wanted.get(name).cloned();
        let uid = wanted.as_ref().and_then(|pod| pod.metadata.uid.clone());
        let here = self.static_worker(name);
        let other_ends = here.is_some_and(|here| uid.as_ref() != Some(&here));
        let mirror = self.statics.mirrors.get(name).cloned();
        let action = decide(&Observed { wanted, other_ends, mirror });
        if action == Action::Nothing {
            return;
        }
        self.statics.writing.insert(name.clone(), false);
        let (shared, name) = (self.shared.clone(), name.clone());
        tokio::spawn(async move { effects::mirror::carry_out(&shared, name, action).await });
    }

    /// Lets the worker of a static pod tell its status to the mirror that shows it.
    fn show_through(&mut self, name: &FullName) {
        let Some(uid) = self.static_worker(name) else { return };
        let mirror = self.statics.mirrors.get(name);
        let mirror = mirror.filter(|mirror| annotation(mirror, CONFIG_MIRROR) == Some(&uid));
        if let Some(worker) = self.workers.get_mut(&uid)
            && worker.shown_by(mirror.map(|mirror| &**mirror))
        {
            self.touch(&uid);
        }
    }

    /// The uid of the static pod that is here under a name.
    fn static_worker(&self, name: &FullName) -> Option<String> {
        let ours = |worker: &&crate::worker::Worker| {
            worker.key.namespace == name.0 && worker.key.name == name.1 && is_static(&worker.pod)
        };
        self.workers.values().find(ours).map(|worker| worker.key.uid.clone())
    }
}
