//! Several hosts as real processes on machines of their own: network namespaces of the kernel, joined by a bridge.
//! Needs root and `ip`; a missing right is an error.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;
use tempfile::TempDir;

use crate::binary::{coracle, root};
use crate::cluster::Output;
use crate::tools::{KUBECTL_NEW, kubectl};
use crate::wait::eventually;

/// How long a peer may say nothing, on a loaded machine.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// As many others a host says of whether they answer it.
const WATCHED_MAX: usize = 5;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A network of machines: the server is machine 0.
#[derive(Debug)]
pub struct Machines {
    name: String,
    net: u16,
    count: usize,
    folder: TempDir,
    server: Option<Child>,
    hosts: Vec<Option<Child>>,
    lines: Vec<(usize, Child)>,
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {output:?} (these tests need root)");
}

impl Machines {
    /// Makes the machines, starts a server without a host on the first, and waits for its API.
    #[must_use]
    pub fn start(count: usize) -> Self {
        Self::start_flags(count, &[])
    }

    /// The same with these flags for the server.
    #[must_use]
    pub fn start_flags(count: usize, flags: &[&str]) -> Self {
        let process = std::process::id();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut machines = Self {
            name: format!("c{process}x{number}"),
            net: ((process + u32::from(number) * 37) % 250) as u16,
            count,
            folder: tempfile::Builder::new().prefix("coracle-hosts-").tempdir().unwrap(),
            server: None,
            hosts: (0..count).map(|_| None).collect(),
            lines: Vec::new(),
        };
        machines.wire();
        machines.start_server(flags);
        machines
    }

    /// A network namespace for each machine, and one more that joins them.
    fn wire(&self) {
        let switch = format!("{}s", self.name);
        ip(&format!("netns add {switch}"));
        ip(&format!("-n {switch} link add br0 type bridge"));
        ip(&format!("-n {switch} link set br0 up"));
        for index in 0..self.count {
            let machine = self.machine(index);
            ip(&format!("netns add {machine}"));
            ip(&format!("-n {machine} link add eth0 type veth peer name p{index} netns {switch}"));
            ip(&format!("-n {switch} link set p{index} master br0 up"));
            ip(&format!("-n {machine} addr add {}/24 dev eth0", self.address(index)));
            ip(&format!("-n {machine} link set eth0 up"));
            ip(&format!("-n {machine} link set lo up"));
            ip(&format!("-n {machine} route add default via {}", self.address(index)));
            // `ip netns exec` puts what lies here into the place of the file in /etc.
            let own = format!("/etc/netns/{machine}");
            std::fs::create_dir_all(&own).unwrap();
            let lines =
                (0..self.count).map(|n| format!("{} {}\n", self.address(n), Self::outside_name(n)));
            let lines: String = lines.collect();
            std::fs::write(format!("{own}/hosts"), format!("127.0.0.1 localhost\n{lines}"))
                .unwrap();
        }
    }

    fn machine(&self, index: usize) -> String {
        format!("{}m{index}", self.name)
    }

    /// The address of a machine.
    #[must_use]
    pub fn address(&self, index: usize) -> String {
        format!("10.77.{}.{}", self.net, index + 1)
    }

    /// The name that all machines know a machine by; none of the cluster's.
    #[must_use]
    pub fn outside_name(index: usize) -> String {
        format!("machine-{index}.outside.example")
    }

    /// The name of a machine's node.
    #[must_use]
    pub fn node(&self, index: usize) -> String {
        format!("host-{index}")
    }

    fn data(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The URL of the API.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}:6443", self.address(0))
    }

    fn command(&self, index: usize, data: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.machine(index)]).arg(coracle());
        command.arg("--data-dir").arg(self.data(data)).stdin(Stdio::null());
        command
    }

    /// Ends the server in order, and starts it again with more flags.
    pub fn restart_server(&mut self, flags: &[&str]) {
        let mut server = self.server.take().unwrap();
        kill_process(Pid::from_child(&server), Signal::TERM).unwrap();
        server.wait().unwrap();
        self.start_server(flags);
    }

    /// A folder for the test's own files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The process of a machine's host.
    #[must_use]
    pub fn host_pid(&self, index: usize) -> u32 {
        self.hosts[index].as_ref().unwrap().id()
    }

    fn start_server(&mut self, flags: &[&str]) {
        let log = std::fs::File::create(self.data("server.log")).unwrap();
        let mut command = self.command(0, "server");
        command.args(["server", "--no-host", "--listen", "0.0.0.0:6443"]).args(flags);
        command.stdout(log.try_clone().unwrap()).stderr(log);
        self.server = Some(command.spawn().unwrap());
        eventually("the API answers", || {
            let got = self.kubectl(&["get", "--raw", "/readyz"]);
            if got.ok { Ok(()) } else { Err((got, self.logs())) }
        });
    }

    /// Runs a `coracle` command beside the server.
    #[must_use]
    pub fn coracle(&self, arguments: &[&str]) -> Output {
        let output = self.command(0, "server").args(arguments).output().unwrap();
        of(&output)
    }

    /// Makes a token; the words of the line that joins with it after `coracle host`.
    #[must_use]
    pub fn token(&self) -> Vec<String> {
        let output = self.coracle(&["token", "create", "--description", "a test"]);
        assert!(output.ok, "{output:?} {}", self.logs());
        let line = output.stdout.trim().strip_prefix("coracle host ").unwrap().to_owned();
        line.split(' ').map(str::to_owned).collect()
    }

    /// Starts a machine's host with these words after `coracle host`.
    pub fn start_host(&mut self, index: usize, words: &[String]) {
        let log = self.data(&format!("host-{index}.log"));
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        let mut command = self.command(index, &format!("data-{index}"));
        command.arg("host").args(words).args(["--node-name", &self.node(index)]);
        command.args(["--node-ip", &self.address(index)]);
        command.stdout(log.try_clone().unwrap()).stderr(log);
        self.hosts[index] = Some(command.spawn().unwrap());
    }

    /// Runs a host that is expected to end by itself, and gives what it said.
    #[must_use]
    pub fn failing_host(&self, index: usize, data: &str, words: &[String]) -> String {
        let mut command = self.command(index, data);
        command.arg("host").args(words).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let status = eventually("the host ends", || child.try_wait().unwrap().ok_or("still runs"));
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(!status.success(), "{said}");
        said
    }

    /// The kubeconfig by which a machine's host speaks to the server.
    #[must_use]
    pub fn host_kubeconfig(&self, index: usize) -> String {
        let path = self.data(&format!("data-{index}")).join("host/kubeconfig");
        std::fs::read_to_string(path).unwrap()
    }

    /// Kills a machine's host at once (SIGKILL).
    pub fn kill_host(&mut self, index: usize) {
        let mut host = self.hosts[index].take().unwrap();
        host.kill().unwrap();
        host.wait().unwrap();
    }

    /// Joins hosts on all machines but the server's and waits until they are Ready and answer each other.
    pub fn join_all(&mut self) {
        let words = self.token();
        for index in 1..self.count {
            self.start_host(index, &words);
        }
        (1..self.count).for_each(|index| self.wait_ready(index));
        (1..self.count).for_each(|index| self.wait_answered(index));
    }

    /// Waits until a host has said that the others answer it: a node is Ready a moment before it has the
    /// certificate by which hosts talk to each other.
    fn wait_answered(&self, index: usize) {
        let node = self.node(index);
        let path = r"jsonpath={.metadata.annotations.coracle\.dev/peers-answer}";
        eventually(&format!("the others answer {node}"), || {
            let said = self.kubectl(&["get", "lease", &node, "-n", "kube-node-lease", "-o", path]);
            let others = said.stdout.split(',').filter(|node| !node.is_empty()).count();
            let enough = others >= (self.count - 2).min(WATCHED_MAX);
            if enough { Ok(()) } else { Err((said, self.logs())) }
        });
    }

    /// Waits until a machine's node is Ready, may be scheduled to, and is reached by the server.
    pub fn wait_ready(&self, index: usize) {
        let node = self.node(index);
        eventually(&format!("{node} is Ready"), || {
            let got = self.kubectl(&["get", "node", &node, "-o", "json"]);
            let object: Value = serde_json::from_str(&got.stdout).unwrap_or_default();
            let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
            let ready =
                conditions.into_iter().any(|c| c["type"] == "Ready" && c["status"] == "True");
            let tainted = object["spec"]["taints"].as_array().is_some_and(|t| !t.is_empty());
            if ready && !tainted { Ok(()) } else { Err((object, self.logs())) }
        });
        eventually(&format!("the server reaches {node}"), || {
            let path = format!("/api/v1/nodes/{node}/proxy/healthz");
            let said = self.kubectl(&["get", "--raw", &path]);
            if said.ok { Ok(()) } else { Err((said, self.logs())) }
        });
    }

    /// Closes the way from one machine to another, or opens it again: what is sent comes to nothing.
    pub fn close_way(&self, from: usize, to: usize, closed: bool) {
        let verb = if closed { "add" } else { "del" };
        ip(&format!("-n {} route {verb} prohibit {}/32", self.machine(from), self.address(to)));
    }

    /// Makes the line of a machine a bad one: of the frames each way so many percent are lost, and each is late by up
    /// to so many milliseconds, so that some overtake others. A relay does it, as not every kernel has `netem`.
    pub fn spoil_line(&mut self, index: usize, percent: u32, millis: u32) {
        let relay = root().join("tests/e2e/tools/relay.py").display().to_string();
        for machine in 0..self.count {
            let done = self.program(machine, &["python3", &relay, "checksums", "eth0"]);
            assert!(done.ok, "{done:?}");
        }
        let switch = format!("{}s", self.name);
        ip(&format!("-n {switch} link add near{index} type veth peer name far{index}"));
        ip(&format!("-n {switch} link set near{index} up"));
        ip(&format!("-n {switch} link set far{index} master br0 up"));
        ip(&format!("-n {switch} link set p{index} nomaster"));
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &switch, "python3", &relay, "line"]);
        command.args([format!("p{index}"), format!("near{index}")]);
        command.args([percent.to_string(), millis.to_string()]).stdout(Stdio::piped());
        self.lines.push((index, command.spawn().unwrap()));
    }

    /// Makes the line that was spoiled last a good one again; how many frames were lost on it, and how many overtook
    /// another.
    pub fn mend_line(&mut self) -> (u32, u32) {
        let (index, relay) = self.lines.pop().unwrap();
        kill_process(Pid::from_child(&relay), Signal::TERM).unwrap();
        let said = of(&relay.wait_with_output().unwrap());
        let switch = format!("{}s", self.name);
        ip(&format!("-n {switch} link del near{index}"));
        ip(&format!("-n {switch} link set p{index} master br0"));
        let last = said.stdout.lines().last().and_then(|line| line.split_once(' '));
        let (lost, overtook) = last.unwrap_or_else(|| panic!("{said:?}"));
        (lost.parse().unwrap(), overtook.parse().unwrap())
    }

    /// Runs kubectl beside the server.
    #[must_use]
    pub fn kubectl(&self, arguments: &[&str]) -> Output {
        self.kubectl_with(arguments, "")
    }

    /// Runs kubectl with a text on its standard input.
    #[must_use]
    pub fn kubectl_with(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.machine(0)]).arg(kubectl(KUBECTL_NEW));
        command.args(arguments).env("KUBECONFIG", self.data("server").join("kubeconfig"));
        command.env("HOME", self.folder.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let _closed = child.stdin.take().unwrap().write_all(input.as_bytes());
        of(&child.wait_with_output().unwrap())
    }

    /// Runs kubectl, which has to succeed, and gives what it printed.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.kubectl(arguments);
        assert!(output.ok, "kubectl {}: {output:?}\n{}", arguments.join(" "), self.logs());
        output.stdout
    }

    /// Applies a manifest, which has to succeed.
    pub fn apply(&self, manifest: &str) {
        let output = self.kubectl_with(&["apply", "-f", "-"], manifest);
        assert!(output.ok, "apply: {output:?}\n{manifest}");
    }

    /// `kubectl get … -o json`, which has to succeed.
    #[must_use]
    pub fn get(&self, arguments: &[&str]) -> Value {
        let all: Vec<&str> =
            ["get"].iter().chain(arguments).chain(&["-o", "json"]).copied().collect();
        serde_json::from_str(&self.run(&all)).unwrap()
    }

    /// Sends bytes over TCP from one machine, and gives what comes back until the end or for twenty
    /// seconds; `Err` when it was refused.
    ///
    /// # Errors
    /// What the program that sends said.
    pub fn send(&self, from: usize, to: &str, port: u16, text: &str) -> Result<String, String> {
        // bash's own sockets, so that no other program is needed. A peer may hang up while it is sent to.
        let script = format!(
            "trap '' PIPE; exec 3<>/dev/tcp/{to}/{port} || exit 7; printf '%b' '{text}' >&3; \
             timeout 20 cat <&3 || true"
        );
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.machine(from), "bash", "-c", &script]);
        let output = of(&command.output().unwrap());
        if output.ok { Ok(output.stdout) } else { Err(output.stderr) }
    }

    /// Runs something with the network of a machine, to its end; sockets that it made stay there, and so do
    /// processes that it started.
    pub fn on<T: Send + 'static>(
        &self,
        index: usize,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let path = format!("/var/run/netns/{}", self.machine(index));
        // A thread of its own: where it went, it stays.
        let there = std::thread::spawn(move || {
            let network = std::fs::File::open(path).unwrap();
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(network.as_fd(), kind).unwrap();
            run()
        });
        there.join().unwrap()
    }

    /// Connects from one machine, sends a text and its end, and gives all that comes back.
    ///
    /// # Errors
    /// What the sockets say; a silent peer is an error after a few seconds.
    pub fn ask_outside(&self, from: usize, to: &str, port: u16, text: &str) -> io::Result<String> {
        let to: SocketAddr = format!("{to}:{port}").parse().unwrap();
        let text = text.to_owned();
        self.on(from, move || {
            let mut stream = TcpStream::connect_timeout(&to, SILENCE_MAX)?;
            stream.set_read_timeout(Some(SILENCE_MAX))?;
            stream.write_all(text.as_bytes())?;
            stream.shutdown(Shutdown::Write)?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        })
    }

    /// Runs a program with the network of a machine.
    #[must_use]
    pub fn program(&self, index: usize, words: &[&str]) -> Output {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.machine(index)]).args(words).stdin(Stdio::null());
        of(&command.output().unwrap())
    }

    /// The certificate of the cluster's authority, a file.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.data("server").join("pki/ca.crt")
    }

    /// Answers each request of HTTP at a port of a machine with a text, for as long as the test runs.
    pub fn serve_http(&self, index: usize, port: u16, text: &'static str) {
        let listener = self.on(index, move || std::net::TcpListener::bind(("0.0.0.0", port)));
        let listener = listener.unwrap();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                // The head of a request fits; whoever sends no more than half of it is none.
                let _asked = stream.read(&mut [0; 4096]);
                let length = text.len();
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
                );
                let _gone = stream.write_all(format!("{head}{text}").as_bytes());
            }
        });
    }

    /// Sends a datagram from one machine, and gives the answer.
    ///
    /// # Errors
    /// What the sockets say; no answer is an error after a second.
    pub fn ask_by_datagram(
        &self,
        from: usize,
        to: &str,
        port: u16,
        text: &str,
    ) -> io::Result<String> {
        let to: SocketAddr = format!("{to}:{port}").parse().unwrap();
        let text = text.to_owned();
        self.on(from, move || {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.set_read_timeout(Some(Duration::from_secs(1)))?;
            socket.connect(to)?;
            socket.send(text.as_bytes())?;
            let mut answer = [0; 512];
            let length = socket.recv(&mut answer)?;
            Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
        })
    }

    /// The last lines of all logs, for messages of failed tests.
    #[must_use]
    pub fn logs(&self) -> String {
        crate::logs::last_lines(self.folder.path())
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        crate::logs::show_if_failing(&[self.folder.path()]);
        for (_, relay) in &mut self.lines {
            let _ended = relay.kill();
            let _ended = relay.wait();
        }
        for child in self.hosts.iter_mut().chain([&mut self.server]).filter_map(Option::as_mut) {
            let _ended = child.kill();
            let _ended = child.wait();
        }
        let switch = [format!("{}s", self.name)];
        let machines = (0..self.count).map(|index| self.machine(index));
        for name in machines.chain(switch) {
            let _removed = std::fs::remove_dir_all(format!("/etc/netns/{name}"));
            let _removed = Command::new("ip").args(["netns", "del", &name]).status();
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
