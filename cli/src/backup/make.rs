//! Makes the archive.

use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, Read, Seek as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use coracle_store::Store;
use http::Request;
use http_body_util::BodyExt as _;
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use super::{ABOUT, About, FORMAT, SNAPSHOT};
use crate::config::{BackupFlags, DataDir};
use crate::{client, out};

/// Where a running server gives its snapshot.
const BACKUP_PATH: &str = "/coracle/v1/backup";

/// Runs the command.
pub(crate) async fn backup(data: &DataDir, flags: &BackupFlags) -> anyhow::Result<()> {
    let target = &flags.file;
    if target.exists() {
        bail!("{} exists: give another name, or move it away", target.display());
    }
    let part = target.with_extension("part");
    let made = make(data, flags, &part).await;
    if made.is_err() {
        // Half an archive is of no use, and what is wrong was said.
        let _gone = fs::remove_file(&part);
    }
    made?;
    fs::rename(&part, target).with_context(|| format!("name {}", target.display()))?;
    let images = if flags.without_images { "without the registry's images" } else { "and images" };
    out::line(format_args!("wrote {}: all objects, the cluster's keys {images}", target.display()));
    out::line(format_args!(
        "whoever has this file has the cluster: it holds the key of the CA and the keys that Secrets are sealed with; \
         what persistent volumes hold is not in it"
    ));
    Ok(())
}

async fn make(data: &DataDir, flags: &BackupFlags, part: &Path) -> anyhow::Result<()> {
    let folder = part.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let mut snapshot = tempfile::tempfile_in(folder)
        .with_context(|| format!("make a file in {}", folder.display()))?;
    let mut digest = Sha256::new();
    if data.holder("server").is_some() {
        of_server(data, &mut snapshot, &mut digest).await?;
    } else {
        of_file(data, &mut snapshot, &mut digest).await?;
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(part);
    let file = file.with_context(|| format!("make {}", part.display()))?;
    let about = About {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        created: now(),
        snapshot_sha256: digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect(),
        images: !flags.without_images,
    };
    let (pki, registry) = (data.pki(), data.registry());
    let images = about.images;
    let written = tokio::task::spawn_blocking(move || {
        let mut archive = Builder::new(file);
        let about = serde_json::to_vec_pretty(&about)?;
        add(&mut archive, Path::new(ABOUT), about.len() as u64, about.as_slice())?;
        add_folder(&mut archive, &pki, Path::new("pki"))?;
        if images {
            add_folder(&mut archive, &registry, Path::new("registry"))?;
        }
        snapshot.rewind()?;
        let length = snapshot.metadata()?.len();
        add(&mut archive, Path::new(SNAPSHOT), length, BufReader::new(snapshot))?;
        archive.into_inner()?.sync_all()?;
        anyhow::Ok(())
    });
    written.await?.with_context(|| format!("write {}", part.display()))
}

#[expect(clippy::disallowed_methods, reason = "a backup says when it was made")]
fn now() -> String {
    jiff::Timestamp::now().to_string()
}

/// Asks a running server, which goes on meanwhile.
async fn of_server(data: &DataDir, to: &mut File, digest: &mut Sha256) -> anyhow::Result<()> {
    let client = client::of_kubeconfig(&data.kubeconfig()).await?;
    let request = Request::get(BACKUP_PATH).body(kube::client::Body::empty())?;
    let answer = client.send(request).await.context("ask the server for a snapshot")?;
    let code = answer.status();
    if !code.is_success() {
        bail!("ask the server for a snapshot: it answers {code}");
    }
    let mut body = answer.into_body();
    while let Some(frame) = body.frame().await {
        let frame = frame.context("read the server's snapshot")?;
        let Some(bytes) = frame.data_ref() else { continue };
        digest.update(bytes);
        to.write_all(bytes).context("write the snapshot")?;
    }
    Ok(())
}

/// Reads the store of a server that is stopped.
async fn of_file(data: &DataDir, to: &mut File, digest: &mut Sha256) -> anyhow::Result<()> {
    let path = data.store();
    if !path.exists() {
        bail!("there is no store in {}: nothing to back up", data.root().display());
    }
    let _held = data.hold("server")?;
    let opened = tokio::task::spawn_blocking(move || Store::open_redb(path)).await;
    let store = opened.context("open the store")??;
    for chunk in store.snapshot().await?.chunks() {
        digest.update(&chunk);
        to.write_all(&chunk).context("write the snapshot")?;
    }
    store.close().await;
    Ok(())
}

fn add(
    archive: &mut Builder<File>,
    name: &Path,
    length: u64,
    content: impl Read,
) -> std::io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o600);
    header.set_size(length);
    archive.append_data(&mut header, name, content)
}

/// Adds the files below a folder, in order; one that goes away meanwhile is left out.
fn add_folder(archive: &mut Builder<File>, folder: &Path, name: &Path) -> anyhow::Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    paths.sort();
    for path in paths {
        let Some(file_name) = path.file_name() else { continue };
        let name = name.join(file_name);
        let Ok(about) = path.symlink_metadata() else { continue };
        if about.is_dir() {
            add_folder(archive, &path, &name)?;
        } else if about.is_file() {
            let Ok(file) = File::open(&path) else { continue };
            let length = file.metadata()?.len();
            // A file that grows is cut off where it was.
            add(archive, &name, length, BufReader::new(file.take(length)))?;
        }
    }
    Ok(())
}
