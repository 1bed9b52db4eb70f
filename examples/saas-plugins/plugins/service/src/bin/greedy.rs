//! Computes for ever, whatever it is asked.
use std::hint::black_box;

use wstd::http::{Body, Error, Request, Response};

#[wstd::http_server]
async fn main(_request: Request<Body>) -> Result<Response<Body>, Error> {
    loop {
        black_box(0);
    }
}
