//! How keys and logged commits look on disk.
//!
//! All numbers are little-endian. A key's record is `created u64, modified u64, stamp u32` and the value; `stamp` is
//! `u32::MAX` where there is none. A commit's record is a list of changes, each
//! `key length u32, key, flags u8`, and with [`HAS_PREVIOUS`] `record length u32, record` of what the key held before.

use crate::mvcc::LoggedChange;
use crate::{Committed, Kv, Revision};
use bytes::Bytes;

/// Bytes of a key's record before the value.
const HEADER_BYTES: usize = 20;
/// The stamp of a record without one.
const NO_STAMP: u32 = u32::MAX;
/// The key exists after the change.
const EXISTS: u8 = 1;
/// The record of what the key held before follows.
const HAS_PREVIOUS: u8 = 2;

/// How long a key's record is.
pub(super) fn kv_bytes(kv: &Kv) -> usize {
    HEADER_BYTES + kv.value.len()
}

/// Appends a key's record.
pub(super) fn write_kv(kv: &Kv, out: &mut Vec<u8>) {
    out.extend_from_slice(&kv.created.0.to_le_bytes());
    out.extend_from_slice(&kv.modified.0.to_le_bytes());
    out.extend_from_slice(&kv.stamp.unwrap_or(NO_STAMP).to_le_bytes());
    out.extend_from_slice(&kv.value);
}

/// Writes a key's record into a place of [`kv_bytes`] bytes.
pub(super) fn fill_kv(kv: &Kv, place: &mut [u8]) {
    let header = [kv.created.0.to_le_bytes(), kv.modified.0.to_le_bytes()];
    let stamp = kv.stamp.unwrap_or(NO_STAMP).to_le_bytes();
    let (head, value) = place.split_at_mut(HEADER_BYTES);
    for (slot, byte) in head.iter_mut().zip(header.as_flattened().iter().chain(&stamp)) {
        *slot = *byte;
    }
    value.copy_from_slice(&kv.value);
}

/// Reads a key's record; `None` when it is too short.
pub(super) fn read_kv(key: Bytes, record: &[u8]) -> Option<Kv> {
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
        let exists = if event.current.is_some() { EXISTS } else { 0 };
        match &event.previous {
            None => out.push(exists),
            Some(kv) => {
                out.push(exists | HAS_PREVIOUS);
                write_length(kv_bytes(kv), out);
                write_kv(kv, out);
            }
        }
    }
}

/// Reads a commit's record; `None` when it is cut off.
pub(super) fn read_commit(mut record: &[u8]) -> Option<Vec<LoggedChange>> {
    let mut changes = Vec::new();
    while !record.is_empty() {
        let key = Bytes::copy_from_slice(take(&mut record)?);
        let (flags, rest) = record.split_first()?;
        record = rest;
        let previous = match flags & HAS_PREVIOUS {
            0 => None,
            _ => Some(read_kv(key.clone(), take(&mut record)?)?),
        };
        changes.push(LoggedChange { key, exists: flags & EXISTS != 0, previous });
    }
    Some(changes)
}

fn write_length(length: usize, out: &mut Vec<u8>) {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
}

fn take<'a>(record: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = record.split_first_chunk::<4>()?;
    let (taken, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *record = rest;
    Some(taken)
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
        fn reads_what_it_wrote(kvs in proptest::collection::vec((kv(), proptest::option::of(kv())), 0..5)) {
            let mut expected = Vec::new();
            let mut events = Vec::new();
            for (kv, current) in kvs {
                let mut record = Vec::new();
                write_kv(&kv, &mut record);
                let mut filled = vec![0; kv_bytes(&kv)];
                fill_kv(&kv, &mut filled);
                prop_assert_eq!(&record, &filled);
                prop_assert_eq!(read_kv(kv.key.clone(), &record), Some(kv.clone()));
                let key = kv.key.clone();
                expected.push(LoggedChange { key: key.clone(), exists: current.is_some(), previous: Some(kv.clone()) });
                let revision = Revision(1);
                events.push(Arc::new(Event { revision, key, current, previous: Some(kv), note: None }));
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
