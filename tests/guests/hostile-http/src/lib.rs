//! Does to its host and its neighbours what the path of the request says.
use std::hint::black_box;

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    Fields, FutureIncomingResponse, IncomingRequest, IncomingResponse, Method, OutgoingBody,
    OutgoingRequest, OutgoingResponse, ResponseOutparam, Scheme,
};

struct Hostile;

impl Guest for Hostile {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let (path, query) = path.split_once('?').unwrap_or((&path, ""));
        match path {
            "/fork" => fork(query, out),
            "/spin" => loop {
                black_box(0);
            },
            "/stream" => stream(out),
            "/unread" => unread(query, out),
            "/hold" => {
                let held = black_box(vec![1_u8; query.parse::<usize>().unwrap_or(1) << 20]);
                wasip2::clocks::monotonic_clock::subscribe_duration(1_000_000_000).block();
                answer(out, Fields::new(), &held[..4]);
            }
            "/head" => {
                let fields = Fields::new();
                let value = vec![b'x'; 1000];
                while fields.append("x-bomb", &value).is_ok() {}
                answer(out, fields, b"ok");
            }
            "/split" => {
                let fields = Fields::new();
                let split = fields.append("x-split", b"a\r\nx-evil: 1").is_err();
                answer(out, fields, format!("refused {split}").as_bytes());
            }
            "/twice" => {
                let response = OutgoingResponse::new(Fields::new());
                let first = response.body();
                let second = response.body();
                let said = format!("{} {}", first.is_ok(), second.is_ok());
                drop((first, second));
                answer(out, Fields::new(), said.as_bytes());
            }
            _ => answer(out, Fields::new(), b"hostile\n"),
        }
    }
}

fn answer(out: ResponseOutparam, fields: Fields, text: &[u8]) {
    let response = OutgoingResponse::new(fields);
    let body = response.body().expect("the first body");
    ResponseOutparam::set(out, Ok(response));
    let stream = body.write().expect("the first stream");
    let _ = stream.blocking_write_and_flush(text);
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
}

fn ask(authority: &str, path: &str) -> Option<FutureIncomingResponse> {
    let request = OutgoingRequest::new(Fields::new());
    request.set_method(&Method::Get).ok()?;
    request.set_scheme(Some(&Scheme::Http)).ok()?;
    request.set_authority(Some(authority)).ok()?;
    request.set_path_with_query(Some(path)).ok()?;
    outgoing_handler::handle(request, None).ok()
}

fn response(future: &FutureIncomingResponse) -> Option<IncomingResponse> {
    future.subscribe().block();
    future.get()?.ok()?.ok()
}

/// Asks itself for two more of its kind, which ask for two more each.
fn fork(authority: &str, out: ResponseOutparam) {
    let path = format!("/fork?{authority}");
    let two = [ask(authority, &path), ask(authority, &path)];
    let answered = two.iter().flatten().filter_map(response).count();
    answer(out, Fields::new(), format!("{answered} answered\n").as_bytes());
}

/// Never ends its response.
fn stream(out: ResponseOutparam) {
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body().expect("the first body");
    ResponseOutparam::set(out, Ok(response));
    let stream = body.write().expect("the first stream");
    while stream.blocking_write_and_flush(&[b'x'; 4096]).is_ok() {}
}

/// Begins requests for endless responses, and holds them without reading.
fn unread(query: &str, out: ResponseOutparam) {
    let (authority, count) = query.split_once(',').unwrap_or((query, "1"));
    let count = count.parse().unwrap_or(1);
    let asked: Vec<_> = (0..count).filter_map(|_| ask(authority, "/stream")).collect();
    let held: Vec<_> = asked.iter().filter_map(response).collect();
    let taken = held.iter().filter(|response| response.status() == 200).count();
    println!("holding {taken}");
    wasip2::clocks::monotonic_clock::subscribe_duration(u64::MAX / 4).block();
    answer(out, Fields::new(), b"never");
}

wasip2::http::proxy::export!(Hostile);
