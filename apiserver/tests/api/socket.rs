//! A watch over a WebSocket, as programs in browsers ask for it.

use futures::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::harness::Session;
use crate::serve::serve_session;

/// Asks for a WebSocket; gives the head of the answer.
async fn shake_hands<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, path: &str) -> String {
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: base64.binary.k8s.io\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(answer).unwrap().to_lowercase()
}

#[tokio::test]
async fn a_watch_over_a_websocket_is_an_event_per_message() {
    let served = serve_session(Session::start().await).await;
    let admin = served.client(Some(("admin", "system:masters")));
    let mut stream = served.connect(admin.clone(), &["http/1.1"]).await;
    let path = "/api/v1/namespaces/default/configmaps?watch=1&resourceVersion=0";
    let head = shake_hands(&mut stream, path).await;
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"), "{head}");
    assert!(head.contains("sec-websocket-protocol: base64.binary.k8s.io\r\n"), "{head}");
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
    for name in ["one", "two"] {
        let made = format!(
            "POST /api/v1/namespaces/default/configmaps\n{{\"metadata\":{{\"name\":\"{name}\"}}}}\n"
        );
        served.session.run(&made).await;
        let message = socket.next().await.unwrap().unwrap();
        let event: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
        let found =
            [&event["type"], &event["object"]["kind"], &event["object"]["metadata"]["name"]];
        assert_eq!(found, ["ADDED", "ConfigMap", name], "{event}");
    }
    socket.send(Message::Ping("still there?".into())).await.unwrap();
    assert!(matches!(socket.next().await, Some(Ok(Message::Pong(_)))));
    socket.close(None).await.unwrap();

    // What is refused is refused before the protocol changes.
    for client in [admin, served.client(None)] {
        let mut stream = served.connect(client, &["http/1.1"]).await;
        let head = shake_hands(&mut stream, "/api/v1/unknown?watch=1").await;
        assert!(head.starts_with("http/1.1 40"), "{head}");
    }
}
