//! Clients that use the official libraries of Go and JavaScript, installed once into the cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::binary::root;
use crate::packages::npm;
use crate::tools::{cache, one_at_a_time};

/// Runs a client of `tools/clients-go`, which has to succeed, and gives what it printed.
#[must_use]
pub fn go_client(kubeconfig: &Path, name: &str) -> String {
    printed(Command::new(go_clients()).arg(kubeconfig).arg(name))
}

/// Runs `tools/node/client.mjs`, which has to succeed, and gives what it printed.
#[must_use]
pub fn node_client(kubeconfig: &Path, pod: &str) -> String {
    let script = node_packages().join("client.mjs");
    printed(Command::new("node").arg(script).arg(kubeconfig).arg(pod))
}

fn printed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The Go clients, built again when their sources or versions change.
fn go_clients() -> PathBuf {
    let sources = root().join("tests/e2e/tools/clients-go");
    let (program, stamp) = (cache().join("clients-go"), cache().join("clients-go.stamp"));
    let _one = one_at_a_time();
    let mut files: Vec<PathBuf> =
        fs::read_dir(&sources).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let wanted: Vec<u8> = files.iter().flat_map(|file| fs::read(file).unwrap()).collect();
    if program.exists() && fs::read(&stamp).is_ok_and(|have| have == wanted) {
        return program;
    }
    let fresh = cache().join(format!("clients-go.{}", std::process::id()));
    let mut build = Command::new("go");
    build
        .args(["build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o"])
        .arg(&fresh)
        .arg(".")
        .env("CGO_ENABLED", "0")
        .current_dir(sources);
    printed(&mut build);
    fs::rename(fresh, &program).unwrap();
    fs::write(stamp, wanted).unwrap();
    program
}

/// A folder with the packages of `package.json` and our script.
fn node_packages() -> PathBuf {
    let _one = one_at_a_time();
    let tools = root().join("tests/e2e/tools/node");
    npm("clients-node", &tools, "the tests drive the JavaScript client")
}
