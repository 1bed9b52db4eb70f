//! A runtime that follows a script: for tests of the agent, no component runs.
//!
//! A container lives until the test ends it with [`FakeRuntime::exit`], or until it is stopped.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use coracle_vnet::TrafficCounts;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{
    Attached, Duplex, Exec, ExecError, ExecHandle, ExecSpec, ExitReport, Reader, Runtime,
    SandboxRequest, StartRequest, Started, Usage, Writer,
};
use crate::images::LocalImage;
use crate::pods::plan::PodKey;
use crate::pods::state::Fault;

/// Bytes that a fake connection buffers each way.
const PIPE_BYTES_MAX: usize = 4096;

type Name = (String, String);

/// Takes a connection into a pod, and does whatever a server would.
pub type Server = Arc<dyn Fn(tokio::io::DuplexStream) + Send + Sync>;

#[derive(Default)]
struct Inner {
    calls: Vec<String>,
    running: HashMap<Name, oneshot::Sender<ExitReport>>,
    requests: BTreeMap<Name, StartRequest>,
    start_faults: HashMap<String, Fault>,
    listening: HashMap<u16, &'static str>,
    servers: HashMap<u16, Server>,
    asked: HashMap<u16, String>,
    commands: HashMap<String, (&'static str, i32)>,
}

/// Records what it is asked for, in order.
#[derive(Clone, Default)]
pub struct FakeRuntime {
    inner: Arc<Mutex<Inner>>,
}

impl FakeRuntime {
    /// Takes the calls since the last time: `start web/app`, `stop web/app 30s`.
    pub fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.inner.lock().calls)
    }

    /// Ends a running container with an exit code; gives false when it does not run.
    pub fn exit(&self, pod: &str, container: &str, code: i32) -> bool {
        let reason = if code == 0 { "Completed" } else { "Error" };
        self.end(pod, container, ExitReport { code, reason: reason.into(), message: String::new() })
    }

    /// Makes every start of a container of this name fail; `None` lets it succeed again.
    pub fn fail_start(&self, container: &str, fault: Option<Fault>) {
        let mut inner = self.inner.lock();
        match fault {
            Some(fault) => inner.start_faults.insert(container.to_owned(), fault),
            None => inner.start_faults.remove(container),
        };
    }

    /// Makes every pod answer at `port` with these bytes; `None` refuses connections.
    pub fn answer(&self, port: u16, bytes: Option<&'static str>) {
        let mut inner = self.inner.lock();
        match bytes {
            Some(bytes) => inner.listening.insert(port, bytes),
            None => inner.listening.remove(&port),
        };
    }

    /// Gives every connection to `port` of a pod to `server`.
    pub fn serve(&self, port: u16, server: Server) {
        self.inner.lock().servers.insert(port, server);
    }

    /// Gives the last request that somebody sent to a port of a pod.
    #[must_use]
    pub fn asked(&self, port: u16) -> Option<String> {
        self.inner.lock().asked.get(&port).cloned()
    }

    /// Forgets what was sent to pods until now.
    pub fn forget_asked(&self) {
        self.inner.lock().asked.clear();
    }

    /// Lets a command be run beside every container: it writes `stdout`, then whatever it reads,
    /// and ends with `code`. `None` lets nobody find it again.
    pub fn answer_exec(&self, command: &str, answer: Option<(&'static str, i32)>) {
        let mut inner = self.inner.lock();
        match answer {
            Some(answer) => inner.commands.insert(command.to_owned(), answer),
            None => inner.commands.remove(command),
        };
    }

    /// Gives what a container was last started with.
    #[must_use]
    pub fn request(&self, pod: &str, container: &str) -> Option<StartRequest> {
        self.inner.lock().requests.get(&name(pod, container)).cloned()
    }

    fn end(&self, pod: &str, container: &str, report: ExitReport) -> bool {
        let sender = self.inner.lock().running.remove(&name(pod, container));
        sender.is_some_and(|sender| sender.send(report).is_ok())
    }

    fn call(&self, text: String) {
        self.inner.lock().calls.push(text);
    }
}

/// A command that writes `text` and what it reads, and ends with `code`, or 137 when it is killed.
fn follow_script(spec: &ExecSpec, text: &'static str, code: i32) -> Exec {
    use tokio::io::AsyncWriteExt as _;
    let (stdin, mut input) = tokio::io::duplex(PIPE_BYTES_MAX);
    let (mut output, stdout) = tokio::io::duplex(PIPE_BYTES_MAX);
    let stdin = spec.stdin.then(|| -> Writer { Box::pin(stdin) });
    let stderr = (!spec.tty).then(|| -> Reader { Box::pin(tokio::io::empty()) });
    let (handle, owner) = ExecHandle::pair();
    tokio::spawn(async move {
        let work = async {
            output.write_all(text.as_bytes()).await?;
            tokio::io::copy(&mut input, &mut output).await
        };
        let exit = tokio::select! {
            _ = work => coracle_runtime::Exit::of_code(code),
            () = owner.killed() => coracle_runtime::Exit::killed("killed"),
        };
        drop(output);
        owner.ended(exit);
    });
    Exec { stdin, stdout: Box::pin(stdout), stderr, handle }
}

fn name(pod: &str, container: &str) -> Name {
    (pod.to_owned(), container.to_owned())
}

impl Runtime for FakeRuntime {
    fn create_sandbox(&self, request: SandboxRequest) -> BoxFuture<'_, Result<(), String>> {
        self.call(format!("create sandbox {}", request.pod.name));
        futures::future::ready(Ok(())).boxed()
    }

    fn grant(&self, pod: &PodKey, egress: Option<&str>) -> Result<(), String> {
        self.call(format!("grant {} {}", pod.name, egress.unwrap_or("nothing")));
        Ok(())
    }

    fn remove_sandbox<'a>(&'a self, pod: &'a PodKey) -> BoxFuture<'a, ()> {
        self.call(format!("remove sandbox {}", pod.name));
        futures::future::ready(()).boxed()
    }

    fn prepare<'a>(
        &'a self,
        _image: &'a LocalImage,
        _plugs: &'a [LocalImage],
    ) -> BoxFuture<'a, Result<(), Fault>> {
        futures::future::ready(Ok(())).boxed()
    }

    fn start(&self, request: StartRequest) -> BoxFuture<'_, Result<Started, Fault>> {
        let key = name(&request.pod.name, &request.container);
        let mut inner = self.inner.lock();
        if let Some(fault) = inner.start_faults.get(&request.container).cloned() {
            return futures::future::ready(Err(fault)).boxed();
        }
        inner.calls.push(format!("start {}/{}", key.0, key.1));
        let (sender, receiver) = oneshot::channel();
        inner.running.insert(key.clone(), sender);
        inner.requests.insert(key, request);
        let lost = ExitReport { code: 137, reason: "Error".into(), message: String::new() };
        let exit = receiver.map(move |report| report.unwrap_or(lost)).boxed();
        futures::future::ready(Ok(Started { exit })).boxed()
    }

    fn stop(&self, pod: &PodKey, container: &str, grace: Duration) {
        self.call(format!("stop {}/{container}", pod.name));
        let code = if grace.is_zero() { 137 } else { 143 };
        let report = ExitReport { code, reason: "Error".into(), message: String::new() };
        self.end(&pod.name, container, report);
    }

    fn dial(&self, _pod: &PodKey, to: SocketAddr) -> io::Result<Box<dyn Duplex>> {
        let server = self.inner.lock().servers.get(&to.port()).cloned();
        if let Some(server) = server {
            let (ours, theirs) = tokio::io::duplex(PIPE_BYTES_MAX);
            server(theirs);
            return Ok(Box::new(ours));
        }
        let Some(answer) = self.inner.lock().listening.get(&to.port()).copied() else {
            return Err(io::ErrorKind::ConnectionRefused.into());
        };
        let (ours, mut theirs) = tokio::io::duplex(PIPE_BYTES_MAX);
        let inner = self.inner.clone();
        tokio::spawn(async move {
            use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
            let mut request = vec![0; PIPE_BYTES_MAX];
            if let Ok(length) = theirs.read(&mut request).await {
                let text = String::from_utf8_lossy(request.get(..length).unwrap_or_default());
                inner.lock().asked.insert(to.port(), text.into_owned());
                let _ = theirs.write_all(answer.as_bytes()).await;
            }
        });
        Ok(Box::new(ours))
    }

    fn exec<'a>(
        &'a self,
        pod: &'a PodKey,
        container: &'a str,
        spec: ExecSpec,
    ) -> BoxFuture<'a, Result<Exec, ExecError>> {
        self.call(format!("exec {}/{container} {}", pod.name, spec.argv.join(" ")));
        let command = spec.argv.first().cloned().unwrap_or_default();
        let inner = self.inner.lock();
        if !inner.running.contains_key(&name(&pod.name, container)) {
            return futures::future::ready(Err(ExecError::NotRunning)).boxed();
        }
        let answer = inner.commands.get(&command).copied();
        let answer = answer.ok_or(ExecError::NotFound { command });
        futures::future::ready(answer.map(|(text, code)| follow_script(&spec, text, code))).boxed()
    }

    fn attach(&self, pod: &PodKey, container: &str) -> Result<Attached, ExecError> {
        self.call(format!("attach {}/{container}", pod.name));
        if !self.inner.lock().running.contains_key(&name(&pod.name, container)) {
            return Err(ExecError::NotRunning);
        }
        let (ours, mut theirs) = tokio::io::duplex(PIPE_BYTES_MAX);
        let (stdout, stdin) = tokio::io::split(ours);
        tokio::spawn(async move {
            let (mut from, mut to) = tokio::io::split(&mut theirs);
            let _ = tokio::io::copy(&mut from, &mut to).await;
        });
        Ok(Attached { stdin: Some(Box::pin(stdin)), stdout: Box::pin(stdout), stderr: None })
    }

    fn resize_volume(&self, pod: &PodKey, volume: &str, bytes_max: u64) {
        self.call(format!("resize {}/{volume} {bytes_max}", pod.name));
    }

    fn usage(&self, pod: &PodKey, container: &str) -> Option<Usage> {
        let inner = self.inner.lock();
        inner.running.contains_key(&name(&pod.name, container)).then(Usage::default)
    }

    fn traffic(&self, _pod: &PodKey) -> Option<TrafficCounts> {
        None
    }
}
