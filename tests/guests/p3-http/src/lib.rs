//! Does what the path of the request says, over `wasi:http` 0.3.
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use wasip3::http::client;
use wasip3::http::types::{ErrorCode, Fields, Request, Response, Scheme, Trailers};
use wasip3::wit_bindgen::{FutureReader, StreamReader};
use wasip3::{spawn_local, wit_future, wit_stream};

/// Requests that this instance has seen.
static SEEN: AtomicU64 = AtomicU64::new(0);

struct Behave;

type Answer = Result<Response, ErrorCode>;

impl wasip3::exports::http::handler::Guest for Behave {
    async fn handle(request: Request) -> Answer {
        let seen = SEEN.fetch_add(1, Ordering::Relaxed) + 1;
        let path = request.get_path_with_query().unwrap_or_default();
        let (path, query) = path.split_once('?').unwrap_or((&path, ""));
        match path {
            "/count" => Ok(text(format!("{seen}\n"))),
            "/where" => {
                let authority = request.get_authority().unwrap_or_default();
                Ok(text(format!("{:?} {authority}\n", request.get_scheme())))
            }
            "/trap" => panic!("trapped as asked"),
            "/refuse" => Err(ErrorCode::HttpRequestDenied),
            "/spin" => loop {
                black_box(());
            },
            "/allocate" => {
                let mib: usize = query.parse().unwrap_or(1);
                let held = black_box(vec![1_u8; mib << 20]);
                Ok(text(format!("{} MiB\n", held.len() >> 20)))
            }
            "/echo" => Ok(echo(request)),
            "/stream" => Ok(stream(query.parse().unwrap_or(1))),
            "/trailers" => Ok(trailers()),
            "/call" => call(query).await,
            "/post" => post(query, request).await,
            "/grpc" => grpc(query).await,
            "/serve-grpc" => Ok(serve_grpc(request)),
            _ => Ok(text("no such behaviour\n".to_owned())),
        }
    }
}

fn no_trailers() -> FutureReader<Result<Option<Trailers>, ErrorCode>> {
    let (writer, reader) = wit_future::new(|| Ok(None));
    drop(writer);
    reader
}

fn well() -> FutureReader<Result<(), ErrorCode>> {
    let (writer, reader) = wit_future::new(|| Ok(()));
    drop(writer);
    reader
}

/// A response whose body is written after the handler has returned.
fn text(text: String) -> Response {
    let (mut writer, reader) = wit_stream::new();
    let (response, _sent) = Response::new(Fields::new(), Some(reader), no_trailers());
    spawn_local(async move {
        writer.write_all(text.into_bytes()).await;
    });
    response
}

/// Sends the request's body and trailers back as they come.
fn echo(request: Request) -> Response {
    let (body, trailers) = Request::consume_body(request, well());
    Response::new(Fields::new(), Some(body), trailers).0
}

/// Sends so many pieces of 1,000 bytes.
fn stream(pieces: u32) -> Response {
    let (mut writer, reader) = wit_stream::new();
    let (response, _sent) = Response::new(Fields::new(), Some(reader), no_trailers());
    spawn_local(async move {
        for _ in 0..pieces {
            if !writer.write_all(vec![b'x'; 1000]).await.is_empty() {
                break;
            }
        }
    });
    response
}

fn trailers() -> Response {
    let (mut writer, reader) = wit_stream::new();
    let (end, ending) = wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(Fields::new(), Some(reader), ending);
    spawn_local(async move {
        writer.write_all(b"body".to_vec()).await;
        drop(writer);
        let trailers = Fields::new();
        trailers.append("x-sum", b"4").expect("a valid field");
        let _ = end.write(Ok(Some(trailers))).await;
    });
    response
}

fn to(target: &str, headers: Fields, body: Option<StreamReader<u8>>) -> Request {
    let (authority, path) = target.split_once('/').unwrap_or((target, ""));
    let (request, _sent) = Request::new(headers, body, no_trailers(), None);
    request.set_scheme(Some(&Scheme::Http)).expect("a valid scheme");
    request.set_authority(Some(authority)).expect("a valid authority");
    request.set_path_with_query(Some(&format!("/{path}"))).expect("a valid path");
    request
}

/// Asks the authority and path in the query, and answers with what it answered.
async fn call(target: &str) -> Answer {
    match client::send(to(target, Fields::new(), None)).await {
        Ok(response) => {
            let status = response.get_status_code();
            let (body, _trailers) = Response::consume_body(response, well());
            let body = String::from_utf8_lossy(&body.collect().await).into_owned();
            Ok(text(format!("{status} {body}")))
        }
        Err(code) => Ok(text(format!("error {code:?}\n"))),
    }
}

/// Hands the request's body on to the authority and path in the query, and its answer back.
async fn post(target: &str, request: Request) -> Answer {
    let (body, _trailers) = Request::consume_body(request, well());
    let onward = to(target, Fields::new(), Some(body));
    onward.set_method(&wasip3::http::types::Method::Post).expect("a valid method");
    let response = client::send(onward).await?;
    let (body, trailers) = Response::consume_body(response, well());
    Ok(Response::new(Fields::new(), Some(body), trailers).0)
}

/// A call as gRPC makes it: its status comes in the trailers.
async fn grpc(target: &str) -> Answer {
    let headers = Fields::new();
    headers.append("content-type", b"application/grpc").expect("a valid field");
    let (mut writer, reader) = wit_stream::new();
    spawn_local(async move {
        writer.write_all(b"ping".to_vec()).await;
    });
    let request = to(target, headers, Some(reader));
    request.set_method(&wasip3::http::types::Method::Post).expect("a valid method");
    let response = client::send(request).await?;
    let (body, trailers) = Response::consume_body(response, well());
    let body = String::from_utf8_lossy(&body.collect().await).into_owned();
    let trailers = trailers.await?.map(|trailers| trailers.get("grpc-status"));
    let status = trailers.unwrap_or_default().concat();
    Ok(text(format!("{body}, status {}", String::from_utf8_lossy(&status))))
}

/// Answers a call with its own message and the status 0. The message is written anew: the host takes
/// a body that is only handed on together with its own trailers.
fn serve_grpc(request: Request) -> Response {
    let (body, _trailers) = Request::consume_body(request, well());
    let (mut writer, reader) = wit_stream::new();
    let (end, ending) = wit_future::new(|| Ok(None));
    spawn_local(async move {
        writer.write_all(body.collect().await).await;
        drop(writer);
        let trailers = Fields::new();
        trailers.append("grpc-status", b"0").expect("a valid field");
        let _ = end.write(Ok(Some(trailers))).await;
    });
    let headers = Fields::new();
    headers.append("content-type", b"application/grpc").expect("a valid field");
    Response::new(headers, Some(reader), ending).0
}

wasip3::http::service::export!(Behave);
