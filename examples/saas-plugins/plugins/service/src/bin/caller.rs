//! Would tell somebody else who shops here.
use std::io::Write as _;
use std::net::TcpStream;

fn main() -> std::io::Result<()> {
    TcpStream::connect("192.0.2.1:80")?.write_all(b"maria")
}
