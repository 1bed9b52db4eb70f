//! The redb journal on disks that fail, and its file.

use super::*;
use crate::backend::Sequencer;
use crate::{CommitError, Guard, Store, Write};
use bytes::Bytes;
use redb::StorageBackend;
use redb::backends::InMemoryBackend;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A disk in memory that outlives the database on it and fails when told so.
#[derive(Debug, Clone, Default)]
struct Disk {
    file: Arc<InMemoryBackend>,
    /// How many writes and syncs succeed before all fail.
    good: Arc<AtomicUsize>,
    failing: Arc<AtomicBool>,
}

impl Disk {
    fn fail_after(&self, operations: usize) {
        self.good.store(operations, Ordering::SeqCst);
        self.failing.store(true, Ordering::SeqCst);
    }

    fn mend(&self) {
        self.failing.store(false, Ordering::SeqCst);
    }

    fn check(&self) -> io::Result<()> {
        if !self.failing.load(Ordering::SeqCst) {
            return Ok(());
        }
        let left =
            self.good.try_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        left.map(|_| ()).map_err(|_| io::Error::other("disk on fire"))
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check()?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        self.file.write(offset, data)
    }
}

fn open(disk: &Disk) -> (Mvcc, Redb) {
    let disk = disk.clone();
    let path = Path::new("disk");
    let reopen = move || {
        // A reopened file is on a mended disk, or the store stays closed.
        let database = Builder::new().create_with_backend(disk.clone());
        database.map_err(|error| io_error(path, error.into()))
    };
    Redb::open_with(Box::new(reopen), path).unwrap()
}

fn put(key: usize) -> Vec<Write> {
    vec![Write::put(format!("/{key}"), Bytes::from(vec![7; 100]), Guard::Absent)]
}

/// Fails the disk at each of its operations in turn: whatever was acknowledged is there afterwards, and what was not
/// acknowledged is there whole or not at all.
#[tokio::test]
async fn an_io_error_loses_nothing_acknowledged() {
    for operations in 0..12 {
        let disk = Disk::default();
        let (mvcc, journal) = open(&disk);
        let mended = Mending { journal, disk: disk.clone() };
        let store = Store::over(Sequencer::start(mvcc, mended));
        let mut acknowledged = Vec::new();
        for key in 0..8 {
            if key == 4 {
                disk.fail_after(operations);
            }
            match store.commit(put(key)).await {
                Ok(committed) => acknowledged.push((key, committed.revision)),
                Err(CommitError::Io(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert!(acknowledged.len() >= 7, "after {operations}: {acknowledged:?}");
        store.close().await;
        let (mvcc, _) = open(&disk);
        for (key, revision) in &acknowledged {
            let kv = mvcc.get(format!("/{key}").as_bytes()).unwrap();
            assert_eq!(kv.modified, *revision);
        }
        assert_eq!(mvcc.scan(b"/").count(), acknowledged.len());
        assert_eq!(mvcc.revision(), acknowledged.last().unwrap().1);
    }
}

/// A journal whose disk is mended before it recovers.
struct Mending {
    journal: Redb,
    disk: Disk,
}

impl Journal for Mending {
    fn append(&mut self, batch: &Batch) -> io::Result<()> {
        self.journal.append(batch)
    }

    fn recover(&mut self) -> io::Result<Revision> {
        self.disk.mend();
        self.journal.recover()
    }
}

/// Fails the disk at each of its operations in turn, until it is mended: meanwhile reads go on, and afterwards writes do.
#[tokio::test]
async fn a_dead_disk_refuses_writes_until_it_is_mended() {
    for operations in 0..12 {
        let disk = Disk::default();
        let (mvcc, journal) = open(&disk);
        let store = Store::over(Sequencer::start(mvcc, journal));
        store.commit(put(1)).await.unwrap();
        disk.fail_after(operations);
        let mut acknowledged = vec![1];
        for key in 2..6 {
            match store.commit(put(key)).await {
                Ok(_) => acknowledged.push(key),
                Err(CommitError::Io(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert!(acknowledged.len() < 5, "the disk never failed");
        assert!(store.get(b"/1").await.unwrap().is_some());
        disk.mend();
        for key in 6..9 {
            store.commit(put(key)).await.unwrap();
            acknowledged.push(key);
        }
        store.close().await;
        let (mvcc, _) = open(&disk);
        for key in acknowledged {
            assert!(mvcc.get(format!("/{key}").as_bytes()).is_some(), "{key} after {operations}");
        }
        let live = store.range(b"/", None, 0, None).await.unwrap();
        assert_eq!(mvcc.scan(b"/").cloned().collect::<Vec<_>>(), live.items);
        assert_eq!(mvcc.revision(), live.revision);
    }
}

#[test]
fn the_file_is_for_one_process_and_its_owner() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let _first = Redb::open(&path).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, FILE_MODE);
    let error = Redb::open(&path).err().unwrap();
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
}

#[test]
fn other_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    std::fs::write(&path, "no database of ours, but some text that is long enough").unwrap();
    let error = Redb::open(&path).err().unwrap();
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
    std::fs::remove_file(&path).unwrap();
    let database = Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(META).unwrap().insert(FORMAT_NAME, 99).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = Redb::open(&path).err().unwrap();
    assert!(error.to_string().ends_with("its format is 99, this version knows 1"), "{error}");
}

/// Writes, compacts and restarts in turn, so that commits move from the log into the keys in pieces.
#[tokio::test]
async fn commits_leave_the_log_in_pieces_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let mut expected = std::collections::BTreeMap::new();
    for round in 0..4_u32 {
        let store = Store::open_redb(&path).unwrap();
        let mut writes = Vec::new();
        for n in 0..(MOVED_COMMITS_MAX as u32) {
            let key = format!("/{}", (n * 7 + round) % 100);
            if n % 5 == 0 {
                expected.remove(&key);
                writes.push(store.commit(vec![Write::delete(key, Guard::Any)]));
            } else {
                let value = Bytes::from(format!("{round}-{n}"));
                expected.insert(key.clone(), value.clone());
                writes.push(store.commit(vec![Write::put(key, value, Guard::Any)]));
            }
        }
        while !writes.is_empty() {
            // No more than a task may do before it must yield, or they would overtake each other.
            let some = writes.drain(..writes.len().min(64));
            for committed in futures::future::join_all(some).await {
                committed.unwrap();
            }
        }
        let half = Revision(store.revision().0 - 50);
        store.compact(half).await.unwrap();
        assert_eq!(store.range(b"/", None, 0, Some(half)).await.unwrap().revision, half);
        store.close().await;
        let (mvcc, _) = Redb::open(&path).unwrap();
        let found = mvcc
            .scan(b"/")
            .map(|kv| (String::from_utf8(kv.key.to_vec()).unwrap(), kv.value.clone()));
        assert_eq!(found.collect::<std::collections::BTreeMap<_, _>>(), expected);
        assert_eq!(mvcc.compacted(), half);
    }
}

/// A disk in memory that holds so many bytes.
#[derive(Debug, Clone)]
struct Small {
    file: Arc<InMemoryBackend>,
    bytes_max: Arc<AtomicUsize>,
}

impl StorageBackend for Small {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if len > self.bytes_max.load(Ordering::SeqCst) as u64 && len > self.file.len()? {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write(offset, data)
    }
}

#[tokio::test]
async fn a_full_disk_refuses_writes_serves_reads_and_goes_on_when_it_is_not() {
    let disk = Small { file: Arc::default(), bytes_max: Arc::new(AtomicUsize::new(4 << 20)) };
    let again = disk.clone();
    let open = move || {
        let database = Builder::new().create_with_backend(again.clone());
        database.map_err(|error| io_error(Path::new("disk"), error.into()))
    };
    let (mvcc, journal) = Redb::open_with(Box::new(open), Path::new("disk")).unwrap();
    let store = Store::over(Sequencer::start(mvcc, journal));
    let big = |key: usize| {
        let value = Bytes::from(vec![key as u8; 256 << 10]);
        vec![Write::put(format!("/{key:04}"), value, Guard::Absent)]
    };
    let mut written = 0;
    let error = loop {
        match store.commit(big(written)).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 1000, "the disk does not fill");
    };
    assert!(error.is_disk_full(), "{error:?}");
    let refused = store.commit(big(written)).await.unwrap_err();
    assert!(refused.is_disk_full(), "{refused:?}");
    let page = store.range(b"/", None, 0, None).await.unwrap();
    assert_eq!(
        page.items.len(),
        written,
        "reads are served, and nothing that was refused is there"
    );
    disk.bytes_max.store(64 << 20, Ordering::SeqCst);
    store.commit(big(written)).await.unwrap();
    store.close().await;
}

#[test]
fn many_keys_are_read_from_both_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let kv = |number: u64| Kv {
        key: Bytes::from(format!("/k/{number:05}")),
        value: Bytes::from(number.to_string()),
        created: Revision(number),
        modified: Revision(number + 1),
        stamp: None,
    };
    let items: Vec<Kv> = (0..20_001).map(kv).collect();
    let last = Kv { key: Bytes::from_static(b"/last"), ..kv(30_000) };
    Redb::create(&path, &items, &last).unwrap();
    let (mvcc, _) = Redb::open(&path).unwrap();
    assert_eq!(mvcc.scan(b"/k/").cloned().collect::<Vec<_>>(), items);
    assert_eq!(mvcc.get(b"/last"), Some(&last));
}
