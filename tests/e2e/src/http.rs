//! A client as plain as curl: one request over one connection.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a peer may say nothing, on a loaded machine.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// An answer: status and body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Such as 200.
    pub status: u16,
    /// The body as text.
    pub body: String,
}

/// `GET http://127.0.0.1:port/path`. The error says what happened.
pub fn get(port: u16, path: &str) -> Result<Answer, String> {
    request(port, "GET", path, "")
}

/// One request with a body; HTTP/1.0, so that the end of the connection is the end of the answer.
pub fn request(port: u16, method: &str, path: &str, body: &str) -> Result<Answer, String> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let text = |error: std::io::Error| format!("{method} {address}{path}: {error}");
    let mut stream = TcpStream::connect_timeout(&address, SILENCE_MAX).map_err(text)?;
    stream.set_read_timeout(Some(SILENCE_MAX)).map_err(text)?;
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: localhost:{port}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(body.as_bytes()))
        .map_err(text)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(text)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or_else(|| format!("{method} {path}: no answer: '{answer}'"))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| format!("{method} {path}: no status in '{head}'"))?;
    Ok(Answer { status, body: body.to_owned() })
}

/// Opens a WebSocket at a port of this machine, sends a text of at most 125 bytes, and gives the text that
/// comes back. The error says what happened.
///
/// *Source:* RFC 6455; its section 1.3 has the key and its answer.
pub fn shout(port: u16, host: &str, path: &str, text: &str) -> Result<String, String> {
    let said = |error: std::io::Error| format!("{host}{path}: {error}");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(said)?;
    stream.set_read_timeout(Some(SILENCE_MAX)).map_err(said)?;
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).map_err(said)?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).map_err(said)?;
        answer.push(byte[0]);
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    if !answer.starts_with("HTTP/1.1 101 ") || !answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") {
        return Err(answer);
    }
    // One text, masked with zeros, as a client has to; the answer is not masked.
    let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
    let frame = [&[0x81, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat();
    stream.write_all(&frame).map_err(said)?;
    let mut head = [0; 2];
    stream.read_exact(&mut head).map_err(said)?;
    let mut text = vec![0; usize::from(head[1] & 0x7f)];
    stream.read_exact(&mut text).map_err(said)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
