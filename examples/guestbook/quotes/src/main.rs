//! A saying of the day. The page reaches it by its Service's name, `http://quotes/`.
use wstd::http::{Body, Error, Request, Response};

const SAYINGS: [&str; 4] = [
    "Small modules, loosely joined.",
    "A capability is a key, not a promise.",
    "What is not granted cannot leak.",
    "Start fast, idle for free.",
];

#[wstd::http_server]
async fn main(_request: Request<Body>) -> Result<Response<Body>, Error> {
    let mut byte = [0];
    wstd::rand::get_random_bytes(&mut byte);
    let saying = SAYINGS[usize::from(byte[0]) % SAYINGS.len()];
    let pod = std::env::var("POD_NAME").unwrap_or_default();
    Ok(Response::new(format!("{saying} ({pod})\n").into()))
}
