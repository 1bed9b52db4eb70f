//! The keys that sign the tokens of service accounts, and those that seal Secrets in the store.

use super::{PkiError, because, files};
use crate::authn::TokenKeys;
use rcgen::KeyPair;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use std::path::Path;
use std::sync::Arc;

/// The file of the keys: PEM blocks one after another, of which the first signs and all verify.
const FILE: &str = "sa.key";

impl super::Pki {
    /// The keys in a folder's `sa.key`, for its owner alone; made when the file is not there. To rotate, put a new key in
    /// front and leave the old ones until their tokens have expired.
    ///
    /// # Errors
    /// When the file cannot be read or written, or holds no key of P-256.
    pub fn service_account_keys(folder: &Path) -> Result<Arc<TokenKeys>, PkiError> {
        let path = folder.join(FILE);
        let text = match files::read(&path)? {
            Some(text) => text,
            None => {
                let made = KeyPair::generate()
                    .map_err(because("make a key for service account tokens"))?;
                let text = made.serialize_pem();
                files::write_secret(&path, &text)?;
                text
            }
        };
        let what = "read the keys for service account tokens";
        let key = |der: Result<PrivatePkcs8KeyDer<'static>, _>| {
            let der = der.map_err(|error: rustls_pki_types::pem::Error| {
                PkiError::Tls(format!("{what}: {error}"))
            })?;
            KeyPair::try_from(&der).map_err(because(what))
        };
        let keys: Vec<KeyPair> = PrivatePkcs8KeyDer::pem_slice_iter(text.as_bytes())
            .map(key)
            .collect::<Result<_, _>>()?;
        Ok(Arc::new(TokenKeys::new(&keys)?))
    }

    /// The text of a folder's `encryption.yaml`, for its owner alone; made with a fresh key when the file is not there.
    ///
    /// # Errors
    /// When the file cannot be read or written, or no key can be made.
    pub fn encryption_config(folder: &Path) -> Result<String, PkiError> {
        let path = folder.join("encryption.yaml");
        if let Some(text) = files::read(&path)? {
            return Ok(text);
        }
        let text = crate::seal::generate()?;
        files::write_secret(&path, &text)?;
        Ok(text)
    }

    /// Keys that live as long as the process, for tests and servers without a folder.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn passing_service_account_keys() -> Result<Arc<TokenKeys>, PkiError> {
        let made = KeyPair::generate().map_err(because("make a key for service account tokens"))?;
        Ok(Arc::new(TokenKeys::new(&[made])?))
    }
}
