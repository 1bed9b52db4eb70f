//! A cluster of a test's own: server and host from the real binary, in a folder of its own.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use coracle_etcd::free_port;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::binary::coracle;
use crate::logs::{last_lines, show_if_failing};
use crate::tools::{KUBECTL_NEW, kubectl};
use crate::wait::eventually;

/// What a client printed.
#[derive(Debug, Clone)]
pub struct Output {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Whether it ended with 0.
    pub ok: bool,
}

/// A running cluster. Dropping it stops it and removes its data.
#[derive(Debug)]
pub struct Cluster {
    folder: TempDir,
    server: Option<Child>,
    port: u16,
    node_ports: (u16, u16),
    kubectl: PathBuf,
    flags: Vec<String>,
}

/// Node ports that one cluster may hand out, so that clusters of parallel tests do not collide.
const NODE_PORTS_EACH: u16 = 40;

static NEXT_RANGE: AtomicU16 = AtomicU16::new(0);

impl Cluster {
    /// Starts server and host, and waits until the node is Ready.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(KUBECTL_NEW)
    }

    /// The same, with a given version of kubectl.
    #[must_use]
    pub fn start_with(kubectl_version: &str) -> Self {
        let cluster = Self::begin(kubectl_version, |_| Vec::new());
        cluster.wait_ready();
        cluster
    }

    /// Starts server and host with more flags of the server, which may name places in the cluster's
    /// own folder; does not wait for the node.
    #[must_use]
    pub fn start_flags(flags: impl FnOnce(&Path) -> Vec<String>) -> Self {
        Self::begin(KUBECTL_NEW, flags)
    }

    fn begin(kubectl_version: &str, flags: impl FnOnce(&Path) -> Vec<String>) -> Self {
        // Processes of parallel test binaries begin at different places.
        let slots = (32_767 - 30_100) / NODE_PORTS_EACH;
        let process = (std::process::id() % u32::from(slots)) as u16;
        let slot = (process * 7 + NEXT_RANGE.fetch_add(1, Ordering::Relaxed)) % slots;
        let first = 30_100 + slot * NODE_PORTS_EACH;
        let folder = tempfile::Builder::new().prefix("coracle-e2e-").tempdir().unwrap();
        let mut cluster = Self {
            flags: flags(folder.path()),
            folder,
            server: None,
            port: free_port(),
            node_ports: (first, first + NODE_PORTS_EACH - 1),
            kubectl: kubectl(kubectl_version),
        };
        cluster.start_server();
        cluster
    }

    /// Other flags for the next start of the server.
    pub fn set_flags(&mut self, flags: Vec<String>) {
        self.flags = flags;
    }

    /// Starts the server again after [`Cluster::kill_server`].
    pub fn start_server(&mut self) {
        let log = self.folder.path().join("server.log");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        let (first, last) = self.node_ports;
        let child = Command::new(coracle())
            .arg("--data-dir")
            .arg(self.data())
            .args(["server", "--listen", &format!("127.0.0.1:{}", self.port)])
            .args(["--service-node-port-range", &format!("{first}-{last}")])
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.server = Some(child);
    }

    /// Waits until the API answers and the node is Ready.
    pub fn wait_ready(&self) {
        eventually("the node is Ready", || {
            let path = "jsonpath={.items[*].status.conditions[?(@.type=='Ready')].status}";
            let nodes = self.kubectl(&["get", "nodes", "-o", path]);
            if nodes.ok && nodes.stdout == "True" { Ok(()) } else { Err((nodes, self.logs())) }
        });
    }

    /// Kills the server at once (SIGKILL) and waits for its end.
    pub fn kill_server(&mut self) {
        let mut server = self.server.take().unwrap();
        server.kill().unwrap();
        server.wait().unwrap();
    }

    /// Kills the host process at once (SIGKILL); its supervisor starts it again.
    pub fn kill_host(&self) {
        self.kill("host");
    }

    /// Kills a process by its lock. Another may just have ended and left its own there, or begin to write its own.
    fn kill(&self, role: &str) {
        eventually(&format!("there is a {role} to kill"), || {
            let lock = std::fs::read_to_string(self.data().join(format!("{role}.lock")));
            let pid = lock.as_deref().unwrap_or_default().trim().parse().ok();
            let Some(pid) = pid.and_then(Pid::from_raw) else { return Err(format!("{lock:?}")) };
            // One that has ended has no command line, and another process may have its number.
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            if !String::from_utf8_lossy(&line).contains(&*self.data().to_string_lossy()) {
                return Err(format!("{pid} is none of this cluster"));
            }
            kill_process(pid, Signal::KILL).map_err(|error| error.to_string())
        });
    }

    /// Kills the host and what would start it again, as if the machine were gone.
    pub fn lose_host(&self) {
        for role in ["supervisor", "host"] {
            self.kill(role);
        }
    }

    /// Waits until the host has saved that endpoints with these addresses are ready. It saves its routes a moment
    /// after they changed, and without a server only what is saved can come back.
    pub fn saved_as_ready(&self, addresses: &[String]) {
        eventually("the endpoints are saved as ready", || {
            let saved = std::fs::read(self.data().join("host/services.json")).unwrap_or_default();
            let saved: Value = serde_json::from_slice(&saved).unwrap_or_default();
            let slices = saved["slices"].as_array().into_iter().flatten();
            let endpoints =
                slices.flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten());
            let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] == true);
            let ready: Vec<&Value> = ready.map(|endpoint| &endpoint["addresses"][0]).collect();
            let is_ready = |address: &String| ready.iter().any(|one| *one == address);
            if addresses.iter().all(is_ready) { Ok(()) } else { Err(saved) }
        });
    }

    /// The data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Host and port of the built-in registry, as clients outside of the cluster name it.
    #[must_use]
    pub fn registry(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A folder for the test's own files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.data().join("kubeconfig")
    }

    /// A node port of this cluster's own range, `index` from 0.
    #[must_use]
    pub fn node_port(&self, index: u16) -> u16 {
        assert!(index < NODE_PORTS_EACH);
        // The upper end: ports that are handed out by themselves are taken at random below.
        self.node_ports.1 - index
    }

    /// Runs kubectl.
    #[must_use]
    pub fn kubectl(&self, arguments: &[&str]) -> Output {
        self.kubectl_with(arguments, "")
    }

    /// Runs kubectl with a text on its standard input.
    #[must_use]
    pub fn kubectl_with(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = self.kubectl_command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        std::thread::scope(|scope| {
            // Beside what is read: it may answer while it is told. Whether it takes all is its own affair.
            scope.spawn(move || drop(stdin.write_all(input.as_bytes())));
            output(child)
        })
    }

    /// A kubectl command to run in the background; its output is piped.
    #[must_use]
    pub fn kubectl_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.kubectl);
        command
            .args(arguments)
            .env("KUBECONFIG", self.kubeconfig())
            .env("HOME", self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs kubectl, which has to succeed, and gives what it printed.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.kubectl(arguments);
        assert!(output.ok, "kubectl {}: {output:?}\n{}", arguments.join(" "), self.logs());
        output.stdout
    }

    /// Applies a manifest, which has to succeed, and gives what was printed.
    pub fn apply(&self, manifest: &str) -> String {
        let output = self.kubectl_with(&["apply", "-f", "-"], manifest);
        assert!(output.ok, "apply: {output:?}\n{manifest}");
        output.stdout
    }

    /// `kubectl get … -o json`, which has to succeed.
    #[must_use]
    pub fn get(&self, arguments: &[&str]) -> Value {
        let all: Vec<&str> =
            ["get"].iter().chain(arguments).chain(&["-o", "json"]).copied().collect();
        serde_json::from_str(&self.run(&all)).unwrap()
    }

    /// Runs a `coracle` command on this cluster's data directory.
    #[must_use]
    pub fn coracle(&self, arguments: &[&str]) -> Output {
        let child = Command::new(coracle())
            .arg("--data-dir")
            .arg(self.data())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        output(child)
    }

    /// Pushes a component into the built-in registry.
    pub fn push(&self, name: &str, wasm: &Path) {
        let output = self.coracle(&["push", name, wasm.to_str().unwrap()]);
        assert!(output.ok, "push {name}: {output:?}");
    }

    /// The last lines of the server's and the host's log, for messages of failed tests.
    #[must_use]
    pub fn logs(&self) -> String {
        last_lines(self.folder.path()) + &last_lines(&self.data().join("host"))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        show_if_failing(&[self.folder.path(), &self.data().join("host")]);
        let output = self.coracle(&["down", "--data"]);
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
        if !output.ok && !std::thread::panicking() {
            panic!("down: {output:?}");
        }
    }
}

fn output(child: Child) -> Output {
    let output = child.wait_with_output().unwrap();
    Output {
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        ok: output.status.success(),
    }
}
