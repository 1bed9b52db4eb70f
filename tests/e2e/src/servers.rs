//! Several servers on one etcd, and a host that belongs to all of them: real processes on this machine.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use coracle_etcd::{Etcd, free_port};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::binary::coracle;
use crate::cluster::Output;
use crate::tools::kubectl_new;
use crate::wait::eventually;

struct One {
    port: u16,
    process: Option<Child>,
}

/// Servers of one cluster. Dropping them ends all processes and removes their data.
pub struct Servers {
    folder: TempDir,
    etcd: Etcd,
    servers: Vec<One>,
    host: Option<Child>,
    node_ports: (u16, u16),
}

impl Servers {
    /// Starts an etcd and so many servers, and waits until each answers.
    #[must_use]
    pub fn start(count: usize) -> Self {
        let first = 31_000 + (std::process::id() % 80) as u16 * 20;
        let mut servers = Self {
            folder: tempfile::Builder::new().prefix("coracle-servers-").tempdir().unwrap(),
            etcd: Etcd::start(),
            servers: Vec::new(),
            host: None,
            // Room for the Services that the tests make.
            node_ports: (first, first + 99),
        };
        for _ in 0..count {
            servers.add();
        }
        servers
    }

    /// The address of the etcd.
    #[must_use]
    pub fn store(&self) -> String {
        self.etcd.url()
    }

    /// How many servers there are, also those that do not run.
    #[must_use]
    pub fn count(&self) -> usize {
        self.servers.len()
    }

    /// A node port that is not handed out by itself soon.
    #[must_use]
    pub fn node_port(&self) -> u16 {
        self.node_ports.1
    }

    /// The URL of a server.
    #[must_use]
    pub fn url(&self, index: usize) -> String {
        format!("https://127.0.0.1:{}", self.servers[index].port)
    }

    fn data(&self, index: usize) -> PathBuf {
        self.folder.path().join(format!("server-{index}"))
    }

    /// The administrator's kubeconfig at a server.
    #[must_use]
    pub fn kubeconfig(&self, index: usize) -> PathBuf {
        self.data(index).join("kubeconfig")
    }

    /// Adds a server, and gives its number.
    pub fn add(&mut self) -> usize {
        let port = free_port();
        self.servers.push(One { port, process: None });
        let index = self.servers.len() - 1;
        self.start_server(index);
        index
    }

    /// Starts a server that does not run, and waits until it answers.
    pub fn start_server(&mut self, index: usize) {
        let mut command = self.command(index);
        let port = self.servers[index].port;
        let (first, last) = self.node_ports;
        command.args(["server", "--no-host", "--listen", &format!("127.0.0.1:{port}")]);
        command.args(["--store", &self.etcd.url()]);
        command.args(["--service-node-port-range", &format!("{first}-{last}")]);
        if index > 0 {
            command.arg("--cluster-key-file").arg(self.data(0).join("pki/cluster.key"));
        }
        self.servers[index].process = Some(self.spawn(command, &format!("server-{index}")));
        eventually("the server answers", || {
            let got = self.kubectl(index, &["get", "--raw", "/readyz"]);
            if got.ok { Ok(()) } else { Err((got, self.logs())) }
        });
    }

    fn command(&self, index: usize) -> Command {
        let mut command = Command::new(coracle());
        command.arg("--data-dir").arg(self.data(index));
        command
    }

    fn spawn(&self, mut command: Command, name: &str) -> Child {
        let log = self.folder.path().join(format!("{name}.log"));
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        let (out, err) = (log.try_clone().unwrap(), log);
        command.stdin(Stdio::null()).stdout(out).stderr(err).spawn().unwrap()
    }

    /// Kills a server at once (SIGKILL).
    pub fn kill(&mut self, index: usize) {
        let mut process = self.servers[index].process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Stops a server in order (SIGTERM), and waits for its end.
    pub fn stop(&mut self, index: usize) {
        let mut process = self.servers[index].process.take().unwrap();
        let pid = Pid::from_raw(i32::try_from(process.id()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        assert!(process.wait().unwrap().success(), "{}", self.logs());
    }

    /// Joins a host, which knows the first server alone from the command line.
    pub fn join_host(&mut self, name: &str) {
        let made = self.coracle(0, &["token", "create"]);
        assert!(made.ok, "{made:?}");
        let line = made.stdout.trim().strip_prefix("coracle host ").unwrap().to_owned();
        let mut command = Command::new(coracle());
        command.arg("--data-dir").arg(self.folder.path().join("host")).arg("host");
        command.args(line.split(' ')).args(["--node-name", name]);
        self.host = Some(self.spawn(command, "host"));
        eventually("the host is Ready", || {
            let path = "jsonpath={.status.conditions[?(@.type=='Ready')].status}";
            let got = self.kubectl(0, &["get", "node", name, "-o", path]);
            if got.stdout == "True" { Ok(()) } else { Err((got, self.logs())) }
        });
    }

    /// Runs a `coracle` command beside a server.
    #[must_use]
    pub fn coracle(&self, index: usize, arguments: &[&str]) -> Output {
        of(&self.command(index).args(arguments).output().unwrap())
    }

    /// Pushes a component into the registry of every server that runs.
    pub fn push(&self, name: &str, wasm: &Path) {
        for index in 0..self.count() {
            let pushed = self.coracle(index, &["push", name, wasm.to_str().unwrap()]);
            assert!(pushed.ok, "{pushed:?}");
        }
    }

    /// Runs kubectl at one server.
    #[must_use]
    pub fn kubectl(&self, index: usize, arguments: &[&str]) -> Output {
        self.kubectl_with(index, arguments, "")
    }

    /// Runs kubectl at one server with a text on its standard input.
    #[must_use]
    pub fn kubectl_with(&self, index: usize, arguments: &[&str], input: &str) -> Output {
        use std::io::Write as _;
        let mut command = Command::new(kubectl_new());
        command.args(arguments).env("KUBECONFIG", self.kubeconfig(index));
        command.env("HOME", self.folder.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let _closed = child.stdin.take().unwrap().write_all(input.as_bytes());
        of(&child.wait_with_output().unwrap())
    }

    /// Runs kubectl at one server, which has to succeed, and gives what it printed.
    pub fn run(&self, index: usize, arguments: &[&str]) -> String {
        let output = self.kubectl(index, arguments);
        assert!(output.ok, "kubectl {}: {output:?}\n{}", arguments.join(" "), self.logs());
        output.stdout
    }

    /// `kubectl get … -o json` at one server, which has to succeed.
    #[must_use]
    pub fn get(&self, index: usize, arguments: &[&str]) -> Value {
        let all: Vec<&str> =
            ["get"].iter().chain(arguments).chain(&["-o", "json"]).copied().collect();
        serde_json::from_str(&self.run(index, &all)).unwrap()
    }

    /// The last lines of all logs, for messages of failed tests.
    #[must_use]
    pub fn logs(&self) -> String {
        crate::logs::last_lines(self.folder.path())
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        crate::logs::show_if_failing(&[self.folder.path()]);
        let servers = self.servers.iter_mut().map(|one| &mut one.process);
        for process in servers.chain([&mut self.host]).filter_map(Option::as_mut) {
            let _ended = process.kill();
            let _ended = process.wait();
        }
    }
}

fn of(output: &std::process::Output) -> Output {
    Output {
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        ok: output.status.success(),
    }
}
