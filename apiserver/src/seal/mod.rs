//! What is kept sealed in the store: Secrets by default, by the rules of an `EncryptionConfiguration`.
//!
//! In: keys and values on their way to the store and from it. Out: the same, sealed or opened. Everything above the store
//! sees plain objects. A value is sealed by a data key of this process, which travels with it, sealed by a key of the
//! configuration; the object's place in the store is authenticated too, so that no value can be put in another's place.
//! An edge: keys and nonces are drawn. *Source:* Kubernetes, "Encrypting Confidential Data at Rest".

mod config;
mod key;
mod storage;

pub use config::{SealConfigError, generate};
pub use key::OpenError;
pub(crate) use storage::Storage;

use crate::cache::resource_prefix;
use bytes::Bytes;
use coracle_store::{Content, Kv, stamp};
use key::Key;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

/// One way of keeping a value.
enum Provider {
    /// As it is.
    Identity,
    /// Sealed.
    Key(Key),
}

/// The rule of the resources with a prefix: the first provider writes, all of them read.
pub(crate) struct Rule {
    prefix: String,
    providers: Vec<Provider>,
    /// Keys whose latest value another than the first provider wrote.
    stale: Mutex<HashSet<Bytes>>,
    /// Keys whose latest value cannot be opened, and why.
    failed: Mutex<BTreeMap<Bytes, OpenError>>,
}

/// Seals and opens what is stored. The default seals nothing.
#[derive(Default, Clone)]
pub struct Sealer {
    rules: Vec<Arc<Rule>>,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer({})", self.rules.len())
    }
}

impl Sealer {
    /// Reads an `EncryptionConfiguration`, YAML or JSON.
    ///
    /// # Errors
    /// When it is malformed, or asks for a provider that is not known.
    pub fn parse(text: &str) -> Result<Sealer, SealConfigError> {
        config::parse(text)
    }

    fn new(rules: Vec<(String, Vec<Provider>)>) -> Sealer {
        let rule = |(prefix, providers)| {
            let (stale, failed) = (Mutex::default(), Mutex::default());
            Arc::new(Rule { prefix, providers, stale, failed })
        };
        Sealer { rules: rules.into_iter().map(rule).collect() }
    }

    /// The rule of a resource, if it has one.
    pub(crate) fn of_resource(&self, group: &str, plural: &str) -> Option<Arc<Rule>> {
        self.rule(resource_prefix(group, plural).as_bytes()).cloned()
    }

    fn rule(&self, key: &[u8]) -> Option<&Arc<Rule>> {
        self.rules.iter().find(|rule| key.starts_with(rule.prefix.as_bytes()))
    }

    /// The first value that could not be opened.
    pub(crate) fn failed(&self) -> Option<OpenError> {
        self.rules.iter().find_map(|rule| rule.failed.lock().values().next().cloned())
    }

    /// The keys of values that are to be sealed anew; asked once.
    pub(crate) fn take_stale(&self) -> HashSet<Bytes> {
        self.rules.iter().flat_map(|rule| std::mem::take(&mut *rule.stale.lock())).collect()
    }
}

impl Rule {
    /// Seals a value for its place in the store.
    pub(crate) fn seal(&self, place: &[u8], content: Content) -> Result<Content, OpenError> {
        match self.providers.first() {
            Some(Provider::Key(key)) => {
                let bytes = key.seal(place, &content.bytes, content.stamp)?;
                Ok(Content { bytes: bytes.into(), stamp: None, note: content.note })
            }
            Some(Provider::Identity) | None => Ok(content),
        }
    }

    /// Notes that a key is gone.
    pub(crate) fn forget(&self, key: &Bytes) {
        self.stale.lock().remove(key);
        self.failed.lock().remove(key);
    }

    /// Opens a value; what cannot be opened is `null`, and remembered as failed until the key has another value: old
    /// values are in the store's history for a while.
    pub(crate) fn open(&self, kv: &Kv) -> Kv {
        self.forget(&kv.key);
        match self.try_open(kv) {
            Ok(kv) => kv,
            Err(error) => {
                tracing::debug!(%error, "a stored value cannot be opened");
                self.failed.lock().insert(kv.key.clone(), error);
                Kv { value: Bytes::from_static(b"null"), stamp: None, ..kv.clone() }
            }
        }
    }

    fn try_open(&self, kv: &Kv) -> Result<Kv, OpenError> {
        let sealed_by = key::name_of(&kv.value);
        let found = self.providers.iter().position(|provider| match (provider, sealed_by) {
            (Provider::Identity, None) => true,
            (Provider::Key(key), Some(name)) => key.name() == name,
            (Provider::Identity, Some(_)) | (Provider::Key(_), None) => false,
        });
        if found.is_some_and(|index| index > 0) {
            self.stale.lock().insert(kv.key.clone());
        }
        match found.and_then(|index| self.providers.get(index)) {
            Some(Provider::Identity) => Ok(kv.clone()),
            Some(Provider::Key(key)) => {
                let (bytes, at) = key.open(&kv.key, &kv.value)?;
                let value = match at {
                    Some(at) => stamp(&bytes, at, kv.modified),
                    None => bytes.into(),
                };
                Ok(Kv { value, stamp: at, ..kv.clone() })
            }
            None => Err(OpenError::no_key(&kv.key, sealed_by)),
        }
    }
}

#[cfg(test)]
mod tests;
