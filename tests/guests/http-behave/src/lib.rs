//! Does what the path of the request says, so that one service shows every way in which a request
//! can go.
use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    Fields, IncomingRequest, Method, OutgoingBody, OutgoingRequest, OutgoingResponse,
    ResponseOutparam, Scheme,
};
use wasip2::io::streams::{OutputStream, StreamError};

/// Requests that this instance has seen.
static SEEN: AtomicU64 = AtomicU64::new(0);

struct Behave;

impl Guest for Behave {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let seen = SEEN.fetch_add(1, Ordering::Relaxed) + 1;
        let path = request.path_with_query().unwrap_or_default();
        let (path, query) = path.split_once('?').unwrap_or((&path, ""));
        match path {
            "/count" => answer(out, 200, format!("{seen}\n").as_bytes()),
            "/trap" => panic!("trapped as asked"),
            "/silent" => {}
            "/spin" => spin(),
            "/allocate" => {
                let mib: usize = query.parse().unwrap_or(1);
                let held = black_box(vec![1_u8; mib << 20]);
                answer(out, 200, format!("{} MiB\n", held.len() >> 20).as_bytes());
            }
            "/echo" => echo(&request, out),
            "/stream" => stream(out, query.parse().unwrap_or(1)),
            "/late-trap" => late_trap(out),
            "/trailers" => trailers(out),
            "/call" => call(query, out),
            "/calls" => calls(query, out),
            "/spread" => spread(query, out),
            "/turns" => turns(query.parse().unwrap_or(1), out),
            "/log" => {
                println!("{query}");
                answer(out, 200, b"logged\n");
            }
            "/header" => {
                let values = request.headers().get(query);
                let value = values.first().map(|value| String::from_utf8_lossy(value).into_owned());
                answer(out, 200, value.unwrap_or_else(|| "none".to_owned()).as_bytes());
            }
            "/env" => {
                let value = std::env::var(query).unwrap_or_else(|_| "unset".to_owned());
                answer(out, 200, format!("{value}\n").as_bytes());
            }
            "/grpc.health.v1.Health/Check" => health(&request, out),
            _ => answer(out, 404, b"no such behaviour\n"),
        }
    }
}

fn begin(out: ResponseOutparam, status: u16) -> (OutgoingBody, OutputStream) {
    let response = OutgoingResponse::new(Fields::new());
    response.set_status_code(status).expect("a valid status");
    let body = response.body().expect("the first body");
    ResponseOutparam::set(out, Ok(response));
    let stream = body.write().expect("the first stream");
    (body, stream)
}

fn answer(out: ResponseOutparam, status: u16, text: &[u8]) {
    let (body, stream) = begin(out, status);
    // One such write takes no more.
    for piece in text.chunks(4096) {
        let _ = stream.blocking_write_and_flush(piece);
    }
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
}

fn spin() -> ! {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

/// Sends the request's body back as it comes.
fn echo(request: &IncomingRequest, out: ResponseOutparam) {
    let incoming = request.consume().expect("the first consume");
    let input = incoming.stream().expect("the first stream");
    let (body, output) = begin(out, 200);
    loop {
        match input.blocking_read(4096) {
            Ok(bytes) => {
                if output.blocking_write_and_flush(&bytes).is_err() {
                    break;
                }
            }
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(_)) => return,
        }
    }
    drop(output);
    let _ = OutgoingBody::finish(body, None);
}

/// Sends so many pieces of 1,000 bytes.
fn stream(out: ResponseOutparam, pieces: u32) {
    let (body, output) = begin(out, 200);
    for _ in 0..pieces {
        if output.blocking_write_and_flush(&[b'x'; 1000]).is_err() {
            break;
        }
    }
    drop(output);
    let _ = OutgoingBody::finish(body, None);
}

/// Traps when half of the response is out.
fn late_trap(out: ResponseOutparam) {
    let (_body, output) = begin(out, 200);
    let _ = output.blocking_write_and_flush(b"half");
    panic!("trapped as asked");
}

/// Says how a service is, as `grpc.health.v1` does: the one named `down` does not serve.
fn health(request: &IncomingRequest, out: ResponseOutparam) {
    let incoming = request.consume().expect("the first consume");
    let input = incoming.stream().expect("the first stream");
    let mut asked = Vec::new();
    while let Ok(bytes) = input.blocking_read(4096) {
        asked.extend_from_slice(&bytes);
    }
    let serving = if asked.ends_with(b"down") { 2 } else { 1 };
    let headers = Fields::new();
    headers.append("content-type", b"application/grpc").expect("a valid field");
    let response = OutgoingResponse::new(headers);
    let body = response.body().expect("the first body");
    ResponseOutparam::set(out, Ok(response));
    let output = body.write().expect("the first stream");
    // A message of two bytes, not compressed: field 1, the status.
    let _ = output.blocking_write_and_flush(&[0, 0, 0, 0, 2, 8, serving]);
    drop(output);
    let trailers = Fields::new();
    trailers.append("grpc-status", b"0").expect("a valid field");
    let _ = OutgoingBody::finish(body, Some(trailers));
}

fn trailers(out: ResponseOutparam) {
    let (body, output) = begin(out, 200);
    let _ = output.blocking_write_and_flush(b"body");
    drop(output);
    let trailers = Fields::new();
    trailers.append("x-sum", b"4").expect("a valid field");
    let _ = OutgoingBody::finish(body, Some(trailers));
}

/// Asks the authority and path in the query, and answers with what it answered.
fn call(query: &str, out: ResponseOutparam) {
    match ask(query) {
        Ok((status, text)) => {
            answer(out, 200, &[format!("{status} ").as_bytes(), &text].concat());
        }
        Err(why) => answer(out, 200, why.as_bytes()),
    }
}

/// Asks so many times (`100,pod/path`) one after the other, and answers with the microseconds that
/// all took.
fn calls(query: &str, out: ResponseOutparam) {
    let (count, target) = query.split_once(',').unwrap_or(("1", query));
    let start = Instant::now();
    for _ in 0..count.parse().unwrap_or(1) {
        if let Err(why) = ask(target) {
            return answer(out, 502, why.as_bytes());
        }
    }
    answer(out, 200, start.elapsed().as_micros().to_string().as_bytes());
}

/// Asks so many times as a client of gRPC does, which speaks HTTP/2 (`1000,pod/path`), and answers with
/// how often each answer came.
fn spread(query: &str, out: ResponseOutparam) {
    let (count, target) = query.split_once(',').unwrap_or(("1", query));
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..count.parse().unwrap_or(1) {
        let said = ask_with(target, &[("content-type", "application/grpc")]);
        let said = said.map_or_else(|why| why, |(_, text)| String::from_utf8_lossy(&text).into_owned());
        *counts.entry(said.trim().to_owned()).or_default() += 1;
    }
    let lines = counts.iter().map(|(said, count)| format!("{said} {count}\n"));
    answer(out, 200, lines.collect::<String>().as_bytes());
}

/// Computes for so many turns.
fn turns(count: u64, out: ResponseOutparam) {
    let mut value = black_box(count);
    for turn in 0..count {
        value = value.rotate_left(7).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ turn;
    }
    black_box(value);
    answer(out, 200, b"done\n");
}

/// Status and body of what `authority/path` answers, or what went wrong.
fn ask(target: &str) -> Result<(u16, Vec<u8>), String> {
    ask_with(target, &[])
}

/// The same with these headers.
fn ask_with(target: &str, headers: &[(&str, &str)]) -> Result<(u16, Vec<u8>), String> {
    let (authority, path) = target.split_once('/').unwrap_or((target, ""));
    let fields = Fields::new();
    for (name, value) in headers {
        fields.append(name, value.as_bytes()).expect("a valid field");
    }
    let request = OutgoingRequest::new(fields);
    request.set_method(&Method::Get).expect("a valid method");
    request.set_scheme(Some(&Scheme::Http)).expect("a valid scheme");
    request.set_authority(Some(authority)).expect("a valid authority");
    request.set_path_with_query(Some(&format!("/{path}"))).expect("a valid path");
    let future = outgoing_handler::handle(request, None);
    let future = future.map_err(|code| format!("refused {code:?}\n"))?;
    future.subscribe().block();
    let response = future.get().expect("ready").expect("the first get");
    let response = response.map_err(|code| format!("error {code:?}\n"))?;
    let status = response.status();
    let body = response.consume().expect("the first consume");
    let input = body.stream().expect("the first stream");
    let mut text = Vec::new();
    while let Ok(bytes) = input.blocking_read(4096) {
        text.extend_from_slice(&bytes);
    }
    Ok((status, text))
}

wasip2::http::proxy::export!(Behave);
