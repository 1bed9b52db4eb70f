//! Drivers of volumes that outlive pods: what a host asks of one, and the one that is built in.
//!
//! A driver keeps the content of volumes by their handles. Which claim has which volume, and when a
//! volume goes, is decided elsewhere (`controllers/volumebinding`, [`super::claims`]). Blocking calls.
//!
//! *Source:* the Container Storage Interface, whose calls on a node these are: each can be made again
//! at any time with the same outcome.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::claims::DRIVER;
use super::payload::PERSISTENT;

/// Most bytes of a handle: it is the name of a folder.
const HANDLE_BYTES_MAX: usize = 253;

/// Keeps volumes on this host. Handles come from objects that users can write: a driver checks them.
pub trait VolumePlugin: Send + Sync + 'static {
    /// The driver's name, as `spec.csi.driver` of a PersistentVolume has it.
    fn driver(&self) -> &str;

    /// Makes a volume be there and gives its folder; it is empty the first time, and has what it had
    /// every other time.
    ///
    /// *Source:* CSI, `NodePublishVolume`.
    ///
    /// # Errors
    /// See [`PluginError`].
    fn publish(&self, handle: &str) -> Result<PathBuf, PluginError>;

    /// Removes a volume with all that it holds. One that is not there was removed before.
    ///
    /// *Source:* CSI, `DeleteVolume`.
    ///
    /// # Errors
    /// See [`PluginError`]; the volume may be gone in part, and is removed by another call.
    fn delete(&self, handle: &str) -> Result<(), PluginError>;
}

/// A driver could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PluginError {
    /// No volume can have this handle. No retry helps.
    #[error(
        "volume handle '{handle}' must have 1 to 253 letters, digits, '-', '_' and '.', and not begin with '.'"
    )]
    Handle {
        /// The handle.
        handle: String,
    },
    /// The disk says no. Worth a retry.
    #[error("{what} volume folder {path}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// The built-in driver: each volume is a folder of this host's data directory.
#[derive(Debug)]
pub struct LocalDriver {
    data_dir: PathBuf,
}

impl LocalDriver {
    /// Keeps volumes in the agent's data directory.
    #[must_use]
    pub fn new(data_dir: PathBuf) -> Self {
        Self { data_dir }
    }

    fn checked(&self, handle: &str) -> Result<PathBuf, PluginError> {
        if !is_handle(handle) {
            return Err(PluginError::Handle { handle: handle.to_owned() });
        }
        Ok(local_place(&self.data_dir, handle))
    }
}

/// Gives the folder of a volume of the built-in driver. Pure.
pub(crate) fn local_place(data_dir: &Path, handle: &str) -> PathBuf {
    data_dir.join(PERSISTENT).join(handle)
}

/// One name of a folder, never a path.
pub(crate) fn is_handle(handle: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.';
    !handle.is_empty()
        && handle.len() <= HANDLE_BYTES_MAX
        && !handle.starts_with('.')
        && handle.chars().all(plain)
}

impl VolumePlugin for LocalDriver {
    fn driver(&self) -> &str {
        DRIVER
    }

    fn publish(&self, handle: &str) -> Result<PathBuf, PluginError> {
        let path = self.checked(handle)?;
        let io = |source| PluginError::Io { what: "make", path: path.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(io)?;
        // A link is no folder of a volume, wherever it leads.
        let facts = std::fs::symlink_metadata(&path).map_err(io)?;
        if !facts.is_dir() {
            return Err(io(io::ErrorKind::NotADirectory.into()));
        }
        Ok(path)
    }

    fn delete(&self, handle: &str) -> Result<(), PluginError> {
        let path = self.checked(handle)?;
        match coracle_runtime::mounts::remove_tree(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(PluginError::Io { what: "remove", path, source: error })
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    /// What every driver must do: the node's part of CSI's own suite for drivers, csi-sanity.
    fn is_sane(plugin: &dyn VolumePlugin) {
        has_a_name(plugin);
        a_volume_keeps_its_content(plugin);
        volumes_are_apart(plugin);
        what_is_removed_is_gone(plugin);
        handles_are_names(plugin);
        calls_at_once_are_calls_in_turn(plugin);
    }

    /// *Source:* CSI, `GetPluginInfo`: at most 63 characters, in the form of a domain name.
    fn has_a_name(plugin: &dyn VolumePlugin) {
        let name = plugin.driver();
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        assert!(!name.is_empty() && name.len() <= 63 && name.chars().all(is_plain), "{name}");
        assert!(name.starts_with(char::is_alphanumeric) && name.ends_with(char::is_alphanumeric));
    }

    fn a_volume_keeps_its_content(plugin: &dyn VolumePlugin) {
        let folder = plugin.publish("keeps").unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "empty at first");
        let mode = fs::metadata(&folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "nobody else's");
        fs::write(folder.join("file"), "content").unwrap();
        assert_eq!(plugin.publish("keeps").unwrap(), folder, "where it was");
        assert_eq!(fs::read_to_string(folder.join("file")).unwrap(), "content");
        plugin.delete("keeps").unwrap();
    }

    fn volumes_are_apart(plugin: &dyn VolumePlugin) {
        let (one, other) = (plugin.publish("one").unwrap(), plugin.publish("one-more").unwrap());
        assert!(!one.starts_with(&other) && !other.starts_with(&one));
        fs::write(one.join("file"), "").unwrap();
        plugin.delete("one").unwrap();
        assert!(other.is_dir() && !one.exists());
        plugin.delete("one-more").unwrap();
    }

    fn what_is_removed_is_gone(plugin: &dyn VolumePlugin) {
        plugin.delete("never-was").unwrap();
        let folder = plugin.publish("goes").unwrap();
        let deep = folder.join("a/b/c");
        fs::create_dir_all(&deep).unwrap();
        let outside = tempfile::NamedTempFile::new().unwrap();
        std::os::unix::fs::symlink(outside.path(), deep.join("link")).unwrap();
        plugin.delete("goes").unwrap();
        plugin.delete("goes").unwrap();
        assert!(!folder.exists() && outside.path().exists(), "links are not followed");
        assert_eq!(fs::read_dir(plugin.publish("goes").unwrap()).unwrap().count(), 0, "anew");
        plugin.delete("goes").unwrap();
    }

    fn handles_are_names(plugin: &dyn VolumePlugin) {
        let longest = "x".repeat(HANDLE_BYTES_MAX);
        plugin.publish(&longest).unwrap();
        plugin.delete(&longest).unwrap();
        let too_long = format!("{longest}x");
        for handle in ["", ".", "..", "../x", "a/b", "/etc", ".hidden", "a\0b", "ä", &too_long] {
            for done in [plugin.publish(handle).map(drop), plugin.delete(handle)] {
                assert!(matches!(done, Err(PluginError::Handle { .. })), "'{handle}': {done:?}");
            }
        }
    }

    fn calls_at_once_are_calls_in_turn(plugin: &dyn VolumePlugin) {
        std::thread::scope(|scope| {
            for number in 0..8 {
                scope.spawn(move || {
                    let own = format!("own-{number}");
                    for _ in 0..20 {
                        plugin.publish("shared").unwrap();
                        fs::write(plugin.publish(&own).unwrap().join("file"), &own).unwrap();
                        plugin.delete(&own).unwrap();
                    }
                });
            }
        });
        assert!(plugin.publish("shared").unwrap().is_dir());
        plugin.delete("shared").unwrap();
    }

    /// Row `csi.plugin`.
    #[test]
    fn the_built_in_driver_is_sane() {
        let data = tempfile::tempdir().unwrap();
        let driver = LocalDriver::new(data.path().to_owned());
        is_sane(&driver);
        assert_eq!(fs::read_dir(data.path().join(PERSISTENT)).unwrap().count(), 0, "nothing left");
    }

    #[test]
    fn a_link_in_a_folders_place_is_no_volume() {
        let data = tempfile::tempdir().unwrap();
        let driver = LocalDriver::new(data.path().to_owned());
        let place = driver.publish("v").unwrap();
        fs::remove_dir(&place).unwrap();
        std::os::unix::fs::symlink("/etc", &place).unwrap();
        assert!(matches!(driver.publish("v"), Err(PluginError::Io { .. })));
    }
}
