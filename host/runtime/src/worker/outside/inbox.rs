//! What a worker says, and what comes of it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::process::Process;
use crate::image::Image;
use crate::worker::link::{self, DatagramHead, Handler, LinkStream};
use crate::worker::wire::{IoError, ToHost, ToWorker, Unresolved};

/// Takes what a worker says.
pub(super) struct Inbox(pub(super) Arc<Process>);

impl Handler for Inbox {
    type Message = ToHost;

    fn message(&self, message: ToHost, files: Vec<OwnedFd>) -> io::Result<()> {
        let process = &self.0;
        if !files.is_empty() {
            return Err(link::broken("files from a worker"));
        }
        match message {
            ToHost::Started { call, outcome } => process.starts.answer(call, outcome),
            ToHost::Exited { container, exit, usage } => {
                if let Some(container) = process.let_go(container) {
                    container.set_usage(*usage);
                    container.ended(exit);
                }
            }
            ToHost::Fault { container, fault } => {
                if let Some(container) = process.container(container) {
                    container.tell_fault(fault);
                }
            }
            ToHost::Served { container, seen } => {
                if let Some(container) = process.container(container) {
                    container.tell_request(seen.bounded());
                }
            }
            ToHost::ExecStarted { call, outcome } => process.commands.answer(call, outcome),
            ToHost::ExecEnded { call, exit } => process.command_ends.answer(call, exit),
            ToHost::Measured { call, usage } => process.measured(call, usage),
            ToHost::Ports { tcp, udp } => process.ports.set(&tcp, &udp),
            ToHost::Connect { stream, source, destination } => {
                let (turn, stream) = (process.turn()?, process.link.join(stream)?);
                tokio::spawn(connect(process.clone(), turn, stream, source, destination));
            }
            ToHost::Resolve { call, name } => {
                tokio::spawn(resolve(process.clone(), process.turn()?, call, name));
            }
            ToHost::Find { call, container, command } => {
                let turn = process.turn()?;
                tokio::spawn(find(process.clone(), turn, call, container, command));
            }
        }
        Ok(())
    }

    fn datagram(&self, head: DatagramHead, data: Bytes) {
        self.0.ports.send(&head, data);
    }
}

/// Connects on behalf of the pod: routes, policies and limits are those of its namespace here.
async fn connect(
    process: Arc<Process>,
    turn: OwnedSemaphorePermit,
    stream: LinkStream,
    source: SocketAddr,
    destination: SocketAddr,
) {
    let id = stream.id();
    let connected = if process.netns.ips().contains(&source.ip()) {
        tokio::select! {
            () = process.link.ended() => return,
            connected = process.netns.connect_tcp(destination, Some(source)) => connected,
        }
    } else {
        Err(io::ErrorKind::AddrNotAvailable.into())
    };
    let outcome = connected.as_ref().map(|_| ()).map_err(IoError::of);
    process.tell(&ToWorker::Connected { stream: id, outcome });
    drop(turn);
    if let Ok(connection) = connected {
        link::join(connection, stream).await;
    }
}

async fn resolve(process: Arc<Process>, _turn: OwnedSemaphorePermit, call: u32, name: String) {
    let resolved = process.netns.resolve(&name).await;
    let outcome = resolved.map_err(|error| Unresolved::of(&error));
    process.tell(&ToWorker::Resolved { call, outcome });
}

/// Finds a program for a command, and sends its code.
async fn find(
    process: Arc<Process>,
    _turn: OwnedSemaphorePermit,
    call: u32,
    container: u32,
    command: String,
) {
    let programs = process.container(container).and_then(|container| container.programs());
    let found = match programs {
        Some(programs) => programs.find(&command).await,
        None => Ok(None),
    };
    let found = found.and_then(|image| image.map(|image| code(&image)).transpose());
    let (outcome, files) = match found {
        Ok(Some((digest, code))) => (Ok(Some(digest)), vec![code]),
        Ok(None) => (Ok(None), Vec::new()),
        Err(message) => (Err(message), Vec::new()),
    };
    if process.link.send(&ToWorker::Found { call, outcome }, files).is_err() {
        process.link.end();
    }
}

fn code(image: &Image) -> Result<(String, OwnedFd), String> {
    let code = image.engine.code(image).map_err(|error| format!("open compiled code: {error}"))?;
    Ok((image.digest.clone(), code.into()))
}
