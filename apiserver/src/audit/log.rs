//! The log's file: lines in order, written by one thread, moved aside when it is long.
//!
//! An edge: writers wait when the disk does not follow, because a request that is not told of must not be answered.

use super::AuditPolicy;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;

/// Lines that wait for the disk; one more and requests wait.
const LINES_WAITING_MAX: usize = 4096;
/// Bytes of a file before the next one is begun. *Source:* the usual `--audit-log-maxsize`.
const FILE_BYTES_MAX: u64 = 100 * 1024 * 1024;
/// Old files that are kept: `audit.log.1` is the youngest.
const FILES_KEPT: u32 = 10;

/// Why the log cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("open the audit log {path}")]
pub struct AuditLogError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// A log with its policy.
#[derive(Debug)]
pub struct AuditLog {
    /// What is told.
    pub(crate) policy: AuditPolicy,
    lines: mpsc::Sender<String>,
}

impl AuditLog {
    /// Opens the file, which its owner alone may read, and starts the thread that writes it.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(policy: AuditPolicy, path: &Path) -> Result<AuditLog, AuditLogError> {
        let failed = |source| AuditLogError { path: path.to_owned(), source };
        let mut target = Target::open(path, FILE_BYTES_MAX).map_err(failed)?;
        let (lines, mut waiting) = mpsc::channel::<String>(LINES_WAITING_MAX);
        let write = move || {
            while let Some(line) = waiting.blocking_recv() {
                if let Err(error) = target.write(line.as_bytes()) {
                    tracing::error!(%error, "cannot write the audit log");
                }
            }
        };
        std::thread::Builder::new().name("audit".to_owned()).spawn(write).map_err(failed)?;
        Ok(AuditLog { policy, lines })
    }

    /// Writes a line, after those before it; waits when too many wait already.
    pub(crate) async fn write(&self, line: String) {
        if self.lines.send(line).await.is_err() {
            tracing::error!("the thread that writes the audit log has ended");
        }
    }
}

struct Target {
    path: PathBuf,
    file: File,
    length: u64,
    bytes_max: u64,
}

impl Target {
    fn open(path: &Path, bytes_max: u64) -> io::Result<Target> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        let length = file.metadata()?.len();
        Ok(Target { path: path.to_owned(), file, length, bytes_max })
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let bytes = u64::try_from(line.len()).unwrap_or(u64::MAX);
        if self.length > 0 && self.length.saturating_add(bytes) > self.bytes_max {
            self.begin_anew()?;
        }
        self.file.write_all(line)?;
        self.length += bytes;
        Ok(())
    }

    fn begin_anew(&mut self) -> io::Result<()> {
        let numbered = |number: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        for number in (1..FILES_KEPT).rev() {
            match std::fs::rename(numbered(number), numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        std::fs::rename(&self.path, numbered(1))?;
        *self = Target::open(&self.path, self.bytes_max)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_is_moved_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let mut target = Target::open(&path, 10).unwrap();
        for line in ["12345\n", "6789\n", "abc\n", "a line that is longer than a file\n", "x\n"] {
            target.write(line.as_bytes()).unwrap();
        }
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(read("audit.log"), "x\n");
        assert_eq!(read("audit.log.1"), "a line that is longer than a file\n");
        assert_eq!(read("audit.log.2"), "6789\nabc\n");
        assert_eq!(read("audit.log.3"), "12345\n");
    }
}
