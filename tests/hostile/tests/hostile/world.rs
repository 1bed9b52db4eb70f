//! What every case needs: an engine, the real network, a pod for the attacker and a neighbour.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use coracle_network::cidr::Cidr;
use coracle_network::egress::Egress;
use coracle_network::network::{Answers, Network};
use coracle_network::switch::Ranges;
use coracle_runtime::{
    CompileLimits, Compiler, Container, ContainerSpec, Engine, EngineConfig, Exit, Image,
    ImageSource, LogSpec, PrepareError, Sandbox, SandboxSpec, Wasm,
};
use coracle_vnet::{Fabric, NetNs, NetNsSpec, NsTag};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Instances of the engine: few, so that a storm reaches their end.
const INSTANCES: u32 = 256;

/// Long enough for a loaded machine; nothing here waits for time to pass.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// An address of the host that stands for all its own.
pub(crate) const HOST_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Builds the guests once and gives the file of one.
pub(crate) fn guest(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let folder = BUILT.get_or_init(|| {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guests");
        let workspace = workspace.canonicalize().unwrap();
        let mut build = Command::new(env!("CARGO"));
        for name in ["CARGO_TARGET_DIR", "CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "RUSTC_WRAPPER"] {
            build.env_remove(name);
        }
        build.env_remove("CARGO_RESOLVER_FEATURE_UNIFICATION");
        build.args(["build", "--release", "--quiet"]);
        for package in ["hostile", "hostile-http", "hello-http", "fs-probe"] {
            build.args(["-p", package]);
        }
        let status = build.current_dir(&workspace).status();
        assert!(status.unwrap().success(), "{build:?}");
        workspace.join("target/wasm32-wasip2/release")
    });
    folder.join(format!("{name}.wasm"))
}

/// One engine for all cases of this process.
pub(crate) fn engine() -> Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| engine_with(CompileLimits::default())).clone()
}

/// An engine with other limits on what compiling may take.
pub(crate) fn engine_with(compile: CompileLimits) -> Engine {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hostile-code");
    let program = env!("CARGO_BIN_EXE_hostile-compile").into();
    let config = EngineConfig {
        compiler: Compiler { program, args: Vec::new() },
        instances_max: INSTANCES,
        compile,
        ..EngineConfig::new(cache, "")
    };
    Engine::new(config).unwrap()
}

/// Prepares bytes as an image, whatever they are.
pub(crate) async fn prepare(engine: &Engine, bytes: &[u8]) -> Result<Arc<Image>, PrepareError> {
    let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let source = ImageSource { wasm: Wasm::Bytes(bytes.to_vec().into()), digest };
    engine.prepare(source, &[]).await
}

/// A guest of ours, ready to run.
pub(crate) async fn image(name: &str) -> Arc<Image> {
    prepare(&engine(), &std::fs::read(guest(name)).unwrap()).await.unwrap()
}

/// The cluster's network and the fabric of this host.
pub(crate) struct Wires {
    pub(crate) network: Arc<Network>,
    pub(crate) fabric: Arc<Fabric>,
}

pub(crate) fn wires() -> &'static Wires {
    static WIRES: OnceLock<Wires> = OnceLock::new();
    WIRES.get_or_init(|| {
        let (network, refusals) = Network::new(Ranges {
            pods: Cidr::parse_families("10.128.0.0/9,fd63:6f72::/32").unwrap(),
            services: Cidr::parse_families("10.96.0.0/12,fd63:6f73::/108").unwrap(),
            host: HashSet::from([HOST_IP]),
        });
        drop(refusals);
        let answers = Arc::new(Answers(network.clone()));
        Wires { fabric: Fabric::new(answers.clone(), answers), network }
    })
}

/// A pod, with a folder for its logs.
pub(crate) struct Pod {
    pub(crate) ip: IpAddr,
    pub(crate) netns: Arc<NetNs>,
    pub(crate) sandbox: Sandbox,
    pub(crate) folder: tempfile::TempDir,
    tag: NsTag,
}

impl Pod {
    /// A pod that reaches nothing outside of the cluster.
    pub(crate) fn new() -> Self {
        Self::with("", None)
    }

    /// A pod with what its `coracle.dev/egress` grants, and a limit on its memory.
    pub(crate) fn with(egress: &str, memory_limit_bytes: Option<u64>) -> Self {
        static NUMBER: AtomicU16 = AtomicU16::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let [high, low] = number.to_be_bytes();
        let ip = Ipv4Addr::new(10, 128, high, low).into();
        let tag = NsTag::new(&format!("uid-{number}"), &format!("default/pod-{number}"));
        let netns = wires().fabric.add(NetNsSpec::new(tag.clone(), vec![ip])).unwrap();
        wires().network.grant(&tag, Egress::parse(egress).unwrap());
        let spec = SandboxSpec { netns: netns.clone(), memory_limit_bytes, cpu_millis: None };
        let sandbox = Sandbox::new(spec);
        Self { ip, netns, sandbox, folder: tempfile::tempdir().unwrap(), tag }
    }

    /// A container of an image, with its log in the pod's folder.
    pub(crate) fn spec(&self, image: Arc<Image>, args: &[&str]) -> ContainerSpec {
        let mut spec = ContainerSpec::new("attacker", image);
        spec.argv.extend(args.iter().map(|arg| (*arg).to_owned()));
        spec.log = Some(LogSpec::new(self.folder.path().join("log")));
        spec
    }

    pub(crate) async fn start(&self, guest: &str, args: &[&str]) -> Container {
        let spec = self.spec(image(guest).await, args);
        self.sandbox.start(spec).await.unwrap()
    }

    /// The lines that the container wrote.
    pub(crate) fn log(&self) -> String {
        let text = std::fs::read_to_string(self.folder.path().join("log")).unwrap();
        let line = |line: &str| line.splitn(4, ' ').nth(3).map(|text| format!("{text}\n"));
        text.lines().filter_map(line).collect()
    }

    /// Waits until the container has written a line that holds `text`.
    pub(crate) async fn says(&self, text: &str) {
        let said = async {
            while !self.log().contains(text) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, said).await.unwrap_or_else(|_| panic!("{}", self.log()));
    }

    pub(crate) fn address(&self, port: u16) -> SocketAddr {
        (self.ip, port).into()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        wires().network.forget(&self.tag);
        wires().fabric.remove(&self.netns);
    }
}

/// One case at a time: what a host has grown by, and how it answers, is that case's doing.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A sound http pod beside the attackers.
pub(crate) struct Neighbour {
    pub(crate) pod: Pod,
    container: Container,
    _turn: tokio::sync::MutexGuard<'static, ()>,
}

impl Neighbour {
    pub(crate) async fn start() -> Self {
        let turn = TURN.lock().await;
        let pod = Pod::new();
        let container = pod.start("hello_http", &[]).await;
        Self { pod, container, _turn: turn }
    }

    /// Whether it runs, and no request has ended an instance of it.
    pub(crate) fn is_unhurt(&self) -> bool {
        self.container.is_running() && self.container.usage().faults == 0
    }

    /// Asks it as a client from outside does; it must answer, and well.
    pub(crate) async fn answers(&self, after: &str) {
        let answer = ask(self.pod.address(80), "/").await;
        assert!(answer.ends_with("hello\n"), "the neighbour after '{after}': {answer}");
    }
}

/// Asks an address over a connection of its own, as a client from outside does; gives the whole
/// answer.
pub(crate) async fn ask(address: SocketAddr, path: &str) -> String {
    let exchange = async {
        let mut stream = wires().fabric.deliver(address, ([192, 0, 2, 9], 5).into())?;
        let request = format!("GET {path} HTTP/1.0\r\nhost: test\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        std::io::Result::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    match tokio::time::timeout(PATIENCE, exchange).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => format!("cut off: {error}"),
        Err(_) => "no answer".to_owned(),
    }
}

/// Waits for a container's end, which must come.
pub(crate) async fn end(container: &Container, case: &str) -> Exit {
    let end = tokio::time::timeout(PATIENCE, container.wait()).await;
    end.unwrap_or_else(|_| panic!("'{case}' never ends"))
}

/// Kills a container, which must end at once.
pub(crate) async fn kill(container: &Container, case: &str) {
    container.kill();
    let exit = end(container, case).await;
    assert_eq!(exit.code, 137, "{case}: {exit:?}");
}

/// What became of a container, on one line: code, reason and the beginning of the message.
pub(crate) fn shown(exit: &Exit) -> String {
    let message = exit.message.lines().next().unwrap_or_default();
    format!("{} {} {message}", exit.code, exit.reason.as_str()).trim_end().to_owned()
}

/// The host's own memory now, in bytes.
pub(crate) fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}
