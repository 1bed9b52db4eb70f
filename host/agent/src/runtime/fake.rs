//! A runtime that follows a script: for tests of the agent, no component runs.
//!
//! A container lives until the test ends it with [`FakeRuntime::exit`], or until it is stopped.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{Duplex, ExitReport, Runtime, SandboxRequest, StartRequest, Started, Usage};
use crate::images::LocalImage;
use crate::pods::plan::PodKey;
use crate::pods::state::Fault;

/// Bytes that a fake connection buffers each way.
const PIPE_BYTES_MAX: usize = 4096;

type Name = (String, String);

#[derive(Default)]
struct Inner {
    calls: Vec<String>,
    running: HashMap<Name, oneshot::Sender<ExitReport>>,
    requests: BTreeMap<Name, StartRequest>,
    start_faults: HashMap<String, Fault>,
    listening: HashMap<u16, &'static str>,
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

fn name(pod: &str, container: &str) -> Name {
    (pod.to_owned(), container.to_owned())
}

impl Runtime for FakeRuntime {
    fn create_sandbox(&self, request: SandboxRequest) -> BoxFuture<'_, Result<(), String>> {
        self.call(format!("create sandbox {}", request.pod.name));
        futures::future::ready(Ok(())).boxed()
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
        let Some(answer) = self.inner.lock().listening.get(&to.port()).copied() else {
            return Err(io::ErrorKind::ConnectionRefused.into());
        };
        let (ours, mut theirs) = tokio::io::duplex(PIPE_BYTES_MAX);
        tokio::spawn(async move {
            use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
            let mut request = vec![0; PIPE_BYTES_MAX];
            if theirs.read(&mut request).await.is_ok() {
                let _ = theirs.write_all(answer.as_bytes()).await;
            }
        });
        Ok(Box::new(ours))
    }

    fn usage(&self, pod: &PodKey, container: &str) -> Option<Usage> {
        let inner = self.inner.lock();
        inner.running.contains_key(&name(&pod.name, container)).then(Usage::default)
    }
}
