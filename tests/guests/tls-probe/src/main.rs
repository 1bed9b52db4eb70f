//! Asks a server over TLS by `wasi:tls`: `tls-probe ADDRESS NAME TEXT` connects to an IPv4 address and
//! port, expects NAME at the other end, sends TEXT and prints the answer, or why there is none.
use std::net::SocketAddrV4;

use wasip2::io::streams::{InputStream, OutputStream, StreamError};
use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::network::{ErrorCode, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress};
use wasip2::sockets::tcp::TcpSocket;
use wasip2::sockets::tcp_create_socket::create_tcp_socket;

use bindings::wasi::tls::types::{ClientConnection, ClientHandshake};

#[allow(missing_docs, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({
        path: "wit",
        world: "guest",
        with: {
            "wasi:io/error@0.2.0": wasip2::io::error,
            "wasi:io/poll@0.2.0": wasip2::io::poll,
            "wasi:io/streams@0.2.0": wasip2::io::streams,
            "wasi:tls/types@0.2.0-draft": generate,
        },
    });
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, name, text] = arguments.as_slice() else { panic!("ADDRESS NAME TEXT") };
    match ask(address.parse().expect("an address"), name, text) {
        Ok(answer) => println!("answer {answer}"),
        Err(error) => println!("error {error}"),
    }
}

fn ask(address: SocketAddrV4, name: &str, text: &str) -> Result<String, String> {
    let (socket, input, output) = connect(address).map_err(|error| format!("{error:?}"))?;
    let (connection, input, output) = handshake(name, input, output)?;
    let say = |error: StreamError| match error {
        StreamError::LastOperationFailed(error) => error.to_debug_string(),
        StreamError::Closed => "closed".to_owned(),
    };
    output.blocking_write_and_flush(text.as_bytes()).map_err(say)?;
    connection.close_output();
    let mut answer = Vec::new();
    loop {
        match input.blocking_read(4096) {
            Ok(bytes) => answer.extend(bytes),
            Err(StreamError::Closed) => break,
            Err(error) => return Err(say(error)),
        }
    }
    drop((input, output));
    drop(connection);
    drop(socket);
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn connect(address: SocketAddrV4) -> Result<(TcpSocket, InputStream, OutputStream), ErrorCode> {
    let socket = create_tcp_socket(IpAddressFamily::Ipv4)?;
    let [a, b, c, d] = address.ip().octets();
    let to = Ipv4SocketAddress { port: address.port(), address: (a, b, c, d) };
    socket.start_connect(&instance_network(), IpSocketAddress::Ipv4(to))?;
    loop {
        match socket.finish_connect() {
            Ok((input, output)) => return Ok((socket, input, output)),
            Err(ErrorCode::WouldBlock) => socket.subscribe().block(),
            Err(error) => return Err(error),
        }
    }
}

type Streams = (ClientConnection, InputStream, OutputStream);

fn handshake(name: &str, input: InputStream, output: OutputStream) -> Result<Streams, String> {
    let streams = ClientHandshake::finish(ClientHandshake::new(name, input, output));
    streams.subscribe().block();
    let done = streams.get().expect("it is ready").expect("it is asked once");
    done.map_err(|error| error.to_debug_string())
}
