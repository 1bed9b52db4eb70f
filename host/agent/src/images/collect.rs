//! Removes images that nobody uses. Blocking calls.
//!
//! *Source:* kubelet's image garbage collection: from the high threshold of disk use down to the low
//! one, those first that were used the longest ago.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, SystemTime};

use super::LocalImage;
use super::store::ImageStore;

/// Age from which a download that nobody has finished counts as left behind.
const DOWNLOAD_AGE_MAX: Duration = Duration::from_secs(3600);

/// An image that could go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unused {
    /// Digest of its manifest.
    pub digest: String,
    /// Milliseconds since somebody used it.
    pub idle_millis: i64,
    /// Bytes of all its blobs.
    pub size_bytes: u64,
}

/// Chooses what goes so that `wanted_bytes` come free: the longest idle first. Pure.
#[must_use]
pub fn choose(mut images: Vec<Unused>, wanted_bytes: u64, min_idle_millis: i64) -> Vec<Unused> {
    images.retain(|image| image.idle_millis >= min_idle_millis);
    images.sort_by(|a, b| (b.idle_millis, &a.digest).cmp(&(a.idle_millis, &b.digest)));
    let mut freed = 0_u64;
    let enough = |image: &Unused| {
        let more = freed < wanted_bytes;
        freed = freed.saturating_add(image.size_bytes);
        more
    };
    images.into_iter().take_while(enough).collect()
}

impl ImageStore {
    /// Forgets images by the digests of their manifests, and removes what only they needed; gives
    /// the bytes that came free. `fresh`: younger files stay, a pull may be about to need them.
    pub fn forget(&self, digests: &BTreeSet<String>, fresh: Duration) -> u64 {
        let records = self.records();
        let (gone, kept): (BTreeMap<_, _>, BTreeMap<_, _>) =
            records.into_iter().partition(|(_, image)| digests.contains(&image.manifest_digest));
        self.drop_references(digests);
        let mut freed = 0;
        for (record, image) in gone {
            let _ = fs::remove_file(&record);
            if let Some(rootfs) = image.rootfs {
                freed += crate::eviction::measure::bytes_below(&rootfs);
                let _ = fs::remove_dir_all(rootfs);
            }
        }
        let needed: BTreeSet<_> =
            kept.values().map(|image: &LocalImage| image.wasm.clone()).collect();
        for entry in fs::read_dir(self.blobs()).into_iter().flatten().flatten() {
            let (path, Ok(meta)) = (entry.path(), entry.metadata()) else { continue };
            let name = entry.file_name();
            let download = name.to_string_lossy().starts_with("download-");
            let least = if download { DOWNLOAD_AGE_MAX } else { fresh };
            if !needed.contains(&path) && age(&meta) >= least && fs::remove_file(path).is_ok() {
                freed += meta.len();
            }
        }
        freed
    }
}

#[expect(clippy::disallowed_methods, reason = "compares with the times of the file system")]
fn age(meta: &fs::Metadata) -> Duration {
    let written = meta.modified().ok();
    written.and_then(|at| SystemTime::now().duration_since(at).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images::Reference;

    #[test]
    fn the_longest_idle_go_until_enough_is_free() {
        let image = |digest: &str, idle_millis, size_bytes| Unused {
            digest: digest.into(),
            idle_millis,
            size_bytes,
        };
        let all = || {
            vec![image("a", 500, 10), image("b", 900, 10), image("c", 50, 10), image("d", 700, 10)]
        };
        let chosen = |wanted| {
            choose(all(), wanted, 100).into_iter().map(|image| image.digest).collect::<String>()
        };
        assert_eq!(chosen(0), "");
        assert_eq!(chosen(1), "b");
        assert_eq!(chosen(11), "bd");
        assert_eq!(chosen(1000), "bda");
    }

    #[test]
    fn what_an_image_needed_goes_with_it_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let store = ImageStore::open(dir.path().to_owned()).unwrap();
        let mut kept = Vec::new();
        for name in ["one", "two"] {
            let reference = Reference::parse(&format!("reg.example/{name}:1")).unwrap();
            let wasm = store.blob(&format!("sha256:{name}"));
            fs::write(&wasm, name).unwrap();
            let digest = format!("sha256:m{name}");
            let image = LocalImage {
                image_id: reference.image_id(&digest),
                manifest_digest: digest.clone(),
                wasm: wasm.clone(),
                wasm_digest: digest.clone(),
                rootfs: None,
                entrypoint: Vec::new(),
                arguments: Vec::new(),
                env: Vec::new(),
                working_dir: None,
                size_bytes: 3,
            };
            store.keep(&reference, &image).unwrap();
            kept.push((reference, wasm));
        }
        fs::write(store.blob("sha256:layer"), "a layer that was unpacked").unwrap();
        let freed = store.forget(&BTreeSet::from(["sha256:mone".to_owned()]), Duration::ZERO);
        assert_eq!(freed, 3 + 25);
        assert!(store.find(&kept[0].0).is_none() && !kept[0].1.exists());
        assert!(store.find(&kept[1].0).is_some() && kept[1].1.exists());
        let again = ImageStore::open(dir.path().to_owned()).unwrap();
        assert_eq!(again.list().len(), 1);
        let fresh =
            store.forget(&BTreeSet::from(["sha256:mtwo".to_owned()]), Duration::from_secs(60));
        assert_eq!((fresh, kept[1].1.exists()), (0, true));
    }
}
