//! A cluster of the runner's own: the real binary in a folder, with the stand-ins in its registry.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use coracle_e2e::{build_guests, coracle, kubectl_new};
use tempfile::TempDir;

/// Stand-ins under the names and tags of the suite's `test/utils/image/manifest.go`.
const IMAGES: [(&str, &str); 15] = [
    ("pause:3.10.1", "pause"),
    ("e2e-test-images/agnhost:2.59", "agnhost"),
    ("e2e-test-images/agnhost:2.55", "agnhost"),
    ("k8s-authenticated-test/agnhost:2.6", "agnhost"),
    ("e2e-test-images/nginx:1.14-4", "nginx"),
    ("e2e-test-images/nginx:1.15-4", "nginx"),
    ("e2e-test-images/httpd:2.4.38-4", "httpd"),
    ("e2e-test-images/httpd:2.4.39-4", "httpd"),
    ("e2e-test-images/nautilus:1.7", "nautilus"),
    ("e2e-test-images/kitten:1.7", "kitten"),
    ("e2e-test-images/nonroot:1.4", "pause"),
    ("e2e-test-images/busybox:1.37.0-1", TOOLBOX),
    ("e2e-test-images/jessie-dnsutils:1.7", TOOLBOX),
    // Of the Gateway API's suite, `base/manifests.yaml`; its cases of UDP are not run.
    ("echo-basic:v20260204-monthly-2026.01-60-g28382302", "echo-basic"),
    ("coredns:v1.12.2", "pause"),
];

/// The program behind busybox is not one of the guests: it is the toolbox of every container.
const TOOLBOX: &str = "toolbox";

/// Where cases of Jobs keep what outlives their pods.
const HOST_PATH: &str = "/tmp/job-e2e";

/// Where the file is that one case mounts to see that nobody writes over it.
const HOSTS_FOLDER: &str = "/etc";

/// Looks for a node that is ready, half a second apart: more than a start takes on a loaded machine.
const TRIES_MAX: u32 = 240;

/// A running cluster; dropping it stops it and removes its data.
#[derive(Debug)]
pub(crate) struct Cluster {
    folder: TempDir,
    server: Child,
}

impl Cluster {
    /// Starts server and host, waits until the node is ready, and pushes the stand-ins.
    pub(crate) fn start(root: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("coracle-conformance-").tempdir();
        let folder = folder.context("create the cluster's folder")?;
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        std::fs::create_dir_all(HOST_PATH).context("create the folder for Jobs")?;
        let log =
            File::create(folder.path().join("server.log")).context("create the server's log")?;
        let server = Command::new(coracle())
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            .args(["server", "--listen", &port.context("find a port")?.to_string()])
            .args(["--allow-host-path", HOST_PATH, "--allow-host-path", HOSTS_FOLDER])
            .arg("--allow-host-network")
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("write the server's log")?)
            .stderr(log)
            .spawn()
            .context("start the server")?;
        let cluster = Self { folder, server };
        cluster.wait()?;
        cluster.push(root)?;
        Ok(cluster)
    }

    /// How it is reached.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.data().join("kubeconfig")
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn wait(&self) -> Result<()> {
        let ready = "jsonpath={.items[*].status.conditions[?(@.type=='Ready')].status}";
        for _ in 0..TRIES_MAX {
            let nodes = Command::new(kubectl_new())
                .args(["get", "nodes", "-o", ready])
                .env("KUBECONFIG", self.kubeconfig())
                .output()
                .context("run kubectl")?;
            if nodes.stdout == b"True" {
                return Ok(());
            }
            pause();
        }
        let log = std::fs::read_to_string(self.folder.path().join("server.log"));
        bail!("the node is not ready: {}", log.unwrap_or_default())
    }

    fn push(&self, root: &Path) -> Result<()> {
        let guests = build_guests("tests/guests");
        let toolbox = root.join("sdk/toolbox/target/wasm32-wasip2/release");
        for (name, program) in IMAGES {
            let folder = if program == TOOLBOX { &toolbox } else { &guests };
            let status = Command::new(coracle())
                .arg("--data-dir")
                .arg(self.data())
                .args(["push", name])
                .arg(folder.join(program).with_extension("wasm"))
                .stdout(Stdio::null())
                .status()
                .context("run coracle push")?;
            ensure!(status.success(), "push {name}: {status}");
        }
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "waits for a process of its own")]
fn pause() {
    thread::sleep(Duration::from_millis(500));
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut down = Command::new(coracle());
        down.arg("--data-dir").arg(self.data()).args(["down", "--data"]).stdout(Stdio::null());
        // What is left is in a temporary folder, and the server is ended below whatever came of this.
        let _ = down.status();
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
