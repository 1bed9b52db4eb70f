//! A pod's worker process, as its host sees it.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use coracle_vnet::{CONNECTIONS_MAX, NetNs};
use parking_lot::Mutex;
use tokio::io::AsyncReadExt as _;
use tokio::process::Child;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::container::Remote;
use super::files;
use super::inbox::Inbox;
use super::ports::Ports;
use super::spawn::Workers;
use crate::exec::ExecError;
use crate::exit::Exit;
use crate::memory::Account;
use crate::mounts::Lent;
use crate::sandbox::{SandboxSpec, StartError};
use crate::spec::{ContainerSpec, Usage};
use crate::worker::calls::Calls;
use crate::worker::link::{self, Link, Packets, Side};
use crate::worker::wire::{Setup, StartFailure, ToWorker};

/// What a worker may ask for at once: as many connections as its namespace may have, and as many names.
const REQUESTS_MAX: usize = 2 * CONNECTIONS_MAX;

/// The number of the call for usage that nobody waits for.
const ASKED: u32 = 0;

/// Bytes of a worker's last words that are told.
const LAST_WORDS_BYTES_MAX: u64 = 2048;

/// A pod whose containers run in a worker. The worker is started with the first of them, and again
/// with the next one after a crash; it ends when this is dropped.
pub(crate) struct WorkerPod {
    workers: Workers,
    spec: SandboxSpec,
    /// What volumes that are held in memory take.
    memory: Arc<Account>,
    current: tokio::sync::Mutex<Option<Running>>,
    last: Mutex<Option<Arc<Process>>>,
}

/// The worker that runs now.
struct Running {
    process: Arc<Process>,
    _end: DropGuard,
}

impl WorkerPod {
    pub(crate) fn new(spec: SandboxSpec, workers: Workers) -> Self {
        Self {
            memory: Account::new(spec.memory_limit_bytes, None),
            workers,
            spec,
            current: tokio::sync::Mutex::default(),
            last: Mutex::default(),
        }
    }

    pub(crate) fn netns(&self) -> &Arc<NetNs> {
        &self.spec.netns
    }

    pub(crate) fn memory(&self) -> &Arc<Account> {
        &self.memory
    }

    /// Starts a container.
    pub(crate) async fn start(&self, spec: ContainerSpec) -> Result<Arc<Remote>, StartError> {
        let container = spec.name.clone();
        let failed = |source| StartError::Worker { container, source };
        let process = self.process().await.map_err(failed)?;
        Remote::start(&process, spec).await
    }

    async fn process(&self) -> io::Result<Arc<Process>> {
        let mut current = self.current.lock().await;
        if let Some(running) = current.as_ref().filter(|running| !running.process.has_ended()) {
            return Ok(running.process.clone());
        }
        let stop = CancellationToken::new();
        let process = Process::start(&self.workers, &self.spec, stop.clone()).await?;
        *self.last.lock() = Some(process.clone());
        *current = Some(Running { process: process.clone(), _end: stop.drop_guard() });
        Ok(process)
    }

    /// The number of the worker that runs now.
    pub(crate) fn pid(&self) -> Option<u32> {
        let process = self.last.lock().clone();
        process.filter(|process| !process.has_ended()).and_then(|process| process.pid)
    }

    /// Asks the worker what its containers have used.
    pub(crate) async fn measure(&self) {
        let process = self.last.lock().clone();
        if let Some(process) = process {
            process.measure().await;
        }
    }

    /// What the containers that run have used, as far as it was asked last.
    pub(crate) fn usage(&self) -> Vec<Usage> {
        let process = self.last.lock().clone();
        let containers = process.map(|process| process.containers());
        containers.unwrap_or_default().iter().map(|container| container.usage()).collect()
    }
}

/// One worker process.
pub(crate) struct Process {
    pub(super) link: Arc<Link>,
    pub(super) netns: Arc<NetNs>,
    pub(super) ports: Ports,
    pub(super) starts: Calls<Result<(), StartFailure>>,
    pub(super) commands: Calls<Result<(), ExecError>>,
    pub(super) command_ends: Calls<Exit>,
    measures: Calls<()>,
    /// Ended ones are taken out.
    containers: Mutex<HashMap<u32, Arc<Remote>>>,
    lent: Mutex<HashMap<u32, Arc<Lent>>>,
    next: AtomicU32,
    /// Usage was asked for, and not told yet.
    is_asked: AtomicBool,
    turns: Arc<Semaphore>,
    pid: Option<u32>,
    ended: CancellationToken,
}

impl Process {
    async fn start(
        workers: &Workers,
        spec: &SandboxSpec,
        stop: CancellationToken,
    ) -> io::Result<Arc<Self>> {
        let (ours, theirs) = link::pair()?;
        let (our_files, their_files) = link::pair()?;
        let child = workers.spawn(theirs).await?;
        let (link, packets) = Link::new(Side::Host, ours)?;
        let process = Arc::new(Self {
            ports: Ports::new(spec.netns.clone(), link.clone()),
            netns: spec.netns.clone(),
            link,
            starts: Calls::default(),
            commands: Calls::default(),
            command_ends: Calls::default(),
            measures: Calls::default(),
            containers: Mutex::default(),
            lent: Mutex::default(),
            next: AtomicU32::new(1),
            is_asked: AtomicBool::new(false),
            turns: Arc::new(Semaphore::new(REQUESTS_MAX)),
            pid: child.id(),
            ended: CancellationToken::new(),
        });
        let setup = ToWorker::Setup(setup(spec));
        process.link.send(&setup, vec![their_files])?;
        tokio::spawn(files::serve(process.clone(), Packets::new(our_files)?));
        tokio::spawn(process.clone().run(packets, child, stop));
        Ok(process)
    }

    /// Serves the worker to its end, and sees to it that it is gone.
    async fn run(
        self: Arc<Self>,
        packets: Arc<Packets>,
        mut child: Child,
        stop: CancellationToken,
    ) {
        let inbox = Inbox(self.clone());
        let broke = tokio::select! {
            error = self.link.run(&packets, &inbox) => {
                (error.kind() == io::ErrorKind::InvalidData).then(|| format!(": {error}"))
            }
            () = stop.cancelled() => None,
        };
        // It has ended already, or there is nothing left to wait for.
        let _ = child.start_kill();
        let mut words = Vec::new();
        if let Some(stderr) = child.stderr.take() {
            let _ = stderr.take(LAST_WORDS_BYTES_MAX).read_to_end(&mut words).await;
        }
        let status = child.wait().await;
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        let mut why = format!("the pod's worker process ended: {status}");
        why.extend(broke);
        if !words.is_empty() {
            why = format!("{why}: {}", String::from_utf8_lossy(&words).trim_end());
        }
        self.end(&why);
    }

    fn end(&self, why: &str) {
        self.link.end();
        self.ended.cancel();
        self.ports.clear();
        self.starts.end();
        self.commands.end();
        self.command_ends.end();
        self.measures.end();
        let containers = std::mem::take(&mut *self.containers.lock());
        for container in containers.into_values() {
            container.ended(Exit::killed(why));
        }
        self.lent.lock().clear();
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// Says something to the worker. One that cannot be told has ended.
    pub(super) fn tell(&self, message: &ToWorker) {
        if self.link.send(message, Vec::new()).is_err() {
            self.link.end();
        }
    }

    /// A place among what the worker asks for at once.
    ///
    /// # Errors
    /// There is none: no worker asks for so much.
    pub(super) fn turn(&self) -> io::Result<OwnedSemaphorePermit> {
        let turn = self.turns.clone().try_acquire_owned();
        turn.map_err(|_| link::broken("too many requests at once"))
    }

    /// Gives a container a number and takes it in.
    pub(super) fn number(&self) -> u32 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn take_in(&self, id: u32, container: &Arc<Remote>, lent: Lent) {
        self.lent.lock().insert(id, Arc::new(lent));
        self.containers.lock().insert(id, container.clone());
    }

    pub(super) fn container(&self, id: u32) -> Option<Arc<Remote>> {
        self.containers.lock().get(&id).cloned()
    }

    fn containers(&self) -> Vec<Arc<Remote>> {
        self.containers.lock().values().cloned().collect()
    }

    pub(super) fn lent(&self, id: u32) -> Option<Arc<Lent>> {
        self.lent.lock().get(&id).cloned()
    }

    /// Takes a container out that has ended, and its files.
    pub(super) fn let_go(&self, id: u32) -> Option<Arc<Remote>> {
        self.lent.lock().remove(&id);
        self.containers.lock().remove(&id)
    }

    async fn measure(&self) {
        let (call, answer) = self.measures.begin();
        self.tell(&ToWorker::Measure { call });
        if self.has_ended() {
            return;
        }
        // Without an answer the containers have ended, and said what they used.
        let _ = answer.await;
    }

    /// Asks for usage without waiting for it, unless that was done already.
    pub(super) fn ask_usage(&self) {
        if !self.is_asked.swap(true, Ordering::AcqRel) {
            self.tell(&ToWorker::Measure { call: ASKED });
        }
    }

    /// Takes in what the containers have used.
    pub(super) fn measured(&self, call: u32, usage: Vec<(u32, Usage)>) {
        for (id, usage) in usage {
            if let Some(container) = self.container(id) {
                container.set_usage(usage);
            }
        }
        if call == ASKED {
            self.is_asked.store(false, Ordering::Release);
        } else {
            self.measures.answer(call, ());
        }
    }
}

fn setup(spec: &SandboxSpec) -> Setup {
    let net = spec.netns.spec();
    Setup {
        id: net.tag.id().to_owned(),
        name: net.tag.name().to_owned(),
        ips: net.ips.clone(),
        hostname: net.hostname.clone(),
        hosts: net.hosts.clone(),
        memory_limit_bytes: spec.memory_limit_bytes,
        cpu_millis: spec.cpu_millis,
    }
}
