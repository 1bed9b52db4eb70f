//! Compiling out of process: hostile input can hurt a child, and nothing else.
//!
//! The host writes the bytes to a file that only it can read, starts its own executable with the
//! `compile` subcommand, and waits with a bound on time. The child bounds its own memory and CPU
//! time before it looks at the bytes, writes the code beside its final place, and says how it went
//! in JSON. The host then moves the code to its place.
//!
//! An edge: it runs a process and writes files.

pub(crate) mod cache;
mod child;

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

use crate::engine::{CompileLimits, Engine};
use crate::image::{ImageSource, Wasm};
use crate::prepare::{PrepareError, Purpose};

pub use child::{child_if_asked, child_main};

/// Bytes of the child's answer that are read.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// Compiles `source` with `plugs` into the file `code`.
pub(crate) async fn run(
    engine: &Engine,
    purpose: Purpose,
    source: &ImageSource,
    plugs: &[ImageSource],
    code: &Path,
) -> Result<(), PrepareError> {
    let Ok(_slot) = engine.compile_slots().acquire().await else {
        return Err(PrepareError::Spawn { message: "the host is shutting down".to_owned() });
    };
    let limits = engine.config().compile;
    let folder = tempfile::Builder::new()
        .prefix(cache::COMPILE_FOLDER)
        .tempdir_in(engine.cache().dir())
        .map_err(|error| PrepareError::file("write to", engine.cache().dir(), &error))?;
    let mut inputs = Vec::new();
    for (index, wasm) in std::iter::once(source).chain(plugs).enumerate() {
        inputs.push(input(&wasm.wasm, folder.path(), index, limits).await?);
    }
    let output = folder.path().join("code");
    let child = spawn(engine, purpose, &inputs, &output)?;
    answer(child, limits).await?;
    tokio::fs::rename(&output, code)
        .await
        .map_err(|error| PrepareError::file("move compiled code to", code, &error))?;
    engine.cache().trim(code);
    Ok(())
}

/// Gives the file that holds a binary, writing it first if it is in memory.
async fn input(
    wasm: &Wasm,
    folder: &Path,
    index: usize,
    limits: CompileLimits,
) -> Result<PathBuf, PrepareError> {
    let check = |bytes: u64| {
        let bytes_max = limits.input_bytes_max;
        if bytes > bytes_max { Err(PrepareError::TooLarge { bytes, bytes_max }) } else { Ok(()) }
    };
    match wasm {
        Wasm::Path(path) => {
            let facts = tokio::fs::metadata(path).await;
            let facts = facts.map_err(|error| PrepareError::file("read", path, &error))?;
            check(facts.len())?;
            Ok(path.clone())
        }
        Wasm::Bytes(bytes) => {
            check(bytes.len() as u64)?;
            let path = folder.join(format!("{index}.wasm"));
            let written = tokio::fs::write(&path, bytes).await;
            written.map_err(|error| PrepareError::file("write", &path, &error))?;
            Ok(path)
        }
    }
}

fn spawn(
    engine: &Engine,
    purpose: Purpose,
    inputs: &[PathBuf],
    output: &Path,
) -> Result<Child, PrepareError> {
    let config = engine.config();
    Command::new(&config.compiler.program)
        .args(&config.compiler.args)
        .arg(format!("{}{}", purpose.prefix(), config.compile.memory_bytes))
        .arg(config.compile.cpu_seconds.to_string())
        .arg(output)
        .args(inputs)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| {
            let program = config.compiler.program.display();
            PrepareError::Spawn { message: format!("{program}: {error}") }
        })
}

/// Waits for the child and reads what it has to say.
async fn answer(mut child: Child, limits: CompileLimits) -> Result<(), PrepareError> {
    let mut answer = Vec::new();
    let stdout = child.stdout.take();
    let work = async {
        if let Some(stdout) = stdout {
            stdout.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
        }
        child.wait().await
    };
    match tokio::time::timeout(limits.wall, work).await {
        Ok(Ok(status)) => verdict(status, &answer, limits),
        Ok(Err(error)) => Err(PrepareError::Spawn { message: error.to_string() }),
        Err(_) => {
            Err(PrepareError::Compiler { how: format!("time limit of {}", show(limits.wall)) })
        }
    }
}

/// What the child's end and its words amount to.
fn verdict(status: ExitStatus, answer: &[u8], limits: CompileLimits) -> Result<(), PrepareError> {
    use std::os::unix::process::ExitStatusExt;
    if let Some(signal) = status.signal() {
        return Err(PrepareError::Compiler { how: signal_meaning(signal, limits) });
    }
    match serde_json::from_slice::<child::Answer>(answer) {
        Ok(child::Answer::Compiled) => Ok(()),
        Ok(child::Answer::Refused(error)) => Err(error),
        Err(_) => Err(PrepareError::Compiler { how: format!("it gave no answer ({status})") }),
    }
}

fn signal_meaning(signal: i32, limits: CompileLimits) -> String {
    const SIGABRT: i32 = 6;
    const SIGKILL: i32 = 9;
    const SIGXCPU: i32 = 24;
    match signal {
        SIGXCPU => format!("CPU limit of {} s", limits.cpu_seconds),
        SIGABRT => format!("out of memory at its limit of {} MiB", limits.memory_bytes >> 20),
        SIGKILL => "killed, for lack of memory on the host or at its CPU limit".to_owned(),
        other => format!("signal {other}"),
    }
}

fn show(time: Duration) -> String {
    format!("{} s", time.as_secs())
}
