//! A runtime with what it needs, and what a test asks of it.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use coracle_agent::images::LocalImage;
use coracle_agent::pods::plan::PodKey;
use coracle_agent::runtime::wasm::WasmRuntime;
use coracle_agent::runtime::{ExitReport, Isolation, SandboxRequest, StartRequest, Started, Stdin};
use coracle_network::cidr::Cidr;
use coracle_network::network::{Answers, Network};
use coracle_network::switch::Ranges;
use coracle_runtime::worker::Workers;
use coracle_runtime::{Engine, EngineConfig};
use coracle_vnet::Fabric;
use sha2::{Digest as _, Sha256};

/// Long enough for a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Instances of the engine: few, since few run.
const INSTANCES: u32 = 64;

const HOST_IP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// A pod that is not there yet.
pub(crate) struct Pod {
    pub(crate) key: PodKey,
    pub(crate) ip: IpAddr,
}

impl Pod {
    pub(crate) fn new(number: u8) -> Self {
        let name = format!("pod-{number}");
        let uid = format!("uid-{number}");
        let key = PodKey { namespace: "default".to_owned(), name, uid };
        Self { key, ip: Ipv4Addr::new(10, 128, 0, number).into() }
    }
}

/// A runtime, a folder, and a guest.
pub(crate) struct Machine {
    pub(crate) runtime: Arc<WasmRuntime>,
    pub(crate) behave: LocalImage,
    folder: tempfile::TempDir,
    handler: String,
}

impl Machine {
    /// One whose sandboxes have this handler.
    pub(crate) fn new(handler: &str) -> Self {
        let own = std::env::current_exe().unwrap();
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("runtime-code");
        let config =
            EngineConfig { instances_max: INSTANCES, ..EngineConfig::new(cache, own.clone()) };
        let (network, refusals) = Network::new(Ranges {
            pods: Cidr::parse_families("10.128.0.0/9").unwrap(),
            services: Cidr::parse_families("10.96.0.0/12").unwrap(),
            host: HashSet::from([HOST_IP]),
        });
        drop(refusals);
        let answers = Arc::new(Answers(network.clone()));
        let fabric = Fabric::new(answers.clone(), answers);
        let runtime = WasmRuntime::new(Engine::new(config).unwrap(), fabric, network, HOST_IP);
        let workers = Workers::new(own, vec!["worker".to_owned()]);
        let folder = tempfile::tempdir().unwrap();
        let behave = image(folder.path(), "behave", &std::fs::read(guest()).unwrap());
        let runtime = Arc::new(runtime.with_workers(workers));
        Self { runtime, behave, folder, handler: handler.to_owned() }
    }

    /// An image with one file in it.
    pub(crate) fn image(&self, name: &str, content: &[u8]) -> LocalImage {
        image(self.folder.path(), name, content)
    }

    pub(crate) fn sandbox(&self, pod: &Pod) -> SandboxRequest {
        SandboxRequest {
            pod: pod.key.clone(),
            ips: vec![pod.ip],
            host_network: false,
            hostname: pod.key.name.clone(),
            kernel_name: pod.key.name.clone(),
            full_name: None,
            host_aliases: Vec::new(),
            egress: None,
            resolv_conf: None,
            memory_limit_bytes: None,
            cpu_millis: None,
            host_ports: Vec::new(),
            handler: self.handler.clone(),
        }
    }

    /// A container of the guest that does what its arguments say.
    pub(crate) fn start(&self, pod: &Pod, container: &str, args: &[&str]) -> StartRequest {
        let words = std::iter::once("behave").chain(args.iter().copied());
        let own = self.folder.path().join(&pod.key.uid).join(container);
        std::fs::create_dir_all(&own).unwrap();
        StartRequest {
            pod: pod.key.clone(),
            container: container.to_owned(),
            image: self.behave.clone(),
            plugs: Vec::new(),
            argv: words.map(str::to_owned).collect(),
            env: vec![("WHO".to_owned(), "you".to_owned())],
            cwd: None,
            mounts: Vec::new(),
            services: Vec::new(),
            stdin: Stdin::Closed,
            tty: false,
            read_only_root: false,
            scratch: own.join("scratch"),
            memory_bytes: None,
            cpu_millis: None,
            storage_bytes: None,
            http_port: 80,
            isolation: Isolation::Request,
            log: own.join("0.log"),
            termination_message_path: "/dev/termination-log".to_owned(),
            message_from_log: false,
            on_fault: None,
            resource: coracle_telemetry::Resource::default(),
            noted: coracle_agent::requests::Noted::default(),
        }
    }

    /// Waits for a container's end, which must come.
    pub(crate) async fn ended(&self, started: Started) -> ExitReport {
        tokio::time::timeout(PATIENCE, started.exit).await.unwrap()
    }
}

fn image(folder: &Path, name: &str, content: &[u8]) -> LocalImage {
    let wasm = folder.join(name);
    std::fs::write(&wasm, content).unwrap();
    let digest: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    let digest = format!("sha256:{digest}");
    LocalImage {
        image_id: format!("registry.example/{name}@{digest}"),
        manifest_digest: digest.clone(),
        wasm,
        wasm_digest: digest,
        rootfs: None,
        entrypoint: Vec::new(),
        arguments: Vec::new(),
        env: Vec::new(),
        working_dir: None,
        size_bytes: content.len() as u64,
    }
}

/// Builds the guest and gives its file.
fn guest() -> std::path::PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/guests");
    let mut build = Command::new(env!("CARGO"));
    for name in [
        "CARGO_TARGET_DIR",
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTFLAGS",
        "RUSTC_WRAPPER",
        "CARGO_RESOLVER_FEATURE_UNIFICATION",
    ] {
        build.env_remove(name);
    }
    let built = build.args(["build", "--release", "--quiet"]).current_dir(&workspace).status();
    assert!(built.unwrap().success(), "{build:?}");
    workspace.join("target/wasm32-wasip2/release/behave.wasm")
}
