//! Configuration that may change while the guest runs: the files of a mounted ConfigMap or Secret,
//! by [`Config`]; and whatever the pod gives by `wasi:config`, by [`get`] and [`all`].

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::drafts::wasi::config::store;

/// Gives a value of `wasi:config`: of the volume that the pod names for it, else a variable of the
/// environment. Each call sees the value of the moment.
///
/// ```no_run
/// let title = coracle_sdk::config::get("title")?.unwrap_or_else(|| "untitled".to_owned());
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// When the value can't be read or is no UTF-8.
pub fn get(key: &str) -> io::Result<Option<String>> {
    crate::linked::drafts();
    store::get(key).map_err(failed)
}

/// Gives all values of `wasi:config`.
///
/// # Errors
/// As [`get`], and when they are too many for one call.
pub fn all() -> io::Result<BTreeMap<String, String>> {
    crate::linked::drafts();
    Ok(store::get_all().map_err(failed)?.into_iter().collect())
}

fn failed(error: store::Error) -> io::Error {
    match error {
        store::Error::Upstream(words) | store::Error::Io(words) => io::Error::other(words),
    }
}

/// The values of a folder, one file a key, as they were when they were last read.
///
/// ```no_run
/// use coracle_sdk::config::Config;
///
/// let mut config = Config::read("/etc/app")?;
/// println!("{}", config.get("title").unwrap_or("untitled"));
/// // Between two pieces of work:
/// if config.reread()? {
///     println!("now {:?}", config.get("title"));
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    folder: PathBuf,
    values: BTreeMap<String, String>,
}

impl Config {
    /// Reads a folder. Hidden files are left out: they are the mount's own.
    ///
    /// # Errors
    /// When the folder or a file of it can't be read, or is no UTF-8.
    pub fn read(folder: impl AsRef<Path>) -> io::Result<Self> {
        let folder = folder.as_ref().to_path_buf();
        Ok(Self { values: values(&folder)?, folder })
    }

    /// Gives a value.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// Gives the keys, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// Reads the folder again, and says whether a value is another one. A mount changes as a whole.
    ///
    /// # Errors
    /// As [`Config::read`]; the values stay as they were.
    pub fn reread(&mut self) -> io::Result<bool> {
        let values = values(&self.folder)?;
        Ok(std::mem::replace(&mut self.values, values) != self.values)
    }

    /// Waits until a value is another one, looking every half of a second.
    ///
    /// # Errors
    /// As [`Config::read`].
    #[cfg(feature = "kube")]
    pub async fn changed(&mut self) -> io::Result<()> {
        while !self.reread()? {
            wstd::task::sleep(wstd::time::Duration::from_millis(500)).await;
        }
        Ok(())
    }
}

fn values(folder: &Path) -> io::Result<BTreeMap<String, String>> {
    let mut values = BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.starts_with('.') && path.is_file() {
            values.insert(name, std::fs::read_to_string(&path)?);
        }
    }
    Ok(values)
}
