//! A running container: the handle that its owner keeps, and the core that its instances share.
//!
//! An edge: the owner waits here for the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use coracle_vnet::{NetNs, Scope};
use tokio::sync::{Semaphore, watch};

use crate::exec::{Attached, EXECS_MAX, Exec, ExecError, ExecSpec};
use crate::exit::Exit;
use crate::http::HttpContainer;
use crate::image::{ComponentKind, Image, Pre};
use crate::latency::Latency;
use crate::lifecycle::Notice;
use crate::logs::Log;
use crate::memory::Account;
use crate::meter::{self, CpuMeter};
use crate::sandbox::StartError;
use crate::spec::{ContainerSpec, Stdin, Usage};
use crate::stdio::{Input, Interrupts, Output, Screen, Stdio, Taps, Terminal};
use crate::worker::Remote;
use crate::{command, exec, http};

/// A container that was started. Cheap to clone; all clones are the same container, and dropping
/// them all does not end it.
#[derive(Clone)]
pub struct Container {
    life: Life,
}

/// Where a container runs.
#[derive(Clone)]
enum Life {
    /// In this process.
    Here(Here),
    /// In a worker.
    Worker(Arc<Remote>),
}

/// A container of this process.
#[derive(Clone)]
struct Here {
    core: Arc<Core>,
    http: Option<Arc<HttpContainer>>,
}

/// What all instances of a container, its task and its handles share.
pub(crate) struct Core {
    pub(crate) spec: ContainerSpec,
    pub(crate) netns: Arc<NetNs>,
    /// The connections that the container serves.
    pub(crate) scope: Arc<Scope>,
    pub(crate) memory: Arc<Account>,
    pub(crate) cpu: Arc<CpuMeter>,
    pub(crate) log: Option<Log>,
    pub(crate) notice: Notice,
    pub(crate) counters: Counters,
    pub(crate) stdio: Stdio,
    /// Room for commands that run beside the container.
    pub(crate) execs: Arc<Semaphore>,
    phase: watch::Sender<Phase>,
    exit: watch::Sender<Option<Exit>>,
}

/// What a core is made of.
struct Parts {
    spec: ContainerSpec,
    netns: Arc<NetNs>,
    memory: Arc<Account>,
    cpu: Arc<CpuMeter>,
    log: Option<Log>,
    stdio: Stdio,
}

/// What is counted over the life of a container.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) requests: AtomicU64,
    pub(crate) faults: AtomicU64,
    pub(crate) instances: AtomicU64,
    pub(crate) latency: Latency,
}

/// What the owner wants of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// That it runs.
    Running,
    /// That it ends when nothing is in flight any more, by the deadline at the latest.
    Stopping(Instant),
    /// That it ends now.
    Killed,
}

impl Phase {
    /// What comes of asking for `next`: a kill stays a kill, and a deadline only moves closer.
    fn then(self, next: Phase) -> Phase {
        match (self, next) {
            (Phase::Running, next) => next,
            (Phase::Stopping(old), Phase::Stopping(new)) => Phase::Stopping(old.min(new)),
            (Phase::Stopping(deadline), Phase::Running) => Phase::Stopping(deadline),
            (Phase::Killed, _) | (_, Phase::Killed) => Phase::Killed,
        }
    }
}

/// What the containers of a pod share: each counts there as well, and keeps to its limits.
#[derive(Clone, Copy)]
pub(crate) struct Above<'a> {
    pub(crate) memory: &'a Arc<Account>,
    pub(crate) cpu: &'a Arc<CpuMeter>,
}

/// Starts a container in a namespace.
pub(crate) async fn start(
    spec: ContainerSpec,
    netns: &Arc<NetNs>,
    above: Above<'_>,
    log: Option<Log>,
) -> Result<Container, StartError> {
    let core = Core::new(spec, netns, above, log)?;
    match core.spec.image.kind {
        ComponentKind::Command => {
            tokio::spawn(command::run(core.clone()));
            Ok(Container { life: Life::Here(Here { core, http: None }) })
        }
        ComponentKind::Library => Err(StartError::Instance {
            container: core.spec.name.clone(),
            message: "a library has nothing to start; its functions are called".to_owned(),
        }),
        ComponentKind::Http => {
            let http = http::start(core.clone()).await?;
            Ok(Container { life: Life::Here(Here { core, http: Some(http) }) })
        }
    }
}

impl Core {
    pub(crate) fn new(
        spec: ContainerSpec,
        netns: &Arc<NetNs>,
        above: Above<'_>,
        log: Option<Log>,
    ) -> Result<Arc<Self>, StartError> {
        let open = || spec.log.as_ref().map(Log::open).transpose();
        let log = log.map_or_else(open, |log| Ok(Some(log)));
        let log = log.map_err(|source| StartError::Log {
            container: spec.name.clone(),
            path: spec.log.as_ref().map(|log| log.path.clone()).unwrap_or_default(),
            source,
        })?;
        let input = match spec.stdin {
            Stdin::Closed => None,
            Stdin::Open => Some(Input::new(false)),
            Stdin::Once => Some(Input::new(true)),
        };
        let taps = Taps::new(spec.tty);
        let keyboard = input.as_ref().filter(|_| spec.tty);
        let screen = || Screen::Taps(Arc::downgrade(&taps));
        let terminal = keyboard.map(|input| Terminal::new(input.clone(), screen()));
        let stdio = Stdio { input, terminal, output: Output::Log(taps), tty: spec.tty };
        let memory = Account::new(spec.limits.memory_bytes, Some(above.memory.clone()));
        let cpu = CpuMeter::new(spec.limits.cpu_millis, meter::now(), Some(above.cpu.clone()));
        Ok(Self::of(Parts { spec, netns: netns.clone(), memory, cpu, log, stdio }))
    }

    fn of(parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            netns: parts.netns,
            scope: Arc::default(),
            memory: parts.memory,
            cpu: parts.cpu,
            log: parts.log,
            notice: Notice::default(),
            counters: Counters::default(),
            stdio: parts.stdio,
            execs: Arc::new(Semaphore::new(EXECS_MAX)),
            phase: watch::Sender::new(Phase::Running),
            exit: watch::Sender::new(None),
            spec: parts.spec,
        })
    }

    /// The core of a command that runs beside this container: another program with streams of its
    /// own, and everything else the container's.
    pub(crate) fn beside(&self, image: Arc<Image>, argv: Vec<String>, stdio: Stdio) -> Arc<Self> {
        let spec = ContainerSpec {
            argv,
            env: self.spec.env.clone(),
            cwd: self.spec.cwd.clone(),
            mounts: self.spec.mounts.clone(),
            limits: self.spec.limits,
            ..ContainerSpec::new(self.spec.name.clone(), image)
        };
        Self::of(Parts {
            spec,
            netns: self.netns.clone(),
            memory: Account::new(None, Some(self.memory.clone())),
            cpu: self.cpu.clone(),
            log: None,
            stdio,
        })
    }

    /// What lets the guest go where it waits for the network.
    pub(crate) fn interrupts(&self) -> Interrupts {
        let input = self.stdio.input.clone().filter(|_| self.spec.image.takes_interrupts());
        input.map(Interrupts::of).unwrap_or_default()
    }

    /// Resolves when the container has ended.
    pub(crate) async fn ending(&self) {
        // The sender lives in `self`, so this cannot fail.
        let _ = self.exit.subscribe().wait_for(Option::is_some).await;
    }

    /// The component with its imports resolved.
    pub(crate) fn pre(&self) -> &Pre {
        &self.spec.image.pre
    }

    /// What the owner wants, and a way to hear of changes.
    pub(crate) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Sets what the owner wants.
    pub(crate) fn want(&self, next: Phase) {
        self.phase.send_if_modified(|phase| {
            let before = *phase;
            *phase = before.then(next);
            *phase != before
        });
    }

    /// Records the end. The first one counts.
    pub(crate) fn ended(&self, exit: Exit) {
        self.exit.send_if_modified(|recorded| {
            let first = recorded.is_none();
            if first {
                *recorded = Some(exit);
            }
            first
        });
        if let Output::Log(taps) = &self.stdio.output {
            taps.end();
        }
    }

    /// Says whether the container has not ended yet.
    pub(crate) fn is_running(&self) -> bool {
        self.exit.borrow().is_none()
    }
}

impl Container {
    pub(crate) fn in_worker(worker: Arc<Remote>) -> Self {
        Self { life: Life::Worker(worker) }
    }

    /// Waits for the container's end. Cancel safe; may be called any number of times.
    pub async fn wait(&self) -> Exit {
        match &self.life {
            Life::Here(here) => here.wait().await,
            Life::Worker(worker) => worker.wait().await,
        }
    }

    /// Asks the container to stop within `grace`; returns at once.
    ///
    /// New connections are refused from now on. A guest that imports `coracle:lifecycle` is told,
    /// and has until the deadline. Any other ends as soon as the requests and connections that it
    /// serves are done, with code 143; whatever still runs at the deadline is cut off, code 137.
    /// A second call can only shorten the time. A grace of zero is a kill.
    ///
    /// *Source:* `design.md` §2, Stopping.
    pub fn stop(&self, grace: Duration) {
        match &self.life {
            Life::Here(here) => here.stop(grace),
            Life::Worker(worker) => worker.stop(grace),
        }
    }

    /// Ends the container now; a tight loop is cut off within a few milliseconds. Returns at once.
    pub fn kill(&self) {
        match &self.life {
            Life::Here(here) => here.kill(),
            Life::Worker(worker) => worker.stop(Duration::ZERO),
        }
    }

    /// Runs a command beside the container's own guest: a fresh instance of the program that the
    /// specification's [`ContainerSpec::programs`] finds, with the container's files, environment,
    /// network namespace and limits. The command ends with the container at the latest.
    ///
    /// Must be called on a tokio runtime. Cancel safe: a dropped call runs nothing.
    ///
    /// # Errors
    /// See [`ExecError`].
    pub async fn exec(&self, spec: ExecSpec) -> Result<Exec, ExecError> {
        match &self.life {
            Life::Here(here) => here.exec(spec).await,
            Life::Worker(worker) => worker.exec(spec).await,
        }
    }

    /// Gives the streams of the container's own guest, from now on.
    ///
    /// # Errors
    /// [`ExecError::NotRunning`] after the end, [`ExecError::TooMany`] for one client too many.
    pub fn attach(&self) -> Result<Attached, ExecError> {
        match &self.life {
            Life::Here(here) => here.attach(),
            Life::Worker(worker) => worker.attach(),
        }
    }

    /// Says whether the container has not ended yet.
    #[must_use]
    pub fn is_running(&self) -> bool {
        match &self.life {
            Life::Here(here) => here.core.is_running(),
            Life::Worker(worker) => worker.is_running(),
        }
    }

    /// Gives what the container has used so far. In a worker it is what was told last, by
    /// [`Sandbox::measure`](crate::Sandbox::measure) or because this was called before.
    #[must_use]
    pub fn usage(&self) -> Usage {
        match &self.life {
            Life::Here(here) => here.usage(),
            Life::Worker(worker) => worker.usage(),
        }
    }

    /// Gives the container's name.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.life {
            Life::Here(here) => &here.core.spec.name,
            Life::Worker(worker) => worker.name(),
        }
    }
}

impl Here {
    async fn wait(&self) -> Exit {
        let mut exit = self.core.exit.subscribe();
        match exit.wait_for(Option::is_some).await {
            Ok(exit) => exit.clone().unwrap_or_else(|| Exit::killed("the host is shutting down")),
            // The sender lives in `self.core`, so this cannot come before the end.
            Err(_) => Exit::killed("the host is shutting down"),
        }
    }

    fn stop(&self, grace: Duration) {
        if grace.is_zero() {
            return self.kill();
        }
        self.core.scope.drain();
        self.core.want(Phase::Stopping(meter::now() + grace));
        if let Some(http) = &self.http {
            http.stop();
        }
    }

    fn kill(&self) {
        self.core.scope.drain();
        self.core.want(Phase::Killed);
        if let Some(http) = &self.http {
            http.stop();
        }
    }

    async fn exec(&self, spec: ExecSpec) -> Result<Exec, ExecError> {
        exec::start(&self.core, spec).await
    }

    fn attach(&self) -> Result<Attached, ExecError> {
        let Output::Log(taps) = &self.core.stdio.output else {
            return Err(ExecError::NotRunning);
        };
        if !self.core.is_running() {
            return Err(ExecError::NotRunning);
        }
        let (stdout, stderr) =
            taps.attach().ok_or(ExecError::TooMany { max: exec::ATTACHED_MAX })?;
        let stdio = &self.core.stdio;
        let stdin = match (&stdio.terminal, &stdio.input) {
            (Some(terminal), _) => Some::<exec::Writer>(Box::pin(terminal.typing())),
            (None, Some(input)) => Some::<exec::Writer>(Box::pin(input.writer())),
            (None, None) => None,
        };
        Ok(Attached {
            stdin,
            stdout: Box::pin(stdout),
            stderr: if self.core.stdio.tty { None } else { Some(Box::pin(stderr)) },
        })
    }

    fn usage(&self) -> Usage {
        self.core.usage()
    }
}

impl Core {
    /// Gives what its instances have used so far.
    pub(crate) fn usage(&self) -> Usage {
        let counters = &self.counters;
        Usage {
            cpu_usec: self.cpu.used_micros(),
            memory_bytes: self.memory.used_bytes(),
            memory_bytes_max: self.memory.peak_bytes(),
            requests: counters.requests.load(Ordering::Relaxed),
            faults: counters.faults.load(Ordering::Relaxed),
            instances: counters.instances.load(Ordering::Relaxed),
            latencies: counters.latency.counts(),
            throttling: self.cpu.throttling(),
            disk: self.spec.mounts.disk(),
        }
    }
}

impl std::fmt::Debug for Container {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Container")
            .field("name", &self.name())
            .field("running", &self.is_running())
            .finish()
    }
}
