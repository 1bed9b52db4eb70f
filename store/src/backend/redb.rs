//! The journal in a redb file.
//!
//! Three tables: `log` (the commits of the recent past, for restarts and for watches that resume after one), `keys` (what
//! each key held before the log) and `meta` (the format). A batch is one redb transaction and one fsync, and appends to
//! the log alone, which dirties few pages. Commits that leave the history move from the log into the keys, many at a time
//! and the last write of each key only. The store's revision is the log's last key, so the last commit never leaves.

mod load;

use super::{Journal, record};
use crate::mvcc::{Batch, Mvcc};
use crate::{Committed, Event, Kv, OpenError, Revision};
use redb::{
    Builder, Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, TableDefinition,
    WriteTransaction,
};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const KEYS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("keys");
const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");

/// The entry of `meta` that names the format of the records.
const FORMAT_NAME: &str = "format";
/// The format that this version reads and writes.
const FORMAT: u64 = 1;

/// redb's page cache. Everything is read from memory, so it only has to hold the pages that writes touch: the ends of the
/// log and the branches above them. It would keep every page that was ever written, as far as there is room.
const CACHE_BYTES_MAX: usize = 4 << 20;

/// A file is compacted at open when it wastes this much and twice what it holds. redb uses wasted pages again, so less
/// is not worth the time, which is some seconds for each 100 MiB.
const COMPACT_WASTE_BYTES: u64 = 64 << 20;

/// Only the owner may read the file.
const FILE_MODE: u32 = 0o600;

/// How many commits move from the log into the keys with one batch: some milliseconds of work that others wait for.
const MOVED_COMMITS_MAX: usize = 256;

/// A redb file; dropped, it is closed.
pub struct Redb {
    open: Box<dyn Fn() -> Result<Database, OpenError> + Send>,
    database: Option<Database>,
    scratch: Vec<u8>,
    /// Commits up to and with this revision may leave the log.
    compact_to: Revision,
}

impl Redb {
    /// Opens or makes the file, reads all of it, and compacts it when that is worth it.
    ///
    /// # Errors
    /// When another process has it, the disk fails, or it is no store of ours.
    pub fn open(path: &Path) -> Result<(Mvcc, Redb), OpenError> {
        let path = path.to_owned();
        let at = path.clone();
        let open = move || open_file(&at);
        Redb::open_with(Box::new(open), &path)
    }

    /// Opens a store on a database that the caller opens, now and after each failure of its disk: for files that are
    /// none, such as a simulation's. `path` stands in errors.
    ///
    /// # Errors
    /// As [`Redb::open`].
    pub fn open_with(
        open: Box<dyn Fn() -> Result<Database, OpenError> + Send>,
        path: &Path,
    ) -> Result<(Mvcc, Redb), OpenError> {
        let mut database = open()?;
        prepare(&database, path)?;
        let (mvcc, bytes) = load::load(&database, path)?;
        let file_bytes = std::fs::metadata(path).ok().map(|file| file.len());
        // Only what looks large is worth the look at each page that an exact answer takes.
        if file_bytes.is_none_or(|file| is_wasteful(file.saturating_sub(bytes), bytes)) {
            compact(&mut database).map_err(|source| io_error(path, source))?;
        }
        let compact_to = mvcc.compacted();
        Ok((mvcc, Redb { open, database: Some(database), scratch: Vec::new(), compact_to }))
    }

    /// Makes a file with these keys, all of which are from before the one commit of the log, which makes `last`.
    ///
    /// # Errors
    /// When another process has the file or the disk fails.
    pub fn create(path: &Path, items: &[Kv], last: &Kv) -> Result<(), OpenError> {
        let database = open_file(path)?;
        prepare(&database, path)?;
        fill(&database, items, last).map_err(|error| io_error(path, error))
    }

    fn write(&mut self, batch: &Batch) -> Result<(), redb::Error> {
        let Some(database) = &self.database else { return Err(redb::Error::DatabaseClosed) };
        let mut transaction = database.begin_write()?;
        // Without `set_quick_repair`: it would cost each commit half as much CPU again, and saves about a second per
        // 500 MiB at the start after a crash alone.
        transaction.set_durability(Durability::Immediate)?;
        write_log(&transaction, batch, &mut self.scratch)?;
        let Revision(floor) = self.compact_to.max(batch.compact_to.unwrap_or_default());
        // A batch without commits is asked for its compaction, and nobody else waits.
        let count = if batch.commits().is_empty() { usize::MAX } else { MOVED_COMMITS_MAX };
        let all = move_to_keys(&transaction, floor, count)?;
        transaction.commit()?;
        self.compact_to = if all { Revision(0) } else { Revision(floor) };
        Ok(())
    }
}

impl Journal for Redb {
    fn append(&mut self, batch: &Batch) -> io::Result<()> {
        self.write(batch).map_err(io_cause)
    }

    fn recover(&mut self) -> io::Result<Revision> {
        // The file's lock must be let go before it can be taken again.
        self.database = None;
        let database = (self.open)().map_err(io::Error::other)?;
        let revision = last_revision(&database).map_err(io_cause)?;
        self.database = Some(database);
        Ok(revision)
    }
}

fn fill(database: &Database, items: &[Kv], last: &Kv) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut keys = transaction.open_table(KEYS)?;
        let mut scratch = Vec::new();
        for kv in items {
            scratch.clear();
            record::write_kv(kv, &mut scratch);
            keys.insert(kv.key.as_ref(), scratch.as_slice())?;
        }
        scratch.clear();
        let event = Event {
            revision: last.modified,
            key: last.key.clone(),
            current: Some(last.clone()),
            previous: None,
            note: None,
        };
        let commit = Committed { revision: last.modified, events: vec![Arc::new(event)] };
        record::write_commit(&commit, &mut scratch);
        transaction.open_table(LOG)?.insert(last.modified.0, scratch.as_slice())?;
    }
    transaction.commit()?;
    Ok(())
}

fn open_file(path: &Path) -> Result<Database, OpenError> {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES_MAX);
    // Secrets are in it.
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE);
    let file = options.open(path).map_err(|error| io_error(path, redb::Error::Io(error)))?;
    builder.create_file(file).map_err(|error| {
        if matches!(error, DatabaseError::DatabaseAlreadyOpen) {
            return OpenError::Locked { path: path.to_owned() };
        }
        io_error(path, error.into())
    })
}

fn write_log(
    transaction: &WriteTransaction,
    batch: &Batch,
    scratch: &mut Vec<u8>,
) -> Result<(), redb::Error> {
    if batch.commits().is_empty() {
        return Ok(());
    }
    let mut log = transaction.open_table(LOG)?;
    for commit in batch.commits() {
        scratch.clear();
        record::write_commit(commit, scratch);
        log.insert(commit.revision.0, scratch.as_slice())?;
    }
    Ok(())
}

/// Moves at most `count` commits up to and with `floor` from the log into the keys, oldest first, and tells whether
/// those were all. The log's last commit stays.
fn move_to_keys(
    transaction: &WriteTransaction,
    floor: u64,
    count: usize,
) -> Result<bool, redb::Error> {
    if floor == 0 {
        return Ok(true);
    }
    let mut log = transaction.open_table(LOG)?;
    let last = log.last()?.map_or(0, |(revision, _)| revision.value());
    let end = last.min(floor.saturating_add(1));
    let mut moved = Vec::new();
    for entry in log.range(..end)?.take(count) {
        let (revision, record) = entry?;
        moved.push((revision.value(), record.value().to_vec()));
    }
    let Some((newest, _)) = moved.last() else { return Ok(true) };
    log.retain_in(..=*newest, |_, _| false)?;
    write_keys(transaction, &moved)?;
    Ok(moved.len() < count)
}

/// Writes what the commits left behind, each key once and in order.
fn write_keys(
    transaction: &WriteTransaction,
    commits: &[(u64, Vec<u8>)],
) -> Result<(), redb::Error> {
    let mut latest = BTreeMap::new();
    for (revision, record) in commits {
        let damaged = || redb::Error::Corrupted(format!("commit {revision} is cut off"));
        latest.extend(record::changes(record).ok_or_else(damaged)?);
    }
    let mut keys = transaction.open_table(KEYS)?;
    for (key, record) in latest {
        match record {
            Some(record) => keys.insert(key, record)?,
            None => keys.remove(key)?,
        };
    }
    Ok(())
}

/// Makes the tables of a new file, and checks the format of an old one.
fn prepare(database: &Database, path: &Path) -> Result<(), OpenError> {
    let format = make_tables(database).map_err(|error| io_error(path, error))?;
    if format == FORMAT {
        return Ok(());
    }
    let what = format!("its format is {format}, this version knows {FORMAT}");
    Err(OpenError::Format { path: path.to_owned(), what })
}

fn make_tables(database: &Database) -> Result<u64, redb::Error> {
    let transaction = database.begin_write()?;
    let format = {
        transaction.open_table(KEYS)?;
        transaction.open_table(LOG)?;
        let mut meta = transaction.open_table(META)?;
        let found = meta.get(FORMAT_NAME)?.map(|format| format.value());
        match found {
            Some(format) => format,
            None => {
                meta.insert(FORMAT_NAME, FORMAT)?;
                FORMAT
            }
        }
    };
    transaction.commit()?;
    Ok(format)
}

fn compact(database: &mut Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    let stats = transaction.stats()?;
    transaction.abort()?;
    let used = stats.stored_bytes() + stats.metadata_bytes();
    if is_wasteful(stats.fragmented_bytes(), used) {
        database.compact()?;
    }
    Ok(())
}

fn is_wasteful(wasted_bytes: u64, used_bytes: u64) -> bool {
    wasted_bytes >= COMPACT_WASTE_BYTES && wasted_bytes >= 2 * used_bytes
}

fn last_revision(database: &Database) -> Result<Revision, redb::Error> {
    let log = database.begin_read()?.open_table(LOG)?;
    Ok(log.last()?.map_or(Revision::FIRST, |(revision, _)| Revision(revision.value())))
}

fn io_error(path: &Path, error: redb::Error) -> OpenError {
    OpenError::Io { path: PathBuf::from(path), source: io_cause(error) }
}

fn io_cause(error: redb::Error) -> io::Error {
    let redb::Error::Io(cause) = error else { return io::Error::other(error) };
    cause
}

#[cfg(test)]
mod tests;
