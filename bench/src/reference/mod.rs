//! What we are measured against, built once into the tests' cache.

pub(crate) mod kube;
pub(crate) mod wasmtime;

use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use anyhow::{Context as _, ensure};

use crate::process::Process;

/// A reference's process; it ends when this is dropped.
#[derive(Debug)]
struct Running(Child);

impl Running {
    fn process(&self) -> Process {
        Process(self.0.id())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.kill().is_ok() {
            let _ = self.0.wait();
        }
    }
}

/// The folder in which tests and benches keep what they built.
fn cache() -> anyhow::Result<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let base =
        base.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    Ok(base.context("HOME is not set")?.join("coracle-tests"))
}

/// A Go program of a module in `bench/reference/<module>`, built if it is not in the cache under
/// `name`.
fn go_program(module: &str, package: &str, name: &str) -> anyhow::Result<PathBuf> {
    let program = cache()?.join(name);
    if !program.exists() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("reference").join(module);
        let status = Command::new("go")
            .args(["build", "-trimpath", "-buildvcs=false", "-o"])
            .arg(&program)
            .arg(package)
            .envs([("CGO_ENABLED", "0"), ("GOFLAGS", "-mod=mod")])
            .current_dir(folder)
            .status()
            .context("run go: the references are built with Go 1.25 or newer")?;
        ensure!(status.success(), "go build {package}: {status}");
    }
    Ok(program)
}
