//! The shortest way: `first PLUGIN.wasm TEXT` calls a plugin once, within its grants and limits.
use std::{env, process::ExitCode, time::Duration};

use anyhow::Context;
use coracle_runtime::call::{CallLimits, Function, Plugin};
use coracle_runtime::{ContainerSpec, Engine, EngineConfig, ImageSource, Limits, compile};

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    // Untrusted WebAssembly is compiled by this very program, in a process of its own with limits.
    if let Some(code) = compile::child_if_asked(env::args_os()) {
        return Ok(code);
    }
    let (file, text) = env::args().nth(1).zip(env::args().nth(2)).context("PLUGIN.wasm TEXT")?;
    let cache = env::temp_dir().join("embed-plugins");
    let engine = Engine::new(EngineConfig::new(cache, env::current_exe()?))?;
    let image = engine.prepare_library(ImageSource::of_bytes(std::fs::read(file)?), &[]).await?;
    let mut spec = ContainerSpec::new("plugin", image);
    spec.env = vec![("CUSTOMER".to_owned(), "acme".to_owned())];
    spec.limits = Limits { memory_bytes: Some(32 << 20), cpu_millis: Some(500) };
    let plugin = Plugin::new(spec)?;
    let transform = Function::of("acme:plugins/text@1.0.0", "transform");
    let limits = CallLimits { time: Duration::from_millis(500), output_bytes_max: 64 << 10 };
    let (said,): (Result<String, String>,) = plugin.call(&transform, (text,), limits).await?;
    println!("{said:?}");
    Ok(ExitCode::SUCCESS)
}
