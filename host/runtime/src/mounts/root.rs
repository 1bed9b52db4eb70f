//! The root layer: copy-up over made-up files over the image's files.

use super::path;
use super::quota::Charge;
use super::remove::remove_tree;
use super::table::RootSpec;
use bytes::Bytes;
use parking_lot::Mutex;
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use tempfile::TempDir;

/// Parts of the copy-up layer's directory: what is in the tree, and what is being made.
const UPPER: &str = "files";
const WORK: &str = "work";

/// The number of an error, `EIO` when it has none.
pub(super) fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// What all instances of a container share of `/`. Paths are relative, without links.
#[derive(Default)]
pub(crate) struct Root {
    pub(super) image: Option<PathBuf>,
    pub(super) files: BTreeMap<String, Bytes>,
    pub(super) dirs: BTreeSet<String>,
    scratch: Option<PathBuf>,
    pub(super) quota: Option<Arc<dyn Charge>>,
    layer: OnceLock<TempDir>,
    /// Entries of the lower layers that the guest removed; each hides what lies below it too.
    gone: Mutex<HashSet<String>>,
    /// Held while the tree changes, so that two instances do not copy the same file up at once.
    pub(super) changes: Mutex<()>,
}

impl Root {
    /// A root layer; gives back the path that is not one.
    pub(crate) fn new(spec: RootSpec) -> Result<Root, String> {
        let mut root = Root::default();
        root.image = spec.image;
        root.scratch = spec.scratch;
        root.quota = spec.quota;
        root.dirs.insert("dev".to_owned());
        for dir in spec.dirs {
            let names = path::granted(&dir).ok_or(dir)?;
            root.add_dir(&path::relative(&names));
        }
        for (file, content) in spec.files {
            let names = path::granted(&file).ok_or(file)?;
            let relative = path::relative(&names);
            path::ancestors(&relative).for_each(|dir| root.add_dir(dir));
            root.files.insert(relative, content);
        }
        Ok(root)
    }

    /// Whether nothing can be written.
    pub(super) fn is_read_only(&self) -> bool {
        self.scratch.is_none()
    }

    /// Whether the lower layers' entry at the path was removed.
    pub(super) fn is_gone(&self, relative: &str) -> bool {
        let gone = self.gone.lock();
        !gone.is_empty()
            && (gone.contains(relative) || path::ancestors(relative).any(|dir| gone.contains(dir)))
    }

    /// Hides the lower layers' entry at the path.
    pub(super) fn hide(&self, relative: &str) {
        self.gone.lock().insert(relative.to_owned());
    }

    /// The copy-up layer's directory on the host, once there is one.
    pub(super) fn upper(&self) -> Option<PathBuf> {
        self.layer.get().map(|layer| layer.path().join(UPPER))
    }

    /// Where files are made before they appear in the copy-up layer.
    pub(super) fn work(&self) -> Option<PathBuf> {
        self.layer.get().map(|layer| layer.path().join(WORK))
    }

    /// Makes the copy-up layer when there is none. Called with `changes` held.
    pub(super) fn make_upper(&self) -> Result<(), Errno> {
        if self.layer.get().is_some() {
            return Ok(());
        }
        let scratch = self.scratch.as_ref().ok_or(Errno::ROFS)?;
        let made = tempfile::Builder::new().prefix("root-").tempdir_in(scratch);
        let made = made.map_err(|error| errno(&error))?;
        for part in [UPPER, WORK] {
            std::fs::create_dir(made.path().join(part)).map_err(|error| errno(&error))?;
        }
        self.layer.get_or_init(|| made);
        Ok(())
    }

    /// Removes the copy-up layer from disk, in which a guest may have nested directories deeper than
    /// others can remove. What fails stays for whoever removes the scratch directory.
    fn remove_layer(&mut self) {
        let Some(layer) = self.layer.take() else { return };
        let path = layer.keep();
        if let Err(error) = remove_tree(&path) {
            tracing::warn!(path = %path.display(), %error, "cannot remove a container's files");
        }
    }

    /// Adds a directory that is there even when empty.
    pub(super) fn add_dir(&mut self, relative: &str) {
        self.dirs.extend(path::ancestors(relative).map(str::to_owned));
        self.dirs.insert(relative.to_owned());
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        self.remove_layer();
    }
}
