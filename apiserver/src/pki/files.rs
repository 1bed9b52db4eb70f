//! The authority's files: written whole or not at all, the key readable by its owner alone.

use super::PkiError;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

const CERTIFICATE: &str = "ca.crt";
const KEY: &str = "ca.key";

/// Only the owner may read.
const SECRET_MODE: u32 = 0o600;
/// Everyone may read.
const PUBLIC_MODE: u32 = 0o644;
/// Only the owner may enter.
const FOLDER_MODE: u32 = 0o700;

/// A file's text; `None` when it is not there.
pub(super) fn read(path: &Path) -> Result<Option<String>, PkiError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(PkiError::File { verb: "read", path: path.to_owned(), source }),
    }
}

/// The authority's certificate and key; `None` when there is no certificate, whatever became of the key.
pub(super) fn read_authority(folder: &Path) -> Result<Option<(String, String)>, PkiError> {
    let Some(certificate) = read(&folder.join(CERTIFICATE))? else { return Ok(None) };
    let path = folder.join(KEY);
    match read(&path)? {
        Some(key) => Ok(Some((certificate, key))),
        None => Err(PkiError::KeyMissing { path }),
    }
}

/// Writes the key, then the certificate: a crash in between leaves no authority, and the next start makes one.
pub(super) fn write_authority(folder: &Path, certificate: &str, key: &str) -> Result<(), PkiError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| PkiError::File { verb: "write", path, source }
    };
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder).map_err(failed(folder))?;
    for (name, text, mode) in [(KEY, key, SECRET_MODE), (CERTIFICATE, certificate, PUBLIC_MODE)] {
        let path = folder.join(name);
        write(&path, text, mode).map_err(failed(&path))?;
    }
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder))
}

/// Writes a file that its owner alone may read, whole or not at all.
pub(super) fn write_secret(path: &Path, text: &str) -> Result<(), PkiError> {
    write(path, text, SECRET_MODE).map_err(|source| PkiError::File {
        verb: "write",
        path: path.to_owned(),
        source,
    })
}

fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let whole = path.with_extension("new");
    // A left-over of a crash may have another mode.
    match fs::remove_file(&whole) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&whole)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&whole, path)
}
