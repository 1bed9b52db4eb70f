//! HTTP hello through the way in of one host, with TLS, to a pod of another host, beside nginx on the same machine
//! that asks a bare hyper server on the other one over TLS.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use coracle_e2e::Machines;
use coracle_e2e::probe_pods::{HELLO, labelled, machines_with_images};
use http_body_util::Full;
use hyper::Response;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::secure::{NAME, Secure};
use crate::load::{self, Load};
use crate::process::Process;
use crate::sample::Samples;

const CONNECTIONS: usize = 32;
const REQUESTS_EACH: usize = 500;
const WARM_UP_EACH: usize = 50;
/// Times that both are measured, one after the other.
const ROUNDS: usize = 3;
/// Where nginx listens on the machine of host 1, and hyper on that of host 2.
const NGINX_PORT: u16 = 9443;
const HYPER_PORT: u16 = 9444;
/// How long either may take until it answers.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn measure(with_references: bool) -> anyhow::Result<Vec<String>> {
    let machines = machines_with_images(3);
    let secure = Secure::new()?;
    serve_hello(&machines, &secure);
    let at = |port: u16| -> anyhow::Result<SocketAddr> {
        Ok(SocketAddr::new(machines.address(1).parse()?, port))
    };
    let ways = Ways { machines: &machines, secure: &secure };
    let hosts = [1, 2].map(|index| Process(machines.host_pid(index)));
    ways.wait(at(443)?).await?;
    ways.load(at(443)?, WARM_UP_EACH).await?;
    if !with_references {
        let (load, cpu) = ways.measure(at(443)?, &hosts).await?;
        return Ok(vec![load.line("hello by Ingress with TLS, pod on the other host", cpu)]);
    }
    let upstream = Upstream::start(&machines, &secure)?;
    let nginx = Nginx::start(&machines, &secure)?;
    ways.wait(at(NGINX_PORT)?).await?;
    ways.load(at(NGINX_PORT)?, WARM_UP_EACH).await?;
    let mut ratios = Vec::new();
    let mut lines = Vec::new();
    for _ in 0..ROUNDS {
        let (ours, our_cpu) = ways.measure(at(443)?, &hosts).await?;
        let before = upstream.cpu()?;
        let (theirs, their_cpu) = ways.measure(at(NGINX_PORT)?, &nginx.processes()?).await?;
        let of_upstream = (upstream.cpu()? - before).as_secs_f64() * 1e6;
        let their_cpu = their_cpu + of_upstream / theirs.latency.len() as f64;
        let p99 = ours.latency.percentile_ms(99.0) / theirs.latency.percentile_ms(99.0);
        ratios.push((ours.rate() / theirs.rate(), p99, our_cpu / their_cpu));
        lines = vec![
            ours.line("hello by Ingress with TLS, pod on the other host, pooled", our_cpu),
            theirs.line("  nginx with TLS, hyper with TLS on the other host", their_cpu),
        ];
    }
    let median = |take: fn(&(f64, f64, f64)) -> f64| {
        let mut all: Vec<f64> = ratios.iter().map(take).collect();
        all.sort_by(f64::total_cmp);
        all.get(ROUNDS / 2).copied().unwrap_or_default()
    };
    lines.push(format!(
        "  ratio, median of {ROUNDS} rounds: {:.2} x the requests/s (promised 0.7), {:.2} x the p99 (promised 1), {:.2} x the CPU",
        median(|one| one.0),
        median(|one| one.1),
        median(|one| one.2),
    ));
    Ok(lines)
}

/// A pod on host 2 behind an Ingress that ends TLS.
fn serve_hello(machines: &Machines, secure: &Secure) {
    let container = json!({"name": "c", "image": HELLO, "ports": [{"containerPort": 8080}]});
    let mut pod = labelled("hello", &machines.node(2), &container);
    pod["metadata"]["annotations"] = json!({"coracle.dev/isolation": "pooled"});
    let backend = json!({"service": {"name": "hello", "port": {"number": 80}}});
    let rule = json!({"host": NAME, "http": {"paths": [
        {"path": "/", "pathType": "Prefix", "backend": backend}]}});
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [pod,
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "hello"},
            "spec": {"selector": {"app": "hello"}, "ports": [{"port": 80, "targetPort": 8080}]}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pair"}, "type": "kubernetes.io/tls",
            "stringData": {"tls.crt": secure.certificate_pem, "tls.key": secure.key_pem}},
        {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "hello"},
            "spec": {"tls": [{"hosts": [NAME], "secretName": "pair"}], "rules": [rule]}}]});
    machines.apply(&list.to_string());
}

/// Clients on machine 0.
struct Ways<'a> {
    machines: &'a Machines,
    secure: &'a Secure,
}

impl Ways<'_> {
    /// Waits until a request is answered with 200.
    async fn wait(&self, to: SocketAddr) -> anyhow::Result<()> {
        let start = Instant::now();
        loop {
            match self.connection(to, 1).await {
                Ok(_) => return Ok(()),
                Err(error) => {
                    let logs = self.machines.logs();
                    ensure!(start.elapsed() < PATIENCE, "{to} does not answer: {error:#}\n{logs}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// A load, and the CPU of these processes for each request in microseconds.
    async fn measure(&self, to: SocketAddr, processes: &[Process]) -> anyhow::Result<(Load, f64)> {
        let used = || processes.iter().map(|one| one.cpu()).sum::<anyhow::Result<Duration>>();
        let before = used()?;
        let load = self.load(to, REQUESTS_EACH).await?;
        let cpu = (used()? - before).as_secs_f64() * 1e6 / load.latency.len() as f64;
        Ok((load, cpu))
    }

    async fn load(&self, to: SocketAddr, each: usize) -> anyhow::Result<Load> {
        let start = Instant::now();
        let all = (0..CONNECTIONS).map(|_| self.connection(to, each));
        let mut latency = Samples::default();
        for samples in futures::future::try_join_all(all).await? {
            latency.extend(samples);
        }
        Ok(Load { latency, wall: start.elapsed() })
    }

    async fn connection(&self, to: SocketAddr, requests: usize) -> anyhow::Result<Samples> {
        let stream = self.machines.on(0, move || std::net::TcpStream::connect(to));
        let stream = stream.context("connect")?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let connector = TlsConnector::from(Arc::clone(&self.secure.client));
        let stream = connector.connect(NAME.try_into()?, TcpStream::from_std(stream)?).await?;
        load::asked(stream, NAME, requests).await
    }
}

/// A bare hyper server with TLS in a thread of its own on the machine of host 2; it ends with this program.
struct Upstream {
    thread: i32,
}

impl Upstream {
    fn start(machines: &Machines, secure: &Secure) -> anyhow::Result<Self> {
        let listener = machines.on(2, || std::net::TcpListener::bind(("0.0.0.0", HYPER_PORT)))?;
        listener.set_nonblocking(true)?;
        let acceptor = TlsAcceptor::from(Arc::clone(&secure.server));
        let (told, thread) = std::sync::mpsc::channel();
        std::thread::spawn(move || -> anyhow::Result<()> {
            told.send(rustix::thread::gettid().as_raw_nonzero().get())?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(answer_all(listener, acceptor))
        });
        Ok(Self { thread: thread.recv()? })
    }

    /// What its thread has used.
    fn cpu(&self) -> anyhow::Result<Duration> {
        let path = format!("/proc/self/task/{}/schedstat", self.thread);
        let text = std::fs::read_to_string(path)?;
        let nanoseconds = text.split(' ').next().context("read schedstat")?;
        Ok(Duration::from_nanos(nanoseconds.parse()?))
    }
}

async fn answer_all(listener: std::net::TcpListener, acceptor: TlsAcceptor) -> anyhow::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = hyper::service::service_fn(|_| async {
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"hello\n"))))
            });
            let http = hyper::server::conn::http1::Builder::new();
            let _gone = http.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// Debian's nginx on the machine of host 1. It ends and its files go when this is dropped.
struct Nginx {
    child: Child,
    _folder: tempfile::TempDir,
}

impl Nginx {
    fn start(machines: &Machines, secure: &Secure) -> anyhow::Result<Self> {
        let program = nginx()?;
        let folder = tempfile::tempdir()?;
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("pair.crt"), &secure.certificate_pem)?;
        std::fs::write(at("pair.key"), &secure.key_pem)?;
        std::fs::write(at("nginx.conf"), configuration(folder.path(), &machines.address(2)))?;
        let mut command = Command::new(program);
        command.arg("-p").arg(folder.path()).arg("-c").arg(at("nginx.conf"));
        command.args(["-e", "stderr"]).stdin(Stdio::null()).stdout(Stdio::null());
        let child = machines.on(1, move || command.spawn()).context("start nginx")?;
        Ok(Self { child, _folder: folder })
    }

    /// Its first process and its workers.
    fn processes(&self) -> anyhow::Result<Vec<Process>> {
        let pid = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        let workers = children.split_whitespace().filter_map(|word| word.parse().ok());
        Ok(std::iter::once(pid).chain(workers).map(Process).collect())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It ends its workers when it is asked to end.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _asked = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ended = self.child.wait();
    }
}

fn configuration(folder: &Path, upstream: &str) -> String {
    let folder = folder.display();
    format!(
        "user root; daemon off; worker_processes 2; pid {folder}/pid; error_log stderr;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000;
  upstream hello {{ server {upstream}:{HYPER_PORT}; keepalive 128; keepalive_requests 1000000; }}
  server {{
    listen {NGINX_PORT} ssl; ssl_protocols TLSv1.3;
    ssl_certificate {folder}/pair.crt; ssl_certificate_key {folder}/pair.key;
    location / {{
      proxy_pass https://hello; proxy_http_version 1.1; proxy_set_header Connection \"\";
      proxy_ssl_protocols TLSv1.3; proxy_ssl_name {NAME}; proxy_ssl_server_name on;
    }}
  }}
}}
"
    )
}

/// The path of nginx, unpacked from the distribution's package if it is not in the cache.
fn nginx() -> anyhow::Result<PathBuf> {
    let folder = coracle_e2e::cache().join("nginx");
    if !folder.exists() {
        let fresh = tempfile::tempdir_in(coracle_e2e::cache())?;
        let download = Command::new("apt-get")
            .args(["-o", "APT::Sandbox::User=root", "download", "nginx"])
            .current_dir(fresh.path())
            .output()
            .context("run apt-get: nginx is Debian's")?;
        ensure!(download.status.success(), "apt-get download nginx: {download:?}");
        let mut packages = std::fs::read_dir(fresh.path())?.flatten();
        let package = packages.next().context("a package")?.path();
        let target = fresh.path().join("unpacked");
        let unpacked = Command::new("dpkg-deb").arg("-x").args([&package, &target]).status()?;
        ensure!(unpacked.success(), "unpack {}: {unpacked}", package.display());
        std::fs::rename(target, &folder)?;
    }
    Ok(folder.join("usr/sbin/nginx"))
}
