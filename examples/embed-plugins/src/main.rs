//! A host application with plugins of its customers: calls them, survives a hostile one, and swaps
//! versions without a lost call.
//!
//! `embed-plugins FOLDER`, where FOLDER holds the components that `cargo build --release` in
//! `plugins` makes.
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use anyhow::{Context, Result};
use coracle_runtime::call::{CallError, CallLimits, Function, Plugin};
use coracle_runtime::{ContainerSpec, Engine, EngineConfig, ImageSource, Limits, compile};

/// What a customer's plugin may take, all of its calls together.
const LIMITS: Limits = Limits { memory_bytes: Some(32 << 20), cpu_millis: Some(1000) };

/// What one call may take.
const CALL: CallLimits =
    CallLimits { time: Duration::from_millis(500), output_bytes_max: 64 << 10 };

/// Callers at once while versions are swapped, and the calls of each.
const CALLERS: usize = 4;
const CALLS: usize = 200;

fn main() -> Result<ExitCode> {
    if let Some(code) = compile::child_if_asked(std::env::args_os()) {
        return Ok(code);
    }
    let folder = std::env::args().nth(1).context("usage: embed-plugins FOLDER")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(Path::new(&folder)))?;
    Ok(ExitCode::SUCCESS)
}

async fn run(folder: &Path) -> Result<()> {
    let cache = std::env::temp_dir().join("embed-plugins");
    let engine = Engine::new(EngineConfig::new(cache, std::env::current_exe()?))?;
    let shout = load(&engine, folder, "shout").await?;
    let reverse = load(&engine, folder, "reverse").await?;
    let hostile = load(&engine, folder, "hostile").await?;

    println!("shout: {}", told(transform(&shout, "hello").await));
    for trick in ["read", "dial", "env", "loop", "eat", "talk", "trap"] {
        println!("hostile {trick}: {}", told(transform(&hostile, trick).await));
    }
    println!("shout after all that: {}", told(transform(&shout, "still here").await));
    swap(shout, reverse).await
}

/// Takes a customer's component in, with its limits and nothing granted.
async fn load(engine: &Engine, folder: &Path, name: &str) -> Result<Plugin> {
    let file = folder.join(name).with_extension("wasm");
    let bytes = std::fs::read(&file).with_context(|| format!("read {}", file.display()))?;
    let image = engine.prepare_library(ImageSource::of_bytes(bytes), &[]).await?;
    let mut spec = ContainerSpec::new(name, image);
    spec.limits = LIMITS;
    Ok(Plugin::new(spec)?)
}

/// The one function that plugins have.
async fn transform(plugin: &Plugin, text: &str) -> Result<Result<String, String>, CallError> {
    let function = Function::of("acme:plugins/text@1.0.0", "transform");
    let (said,) = plugin.call(&function, (text.to_owned(),), CALL).await?;
    Ok(said)
}

/// What to tell the customer: the plugin's own answer, or why there is none.
fn told(said: Result<Result<String, String>, CallError>) -> String {
    match said {
        Ok(Ok(text)) => text,
        Ok(Err(refusal)) => format!("refused: {refusal}"),
        Err(error) => error.to_string().lines().next().unwrap_or_default().to_owned(),
    }
}

/// Lets callers call all the while that the version behind them changes.
async fn swap(old: Plugin, new: Plugin) -> Result<()> {
    let current = Arc::new(RwLock::new(old.clone()));
    let answers = [(); 3].map(|()| Arc::new(AtomicUsize::new(0)));
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..CALLERS {
        let (current, answers) = (current.clone(), answers.clone());
        callers.spawn(async move {
            for _ in 0..CALLS {
                // Whoever has begun on a version ends on it.
                let Ok(plugin) = current.read().map(|plugin| plugin.clone()) else { return };
                let version = match transform(&plugin, "abc").await {
                    Ok(Ok(text)) if text == "ABC" => 0,
                    Ok(Ok(text)) if text == "cba" => 1,
                    Ok(_) | Err(_) => 2,
                };
                answers[version].fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let mut versions = [new, old].into_iter().cycle();
    while let (false, Some(next)) = (callers.is_empty(), versions.next()) {
        if let Ok(mut current) = current.write() {
            *current = next;
        }
        if tokio::time::timeout(Duration::from_millis(10), callers.join_next()).await.is_ok() {
            continue;
        }
    }
    let [old, new, lost] = answers.map(|count| count.load(Ordering::Relaxed));
    println!("swapped: {} calls, {lost} lost, by both versions: {}", old + new, old > 0 && new > 0);
    Ok(())
}
