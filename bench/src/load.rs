//! A load of HTTP/1.1 requests over kept connections, bounded in count.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
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
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.context("handshake")?;
    tokio::spawn(connection);
    let mut samples = Samples::default();
    for _ in 0..requests {
        let request = Request::get("/").header("host", "localhost").body(Empty::<Bytes>::new())?;
        let start = Instant::now();
        let response = sender.send_request(request).await.context("send a request")?;
        let status = response.status();
        response.into_body().collect().await.context("read an answer")?;
        samples.push(start.elapsed());
        ensure!(status == 200, "the answer is {status}");
    }
    Ok(samples)
}
