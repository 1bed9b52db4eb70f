//! Makes a data directory of an archive.

use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, Read, Seek as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, bail};
use coracle_store::Snapshot;
use sha2::{Digest as _, Sha256};
use tar::Archive;

use super::{ABOUT, About, FORMAT, SNAPSHOT};
use crate::config::{DataDir, RestoreFlags};
use crate::out;

/// Where an archive is unpacked before it counts.
const UNPACKED: &str = "restoring";
/// What may be in an archive beside its own entries.
const FOLDERS: [&str; 2] = ["pki", "registry"];
/// Longest description of an archive, in bytes.
const ABOUT_BYTES_MAX: u64 = 64 * 1024;

/// Runs the command.
pub(crate) fn restore(data: &DataDir, flags: &RestoreFlags) -> anyhow::Result<()> {
    let root = data.root();
    if fs::read_dir(root).with_context(|| format!("read {}", root.display()))?.next().is_some() {
        bail!(
            "{} is not empty: a backup is restored into an empty directory; give another --data-dir",
            root.display()
        );
    }
    let unpacked = root.join(UNPACKED);
    let restored = unpack(&flags.file, &unpacked).and_then(|about| settle(&unpacked, data, about));
    if restored.is_err() {
        // What is wrong was said; the directory is as empty as it was.
        let _gone = fs::remove_dir_all(&unpacked);
    }
    let (was, now, about) = restored?;
    out::line(format_args!(
        "restored the backup of {} from revision {was}; the cluster goes on at {now}, and who watched it reads anew",
        about.created
    ));
    if !about.images {
        out::line(format_args!(
            "images of the built-in registry are not in this backup: push them again"
        ));
    }
    out::line(format_args!("start it with `coracle server --data-dir {}`", root.display()));
    Ok(())
}

fn make_folder(path: &Path) -> anyhow::Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("make {}", path.display()))
}

/// Takes an archive apart; gives what it says of itself.
fn unpack(file: &Path, to: &Path) -> anyhow::Result<About> {
    make_folder(to)?;
    let read = || format!("read {}", file.display());
    let archive = File::open(file).with_context(read)?;
    let mut archive = Archive::new(BufReader::new(archive));
    let mut about: Option<About> = None;
    for entry in archive.entries().with_context(read)? {
        let mut entry = entry.with_context(read)?;
        let name = entry.path().with_context(read)?.into_owned();
        if about.is_none() {
            if name != Path::new(ABOUT) {
                bail!("{} is no backup of coracle", file.display());
            }
            about = Some(read_about(&mut entry).with_context(read)?);
            continue;
        }
        let place = place_of(&name).with_context(|| {
            format!("{}: the entry {name:?} is none of a backup", file.display())
        })?;
        let place = to.join(place);
        if let Some(folder) = place.parent() {
            make_folder(folder)?;
        }
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&place);
        let mut made = made.with_context(|| format!("make {}", place.display()))?;
        std::io::copy(&mut entry, &mut made)
            .with_context(|| format!("write {}", place.display()))?;
        made.sync_all().with_context(|| format!("write {}", place.display()))?;
    }
    about.with_context(|| format!("{} is empty", file.display()))
}

fn read_about(entry: &mut impl Read) -> anyhow::Result<About> {
    let mut text = String::new();
    entry.take(ABOUT_BYTES_MAX).read_to_string(&mut text)?;
    let about: About = serde_json::from_str(&text)?;
    if about.format != FORMAT {
        bail!("its format is {}, this version knows {FORMAT}", about.format);
    }
    Ok(about)
}

/// Where an entry goes; `None` for one that has no business in a backup.
fn place_of(name: &Path) -> Option<PathBuf> {
    let parts: Vec<&str> = name
        .components()
        .map(|part| match part {
            Component::Normal(part) => part.to_str(),
            Component::Prefix(_)
            | Component::RootDir
            | Component::CurDir
            | Component::ParentDir => None,
        })
        .collect::<Option<_>>()?;
    match parts.as_slice() {
        [SNAPSHOT] => Some(PathBuf::from(SNAPSHOT)),
        [folder, _, ..] if FOLDERS.contains(folder) => Some(parts.iter().collect()),
        _ => None,
    }
}

/// Makes the store and puts everything in its place; gives the revisions of the backup and of the restored cluster.
fn settle(unpacked: &Path, data: &DataDir, about: About) -> anyhow::Result<(u64, u64, About)> {
    let path = unpacked.join(SNAPSHOT);
    let mut file = File::open(&path).context("the backup has no store in it")?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = file.read(&mut buffer).context("read the snapshot")?;
        let Some(read) = buffer.get(..count).filter(|read| !read.is_empty()) else { break };
        digest.update(read);
    }
    let found: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if found != about.snapshot_sha256 {
        bail!("the backup is damaged: its snapshot is not the one that was made");
    }
    file.rewind()?;
    let snapshot = Snapshot::read(&mut BufReader::new(file))?;
    let was = snapshot.revision;
    let now = snapshot.restore(&unpacked.join("store.redb"))?;
    fs::remove_file(&path).context("remove the snapshot")?;
    for folder in FOLDERS {
        let from = unpacked.join(folder);
        if from.exists() {
            let to = data.root().join(folder);
            fs::rename(&from, &to).with_context(|| format!("make {}", to.display()))?;
        }
    }
    // Last: without it, the directory is no cluster's.
    let store = data.store();
    fs::rename(unpacked.join("store.redb"), &store)
        .with_context(|| format!("make {}", store.display()))?;
    fs::remove_dir(unpacked).context("tidy up")?;
    Ok((was.0, now.0, about))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_stay_inside() {
        let check = |name: &str, expected: Option<&str>| {
            assert_eq!(place_of(Path::new(name)), expected.map(PathBuf::from), "{name}");
        };
        check("store.snapshot", Some("store.snapshot"));
        check("pki/ca.key", Some("pki/ca.key"));
        check("registry/blobs/sha256/ab", Some("registry/blobs/sha256/ab"));
        for bad in
            ["pki", "../x", "pki/../../x", "/etc/passwd", "other/x", "backup.json", "./pki/x"]
        {
            check(bad, None);
        }
    }
}
