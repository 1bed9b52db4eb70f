//! `netexec`: HTTP and UDP servers that tell about themselves and call others.

use std::io::Result;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::response::Response;

use crate::flags::Flags;
use crate::logs::{duration, log};
use crate::serve::{Asked, http, text, udp};
use crate::{client, hostname, json, query};

/// Answers a request; the port is the server's own.
async fn answer(asked: Asked, port: u16, ready: bool) -> Response {
    log(&format!("{} {}", asked.parts.method, asked.parts.uri));
    let of = |name: &str| asked.parameter(name);
    match asked.path() {
        "/clientip" => text(200, asked.peer.to_string()),
        "/serverport" => text(200, port.to_string()),
        "/header" => header(&asked),
        "/echo" => text(of("code").parse().unwrap_or(200), of("msg")),
        "/hostname" | "/hostName" => text(200, hostname()),
        "/healthz" => text(if ready { 200 } else { 412 }, ""),
        "/readyz" => text(if ready { 200 } else { 412 }, if ready { "ok" } else { "" }),
        "/redirect" => redirect(&of("location"), of("code").parse().unwrap_or(302)),
        "/dial" => dial(&asked).await,
        "/shutdown" => std::process::exit(0),
        "/exit" => exit(&of("code"), &of("wait"), &of("timeout")).await,
        "/shell" => {
            let error = json::string("a pod of WebAssembly starts no processes");
            text(200, json::object([("error", error)]))
        }
        _ => text(200, format!("NOW: {}", crate::logs::now())),
    }
}

fn header(asked: &Asked) -> Response {
    let key = asked.parameter("key");
    let headers = &asked.parts.headers;
    let value = |name: &str| {
        headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    if !key.is_empty() {
        return text(200, value(&key));
    }
    let members = headers.keys().map(|name| (name.as_str(), json::list(&[value(name.as_str())])));
    text(200, json::object(members))
}

fn redirect(location: &str, code: u16) -> Response {
    let builder = Response::builder().status(code).header("location", location);
    builder.body(axum::body::Body::empty()).unwrap_or_default()
}

async fn exit(code: &str, wait: &str, timeout: &str) -> Response {
    let (Some(wait), Some(_)) = (duration(wait), duration(timeout)) else {
        return text(200, "arguments 'wait' and 'timeout' must be durations or empty\n");
    };
    tokio::time::sleep(wait).await;
    std::process::exit(code.parse().unwrap_or(0))
}

/// Calls another server as often as asked, and tells what it said.
async fn dial(asked: &Asked) -> Response {
    let of = |name: &str| asked.parameter(name);
    let tries: u32 = of("tries").parse().unwrap_or(1);
    let (host, request, protocol) = (of("host"), of("request"), of("protocol"));
    let (Ok(port), false) = (of("port").parse(), request.is_empty()) else {
        return text(400, "port and request must be given\n");
    };
    let (mut responses, mut errors) = (Vec::new(), Vec::new());
    for _ in 0..tries {
        let outcome = match protocol.to_ascii_lowercase().as_str() {
            "" | "http" => client::get(&host, port, &request).await,
            "udp" => client::udp(&host, port, &request).await,
            other => return text(400, format!("unsupported protocol. {other}\n")),
        };
        match outcome {
            Ok(response) => responses.push(response),
            Err(error) => errors.push(error.to_string()),
        }
    }
    let lists = [("responses", responses), ("errors", errors)].into_iter();
    text(200, json::object(lists.filter(|(_, l)| !l.is_empty()).map(|(n, l)| (n, json::list(&l)))))
}

/// Serves until it is told to end.
pub async fn run(flags: Flags) -> Result<()> {
    let port = flags.number("http-port", 8080) as u16;
    let udp_port = flags.number("udp-port", 8081);
    let ready = Arc::new(AtomicBool::new(false));
    let fixed = flags.text("http-override").map(str::to_owned);
    let is_ready = ready.clone();
    let serve = http(port, move |mut asked| {
        if let Some(uri) = fixed.as_deref().and_then(|uri| uri.parse().ok()) {
            asked.parts.uri = uri;
        }
        let ready = is_ready.load(Ordering::Relaxed);
        answer(asked, port, ready)
    });
    log(&format!("Started HTTP server on port {port}"));
    if udp_port < 0 {
        return serve.await;
    }
    let addresses = flags.text("udp-listen-addresses").unwrap_or("0.0.0.0").to_owned();
    let datagrams = futures_util::future::try_join_all(addresses.split(',').map(|address| {
        log(&format!("Started UDP server on port {address} {udp_port}"));
        udp(address, udp_port as u16, move |datagram, peer| said(datagram, peer, udp_port))
    }));
    // The original tells that it is ready once its datagrams are served.
    ready.store(true, Ordering::Relaxed);
    tokio::try_join!(serve, async { datagrams.await.map(|_| ()) }).map(|_| ())
}

fn said(datagram: &[u8], peer: std::net::SocketAddr, port: i64) -> Option<String> {
    let asked = String::from_utf8_lossy(datagram).trim().to_lowercase();
    match asked.as_str() {
        "hostname" => Some(hostname()),
        "clientip" => Some(peer.to_string()),
        "serverport" => Some(port.to_string()),
        other => other.strip_prefix("echo ").map(str::to_owned),
    }
}

/// `liveness`: healthy for ten seconds.
pub async fn liveness() -> Result<()> {
    let started = std::time::Instant::now();
    http(8080, move |asked| async move {
        let lived = started.elapsed();
        match asked.path() {
            "/started" => text(200, format!("{lived:?}")),
            "/healthz" if lived > Duration::from_secs(10) => {
                text(500, format!("error: {}", lived.as_secs_f64()))
            }
            "/healthz" => text(200, "ok"),
            "/redirect" => redirect(&query::decoded(&asked.parameter("loc")), 302),
            _ => text(404, "404 page not found\n"),
        }
    })
    .await
}
