//! The ReplicaSets of a Deployment while a decision is made: as they are, and as they shall be.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::ReplicaSet;

use super::proportion::{Bounds, wanted};
use super::{Action, Edit, Observed, revision};
use crate::objects::annotation;
use crate::template;

/// One ReplicaSet with its planned size and annotations.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub(super) set: Arc<ReplicaSet>,
    /// Size after the plan.
    pub(super) replicas: i32,
    edit: Edit,
}

impl Planned {
    fn new(set: Arc<ReplicaSet>) -> Planned {
        let replicas = size(&set);
        Planned { set, replicas, edit: Edit::default() }
    }

    /// Gives how many pods are available and will stay: a status that has not yet followed a
    /// smaller size tells of pods that are about to go.
    pub(super) fn available(&self) -> i32 {
        let told = self.set.status.as_ref().and_then(|status| status.available_replicas);
        told.unwrap_or(0).min(size(&self.set))
    }

    /// Gives how many pods there are or will be: those to be deleted count until they are.
    fn present(&self) -> i32 {
        let told = self.set.status.as_ref().map_or(0, |status| status.replicas);
        self.replicas.max(told)
    }

    /// Plans a size, and notes for which size of the Deployment.
    pub(super) fn scale(&mut self, replicas: i32, of: i32, surge: i32) {
        self.replicas = replicas;
        for (key, value) in revision::sizes(of, surge) {
            self.annotate(key, value);
        }
    }

    pub(super) fn annotate(&mut self, key: String, value: String) {
        if annotation(&self.set.metadata, &key) == Some(&value) {
            self.edit.annotations.remove(&key);
        } else {
            self.edit.annotations.insert(key, value);
        }
    }

    pub(super) fn set_min_ready(&mut self, seconds: i32) {
        let now = self.set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
        self.edit.min_ready_seconds = Some(seconds).filter(|seconds| *seconds != now);
    }

    /// Gives the number that an annotation holds, as it is and not as planned.
    pub(super) fn number(&self, key: &str) -> Option<i32> {
        annotation(&self.set.metadata, key)?.parse().ok()
    }

    fn into_action(self) -> Option<Action> {
        let mut edit = self.edit;
        edit.replicas = Some(self.replicas).filter(|replicas| *replicas != size(&self.set));
        (edit != Edit::default()).then_some(Action::Update(self.set, edit))
    }
}

fn size(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// All own ReplicaSets, split by template.
#[derive(Debug, Clone)]
pub(super) struct Sets {
    /// The one of the current template, if it is there.
    pub(super) new: Option<Planned>,
    /// The others, oldest first.
    pub(super) old: Vec<Planned>,
    pub(super) wanted: i32,
    pub(super) bounds: Bounds,
}

impl Sets {
    /// Splits ReplicaSets, given oldest first; of several with the current template the oldest is
    /// the new one.
    pub(super) fn split(observed: &Observed, own: Vec<Arc<ReplicaSet>>) -> Sets {
        let deployment = &observed.deployment;
        let current = deployment.spec.clone().unwrap_or_default().template;
        let is_current = |set: &Arc<ReplicaSet>| {
            let made_from = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
            made_from.is_some_and(|made_from| template::same(made_from, &current))
        };
        let position = own.iter().position(is_current);
        let mut old: Vec<Planned> = own.into_iter().map(Planned::new).collect();
        let new = position.map(|index| old.remove(index));
        let bounds = super::proportion::bounds(deployment);
        Sets { new, old, wanted: wanted(deployment), bounds }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Planned> {
        self.new.iter().chain(&self.old)
    }

    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut Planned> {
        self.new.iter_mut().chain(&mut self.old)
    }

    /// Sum of planned sizes.
    pub(super) fn total(&self) -> i32 {
        self.all().map(|planned| planned.replicas).sum()
    }

    /// Sum of available pods, as they are.
    pub(super) fn available(&self) -> i32 {
        self.all().map(Planned::available).sum()
    }

    pub(super) fn least_available(&self) -> i32 {
        self.wanted - self.bounds.unavailable
    }

    /// Gives the size that the new ReplicaSet may have now, within the surge.
    ///
    /// Pods that an old one has yet to delete take up room: stricter than upstream, which counts
    /// wanted sizes only and so has more pods for a moment than it promises.
    pub(super) fn size_of_new(&self) -> i32 {
        let now = self.new.as_ref().map_or(0, |new| new.replicas);
        let present: i32 = self.all().map(Planned::present).sum();
        let room = self.wanted + self.bounds.surge - present;
        if now >= self.wanted { self.wanted } else { now + room.clamp(0, self.wanted - now) }
    }

    pub(super) fn scale_new(&mut self, replicas: i32) {
        let (wanted, surge) = (self.wanted, self.bounds.surge);
        if let Some(new) = &mut self.new {
            new.scale(replicas, wanted, surge);
        }
    }

    pub(super) fn scale_old(&mut self, index: usize, replicas: i32) {
        let (wanted, surge) = (self.wanted, self.bounds.surge);
        if let Some(old) = self.old.get_mut(index) {
            old.scale(replicas, wanted, surge);
        }
    }

    /// Gives one action per ReplicaSet that shall change: those that shrink come last.
    pub(super) fn into_actions(self) -> Vec<Action> {
        self.new.into_iter().chain(self.old).filter_map(Planned::into_action).collect()
    }
}

/// Gives the annotations of a ReplicaSet to be made.
pub(super) fn first_annotations(observed: &Observed, sets: &Sets) -> BTreeMap<String, String> {
    let old = sets.old.iter().map(|planned| &*planned.set);
    let meta = &observed.deployment.metadata;
    let mut all = revision::annotations(meta, &Default::default(), revision::next(old));
    all.extend(revision::sizes(sets.wanted, sets.bounds.surge));
    all
}
