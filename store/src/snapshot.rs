//! All keys at one revision, as bytes: what a backup holds of the store.
//!
//! The past is not part of it. A store that is made of a snapshot goes on at a revision far beyond it, so that whoever
//! still knows revisions of the old one is told that they are gone, and reads anew.

use crate::backend::{ORIGIN, record};
use crate::{Kv, OpenError, Page, Revision};
use bytes::{BufMut, Bytes, BytesMut};
use std::io::{self, Read};
use std::path::Path;

/// How a snapshot begins.
const MAGIC: &[u8; 19] = b"coracle-snapshot-1\n";
/// How it ends, so that one that is cut off is known for it.
const END: &[u8; 4] = b"end\n";
/// Bytes that are handed on at a time.
const CHUNK_BYTES: usize = 64 * 1024;
/// Largest key or record that is read; objects are a few MiB at most.
const PART_BYTES_MAX: u32 = 64 << 20;
/// Revisions that a restored store leaves out: more than the old one can have made since its backup. At a thousand commits
/// each second, two weeks.
pub const REVISIONS_LEFT_OUT: u64 = 1 << 30;
/// The key that notes from where a store was restored. No object has it.
const RESTORED: &[u8] = b"/coracle/restored";

/// All keys of a store at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The revision that it shows.
    pub revision: Revision,
    /// The keys, in byte order.
    pub items: Vec<Kv>,
}

/// Why bytes are no snapshot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// They cannot be read, or end too early.
    #[error("read the snapshot")]
    Io(#[from] io::Error),
    /// They are something else.
    #[error("read the snapshot: {0}")]
    Format(&'static str),
}

impl From<Page> for Snapshot {
    fn from(page: Page) -> Snapshot {
        Snapshot { revision: page.revision, items: page.items }
    }
}

impl Snapshot {
    /// Writes the snapshot, some bytes at a time; little of it is in memory twice.
    pub fn chunks(self) -> impl Iterator<Item = Bytes> + Send {
        let mut head = BytesMut::new();
        head.put_slice(MAGIC);
        head.put_u64_le(self.revision.0);
        head.put_u64_le(self.items.len() as u64);
        let mut items = self.items.into_iter();
        let mut next = Some(head);
        std::iter::from_fn(move || {
            let mut chunk = next.take()?;
            let mut scratch = Vec::new();
            while chunk.len() < CHUNK_BYTES {
                let Some(kv) = items.next() else {
                    chunk.put_slice(END);
                    return Some(chunk.freeze());
                };
                scratch.clear();
                record::write_kv(&kv, &mut scratch);
                for part in [kv.key.as_ref(), &scratch] {
                    chunk.put_u32_le(u32::try_from(part.len()).unwrap_or(u32::MAX));
                    chunk.put_slice(part);
                }
            }
            next = Some(BytesMut::with_capacity(2 * CHUNK_BYTES));
            Some(chunk.freeze())
        })
    }

    /// Reads a snapshot to its end.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn read(from: &mut impl Read) -> Result<Snapshot, SnapshotError> {
        let magic: [u8; 19] = take(from)?;
        if magic != *MAGIC {
            return Err(SnapshotError::Format("it is none of this version"));
        }
        let revision = Revision(u64::from_le_bytes(take(from)?));
        let count = u64::from_le_bytes(take(from)?);
        let mut items = Vec::new();
        for _ in 0..count {
            let key = Bytes::from(part(from)?);
            let kv = record::read_kv(key, &part(from)?);
            items.push(kv.ok_or(SnapshotError::Format("a record is cut off"))?);
        }
        if take::<4>(from)? != *END {
            return Err(SnapshotError::Format("it does not end where it should"));
        }
        Ok(Snapshot { revision, items })
    }

    /// Makes a store of the snapshot in a file that is not there yet, and gives the revision at which it goes on.
    ///
    /// # Errors
    /// When there is a file, or the disk fails.
    pub fn restore(self, path: &Path) -> Result<Revision, OpenError> {
        if path.exists() {
            let what = "there is one already".to_owned();
            return Err(OpenError::Format { path: path.to_owned(), what });
        }
        let revision = Revision(self.revision.0.saturating_add(REVISIONS_LEFT_OUT));
        let value = format!("{{\"revision\":\"{}\"}}", self.revision.0);
        let marker = Kv {
            key: Bytes::from_static(RESTORED),
            value: Bytes::from(value),
            created: revision,
            modified: revision,
            stamp: None,
        };
        // Neither an earlier mark, nor how an etcd that this comes from counts.
        let kept = |kv: &Kv| kv.key != RESTORED && kv.key != ORIGIN;
        let items: Vec<Kv> = self.items.into_iter().filter(kept).collect();
        crate::backend::Redb::create(path, &items, &marker)?;
        Ok(revision)
    }
}

fn take<const N: usize>(from: &mut impl Read) -> Result<[u8; N], SnapshotError> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn part(from: &mut impl Read) -> Result<Vec<u8>, SnapshotError> {
    let length = u32::from_le_bytes(take(from)?);
    if length > PART_BYTES_MAX {
        return Err(SnapshotError::Format("a record is too long"));
    }
    let mut bytes = Vec::new();
    from.take(u64::from(length)).read_to_end(&mut bytes)?;
    if bytes.len() != length as usize {
        return Err(SnapshotError::Io(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Content, Guard, ReadError, Store, Write};

    fn write(key: &str, value: String, stamp: Option<u32>) -> Write {
        let content = Content { bytes: Bytes::from(value), stamp, note: None };
        Write::put(Bytes::from(key.to_owned()), content, Guard::Any)
    }

    async fn filled() -> Store {
        let store = Store::memory();
        for index in 0..2000 {
            let value = format!("{index} {}", "x".repeat(100));
            store.commit(vec![write(&format!("/k/{index:04}"), value, Some(0))]).await.unwrap();
        }
        store.commit(vec![Write::delete(Bytes::from("/k/0001"), Guard::Any)]).await.unwrap();
        store
    }

    #[tokio::test]
    async fn a_restored_store_holds_the_same_and_forgets_the_past() {
        let store = filled().await;
        let snapshot = store.snapshot().await.unwrap();
        let bytes: Vec<u8> = snapshot.clone().chunks().flatten().collect();
        assert!(bytes.len() > 3 * CHUNK_BYTES);
        let read = Snapshot::read(&mut bytes.as_slice()).unwrap();
        assert_eq!(read, snapshot);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.redb");
        let revision = read.clone().restore(&path).unwrap();
        assert!(read.restore(&path).is_err(), "nothing is overwritten");
        for _ in 0..2 {
            let restored = Store::open_redb(&path).unwrap();
            assert_eq!(restored.revision(), revision);
            let page = restored.range(b"/k/", None, 0, None).await.unwrap();
            assert_eq!(page.items, snapshot.items);
            let past = restored.range(b"/k/", None, 0, Some(snapshot.revision)).await;
            assert!(matches!(past, Err(ReadError::Compacted { .. })));
            restored.close().await;
        }
        let restored = Store::open_redb(&path).unwrap();
        let committed = restored.commit(vec![write("/k/new", "1".into(), None)]).await.unwrap();
        assert_eq!(committed.revision, Revision(revision.0 + 1));
        restored.close().await;
    }

    #[tokio::test]
    async fn other_bytes_are_refused() {
        let snapshot = filled().await.snapshot().await.unwrap();
        let bytes: Vec<u8> = snapshot.chunks().flatten().collect();
        for cut in [0, 5, 30, 1000, bytes.len() - 1] {
            assert!(Snapshot::read(&mut &bytes[..cut]).is_err(), "{cut}");
        }
        let mut other = bytes.clone();
        other[0] ^= 1;
        assert!(matches!(Snapshot::read(&mut other.as_slice()), Err(SnapshotError::Format(_))));
    }
}
