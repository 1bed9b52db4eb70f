//! Attacks on the network: addresses that are not ours, and too much of everything.
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};

pub(crate) fn run(words: &[&str]) -> io::Result<String> {
    match words {
        ["connect", address] => TcpStream::connect(address).map(|_| "connected".to_owned()),
        ["listen", address] => TcpListener::bind(address).map(|_| "listening".to_owned()),
        ["send", address] => {
            let from = if address.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
            UdpSocket::bind(from)?.send_to(b"evil", address).map(|_| "sent".to_owned())
        }
        ["lookup", name] => (*name, 80).to_socket_addrs().map(|found| format!("{}", found.count())),
        ["udp"] => Ok(until_refused(|_| UdpSocket::bind("0.0.0.0:0"))),
        ["listeners"] => Ok(until_refused(|_| TcpListener::bind("0.0.0.0:0"))),
        ["connections", address] => Ok(until_refused(|_| TcpStream::connect(address))),
        ["half", address] => half(address),
        ["unread", address] => unread(address),
        ["dial", address, times] => {
            let times: usize = times.parse().expect("a number");
            let refused = (0..times).filter(|_| TcpStream::connect(address).is_err()).count();
            Ok(format!("{refused} refused"))
        }
        ["datagrams", address, times] => {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            for _ in 0..times.parse().expect("a number") {
                socket.send_to(&[0; 1024], address)?;
            }
            Ok("sent".to_owned())
        }
        _ => Ok("no such attack".to_owned()),
    }
}

fn until_refused<T>(mut make: impl FnMut(usize) -> io::Result<T>) -> String {
    let mut held = Vec::new();
    loop {
        match make(held.len()) {
            Ok(made) => held.push(made),
            Err(error) => return format!("{} then {:?}", held.len(), error.kind()),
        }
    }
}

/// Begins requests that it never ends, on as many connections as it gets; keeps them.
fn half(address: &str) -> io::Result<String> {
    let mut held = Vec::new();
    while let Ok(mut stream) = TcpStream::connect(address) {
        if stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nx-never: ").is_err() {
            break;
        }
        held.push(stream);
    }
    println!("holding");
    std::thread::sleep(std::time::Duration::from_secs(3600));
    Ok(format!("{}", held.len()))
}

/// Asks for more than it reads.
fn unread(address: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"GET /stream HTTP/1.1\r\nhost: x\r\n\r\n")?;
    let mut first = [0];
    stream.read_exact(&mut first)?;
    println!("holding");
    std::thread::sleep(std::time::Duration::from_secs(3600));
    Ok(String::new())
}
