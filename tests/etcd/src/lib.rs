//! A real etcd for tests: the distribution's, unpacked once into the cache of what tests need, with as many members as a
//! test asks for, each in a folder and at ports of its own.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "for tests alone"
)]

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

mod port;

pub use port::free_port;

/// How long members may take until they answer, on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The distribution's package.
const PACKAGE: &str = "etcd-server";

static UNPACKING: Mutex<()> = Mutex::new(());

/// The path of etcd, unpacked from the distribution's package if it is not in the cache.
#[must_use]
pub fn etcd() -> PathBuf {
    let folder = cache().join("etcd");
    let _one = UNPACKING.lock().unwrap();
    if !folder.exists() {
        let fresh = tempfile::tempdir_in(cache()).unwrap();
        if !download(fresh.path()) {
            // A new machine knows no packages yet.
            let _listed = Command::new("apt-get").arg("update").output();
            assert!(download(fresh.path()), "apt-get download {PACKAGE}: the tests need etcd");
        }
        let package = fs::read_dir(fresh.path()).unwrap().flatten().map(|entry| entry.path());
        let package = package.into_iter().find(|path| path.extension().is_some()).unwrap();
        let target = fresh.path().join("unpacked");
        let unpacked = Command::new("dpkg-deb").arg("-x").args([&package, &target]).output();
        assert!(unpacked.unwrap().status.success(), "unpack {}", package.display());
        // Another process may have been faster.
        let _there = fs::rename(target, &folder);
    }
    folder.join("usr/bin/etcd")
}

fn download(folder: &Path) -> bool {
    let output = Command::new("apt-get")
        .args(["-o", "APT::Sandbox::User=root", "download", PACKAGE])
        .current_dir(folder)
        .output()
        .unwrap_or_else(|error| panic!("apt-get: {error}: the tests take etcd from Debian"));
    output.status.success()
}

fn cache() -> PathBuf {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache");
    let path = base.unwrap_or_else(home).join("coracle-tests");
    fs::create_dir_all(&path).unwrap();
    path
}

struct Member {
    client: u16,
    peer: u16,
    process: Option<Child>,
}

/// A running etcd. Dropping it ends it and removes its data.
pub struct Etcd {
    folder: TempDir,
    members: Vec<Member>,
    flags: Vec<String>,
    scheme: &'static str,
}

impl Etcd {
    /// One member.
    #[must_use]
    pub fn start() -> Etcd {
        Etcd::start_many(1)
    }

    /// So many members.
    #[must_use]
    pub fn start_many(count: usize) -> Etcd {
        Etcd::start_with(count, "http", &[])
    }

    /// So many members with more flags; `scheme` is `http` or `https`.
    #[must_use]
    pub fn start_with(count: usize, scheme: &'static str, flags: &[&str]) -> Etcd {
        // Memory in place of a disk where there is some: tests want an etcd that is quick, not one that lasts.
        let memory = Path::new("/dev/shm");
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix("coracle-etcd-");
        let folder = builder.tempdir_in(memory).or_else(|_| builder.tempdir()).unwrap();
        let member = |_| Member { client: free_port(), peer: free_port(), process: None };
        let mut etcd = Etcd {
            folder,
            members: (0..count).map(member).collect(),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            scheme,
        };
        for index in 0..count {
            etcd.spawn(index);
        }
        for index in 0..count {
            etcd.wait(index);
        }
        etcd
    }

    /// The address of all members, as `coracle server --store` takes it.
    #[must_use]
    pub fn url(&self) -> String {
        let members: Vec<_> =
            self.members.iter().map(|m| format!("127.0.0.1:{}", m.client)).collect();
        let scheme = if self.scheme == "http" { "etcd" } else { "https" };
        format!("{scheme}://{}", members.join(","))
    }

    /// The port of a member for clients.
    #[must_use]
    pub fn port(&self, index: usize) -> u16 {
        self.members[index].client
    }

    /// Kills a member at once (SIGKILL).
    pub fn kill(&mut self, index: usize) {
        let mut process = self.members[index].process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Starts a member again after [`Etcd::kill`], and waits until it answers.
    pub fn start_again(&mut self, index: usize) {
        self.spawn(index);
        self.wait(index);
    }

    fn spawn(&mut self, index: usize) {
        let peers: Vec<String> = self
            .members
            .iter()
            .enumerate()
            .map(|(index, member)| format!("m{index}=http://127.0.0.1:{}", member.peer))
            .collect();
        let member = &self.members[index];
        let client = format!("{}://127.0.0.1:{}", self.scheme, member.client);
        let peer = format!("http://127.0.0.1:{}", member.peer);
        let log = fs::File::create(self.folder.path().join(format!("m{index}.log"))).unwrap();
        let process = Command::new(etcd())
            .args(["--name", &format!("m{index}")])
            .arg("--data-dir")
            .arg(self.folder.path().join(format!("m{index}")))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &peers.join(",")])
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.members[index].process = Some(process);
    }

    /// Waits until a member takes connections, which it does when it knows a leader.
    fn wait(&mut self, index: usize) {
        let begin = Instant::now();
        let log = self.folder.path().join(format!("m{index}.log"));
        let member = &mut self.members[index];
        while TcpStream::connect(("127.0.0.1", member.client)).is_err() {
            let ended = member.process.as_mut().and_then(|process| process.try_wait().unwrap());
            let in_time = begin.elapsed() < PATIENCE && ended.is_none();
            assert!(in_time, "etcd does not start: {:?}", fs::read_to_string(&log));
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for process in self.members.iter_mut().filter_map(|member| member.process.as_mut()) {
            let _ended = process.kill();
            let _ended = process.wait();
        }
    }
}
