//! A small HTTP server on the pod's own loopback, which no other pod reaches: one request for each
//! connection.

use std::rc::Rc;

use wstd::io::{AsyncRead as _, AsyncWrite as _};
use wstd::iter::AsyncIterator as _;
use wstd::net::{TcpListener, TcpStream};
use wstd::runtime::spawn;

/// Most bytes before a body.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Most bytes of a request's body: more than an object can have.
const BODY_BYTES_MAX: usize = 4 << 20;

/// A request.
#[derive(Debug)]
pub struct Request {
    /// `GET` and the like.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Where the answer goes.
pub struct Answer(TcpStream);

impl Answer {
    /// Writes the head. The body is what is written afterwards, until the connection ends.
    pub async fn head(&mut self, status: u16, headers: &[(String, String)]) -> std::io::Result<()> {
        let mut head = format!("HTTP/1.1 {status} -\r\nconnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        self.write(head.as_bytes()).await
    }

    /// Writes some of the body.
    pub async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.write_all(bytes).await?;
        self.0.flush().await
    }

    /// Writes all of an answer.
    pub async fn whole(&mut self, status: u16, content_type: &str, body: &str) -> std::io::Result<()> {
        let headers = [("content-type", content_type.to_owned()), ("content-length", body.len().to_string())];
        self.head(status, &headers.map(|(name, value)| (name.to_owned(), value))).await?;
        self.write(body.as_bytes()).await
    }
}

/// Serves a port of `127.0.0.1` for ever.
///
/// # Errors
/// When the port can't be had.
pub async fn serve<F, D>(port: u16, answer: F) -> std::io::Result<()>
where
    F: Fn(Request, Answer) -> D + 'static,
    D: Future<Output = std::io::Result<()>> + 'static,
{
    let listener = TcpListener::bind(&format!("127.0.0.1:{port}")).await?;
    let answer = Rc::new(answer);
    let mut incoming = listener.incoming();
    while let Some(stream) = incoming.next().await {
        let (mut stream, answer) = (stream?, Rc::clone(&answer));
        let one = async move {
            let done = match read(&mut stream).await {
                Ok(request) => answer(request, Answer(stream)).await,
                Err(why) => Answer(stream).whole(400, "text/plain", &why).await,
            };
            // Whoever asked has gone away.
            drop(done);
        };
        spawn(one).detach();
    }
    Ok(())
}

async fn read(stream: &mut TcpStream) -> Result<Request, String> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if bytes.len() > HEAD_BYTES_MAX {
            return Err(format!("a head of more than {HEAD_BYTES_MAX} bytes"));
        }
        more(stream, &mut bytes).await?;
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (method, target) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
    };
    let headers: Vec<(String, String)> = lines.filter_map(header).collect();
    let mut request = Request { method: method.to_owned(), target: target.to_owned(), headers, body: Vec::new() };
    if !request.target.starts_with('/') {
        return Err("the request must name a path".to_owned());
    }
    if request.header("transfer-encoding").is_some() {
        return Err("the request must have a content-length".to_owned());
    }
    let length = request.header("content-length").map_or(Ok(0), str::parse);
    let length: usize = length.map_err(|_| "a content-length that is no number".to_owned())?;
    if length > BODY_BYTES_MAX {
        return Err(format!("a body of more than {BODY_BYTES_MAX} bytes"));
    }
    let mut body = bytes.split_off(end + 4);
    while body.len() < length {
        more(stream, &mut body).await?;
    }
    body.truncate(length);
    request.body = body;
    Ok(request)
}

async fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Result<(), String> {
    let mut buffer = [0; 16 << 10];
    match stream.read(&mut buffer).await {
        Ok(0) => Err("the request breaks off".to_owned()),
        Ok(length) => {
            bytes.extend_from_slice(&buffer[..length]);
            Ok(())
        }
        Err(error) => Err(error.to_string()),
    }
}
