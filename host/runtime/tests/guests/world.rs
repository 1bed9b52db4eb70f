//! What every test needs: an engine, the guests, a pod.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, OnceLock};

use coracle_runtime::mounts::MountTable;
use coracle_runtime::{
    Compiler, Container, ContainerSpec, Engine, EngineConfig, Image, ImageSource, LogSpec, Sandbox,
    SandboxSpec, Wasm,
};
use coracle_vnet::{
    BoxFuture, Fabric, Flow, NetNs, NetNsSpec, NsTag, ResolveError, Resolver, Route, Router,
};
use sha2::{Digest, Sha256};

use crate::class;

/// Instances of the test engine: enough that no test takes the room of those that run beside it.
const INSTANCES: u32 = 256;

/// Builds the guests once and gives the file of one.
pub(crate) fn guest(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let folder = BUILT.get_or_init(|| {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/guests");
        let workspace = workspace.canonicalize().unwrap();
        cargo(&workspace, &["build", "--release", "--quiet"]);
        let preview1 = ["build", "--release", "--quiet", "-p", "behave"];
        cargo(&workspace, &[&preview1[..], &["--target", "wasm32-wasip1"]].concat());
        workspace.join("target")
    });
    match name {
        "behave-p1" => folder.join("wasm32-wasip1/release/behave.wasm"),
        other => folder.join("wasm32-wasip2/release").join(format!("{other}.wasm")),
    }
}

pub(crate) fn cargo(workspace: &Path, args: &[&str]) {
    let mut command = Command::new(env!("CARGO"));
    for name in ["CARGO_TARGET_DIR", "CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "RUSTC_WRAPPER"] {
        command.env_remove(name);
    }
    let status = command.args(args).current_dir(workspace).status().unwrap();
    assert!(status.success(), "{command:?}");
}

/// One engine for all tests of this process, with a cache that outlives it.
pub(crate) fn engine() -> Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::new(config(cache())).unwrap()).clone()
}

/// An engine that runs out of instances when `instances` are there.
pub(crate) fn small_engine(instances: u32) -> Engine {
    Engine::new(EngineConfig { instances_max: instances, ..config(cache()) }).unwrap()
}

fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("code")
}

pub(crate) fn config(cache: PathBuf) -> EngineConfig {
    let program = env!("CARGO_BIN_EXE_coracle-compile").into();
    EngineConfig {
        compiler: Compiler { program, args: Vec::new() },
        instances_max: INSTANCES,
        ..EngineConfig::new(cache, "")
    }
}

/// Names bytes by their content, as a registry does.
pub(crate) fn source(bytes: Vec<u8>) -> ImageSource {
    let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    ImageSource { wasm: Wasm::Bytes(bytes.into()), digest: format!("sha256:{digest}") }
}

/// A guest, ready to run.
pub(crate) async fn image(name: &str) -> Arc<Image> {
    image_in(&engine(), name).await
}

/// A guest, ready to run in an engine.
pub(crate) async fn image_in(engine: &Engine, name: &str) -> Arc<Image> {
    let bytes = std::fs::read(guest(name)).unwrap();
    engine.prepare(source(bytes), &[]).await.unwrap()
}

/// Routes every pod address to itself, and knows names of the form `pod-N`.
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
        let number = name.strip_prefix("pod-").and_then(|number| number.parse().ok());
        let found = number.map(|number: u16| vec![ip(number)]);
        let answer = found.ok_or_else(|| ResolveError::NotFound(name.to_owned()));
        Box::pin(std::future::ready(answer))
    }
}

fn ip(number: u16) -> IpAddr {
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(10, 128, high, low).into()
}

fn ip6(number: u16) -> IpAddr {
    Ipv6Addr::new(0xfd63, 0x6f72, 0, 0, 0, 0, 0, number).into()
}

/// The fabric that all pods of this process are on.
pub(crate) fn fabric() -> &'static Arc<Fabric> {
    static FABRIC: OnceLock<Arc<Fabric>> = OnceLock::new();
    FABRIC.get_or_init(|| Fabric::new(Arc::new(Plain), Arc::new(Plain)))
}

/// A pod, with a folder for its logs.
pub(crate) struct Pod {
    pub(crate) number: u16,
    pub(crate) netns: Arc<NetNs>,
    pub(crate) sandbox: Sandbox,
    pub(crate) folder: tempfile::TempDir,
}

impl Pod {
    pub(crate) fn new() -> Self {
        Self::with_memory(None)
    }

    pub(crate) fn with_memory(memory_limit_bytes: Option<u64>) -> Self {
        static NUMBER: AtomicU16 = AtomicU16::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let tag = NsTag::new(&format!("uid-{number}"), &format!("default/pod-{number}"));
        let netns = fabric().add(NetNsSpec::new(tag, vec![ip(number), ip6(number)])).unwrap();
        let sandbox = class::sandbox(SandboxSpec {
            netns: netns.clone(),
            memory_limit_bytes,
            cpu_millis: None,
        });
        Self { number, netns, sandbox, folder: tempfile::tempdir().unwrap() }
    }

    /// A container of a guest, with its log in the pod's folder.
    pub(crate) async fn spec(&self, guest: &str, args: &[&str]) -> ContainerSpec {
        let mut spec = ContainerSpec::new("main", image(guest).await);
        spec.argv.extend(args.iter().map(|arg| (*arg).to_owned()));
        spec.mounts = MountTable::empty();
        spec.log = Some(LogSpec::new(self.folder.path().join("main/0.log")));
        spec
    }

    pub(crate) async fn start(&self, guest: &str, args: &[&str]) -> Container {
        self.sandbox.start(self.spec(guest, args).await).await.unwrap()
    }

    /// The lines that the container wrote: stream, tag and text of each.
    pub(crate) fn log(&self) -> String {
        let text = std::fs::read_to_string(self.folder.path().join("main/0.log")).unwrap();
        let line = |line: &str| line.split_once(' ').map(|(_, rest)| format!("{rest}\n"));
        text.lines().filter_map(line).collect()
    }

    pub(crate) fn address(&self, port: u16) -> SocketAddr {
        (ip(self.number), port).into()
    }

    pub(crate) fn address6(&self, port: u16) -> SocketAddr {
        (ip6(self.number), port).into()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        fabric().remove(&self.netns);
    }
}

/// Waits until `is_so`; the test ends by its own time limit if that never comes.
pub(crate) async fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        tokio::task::yield_now().await;
    }
}
