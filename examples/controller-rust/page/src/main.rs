//! Serves the file that the ConfigMap of a website is mounted as.
use wstd::http::{Body, Error, Request, Response};

#[wstd::http_server]
async fn main(_request: Request<Body>) -> Result<Response<Body>, Error> {
    Ok(Response::new(std::fs::read_to_string("/site/page")?.into()))
}
