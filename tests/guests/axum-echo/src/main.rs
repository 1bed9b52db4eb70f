//! An axum server as one writes it anywhere: it listens on `$PORT`, answers many requests at once
//! and calls out.
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{ConnectInfo, Path, State};
use axum::routing::{any, get, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Barrier;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let port = std::env::var("PORT").unwrap_or_else(|_| "8080".to_owned());
    let listener = tokio::net::TcpListener::bind(format!("0.0.0.0:{port}")).await?;
    println!("listening on {}", listener.local_addr()?);
    let app = Router::new()
        .route("/", get(async || "hello"))
        .route("/echo", post(async |body: axum::body::Bytes| body))
        .route("/peer", get(async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.to_string()))
        .route("/shout", any(async |upgrade: WebSocketUpgrade| upgrade.on_upgrade(shout)))
        .route("/meet", get(meet))
        .route("/call/{host}/{port}", get(call))
        .with_state(Arc::new(Barrier::new(3)));
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await
}

/// Sends each text back in capitals.
async fn shout(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        let Message::Text(text) = message else { continue };
        let answer = Message::Text(text.to_uppercase().into());
        if socket.send(answer).await.is_err() {
            break;
        }
    }
}

/// Answers once three requests are here at the same time.
async fn meet(State(barrier): State<Arc<Barrier>>) -> &'static str {
    if barrier.wait().await.is_leader() { "leader" } else { "met" }
}

/// Asks another server for its front page over a plain connection.
async fn call(Path((host, port)): Path<(String, u16)>) -> Result<String, String> {
    let ask = async {
        // tokio looks names up on another thread, which WASI does not have.
        let address = (host.as_str(), port).to_socket_addrs()?.next();
        let address = address.ok_or(std::io::ErrorKind::NotFound)?;
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    };
    let answer: String =
        ask.await.map_err(|error: std::io::Error| format!("{:?}", error.kind()))?;
    Ok(answer.rsplit("\r\n").next().unwrap_or_default().to_owned())
}
