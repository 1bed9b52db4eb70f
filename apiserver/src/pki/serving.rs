//! The certificate under which a server serves; another one may take its place while it serves.

use super::{Identity, PkiError, tls};
use parking_lot::RwLock;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::sync::Arc;

/// A serving certificate with its key. Each handshake takes the one of that moment; connections that are open stay.
#[derive(Debug)]
pub struct Serving(RwLock<Arc<CertifiedKey>>);

impl Serving {
    /// Serves under `identity` at first.
    ///
    /// # Errors
    /// When the identity is malformed.
    pub fn new(identity: &Identity) -> Result<Arc<Serving>, PkiError> {
        Ok(Arc::new(Serving(RwLock::new(tls::certified(identity)?))))
    }

    /// Serves under `identity` from now on.
    ///
    /// # Errors
    /// When the identity is malformed; then the one before stays.
    pub fn replace(&self, identity: &Identity) -> Result<(), PkiError> {
        *self.0.write() = tls::certified(identity)?;
        Ok(())
    }
}

impl ResolvesServerCert for Serving {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read()))
    }
}
