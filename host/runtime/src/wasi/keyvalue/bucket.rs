//! A bucket: a folder, in which each key is a file.
//!
//! A value is written beside and renamed, so it is never seen in part. One that is set alone is on disk
//! when the call returns, those of a batch soon after.
//! Who changes something has the bucket's lock, in whatever process it runs; who reads needs none.
//!
//! An edge: who wants the lock waits for it.

use std::time::Duration;

use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::Error;
use crate::mounts::{FileHandle, Kind, Open, Service, Tree};
use crate::wasi::kept::{self, Flush};

/// Bytes of a value: as much as stores elsewhere take at least.
pub(super) const VALUE_BYTES_MAX: usize = 1 << 20;

/// Buckets of one place, so that no guest fills the volume with empty ones.
const BUCKETS_MAX: usize = 64;

/// Keys that one call lists.
pub(super) const PAGE_KEYS: usize = 1000;

/// Keys of one call for many.
const BATCH_KEYS_MAX: usize = 1000;

/// Bytes of values that one call for many gives, which the host holds meanwhile.
pub(super) const BATCH_BYTES_MAX: usize = 16 << 20;

/// How long one waits for the lock in all: a change takes a few writes of a disk.
const LOCK_TRIES: u32 = 2000;
const LOCK_PAUSE: Duration = Duration::from_millis(2);

/// The bucket of who names none.
const DEFAULT: &str = "default";

/// An open bucket: its folder.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    folder: String,
}

/// Keys, each with what it holds.
pub(super) type Held = Vec<(String, Option<Vec<u8>>)>;

/// What a key held: nothing, or something of which this is the digest.
pub(super) type Seen = Option<[u8; 32]>;

fn other(error: Errno) -> Error {
    Error::Other(kept::said(error))
}

/// The digest of what a key holds.
pub(super) fn seen(value: Option<&[u8]>) -> Seen {
    value.map(|value| Sha256::digest(value).into())
}

impl Folder {
    /// Opens a bucket; one that is not there is made.
    pub(super) fn open(tree: &Tree, identifier: &str) -> Result<Self, Error> {
        let place = Service::KeyValue.place();
        let file = name_of(identifier)?;
        let bucket = Self { folder: format!("{place}/{file}") };
        let root = tree.root();
        if tree.stat(&root, &bucket.folder, false).is_ok_and(|stat| stat.kind == Kind::Directory) {
            return Ok(bucket);
        }
        let there = kept::names(tree, place, Kind::Directory).map_err(other)?;
        if there.count() >= BUCKETS_MAX {
            return Err(Error::Other(format!("there are {BUCKETS_MAX} buckets already")));
        }
        match tree.make_dir(&root, &bucket.folder) {
            Ok(()) | Err(Errno::EXIST) => Ok(bucket),
            Err(error) => Err(other(error)),
        }
    }

    fn path(&self, key: &str) -> Result<String, Error> {
        let file = kept::encode(key).ok_or_else(too_long)?;
        Ok(format!("{}/{file}", self.folder))
    }

    /// What a key holds.
    pub(super) fn get(&self, tree: &Tree, key: &str) -> Result<Option<Vec<u8>>, Error> {
        kept::read(tree, &self.path(key)?, VALUE_BYTES_MAX).map_err(other)
    }

    /// Whether a key holds something.
    pub(super) fn exists(&self, tree: &Tree, key: &str) -> Result<bool, Error> {
        match tree.stat(&tree.root(), &self.path(key)?, false) {
            Ok(stat) => Ok(stat.kind == Kind::File),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(other(error)),
        }
    }

    /// What many keys hold, in their order.
    pub(super) fn get_many(&self, tree: &Tree, keys: Vec<String>) -> Result<Held, Error> {
        check_batch(keys.len())?;
        let mut bytes = 0;
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            let value = self.get(tree, &key)?;
            bytes += value.as_ref().map_or(0, Vec::len);
            if bytes > BATCH_BYTES_MAX {
                let most = format!("more than {BATCH_BYTES_MAX} bytes");
                return Err(Error::Other(format!("{most}: ask for fewer keys at a time")));
            }
            found.push((key, value));
        }
        Ok(found)
    }

    /// Keys in the order of their files, from the n-th or from the one after `after` on, at most
    /// [`PAGE_KEYS`]; and whether there are more.
    pub(super) fn keys(
        &self,
        tree: &Tree,
        skip: usize,
        after: Option<&str>,
    ) -> Result<(Vec<String>, bool), Error> {
        let after = after.map(|key| kept::encode(key).ok_or_else(too_long)).transpose()?;
        let all = kept::names(tree, &self.folder, Kind::File).map_err(other)?;
        let is_after = |file: &String| after.as_ref().is_none_or(|after| file > after);
        let mut rest = all.filter(|(file, _)| is_after(file)).skip(skip).map(|(_, key)| key);
        let keys = rest.by_ref().take(PAGE_KEYS).collect();
        Ok((keys, rest.next().is_some()))
    }

    /// Waits until nobody else changes the bucket; it is the caller's as long as the handle lives.
    pub(super) async fn lock(&self, tree: &Tree) -> Result<FileHandle, Error> {
        let how = Open { read: true, write: true, create: true, ..Open::default() };
        let lock = kept::open(tree, &format!("{}/.lock", self.folder), how).map_err(other)?;
        for _ in 0..LOCK_TRIES {
            if lock.try_lock().map_err(other)? {
                return Ok(lock);
            }
            tokio::time::sleep(LOCK_PAUSE).await;
        }
        Err(Error::Other("the bucket is busy: others change it all the time".to_owned()))
    }

    /// Lets a key hold a value. The caller has the lock.
    pub(super) fn put(
        &self,
        tree: &Tree,
        key: &str,
        value: &[u8],
        flush: Flush,
    ) -> Result<(), Error> {
        check_value(value)?;
        let (new, path) = (format!("{}/.new", self.folder), self.path(key)?);
        kept::replace(tree, &new, &path, value, flush).map_err(other)
    }

    /// Lets a key hold nothing. The caller has the lock.
    pub(super) fn remove(&self, tree: &Tree, key: &str) -> Result<(), Error> {
        kept::remove(tree, &self.path(key)?).map_err(other)
    }

    /// Adds to the number that a key holds as decimal text, within bounds; nothing is 0.
    pub(super) async fn add(
        &self,
        tree: &Tree,
        key: &str,
        delta: i128,
        (least, most): (i128, i128),
    ) -> Result<i128, Error> {
        let _lock = self.lock(tree).await?;
        let held = self.get(tree, key)?;
        let text = held.as_deref().map_or(Ok("0"), std::str::from_utf8);
        let number = text.ok().and_then(|text| text.trim().parse::<i128>().ok());
        let number = number.ok_or_else(|| Error::Other(format!("'{key}' holds no number")))?;
        let sum = number.checked_add(delta).filter(|sum| (least..=most).contains(sum));
        let sum = sum.ok_or_else(|| Error::Other(format!("'{key}' would be out of range")))?;
        self.put(tree, key, sum.to_string().as_bytes(), Flush::Now)?;
        Ok(sum)
    }

    /// Lets a key hold a value if it holds what was seen; else says what it holds now.
    pub(super) async fn swap(
        &self,
        tree: &Tree,
        key: &str,
        expected: Seen,
        value: &[u8],
    ) -> Result<Result<(), Seen>, Error> {
        let _lock = self.lock(tree).await?;
        let held = seen(self.get(tree, key)?.as_deref());
        if held != expected {
            return Ok(Err(held));
        }
        self.put(tree, key, value, Flush::Now).map(Ok)
    }
}

/// A bucket's name as it is kept: in signs that neither files nor patterns give a meaning.
pub(super) fn name_of(identifier: &str) -> Result<String, Error> {
    let name = if identifier.is_empty() { DEFAULT } else { identifier };
    kept::encode(name).ok_or_else(too_long)
}

/// Refuses a key that no store could hold.
pub(super) fn check_key(key: &str) -> Result<(), Error> {
    kept::encode(key).map(drop).ok_or_else(too_long)
}

/// Refuses a value that is too large.
pub(super) fn check_value(value: &[u8]) -> Result<(), Error> {
    if value.len() <= VALUE_BYTES_MAX {
        return Ok(());
    }
    Err(Error::Other(format!("a value must have at most {VALUE_BYTES_MAX} bytes")))
}

/// Refuses a call for too many keys.
pub(super) fn check_batch(keys: usize) -> Result<(), Error> {
    if keys <= BATCH_KEYS_MAX {
        return Ok(());
    }
    Err(Error::Other(format!("one call must have at most {BATCH_KEYS_MAX} keys")))
}

fn too_long() -> Error {
    Error::Other(format!(
        "a name must not be empty, and have at most {} bytes, of which others than letters, digits, \
         '-', '_' and '.' count threefold",
        kept::NAME_BYTES_MAX
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mounts::{Mount, MountTable, Quota};
    use std::sync::Arc;

    fn tree(folder: &tempfile::TempDir, bytes_max: u64) -> Tree {
        let place = Mount::host(folder.path()).quota(Arc::new(Quota::new(bytes_max, 0)));
        let table = MountTable::builder().service(Service::KeyValue, place).unwrap();
        Tree::new(table.build().unwrap().services().unwrap().clone())
    }

    #[tokio::test]
    async fn values_stay_and_limits_hold() {
        let folder = tempfile::tempdir().unwrap();
        let tree = tree(&folder, 3 << 20);
        let bucket = Folder::open(&tree, "").unwrap();
        let put = |key: &str, value: &[u8]| bucket.put(&tree, key, value, Flush::Now);
        put("a/../b", b"1").unwrap();
        put("a/../b", b"2").unwrap();
        assert_eq!(bucket.get(&tree, "a/../b").unwrap().as_deref(), Some(&b"2"[..]));
        assert_eq!(std::fs::read(folder.path().join("default/a%2F..%2Fb")).unwrap(), b"2");
        put("most", &vec![0; VALUE_BYTES_MAX]).unwrap();
        assert!(put("more", &vec![0; VALUE_BYTES_MAX + 1]).is_err());
        put("most", &vec![1; VALUE_BYTES_MAX]).unwrap();
        put("two", &vec![0; VALUE_BYTES_MAX]).unwrap();
        let full = Error::Other("the volume is full".to_owned());
        assert_eq!(put("three", &vec![0; VALUE_BYTES_MAX]).unwrap_err(), full);
        let keys = |skip, after| bucket.keys(&tree, skip, after).unwrap().0;
        assert_eq!(keys(0, None), ["a/../b", "most", "two"]);
        assert_eq!((keys(2, None), keys(0, Some("a/../b")).len()), (vec!["two".to_owned()], 2));
        bucket.remove(&tree, "two").unwrap();
        bucket.remove(&tree, "two").unwrap();
        put("three", &vec![0; VALUE_BYTES_MAX]).unwrap();
        assert!(!bucket.exists(&tree, "two").unwrap() && bucket.exists(&tree, "three").unwrap());
        assert!(put("", b"").is_err() && put(&"x".repeat(241), b"").is_err());
        assert!(check_batch(BATCH_KEYS_MAX).is_ok() && check_batch(BATCH_KEYS_MAX + 1).is_err());
    }

    #[tokio::test]
    async fn buckets_have_a_bound() {
        let folder = tempfile::tempdir().unwrap();
        let tree = tree(&folder, 1 << 20);
        for number in 0..BUCKETS_MAX {
            Folder::open(&tree, &format!("bucket {number}")).unwrap();
        }
        assert!(Folder::open(&tree, "one more").is_err());
        Folder::open(&tree, "bucket 7").unwrap();
    }

    #[tokio::test]
    async fn numbers_are_added_and_swaps_see_others_changes() {
        let folder = tempfile::tempdir().unwrap();
        let tree = tree(&folder, 1 << 20);
        let bucket = Folder::open(&tree, "b").unwrap();
        let bounds = (i128::from(i64::MIN), i128::from(i64::MAX));
        assert_eq!(bucket.add(&tree, "n", 5, bounds).await, Ok(5));
        assert_eq!(bucket.add(&tree, "n", -7, bounds).await, Ok(-2));
        assert!(bucket.add(&tree, "n", i128::from(i64::MIN), bounds).await.is_err());
        bucket.put(&tree, "text", b"x", Flush::Soon).unwrap();
        assert!(bucket.add(&tree, "text", 1, bounds).await.is_err());
        let empty = seen(None);
        assert_eq!(bucket.swap(&tree, "k", empty, b"1").await, Ok(Ok(())));
        let now = bucket.swap(&tree, "k", empty, b"2").await.unwrap().unwrap_err();
        assert_eq!(now, seen(Some(b"1")));
        assert_eq!(bucket.swap(&tree, "k", now, b"2").await, Ok(Ok(())));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nobodys_addition_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let add = async |tree: Tree| {
            let bucket = Folder::open(&tree, "b").unwrap();
            for _ in 0..20 {
                bucket.add(&tree, "n", 1, (0, 1 << 40)).await.unwrap();
            }
        };
        tokio::join!(add(tree(&folder, 1 << 20)), add(tree(&folder, 1 << 20)));
        let all = tree(&folder, 1 << 20);
        let bucket = Folder::open(&all, "b").unwrap();
        assert_eq!(bucket.get(&all, "n").unwrap().as_deref(), Some(&b"40"[..]));
    }
}
