//! Requests to other servers.

use std::io::{Error, ErrorKind, Result};
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// How long an answer may take, as in the original.
const PATIENCE: Duration = Duration::from_secs(5);

/// The first address of a name.
pub fn resolve(host: &str, port: u16) -> Result<SocketAddr> {
    (host, port).to_socket_addrs()?.next().ok_or_else(|| Error::from(ErrorKind::NotFound))
}

/// The body of an answer to GET. HTTP/1.0, so that the body ends with the connection.
pub async fn get(host: &str, port: u16, path: &str) -> Result<String> {
    let address = resolve(host, port)?;
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET /{path} HTTP/1.0\r\nHost: {host}:{port}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<_, Error>(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = timeout(PATIENCE, ask).await.map_err(|_| Error::from(ErrorKind::TimedOut))??;
    let (_, body) = answer.split_once("\r\n\r\n").ok_or(ErrorKind::InvalidData)?;
    Ok(body.to_owned())
}

/// The answer to a datagram.
pub async fn udp(host: &str, port: u16, text: &str) -> Result<String> {
    let address = resolve(host, port)?;
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let ask = async {
        let socket = UdpSocket::bind(any).await?;
        socket.send_to(text.as_bytes(), address).await?;
        let mut buffer = [0; 2048];
        let (length, _) = socket.recv_from(&mut buffer).await?;
        Ok::<_, Error>(String::from_utf8_lossy(&buffer[..length]).into_owned())
    };
    timeout(PATIENCE, ask).await.map_err(|_| Error::from(ErrorKind::TimedOut))?
}
