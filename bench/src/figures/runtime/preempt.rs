//! What it costs a guest that computes that it can be interrupted at any time.

use std::process::Command;

use anyhow::{Context as _, ensure};

use super::world::World;
use crate::reference::wasmtime::wasmtime;

/// About a second of computing.
const TURNS: &str = "400000000";

/// Runs of each, one after the other in turn; the best of each counts, as the rest is other load.
const ROUNDS: usize = 5;

pub(crate) async fn measure(with_references: bool) -> anyhow::Result<Vec<String>> {
    let world = World::new()?;
    let wasm = world.guest("behave");
    let image = world.image(&wasm).await?;
    let pod = world.pod()?;
    let (mut ours, mut theirs) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..ROUNDS {
        ours = ours.min(pod.run(&image, &["turns", TURNS]).await?);
        if with_references {
            theirs = theirs.min(alone(&wasm)?);
        }
    }
    let mut line = format!("{TURNS} turns of a loop: {:.2} s", ours / 1e6);
    if with_references {
        let more = (ours / theirs - 1.0) * 100.0;
        line +=
            &format!(", {more:+.1} % against `wasmtime run`, which never interrupts (promised 8)");
    }
    Ok(vec![line])
}

/// The same by `wasmtime run`, in microseconds.
fn alone(wasm: &std::path::Path) -> anyhow::Result<f64> {
    let output = Command::new(wasmtime()?)
        .args(["run", "--"])
        .arg(wasm)
        .args(["turns", TURNS])
        .output()
        .context("run wasmtime")?;
    ensure!(output.status.success(), "wasmtime run: {output:?}");
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}
