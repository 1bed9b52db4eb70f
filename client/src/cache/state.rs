//! The snapshot itself: objects by key, an index by controlling owner, and own writes not yet seen.
//!
//! Pure: events in, changes out.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use coracle_api::key::ObjectKey;
use kube::Resource;
use kube::api::ObjectMeta;

use super::Change;

/// The objects of one kind as far as the server's events and own writes tell.
pub(super) struct State<K> {
    objects: BTreeMap<Arc<ObjectKey>, Arc<K>>,
    /// Keys by the uid of the controlling owner, empty for those without one.
    by_controller: HashMap<String, BTreeSet<Arc<ObjectKey>>>,
    /// Uids of objects that are in by `assume`, until an event of theirs comes.
    assumed: HashSet<String>,
    /// Uids that are out by `assume_deleted`, until their `DELETED` comes.
    gone: HashSet<String>,
    revision: u64,
}

/// An object of a list.
#[derive(Debug)]
pub(super) enum Listed<K> {
    /// It is held already as it is listed: of a list that is read again, nothing more is kept while it is read.
    Same {
        /// Its name.
        key: ObjectKey,
        /// Which of that name.
        uid: String,
    },
    /// It is not held, or differs.
    Other(Box<K>),
}

impl<K: Resource> Listed<K> {
    fn key(&self) -> ObjectKey {
        match self {
            Listed::Same { key, .. } => key.clone(),
            Listed::Other(object) => key_of(object.meta()),
        }
    }

    fn uid(&self) -> &str {
        match self {
            Listed::Same { uid, .. } => uid,
            Listed::Other(object) => uid_of(object.meta()),
        }
    }
}

impl<K> Default for State<K> {
    fn default() -> Self {
        State {
            objects: BTreeMap::new(),
            by_controller: HashMap::new(),
            assumed: HashSet::new(),
            gone: HashSet::new(),
            revision: 0,
        }
    }
}

/// Gives a resourceVersion as a number; an unreadable one counts as oldest.
///
/// *Source:* resource versions are comparable as integers since Kubernetes 1.35 (KEP-5504).
pub(super) fn revision_of(meta: &ObjectMeta) -> u64 {
    meta.resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn key_of(meta: &ObjectMeta) -> ObjectKey {
    ObjectKey {
        namespace: meta.namespace.clone().filter(|namespace| !namespace.is_empty()),
        name: meta.name.clone().unwrap_or_default(),
    }
}

fn uid_of(meta: &ObjectMeta) -> &str {
    meta.uid.as_deref().unwrap_or_default()
}

fn controller_uid(meta: &ObjectMeta) -> &str {
    let mut owners = meta.owner_references.iter().flatten();
    owners.find(|owner| owner.controller == Some(true)).map_or("", |owner| owner.uid.as_str())
}

impl<K: Resource> State<K> {
    pub(super) fn get(&self, key: &ObjectKey) -> Option<&Arc<K>> {
        self.objects.get(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<K>> {
        self.objects.values()
    }

    pub(super) fn iter_in(&self, namespace: &str) -> impl Iterator<Item = &Arc<K>> {
        let first = ObjectKey { namespace: Some(namespace.to_owned()), name: String::new() };
        let all = self.objects.range::<ObjectKey, _>(&first..);
        all.take_while(move |(key, _)| key.namespace == first.namespace).map(|(_, object)| object)
    }

    pub(super) fn controlled_by(&self, uid: &str) -> Vec<Arc<K>> {
        let keys = self.by_controller.get(uid).into_iter().flatten();
        keys.filter_map(|key| self.objects.get(key)).cloned().collect()
    }

    pub(super) fn orphans_in(&self, namespace: &str) -> Vec<Arc<K>> {
        let Some(keys) = self.by_controller.get("") else { return Vec::new() };
        let first = ObjectKey { namespace: Some(namespace.to_owned()), name: String::new() };
        let all = keys.range::<ObjectKey, _>(&first..);
        let inside = all.take_while(|key| key.namespace == first.namespace);
        inside.filter_map(|key| self.objects.get(key)).cloned().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.objects.len()
    }

    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn as_changes(&self) -> Vec<Change<K>> {
        let all = self.objects.iter();
        let change = |(key, object): (&Arc<ObjectKey>, &Arc<K>)| Change {
            key: ObjectKey::clone(key),
            old: None,
            new: Some(Arc::clone(object)),
        };
        all.map(change).collect()
    }

    /// Takes a bookmark: everything up to `revision` is in.
    pub(super) fn advance(&mut self, revision: u64) {
        self.revision = self.revision.max(revision);
    }

    /// Takes an `ADDED` or `MODIFIED` event.
    pub(super) fn apply(&mut self, object: K) -> Option<Change<K>> {
        let revision = revision_of(object.meta());
        self.advance(revision);
        let uid = uid_of(object.meta());
        if self.gone.contains(uid) {
            return None;
        }
        if let Some(current) = self.objects.get(&key_of(object.meta())) {
            let current_revision = revision_of(current.meta());
            let ahead =
                self.assumed.contains(uid_of(current.meta())) && current_revision > revision;
            if ahead {
                return None;
            }
            if current_revision == revision && revision != 0 && uid_of(current.meta()) == uid {
                self.assumed.remove(uid);
                return None;
            }
        }
        self.assumed.remove(uid);
        Some(self.insert(object))
    }

    /// Takes a `DELETED` event with the object as it was last.
    pub(super) fn remove(&mut self, object: &K) -> Option<Change<K>> {
        self.advance(revision_of(object.meta()));
        let uid = uid_of(object.meta());
        self.gone.remove(uid);
        let key = key_of(object.meta());
        let current = self.objects.get(&key)?;
        let other = uid_of(current.meta()) != uid;
        if other && self.assumed.contains(uid_of(current.meta())) {
            return None;
        }
        self.take(&key)
    }

    /// Tells of a listed object whether it is here as it is listed.
    pub(super) fn compare(&self, object: K) -> Listed<K> {
        let meta = object.meta();
        let key = key_of(meta);
        let same = |current: &Arc<K>| {
            uid_of(current.meta()) == uid_of(meta)
                && revision_of(current.meta()) == revision_of(meta)
                && revision_of(meta) != 0
        };
        if self.objects.get(&key).is_some_and(same) {
            return Listed::Same { key, uid: uid_of(meta).to_owned() };
        }
        Listed::Other(Box::new(object))
    }

    /// Takes a whole list at a revision, in place of all that was.
    pub(super) fn replace(&mut self, list: Vec<Listed<K>>, revision: u64) -> Vec<Change<K>> {
        let mut changes = self.take_unlisted(&list, revision);
        self.revision = revision;
        for one in list {
            match one {
                Listed::Other(object) => changes.extend(self.apply(*object)),
                // An own write that came between is newer than the list.
                Listed::Same { key, .. } if self.is_ahead(&key, revision) => {}
                Listed::Same { uid, .. } => {
                    self.assumed.remove(&uid);
                }
            }
        }
        self.revision = self.revision.max(revision);
        changes
    }

    /// Takes the answer to an own write, unless the watch is past it.
    pub(super) fn assume(&mut self, object: K) -> Option<Change<K>> {
        let revision = revision_of(object.meta());
        let uid = uid_of(object.meta()).to_owned();
        if revision <= self.revision || self.gone.contains(&uid) {
            return None;
        }
        let current = self.objects.get(&key_of(object.meta()));
        if current.is_some_and(|current| revision_of(current.meta()) >= revision) {
            return None;
        }
        self.assumed.insert(uid);
        Some(self.insert(object))
    }

    /// Takes an own final delete.
    pub(super) fn assume_deleted(&mut self, key: &ObjectKey, uid: &str) -> Option<Change<K>> {
        let current = self.objects.get(key)?;
        if uid_of(current.meta()) != uid {
            return None;
        }
        self.gone.insert(uid.to_owned());
        self.take(key)
    }

    /// Takes out what a list does not hold, but own writes that are newer; the first list leaves nothing to look for.
    fn take_unlisted(&mut self, list: &[Listed<K>], revision: u64) -> Vec<Change<K>> {
        if !self.gone.is_empty() {
            let uids: HashSet<&str> = list.iter().map(Listed::uid).collect();
            self.gone.retain(|uid| uids.contains(uid.as_str()));
        }
        if self.objects.is_empty() {
            return Vec::new();
        }
        let listed: HashSet<ObjectKey> = list.iter().map(Listed::key).collect();
        let keys: Vec<_> = self.objects.keys().cloned().collect();
        let unlisted =
            keys.iter().filter(|key| !listed.contains(&***key) && !self.is_ahead(key, revision));
        let unlisted: Vec<_> = unlisted.cloned().collect();
        unlisted.iter().filter_map(|key| self.take(key)).collect()
    }

    fn is_ahead(&self, key: &ObjectKey, revision: u64) -> bool {
        self.objects.get(key).is_some_and(|object| {
            self.assumed.contains(uid_of(object.meta())) && revision_of(object.meta()) > revision
        })
    }

    fn insert(&mut self, mut object: K) -> Change<K> {
        let meta = object.meta_mut();
        if K::metadata_api() {
            // Who follows metadata alone asks who owns what and what is gone. Each map takes half a kilobyte even for
            // one entry, which was most of such an object.
            (meta.labels, meta.annotations) = (None, None);
        }
        let key = key_of(object.meta());
        let old = self.take(&key).and_then(|change| change.old);
        let shared_key = Arc::new(key.clone());
        let controller = controller_uid(object.meta()).to_owned();
        self.by_controller.entry(controller).or_default().insert(Arc::clone(&shared_key));
        let new = Arc::new(object);
        self.objects.insert(shared_key, Arc::clone(&new));
        Change { key, old, new: Some(new) }
    }

    fn take(&mut self, key: &ObjectKey) -> Option<Change<K>> {
        let old = self.objects.remove(key)?;
        let controller = controller_uid(old.meta());
        if let Some(keys) = self.by_controller.get_mut(controller) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_controller.remove(controller);
            }
        }
        Some(Change { key: key.clone(), old: Some(old), new: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::core::PartialObjectMeta;

    fn object(name: &str, uid: &str, revision: u64) -> ConfigMap {
        ConfigMap {
            metadata: ObjectMeta {
                namespace: Some("a".into()),
                name: Some(name.into()),
                uid: Some(uid.into()),
                resource_version: Some(revision.to_string()),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        }
    }

    /// Takes a list as the edge does: each object is compared first.
    fn replace(
        state: &mut State<ConfigMap>,
        list: Vec<ConfigMap>,
        revision: u64,
    ) -> Vec<Change<ConfigMap>> {
        let list = list.into_iter().map(|object| state.compare(object)).collect();
        state.replace(list, revision)
    }

    fn show(state: &State<ConfigMap>) -> String {
        let one =
            |o: &Arc<ConfigMap>| format!("{}@{}", uid_of(&o.metadata), revision_of(&o.metadata));
        state.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn an_assumed_create_is_told_once() {
        let mut state = State::default();
        replace(&mut state, vec![], 4);
        assert!(state.assume(object("x", "u", 5)).is_some());
        assert!(state.apply(object("x", "u", 5)).is_none());
        assert!(state.apply(object("x", "u", 6)).is_some());
        assert_eq!(show(&state), "u@6");
    }

    #[test]
    fn of_metadata_alone_only_identity_and_owners_stay() {
        let mut full = object("x", "u", 5);
        full.metadata.labels = Some([("app".to_owned(), "web".to_owned())].into());
        full.metadata.annotations = full.metadata.labels.clone();
        full.metadata.finalizers = Some(vec!["a/b".to_owned()]);
        let mut bare: State<PartialObjectMeta<ConfigMap>> = State::default();
        let partial = serde_json::from_value(serde_json::to_value(&full).unwrap()).unwrap();
        let kept = bare.assume(partial).unwrap().new.unwrap();
        assert_eq!((&kept.metadata.labels, &kept.metadata.annotations), (&None, &None));
        assert_eq!((uid_of(&kept.metadata), revision_of(&kept.metadata)), ("u", 5));
        assert_eq!(kept.metadata.finalizers.as_deref(), Some(&["a/b".to_owned()][..]));
        let mut state = State::default();
        let kept = state.assume(full).unwrap().new.unwrap();
        assert!(kept.metadata.labels.is_some() && kept.metadata.annotations.is_some());
    }

    #[test]
    fn an_answer_that_comes_after_its_delete_does_not_raise_the_dead() {
        let mut state = State::default();
        state.apply(object("x", "u", 5));
        state.remove(&object("x", "u", 6));
        assert!(state.assume(object("x", "u", 5)).is_none());
        assert_eq!(show(&state), "");
    }

    #[test]
    fn an_older_event_does_not_undo_an_assumed_update() {
        let mut state = State::default();
        state.apply(object("x", "u", 5));
        state.assume(object("x", "u", 8));
        assert!(state.apply(object("x", "u", 7)).is_none());
        assert_eq!(show(&state), "u@8");
    }

    #[test]
    fn an_assumed_delete_hides_late_events_until_the_delete_is_seen() {
        let mut state = State::default();
        state.apply(object("x", "u", 5));
        let key = ObjectKey::namespaced("a", "x");
        assert!(state.assume_deleted(&key, "u").is_some());
        assert!(state.apply(object("x", "u", 6)).is_none());
        assert!(state.remove(&object("x", "u", 7)).is_none());
        assert!(state.gone.is_empty());
        assert!(state.apply(object("x", "v", 8)).is_some());
        assert_eq!(show(&state), "v@8");
    }

    #[test]
    fn a_delete_of_the_former_object_leaves_the_assumed_one() {
        let mut state = State::default();
        state.apply(object("x", "u", 5));
        state.assume(object("x", "v", 9));
        assert!(state.remove(&object("x", "u", 8)).is_none());
        assert_eq!(show(&state), "v@9");
    }

    #[test]
    fn a_relist_tells_only_what_differs_and_keeps_own_newer_writes() {
        let mut state = State::default();
        replace(&mut state, vec![object("x", "x", 1), object("y", "y", 2), object("z", "z", 3)], 3);
        state.assume(object("new", "new", 9));
        let changes = replace(&mut state, vec![object("x", "x", 1), object("y", "y", 7)], 8);
        let names: Vec<_> = changes.iter().map(|c| c.key.name.as_str()).collect();
        assert_eq!(names, ["z", "y"]);
        assert_eq!(show(&state), "new@9 x@1 y@7");
    }

    #[test]
    fn an_own_write_while_a_list_is_read_stays_ahead_of_it() {
        let mut state = State::default();
        replace(&mut state, vec![object("x", "x", 5)], 5);
        let listed = vec![state.compare(object("x", "x", 5))];
        state.assume(object("x", "x", 12));
        assert!(state.replace(listed, 10).is_empty());
        assert!(state.apply(object("x", "x", 11)).is_none(), "another's write, before the own one");
        assert_eq!(show(&state), "x@12");
    }

    #[test]
    fn a_relist_of_a_store_that_began_anew_is_believed() {
        let mut state = State::default();
        replace(&mut state, vec![object("x", "x", 100)], 100);
        let changes = replace(&mut state, vec![object("x", "x2", 3)], 3);
        assert_eq!(changes.len(), 1);
        assert_eq!((show(&state), state.revision()), ("x2@3".into(), 3));
    }

    #[test]
    fn objects_are_found_by_namespace_and_by_controller() {
        let mut state = State::default();
        let mut owned = object("x", "x", 1);
        owned.metadata.owner_references =
            Some(vec![k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference {
                uid: "owner".into(),
                controller: Some(true),
                ..Default::default()
            }]);
        replace(&mut state, vec![owned, object("y", "y", 2)], 2);
        assert_eq!(state.controlled_by("owner").len(), 1);
        assert_eq!(state.orphans_in("a").len(), 1);
        assert_eq!(state.orphans_in("b").len(), 0);
        assert_eq!(state.iter_in("a").count(), 2);
        state.remove(&object("x", "x", 3));
        assert_eq!(state.controlled_by("owner").len(), 0);
    }
}
