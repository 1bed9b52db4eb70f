//! The decision for one object.

use super::{Action, Entry, FOREGROUND, ORPHAN, Observed, Presence, Propagation};

/// Gives all that is to be done for an object now.
///
/// It is deleted only when every owner is surely absent or waits for it to go; one unknown owner
/// keeps it. *Source:* Kubernetes docs, "Garbage Collection: Cascading deletion".
pub fn reconcile(observed: &Observed) -> Vec<Action> {
    let object = &observed.object;
    if object.is_deleting {
        if object.has(ORPHAN) {
            return orphan(observed);
        }
        if object.has(FOREGROUND) {
            return foreground(observed);
        }
        return Vec::new();
    }
    let of = |presence| observed.owners.iter().filter(move |(_, known)| *known == presence);
    if observed.owners.is_empty() || of(Presence::Unknown).next().is_some() {
        return Vec::new();
    }
    let leaving = of(Presence::Absent).chain(of(Presence::Waiting));
    let leaving: Vec<String> = leaving.map(|(owner, _)| owner.uid.clone()).collect();
    if of(Presence::Solid).next().is_some() {
        if leaving.is_empty() {
            return Vec::new();
        }
        return vec![Action::DropOwners { object: object.uid.clone(), owners: leaving }];
    }
    let owner_waits = of(Presence::Waiting).next().is_some();
    if owner_waits && waits_in_a_circle(observed) {
        return vec![Action::Unblock, Action::Visit(object.uid.clone())];
    }
    vec![Action::Delete(propagation(object, owner_waits && !observed.dependents.is_empty()))]
}

/// Whether one of the dependents waits for its own dependents already: then it may be this object's owner too, and
/// each would wait for the other.
///
/// *Source:* kube-controller-manager's garbage collector, which takes this for a circle as well.
fn waits_in_a_circle(observed: &Observed) -> bool {
    let blocks = observed.object.owners.iter().any(|o| o.block_owner_deletion == Some(true));
    let mut dependents = observed.dependents.iter();
    blocks && dependents.any(|dependent| dependent.is_deleting && dependent.has(FOREGROUND))
}

/// The choice that somebody made for the object itself goes before the default.
fn propagation(object: &Entry, in_turn: bool) -> Propagation {
    if object.has(ORPHAN) {
        Propagation::Orphan
    } else if in_turn || object.has(FOREGROUND) {
        Propagation::Foreground
    } else {
        Propagation::Background
    }
}

fn orphan(observed: &Observed) -> Vec<Action> {
    let object = &observed.object;
    if observed.dependents.is_empty() {
        return vec![Action::RemoveFinalizer(ORPHAN)];
    }
    let free = |dependent: &Entry| Action::DropOwners {
        object: dependent.uid.clone(),
        owners: vec![object.uid.clone()],
    };
    observed.dependents.iter().map(free).collect()
}

fn foreground(observed: &Observed) -> Vec<Action> {
    let object = &observed.object;
    let blocks = |dependent: &&Entry| {
        let mut owners = dependent.owners.iter();
        owners.any(|owner| owner.uid == object.uid && owner.block_owner_deletion == Some(true))
    };
    let mut actions = Vec::new();
    if !observed.dependents.iter().any(|dependent| blocks(&dependent)) {
        actions.push(Action::RemoveFinalizer(FOREGROUND));
    }
    let alive = observed.dependents.iter().filter(|dependent| !dependent.is_deleting);
    actions.extend(alive.map(|dependent| Action::Visit(dependent.uid.clone())));
    actions
}

#[cfg(test)]
mod tests {
    use super::super::Graph;
    use super::*;
    use coracle_api::key::ObjectKey;
    use expect_test::{Expect, expect};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    /// `uid owner,owner flags` with flags d(eleting) f(oreground) o(rphan); owners block.
    fn entry(text: &str) -> Entry {
        let mut words = text.split(' ');
        let uid = words.next().unwrap().to_owned();
        let owners = words.next().unwrap_or_default().split(',').filter(|owner| !owner.is_empty());
        let flags = words.next().unwrap_or_default();
        let finalizers = [('f', FOREGROUND), ('o', ORPHAN)];
        Entry {
            kind: 0,
            key: ObjectKey::namespaced("a", &uid),
            uid,
            revision: None,
            owners: owners
                .map(|owner| OwnerReference {
                    uid: owner.into(),
                    block_owner_deletion: Some(true),
                    ..OwnerReference::default()
                })
                .collect(),
            finalizers: finalizers
                .iter()
                .filter(|(flag, _)| flags.contains(*flag))
                .map(|(_, finalizer)| (*finalizer).to_owned())
                .collect(),
            is_deleting: flags.contains('d'),
        }
    }

    fn check(object: &str, owners: &[Presence], dependents: &[&str], expected: Expect) {
        let object = entry(object);
        let owners = object.owners.iter().cloned().zip(owners.iter().copied()).collect();
        let dependents = dependents.iter().map(|text| entry(text)).collect();
        let actions = reconcile(&Observed { object, owners, dependents });
        let lines: Vec<String> = actions.iter().map(|action| format!("{action:?}")).collect();
        expected.assert_eq(&lines.join("\n"));
    }

    use Presence::{Absent, Solid, Unknown, Waiting};

    #[test]
    fn only_what_surely_has_no_owner_goes() {
        check("p rs", &[Absent], &[], expect!["Delete(Background)"]);
        check("p rs", &[Solid], &[], expect![""]);
        check("p rs", &[Unknown], &[], expect![""]);
        check("p rs,x", &[Absent, Unknown], &[], expect![""]);
        check("p", &[], &[], expect![""]);
        check("p rs d", &[Absent], &[], expect![""]);
    }

    #[test]
    fn one_that_has_another_owner_only_loses_the_absent() {
        check(
            "p a,b",
            &[Absent, Solid],
            &[],
            expect![[r#"DropOwners { object: "p", owners: ["a"] }"#]],
        );
        check(
            "p a,b",
            &[Waiting, Solid],
            &[],
            expect![[r#"DropOwners { object: "p", owners: ["a"] }"#]],
        );
    }

    #[test]
    fn foreground_goes_down_and_comes_up() {
        check("d  df", &[], &["rs d"], expect![[r#"Visit("rs")"#]]);
        check("rs d", &[Waiting], &["p rs"], expect!["Delete(Foreground)"]);
        check("p rs", &[Waiting], &[], expect!["Delete(Background)"]);
        check("rs d df", &[Waiting], &["p rs d"], expect![""]);
        check("rs d df", &[Waiting], &[], expect![[r#"RemoveFinalizer("foregroundDeletion")"#]]);
    }

    #[test]
    fn a_circle_does_not_wait_for_itself() {
        let unblocked = expect![[r#"
            Unblock
            Visit("c")"#]];
        check("c b", &[Waiting], &["a c df"], unblocked);
        let circle = [BTreeSet::from([2]), BTreeSet::from([0]), BTreeSet::from([1])];
        let mut world = World::new(&circle);
        assert!(world.collect() && world.there.len() == 3);
        world.mark("u0");
        assert!(world.collect(), "does not come to rest");
        assert_eq!(world.there.keys().collect::<Vec<_>>(), Vec::<&String>::new());
    }

    #[test]
    fn orphans_lose_their_owner_before_it_goes() {
        check("d  do", &[], &["rs d"], expect![[r#"DropOwners { object: "rs", owners: ["d"] }"#]]);
        check("d  do", &[], &[], expect![[r#"RemoveFinalizer("orphan")"#]]);
    }

    #[test]
    fn the_graph_tells_whom_a_change_concerns() {
        let mut graph = Graph::default();
        assert_eq!(graph.put(entry("plain")), Vec::<String>::new());
        assert_eq!(graph.put(entry("rs d")), ["rs"]);
        assert_eq!(graph.put(entry("rs d")), Vec::<String>::new());
        assert_eq!(graph.put(entry("p rs")), ["p"]);
        assert_eq!(graph.remove("d"), ["rs"]);
        assert_eq!(graph.put(entry("d  df")), ["d"]);
        assert_eq!(graph.remove("rs"), ["p", "d"]);
        assert_eq!(graph.dependents("d").count(), 0);
    }

    /// A store, the collector's graph over it, and whom it has yet to look at.
    #[derive(Default)]
    struct World {
        there: BTreeMap<String, Entry>,
        graph: Graph,
        queue: Vec<String>,
    }

    fn name(n: usize) -> String {
        format!("u{n}")
    }

    impl World {
        fn new(owners: &[BTreeSet<usize>]) -> World {
            let mut world = World::default();
            for (n, set) in owners.iter().enumerate() {
                let of = set.iter().map(|owner| name(*owner)).collect::<Vec<_>>().join(",");
                world.put(entry(&format!("{} {of}", name(n))));
            }
            world
        }

        fn put(&mut self, entry: Entry) {
            self.there.insert(entry.uid.clone(), entry.clone());
            self.queue.extend(self.graph.put(entry));
        }

        fn remove(&mut self, uid: &str) {
            self.there.remove(uid);
            self.queue.extend(self.graph.remove(uid));
        }

        fn mark(&mut self, uid: &str) {
            let mut entry = self.there[uid].clone();
            entry.is_deleting = true;
            entry.finalizers.push(FOREGROUND.into());
            self.put(entry);
        }

        fn presence(&self, uid: &str) -> Presence {
            match self.there.get(uid) {
                None => Absent,
                Some(owner) if owner.is_deleting && owner.has(FOREGROUND) => Waiting,
                Some(_) => Solid,
            }
        }

        /// Collects until nothing is left to look at; says whether that came to an end.
        fn collect(&mut self) -> bool {
            for _ in 0..10_000 {
                let Some(uid) = self.queue.pop() else { return true };
                let Some(object) = self.graph.get(&uid).cloned() else { continue };
                let owners = object.owners.iter();
                let owners = owners.map(|o| (o.clone(), self.presence(&o.uid))).collect();
                let dependents = self.graph.dependents(&uid).cloned().collect();
                for action in reconcile(&Observed { object, owners, dependents }) {
                    self.act(&uid, action);
                }
            }
            false
        }

        fn act(&mut self, uid: &str, action: Action) {
            match action {
                Action::Visit(other) => self.queue.push(other),
                Action::Delete(Propagation::Foreground) => self.mark(uid),
                Action::Unblock => {
                    let mut entry = self.there[uid].clone();
                    entry.owners.iter_mut().for_each(|o| o.block_owner_deletion = Some(false));
                    self.put(entry);
                }
                Action::Delete(_) | Action::RemoveFinalizer(_) => self.remove(uid),
                Action::DropOwners { object, owners } => {
                    let mut entry = self.there[&object].clone();
                    entry.owners.retain(|owner| !owners.contains(&owner.uid));
                    self.put(entry);
                }
            }
        }
    }

    proptest! {
        /// Objects own each other at random (later ones earlier ones); some are deleted. In the
        /// end an object is gone exactly when it was deleted, or had owners and all are gone.
        #[test]
        fn the_right_ones_remain(
            owners in prop::collection::vec(prop::collection::btree_set(0..12_usize, 0..3), 1..12),
            deleted in prop::collection::btree_set(0..12_usize, 0..4),
            in_foreground in any::<bool>(),
        ) {
            let owners: Vec<BTreeSet<usize>> = owners.into_iter().enumerate()
                .map(|(n, set)| set.into_iter().filter(|owner| *owner < n).collect()).collect();
            let mut world = World::new(&owners);
            for n in deleted.iter().filter(|n| **n < owners.len()) {
                if in_foreground {
                    world.mark(&name(*n));
                } else {
                    world.remove(&name(*n));
                }
            }
            prop_assert!(world.collect(), "does not come to rest");
            let mut remain: Vec<bool> = Vec::new();
            for (n, set) in owners.iter().enumerate() {
                let owned = set.is_empty() || set.iter().any(|owner| remain[*owner]);
                remain.push(!deleted.contains(&n) && owned);
            }
            let actual: Vec<bool> = (0..owners.len()).map(|n| world.there.contains_key(&name(n))).collect();
            prop_assert_eq!(actual, remain);
        }
    }
}
