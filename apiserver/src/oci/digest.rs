//! Content digests: `sha256:` and 64 lower-case hexadecimal digits.

use std::fmt;

use sha2::{Digest as _, Sha256};

use super::error::OciError;

/// The SHA-256 digest of a blob or manifest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(String);

/// Hexadecimal digits of a SHA-256 digest.
const HEX_LENGTH: usize = 64;

impl Digest {
    /// Parses `sha256:<hex>`.
    ///
    /// # Errors
    /// `DIGEST_INVALID` for other algorithms and malformed text.
    pub fn parse(text: &str) -> Result<Digest, OciError> {
        let hex = text.strip_prefix("sha256:").unwrap_or("");
        let well_formed = hex.len() == HEX_LENGTH
            && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if well_formed {
            Ok(Digest(hex.to_owned()))
        } else {
            Err(OciError::DigestInvalid(text.to_owned()))
        }
    }

    /// Computes the digest of bytes in memory.
    pub fn of(bytes: &[u8]) -> Digest {
        let mut hasher = Hasher::default();
        hasher.update(bytes);
        hasher.finish()
    }

    /// The hexadecimal part, which is the blob's file name.
    pub fn hex(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}

/// Computes a digest piece by piece.
#[derive(Default)]
pub(super) struct Hasher(Sha256);

impl Hasher {
    /// Takes the next bytes.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Gives the digest of all bytes taken.
    pub(super) fn finish(self) -> Digest {
        let mut hex = String::with_capacity(HEX_LENGTH);
        for byte in self.0.finalize() {
            for nibble in [byte >> 4, byte & 15] {
                hex.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
            }
        }
        Digest(hex)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_digest() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), empty);
        assert_eq!(Digest::parse(empty).unwrap(), Digest::of(b""));
    }

    #[test]
    fn malformed_digests_are_refused() {
        for text in [
            "",
            "sha256:",
            "sha512:00",
            "sha256:../../etc/passwd",
            &format!("sha256:{}", "A".repeat(64)),
        ] {
            assert!(Digest::parse(text).is_err(), "{text}");
        }
    }
}
