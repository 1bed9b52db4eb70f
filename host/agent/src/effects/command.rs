//! Runs a command beside a container for a probe or a hook, and takes in what it writes.
//!
//! *Source:* kubelet's `RunInContainer` and its exec prober.

use std::time::Duration;

use k8s_openapi::api::core::v1::Container;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::{Shared, Target};
use crate::config::expand::expand;
use crate::runtime::{Exec, ExecError, ExecSpec};

/// Bytes of a command's output that are told. *Source:* kubelet's `maxReadLength` of exec probes.
const OUTPUT_BYTES_MAX: usize = 10 << 10;

/// How a command came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ran {
    /// It ended by itself; its code and what it wrote, cut to [`OUTPUT_BYTES_MAX`].
    Ended { code: i32, output: String },
    /// It took too long, and was ended.
    TimedOut,
}

/// Runs a command to its end, for at most `time`.
///
/// # Errors
/// A sentence, when it could not be started.
pub(crate) async fn run(
    shared: &Shared,
    target: &Target,
    container: &Container,
    command: &[String],
    time: Duration,
) -> Result<Ran, String> {
    let argv = expanded(container, command);
    let spec = ExecSpec { argv, tty: false, stdin: false };
    let started = shared.runtime.exec(&target.key, &container.name, spec).await;
    let exec = started.map_err(|error: ExecError| error.to_string())?;
    let handle = exec.handle.clone();
    match tokio::time::timeout(time, finish(exec)).await {
        Ok(ran) => Ok(ran),
        Err(_) => {
            handle.kill();
            Ok(Ran::TimedOut)
        }
    }
}

async fn finish(exec: Exec) -> Ran {
    let Exec { stdin: _, mut stdout, stderr, handle } = exec;
    let errors = async {
        match stderr {
            Some(mut stderr) => head(&mut stderr).await,
            None => Vec::new(),
        }
    };
    let (mut output, errors) = tokio::join!(head(&mut stdout), errors);
    output.extend(errors);
    output.truncate(OUTPUT_BYTES_MAX);
    let output = String::from_utf8_lossy(&output).into_owned();
    Ran::Ended { code: handle.wait().await.code, output }
}

/// Reads to the end and keeps the beginning.
async fn head(reader: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match reader.read(&mut piece).await {
            Ok(0) | Err(_) => return kept,
            Ok(length) => {
                let room = OUTPUT_BYTES_MAX.saturating_sub(kept.len()).min(length);
                kept.extend_from_slice(piece.get(..room).unwrap_or_default());
            }
        }
    }
}

/// Resolves `$(VAR)` by the variables that the container's spec gives as they stand.
fn expanded(container: &Container, command: &[String]) -> Vec<String> {
    let value = |name: &str| {
        let mut variables = container.env.iter().flatten();
        variables.find(|variable| variable.name == name)?.value.clone()
    };
    command.iter().map(|word| expand(word, &value)).collect()
}

/// A command as messages show it.
pub(crate) fn shown(command: &[String]) -> String {
    command.join(" ")
}
