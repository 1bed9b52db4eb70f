//! Reads the manifest folder again and again, and tells the loop when it says something else.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;

use super::full_name;
use super::parse::static_pod;
use crate::clock::now;
use crate::effects::{Message, Shared};
use crate::node::events;

/// Time between two looks; a look at an unchanged folder is a few system calls.
const LOOK: Duration = Duration::from_secs(1);
/// Most bytes of a manifest: what the API server takes for an object in its store.
const MANIFEST_BYTES_MAX: u64 = 1 << 20;
/// Most manifests of a folder: more than anybody writes by hand.
const MANIFESTS_MAX: usize = 256;

/// By which a change of a file is seen.
type Stamp = (Option<std::time::SystemTime>, u64);

/// One file: how it was when it was read, and the last pod that it made.
struct Known {
    stamp: Stamp,
    pod: Option<Pod>,
}

/// Follows the folder until the agent ends.
pub(crate) async fn follow(shared: Arc<Shared>, folder: PathBuf) {
    let mut known = BTreeMap::new();
    let mut first = true;
    loop {
        let (shared_too, place) = (shared.clone(), folder.clone());
        let look = tokio::task::spawn_blocking(move || {
            let changed = look(&shared_too, &place, &mut known);
            (known, changed)
        });
        let Ok((after, changed)) = look.await else { return };
        known = after;
        if changed || first {
            let pods = pods(&shared, &known);
            let _ = shared.news.send(Message::Manifests(pods));
            first = false;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Brings `known` up to date; gives true when a pod may be another one.
fn look(shared: &Shared, folder: &Path, known: &mut BTreeMap<PathBuf, Known>) -> bool {
    let files = match list(folder) {
        Ok(files) => files,
        Err(error) => {
            // What cannot be read now is not gone.
            tracing::warn!(?folder, %error, "cannot read the manifest folder");
            return false;
        }
    };
    let before = known.len();
    known.retain(|path, _| files.contains_key(path));
    let mut changed = known.len() != before;
    for (path, stamp) in files {
        if known.get(&path).is_some_and(|known| known.stamp == stamp) {
            continue;
        }
        let old = known.remove(&path).and_then(|known| known.pod);
        let pod = match read(&path, stamp.1, &shared.config.node_name) {
            Ok(pod) => Some(pod),
            Err(message) => {
                events::bad_manifest(shared, &path, &message);
                old
            }
        };
        known.insert(path, Known { stamp, pod });
        changed = true;
    }
    changed
}

/// The files that count, with their stamps; a folder that is not there has none.
fn list(folder: &Path) -> io::Result<BTreeMap<PathBuf, Stamp>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        entries => entries?,
    };
    let mut files = BTreeMap::new();
    for entry in entries {
        let entry = entry?;
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        let Ok(meta) = std::fs::metadata(entry.path()) else { continue };
        if !hidden && meta.is_file() && files.len() < MANIFESTS_MAX {
            files.insert(entry.path(), (meta.modified().ok(), meta.len()));
        }
    }
    Ok(files)
}

fn read(path: &Path, bytes: u64, node: &str) -> Result<Pod, String> {
    if bytes > MANIFEST_BYTES_MAX {
        return Err(format!("has {bytes} bytes; must have at most {MANIFEST_BYTES_MAX}"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    static_pod(&name, &text, node, now()).map_err(|fault| fault.to_string())
}

/// All pods; of two with one name the first file's.
fn pods(shared: &Shared, known: &BTreeMap<PathBuf, Known>) -> Vec<Pod> {
    let mut pods = BTreeMap::new();
    for (path, known) in known {
        let Some(pod) = &known.pod else { continue };
        match pods.entry(full_name(pod)) {
            Entry::Occupied(_) => {
                events::bad_manifest(shared, path, "names the pod of another file");
            }
            Entry::Vacant(place) => {
                place.insert(pod.clone());
            }
        }
    }
    pods.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_files_within_the_limit_count() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| std::fs::write(folder.path().join(name), "x").unwrap();
        file("a.yaml");
        file(".hidden");
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        let names = || {
            let files = list(folder.path()).unwrap();
            files.keys().map(|path| path.file_name().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(), ["a.yaml"]);
        (0..=MANIFESTS_MAX).for_each(|number| file(&format!("n{number}")));
        assert_eq!(names().len(), MANIFESTS_MAX);
        assert!(list(&folder.path().join("none")).unwrap().is_empty());
        let large = read(&folder.path().join("a.yaml"), MANIFEST_BYTES_MAX + 1, "h1");
        assert!(large.unwrap_err().contains("must have at most 1048576"));
    }
}
