//! The runtime embedded alone: serves one http component on a real port, and measures it.
//!
//! `serve WASM PORT [request|pooled]` serves until it is killed; `load PORT CONNECTIONS SECONDS PID`
//! asks it as fast as it can and prints the rate, the latency and the server's CPU time per request.
#![expect(clippy::print_stdout, reason = "a program for people")]
#![expect(clippy::disallowed_methods, reason = "measures time")]

use std::net::IpAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use coracle_runtime::{
    Compiler, ContainerSpec, Engine, EngineConfig, ImageSource, Isolation, Sandbox, SandboxSpec,
    Wasm,
};
use coracle_vnet::{
    BoxFuture, Fabric, Flow, NetNsSpec, NsTag, ResolveError, Resolver, Route, Router,
};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

fn main() -> anyhow::Result<ExitCode> {
    let args: Vec<String> = std::env::args().collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    if let [_, "compile", ..] = args.as_slice() {
        let rest = std::env::args_os().skip(2);
        return Ok(coracle_runtime::compile::child_main(rest));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match args.as_slice() {
        [_, "serve", wasm, port] => {
            runtime.block_on(serve(wasm, port.parse()?, Isolation::Request))?;
        }
        [_, "serve", wasm, port, "pooled"] => {
            runtime.block_on(serve(wasm, port.parse()?, Isolation::Pooled))?;
        }
        [_, "load", port, connections, seconds, pid] => {
            let time = Duration::from_secs(seconds.parse()?);
            runtime.block_on(load(port.parse()?, connections.parse()?, time, pid))?;
        }
        _ => bail!("serve WASM PORT [pooled] | load PORT CONNECTIONS SECONDS PID"),
    }
    Ok(ExitCode::SUCCESS)
}

/// A pod that reaches nothing and knows no names.
struct Nothing;

impl Router for Nothing {
    fn route(&self, _flow: &Flow) -> Route {
        Route::Refused("no egress".to_owned())
    }
}

impl Resolver for Nothing {
    fn resolve(
        &self,
        _from: &NsTag,
        name: &str,
    ) -> BoxFuture<'static, Result<Vec<IpAddr>, ResolveError>> {
        Box::pin(std::future::ready(Err(ResolveError::NotFound(name.to_owned()))))
    }
}

async fn serve(wasm: &str, port: u16, isolation: Isolation) -> anyhow::Result<()> {
    let program = std::env::current_exe()?;
    let cache = std::env::temp_dir().join("coracle-serve");
    let mut config = EngineConfig::new(cache, &program);
    config.compiler = Compiler { program, args: vec!["compile".to_owned()] };
    let engine = Engine::new(config)?;
    let wasm = std::fs::read(wasm)?;
    let digest = wasm.iter().fold(7_u64, |hash, byte| hash.rotate_left(5) ^ u64::from(*byte));
    let digest = format!("{digest:016x}");
    let image = engine.prepare(ImageSource { wasm: Wasm::Bytes(wasm.into()), digest }, &[]).await?;
    let fabric = Fabric::new(Arc::new(Nothing), Arc::new(Nothing));
    let ip: IpAddr = [10, 128, 0, 1].into();
    let netns = fabric.add(NetNsSpec::new(NsTag::new("1", "default/hello"), vec![ip]))?;
    let sandbox = Sandbox::new(SandboxSpec { netns, memory_limit_bytes: None, cpu_millis: None });
    let mut spec = ContainerSpec::new("hello", image);
    spec.isolation = isolation;
    let container = sandbox.start(spec).await?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("pid {} serves on {}", std::process::id(), listener.local_addr()?);
    while container.is_running() {
        let (stream, peer) = listener.accept().await?;
        if let Err((_, error)) = fabric.deliver_real((ip, 80).into(), stream, peer) {
            println!("refused: {error}");
        }
    }
    Ok(())
}

async fn load(port: u16, connections: usize, time: Duration, pid: &str) -> anyhow::Result<()> {
    let until = Instant::now() + time;
    let before = cpu(pid)?;
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..connections {
        tasks.spawn(ask(port, until));
    }
    let mut times = Vec::new();
    while let Some(result) = tasks.join_next().await {
        times.extend(result??);
    }
    let (wall, used) = (start.elapsed(), cpu(pid)? - before);
    times.sort_unstable();
    let at = |share: f64| times.get((times.len() as f64 * share) as usize).copied();
    println!(
        "{:.0} requests/s, p50 {:?}, p99 {:?}, {:.1} us of server CPU each",
        times.len() as f64 / wall.as_secs_f64(),
        at(0.5).context("no requests")?,
        at(0.99).context("no requests")?,
        used.as_secs_f64() * 1e6 / times.len() as f64,
    );
    Ok(())
}

async fn ask(port: u16, until: Instant) -> anyhow::Result<Vec<Duration>> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut times = Vec::new();
    while Instant::now() < until {
        let request = http::Request::get("/").header("host", "localhost");
        let start = Instant::now();
        let response = sender.send_request(request.body(Empty::<bytes::Bytes>::new())?).await?;
        let status = response.status();
        response.into_body().collect().await?;
        times.push(start.elapsed());
        if status != 200 {
            bail!("the answer is {status}");
        }
    }
    Ok(times)
}

/// CPU time that a process has used.
fn cpu(pid: &str) -> anyhow::Result<Duration> {
    let mut nanos = 0_u64;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let stat = std::fs::read_to_string(task?.path().join("schedstat"))?;
        nanos += stat.split(' ').next().context("schedstat")?.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanos))
}
