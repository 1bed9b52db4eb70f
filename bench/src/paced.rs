//! A load of HTTP/1.1 requests at a pace: each is due at its time, whatever became of the one before.
//!
//! Its threads go before all others of the machine where the kernel lets them, as if the clients were
//! on another one: what is measured is the answer, not how long a client waits for a core.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::sample::Samples;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of an answer, head and all.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// What is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) connections: u32,
    /// Requests for each second, all connections together.
    pub(crate) rate: u32,
    pub(crate) time: Duration,
}

/// Sends requests to loopback at a pace; gives the time from when each was due to its whole answer,
/// which has to be 200.
pub(crate) fn run(port: u16, pace: Pace) -> anyhow::Result<Samples> {
    let interval = Duration::from_secs(1) * pace.connections / pace.rate;
    let start = now() + interval;
    let threads: Vec<_> = (0..pace.connections)
        .map(|number| {
            let first = start + interval * number / pace.connections;
            std::thread::spawn(move || connection(port, first, interval, first + pace.time))
        })
        .collect();
    let mut samples = Samples::default();
    for thread in threads {
        let of_one = thread.join().map_err(|_| anyhow::anyhow!("a client panicked"))?;
        samples.extend(of_one?);
    }
    Ok(samples)
}

fn connection(
    port: u16,
    first: Instant,
    interval: Duration,
    end: Instant,
) -> anyhow::Result<Samples> {
    go_first();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect(address).context("connect")?;
    stream.set_nodelay(true).context("set TCP_NODELAY")?;
    stream.set_read_timeout(Some(PATIENCE)).context("set a timeout")?;
    let mut samples = Samples::default();
    let mut due = first;
    while due < end {
        sleep_until(due);
        stream.write_all(REQUEST).context("send a request")?;
        read_answer(&mut stream)?;
        samples.push(now().saturating_duration_since(due));
        due += interval;
    }
    Ok(samples)
}

/// Reads an answer whose length is known, or that comes in chunks.
fn read_answer(stream: &mut TcpStream) -> anyhow::Result<()> {
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let count = stream.read(&mut piece).context("read an answer")?;
        ensure!(count > 0 && answer.len() < ANSWER_BYTES_MAX, "no whole answer");
        answer.extend_from_slice(piece.get(..count).unwrap_or_default());
        let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(answer.get(..head).unwrap_or_default());
        ensure!(text.starts_with("HTTP/1.1 200 "), "the answer is {text}");
        let head_lines = text.to_ascii_lowercase();
        let field = |name: &str| head_lines.lines().find_map(|line| line.strip_prefix(name));
        let body = answer.get(head + 4..).unwrap_or_default();
        let is_whole = match field("content-length:") {
            Some(length) => body.len() >= length.trim().parse().context("the answer's length")?,
            // In chunks, the last of which is empty.
            None => body.ends_with(b"0\r\n\r\n"),
        };
        if is_whole {
            return Ok(());
        }
    }
}

/// Lets the calling thread go before others. Without the right to, it waits like any.
fn go_first() {
    let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
    let asked = Command::new("chrt")
        .args(["--fifo", "--pid", "1", &thread])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    drop(asked);
}

fn sleep_until(due: Instant) {
    std::thread::sleep(due.saturating_duration_since(now()));
}

fn now() -> Instant {
    Instant::now()
}
