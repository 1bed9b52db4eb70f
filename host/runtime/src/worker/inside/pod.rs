//! What the worker does when its host says so.
//!
//! An edge: containers and commands are tasks.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use coracle_telemetry::RequestSink;
use coracle_vnet::{BoxFuture, Fabric, NetNs, NetNsSpec, NsTag};
use futures::FutureExt as _;
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt as _;

use super::files::{ContainerFiles, FileSocket};
use super::uplink::{Datagrams, Out, Way};
use crate::container::Container;
use crate::engine::Engine;
use crate::exec::{ExecError, ExecHandle, ExecSpec, Programs, Reader, Writer};
use crate::image::Image;
use crate::logs::Log;
use crate::mounts::MountTable;
use crate::sandbox::{Sandbox, SandboxSpec};
use crate::spec::{ContainerSpec, Fault, FaultSink};
use crate::worker::calls::Calls;
use crate::worker::link::{self, DatagramHead, Dropped, Handler, Link, LinkStream};
use crate::worker::wire::{Setup, Start, StartFailure, Streams, ToHost, ToWorker, short};

/// The pod of this worker.
struct Pod {
    fabric: Arc<Fabric>,
    netns: Arc<NetNs>,
    sandbox: Sandbox,
    files: Arc<FileSocket>,
}

/// A program that was looked for: its digest and its code.
type Found = (Result<Option<String>, String>, Option<OwnedFd>);

/// All that a worker has.
pub(super) struct Worker {
    engine: Engine,
    out: Arc<Out>,
    pod: OnceLock<Pod>,
    containers: Mutex<HashMap<u32, Container>>,
    commands: Mutex<HashMap<u32, ExecHandle>>,
    programs: Calls<Found>,
}

/// Takes what the host says.
pub(super) struct Inbox(pub(super) Arc<Worker>);

impl Handler for Inbox {
    type Message = ToWorker;

    fn message(&self, message: ToWorker, files: Vec<OwnedFd>) -> io::Result<()> {
        let worker = &self.0;
        let mut files = files.into_iter();
        match message {
            ToWorker::Setup(setup) => worker.set_up(setup, files.next())?,
            ToWorker::Start(start) => {
                let code = files.next().ok_or_else(|| link::broken("start without code"))?;
                let log = start.log.map(|id| worker.out.link.join(id)).transpose()?;
                tokio::spawn(worker.clone().start(*start, code, log));
            }
            ToWorker::Stop { container, grace_ms } => worker.stop(container, grace_ms),
            ToWorker::Exec { call, container, spec, streams } => {
                let streams = Joined::new(&worker.out.link, streams)?;
                tokio::spawn(worker.clone().exec(call, container, spec, streams));
            }
            ToWorker::KillExec { call } => {
                if let Some(command) = worker.commands.lock().get(&call) {
                    command.kill();
                }
            }
            ToWorker::Attach { container, streams } => {
                worker.attach(container, Joined::new(&worker.out.link, streams)?);
            }
            ToWorker::Measure { call } => worker.measure(call),
            ToWorker::Accept { stream, destination, source } => {
                let stream = worker.out.link.join(stream)?;
                // Dropping the stream cuts the connection at its other end.
                if let Some(pod) = worker.pod.get()
                    && let Ok(connection) = pod.netns.deliver(destination, source)
                {
                    tokio::spawn(link::join(connection, stream));
                }
            }
            ToWorker::Connected { stream, outcome } => worker.out.connected(stream, outcome),
            ToWorker::Resolved { call, outcome } => worker.out.lookups.answer(call, outcome),
            ToWorker::Found { call, outcome } => {
                worker.programs.answer(call, (outcome, files.next()));
            }
        }
        Ok(())
    }

    fn datagram(&self, head: DatagramHead, data: Bytes) {
        let Some(pod) = self.0.pod.get() else { return };
        let back = DatagramHead { local: head.local, remote: head.remote };
        let reply = Arc::new(Datagrams { out: self.0.out.clone(), head: back });
        let delivered = pod.fabric.deliver_datagram(head.local, head.remote, data, Some(reply));
        // One for an address that the pod does not have is lost, as on any network.
        drop(delivered);
    }
}

impl Worker {
    pub(super) fn new(engine: Engine, link: Arc<Link>) -> Self {
        Self {
            engine,
            out: Out::new(link),
            pod: OnceLock::new(),
            containers: Mutex::default(),
            commands: Mutex::default(),
            programs: Calls::default(),
        }
    }

    fn set_up(&self, setup: Setup, files: Option<OwnedFd>) -> io::Result<()> {
        let files = files.ok_or_else(|| link::broken("setup without files"))?;
        let way = Arc::new(Way(self.out.clone()));
        let fabric = Fabric::with_uplink(way.clone(), way);
        let netns = fabric.add(NetNsSpec {
            hostname: setup.hostname,
            hosts: setup.hosts,
            ..NetNsSpec::new(NsTag::new(&setup.id, &setup.name), setup.ips)
        });
        let netns = netns.map_err(io::Error::other)?;
        self.out.set_netns(&netns);
        let sandbox = Sandbox::new(SandboxSpec {
            netns: netns.clone(),
            memory_limit_bytes: setup.memory_limit_bytes,
            cpu_millis: setup.cpu_millis,
        });
        let pod = Pod { fabric, netns, sandbox, files: FileSocket::new(files) };
        self.pod.set(pod).map_err(|_| link::broken("two pods"))
    }

    async fn start(self: Arc<Self>, start: Start, code: OwnedFd, log: Option<LinkStream>) {
        let call = start.call;
        let outcome = self.clone().try_start(start, code, log).await;
        self.out.send(&ToHost::Started { call, outcome });
    }

    async fn try_start(
        self: Arc<Self>,
        start: Start,
        code: OwnedFd,
        log: Option<LinkStream>,
    ) -> Result<(), StartFailure> {
        let other = |error: &dyn std::fmt::Display| StartFailure::Other(short(&error.to_string()));
        let pod = self.pod.get().ok_or_else(|| other(&"there is no pod yet"))?;
        let image = self.engine.load_open(&start.image, File::from(code));
        let image = image.map_err(|error| other(&error))?;
        let id = start.container;
        let spec = self.spec(start, image, pod.files.clone());
        let line = log.map(|stream| Arc::new(LogLine(tokio::sync::Mutex::new(stream))));
        let log = line.clone().map(|line| Log::to(line));
        let started = pod.sandbox.start_logged(spec, log.clone()).await;
        let container = started.map_err(|error| StartFailure::of(&error))?;
        self.containers.lock().insert(id, container.clone());
        tokio::spawn(async move {
            let exit = container.wait().await;
            if let (Some(log), Some(line)) = (log, line) {
                log.flushed().await;
                // An error means that the host no longer listens, or is gone.
                let _ = line.0.lock().await.shutdown().await;
            }
            self.containers.lock().remove(&id);
            self.out.tell_ports();
            let exit = crate::Exit { message: short(&exit.message), ..exit };
            let usage = Box::new(container.usage());
            self.out.send(&ToHost::Exited { container: id, exit, usage });
        });
        Ok(())
    }

    fn spec(
        self: &Arc<Self>,
        start: Start,
        image: Arc<Image>,
        files: Arc<FileSocket>,
    ) -> ContainerSpec {
        let container = start.container;
        let lender = Arc::new(ContainerFiles { socket: files, container });
        let (out, served) = (self.out.clone(), self.out.clone());
        let tell = move |fault: Fault| {
            let fault = Fault { message: short(&fault.message), ..fault };
            out.send(&ToHost::Fault { container, fault });
        };
        ContainerSpec {
            argv: start.argv,
            env: start.env,
            cwd: start.cwd,
            mounts: MountTable::lent(start.points, start.services, lender),
            limits: start.limits,
            http_port: start.http_port,
            isolation: start.isolation,
            http: start.http,
            quiet_max: start.quiet_max,
            stdin: start.stdin,
            tty: start.tty,
            programs: Some(Arc::new(HostPrograms { worker: self.clone(), container })),
            on_fault: start.tell_faults.then(|| -> FaultSink { Arc::new(tell) }),
            requests: start.tell_requests.then(|| {
                RequestSink::new(move |seen| {
                    // A host that is behind misses some rather than hold more and more of them.
                    if served.link.has_room() {
                        served.send(&ToHost::Served { container, seen: Box::new(seen) });
                    }
                })
            }),
            ..ContainerSpec::new(start.name, image)
        }
    }

    fn container(&self, id: u32) -> Option<Container> {
        self.containers.lock().get(&id).cloned()
    }

    fn stop(&self, id: u32, grace_ms: u64) {
        if let Some(container) = self.container(id) {
            container.stop(Duration::from_millis(grace_ms));
            self.out.tell_ports();
        }
    }

    fn measure(&self, call: u32) {
        let containers = self.containers.lock();
        let usage = containers.iter().map(|(id, container)| (*id, container.usage())).collect();
        drop(containers);
        self.out.send(&ToHost::Measured { call, usage });
    }

    async fn exec(self: Arc<Self>, call: u32, container: u32, spec: ExecSpec, streams: Joined) {
        let started = match self.container(container) {
            Some(container) => container.exec(spec).await,
            None => Err(ExecError::NotRunning),
        };
        let exec = match started {
            Ok(exec) => exec,
            Err(error) => {
                self.out.send(&ToHost::ExecStarted { call, outcome: Err(error) });
                return;
            }
        };
        self.commands.lock().insert(call, exec.handle.clone());
        self.out.send(&ToHost::ExecStarted { call, outcome: Ok(()) });
        streams.serve(exec.stdin, exec.stdout, exec.stderr).await;
        let exit = exec.handle.wait().await;
        self.commands.lock().remove(&call);
        let exit = crate::Exit { message: short(&exit.message), ..exit };
        self.out.send(&ToHost::ExecEnded { call, exit });
    }

    /// Dropping the streams tells the client that there is nothing to see.
    fn attach(&self, container: u32, streams: Joined) {
        let attached = self.container(container).and_then(|container| container.attach().ok());
        if let Some(attached) = attached {
            let (stdin, stdout, stderr) = (attached.stdin, attached.stdout, attached.stderr);
            tokio::spawn(async move { streams.serve(stdin, stdout, stderr).await });
        }
    }
}

/// A client's streams.
struct Joined {
    stdin: Option<LinkStream>,
    stdout: LinkStream,
    stderr: Option<LinkStream>,
}

impl Joined {
    fn new(link: &Arc<Link>, streams: Streams) -> io::Result<Self> {
        Ok(Self {
            stdin: streams.stdin.map(|id| link.join(id)).transpose()?,
            stdout: link.join(streams.stdout)?.when_dropped(Dropped::Ended),
            stderr: streams
                .stderr
                .map(|id| Ok::<_, io::Error>(link.join(id)?.when_dropped(Dropped::Ended)))
                .transpose()?,
        })
    }

    /// Copies until all output has been written, or nobody reads it.
    async fn serve(self, stdin: Option<Writer>, stdout: Reader, stderr: Option<Reader>) {
        let typing = async {
            if let (Some(mut from), Some(mut to)) = (self.stdin, stdin) {
                // A client that is cut off has typed all that it will.
                let _ = tokio::io::copy(&mut from, &mut to).await;
                let _ = to.shutdown().await;
            }
            std::future::pending::<()>().await;
        };
        let showing = async {
            tokio::join!(show(Some(stdout), Some(self.stdout)), show(stderr, self.stderr));
        };
        tokio::select! {
            () = typing => {}
            () = showing => {}
        }
    }
}

async fn show(from: Option<Reader>, to: Option<LinkStream>) {
    if let (Some(mut from), Some(mut to)) = (from, to) {
        // An error means that nobody reads any more.
        let _ = tokio::io::copy(&mut from, &mut to).await;
        let _ = to.shutdown().await;
    }
}

/// The stream for a container's log lines; the host writes them to disk.
struct LogLine(tokio::sync::Mutex<LinkStream>);

impl crate::logs::Sink for LogLine {
    fn append(&self, lines: &[u8]) -> io::Result<()> {
        let runtime = tokio::runtime::Handle::current();
        runtime.block_on(async { self.0.lock().await.write_all(lines).await })
    }

    fn name(&self) -> String {
        "the host".to_owned()
    }
}

/// Asks the host for programs.
struct HostPrograms {
    worker: Arc<Worker>,
    container: u32,
}

impl Programs for HostPrograms {
    fn find<'a>(&'a self, command: &'a str) -> BoxFuture<'a, Result<Option<Arc<Image>>, String>> {
        let (worker, container) = (&self.worker, self.container);
        let (call, answer) = worker.programs.begin();
        worker.out.send(&ToHost::Find { call, container, command: command.to_owned() });
        async move {
            let (outcome, code) = answer.await.map_err(|_| "the host is gone".to_owned())?;
            let Some(digest) = outcome? else { return Ok(None) };
            let code = code.ok_or("the host sent no code")?;
            let image = worker.engine.load_open(&digest, File::from(code));
            image.map(Some).map_err(|error| error.to_string())
        }
        .boxed()
    }
}
