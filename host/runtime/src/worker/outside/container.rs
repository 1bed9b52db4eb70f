//! A container that runs in a worker.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coracle_telemetry::{Logger, RequestSink, Seen};
use parking_lot::Mutex;
use tokio::io::AsyncReadExt as _;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::process::Process;
use crate::exec::{
    Attached, Exec, ExecError, ExecHandle, ExecOwner, ExecSpec, Programs, Reader, Writer,
};
use crate::exit::Exit;
use crate::http::FAULT_INTERVAL;
use crate::logs::{Log, ship_written};
use crate::meter;
use crate::mounts::Lent;
use crate::sandbox::StartError;
use crate::spec::{ContainerSpec, Fault, FaultSink, LogSpec, Stdin, Usage};
use crate::worker::link::{Dropped, LinkStream};
use crate::worker::wire::{Start, Streams, ToWorker};

/// How long a worker has beyond a container's grace: much longer than a busy machine takes.
const STOP_MARGIN: Duration = Duration::from_secs(10);

/// Bytes of a log that are read at once.
const LOG_BYTES: usize = 32 << 10;

/// The host's hold on a container of a worker.
pub(crate) struct Remote {
    id: u32,
    name: String,
    process: Arc<Process>,
    stdin: Stdin,
    tty: bool,
    programs: Option<Arc<dyn Programs>>,
    on_fault: Option<FaultSink>,
    requests: Option<RequestSink>,
    exit: watch::Sender<Option<Exit>>,
    usage: Mutex<Usage>,
    /// When a fault was told last.
    fault_told: Mutex<Option<Instant>>,
    /// Ends when the log has been written.
    log: Mutex<Option<JoinHandle<()>>>,
}

impl Remote {
    /// Starts a container in a worker.
    pub(super) async fn start(
        process: &Arc<Process>,
        spec: ContainerSpec,
    ) -> Result<Arc<Self>, StartError> {
        let failed = |source| StartError::Worker { container: spec.name.clone(), source };
        let code = spec.image.engine.code(&spec.image).map_err(failed)?;
        let log = spec.log.as_ref().map(|log| open(log, &spec.name)).transpose()?;
        let stream = log.as_ref().map(|_| process.link.open());
        let id = process.number();
        let (call, answer) = process.starts.begin();
        let start = Start::of(&spec, call, id, stream.as_ref().map(LinkStream::id));
        let logger = spec.logger.clone();
        let writing = log.zip(stream).map(|(log, stream)| tokio::spawn(write(stream, log, logger)));
        let lent = Lent::new(spec.mounts.clone());
        let container = Arc::new(Self {
            id,
            name: spec.name.clone(),
            process: process.clone(),
            stdin: spec.stdin,
            tty: spec.tty,
            programs: spec.programs.clone(),
            on_fault: spec.on_fault.clone(),
            requests: spec.requests.clone(),
            exit: watch::Sender::new(None),
            usage: Mutex::default(),
            fault_told: Mutex::default(),
            log: Mutex::new(writing),
        });
        process.take_in(id, &container, lent);
        process.link.send(&ToWorker::Start(Box::new(start)), vec![code.into()]).map_err(failed)?;
        if process.has_ended() {
            process.let_go(id);
            return Err(failed(io::ErrorKind::ConnectionAborted.into()));
        }
        match answer.await {
            Ok(Ok(())) => Ok(container),
            Ok(Err(failure)) => {
                process.let_go(id);
                Err(failure.error(&spec.name))
            }
            // The worker ended meanwhile: the container has ended with it, and says why.
            Err(_) => Ok(container),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn programs(&self) -> Option<Arc<dyn Programs>> {
        self.programs.clone()
    }

    pub(super) fn tell_fault(&self, fault: Fault) {
        let Some(tell) = &self.on_fault else { return };
        let now = meter::now();
        let mut told = self.fault_told.lock();
        // A worker keeps to this itself.
        let is_early =
            told.is_some_and(|told| now.saturating_duration_since(told) < FAULT_INTERVAL / 2);
        if !is_early {
            *told = Some(now);
            drop(told);
            tell(fault);
        }
    }

    pub(super) fn tell_request(&self, seen: Seen) {
        if let Some(requests) = &self.requests {
            requests.take(seen);
        }
    }

    pub(super) fn set_usage(&self, usage: Usage) {
        *self.usage.lock() = usage;
    }

    /// What it has used, as far as its worker has told; asks it to tell anew.
    pub(crate) fn usage(&self) -> Usage {
        if self.is_running() {
            self.process.ask_usage();
        }
        *self.usage.lock()
    }

    pub(crate) fn is_running(&self) -> bool {
        self.exit.borrow().is_none()
    }

    /// Waits for the end.
    pub(crate) async fn wait(&self) -> Exit {
        let mut exit = self.exit.subscribe();
        match exit.wait_for(Option::is_some).await {
            Ok(exit) => exit.clone().unwrap_or_else(|| Exit::killed("the host is shutting down")),
            Err(_) => Exit::killed("the host is shutting down"),
        }
    }

    /// Records the end, once the log is on disk. The first one counts.
    pub(super) fn ended(self: &Arc<Self>, exit: Exit) {
        let (container, log) = (self.clone(), self.log.lock().take());
        tokio::spawn(async move {
            if let Some(log) = log {
                // It only fails when the host is ending.
                let _ = log.await;
            }
            container.exit.send_if_modified(|recorded| {
                let first = recorded.is_none();
                if first {
                    *recorded = Some(exit);
                }
                first
            });
        });
    }

    /// Asks it to end within `grace`. A worker that does not see to it is ended itself.
    pub(crate) fn stop(&self, grace: Duration) {
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        self.process.tell(&ToWorker::Stop { container: self.id, grace_ms });
        let (process, mut exit) = (self.process.clone(), self.exit.subscribe());
        tokio::spawn(async move {
            let ending = exit.wait_for(Option::is_some);
            if tokio::time::timeout(grace.saturating_add(STOP_MARGIN), ending).await.is_err() {
                process.link.end();
            }
        });
    }

    /// Runs a command beside the container.
    pub(crate) async fn exec(&self, spec: ExecSpec) -> Result<Exec, ExecError> {
        if !self.is_running() || self.process.has_ended() {
            return Err(ExecError::NotRunning);
        }
        let ends = Ends::open(&self.process, spec.stdin, spec.tty);
        let (call, ended) = self.process.command_ends.begin();
        let started = self.process.commands.expect(call);
        let streams = ends.streams();
        let exec = ToWorker::Exec { call, container: self.id, spec, streams };
        self.process.tell(&exec);
        started.await.map_err(|_| ExecError::NotRunning)??;
        let (handle, owner) = ExecHandle::pair();
        tokio::spawn(follow(self.process.clone(), call, ended, owner));
        let (stdin, stdout, stderr) = ends.take();
        Ok(Exec { stdin, stdout, stderr, handle })
    }

    /// Gives the streams of the container's own guest.
    pub(crate) fn attach(&self) -> Result<Attached, ExecError> {
        if !self.is_running() || self.process.has_ended() {
            return Err(ExecError::NotRunning);
        }
        let ends = Ends::open(&self.process, self.stdin != Stdin::Closed, self.tty);
        let streams = ends.streams();
        self.process.tell(&ToWorker::Attach { container: self.id, streams });
        let (stdin, stdout, stderr) = ends.take();
        Ok(Attached { stdin, stdout, stderr })
    }
}

/// Passes a client's wish on, and the command's end back.
async fn follow(
    process: Arc<Process>,
    call: u32,
    mut ended: oneshot::Receiver<Exit>,
    owner: ExecOwner,
) {
    let exit = tokio::select! {
        exit = &mut ended => exit,
        () = owner.killed() => {
            process.tell(&ToWorker::KillExec { call });
            ended.await
        }
    };
    owner.ended(exit.unwrap_or_else(|_| Exit::killed("the container ended")));
}

/// The host's ends of a client's streams.
struct Ends {
    stdin: Option<LinkStream>,
    stdout: LinkStream,
    stderr: Option<LinkStream>,
}

impl Ends {
    fn open(process: &Process, stdin: bool, tty: bool) -> Self {
        let link = &process.link;
        Self {
            stdin: stdin.then(|| link.open().when_dropped(Dropped::Ended)),
            stdout: link.open(),
            stderr: (!tty).then(|| link.open()),
        }
    }

    fn streams(&self) -> Streams {
        Streams {
            stdin: self.stdin.as_ref().map(LinkStream::id),
            stdout: self.stdout.id(),
            stderr: self.stderr.as_ref().map(LinkStream::id),
        }
    }

    fn take(self) -> (Option<Writer>, Reader, Option<Reader>) {
        (
            self.stdin.map(|stdin| -> Writer { Box::pin(stdin) }),
            Box::pin(self.stdout),
            self.stderr.map(|stderr| -> Reader { Box::pin(stderr) }),
        )
    }
}

fn open(spec: &LogSpec, container: &str) -> Result<Log, StartError> {
    Log::open(spec).map_err(|source| StartError::Log {
        container: container.to_owned(),
        path: spec.path.clone(),
        source,
    })
}

/// Writes a log's lines as they come, whole ones at a time, until there are no more and all are on
/// disk.
async fn write(mut stream: LinkStream, log: Log, logger: Option<Logger>) {
    let mut buffer = vec![0; LOG_BYTES];
    let mut rest: Vec<u8> = Vec::new();
    // A worker that was cut off has written all that it will.
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        rest.extend_from_slice(buffer.get(..length).unwrap_or_default());
        let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        // A line without an end is no log's, and not kept for long.
        let whole = if rest.len() > 2 * LOG_BYTES { rest.len() } else { whole };
        if whole > 0 {
            let lines = rest.get(..whole).unwrap_or_default();
            log.append(lines).await;
            if let Some(logger) = &logger {
                ship_written(logger, lines);
            }
            rest.drain(..whole);
        }
    }
    log.append(&rest).await;
    log.flushed().await;
}
