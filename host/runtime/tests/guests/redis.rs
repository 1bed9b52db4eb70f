//! A real Redis for tests: the distribution's, unpacked once into the cache of what tests need, and led into the pods'
//! network under a pod's name.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;

use crate::world::Pod;

/// The distribution's packages: the program, and what it is linked with and a machine may lack.
const PACKAGES: [&str; 4] = ["redis-tools", "libatomic1", "libjemalloc2", "liblzf1"];

/// Who speaks to it must know this.
pub(crate) const PASSWORD: &str = "p@ss";

/// The port under which pods find it.
pub(crate) const PORT: u16 = 6379;

/// A running Redis. Dropping it ends it.
pub(crate) struct Redis {
    process: Child,
    port: u16,
    /// Its place in the pods' network.
    pub(crate) pod: Arc<Pod>,
    leading: tokio::task::JoinHandle<()>,
    connections: Arc<AtomicUsize>,
    _folder: tempfile::TempDir,
}

impl Redis {
    /// Starts one, and waits until it answers.
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Free a moment ago; a Redis that finds it taken ends, and the next try takes another.
        let mut tries = 0;
        loop {
            tries += 1;
            assert!(tries <= 5, "no Redis stays up on this machine");
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let port = free.local_addr().unwrap().port();
            drop(free);
            let mut process = program("redis-check-rdb", "redis-server")
                .args(["--bind", "127.0.0.1", "--save", "", "--requirepass", PASSWORD])
                .args(["--port", &port.to_string(), "--dir"])
                .arg(folder.path())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            if answers(&mut process, port).await {
                let pod = Arc::new(Pod::new());
                let connections = Arc::new(AtomicUsize::new(0));
                let leading = tokio::spawn(lead(pod.clone(), port, connections.clone()));
                return Self { process, port, pod, leading, connections, _folder: folder };
            }
            let _ = process.kill();
            process.wait().unwrap();
        }
    }

    /// Lets another password hold and closes all connections of pods, as it does with idle ones; none is left
    /// when this returns.
    pub(crate) async fn forget(&self, password: &str) {
        self.said(0, &["CONFIG", "SET", "requirepass", password]);
        self.said_by(password, 0, &["CLIENT", "KILL", "TYPE", "normal"]);
        while self.connections.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What the Redis itself says to a command, in a database.
    pub(crate) fn said(&self, database: u32, words: &[&str]) -> String {
        self.said_by(PASSWORD, database, words)
    }

    fn said_by(&self, password: &str, database: u32, words: &[&str]) -> String {
        let (port, database) = (self.port.to_string(), database.to_string());
        let mut client = program("redis-cli", "redis-cli");
        client.args(["-p", &port, "-n", &database, "--no-auth-warning", "-a", password]);
        let output = client.args(words).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.leading.abort();
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Whether it takes connections before it ends; a loaded machine is given time.
async fn answers(process: &mut Child, port: u16) -> bool {
    for _ in 0..600 {
        if process.try_wait().unwrap().is_some() {
            return false;
        }
        if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    false
}

/// Hands each connection of the pod's port on, until either side ends it, and counts those that there are.
async fn lead(pod: Arc<Pod>, port: u16, connections: Arc<AtomicUsize>) {
    let listener = pod.netns.bind_tcp(pod.address(PORT)).unwrap().listen(8, None).unwrap();
    while let Ok(near) = listener.accept().await {
        connections.fetch_add(1, Ordering::SeqCst);
        let connections = connections.clone();
        tokio::spawn(async move {
            let mut far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let (mut from_far, mut to_far) = far.split();
            let (mut from_near, mut to_near) = tokio::io::split(near);
            tokio::select! {
                _ = tokio::io::copy(&mut from_near, &mut to_far) => {}
                _ = tokio::io::copy(&mut from_far, &mut to_near) => {}
            }
            drop((from_near, to_near));
            connections.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// A program of the packages. What Redis is depends on the name that it is called by, so the server is the same
/// file as its checker.
fn program(file: &str, name: &str) -> Command {
    use std::os::unix::process::CommandExt as _;
    let folder = unpacked();
    let libraries = fs::read_dir(folder.join("usr/lib")).unwrap();
    let libraries: Vec<_> = libraries.map(|entry| entry.unwrap().path().into_os_string()).collect();
    let mut command = Command::new(folder.join("usr/bin").join(file));
    command.arg0(name).env("LD_LIBRARY_PATH", libraries.join(std::ffi::OsStr::new(":")));
    command
}

fn unpacked() -> PathBuf {
    static UNPACKING: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one = UNPACKING.lock().unwrap();
    let cache = cache();
    let folder = cache.join("redis");
    if !folder.exists() {
        fs::create_dir_all(&cache).unwrap();
        let fresh = tempfile::tempdir_in(&cache).unwrap();
        if !download(fresh.path()) {
            // A new machine knows no packages yet.
            let _listed = Command::new("apt-get").arg("update").output();
            assert!(download(fresh.path()), "apt-get download {PACKAGES:?}: the tests need Redis");
        }
        let target = fresh.path().join("unpacked");
        let files: Vec<PathBuf> =
            fs::read_dir(fresh.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        for package in files.iter().filter(|file| file.extension().is_some()) {
            let unpacked = Command::new("dpkg-deb").arg("-x").args([package, &target]).output();
            assert!(unpacked.unwrap().status.success(), "unpack {}", package.display());
        }
        // Another process may have been faster.
        let _there = fs::rename(target, &folder);
    }
    folder
}

fn download(folder: &Path) -> bool {
    let output = Command::new("apt-get")
        .args(["-o", "APT::Sandbox::User=root", "download"])
        .args(PACKAGES)
        .current_dir(folder)
        .output()
        .unwrap();
    output.status.success()
}

fn cache() -> PathBuf {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache");
    base.unwrap_or_else(home).join("coracle-tests")
}
