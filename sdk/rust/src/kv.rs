//! Values that outlive the guest, by `wasi:keyvalue`. The pod says where they are kept, with the
//! annotation `coracle.dev/keyvalue.<container>`.

use std::fmt;

use crate::drafts::wasi::keyvalue::{atomics, batch, store};

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The host has no such bucket.
    NoSuchStore,
    /// The container was granted no place for values.
    AccessDenied,
    /// Anything else, in words.
    Other(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchStore => f.write_str("there is no such bucket"),
            Self::AccessDenied => f.write_str("the container was granted no place for values"),
            Self::Other(words) => f.write_str(words),
        }
    }
}

impl std::error::Error for Error {}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::NoSuchStore => Self::NoSuchStore,
            store::Error::AccessDenied => Self::AccessDenied,
            store::Error::Other(words) => Self::Other(words),
        }
    }
}

/// A bucket: keys, each with a value.
///
/// ```no_run
/// use coracle_sdk::kv;
///
/// let visits = kv::open("visits")?;
/// let count = visits.increment("home", 1)?;
/// visits.set("last", "Ada")?;
/// println!("{count}, the last one {:?}", visits.text("last")?);
/// # Ok::<(), kv::Error>(())
/// ```
#[derive(Debug)]
pub struct Bucket(store::Bucket);

/// Opens a bucket; one that is not there is made.
///
/// # Errors
/// See [`Error`].
pub fn open(name: &str) -> Result<Bucket, Error> {
    crate::linked::drafts();
    Ok(Bucket(store::open(name)?))
}

impl Bucket {
    /// Gives what a key holds.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.0.get(key)?)
    }

    /// Gives what a key holds as text; bytes that are none are replaced.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn text(&self, key: &str) -> Result<Option<String>, Error> {
        let value = self.get(key)?;
        Ok(value.map(|value| String::from_utf8_lossy(&value).into_owned()))
    }

    /// Lets a key hold a value.
    ///
    /// # Errors
    /// See [`Error`]; among them a value that is too large, and a volume that is full.
    pub fn set(&self, key: &str, value: impl AsRef<[u8]>) -> Result<(), Error> {
        Ok(self.0.set(key, value.as_ref())?)
    }

    /// Lets a key hold nothing.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn delete(&self, key: &str) -> Result<(), Error> {
        Ok(self.0.delete(key)?)
    }

    /// Says whether a key holds something.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn exists(&self, key: &str) -> Result<bool, Error> {
        Ok(self.0.exists(key)?)
    }

    /// Gives all keys.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn keys(&self) -> Result<Vec<String>, Error> {
        let (mut keys, mut cursor) = (Vec::new(), None);
        loop {
            let page = self.0.list_keys(cursor.as_deref())?;
            keys.extend(page.keys);
            cursor = page.cursor;
            if cursor.is_none() {
                return Ok(keys);
            }
        }
    }

    /// Gives what many keys hold, in their order.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn get_many(&self, keys: &[String]) -> Result<Vec<(String, Option<Vec<u8>>)>, Error> {
        Ok(batch::get_many(&self.0, keys)?)
    }

    /// Lets many keys hold values. An error may leave a part of it done.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn set_many(&self, pairs: &[(String, Vec<u8>)]) -> Result<(), Error> {
        Ok(batch::set_many(&self.0, pairs)?)
    }

    /// Lets many keys hold nothing.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn delete_many(&self, keys: &[String]) -> Result<(), Error> {
        Ok(batch::delete_many(&self.0, keys)?)
    }

    /// Adds to the number that a key holds, and gives the sum; nothing counts as 0. Nobody's addition
    /// is lost.
    ///
    /// # Errors
    /// See [`Error`]; among them a key that holds no number.
    pub fn increment(&self, key: &str, delta: i64) -> Result<i64, Error> {
        Ok(atomics::increment(&self.0, key, delta)?)
    }

    /// Lets a key hold what `next` makes of what it holds; again, whenever somebody else was faster.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn update(
        &self,
        key: &str,
        mut next: impl FnMut(Option<Vec<u8>>) -> Vec<u8>,
    ) -> Result<(), Error> {
        let mut handle = atomics::Cas::new(&self.0, key)?;
        loop {
            let value = next(handle.current()?);
            match atomics::swap(handle, &value) {
                Ok(()) => return Ok(()),
                Err(atomics::CasError::StoreError(error)) => return Err(error.into()),
                Err(atomics::CasError::CasFailed(newer)) => handle = newer,
            }
        }
    }
}
