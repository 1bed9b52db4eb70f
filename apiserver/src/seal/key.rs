//! One key of the configuration, and the data keys that it seals.
//!
//! A sealed value: `k8s:enc:envelope:v1:NAME:`, the length of the sealed data key in one byte, the sealed data key with
//! its nonce in front, the value's nonce, and the sealed value, of which the first four bytes say where its revision is
//! written.

use aws_lc_rs::aead::{AES_128_GCM, AES_192_GCM, AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::rand;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// What sealed values begin with; no JSON does.
const PREFIX: &[u8] = b"k8s:enc:envelope:v1:";
/// Bytes of a data key: AES-256.
const DATA_KEY_BYTES: usize = 32;
/// Bytes of a nonce of AES-GCM.
const NONCE_BYTES: usize = 12;
/// Stands for a value without a place for its revision.
const NO_STAMP: u32 = u32::MAX;
/// Values that one data key seals before another takes its place: far below what random nonces allow (2^32).
const VALUES_PER_KEY_MAX: u64 = 1 << 24;
/// Data keys that are kept open; one more and all are opened anew when they are needed. Each start makes one.
const OPEN_KEYS_MAX: usize = 1024;

/// Why a value could not be sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The configuration does not have the key.
    #[error(
        "open {place}: it is sealed by {key}, which the encryption configuration does not have; add it behind the others"
    )]
    NoKey {
        /// Where the value is.
        place: String,
        /// The key's name in quotes, or "no key".
        key: String,
    },
    /// The bytes are not what the key sealed there.
    #[error("open {place}: it was changed, or sealed by another key of the name {key:?}")]
    Broken {
        /// Where the value is.
        place: String,
        /// The key's name.
        key: String,
    },
    /// The library failed.
    #[error("seal {place}: the cryptographic library failed")]
    Library {
        /// Where the value is to be.
        place: String,
    },
}

impl OpenError {
    /// For a value whose key is not known.
    pub(super) fn no_key(place: &[u8], name: Option<&str>) -> OpenError {
        let key = name.map_or_else(|| "no key".to_owned(), |name| format!("key {name:?}"));
        OpenError::NoKey { place: shown(place), key }
    }
}

fn shown(place: &[u8]) -> String {
    String::from_utf8_lossy(place).into_owned()
}

/// The name of the key that sealed a value; `None` for a plain one.
pub(super) fn name_of(value: &[u8]) -> Option<&str> {
    let rest = value.strip_prefix(PREFIX)?;
    let end = rest.iter().position(|byte| *byte == b':')?;
    std::str::from_utf8(rest.get(..end)?).ok()
}

/// A data key in use, as it is and as it is stored.
struct DataKey {
    key: RandomizedNonceKey,
    sealed: Vec<u8>,
    sealed_values: u64,
}

/// A key of the configuration.
pub(super) struct Key {
    name: String,
    key: RandomizedNonceKey,
    current: Mutex<Option<DataKey>>,
    open: Mutex<HashMap<Vec<u8>, Arc<RandomizedNonceKey>>>,
}

impl Key {
    /// A key of 16, 24 or 32 bytes; `None` for other lengths.
    pub(super) fn new(name: &str, secret: &[u8]) -> Option<Key> {
        let algorithm = match secret.len() {
            16 => &AES_128_GCM,
            24 => &AES_192_GCM,
            32 => &AES_256_GCM,
            _ => return None,
        };
        let key = RandomizedNonceKey::new(algorithm, secret).ok()?;
        Some(Key { name: name.to_owned(), key, current: Mutex::default(), open: Mutex::default() })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Seals a value for its place.
    pub(super) fn seal(
        &self,
        place: &[u8],
        value: &[u8],
        stamp: Option<u32>,
    ) -> Result<Vec<u8>, OpenError> {
        let failed = || OpenError::Library { place: shown(place) };
        let mut body = stamp.unwrap_or(NO_STAMP).to_le_bytes().to_vec();
        body.extend_from_slice(value);
        let mut current = self.current.lock();
        if current.as_ref().is_none_or(|data| data.sealed_values >= VALUES_PER_KEY_MAX) {
            *current = Some(self.make_data_key().ok_or_else(failed)?);
        }
        let data = current.as_mut().ok_or_else(failed)?;
        data.sealed_values += 1;
        let sealed = seal_with(&data.key, place, body).ok_or_else(failed)?;
        let length = u8::try_from(data.sealed.len()).map_err(|_| failed())?;
        Ok([PREFIX, self.name.as_bytes(), b":", &[length], &data.sealed, &sealed].concat())
    }

    /// Opens a value of its place, and gives where its revision belongs.
    pub(super) fn open(
        &self,
        place: &[u8],
        value: &[u8],
    ) -> Result<(Vec<u8>, Option<u32>), OpenError> {
        let broken = || OpenError::Broken { place: shown(place), key: self.name.clone() };
        let rest = value.get(PREFIX.len() + self.name.len() + 1..).ok_or_else(broken)?;
        let (length, rest) = rest.split_first().ok_or_else(broken)?;
        let (sealed_key, sealed) =
            rest.split_at_checked(usize::from(*length)).ok_or_else(broken)?;
        let data = self.open_data_key(sealed_key).ok_or_else(broken)?;
        let body = open_with(&data, place, sealed).ok_or_else(broken)?;
        let (at, value) = body.split_first_chunk::<4>().ok_or_else(broken)?;
        let at = u32::from_le_bytes(*at);
        Ok((value.to_vec(), (at != NO_STAMP).then_some(at)))
    }

    fn make_data_key(&self) -> Option<DataKey> {
        let mut bytes = [0; DATA_KEY_BYTES];
        rand::fill(&mut bytes).ok()?;
        let key = RandomizedNonceKey::new(&AES_256_GCM, &bytes).ok()?;
        let sealed = seal_with(&self.key, self.name.as_bytes(), bytes.to_vec())?;
        Some(DataKey { key, sealed, sealed_values: 0 })
    }

    fn open_data_key(&self, sealed: &[u8]) -> Option<Arc<RandomizedNonceKey>> {
        if let Some(known) = self.open.lock().get(sealed) {
            return Some(Arc::clone(known));
        }
        let bytes = open_with(&self.key, self.name.as_bytes(), sealed)?;
        let key = Arc::new(RandomizedNonceKey::new(&AES_256_GCM, &bytes).ok()?);
        let mut open = self.open.lock();
        if open.len() >= OPEN_KEYS_MAX {
            open.clear();
        }
        open.insert(sealed.to_vec(), Arc::clone(&key));
        Some(key)
    }
}

/// The nonce, then the sealed bytes.
fn seal_with(key: &RandomizedNonceKey, about: &[u8], mut body: Vec<u8>) -> Option<Vec<u8>> {
    let nonce = key.seal_in_place_append_tag(Aad::from(about), &mut body).ok()?;
    Some([nonce.as_ref().as_slice(), &body].concat())
}

fn open_with(key: &RandomizedNonceKey, about: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, body) = sealed.split_at_checked(NONCE_BYTES)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut body = body.to_vec();
    let length = key.open_in_place(nonce, Aad::from(about), &mut body).ok()?.len();
    body.truncate(length);
    Some(body)
}
