//! A load of HTTP/1.1 requests over kept connections, bounded in count.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::sample::Samples;

/// What a load measured.
#[derive(Debug)]
pub(crate) struct Load {
    /// Time of each request.
    pub(crate) latency: Samples,
    /// From the first request to the last answer.
    pub(crate) wall: Duration,
}

impl Load {
    /// Requests for each second.
    pub(crate) fn rate(&self) -> f64 {
        self.latency.len() as f64 / self.wall.as_secs_f64()
    }

    /// A line about the load; `cpu`: what each request cost, in microseconds.
    pub(crate) fn line(&self, what: &str, cpu: f64) -> String {
        format!(
            "{what}: {:.0} requests/s, p50 {:.2} ms, p99 {:.2} ms, {cpu:.0} us CPU each",
            self.rate(),
            self.latency.percentile_ms(50.0),
            self.latency.percentile_ms(99.0),
        )
    }
}

/// Sends `each` requests over each of `connections` connections to loopback; every answer has to be
/// 200.
pub(crate) async fn run(port: u16, connections: usize, each: usize) -> anyhow::Result<Load> {
    let start = Instant::now();
    let tasks: Vec<_> = (0..connections).map(|_| tokio::spawn(connection(port, each))).collect();
    let mut latency = Samples::default();
    for task in tasks {
        latency.extend(task.await.context("a connection's task")??);
    }
    Ok(Load { latency, wall: start.elapsed() })
}

async fn connection(port: u16, requests: usize) -> anyhow::Result<Samples> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let stream = TcpStream::connect(address).await.context("connect")?;
    stream.set_nodelay(true).context("set TCP_NODELAY")?;
    asked(stream, "localhost", requests).await
}

/// Sends requests to `host` one after another over a connection; every answer has to be 200.
pub(crate) async fn asked<S>(stream: S, host: &str, requests: usize) -> anyhow::Result<Samples>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.context("handshake")?;
    tokio::spawn(connection);
    let mut samples = Samples::default();
    for _ in 0..requests {
        let request = Request::get("/").header("host", host).body(Empty::<Bytes>::new())?;
        let start = Instant::now();
        sender.ready().await.context("wait for the connection")?;
        let response = sender.send_request(request).await.context("send a request")?;
        let status = response.status();
        response.into_body().collect().await.context("read an answer")?;
        samples.push(start.elapsed());
        ensure!(status == 200, "the answer is {status}");
    }
    Ok(samples)
}
