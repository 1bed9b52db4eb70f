//! The worker's own side: a process with one pod's network namespace and stores.
//!
//! It runs the same code as a host does, on a fabric of its own whose only namespace is the pod's:
//! what leaves the namespace goes over the link ([`uplink`]), and files are opened by the host
//! ([`files`]).
//!
//! An edge: a process of its own.

mod files;
mod pod;
mod uplink;

use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::Arc;

use super::confine;
use super::link::{Link, Side};
use crate::engine::Engine;
use crate::http::outgoing;

/// Instances of a worker's pool: as many as eight busy http containers have at once. They take
/// address space alone until they are used.
const INSTANCES_MAX: u32 = 1024;

/// Runs a worker to its end. The socket to its host is what it was given as its standard input.
///
/// Must be called with one thread in the process, and nothing before it that matters: the process is
/// confined before it reads anything.
#[must_use]
pub fn child_main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "worker: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    confine::close_the_rest()?;
    confine::die_with_parent()?;
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    // What needs files or sockets is made before they are refused: certificates, and the signal
    // pipe of tokio, which all its runtimes share.
    outgoing::trust_what_the_machine_trusts();
    drop(tokio::runtime::Builder::new_current_thread().enable_all().build()?);
    let engine = Engine::confined(INSTANCES_MAX, confine::confine)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(serve(engine, socket));
    // Whatever still runs ends with the process.
    runtime.shutdown_background();
    outcome
}

/// Serves the host until it is gone.
async fn serve(engine: Engine, socket: OwnedFd) -> io::Result<()> {
    let (link, packets) = Link::new(Side::Worker, socket)?;
    let pod = Arc::new(pod::Worker::new(engine, link.clone()));
    let reason = link.run(&packets, &pod::Inbox(pod)).await;
    let gone = [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset];
    if gone.contains(&reason.kind()) { Ok(()) } else { Err(reason) }
}
