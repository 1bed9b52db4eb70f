//! Streams log files.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;

use super::select::{LogOptions, Selection};

/// Bytes read from a file at once.
const READ_BYTES: usize = 64 << 10;
/// Time between two looks at a file that is followed.
const FOLLOW_PAUSE: Duration = Duration::from_millis(100);
/// Rotated files looked for beside a log.
const ROTATED_MAX: u32 = 10;

/// Tells whether the container whose log it is may still write.
pub(crate) type IsLive = Arc<dyn Fn() -> futures::future::BoxFuture<'static, bool> + Send + Sync>;

/// Sends what `options` ask of the log at `path` into `out`; ends with the log, or when nobody
/// listens any more.
pub(crate) async fn stream(
    path: PathBuf,
    options: LogOptions,
    is_live: IsLive,
    out: mpsc::Sender<Bytes>,
) -> std::io::Result<()> {
    let follow = options.follow;
    let mut selection = Selection::new(options);
    for old in rotated(&path) {
        let mut file = File::open(old).await?;
        read_to_end(&mut file, &mut selection, &out).await?;
    }
    let mut file = File::open(&path).await?;
    read_to_end(&mut file, &mut selection, &out).await?;
    send(selection.caught_up(), &out).await?;
    while follow && !selection.is_full() && !out.is_closed() {
        let live = is_live().await;
        let read = read_to_end(&mut file, &mut selection, &out).await?;
        if let Some(next) = replaced(&path, &file).await {
            // What was written between the last look and the rotation.
            read_to_end(&mut file, &mut selection, &out).await?;
            file = next;
        } else if !live {
            return Ok(());
        } else if read == 0 {
            tokio::time::sleep(FOLLOW_PAUSE).await;
        }
    }
    Ok(())
}

async fn read_to_end(
    file: &mut File,
    selection: &mut Selection,
    out: &mpsc::Sender<Bytes>,
) -> std::io::Result<usize> {
    let mut buffer = vec![0; READ_BYTES];
    let mut total = 0;
    loop {
        let n = file.read(&mut buffer).await?;
        if n == 0 || selection.is_full() {
            return Ok(total);
        }
        total += n;
        send(selection.take(buffer.get(..n).unwrap_or_default()), out).await?;
    }
}

async fn send(bytes: Vec<u8>, out: &mpsc::Sender<Bytes>) -> std::io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    out.send(bytes.into()).await.map_err(|_| std::io::ErrorKind::BrokenPipe.into())
}

/// The file now at `path`, if the log was rotated away from under us.
async fn replaced(path: &Path, file: &File) -> Option<File> {
    let (old, new) = (file.metadata().await.ok()?, tokio::fs::metadata(path).await.ok()?);
    if old.ino() == new.ino() { None } else { File::open(path).await.ok() }
}

/// The rotated files of a log, oldest first.
pub(crate) fn rotated(path: &Path) -> Vec<PathBuf> {
    let name = |n: u32| PathBuf::from(format!("{}.{n}", path.display()));
    (1..=ROTATED_MAX).rev().map(name).filter(|path| path.exists()).collect()
}
