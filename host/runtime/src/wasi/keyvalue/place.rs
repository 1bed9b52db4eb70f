//! Where a guest's values are: files of a volume, or a Redis. Every call goes either way here.
//!
//! An edge: who changes files waits for their lock, and a Redis for everything.

use std::sync::Arc;

use super::Error;
use super::bucket::{Folder, Held, Seen, check_batch};
use super::redis::{self, Redis};
use crate::container::Core;
use crate::mounts::{Service, Tree};
use crate::store::State;
use crate::wasi::kept::Flush;

/// What the guest was granted.
#[derive(Clone)]
pub(crate) enum Place {
    /// Files below a volume.
    Files(Arc<Tree>),
    /// A Redis that the volume names.
    Redis(Arc<Redis>),
}

/// An open bucket.
#[derive(Clone)]
pub(crate) enum Bucket {
    /// A folder.
    Files(Arc<Tree>, Folder),
    /// Keys of a Redis.
    Redis(redis::Bucket),
}

/// Some keys, and how to go on after them.
pub(super) struct Listed {
    pub(super) keys: Vec<String>,
    pub(super) next: Option<Cursor>,
}

/// Where a page of keys begins.
pub(super) enum Cursor {
    /// After so many, or whatever the store means by it.
    Number(u64),
    /// After this key, so that none is missed whatever is deleted meanwhile; the empty one is the beginning.
    Key(String),
}

impl Cursor {
    /// The number that a store without an order gave.
    fn number(&self) -> Result<u64, Error> {
        match self {
            Self::Number(number) => Ok(*number),
            Self::Key(text) if text.is_empty() => Ok(0),
            Self::Key(text) => text.parse().map_err(|_| Error::Other("no such cursor".to_owned())),
        }
    }

    /// As text.
    pub(super) fn text(self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Key(key) => key,
        }
    }
}

impl Place {
    /// The place of an instance, which is looked for once.
    pub(super) fn of(state: &mut State) -> Result<Self, Error> {
        if let Some(place) = &state.values {
            return Ok(place.clone());
        }
        let tree = state.kept(Service::KeyValue).ok_or(Error::AccessDenied)?;
        let place = Self::find(&state.core, tree)?;
        state.values = Some(place.clone());
        Ok(place)
    }

    fn find(core: &Arc<Core>, tree: Arc<Tree>) -> Result<Self, Error> {
        Ok(match Redis::of_place(core, &tree)? {
            Some(redis) => Self::Redis(redis),
            None => Self::Files(tree),
        })
    }

    /// Opens a bucket; one that is not there is made.
    pub(super) fn open(self, name: &str) -> Result<Bucket, Error> {
        Ok(match self {
            Self::Files(tree) => {
                let folder = Folder::open(&tree, name)?;
                Bucket::Files(tree, folder)
            }
            Self::Redis(redis) => Bucket::Redis(redis.bucket(name)?),
        })
    }
}

impl Bucket {
    /// What a key holds.
    pub(super) async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        match self {
            Self::Files(tree, folder) => folder.get(tree, key),
            Self::Redis(bucket) => bucket.get(key).await,
        }
    }

    /// Whether a key holds something.
    pub(super) async fn exists(&self, key: &str) -> Result<bool, Error> {
        match self {
            Self::Files(tree, folder) => folder.exists(tree, key),
            Self::Redis(bucket) => bucket.exists(key).await,
        }
    }

    /// What many keys hold, in their order.
    pub(super) async fn get_many(&self, keys: Vec<String>) -> Result<Held, Error> {
        check_batch(keys.len())?;
        match self {
            Self::Files(tree, folder) => folder.get_many(tree, keys),
            Self::Redis(bucket) => bucket.get_many(keys).await,
        }
    }

    /// Lets each key hold its value, or nothing; an error may leave a part of it done.
    pub(super) async fn change(&self, changes: Held) -> Result<(), Error> {
        check_batch(changes.len())?;
        let (tree, folder) = match self {
            Self::Files(tree, folder) => (tree, folder),
            Self::Redis(bucket) => return bucket.change(changes).await,
        };
        let flush = if changes.len() == 1 { Flush::Now } else { Flush::Soon };
        let _lock = folder.lock(tree).await?;
        for (key, value) in changes {
            match value {
                Some(value) => folder.put(tree, &key, &value, flush)?,
                None => folder.remove(tree, &key)?,
            }
        }
        Ok(())
    }

    /// Some keys from a cursor on.
    pub(super) async fn keys(&self, from: Cursor) -> Result<Listed, Error> {
        match (self, from) {
            (Self::Files(tree, folder), Cursor::Number(number)) => {
                let skip = usize::try_from(number).unwrap_or(usize::MAX);
                let (keys, has_more) = folder.keys(tree, skip, None)?;
                let next = skip.saturating_add(keys.len()) as u64;
                Ok(Listed { keys, next: has_more.then_some(Cursor::Number(next)) })
            }
            (Self::Files(tree, folder), Cursor::Key(key)) => {
                let after = Some(key.as_str()).filter(|key| !key.is_empty());
                let (keys, has_more) = folder.keys(tree, 0, after)?;
                let last = keys.last().cloned().map(Cursor::Key);
                Ok(Listed { keys, next: last.filter(|_| has_more) })
            }
            (Self::Redis(bucket), from) => {
                let (keys, next) = bucket.keys(from.number()?).await?;
                Ok(Listed { keys, next: next.map(Cursor::Number) })
            }
        }
    }

    /// Adds to the number that a key holds, within bounds; nothing is 0.
    pub(super) async fn add(
        &self,
        key: &str,
        delta: i128,
        bounds: (i128, i128),
    ) -> Result<i128, Error> {
        match self {
            Self::Files(tree, folder) => folder.add(tree, key, delta, bounds).await,
            Self::Redis(bucket) => bucket.add(key, delta, bounds).await,
        }
    }

    /// Lets a key hold a value if it holds what was seen; else says what it holds now.
    pub(super) async fn swap(
        &self,
        key: &str,
        expected: Seen,
        value: &[u8],
    ) -> Result<Result<(), Seen>, Error> {
        match self {
            Self::Files(tree, folder) => folder.swap(tree, key, expected, value).await,
            Self::Redis(bucket) => bucket.swap(key, expected, value).await,
        }
    }
}
