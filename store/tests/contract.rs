//! What every backend promises, run over each.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use coracle_store::{
    CommitError, Committed, EtcdConfig, Guard, Mvcc, Observer, ReadError, Revision, Store,
    WatchItem, Write,
};
use std::future::Future;
use std::sync::Arc;
use std::sync::Mutex;

/// Runs a test over a fresh store of each backend.
fn each<F: Future<Output = ()>>(test: impl Fn(Store) -> F) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(test(Store::memory()));
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_redb(folder.path().join("store.redb")).unwrap();
    runtime.block_on(test(store));
    let etcd = coracle_etcd::Etcd::start();
    let config = EtcdConfig::parse(&etcd.url()).unwrap();
    let store = runtime.block_on(Store::open_etcd(config)).unwrap();
    runtime.block_on(test(store));
}

fn put(key: &str, value: &str, guard: Guard) -> Write {
    Write::put(key.to_owned(), Bytes::copy_from_slice(value.as_bytes()), guard)
}

async fn value(store: &Store, key: &str) -> Option<String> {
    let kv = store.get(key.as_bytes()).await.unwrap()?;
    Some(String::from_utf8(kv.value.to_vec()).unwrap())
}

#[test]
fn commits_are_atomic_and_guarded() {
    each(|store| async move {
        let made = store.commit(vec![put("/a", "1", Guard::Absent)]).await.unwrap().revision;
        let both = vec![put("/b", "1", Guard::Absent), put("/a", "2", Guard::Absent)];
        let error = store.commit(both).await.unwrap_err();
        assert!(matches!(error, CommitError::Conflict { index: 1, .. }), "{error}");
        assert_eq!(value(&store, "/b").await, None);
        let both = vec![put("/b", "1", Guard::Absent), put("/a", "2", Guard::At(made))];
        let changed = store.commit(both).await.unwrap();
        assert_eq!(changed.revision, made.next());
        assert_eq!(changed.events.len(), 2);
        assert_eq!(value(&store, "/a").await.as_deref(), Some("2"));
        let gone =
            store.commit(vec![Write::delete("/a", Guard::At(changed.revision))]).await.unwrap();
        assert_eq!(gone.events[0].previous.as_ref().unwrap().value, "2");
        assert_eq!(value(&store, "/a").await, None);
        let nothing = store.commit(vec![Write::delete("/a", Guard::Any)]).await.unwrap();
        assert_eq!((nothing.revision, nothing.events.len()), (gone.revision, 0));
        assert_eq!(store.revision(), gone.revision);
    });
}

#[test]
fn of_many_writers_one_wins() {
    each(|store| async move {
        for round in 0..20 {
            let tasks: Vec<_> = (0..16)
                .map(|writer| {
                    let store = store.clone();
                    let write = put(&format!("/{round}"), &writer.to_string(), Guard::Absent);
                    tokio::spawn(async move { store.commit(vec![write]).await })
                })
                .collect();
            let mut won = 0;
            for task in tasks {
                match task.await.unwrap() {
                    Ok(_) => won += 1,
                    Err(CommitError::Conflict { current, .. }) => assert!(current.is_some()),
                    Err(error) => panic!("{error}"),
                }
            }
            assert_eq!(won, 1);
        }
    });
}

#[test]
fn ranges_show_any_revision_that_is_kept() {
    each(|store| async move {
        for key in ["/x/a", "/x/b", "/x/c", "/y/a"] {
            store.commit(vec![put(key, "1", Guard::Absent)]).await.unwrap();
        }
        let then = store.revision();
        store.commit(vec![put("/x/b", "2", Guard::Any)]).await.unwrap();
        store.commit(vec![Write::delete("/x/c", Guard::Any)]).await.unwrap();
        let keys = |page: coracle_store::Page| {
            page.items
                .iter()
                .map(|kv| String::from_utf8(kv.key.to_vec()).unwrap())
                .collect::<Vec<_>>()
        };
        let first = store.range(b"/x/", None, 2, Some(then)).await.unwrap();
        assert_eq!((first.remaining, first.revision), (1, then));
        assert_eq!(first.items[1].value, "1");
        let rest = store.range(b"/x/", Some(b"/x/b"), 2, Some(then)).await.unwrap();
        assert_eq!(keys(rest), ["/x/c"]);
        assert_eq!(keys(store.range(b"/x/", None, 0, None).await.unwrap()), ["/x/a", "/x/b"]);
        let future = store.range(b"/x/", None, 0, Some(Revision(1000))).await.unwrap_err();
        assert!(matches!(future, ReadError::Future { .. }), "{future}");
        store.compact(store.revision()).await.unwrap();
        let error = store.range(b"/x/", None, 0, Some(then)).await.unwrap_err();
        assert!(matches!(error, ReadError::Compacted { .. }), "{error}");
    });
}

#[test]
fn a_watch_sees_every_event_once_and_in_order() {
    const WRITES: u64 = 400;
    each(|store| async move {
        let writer = {
            let store = store.clone();
            tokio::spawn(async move {
                for n in 0..WRITES {
                    let key = if n % 2 == 0 { "/x/k" } else { "/y/k" };
                    store.commit(vec![put(key, &n.to_string(), Guard::Any)]).await.unwrap();
                }
            })
        };
        let watches: Vec<_> = [0, 1, 2, 50, 200]
            .into_iter()
            .map(|after| {
                let store = store.clone();
                tokio::spawn(async move {
                    let mut watch = store.watch(b"/x/", Revision(after));
                    let mut seen = Vec::new();
                    loop {
                        match watch.next().await.unwrap() {
                            WatchItem::Event(event) => seen.push(event.revision.0),
                            WatchItem::Progress(revision) if revision.0 == WRITES + 1 => break,
                            WatchItem::Progress(_) => {}
                            WatchItem::Compacted(revision) => panic!("compacted {revision}"),
                        }
                    }
                    // The writes to /x/ are at the even revisions from 2 on.
                    let expected: Vec<u64> =
                        (2..WRITES + 2).step_by(2).filter(|at| *at > after).collect();
                    assert_eq!(seen, expected);
                })
            })
            .collect();
        writer.await.unwrap();
        for watch in watches {
            watch.await.unwrap();
        }
    });
}

#[test]
fn a_watch_of_the_compacted_past_is_told_so_and_ends() {
    each(|store| async move {
        for n in 0..5 {
            store.commit(vec![put("/a", &n.to_string(), Guard::Any)]).await.unwrap();
        }
        store.compact(Revision(4)).await.unwrap();
        let mut watch = store.watch(b"/", Revision(2));
        let item = watch.next().await;
        assert!(matches!(item, Some(WatchItem::Compacted(Revision(4)))), "{item:?}");
        assert!(watch.next().await.is_none());
        let mut watch = store.watch(b"/", Revision(4));
        let item = watch.next().await;
        assert!(
            matches!(&item, Some(WatchItem::Event(event)) if event.revision == Revision(5)),
            "{item:?}"
        );
    });
}

/// Remembers what it is told.
#[derive(Default)]
struct Witness(Mutex<Vec<u64>>);

impl Observer for Witness {
    fn start(&self, mvcc: &Mvcc) {
        self.0.lock().unwrap().extend(mvcc.scan(b"").map(|kv| kv.modified.0));
    }

    fn publish(&self, commits: &[Committed], _compacted: Revision) {
        self.0.lock().unwrap().extend(commits.iter().map(|commit| commit.revision.0));
    }
}

#[test]
fn an_observer_knows_a_commit_before_its_writer() {
    each(|store| async move {
        for key in 0..10 {
            store.commit(vec![put(&format!("/{key}"), "v", Guard::Any)]).await.unwrap();
        }
        let writer = {
            let store = store.clone();
            tokio::spawn(async move {
                for key in 10..200 {
                    store.commit(vec![put(&format!("/{key}"), "v", Guard::Any)]).await.unwrap();
                }
            })
        };
        let witness = Arc::new(Witness::default());
        store.attach(Arc::clone(&witness) as Arc<dyn Observer>);
        let last = store.commit(vec![put("/last", "v", Guard::Any)]).await.unwrap().revision;
        assert!(witness.0.lock().unwrap().contains(&last.0));
        writer.await.unwrap();
        let mut seen = witness.0.lock().unwrap().clone();
        seen.sort_unstable();
        assert_eq!(seen, (2..=202).collect::<Vec<u64>>());
    });
}

#[test]
fn a_closed_store_refuses_writes_and_ends_watches() {
    each(|store| async move {
        store.commit(vec![put("/a", "1", Guard::Any)]).await.unwrap();
        let mut watch = store.watch(b"/", Revision::FIRST);
        let reader = tokio::spawn(async move {
            let mut items = 0;
            while watch.next().await.is_some() {
                items += 1;
            }
            items
        });
        store.close().await;
        assert_eq!(reader.await.unwrap(), 2);
        let error = store.commit(vec![put("/a", "2", Guard::Any)]).await.unwrap_err();
        assert!(matches!(error, CommitError::Closed), "{error}");
        assert_eq!(value(&store, "/a").await.as_deref(), Some("1"));
    });
}
