//! Everything that a redb file holds, read into memory at a start.
//!
//! An edge: it starts a thread, and ends it before it returns.

use super::{KEYS, LOG, io_error};
use crate::backend::record;
use crate::mvcc::{LoggedChange, Mvcc};
use crate::{Kv, OpenError, Revision};
use bytes::Bytes;
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata};
use std::path::Path;

/// From so many keys on they are read from both ends at once; below it a thread is not worth its start.
const BOTH_ENDS_KEYS_MIN: u64 = 16_384;

/// What the file holds, and how many bytes of it are keys and values.
pub(super) fn load(database: &Database, path: &Path) -> Result<(Mvcc, u64), OpenError> {
    let cut =
        || OpenError::Format { path: path.to_owned(), what: "a record is cut off".to_owned() };
    let items = keys(database).map_err(|error| io_error(path, error))?.ok_or_else(cut)?;
    let log = log(database).map_err(|error| io_error(path, error))?.ok_or_else(cut)?;
    let changed = log.iter().flat_map(|(_, changes)| changes);
    let changed = changed.map(|change| bytes_of(&change.key, change.current.as_ref()));
    let held = items.iter().map(|kv| bytes_of(&kv.key, Some(kv)));
    let bytes = held.chain(changed).sum();
    Ok((Mvcc::restore(items, log), bytes))
}

fn bytes_of(key: &Bytes, kv: Option<&Kv>) -> u64 {
    (key.len() + kv.map_or(0, |kv| kv.value.len())) as u64
}

/// Records, or `None` when one is cut off.
type Read<T> = Result<Option<Vec<T>>, redb::Error>;

fn keys(database: &Database) -> Read<Kv> {
    let count = database.begin_read()?.open_table(KEYS)?.len()?;
    if count < BOTH_ENDS_KEYS_MIN {
        return some_keys(database, count, End::First);
    }
    let late = count / 2;
    let (early, late) = std::thread::scope(|scope| {
        let late = scope.spawn(move || some_keys(database, late, End::Last));
        let early = some_keys(database, count - count / 2, End::First);
        let late = late.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (early, late)
    });
    let (Some(mut items), Some(late)) = (early?, late?) else { return Ok(None) };
    items.extend(late.into_iter().rev());
    Ok(Some(items))
}

/// Where to begin.
enum End {
    First,
    Last,
}

/// So many keys from an end on, in the order in which they are read.
fn some_keys(database: &Database, count: u64, end: End) -> Read<Kv> {
    let keys = database.begin_read()?.open_table(KEYS)?;
    let mut all = keys.iter()?;
    let mut items = Vec::with_capacity(usize::try_from(count).unwrap_or_default());
    for _ in 0..count {
        let next = match end {
            End::First => all.next(),
            End::Last => all.next_back(),
        };
        let Some(entry) = next else { break };
        let (key, value) = entry?;
        let key = Bytes::copy_from_slice(key.value());
        let Some(kv) = record::read_kv(key, value.value()) else { return Ok(None) };
        items.push(kv);
    }
    Ok(Some(items))
}

fn log(database: &Database) -> Read<(Revision, Vec<LoggedChange>)> {
    let table = database.begin_read()?.open_table(LOG)?;
    let mut log = Vec::new();
    for entry in table.iter()? {
        let (revision, changes) = entry?;
        let Some(changes) = record::read_commit(changes.value()) else { return Ok(None) };
        log.push((Revision(revision.value()), changes));
    }
    Ok(Some(log))
}
