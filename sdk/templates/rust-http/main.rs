//! Answers every request with a greeting.
use wstd::http::{Body, Error, Request, Response};

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    let greeting = std::env::var("GREETING").unwrap_or_else(|_| "hello".to_owned());
    let whom = request.uri().path().trim_matches('/');
    println!("asked for {whom}");
    Ok(Response::new(format!("{greeting} from {{name}}, {whom}\n").into()))
}
