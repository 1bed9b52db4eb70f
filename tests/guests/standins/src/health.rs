//! `grpc-health-checking`: the health protocol of gRPC, by hand: one call with one field.
//!
//! *Source:* gRPC over HTTP/2, and `grpc.health.v1`.

use std::convert::Infallible;
use std::io::Result;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};

use crate::flags::Flags;
use crate::serve::{Asked, http, text};

/// What was ordered by HTTP: nothing, to be healthy, to be not.
const ORDERS: [&str; 3] = ["", "/make-serving", "/make-not-serving"];

/// Serves the protocol on one port and takes orders on another.
pub async fn run(flags: Flags) -> Result<()> {
    let started = Instant::now();
    let ordered = Arc::new(AtomicU8::new(0));
    let service = flags.text("service").unwrap_or_default().to_owned();
    let delay =
        u64::try_from(flags.number("delay-unhealthy-sec", -1)).ok().map(Duration::from_secs);
    let orders = ordered.clone();
    let control = http(flags.number("http-port", 8080) as u16, move |asked| {
        let order = ORDERS.iter().position(|path| *path == asked.path()).filter(|order| *order > 0);
        if let Some(order) = order {
            orders.store(order as u8, Ordering::Relaxed);
        }
        async move { text(if order.is_some() { 200 } else { 404 }, format!("{:?}", started.elapsed())) }
    });
    let checks = http(flags.number("port", 5000) as u16, move |asked| {
        let healthy = match ordered.load(Ordering::Relaxed) {
            0 => delay.is_none_or(|delay| started.elapsed() < delay),
            order => order == 1,
        };
        check(asked, service.clone(), healthy)
    });
    tokio::try_join!(control, checks).map(|_| ())
}

async fn check(asked: Asked, service: String, healthy: bool) -> Response {
    if asked.path() != "/grpc.health.v1.Health/Check" {
        return refused(12, "unimplemented");
    }
    if name(&asked.body) != service {
        return refused(5, "unknown service");
    }
    // Field 1 of the answer: 1 is SERVING, 2 is NOT_SERVING.
    let message = Bytes::copy_from_slice(&[0, 0, 0, 0, 2, 8, if healthy { 1 } else { 2 }]);
    let mut end = HeaderMap::new();
    end.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(message).with_trailers(std::future::ready(Some(Ok::<_, Infallible>(end))));
    let builder = Response::builder().header("content-type", "application/grpc");
    builder.body(Body::new(body)).unwrap_or_default()
}

/// The service that is asked for: field 1 after the five bytes of the frame.
fn name(body: &[u8]) -> String {
    match body.get(5..) {
        Some([0x0a, length, rest @ ..]) => {
            String::from_utf8_lossy(rest.get(..usize::from(*length)).unwrap_or_default())
                .into_owned()
        }
        _ => String::new(),
    }
}

/// An answer that has nothing but an error.
fn refused(code: u8, message: &str) -> Response {
    let builder = Response::builder().header("content-type", "application/grpc");
    let builder = builder.header("grpc-status", code.to_string()).header("grpc-message", message);
    builder.body(Body::empty()).unwrap_or_default()
}
