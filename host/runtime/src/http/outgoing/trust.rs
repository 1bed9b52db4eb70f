//! Which authorities a container trusts besides the machine's: those in the file that its environment
//! names, in the files that it sees itself.
//!
//! So a pod reaches servers with certificates of a private authority, among them the cluster's own API.
//! *Source:* `SSL_CERT_FILE`, as OpenSSL and Go read it.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use parking_lot::Mutex;
use rustix::io::Errno;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::tls;
use crate::container::Core;
use crate::mounts::{Handle, MountTable, Open, Tree};

/// The variable that names the file.
const VARIABLE: &str = "SSL_CERT_FILE";

/// Most bytes of the file: the bundles of whole systems have a quarter of it.
const FILE_BYTES_MAX: usize = 1 << 20;

/// Settings that are kept at most, one for each content of such a file; more than this many private
/// authorities on one host are read again.
const KEPT_MAX: usize = 64;

/// Settings by the file's content: making them takes longer than a connection.
static KEPT: LazyLock<Mutex<HashMap<Bytes, Arc<ClientConfig>>>> = LazyLock::new(Mutex::default);

/// The TLS settings of a container; `None` when it trusts nobody at all.
pub(super) fn config(core: &Core) -> Option<Arc<ClientConfig>> {
    let named = core.spec.env.iter().rev().find(|(name, _)| name == VARIABLE);
    let Some((_, path)) = named.filter(|(_, path)| !path.is_empty()) else { return tls::config() };
    match read(&core.spec.mounts, path) {
        Ok(content) => of_content(content),
        Err(error) => {
            tracing::debug!(container = %core.spec.name, path, %error, "no {VARIABLE}");
            tls::config()
        }
    }
}

/// The file as the guest sees it.
fn read(mounts: &MountTable, path: &str) -> Result<Bytes, Errno> {
    let tree = Tree::new(mounts.clone());
    let how = Open { read: true, ..Open::default() };
    let Handle::File(file) = tree.open(&tree.root(), path.trim_start_matches('/'), true, how)?
    else {
        return Err(Errno::ISDIR);
    };
    let mut content = Vec::new();
    loop {
        let left = FILE_BYTES_MAX.saturating_sub(content.len());
        let part = file.read(left.min(64 << 10), content.len() as u64)?;
        if part.is_empty() {
            return Ok(content.into());
        }
        content.extend_from_slice(&part);
    }
}

fn of_content(content: Bytes) -> Option<Arc<ClientConfig>> {
    if let Some(kept) = KEPT.lock().get(&content) {
        return Some(kept.clone());
    }
    let made = tls::with_roots(roots(&content, tls::certificates()))?;
    let mut kept = KEPT.lock();
    if kept.len() >= KEPT_MAX {
        kept.clear();
    }
    kept.insert(content, made.clone());
    Some(made)
}

/// The machine's authorities and the file's; what is no certificate is passed over.
fn roots(content: &[u8], machine: &[CertificateDer<'static>]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let own = CertificateDer::pem_slice_iter(content).filter_map(Result::ok);
    let (_added, unreadable) = roots.add_parsable_certificates(own.chain(machine.iter().cloned()));
    if unreadable > 0 {
        tracing::debug!(unreadable, "certificates that cannot be used");
    }
    roots
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mounts::Mount;

    #[test]
    fn authorities_of_the_file_are_added() {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let pem = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem();
        let twice = format!("{pem}not a certificate\n{pem}");
        assert_eq!(roots(twice.as_bytes(), &[]).len(), 2);
        assert_eq!(roots(b"nothing", &[]).len(), 0);
    }

    #[test]
    fn the_file_is_the_one_that_the_guest_sees() {
        let long = vec![b'x'; FILE_BYTES_MAX + 1];
        let table = MountTable::builder()
            .mount("/etc/ca.crt", Mount::bytes(&b"content"[..]))
            .and_then(|table| table.mount("/etc/long", Mount::bytes(long)))
            .and_then(|table| table.build())
            .unwrap();
        assert_eq!(read(&table, "/etc/ca.crt").unwrap(), "content");
        assert_eq!(read(&table, "/etc/long").unwrap().len(), FILE_BYTES_MAX);
        assert!(read(&table, "/etc").is_err() && read(&table, "/etc/passwd").is_err());
    }
}
