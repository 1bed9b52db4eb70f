//! The folder of compiled code: who may write there, what its files are called, how large it gets.
//!
//! An edge: it works on files.

use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Bytes of compiled code that are kept; beyond it the files that were made first go.
const CACHE_BYTES_MAX: u64 = 10 << 30;

/// The folder for one engine's compiled code.
pub(crate) struct Cache {
    dir: PathBuf,
    compatibility: String,
}

/// The folder for compiled code cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The folder cannot be made or looked at.
    #[error("use folder {path}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Somebody else owns the folder.
    #[error("folder {path} belongs to user {owner}: compiled code must be this user's own")]
    Owner {
        /// The folder.
        path: PathBuf,
        /// The user id of its owner.
        owner: u32,
    },
}

impl Cache {
    /// Opens the folder, making it when it is missing; takes away everybody else's access.
    ///
    /// # Errors
    /// See [`CacheError`].
    pub(crate) fn open(dir: &Path, compatibility: &str) -> Result<Self, CacheError> {
        let failed = |source| CacheError::Folder { path: dir.to_owned(), source };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
        let facts = std::fs::metadata(dir).map_err(failed)?;
        let user = rustix::process::geteuid().as_raw();
        if facts.uid() != user {
            return Err(CacheError::Owner { path: dir.to_owned(), owner: facts.uid() });
        }
        if facts.permissions().mode() & 0o077 != 0 {
            let owner_only = std::fs::Permissions::from_mode(0o700);
            std::fs::set_permissions(dir, owner_only).map_err(failed)?;
        }
        let dir = dir.canonicalize().map_err(failed)?;
        clear_leftovers(&dir);
        Ok(Self { dir, compatibility: compatibility.to_owned() })
    }

    /// No folder: nothing is found in it.
    pub(crate) fn none() -> Self {
        Self { dir: PathBuf::new(), compatibility: String::new() }
    }

    /// The folder.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the code for a key lies, if it was made.
    pub(crate) fn path(&self, key: &str) -> PathBuf {
        self.dir.join(format!("{key}-{}.{EXTENSION}", self.compatibility))
    }

    /// Removes the oldest code while there is too much, but never `newest`. Code that is mapped
    /// stays usable. Failures only leave files behind.
    pub(crate) fn trim(&self, newest: &Path) {
        let mut files = self.files();
        let mut bytes: u64 = files.iter().map(|file| file.bytes).sum();
        files.sort_by_key(|file| file.made);
        for file in files {
            if bytes <= CACHE_BYTES_MAX {
                return;
            }
            if file.path != newest && std::fs::remove_file(&file.path).is_ok() {
                bytes = bytes.saturating_sub(file.bytes);
            }
        }
    }

    fn files(&self) -> Vec<CodeFile> {
        let Ok(entries) = std::fs::read_dir(&self.dir) else { return Vec::new() };
        let code = |path: &Path| path.extension().is_some_and(|extension| extension == EXTENSION);
        entries
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                let facts = path.metadata().ok().filter(|_| code(&path))?;
                Some(CodeFile { path, bytes: facts.len(), made: facts.modified().ok()? })
            })
            .collect()
    }
}

/// Removes what compilations left behind that were cut off with their host. Failures only leave
/// files behind.
fn clear_leftovers(dir: &Path) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.filter_map(Result::ok) {
        let is_folder = entry.file_name().to_string_lossy().starts_with(COMPILE_FOLDER);
        let made = entry.metadata().and_then(|facts| facts.modified());
        let age = made.ok().and_then(|made| made.elapsed().ok()).unwrap_or_default();
        if is_folder && age > LEFTOVER_AGE_MIN {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// How the names of the folders begin that a compilation works in.
pub(super) const COMPILE_FOLDER: &str = "compile-";

/// Age at which a compilation's folder cannot be in use any more.
const LEFTOVER_AGE_MIN: Duration = Duration::from_secs(3600);

/// How the names of compiled code end.
const EXTENSION: &str = "cwasm";

struct CodeFile {
    path: PathBuf,
    bytes: u64,
    made: SystemTime,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_the_owners_alone() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("a/code");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).unwrap();
        let cache = Cache::open(&dir, "c").unwrap();
        let mode = std::fs::metadata(cache.dir()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert!(cache.path("k").ends_with("k-c.cwasm"));
    }
}
