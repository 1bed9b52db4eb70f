//! The guestbook's page. Each part of it comes by another way that a pod has:
//! environment from a ConfigMap and a Secret, a file from the same ConfigMap, the side-car on
//! 127.0.0.1, and another Deployment by its Service's name.
use std::env;
use std::fmt::Write as _;

use wstd::http::{Body, Client, Error, Method, Request, Response, StatusCode};

const ENTRIES_URL: &str = "http://127.0.0.1:9000/entries";
const QUOTES_URL: &str = "http://quotes/";

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => Ok(Response::new(page().await.into())),
        (&Method::GET, "/healthz") => Ok(Response::new("ok\n".to_owned().into())),
        (&Method::POST, "/") => sign(request.into_body()).await,
        _ => answer(StatusCode::NOT_FOUND, "there is only /\n"),
    }
}

async fn page() -> String {
    let mut page = String::new();
    let notice = std::fs::read_to_string("/etc/guestbook/notice").unwrap_or_else(|error| error.to_string());
    let owner_known = env::var("OWNER_TOKEN").is_ok_and(|token| !token.is_empty());
    let _ = writeln!(page, "{}", variable("TITLE"));
    let _ = writeln!(page, "pod:     {}", variable("POD_NAME"));
    let _ = writeln!(page, "colour:  {}", variable("THEME_COLOUR"));
    let _ = writeln!(page, "notice:  {}", notice.trim_end());
    let _ = writeln!(page, "owner:   {}", if owner_known { "known" } else { "unknown" });
    let _ = writeln!(page, "quote:   {}", fetch(QUOTES_URL).await.trim_end());
    let _ = writeln!(page, "entries:");
    for entry in fetch(ENTRIES_URL).await.lines() {
        let _ = writeln!(page, "  - {entry}");
    }
    page
}

/// Passes a new entry on to the side-car.
async fn sign(entry: Body) -> Result<Response<Body>, Error> {
    let request = Request::post(ENTRIES_URL).body(entry)?;
    Client::new().send(request).await
}

/// The body at `url`, or what went wrong, to be shown in its place.
async fn fetch(url: &str) -> String {
    match try_fetch(url).await {
        Ok(body) => body,
        Err(error) => format!("({url} did not answer: {error})"),
    }
}

async fn try_fetch(url: &str) -> Result<String, Error> {
    let response = Client::new().send(Request::get(url).body(Body::empty())?).await?;
    let status = response.status();
    let mut body = response.into_body();
    let text = body.str_contents().await?;
    Ok(if status.is_success() { text.to_owned() } else { format!("({url} answered {status}: {text})") })
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| format!("({name} is not set)"))
}

fn answer(status: StatusCode, text: &'static str) -> Result<Response<Body>, Error> {
    Ok(Response::builder().status(status).body(text.to_owned().into())?)
}
