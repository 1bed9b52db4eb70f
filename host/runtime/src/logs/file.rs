//! The log's files on disk: the current one, and those before it.
//!
//! An edge: it blocks on the disk, and is only called from threads for that.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::tags;
use crate::spec::LogSpec;

/// Makes the log's folder and its current file where they are missing.
pub(super) fn create(spec: &LogSpec) -> io::Result<()> {
    if let Some(folder) = spec.path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    open(&spec.path).map(drop)
}

/// Appends whole lines without the requests that they name, and rotates first when the file has reached its size.
pub(super) fn append(spec: &LogSpec, lines: &[u8]) -> io::Result<()> {
    let lines = tags::take_off(lines, spec.request_lines.as_ref());
    let mut file = open(&spec.path)?;
    if file.metadata()?.len() >= spec.bytes_max.max(1) {
        rotate(spec)?;
        file = open(&spec.path)?;
    }
    file.write_all(&lines)
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Moves each file one place back and drops the oldest.
fn rotate(spec: &LogSpec) -> io::Result<()> {
    let oldest = spec.files_max.saturating_sub(1);
    if oldest == 0 {
        return std::fs::remove_file(&spec.path);
    }
    for place in (1..oldest).rev() {
        let from = numbered(&spec.path, place);
        match std::fs::rename(from, numbered(&spec.path, place + 1)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    std::fs::rename(&spec.path, numbered(&spec.path, 1))
}

fn numbered(path: &Path, place: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{place}"));
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_rotated_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/0.log");
        let spec = LogSpec { bytes_max: 4, files_max: 3, ..LogSpec::new(path) };
        create(&spec).unwrap();
        for line in ["one\n", "two\n", "three\n", "T stdout F:req=a four\n"] {
            append(&spec, line.as_bytes()).unwrap();
        }
        let read = |name: &str| std::fs::read_to_string(folder.path().join("a").join(name));
        assert_eq!(read("0.log").unwrap(), "T stdout F four\n");
        assert_eq!(read("0.log.1").unwrap(), "three\n");
        assert_eq!(read("0.log.2").unwrap(), "two\n");
        assert!(read("0.log.3").is_err());
    }
}
