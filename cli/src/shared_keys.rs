//! The cluster's keys, shared by its servers: sealed in the store that they share.
//!
//! The first server makes authority, keys of service accounts and encryption, and puts them into the store, sealed by the
//! cluster key, which is a file of its own and never in the store. The others need a copy of that file and find the rest.
//! An edge: it draws the cluster key and the nonce.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use coracle_apiserver::pki::Pki;
use coracle_store::{CommitError, Guard, Store, Write};

use crate::config::DataDir;

/// Where the sealed keys are in the store. No object has this key.
const PLACE: &[u8] = b"/coracle/keys";
/// What is sealed is bound to this.
const PURPOSE: &[u8] = b"coracle cluster keys 1";
/// Bytes of the cluster key.
const KEY_BYTES: usize = 32;
/// The file of the cluster key, among the other keys.
const KEY_FILE: &str = "cluster.key";

/// The files that servers share: everything that is in the folder of keys, by name.
type Files = BTreeMap<String, String>;

/// Sees to it that the folder of keys has what the cluster's servers share.
///
/// # Errors
/// When the cluster has keys and this server no cluster key for them, or other keys of its own.
pub(crate) async fn settle(
    data: &DataDir,
    store: &Store,
    key_file: Option<&Path>,
    now: jiff::Timestamp,
) -> anyhow::Result<()> {
    let path = key_file.map_or_else(|| data.pki().join(KEY_FILE), Path::to_path_buf);
    if let Some(sealed) = store.get(PLACE).await?.map(|kv| kv.value) {
        return take_over(data, &path, &sealed);
    }
    let had = data.pki().join("ca.crt").exists();
    make(data, now)?;
    let key = match read_key(&path)? {
        Some(key) => key,
        None => make_key(data, &path)?,
    };
    let sealed = seal(&key, &gather(&data.pki())?)?;
    let put = Write::put(Bytes::from_static(PLACE), Bytes::from(sealed), Guard::Absent);
    match store.commit(vec![put]).await {
        Ok(_) => {
            tracing::info!(
                cluster_key = %path.display(),
                "other servers of this cluster need a copy of the cluster key: --cluster-key-file"
            );
            Ok(())
        }
        Err(CommitError::Conflict { current: Some(first), .. }) if !had => {
            // Another server was first: its keys are the cluster's, and those just made are nobody's.
            fs::remove_dir_all(data.pki()).context("remove the keys that were just made")?;
            take_over(data, &path, &first.value)
        }
        Err(error) => Err(error).context("put the cluster's keys into the store"),
    }
}

/// Makes what is not there.
fn make(data: &DataDir, now: jiff::Timestamp) -> anyhow::Result<()> {
    Pki::open(&data.pki(), now)?;
    Pki::service_account_keys(&data.pki())?;
    Pki::encryption_config(&data.pki())?;
    Pki::open(&data.pki().join("front-proxy"), now)?;
    Ok(())
}

fn take_over(data: &DataDir, path: &Path, sealed: &[u8]) -> anyhow::Result<()> {
    let Some(key) = read_key(path)? else {
        bail!(
            "the cluster in this etcd has keys, and {} is missing: copy it from another server, or give \
             --cluster-key-file",
            path.display()
        );
    };
    let files = open(&key, sealed).with_context(|| {
        format!("{} is not the cluster key of the cluster in this etcd", path.display())
    })?;
    for (name, content) in &files {
        let target = place(&data.pki(), name)?;
        match fs::read_to_string(&target) {
            Ok(there) => ensure!(
                // The certificate may have been made anew, for the same key.
                there == *content || name != "ca.key",
                "{} belongs to another cluster than this etcd: give an empty --data-dir",
                target.display()
            ),
            Err(_) => data.write_private(&target, content.as_bytes())?,
        }
    }
    Ok(())
}

/// The files of a folder and of folders in it, but for the cluster key.
fn gather(folder: &Path) -> anyhow::Result<Files> {
    let mut files = Files::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        let entries = fs::read_dir(&next).with_context(|| format!("read {}", next.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
            if name != KEY_FILE {
                let text = fs::read_to_string(&path);
                files.insert(name, text.with_context(|| format!("read {}", path.display()))?);
            }
        }
    }
    Ok(files)
}

/// A file of the folder; names that lead out of it are refused, although only who has the cluster key can give them.
fn place(folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let inside = Path::new(name)
        .components()
        .all(|component| matches!(component, std::path::Component::Normal(_)));
    ensure!(inside && !name.is_empty(), "'{name}' is no name of a key");
    Ok(folder.join(name))
}

fn read_key(path: &Path) -> anyhow::Result<Option<[u8; KEY_BYTES]>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    };
    let bytes = STANDARD.decode(text.trim()).ok().and_then(|bytes| bytes.try_into().ok());
    let bytes = bytes.with_context(|| format!("{} is no cluster key", path.display()))?;
    Ok(Some(bytes))
}

fn make_key(data: &DataDir, path: &Path) -> anyhow::Result<[u8; KEY_BYTES]> {
    let mut key = [0; KEY_BYTES];
    aws_lc_rs::rand::fill(&mut key).context("draw the cluster key")?;
    data.write_private(path, format!("{}\n", STANDARD.encode(key)).as_bytes())?;
    Ok(key)
}

fn seal(key: &[u8; KEY_BYTES], files: &Files) -> anyhow::Result<String> {
    let mut bytes = serde_json::to_vec(files)?;
    let key = RandomizedNonceKey::new(&AES_256_GCM, key).context("use the cluster key")?;
    let nonce = key.seal_in_place_append_tag(Aad::from(PURPOSE), &mut bytes);
    let nonce = nonce.context("seal the cluster's keys")?;
    Ok(format!("{}.{}", STANDARD.encode(nonce.as_ref()), STANDARD.encode(bytes)))
}

fn open(key: &[u8; KEY_BYTES], sealed: &[u8]) -> anyhow::Result<Files> {
    let text = std::str::from_utf8(sealed)?;
    let (nonce, bytes) = text.split_once('.').context("find the nonce")?;
    let nonce = STANDARD.decode(nonce)?;
    let nonce = Nonce::try_assume_unique_for_key(&nonce).context("read the nonce")?;
    let mut bytes = STANDARD.decode(bytes)?;
    let key = RandomizedNonceKey::new(&AES_256_GCM, key).context("use the cluster key")?;
    let plain = key.open_in_place(nonce, Aad::from(PURPOSE), &mut bytes).context("open them")?;
    Ok(serde_json::from_slice(plain)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(folder: &tempfile::TempDir, name: &str) -> DataDir {
        DataDir::open(Some(&folder.path().join(name))).unwrap()
    }

    const NOW: jiff::Timestamp = jiff::Timestamp::constant(1_767_225_600, 0);

    #[tokio::test]
    async fn the_second_server_takes_the_keys_of_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::memory();
        let (first, second) = (data(&folder, "a"), data(&folder, "b"));
        settle(&first, &store, None, NOW).await.unwrap();
        let sealed = store.get(PLACE).await.unwrap().unwrap().value;
        assert!(!String::from_utf8_lossy(&sealed).contains("PRIVATE"));
        let error = settle(&second, &store, None, NOW).await.unwrap_err();
        assert!(error.to_string().contains("cluster.key is missing"), "{error}");
        let key = first.pki().join(KEY_FILE);
        settle(&second, &store, Some(&key), NOW).await.unwrap();
        assert_eq!(gather(&first.pki()).unwrap(), gather(&second.pki()).unwrap());
        assert!(gather(&first.pki()).unwrap().contains_key("front-proxy/ca.key"));
        // Again, with everything there.
        settle(&first, &store, None, NOW).await.unwrap();
        settle(&second, &store, Some(&key), NOW).await.unwrap();
    }

    #[tokio::test]
    async fn a_server_of_another_cluster_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (Store::memory(), Store::memory());
        let (first, second) = (data(&folder, "a"), data(&folder, "b"));
        settle(&first, &one, None, NOW).await.unwrap();
        settle(&second, &other, None, NOW).await.unwrap();
        let error = settle(&second, &one, None, NOW).await.unwrap_err();
        assert!(error.to_string().contains("not the cluster key"), "{error}");
        let key = first.pki().join(KEY_FILE);
        let error = settle(&second, &one, Some(&key), NOW).await.unwrap_err();
        assert!(error.to_string().contains("another cluster"), "{error}");
        assert!(place(Path::new("/pki"), "../x").is_err() && place(Path::new("/p"), "").is_err());
    }
}
