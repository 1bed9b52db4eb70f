//! What is on disk is there after a restart, and after a kill.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use coracle_store::{Guard, Revision, Store, WatchItem, Write};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

fn put(key: &str, value: &str) -> Vec<Write> {
    vec![Write::put(key.to_owned(), Bytes::copy_from_slice(value.as_bytes()), Guard::Any)]
}

#[tokio::test]
async fn revisions_and_watches_go_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let store = Store::open_redb(&path).unwrap();
    store.commit(put("/a", "1")).await.unwrap();
    store.commit(put("/b", "1")).await.unwrap();
    let middle = store.revision();
    store.commit(put("/a", "2")).await.unwrap();
    store.commit(vec![Write::delete("/b", Guard::Any)]).await.unwrap();
    let last = store.revision();
    store.close().await;
    drop(store);

    let store = Store::open_redb(&path).unwrap();
    assert_eq!(store.revision(), last);
    let mut watch = store.watch(b"/", middle);
    let mut seen = Vec::new();
    while let Some(WatchItem::Event(event)) = watch.next().await {
        let text = |kv: &Option<coracle_store::Kv>| kv.as_ref().map(|kv| kv.value.clone());
        seen.push((event.key.clone(), text(&event.current), text(&event.previous)));
    }
    let bytes = Bytes::from_static;
    assert_eq!(
        seen,
        [
            (bytes(b"/a"), Some(bytes(b"2")), Some(bytes(b"1"))),
            (bytes(b"/b"), None, Some(bytes(b"1"))),
        ]
    );
    let then = store.range(b"/", None, 0, Some(middle)).await.unwrap();
    assert_eq!(then.items.len(), 2);
    assert_eq!(store.commit(put("/c", "1")).await.unwrap().revision, last.next());
}

#[tokio::test]
async fn the_log_is_trimmed_on_disk_and_its_last_commit_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let store = Store::open_redb(&path).unwrap();
    for n in 0..10 {
        store.commit(put("/a", &n.to_string())).await.unwrap();
    }
    store.compact(store.revision()).await.unwrap();
    store.close().await;
    drop(store);
    let store = Store::open_redb(&path).unwrap();
    assert_eq!(store.revision(), Revision(11));
    let old = store.range(b"/", None, 0, Some(Revision(9))).await;
    assert!(old.is_err());
}

/// Set for the child of the crash test: the file to write to.
const CHILD: &str = "CORACLE_STORE_CRASH_TEST_FILE";

/// The child: writes from several tasks without end, and prints each acknowledged write.
#[test]
fn crash_child() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let store = Store::open_redb(Path::new(&path)).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let writer = |writer: usize| {
            let store = store.clone();
            async move {
                for n in 0..u64::MAX {
                    let key = format!("/{writer}/{}", n % 50);
                    let revision = store.commit(put(&key, &n.to_string())).await.unwrap().revision;
                    println!("ack {key} {n} {revision}");
                }
            }
        };
        let tasks: Vec<_> = (0..8).map(|n| tokio::spawn(writer(n))).collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

/// Runs the child until it has acknowledged `count` writes, kills it, and gives what it acknowledged: key, number,
/// revision.
fn run_and_kill(path: &Path, count: usize) -> Vec<(String, u64, u64)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash_child", "--nocapture"])
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = Vec::new();
    for line in lines.map_while(Result::ok) {
        let words: Vec<&str> = line.split(' ').collect();
        // The last line may be cut off.
        if let ["ack", key, n, revision] = words.as_slice()
            && let (Ok(n), Ok(revision)) = (n.parse(), revision.parse())
        {
            acknowledged.push(((*key).to_owned(), n, revision));
        }
        if acknowledged.len() == count {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    acknowledged
}

#[tokio::test]
async fn a_kill_loses_no_acknowledged_write() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let mut last = Revision::FIRST;
    for count in [1, 300, 2000] {
        let acknowledged = run_and_kill(&path, count);
        assert!(acknowledged.len() >= count);
        let store = Store::open_redb(&path).unwrap();
        for (key, n, revision) in &acknowledged {
            assert!(Revision(*revision) > last, "revision {revision} was given before the kill");
            let kv = store.get(key.as_bytes()).await.unwrap().unwrap();
            let found: u64 = std::str::from_utf8(&kv.value).unwrap().parse().unwrap();
            // A later write to the key may be there, an earlier one may not.
            assert!(
                kv.modified >= Revision(*revision),
                "{key}: {} instead of {revision}",
                kv.modified
            );
            assert!(found >= *n || kv.modified > Revision(*revision));
        }
        last = store.revision();
        store.close().await;
    }
}
