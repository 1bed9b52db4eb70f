//! `wasmtime serve`, the bare speed of a component behind HTTP.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use super::{Running, cache};
use crate::process::Process;

/// The version that the runtime embeds too.
const WASMTIME: &str = "48.0.8";

/// `wasmtime serve`. Ends when dropped.
#[derive(Debug)]
pub(crate) struct WasmtimeServe {
    running: Running,
    /// Where it listens on loopback.
    pub(crate) port: u16,
}

impl WasmtimeServe {
    /// Starts it on a component with more flags, and waits until it answers.
    pub(crate) async fn start(wasm: &Path, port: u16, flags: &[&str]) -> anyhow::Result<Self> {
        let program = wasmtime()?;
        let child = Command::new(program)
            .args(["serve", "--addr", &format!("127.0.0.1:{port}")])
            .args(flags)
            .arg(wasm)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start wasmtime serve")?;
        let serve = Self { running: Running(child), port };
        for _ in 0..200 {
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            if tokio::net::TcpStream::connect(address).await.is_ok() {
                return Ok(serve);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("wasmtime serve does not answer")
    }

    /// Its process.
    pub(crate) fn process(&self) -> Process {
        self.running.process()
    }
}

/// The program, built once.
pub(crate) fn wasmtime() -> anyhow::Result<PathBuf> {
    let root = cache()?.join("wasmtime");
    let program = root.join("bin/wasmtime");
    if !program.exists() {
        let status = Command::new("cargo")
            .args([
                "install",
                "wasmtime-cli",
                "--version",
                WASMTIME,
                "--locked",
                "--quiet",
                "--root",
            ])
            .arg(&root)
            .status()
            .context("run cargo install")?;
        ensure!(status.success(), "cargo install wasmtime-cli: {status}");
    }
    Ok(program)
}
