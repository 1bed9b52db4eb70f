//! The journal in a redb file.
//!
//! Three tables: `keys` (what each key holds), `log` (the recent commits, for watches that resume after a restart) and
//! `meta` (the format). A batch is one redb transaction and one fsync. The store's revision is the log's last key, so
//! the last log entry is never trimmed.

use super::{Journal, record};
use crate::mvcc::{Batch, LoggedChange, Mvcc};
use crate::{Kv, OpenError, Revision};
use bytes::Bytes;
use redb::{
    Builder, Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, TableDefinition,
    WriteTransaction,
};
use std::io;
use std::path::{Path, PathBuf};

const KEYS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("keys");
const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");

/// The entry of `meta` that names the format of the records.
const FORMAT_NAME: &str = "format";
/// The format that this version reads and writes.
const FORMAT: u64 = 1;

/// redb's page cache. Everything is read from memory, so it only has to hold the pages that writes touch.
const CACHE_BYTES_MAX: usize = 16 << 20;

/// A file is compacted at open when it wastes this much and at least half of itself; less is not worth the start time.
const COMPACT_WASTE_BYTES: u64 = 32 << 20;

/// A redb file; dropped, it is closed.
pub struct Redb {
    open: Box<dyn Fn() -> Result<Database, OpenError> + Send>,
    database: Option<Database>,
    scratch: Vec<u8>,
}

impl Redb {
    /// Opens or makes the file, compacts it when that is worth it, and reads all of it.
    ///
    /// # Errors
    /// When another process has it, the disk fails, or it is no store of ours.
    pub fn open(path: &Path) -> Result<(Mvcc, Redb), OpenError> {
        let path = path.to_owned();
        let at = path.clone();
        let open = move || open_file(&at);
        Redb::open_with(Box::new(open), &path)
    }

    fn open_with(
        open: Box<dyn Fn() -> Result<Database, OpenError> + Send>,
        path: &Path,
    ) -> Result<(Mvcc, Redb), OpenError> {
        let mut database = open()?;
        prepare(&database, path)?;
        compact(&mut database).map_err(|source| io_error(path, source))?;
        let mvcc = load(&database, path)?;
        Ok((mvcc, Redb { open, database: Some(database), scratch: Vec::new() }))
    }

    fn write(&mut self, batch: &Batch) -> Result<(), redb::Error> {
        let Some(database) = &self.database else { return Err(redb::Error::DatabaseClosed) };
        let mut transaction = database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        write_keys(&transaction, batch)?;
        write_log(&transaction, batch, &mut self.scratch)?;
        transaction.commit()?;
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

fn open_file(path: &Path) -> Result<Database, OpenError> {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES_MAX);
    builder.create(path).map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => OpenError::Locked { path: path.to_owned() },
        error => io_error(path, error.into()),
    })
}

fn write_keys(transaction: &WriteTransaction, batch: &Batch) -> Result<(), redb::Error> {
    let mut keys = transaction.open_table(KEYS)?;
    for (key, kv) in batch.latest() {
        match kv {
            Some(kv) => {
                let mut place = keys.insert_reserve(&key[..], record::kv_bytes(kv))?;
                record::fill_kv(kv, place.as_mut());
            }
            None => {
                keys.remove(&key[..])?;
            }
        }
    }
    Ok(())
}

fn write_log(
    transaction: &WriteTransaction,
    batch: &Batch,
    scratch: &mut Vec<u8>,
) -> Result<(), redb::Error> {
    let mut log = transaction.open_table(LOG)?;
    for commit in batch.commits() {
        scratch.clear();
        record::write_commit(commit, scratch);
        log.insert(commit.revision.0, scratch.as_slice())?;
    }
    if let Some(Revision(to)) = batch.compact_to {
        let last = log.last()?.map_or(0, |(revision, _)| revision.value());
        log.retain_in(..last.min(to.saturating_add(1)), |_, _| false)?;
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
    let wasted = stats.fragmented_bytes();
    if wasted >= COMPACT_WASTE_BYTES && wasted >= used {
        database.compact()?;
    }
    Ok(())
}

fn load(database: &Database, path: &Path) -> Result<Mvcc, OpenError> {
    let cut =
        || OpenError::Format { path: path.to_owned(), what: "a record is cut off".to_owned() };
    let items = load_keys(database).map_err(|error| io_error(path, error))?.ok_or_else(cut)?;
    let log = load_log(database).map_err(|error| io_error(path, error))?.ok_or_else(cut)?;
    Ok(Mvcc::restore(items, log))
}

fn load_keys(database: &Database) -> Result<Option<Vec<Kv>>, redb::Error> {
    let keys = database.begin_read()?.open_table(KEYS)?;
    let mut items = Vec::new();
    for entry in keys.iter()? {
        let (key, value) = entry?;
        let key = Bytes::copy_from_slice(key.value());
        let Some(kv) = record::read_kv(key, value.value()) else { return Ok(None) };
        items.push(kv);
    }
    Ok(Some(items))
}

type Log = Vec<(Revision, Vec<LoggedChange>)>;

fn load_log(database: &Database) -> Result<Option<Log>, redb::Error> {
    let table = database.begin_read()?.open_table(LOG)?;
    let mut log = Vec::new();
    for entry in table.iter()? {
        let (revision, changes) = entry?;
        let Some(changes) = record::read_commit(changes.value()) else { return Ok(None) };
        log.push((Revision(revision.value()), changes));
    }
    Ok(Some(log))
}

fn last_revision(database: &Database) -> Result<Revision, redb::Error> {
    let log = database.begin_read()?.open_table(LOG)?;
    Ok(log.last()?.map_or(Revision::FIRST, |(revision, _)| Revision(revision.value())))
}

fn io_error(path: &Path, error: redb::Error) -> OpenError {
    OpenError::Io { path: PathBuf::from(path), source: io_cause(error) }
}

fn io_cause(error: redb::Error) -> io::Error {
    match error {
        redb::Error::Io(error) => error,
        error => io::Error::other(error),
    }
}

#[cfg(test)]
mod tests;
