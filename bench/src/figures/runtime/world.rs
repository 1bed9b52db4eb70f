//! An engine, a fabric, and pods on it.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::SystemTime;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use coracle_runtime::{
    Container, ContainerSpec, Engine, EngineConfig, Image, ImageSource, LogSpec, Sandbox,
    SandboxSpec,
};
use coracle_vnet::{
    BoxFuture, Fabric, Flow, NetNs, NetNsSpec, NsTag, ResolveError, Resolver, Route, Router,
};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;

/// Every address is a pod's own; there are no names.
struct Plain;

impl Router for Plain {
    fn route(&self, flow: &Flow) -> Route {
        Route::Pod(flow.destination)
    }
}

impl Resolver for Plain {
    fn resolve(
        &self,
        _from: &NsTag,
        name: &str,
    ) -> BoxFuture<'static, Result<Vec<IpAddr>, ResolveError>> {
        Box::pin(std::future::ready(Err(ResolveError::NotFound(name.to_owned()))))
    }
}

/// What every figure needs.
pub(crate) struct World {
    engine: Engine,
    fabric: Arc<Fabric>,
    guests: PathBuf,
    folder: Arc<tempfile::TempDir>,
    pods: Arc<AtomicU16>,
}

impl World {
    /// An engine whose compiled code is thrown away with it; the guests are built.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let folder = Arc::new(tempfile::tempdir().context("make a folder")?);
        Self::of(folder, coracle_e2e::build_guests("tests/guests"), Arc::new(AtomicU16::new(1)))
    }

    /// Another engine over the same compiled code: a host that was started again.
    pub(crate) fn anew(&self) -> anyhow::Result<Self> {
        Self::of(self.folder.clone(), self.guests.clone(), self.pods.clone())
    }

    fn of(
        folder: Arc<tempfile::TempDir>,
        guests: PathBuf,
        pods: Arc<AtomicU16>,
    ) -> anyhow::Result<Self> {
        let config = EngineConfig::new(folder.path().join("code"), std::env::current_exe()?);
        Ok(Self {
            engine: Engine::new(config)?,
            fabric: Fabric::new(Arc::new(Plain), Arc::new(Plain)),
            guests,
            folder,
            pods,
        })
    }

    /// The file of a guest of the tests.
    pub(crate) fn guest(&self, name: &str) -> PathBuf {
        self.guests.join(name).with_extension("wasm")
    }

    /// A component, ready to run; compiled at most once.
    pub(crate) async fn image(&self, wasm: &Path) -> anyhow::Result<Arc<Image>> {
        let bytes = std::fs::read(wasm).with_context(|| wasm.display().to_string())?;
        self.prepare(ImageSource::of_bytes(bytes)).await
    }

    /// The same of a component that is at hand.
    pub(crate) async fn prepare(&self, source: ImageSource) -> anyhow::Result<Arc<Image>> {
        Ok(self.engine.prepare(source, &[]).await?)
    }

    /// Ends a pod.
    pub(crate) fn remove(&self, pod: &Pod) {
        self.fabric.remove(&pod.netns);
    }

    /// A pod with an address of its own.
    pub(crate) fn pod(&self) -> anyhow::Result<Pod> {
        let number = self.pods.fetch_add(1, Ordering::Relaxed);
        let [high, low] = number.to_be_bytes();
        let ip = IpAddr::from([10, 128, high, low]);
        let tag = NsTag::new(&format!("uid-{number}"), &format!("default/pod-{number}"));
        let netns = self.fabric.add(NetNsSpec::new(tag, vec![ip]))?;
        let spec = SandboxSpec { netns: netns.clone(), memory_limit_bytes: None, cpu_millis: None };
        let log = self.folder.path().join(format!("{number}.log"));
        Ok(Pod { ip, netns, sandbox: Sandbox::new(spec), log })
    }
}

/// One pod.
pub(crate) struct Pod {
    ip: IpAddr,
    netns: Arc<NetNs>,
    sandbox: Sandbox,
    log: PathBuf,
}

impl Pod {
    /// What a container of an image with these arguments is made of; it logs to the pod's file.
    pub(crate) fn spec(&self, image: &Arc<Image>, args: &[&str]) -> ContainerSpec {
        let mut spec = ContainerSpec::new("main", image.clone());
        spec.argv.extend(args.iter().map(|arg| (*arg).to_owned()));
        spec.log = Some(LogSpec::new(&self.log));
        spec
    }

    /// Starts a container.
    pub(crate) async fn start(&self, spec: ContainerSpec) -> anyhow::Result<Container> {
        Ok(self.sandbox.start(spec).await?)
    }

    /// Runs a command to its end and gives the last word that it printed as a number.
    pub(crate) async fn run(&self, image: &Arc<Image>, args: &[&str]) -> anyhow::Result<f64> {
        let exit = self.start(self.spec(image, args)).await?.wait().await;
        ensure!(exit.code == 0, "{args:?} ended with {exit:?}");
        let text = std::fs::read_to_string(&self.log).context("read a log")?;
        let last = text.split_whitespace().last().context("an empty log")?;
        last.parse().with_context(|| format!("{args:?} printed {last}"))
    }

    /// When the first line of its log was written.
    pub(crate) fn first_line_at(&self) -> anyhow::Result<SystemTime> {
        let text = std::fs::read_to_string(&self.log).context("read a log")?;
        let time = text.split_whitespace().next().context("an empty log")?;
        Ok(time.parse::<jiff::Timestamp>()?.into())
    }

    /// An address of the pod.
    pub(crate) fn address(&self, port: u16) -> SocketAddr {
        (self.ip, port).into()
    }

    /// Waits until somebody listens on a port.
    pub(crate) async fn listening(&self, port: u16) {
        while !self.netns.is_listening(self.address(port)) {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }

    /// A connection to its http container, past any other pod.
    pub(crate) async fn http(&self) -> anyhow::Result<SendRequest<Empty<Bytes>>> {
        let source = SocketAddr::from(([192, 0, 2, 1], 4000));
        let stream = self.netns.deliver(self.address(80), source)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }
}

/// Asks for a path and gives the text; the answer has to be 200.
pub(crate) async fn get(
    sender: &mut SendRequest<Empty<Bytes>>,
    path: &str,
) -> anyhow::Result<String> {
    let request = hyper::Request::get(path).header("host", "pod").body(Empty::new())?;
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let text = String::from_utf8(response.into_body().collect().await?.to_bytes().to_vec())?;
    ensure!(status == 200, "{path}: {status} {text}");
    Ok(text)
}
