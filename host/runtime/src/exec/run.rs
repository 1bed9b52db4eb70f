//! Runs one command beside a container.
//!
//! An edge: the command is a task, which ends with the command, its client or the container.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::{EXECS_MAX, Exec, ExecError, ExecHandle, ExecOwner, ExecSpec, Reader, Writer};
use crate::command;
use crate::container::Core;
use crate::exit::{CODE_INTERRUPTED, Exit};
use crate::image::{ComponentKind, Image};
use crate::meter::Metered;
use crate::stdio::{Input, Output, PipeOutput, Screen, Stdio, Terminal, broken, pipe};

/// Starts a command beside the container of `core`.
pub(crate) async fn start(core: &Arc<Core>, spec: ExecSpec) -> Result<Exec, ExecError> {
    if !core.is_running() {
        return Err(ExecError::NotRunning);
    }
    let slot = core.execs.clone().try_acquire_owned();
    let slot = slot.map_err(|_| ExecError::TooMany { max: EXECS_MAX })?;
    let image = find(core, &spec).await?;
    let (streams, stdio) = streams(&spec);
    let beside = core.beside(image, spec.argv, stdio);
    let (handle, owner) = ExecHandle::pair();
    tokio::spawn(run(Running { core: core.clone(), beside, slot }, owner));
    Ok(Exec { stdin: streams.stdin, stdout: streams.stdout, stderr: streams.stderr, handle })
}

/// The image that the first word of a command names.
async fn find(core: &Core, spec: &ExecSpec) -> Result<Arc<Image>, ExecError> {
    let command = spec.argv.first().cloned().unwrap_or_default();
    let failed = |message| ExecError::Failed { command: command.clone(), message };
    let Some(programs) = core.spec.programs.as_ref().filter(|_| !command.is_empty()) else {
        return Err(ExecError::NotFound { command });
    };
    let found = programs.find(&command).await.map_err(failed)?;
    match found {
        Some(image) if image.kind == ComponentKind::Command => Ok(image),
        Some(_) => Err(failed("it serves http requests and cannot be run as a command".to_owned())),
        None => Err(ExecError::NotFound { command }),
    }
}

/// The client's ends.
struct Streams {
    stdin: Option<Writer>,
    stdout: Reader,
    stderr: Option<Reader>,
}

/// Makes both ends of a command's streams.
fn streams(spec: &ExecSpec) -> (Streams, Stdio) {
    let tty = spec.tty;
    let (out, stdout) = pipe();
    let out = Arc::new(out);
    let (err, stderr) = if tty {
        (out.clone(), None)
    } else {
        let (err, stderr) = pipe();
        (Arc::new(err), Some(stderr))
    };
    let input = spec.stdin.then(|| Input::new(true));
    let stdin = input.as_ref().map(|input| -> Writer {
        if tty {
            let screen = Screen::Pipe(Arc::downgrade(&out));
            Box::pin(Terminal::new(input.clone(), screen).typing())
        } else {
            Box::pin(input.writer())
        }
    });
    let output = |pipe| PipeOutput { pipe, tty };
    let output = Output::Pipes { stdout: output(out), stderr: output(err) };
    let stderr = stderr.map(|stderr| -> Reader { Box::pin(stderr) });
    let stdout: Reader = Box::pin(stdout);
    (Streams { stdin, stdout, stderr }, Stdio { input, terminal: None, output, tty })
}

/// A command that runs.
struct Running {
    /// The container.
    core: Arc<Core>,
    /// The command's own.
    beside: Arc<Core>,
    /// One of the container's [`EXECS_MAX`].
    slot: OwnedSemaphorePermit,
}

async fn run(running: Running, owner: ExecOwner) {
    let Running { core, beside, slot } = running;
    let engine = beside.spec.image.engine.clone();
    let guest = Metered::new(Box::pin(command::guest(beside.clone())), engine, beside.cpu.clone());
    let exit = tokio::select! {
        biased;
        () = owner.killed() => Exit::killed("killed"),
        () = core.ending() => Exit::killed("the container ended"),
        () = broken(beside.stdio.input.as_ref(), beside.spec.image.takes_interrupts()) => {
            Exit::of_code(CODE_INTERRUPTED)
        }
        exit = guest => exit,
    };
    // The guest's ends of the streams go first, and its place, so that whoever waits for the end
    // has all output and can begin anew.
    drop(beside);
    drop(slot);
    owner.ended(exit);
}
