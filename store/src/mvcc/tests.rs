//! The core against a model that keeps every state that ever was.

use super::*;
use proptest::prelude::*;

/// A commit of the model: key, value (`None` deletes), guard.
type ModelWrite = (u8, Option<u8>, ModelGuard);

#[derive(Debug, Clone, Copy)]
enum ModelGuard {
    Any,
    Absent,
    Present,
    Stale,
}

fn writes() -> impl Strategy<Value = Vec<Vec<ModelWrite>>> {
    let guard = prop_oneof![
        4 => Just(ModelGuard::Any),
        2 => Just(ModelGuard::Absent),
        3 => Just(ModelGuard::Present),
        1 => Just(ModelGuard::Stale),
    ];
    let write = (0..6_u8, proptest::option::weighted(0.7, any::<u8>()), guard);
    proptest::collection::vec(proptest::collection::vec(write, 1..4), 0..40)
}

/// Each key's value, and the revisions of its first and last write.
type State = BTreeMap<Bytes, (Bytes, Revision, Revision)>;

/// All that ever was: the state after each revision.
#[derive(Default)]
struct Model {
    states: Vec<(Revision, State)>,
}

impl Model {
    fn at(&self, revision: Revision) -> State {
        let found = self.states.iter().rev().find(|(at, _)| *at <= revision);
        found.map(|(_, state)| state.clone()).unwrap_or_default()
    }

    /// Whether the commit happens, and at which revision.
    fn commit(&mut self, writes: &[ModelWrite]) -> Option<Revision> {
        let (last, mut state) =
            self.states.last().cloned().unwrap_or((Revision::FIRST, BTreeMap::new()));
        let mut seen = HashSet::new();
        for (key, _, guard) in writes {
            let current = state.get(&key_of(*key));
            let holds = match guard {
                ModelGuard::Any => true,
                ModelGuard::Absent => current.is_none(),
                ModelGuard::Present => current.is_some(),
                ModelGuard::Stale => false,
            };
            if !holds || !seen.insert(*key) {
                return None;
            }
        }
        let next = last.next();
        let mut changed = false;
        for (key, value, _) in writes {
            match value {
                Some(value) => {
                    let created = state.get(&key_of(*key)).map_or(next, |(_, created, _)| *created);
                    state.insert(key_of(*key), (Bytes::from(vec![*value]), created, next));
                    changed = true;
                }
                None => changed |= state.remove(&key_of(*key)).is_some(),
            }
        }
        if !changed {
            return Some(last);
        }
        self.states.push((next, state));
        Some(next)
    }
}

fn key_of(key: u8) -> Bytes {
    Bytes::from(format!("/{}/{key}", key % 2))
}

fn write_of(core: impl Fn(&Bytes) -> Option<Revision>, (key, value, guard): ModelWrite) -> Write {
    let key = key_of(key);
    let guard = match guard {
        ModelGuard::Any => Guard::Any,
        ModelGuard::Absent => Guard::Absent,
        ModelGuard::Present => Guard::At(core(&key).unwrap_or(Revision(9999))),
        ModelGuard::Stale => Guard::At(Revision(9998)),
    };
    match value {
        Some(value) => Write::put(key, Bytes::from(vec![value]), guard),
        None => Write::delete(key, guard),
    }
}

fn shape(page: &Page) -> Vec<(Bytes, (Bytes, Revision, Revision))> {
    let item = |kv: &Kv| (kv.key.clone(), (kv.value.clone(), kv.created, kv.modified));
    page.items.iter().map(item).collect()
}

/// Runs commits in batches of `batch` on core and model, side by side.
fn run(commits: Vec<Vec<ModelWrite>>, batch_len: usize) -> (Mvcc, Model) {
    let mut mvcc = Mvcc::default();
    let mut model = Model::default();
    for commits in commits.chunks(batch_len) {
        let mut batch = Batch::default();
        for commit in commits {
            let now = |key: &Bytes| mvcc.staged(&batch, key).map(|kv| kv.modified);
            let writes: Vec<Write> = commit.iter().map(|write| write_of(now, *write)).collect();
            let found = mvcc.stage(&mut batch, writes).ok().map(|committed| committed.revision);
            assert_eq!(found, model.commit(commit));
        }
        mvcc.apply(batch.commits(), batch.compact_to);
    }
    (mvcc, model)
}

/// Forgets what lives in memory only, and reads the core back from what a journal would hold.
fn restart(mvcc: &Mvcc) -> Mvcc {
    let base = mvcc.range(b"", None, 0, Some(mvcc.compacted)).unwrap().items;
    let mut log: Vec<(Revision, Vec<LoggedChange>)> = Vec::new();
    for event in &mvcc.history {
        let change = LoggedChange { key: event.key.clone(), current: event.current.clone() };
        match log.last_mut() {
            Some((revision, changes)) if *revision == event.revision => changes.push(change),
            Some(_) | None => log.push((event.revision, vec![change])),
        }
    }
    Mvcc::restore(base, log)
}

fn events(mvcc: &Mvcc) -> Vec<(Revision, Bytes, Option<Kv>, Option<Kv>)> {
    let shape = |event: &Arc<Event>| {
        (event.revision, event.key.clone(), event.current.clone(), event.previous.clone())
    };
    mvcc.history.iter().map(shape).collect()
}

proptest! {
    #[test]
    fn every_revision_reads_as_it_was(commits in writes(), batch in 1..5_usize) {
        let (mvcc, model) = run(commits, batch);
        for revision in 0..=mvcc.revision().0 {
            let revision = Revision(revision);
            for prefix in ["/", "/0/", "/1/3", "/2"] {
                let page = mvcc.range(prefix.as_bytes(), None, 0, Some(revision)).unwrap();
                let expected = model.at(revision).into_iter().filter(|(key, _)| key.starts_with(prefix.as_bytes()));
                prop_assert_eq!(shape(&page), expected.collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn pages_put_together_are_the_whole(commits in writes(), limit in 1..4_usize, back in 0..10_u64) {
        let (mvcc, _) = run(commits, 2);
        let at = Revision(mvcc.revision().0.saturating_sub(back));
        let whole = mvcc.range(b"/", None, 0, Some(at)).unwrap();
        let mut found = Vec::new();
        let mut after: Option<Bytes> = None;
        loop {
            let page = mvcc.range(b"/", after.as_deref(), limit, Some(at)).unwrap();
            found.extend(page.items.iter().cloned());
            prop_assert_eq!(page.remaining, whole.items.len() - found.len());
            match page.items.last() {
                Some(last) if page.remaining > 0 => after = Some(last.key.clone()),
                _ => break,
            }
        }
        prop_assert_eq!(found, whole.items);
    }

    #[test]
    fn events_lead_from_each_revision_to_the_present(commits in writes(), batch in 1..5_usize) {
        let (mvcc, model) = run(commits, batch);
        for from in 0..=mvcc.revision().0 {
            let mut state = model.at(Revision(from));
            let mut last = Revision(from);
            for event in mvcc.events_after(Revision(from)).unwrap() {
                prop_assert!(event.revision >= last && event.revision > Revision(from));
                last = event.revision;
                let before = state.get(&event.key).map(|(value, ..)| value.clone());
                prop_assert_eq!(before.as_ref(), event.previous.as_ref().map(|kv| &kv.value));
                match &event.current {
                    Some(kv) => state.insert(kv.key.clone(), (kv.value.clone(), kv.created, kv.modified)),
                    None => state.remove(&event.key),
                };
            }
            prop_assert_eq!(state, model.at(mvcc.revision()));
        }
    }

    #[test]
    fn a_restart_changes_nothing(commits in writes(), batch in 1..5_usize, compact in 0..30_u64) {
        let (mut mvcc, _) = run(commits, batch);
        mvcc.compact(Revision(compact));
        let again = restart(&mvcc);
        prop_assert_eq!(&again.keys, &mvcc.keys);
        prop_assert_eq!(events(&again), events(&mvcc));
        prop_assert_eq!(again.history_bytes, mvcc.history_bytes);
        let compacted = if mvcc.compacted > Revision::FIRST { mvcc.compacted } else { Revision(0) };
        // A journal never trims its last commit; without one, only the keys tell the revision.
        if !mvcc.history.is_empty() {
            prop_assert_eq!(again.revision, mvcc.revision);
            prop_assert_eq!(again.compacted, compacted);
        }
    }

    #[test]
    fn compaction_takes_the_past_and_nothing_else(commits in writes(), compact in 0..30_u64) {
        let (mut mvcc, model) = run(commits, 1);
        mvcc.compact(Revision(compact));
        let floor = Revision(compact).min(mvcc.revision());
        prop_assert_eq!(mvcc.compacted(), floor);
        for revision in 0..=mvcc.revision().0 {
            let revision = Revision(revision);
            let page = mvcc.range(b"/", None, 0, Some(revision));
            prop_assert_eq!(page.is_ok(), revision >= floor);
            prop_assert_eq!(mvcc.events_after(revision).is_ok(), revision >= floor);
            if let Ok(page) = page {
                prop_assert_eq!(shape(&page), model.at(revision).into_iter().collect::<Vec<_>>());
            }
        }
        let future = mvcc.range(b"/", None, 0, Some(mvcc.revision().next()));
        prop_assert!(matches!(future, Err(ReadError::Future { .. })), "{:?}", future);
    }
}

#[test]
fn a_conflict_names_the_write_and_what_is_there() {
    let mut mvcc = Mvcc::default();
    let mut batch = Batch::default();
    let put = |key: &'static str, guard| Write::put(key, Bytes::from_static(b"v"), guard);
    mvcc.stage(&mut batch, vec![put("a", Guard::Absent)]).unwrap();
    let error =
        mvcc.stage(&mut batch, vec![put("b", Guard::Any), put("a", Guard::Absent)]).unwrap_err();
    let CommitError::Conflict { index: 1, current: Some(current) } = error else {
        panic!("{error}")
    };
    assert_eq!(current.modified, Revision(2));
    let error =
        mvcc.stage(&mut batch, vec![put("b", Guard::Any), put("b", Guard::Any)]).unwrap_err();
    assert!(matches!(error, CommitError::Twice { index: 1 }), "{error}");
    assert_eq!(batch.commits().len(), 1);
    mvcc.apply(batch.commits(), None);
    assert!(mvcc.get(b"b").is_none());
}

#[test]
fn the_value_holds_its_revision_where_asked() {
    let mut mvcc = Mvcc::default();
    for expected in ["<2>", "<3>"] {
        let mut batch = Batch::default();
        let content =
            crate::Content { bytes: Bytes::from_static(b"<>"), stamp: Some(1), note: None };
        mvcc.stage(&mut batch, vec![Write::put("a", content, Guard::Any)]).unwrap();
        mvcc.apply(batch.commits(), None);
        assert_eq!(mvcc.get(b"a").unwrap().value, expected);
        assert_eq!(mvcc.get(b"a").unwrap().stamp, Some(1));
    }
}
