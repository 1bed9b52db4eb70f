//! Which files of a folder were changed, from the file system's own news.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

/// Folders that tools write, besides hidden ones: nothing in them is a source.
const TOOLS_OWN: [&str; 8] =
    ["target", "node_modules", ".git", ".venv", "__pycache__", "dist", ".zig-cache", "zig-cache"];

/// How long it must be quiet before a change counts: editors write a file in several steps.
const QUIET: Duration = Duration::from_millis(40);

/// News that may wait; more say no more than that something changed.
const WAITING_MAX: usize = 256;

/// Follows a folder with all that is below it.
pub(crate) struct Changes {
    news: mpsc::Receiver<PathBuf>,
    _watcher: RecommendedWatcher,
}

impl Changes {
    /// From now on changes are noticed. Files that a build makes, `made`, are no sources.
    pub(crate) fn of_folder(folder: &Path, made: Vec<PathBuf>) -> anyhow::Result<Self> {
        let (sender, news) = mpsc::channel(WAITING_MAX);
        let root = folder.canonicalize().with_context(|| format!("open {}", folder.display()))?;
        let made: Vec<PathBuf> = made.iter().map(|file| root.join(file)).collect();
        let within = root.clone();
        let mut watcher =
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                let Ok(event) = event else { return };
                if matches!(event.kind, EventKind::Access(_)) {
                    return;
                }
                for path in event.paths {
                    if is_source(&within, &path, &made) {
                        // If there is no room, one that says the same waits already.
                        let _ = sender.try_send(path);
                    }
                }
            })
            .context("watch files")?;
        watcher
            .watch(&root, RecursiveMode::Recursive)
            .with_context(|| format!("watch {}", root.display()))?;
        Ok(Self { news, _watcher: watcher })
    }

    /// The files that changed since the last call, once it is quiet. Cancel safe until the first
    /// change; `None` when nothing more will come.
    pub(crate) async fn next(&mut self) -> Option<Vec<PathBuf>> {
        let mut changed = vec![self.news.recv().await?];
        while let Ok(Some(path)) = tokio::time::timeout(QUIET, self.news.recv()).await {
            changed.push(path);
        }
        changed.sort();
        changed.dedup();
        Some(changed)
    }
}

/// Whether a file may be what a person wrote.
fn is_source(root: &Path, path: &Path, made: &[PathBuf]) -> bool {
    let Ok(inner) = path.strip_prefix(root) else { return false };
    let own = |part: std::path::Component<'_>| {
        let name = part.as_os_str().to_string_lossy();
        name.starts_with('.') || TOOLS_OWN.contains(&name.as_ref())
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let passing = name.ends_with('~') || name.ends_with(".swp");
    !inner.components().any(own)
        && !passing
        && name != "Cargo.lock"
        && !made.iter().any(|file| file == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tools_write_is_no_source() {
        let root = Path::new("/w");
        let made = [PathBuf::from("/w/hello.wasm")];
        for (path, expected) in [
            ("/w/src/main.rs", true),
            ("/w/web.yaml", true),
            ("/w/web/target/x/y.o", false),
            ("/w/node_modules/a.js", false),
            ("/w/hello.wasm", false),
            ("/w/.main.rs.swp", false),
            ("/w/.git/HEAD", false),
            ("/w/main.rs~", false),
            ("/w/Cargo.lock", false),
            ("/v/main.rs", false),
        ] {
            assert_eq!(is_source(root, Path::new(path), &made), expected, "{path}");
        }
    }

    #[tokio::test]
    async fn an_edit_is_news() {
        let folder = tempfile::tempdir().unwrap();
        let mut changes = Changes::of_folder(folder.path(), vec!["a.wasm".into()]).unwrap();
        std::fs::write(folder.path().join("a.wasm"), "made").unwrap();
        std::fs::write(folder.path().join("a.c"), "written").unwrap();
        let changed = changes.next().await.unwrap();
        let root = folder.path().canonicalize().unwrap();
        assert_eq!(changed, [root.join("a.c")]);
    }
}
