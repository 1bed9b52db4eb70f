//! Secrets on disk, sealed with a key of the host: AES-256-GCM with a random nonce.
//!
//! The key lies in a file of its own, outside of the data directory, readable by its owner only.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};

const KEY_BYTES: usize = 32;

/// Seals and opens.
pub struct Sealer {
    key: RandomizedNonceKey,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer").finish_non_exhaustive()
    }
}

impl Sealer {
    /// Reads the key at `path`, or makes one there.
    ///
    /// # Errors
    /// What the file system says, or `InvalidData` when the file is no key.
    pub fn open(path: &Path) -> io::Result<Self> {
        let bytes = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => create(path)?,
            read => read?,
        };
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, "host key must have 32 bytes");
        if bytes.len() != KEY_BYTES {
            return Err(wrong());
        }
        let key = RandomizedNonceKey::new(&AES_256_GCM, &bytes).map_err(|_| wrong())?;
        Ok(Self { key })
    }

    /// Seals `plain` for the place `name`; gives nothing when the cipher refuses.
    #[must_use]
    pub fn seal(&self, name: &str, plain: &[u8]) -> Option<Vec<u8>> {
        let mut text = plain.to_vec();
        let nonce = self.key.seal_in_place_append_tag(Aad::from(name), &mut text).ok()?;
        let mut sealed = nonce.as_ref().to_vec();
        sealed.extend(text);
        Some(sealed)
    }

    /// Opens what was sealed for the place `name`; gives nothing for anything else.
    #[must_use]
    pub fn open_sealed(&self, name: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = text.to_vec();
        let plain = self.key.open_in_place(nonce, Aad::from(name), &mut text).ok()?;
        Some(plain.to_vec())
    }
}

fn create(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; KEY_BYTES];
    let failed = |_| io::Error::other("draw a random key");
    aws_lc_rs::rand::fill(&mut bytes).map_err(failed)?;
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_bytes_open_with_the_same_key_and_place_only() {
        let dir = tempfile::tempdir().unwrap();
        let sealer = Sealer::open(&dir.path().join("k/host.key")).unwrap();
        let again = Sealer::open(&dir.path().join("k/host.key")).unwrap();
        let other = Sealer::open(&dir.path().join("other.key")).unwrap();
        let sealed = sealer.seal("a", b"hunter2").unwrap();
        assert!(!sealed.windows(7).any(|part| part == b"hunter2"));
        assert_eq!(again.open_sealed("a", &sealed).as_deref(), Some(&b"hunter2"[..]));
        assert_eq!(again.open_sealed("b", &sealed), None);
        assert_eq!(other.open_sealed("a", &sealed), None);
        assert_eq!(again.open_sealed("a", &sealed[..5]), None);
    }
}
