//! kube-apiserver on etcd, both on loopback with a data directory of their own.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use kube::{Client, Config};

use super::{Running, go_program};
use crate::process::Process;

const ETCD_CLIENT_PORT: u16 = 18_379;
const ETCD_PEER_PORT: u16 = 18_380;
const API_PORT: u16 = 18_443;

/// The bearer token of the measuring client. It is known to this one server on loopback only.
const TOKEN: &str = "bench";

/// How long it may take until it says that it is ready.
const START: Duration = Duration::from_secs(120);

/// Kubernetes' API server and its store. Both end when this is dropped.
#[derive(Debug)]
pub(crate) struct KubeApiserver {
    apiserver: Running,
    etcd: Running,
    _data: tempfile::TempDir,
}

impl KubeApiserver {
    /// Starts both, with every admission plugin that is on by default and without authorisation
    /// checks, and waits until the server is ready.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let etcd = go_program("etcd", "go.etcd.io/etcd/server/v3", "etcd-3.6.8")?;
        let apiserver =
            go_program("kube", "k8s.io/kubernetes/cmd/kube-apiserver", "kube-apiserver-1.35.4")?;
        let data = tempfile::tempdir().context("make a data directory")?;
        let server = Self {
            etcd: start_etcd(&etcd, data.path())?,
            apiserver: start_apiserver(&apiserver, data.path())?,
            _data: data,
        };
        let client = server.client()?;
        let ready = async {
            let request = || http::Request::get("/readyz").body(Vec::new());
            while client.request_text(request()?).await.is_err() {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            anyhow::Ok(())
        };
        match tokio::time::timeout(START, ready).await {
            Ok(ready) => ready?,
            Err(_elapsed) => bail!("kube-apiserver is not ready after {START:?}"),
        }
        Ok(server)
    }

    /// A client with a connection of its own.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        let mut config = Config::new(format!("https://127.0.0.1:{API_PORT}").parse()?);
        config.accept_invalid_certs = true;
        config.auth_info.token = Some(TOKEN.to_owned().into());
        Ok(Client::try_from(config)?)
    }

    /// The API server and its etcd.
    pub(crate) fn processes(&self) -> Vec<Process> {
        vec![self.apiserver.process(), self.etcd.process()]
    }
}

fn start_etcd(program: &Path, data: &Path) -> anyhow::Result<Running> {
    let client = format!("http://127.0.0.1:{ETCD_CLIENT_PORT}");
    let peer = format!("http://127.0.0.1:{ETCD_PEER_PORT}");
    let child = Command::new(program)
        .arg("--data-dir")
        .arg(data.join("etcd"))
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("default={peer}"), "--log-level", "error"])
        .stdout(Stdio::null())
        .stderr(log(data, "etcd.log")?)
        .spawn()
        .context("start etcd")?;
    Ok(Running(child))
}

fn start_apiserver(program: &Path, data: &Path) -> anyhow::Result<Running> {
    let key = data.join("service-account.key");
    fs::write(&key, rcgen::KeyPair::generate()?.serialize_pem()).context("write a key")?;
    let tokens = data.join("tokens.csv");
    fs::write(&tokens, format!("{TOKEN},bench,bench,system:masters\n")).context("write a token")?;
    let child = Command::new(program)
        .arg(format!("--etcd-servers=http://127.0.0.1:{ETCD_CLIENT_PORT}"))
        .arg(format!("--secure-port={API_PORT}"))
        .args(["--bind-address=127.0.0.1", "--service-cluster-ip-range=10.96.0.0/12"])
        .arg(format!("--cert-dir={}", data.join("certificates").display()))
        .arg(format!("--token-auth-file={}", tokens.display()))
        .arg(format!("--service-account-key-file={}", key.display()))
        .arg(format!("--service-account-signing-key-file={}", key.display()))
        .arg("--service-account-issuer=https://kubernetes.default.svc")
        .arg("--disable-admission-plugins=ServiceAccount")
        .stdout(Stdio::null())
        .stderr(log(data, "apiserver.log")?)
        .spawn()
        .context("start kube-apiserver")?;
    Ok(Running(child))
}

fn log(data: &Path, name: &str) -> anyhow::Result<fs::File> {
    fs::File::create(data.join(name)).with_context(|| format!("create {name}"))
}
