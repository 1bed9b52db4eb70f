//! The side-car: keeps the entries of the book in a file that it shares with the init container,
//! and serves them on the pod's own loopback. Nothing in here knows of WebAssembly.
use std::fs::OpenOptions;
use std::io::Write;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;

const BOOK: &str = "/data/book.txt";
const ENTRY_BYTES_MAX: usize = 200;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let routes = Router::new().route("/entries", get(list).post(add));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:9000").await?;
    println!("keeping {BOOK} on {}", listener.local_addr()?);
    axum::serve(listener, routes).await
}

async fn list() -> Result<String, StatusCode> {
    std::fs::read_to_string(BOOK).map_err(|error| {
        eprintln!("cannot read {BOOK}: {error}");
        StatusCode::INTERNAL_SERVER_ERROR
    })
}

async fn add(entry: String) -> Result<StatusCode, (StatusCode, String)> {
    let entry = entry.trim();
    if entry.is_empty() || entry.len() > ENTRY_BYTES_MAX || entry.contains(['\n', '\r']) {
        let why = format!("an entry is one line of 1 to {ENTRY_BYTES_MAX} bytes\n");
        return Err((StatusCode::BAD_REQUEST, why));
    }
    let written = OpenOptions::new().append(true).open(BOOK).and_then(|mut book| writeln!(book, "{entry}"));
    match written {
        Ok(()) => {
            println!("new entry of {} bytes", entry.len());
            Ok(StatusCode::CREATED)
        }
        Err(error) => Err((StatusCode::INTERNAL_SERVER_ERROR, format!("cannot write {BOOK}: {error}\n"))),
    }
}
