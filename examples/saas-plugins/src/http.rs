//! The shop's pages.
//!
//! Who may upload is not asked here: the shop listens on this machine alone. Yours knows its tenants.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::Shop;
use crate::bill::{Bill, Cart};

/// Most bytes of an upload: a plugin in JavaScript has one mebibyte.
const BODY_BYTES_MAX: usize = 4 << 20;

/// A status and a text.
type Answer = (StatusCode, String);

/// Answers the requests of a connection.
pub async fn serve(shop: Arc<Shop>, stream: TcpStream) {
    let service = service_fn(|request| {
        let shop = Arc::clone(&shop);
        async move {
            let (status, text) = answer(&shop, request).await.unwrap_or_else(|refused| refused);
            let mut response = Response::new(Full::new(Bytes::from(text + "\n")));
            *response.status_mut() = status;
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let served =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        eprintln!("a connection broke off: {error}");
    }
}

async fn answer(shop: &Shop, request: Request<Incoming>) -> Result<Answer, Answer> {
    let path = request.uri().path().to_owned();
    let words: Vec<&str> = path.split('/').skip(1).collect();
    let nothing = || (StatusCode::NOT_FOUND, format!("nothing is at {path}"));
    let (Some(tenant), method) = (words.get(1), request.method().clone()) else {
        return Err(nothing());
    };
    let tenant = shop.tenants.get(*tenant).ok_or_else(nothing)?;
    match (method, words.as_slice()) {
        (Method::PUT, ["tenants", _, "plugin"]) => {
            let said = tenant.take(&shop.engine, body(request).await?).await;
            said.map(|said| (StatusCode::CREATED, said)).map_err(|why| (StatusCode::FORBIDDEN, why))
        }
        (Method::GET, ["tenants", _]) => json(&tenant.used()),
        (Method::POST, ["shops", _, "checkout"]) => {
            let cart: Cart = serde_json::from_slice(&body(request).await?)
                .map_err(|error| (StatusCode::BAD_REQUEST, format!("this is no cart: {error}")))?;
            json(&Bill::of(&cart, tenant.changes(cart.clone()).await))
        }
        _ => Err(nothing()),
    }
}

async fn body(request: Request<Incoming>) -> Result<Bytes, Answer> {
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await;
    let body = body.map_err(|error| (StatusCode::PAYLOAD_TOO_LARGE, error.to_string()))?;
    Ok(body.to_bytes())
}

fn json<T: serde::Serialize>(value: &T) -> Result<Answer, Answer> {
    let text = serde_json::to_string(value);
    text.map(|text| (StatusCode::OK, text))
        .map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}
