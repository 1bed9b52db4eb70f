//! A client as plain as curl: one request over one connection.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

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
    let timeout = Duration::from_secs(10);
    let mut stream = TcpStream::connect_timeout(&address, timeout).map_err(text)?;
    stream.set_read_timeout(Some(timeout)).map_err(text)?;
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
