//! Clients of `exec`, over WebSockets and SPDY, with a program in memory.

use bytes::Bytes;
use coracle_runtime::Exit;
use coracle_runtime::exec::{ExecHandle, ExecOwner, TerminalSize};
use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_util::codec::Framed;

use super::{Options, Program, serve};
use crate::streams::handshake::Speech;
use crate::streams::spdy::{Codec, Frame, Headers};

/// The program's side: what it reads and writes, and its end.
struct Inside {
    stdin: DuplexStream,
    stdout: DuplexStream,
    stderr: DuplexStream,
    owner: ExecOwner,
}

fn program() -> (Program, Inside) {
    let (stdin, inner_stdin) = duplex(1 << 10);
    let (stdout, inner_stdout) = duplex(1 << 10);
    let (stderr, inner_stderr) = duplex(1 << 10);
    let (handle, owner) = ExecHandle::pair();
    let program = Program {
        stdin: Some(Box::pin(stdin)),
        stdout: Box::pin(stdout),
        stderr: Some(Box::pin(stderr)),
        handle: Some(handle),
    };
    (program, Inside { stdin: inner_stdin, stdout: inner_stdout, stderr: inner_stderr, owner })
}

/// Serves one client with a program that writes `out` and `err`, then what it reads to its end,
/// and ends with 3.
fn connect(speech: Speech, query: &str) -> DuplexStream {
    let (near, far) = duplex(1 << 16);
    let options = Options::parse(query).unwrap();
    let (program, inside) = program();
    tokio::spawn(async move {
        let Inside { mut stdin, mut stdout, mut stderr, owner } = inside;
        stdout.write_all(b"out").await.unwrap();
        stderr.write_all(b"err").await.unwrap();
        tokio::io::copy(&mut stdin, &mut stdout).await.unwrap();
        drop((stdout, stderr));
        owner.ended(Exit::of_code(3));
    });
    let starting = futures::future::ready(Ok(program)).boxed();
    tokio::spawn(serve(far, speech, options, starting));
    near
}

async fn websocket(client: DuplexStream) -> WebSocketStream<DuplexStream> {
    WebSocketStream::from_raw_socket(client, Role::Client, None).await
}

/// What came on each channel until the server closed, normally.
async fn read(socket: &mut WebSocketStream<DuplexStream>) -> Vec<String> {
    let mut channels = vec![String::new(); 5];
    while let Some(message) = socket.next().await {
        match message.unwrap() {
            Message::Binary(bytes) => {
                let text = std::str::from_utf8(&bytes[1..]).unwrap();
                channels[usize::from(bytes[0])].push_str(text);
            }
            Message::Close(frame) => assert_eq!(frame.unwrap().code, CloseCode::Normal),
            other
            @ (Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {
                panic!("{other:?}")
            }
        }
    }
    channels
}

const FAILED: &str = r#"{"details":{"causes":[{"message":"3","reason":"ExitCode"}]},"message":"command terminated with non-zero exit code: exit status 3","metadata":{},"reason":"NonZeroExitCode","status":"Failure"}"#;

#[tokio::test]
async fn version_5_ends_its_input_by_a_message() {
    let client = connect(Speech::WebSocket("v5.channel.k8s.io"), "input=1&output=1&error=1");
    let mut socket = websocket(client).await;
    for message in [&b"\x00 and"[..], b"\x00 in", b"\xff\x00", b"\x00 late"] {
        socket.send(Message::Binary(Bytes::copy_from_slice(message))).await.unwrap();
    }
    let channels = read(&mut socket).await;
    assert_eq!(channels, ["", "out and in", "err", FAILED, ""]);
}

#[tokio::test]
async fn a_client_without_input_sees_the_exit_code() {
    for protocol in ["v4.channel.k8s.io", "v5.channel.k8s.io"] {
        let client = connect(Speech::WebSocket(protocol), "output=1");
        let channels = read(&mut websocket(client).await).await;
        assert_eq!(channels, ["", "out", "", FAILED, ""], "{protocol}");
    }
    let client = connect(Speech::WebSocket(""), "output=1");
    let channels = read(&mut websocket(client).await).await;
    assert_eq!(channels[3], "command terminated with non-zero exit code: exit status 3");
}

#[tokio::test]
async fn base64_is_spoken_in_text() {
    let client = connect(Speech::WebSocket("v4.base64.channel.k8s.io"), "output=1");
    let mut socket = websocket(client).await;
    let mut texts = Vec::new();
    while let Some(Ok(message)) = socket.next().await {
        if let Message::Text(text) = message {
            texts.push(text.to_string());
        }
    }
    assert_eq!(texts[..2], ["1", "1b3V0"]);
    assert!(texts[2].starts_with("3ey"), "{texts:?}");
}

#[tokio::test]
async fn why_there_is_no_program_goes_to_the_error_channel() {
    let (near, far) = duplex(1 << 16);
    let failure = "error executing command in container: no such program".to_owned();
    let starting = futures::future::ready(Err(failure)).boxed();
    let options = Options::parse("output=1").unwrap();
    tokio::spawn(serve(far, Speech::WebSocket("v5.channel.k8s.io"), options, starting));
    let channels = read(&mut websocket(near).await).await;
    let status: serde_json::Value = serde_json::from_str(&channels[3]).unwrap();
    let message = "Internal error occurred: error executing command in container: no such program";
    assert_eq!((&status["message"], &status["code"]), (&message.into(), &500.into()));
}

#[tokio::test]
async fn the_program_learns_the_size_of_the_terminal() {
    let (near, far) = duplex(1 << 16);
    let (program, inside) = program();
    let starting = futures::future::ready(Ok(program)).boxed();
    let options = Options::parse("input=1&output=1&tty=1").unwrap();
    tokio::spawn(serve(far, Speech::WebSocket("v5.channel.k8s.io"), options, starting));
    let mut socket = websocket(near).await;
    for message in [
        &b"\x04{\"Width\":80,"[..],
        b"\x04\"Height\":24}",
        b"\x04no size",
        b"\x04{\"Width\":100,\"Height\":30}",
    ] {
        socket.send(Message::Binary(Bytes::copy_from_slice(message))).await.unwrap();
    }
    // Messages are taken in order: when the input is there, the sizes were read before.
    socket.send(Message::Binary(Bytes::from_static(b"\x00x"))).await.unwrap();
    let Inside { mut stdin, owner, .. } = inside;
    assert_eq!(stdin.read_u8().await.unwrap(), b'x');
    for _ in 0..10_000 {
        if owner.size() == Some(TerminalSize { columns: 100, rows: 30 }) {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("the last size that came is {:?}", owner.size());
}

#[tokio::test]
async fn a_program_ends_when_its_client_goes() {
    let (near, far) = duplex(1 << 16);
    let (program, inside) = program();
    let starting = futures::future::ready(Ok(program)).boxed();
    let options = Options::parse("input=1&output=1").unwrap();
    tokio::spawn(serve(far, Speech::WebSocket("v5.channel.k8s.io"), options, starting));
    drop(near);
    inside.owner.killed().await;
}

fn open(stream: u32, kind: &str) -> Frame {
    let headers = Headers(vec![("streamtype".into(), kind.into())]);
    Frame::SynStream { stream, headers, fin: false }
}

#[tokio::test]
async fn spdy_has_a_stream_for_each() {
    let client = connect(Speech::Spdy("v4.channel.k8s.io"), "input=1&output=1&error=1");
    let mut framed = Framed::new(client, Codec::default());
    for (stream, kind) in [(1, "error"), (3, "stdin"), (5, "stdout"), (7, "stderr")] {
        framed.send(open(stream, kind)).await.unwrap();
        let reply = framed.next().await.unwrap().unwrap();
        assert!(matches!(reply, Frame::SynReply { stream: replied, .. } if replied == stream));
    }
    let data = Frame::Data { stream: 3, bytes: Bytes::from_static(b" in"), fin: true };
    framed.send(data).await.unwrap();
    let (mut texts, mut ends) = (vec![String::new(); 8], 0);
    while ends < 3 {
        let Frame::Data { stream, bytes, fin } = framed.next().await.unwrap().unwrap() else {
            continue;
        };
        texts[stream as usize].push_str(std::str::from_utf8(&bytes).unwrap());
        ends += usize::from(fin);
    }
    assert_eq!((&*texts[1], &*texts[5], &*texts[7]), (FAILED, "out in", "err"));
}

#[tokio::test]
async fn spdy_streams_that_make_no_sense_are_reset() {
    let client = connect(Speech::Spdy("v4.channel.k8s.io"), "output=1");
    let mut framed = Framed::new(client, Codec::default());
    // Even numbers are the server's.
    framed.send(open(2, "error")).await.unwrap();
    let reset = framed.next().await.unwrap().unwrap();
    assert!(matches!(reset, Frame::Reset { stream: 2, .. }), "{reset:?}");
    framed.send(open(1, "error")).await.unwrap();
    assert!(matches!(framed.next().await, Some(Ok(Frame::SynReply { stream: 1, .. }))));
    framed.send(open(1, "error")).await.unwrap();
    assert!(matches!(framed.next().await, Some(Ok(Frame::Reset { stream: 1, .. }))));
}
