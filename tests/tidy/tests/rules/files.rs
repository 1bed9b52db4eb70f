//! Reading the tree, shared by the rules.

use std::fs;
use std::path::{Path, PathBuf};

/// One Rust source file of ours.
pub(crate) struct RustFile {
    /// Path from the root, with `/`.
    pub(crate) path: String,
    /// The whole text.
    pub(crate) text: String,
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The text of a file, which has to be there.
pub(crate) fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every Rust file of the product and its tests; guests and examples have their own habits.
pub(crate) fn own_rust_files() -> Vec<RustFile> {
    let mut files = Vec::new();
    let folders = [
        "api",
        "store",
        "allocator",
        "telemetry",
        "dashboard",
        "apiserver",
        "client",
        "scheduler",
        "controllers",
        "network",
        "host",
        "simulate",
        "cli",
        "tests/tidy",
        "tests/collector",
        "tests/etcd",
        "tests/e2e",
        "tests/conformance",
        "tests/sim",
        "tests/hostile",
        "bench",
    ];
    for folder in folders {
        collect(&root().join(folder), &mut files);
    }
    assert!(files.len() > 10, "the tree has moved");
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn collect(folder: &Path, files: &mut Vec<RustFile>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target" && name != ".cache") {
                collect(&path, files);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let relative = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
            files.push(RustFile { path: relative, text: read(&path) });
        }
    }
}

/// Fails with the list and the cure if there is anything in it.
pub(crate) fn violations(found: impl IntoIterator<Item = String>, cure: &str) {
    let found: Vec<String> = found.into_iter().collect();
    assert!(found.is_empty(), "{cure}:\n  {}", found.join("\n  "));
}
