//! The data directory: where each kind of state lies, and who holds it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::process::Pid;
use sha2::{Digest as _, Sha256};

/// What can go wrong with the data directory.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataDirError {
    /// A file or folder could not be made or read.
    #[error("{action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// No place for state: neither root nor a home.
    #[error("no data directory: set --data-dir, XDG_DATA_HOME or HOME")]
    NoPlace,
    /// Another process of the same kind runs on this directory.
    #[error("another {role} (pid {pid}) runs on {path}: stop it, or give another --data-dir")]
    Held {
        /// Which kind of process.
        role: &'static str,
        /// Its process id.
        pid: i32,
        /// The directory.
        path: String,
    },
}

/// A data directory that exists and belongs to us alone (mode 0700).
#[derive(Debug, Clone)]
pub(crate) struct DataDir {
    root: PathBuf,
}

/// How often it is looked again at a lock that is between two states.
const LOCK_LOOKS_MAX: usize = 10_000;

/// The pause between two such looks.
const LOCK_PAUSE: std::time::Duration = std::time::Duration::from_millis(1);

/// A lock that is held until it is dropped or its process ends; its file holds the process id.
#[derive(Debug)]
pub(crate) struct Held {
    file: File,
}

impl Drop for Held {
    /// A child that is just being started has the file, too, and with it the lock, unless it is given up here.
    fn drop(&mut self) {
        let _ended = flock(&self.file, FlockOperation::Unlock);
    }
}

impl DataDir {
    /// The directory given, or the default of `design.md` §3, made if it is not there.
    pub(crate) fn open(given: Option<&Path>) -> Result<Self, DataDirError> {
        let root = match given {
            Some(path) => path.to_path_buf(),
            None => default_place().ok_or(DataDirError::NoPlace)?,
        };
        make_private(&root)?;
        let root = root.canonicalize().map_err(|source| failed("open", &root, source))?;
        Ok(Self { root })
    }

    /// The directory itself.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The store's file.
    pub(crate) fn store(&self) -> PathBuf {
        self.root.join("store.redb")
    }

    /// Keys and certificates.
    pub(crate) fn pki(&self) -> PathBuf {
        self.root.join("pki")
    }

    /// The audit log, where nothing else is said.
    pub(crate) fn audit_log(&self) -> PathBuf {
        self.root.join("audit.log")
    }

    /// Blobs and manifests of the built-in registry.
    pub(crate) fn registry(&self) -> PathBuf {
        self.root.join("registry")
    }

    /// The administrator's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.root.join("kubeconfig")
    }

    /// The kubeconfig of the host beside the server.
    pub(crate) fn host_kubeconfig(&self) -> PathBuf {
        self.host().join("kubeconfig")
    }

    /// State of the host.
    pub(crate) fn host(&self) -> PathBuf {
        self.root.join("host")
    }

    /// The socket by which the server reaches the node agent.
    pub(crate) fn agent_socket(&self) -> PathBuf {
        self.host().join("agent.sock")
    }

    /// A folder in memory for Secrets, of this data directory alone.
    pub(crate) fn memory(&self) -> PathBuf {
        let hash = Sha256::digest(self.root.as_os_str().as_encoded_bytes());
        let name: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Path::new("/dev/shm").join(format!("coracle-{name}"))
    }

    /// The key that seals Secrets in the host's checkpoint: outside of the data directory, so that a
    /// copy of that does not give them away.
    pub(crate) fn seal_key(&self) -> Option<PathBuf> {
        let named = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let folder = named("XDG_CONFIG_HOME").map(|base| base.join("coracle")).or_else(|| {
            if rustix::process::geteuid().is_root() {
                return Some(PathBuf::from("/etc/coracle"));
            }
            named("HOME").map(|home| home.join(".config/coracle"))
        })?;
        make_private(&folder).ok()?;
        Some(folder.join("host.key"))
    }

    /// Where the supervisor and its host log.
    pub(crate) fn host_log(&self) -> PathBuf {
        self.host().join("host.log")
    }

    /// What `up` applied, so that `down` can delete it.
    pub(crate) fn applied(&self) -> PathBuf {
        self.root.join("applied.json")
    }

    /// Writes a file that only its owner may read, whole or not at all.
    pub(crate) fn write_private(&self, path: &Path, content: &[u8]) -> Result<(), DataDirError> {
        if let Some(parent) = path.parent() {
            make_private(parent)?;
        }
        let fresh = path.with_extension("new");
        let written = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)
            .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&fresh, path));
        written.map_err(|source| failed("write", path, source))
    }

    /// Takes the lock of a role (`server`, `supervisor`, `host`) for this process.
    pub(crate) fn hold(&self, role: &'static str) -> Result<Held, DataDirError> {
        let path = self.lock_path(role);
        let mut file = open_lock(&path).map_err(|source| failed("open", &path, source))?;
        if !take(&file) {
            let pid = read_pid(&mut file).unwrap_or(0);
            return Err(DataDirError::Held { role, pid, path: self.root.display().to_string() });
        }
        let pid = std::process::id().to_string();
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(pid.as_bytes()));
        written.map_err(|source| failed("write", &path, source))?;
        Ok(Held { file })
    }

    /// The process that holds a role's lock now, if there is one.
    pub(crate) fn holder(&self, role: &'static str) -> Option<Pid> {
        let mut file = OpenOptions::new().read(true).open(self.lock_path(role)).ok()?;
        for _ in 0..LOCK_LOOKS_MAX {
            if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
                return None;
            }
            // Who has just taken it is about to say who it is.
            if let Some(pid) = read_pid(&mut file) {
                return Pid::from_raw(pid);
            }
            pause();
        }
        None
    }

    fn lock_path(&self, role: &str) -> PathBuf {
        self.root.join(format!("{role}.lock"))
    }
}

/// The name of this machine's node: the one given, else the host name in lower case, as a node's
/// name has to be.
pub(crate) fn node_name(given: Option<&str>) -> String {
    let machine = || rustix::system::uname().nodename().to_string_lossy().to_lowercase();
    given.map_or_else(machine, str::to_owned)
}

fn default_place() -> Option<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Some(PathBuf::from("/var/lib/coracle"));
    }
    let named = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    named("XDG_DATA_HOME")
        .or_else(|| named("HOME").map(|home| home.join(".local/share")))
        .map(|base| base.join("coracle"))
}

fn make_private(path: &Path) -> Result<(), DataDirError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o700)))
        .map_err(|source| failed("make", path, source))
}

/// Takes a lock unless somebody holds it. Whoever only looks whether it is held has it for a moment, shared: that is
/// waited for.
fn take(file: &File) -> bool {
    for _ in 0..LOCK_LOOKS_MAX {
        if flock(file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return true;
        }
        if flock(file, FlockOperation::NonBlockingLockShared).is_err() {
            return false;
        }
        let _given_back = flock(file, FlockOperation::Unlock);
        pause();
    }
    false
}

#[expect(
    clippy::disallowed_methods,
    reason = "a millisecond, and only while another process is between two steps"
)]
fn pause() {
    std::thread::sleep(LOCK_PAUSE);
}

fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(path)
}

fn read_pid(file: &mut File) -> Option<i32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> DataDirError {
    DataDirError::Io { action, path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_once_and_names_its_holder() {
        let place = tempfile::tempdir().unwrap();
        let data = DataDir::open(Some(place.path())).unwrap();
        assert_eq!(data.holder("server"), None);
        let held = data.hold("server").unwrap();
        let own = Pid::from_raw(std::process::id().cast_signed());
        assert_eq!(data.holder("server"), own);
        let again = data.hold("server").unwrap_err();
        assert!(
            again.to_string().contains(&format!("another server (pid {})", std::process::id()))
        );
        drop(held);
        assert_eq!(data.holder("server"), None);
    }

    #[test]
    fn who_looks_at_a_lock_is_in_nobodys_way() {
        let place = tempfile::tempdir().unwrap();
        let data = DataDir::open(Some(place.path())).unwrap();
        drop(data.hold("host").unwrap());
        let looking = File::open(data.lock_path("host")).unwrap();
        flock(&looking, FlockOperation::NonBlockingLockShared).unwrap();
        std::thread::scope(|scope| {
            let held = scope.spawn(|| data.hold("host").map(|_| ()));
            flock(&looking, FlockOperation::Unlock).unwrap();
            held.join().unwrap().unwrap();
        });
    }

    #[test]
    fn files_are_private() {
        let place = tempfile::tempdir().unwrap();
        let data = DataDir::open(Some(&place.path().join("a/b"))).unwrap();
        let path = data.host_kubeconfig();
        data.write_private(&path, b"x").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(data.host()).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
