//! How keys and logged commits look on disk.
//!
//! All numbers are little-endian. A key's record is `created u64, modified u64, stamp u32` and the value; `stamp` is
//! `u32::MAX` where there is none. A commit's record is a list of changes, each `key length u32, key, record length u32,
//! record`; the length is `u32::MAX` and there is no record for a key that was removed.

use crate::mvcc::LoggedChange;
use crate::{Committed, Kv, Revision};
use bytes::Bytes;

/// Bytes of a key's record before the value.
const HEADER_BYTES: usize = 20;
/// The stamp of a record without one.
const NO_STAMP: u32 = u32::MAX;
/// The length of the record of a key that was removed.
const REMOVED: u32 = u32::MAX;

/// Appends a key's record.
pub(crate) fn write_kv(kv: &Kv, out: &mut Vec<u8>) {
    out.extend_from_slice(&kv.created.0.to_le_bytes());
    out.extend_from_slice(&kv.modified.0.to_le_bytes());
    out.extend_from_slice(&kv.stamp.unwrap_or(NO_STAMP).to_le_bytes());
    out.extend_from_slice(&kv.value);
}

/// Reads a key's record; `None` when it is too short.
pub(crate) fn read_kv(key: Bytes, record: &[u8]) -> Option<Kv> {
    let (created, rest) = record.split_first_chunk::<8>()?;
    let (modified, rest) = rest.split_first_chunk::<8>()?;
    let (stamp, value) = rest.split_first_chunk::<4>()?;
    Some(Kv {
        key,
        value: Bytes::copy_from_slice(value),
        created: Revision(u64::from_le_bytes(*created)),
        modified: Revision(u64::from_le_bytes(*modified)),
        stamp: Some(u32::from_le_bytes(*stamp)).filter(|stamp| *stamp != NO_STAMP),
    })
}

/// Appends a commit's record.
pub(super) fn write_commit(commit: &Committed, out: &mut Vec<u8>) {
    for event in &commit.events {
        write_length(event.key.len(), out);
        out.extend_from_slice(&event.key);
        match &event.current {
            None => out.extend_from_slice(&REMOVED.to_le_bytes()),
            Some(kv) => {
                write_length(HEADER_BYTES + kv.value.len(), out);
                write_kv(kv, out);
            }
        }
    }
}

/// A key and its record; `None` when the key was removed.
pub(super) type RawChange<'a> = (&'a [u8], Option<&'a [u8]>);

/// The keys of a commit's record, each with its own record or `None` when it was removed; `None` when it is cut off.
pub(super) fn changes(mut record: &[u8]) -> Option<Vec<RawChange<'_>>> {
    let mut changes = Vec::new();
    while !record.is_empty() {
        let key = take(&mut record)??;
        changes.push((key, take(&mut record)?));
    }
    Some(changes)
}

/// Reads a commit's record; `None` when it is cut off.
pub(super) fn read_commit(record: &[u8]) -> Option<Vec<LoggedChange>> {
    let read = |(key, record): RawChange<'_>| {
        let key = Bytes::copy_from_slice(key);
        let current = match record {
            Some(record) => Some(read_kv(key.clone(), record)?),
            None => None,
        };
        Some(LoggedChange { key, current })
    };
    changes(record)?.into_iter().map(read).collect()
}

fn write_length(length: usize, out: &mut Vec<u8>) {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
}

/// Takes a length and so many bytes; `Some(None)` for the length of what was removed.
fn take<'a>(record: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let (length, rest) = record.split_first_chunk::<4>()?;
    *record = rest;
    let length = u32::from_le_bytes(*length);
    if length == REMOVED {
        return Some(None);
    }
    let (taken, rest) = record.split_at_checked(length as usize)?;
    *record = rest;
    Some(Some(taken))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Event;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn kv() -> impl Strategy<Value = Kv> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from);
        (bytes(), bytes(), any::<u64>(), any::<u64>(), proptest::option::of(0..100_u32)).prop_map(
            |(key, value, created, modified, stamp)| Kv {
                key,
                value,
                created: Revision(created),
                modified: Revision(modified),
                stamp,
            },
        )
    }

    proptest! {
        #[test]
        fn reads_what_it_wrote(kvs in proptest::collection::vec((kv(), any::<bool>()), 0..5)) {
            let mut expected = Vec::new();
            let mut events = Vec::new();
            for (kv, exists) in kvs {
                let key = kv.key.clone();
                let current = exists.then_some(kv);
                expected.push(LoggedChange { key: key.clone(), current: current.clone() });
                let revision = Revision(1);
                events.push(Arc::new(Event { revision, key, current, previous: None, note: None }));
            }
            let mut record = Vec::new();
            write_commit(&Committed { revision: Revision(1), events }, &mut record);
            prop_assert_eq!(read_commit(&record), Some(expected));
        }

        #[test]
        fn refuses_garbage_without_panic(record in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = read_commit(&record);
            let _ = read_kv(Bytes::new(), &record);
        }
    }
}
