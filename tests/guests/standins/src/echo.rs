//! The echo server of the Gateway API's conformance suite, as far as its HTTP cases go: it says what it was asked.

use std::collections::BTreeMap;
use std::env;
use std::io::Result;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::extract::{ConnectInfo, Request};
use axum::http::header::HOST;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Version};
use axum::response::Response;
use axum::routing::any;
use tokio::net::TcpListener;

use crate::json;
use crate::serve::{Asked, asked, http, text};

/// A header of this name asks for headers of the answer, as `name:value, name:value`.
const SET_HEADER: &str = "x-echo-set-header";

/// Serves HTTP/1 on one port and HTTP/2 on another, for ever; also where the original would be a server of gRPC or TCP,
/// which this one is not.
pub async fn serve() -> Result<()> {
    let others = ["GRPC_ECHO_SERVER", "TCP_ECHO_SERVER"];
    if let Some(other) = others.into_iter().find(|name| env::var_os(name).is_some()) {
        println!("{other}: this stand-in speaks HTTP alone");
    }
    let plain = with_web_sockets(port("HTTP_PORT", 3000));
    let second = http(port("H2C_PORT", 3001), |asked| async move {
        if asked.parts.version == Version::HTTP_2 {
            answer(&asked).await
        } else {
            text(400, "Expected h2c request")
        }
    });
    tokio::try_join!(plain, second).map(|_| ())
}

/// Serves HTTP, and at `/ws` sends back what comes over a WebSocket.
async fn with_web_sockets(port: u16) -> Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", port)).await?;
    let upgraded = |upgrade: WebSocketUpgrade| async move { upgrade.on_upgrade(shout_back) };
    let plain = |ConnectInfo(peer): ConnectInfo<SocketAddr>, request: Request| async move {
        answer(&asked(request, peer).await).await
    };
    let app = Router::new().route("/ws", any(upgraded)).fallback(plain);
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await
}

async fn shout_back(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if socket.send(message).await.is_err() {
            return;
        }
    }
}

/// How long the answer is to be waited for: `delay=300ms`, or in seconds.
fn delay(asked: &Asked) -> Duration {
    let text = asked.parameter("delay");
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => (text.strip_suffix('s').unwrap_or_default(), 1000),
    };
    Duration::from_millis(number.parse::<u64>().unwrap_or_default() * unit)
}

fn port(name: &str, usual: u16) -> u16 {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

async fn answer(asked: &Asked) -> Response {
    let path = asked.path();
    // Cases of mirrors count these lines.
    println!("Echoing back request made to {} to client ({})", asked.parts.uri, asked.peer);
    if path == "/health" {
        return text(200, "OK");
    }
    if let Some(code) = path.strip_prefix("/status/") {
        let builder = Response::builder().status(code.parse::<u16>().unwrap_or(400));
        return builder.body(Body::empty()).unwrap_or_default();
    }
    tokio::time::sleep(delay(asked)).await;
    let mut response = Response::new(Body::from(what(asked)));
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    for (name, value) in wanted(&asked.parts.headers) {
        headers.append(name, value);
    }
    response
}

/// What was asked, as JSON.
fn what(asked: &Asked) -> String {
    let parts = &asked.parts;
    let of_header = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = parts.uri.authority().map(|authority| authority.as_str()).or(of_header);
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let proto = if parts.version == Version::HTTP_2 { "HTTP/2.0" } else { "HTTP/1.1" };
    let of_env = |name: &str| json::string(&env::var(name).unwrap_or_default());
    json::object([
        ("path", json::string(target)),
        ("host", json::string(host.unwrap_or_default())),
        ("method", json::string(parts.method.as_str())),
        ("proto", json::string(proto)),
        ("headers", headers(&parts.headers)),
        ("httpPort", json::string(&port("HTTP_PORT", 3000).to_string())),
        ("namespace", of_env("NAMESPACE")),
        ("ingress", of_env("INGRESS_NAME")),
        ("service", of_env("SERVICE_NAME")),
        ("pod", of_env("POD_NAME")),
    ])
}

/// All headers but the host, under the names that Go gives them.
fn headers(all: &HeaderMap) -> String {
    let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in all.iter().filter(|(name, _)| **name != HOST) {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        values.entry(canonical(name.as_str())).or_default().push(value);
    }
    json::object(values.iter().map(|(name, values)| (name.as_str(), json::list(values))))
}

/// `x-header-add` as `X-Header-Add`.
fn canonical(name: &str) -> String {
    let word = |word: &str| {
        let mut letters = word.chars();
        let first = letters.next().map(|letter| letter.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    };
    name.split('-').map(word).collect::<Vec<_>>().join("-")
}

/// The headers that the request wants in the answer.
fn wanted(asked: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    let lists = asked.get_all(SET_HEADER).into_iter().filter_map(|list| list.to_str().ok());
    let pairs = lists.flat_map(|list| list.split(',')).filter_map(|pair| pair.split_once(':'));
    pairs
        .filter_map(|(name, value)| {
            let name = HeaderName::try_from(name.trim()).ok()?;
            Some((name, HeaderValue::try_from(value.trim()).ok()?))
        })
        .collect()
}
