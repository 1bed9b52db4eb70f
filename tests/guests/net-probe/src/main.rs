//! Runs each argument as one network command and prints what came of it, so that a test can drive
//! `wasi:sockets` through Rust's std.
use std::io::{ErrorKind, Read, Result, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::time::{Duration, Instant};

fn main() {
    for command in std::env::args().skip(1) {
        let words: Vec<&str> = command.split_whitespace().collect();
        let said = run(&words).unwrap_or_else(|error| format!("{:?}", error.kind()));
        println!("{command} => {said}");
    }
}

fn run(words: &[&str]) -> Result<String> {
    match *words {
        ["serve", address, count] => serve(address, count.parse().unwrap_or(0)),
        ["ask", address, text] => ask(address, text),
        ["await", address, text] => ask_until_answered(address, text),
        ["loop", address, end] => ask_until(address, end),
        ["load", address, mib] => load(address, mib.parse().unwrap_or(0)),
        ["sink", address] => sink(address),
        ["send", address, mib] => send(address, mib.parse().unwrap_or(0)),
        ["echo", address] => echo(address),
        ["ping", address, count] => ping(address, count.parse().unwrap_or(1)),
        ["crowd", address, count] => crowd(address, count.parse().unwrap_or(0)),
        ["many", address, count, end] => many(address, count.parse().unwrap_or(0), end),
        ["connect", address] => TcpStream::connect(address).map(|_| "ok".to_owned()),
        ["bind", address] => Ok(TcpListener::bind(address)?.local_addr()?.to_string()),
        ["rebind", address] => {
            let _first = TcpListener::bind(address)?;
            TcpListener::bind(address).map(|_| "ok".to_owned())
        }
        ["options", address] => options(address),
        ["nonblocking", address] => nonblocking(address),
        ["refuse-rest", address] => refuse_rest(address),
        ["expect-reset", address] => expect_reset(address),
        ["udp-serve", address, count] => udp_serve(address, count.parse().unwrap_or(0)),
        ["udp-ask", address, text] => udp_ask(address, text),
        ["resolve", name] => {
            let found: Vec<String> =
                (name, 1).to_socket_addrs()?.map(|address| address.ip().to_string()).collect();
            Ok(found.join(" "))
        }
        _ => Ok("no such command".to_owned()),
    }
}

/// Answers each connection with what it sent, once it has sent all. A client that goes before its answer,
/// as a `tcpSocket` probe does, is no failure of the server's.
fn serve(address: &str, count: usize) -> Result<String> {
    let listener = TcpListener::bind(address)?;
    for _ in 0..count {
        let (stream, peer) = listener.accept()?;
        if let Err(error) = answer(stream, peer) {
            println!("client {peer} went: {:?}", error.kind());
        }
    }
    Ok("ok".to_owned())
}

fn answer(mut stream: TcpStream, peer: SocketAddr) -> Result<()> {
    assert_eq!(stream.peer_addr()?, peer);
    let mut text = Vec::new();
    stream.read_to_end(&mut text)?;
    let local = stream.local_addr()?;
    write!(stream, "{local} {} ", peer.ip())?;
    stream.write_all(&text)
}

/// Sends all, says so, and reads the answer to its end.
fn ask(address: &str, text: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(text.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(format!("{answer} from {}", stream.peer_addr()?))
}

/// Asks again and again until it is answered.
fn ask_until_answered(address: &str, text: &str) -> Result<String> {
    loop {
        match ask(address, text) {
            Ok(answer) if answer.contains(&format!(" {text} from ")) => return Ok(answer),
            Ok(_) | Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Asks again and again until the name `end` means something, and says in which order answers and
/// failures came: `12 ok, 3 failed, 40 ok`.
fn ask_until(address: &str, end: &str) -> Result<String> {
    let mut runs: Vec<(bool, u32)> = Vec::new();
    loop {
        let ok = ask(address, "x").is_ok_and(|answer| answer.contains(" x from "));
        match runs.last_mut() {
            Some((last, count)) if *last == ok => *count += 1,
            _ => runs.push((ok, 1)),
        }
        if (end, 1).to_socket_addrs().is_ok_and(|mut found| found.next().is_some()) {
            break;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let said = |(ok, count): &(bool, u32)| format!("{count} {}", if *ok { "ok" } else { "failed" });
    Ok(runs.iter().map(said).collect::<Vec<_>>().join(", "))
}

/// Sends more than any buffer holds, and counts what comes back.
fn load(address: &str, mib: usize) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    let block: Vec<u8> = (0..1 << 20).map(|index: u32| index.wrapping_mul(31) as u8).collect();
    for _ in 0..mib {
        stream.write_all(&block)?;
    }
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let start = answer.len() - (mib << 20);
    let same = answer[start..].chunks(1 << 20).all(|chunk| chunk == block);
    Ok(format!("{} bytes, same {same}", answer.len() - start))
}

/// Takes one connection, reads it to its end, and answers with how much that was.
fn sink(address: &str) -> Result<String> {
    let (mut stream, _peer) = TcpListener::bind(address)?.accept()?;
    let (mut block, mut sum) = (vec![0; 256 << 10], 0_u64);
    loop {
        match stream.read(&mut block)? {
            0 => break,
            bytes => sum += bytes as u64,
        }
    }
    write!(stream, "{sum}")?;
    Ok(sum.to_string())
}

/// Sends so much to a `sink` and says how many bytes a second that were.
fn send(address: &str, mib: usize) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    let block = vec![7_u8; 256 << 10];
    let start = Instant::now();
    for _ in 0..mib * 4 {
        stream.write_all(&block)?;
    }
    stream.shutdown(Shutdown::Write)?;
    let mut sum = String::new();
    stream.read_to_string(&mut sum)?;
    let sum: f64 = sum.parse().unwrap_or_default();
    Ok(format!("{:.0}", sum / start.elapsed().as_secs_f64()))
}

/// Takes one connection and sends back what comes, as it comes.
fn echo(address: &str) -> Result<String> {
    let (mut stream, _peer) = TcpListener::bind(address)?.accept()?;
    let mut block = [0; 4096];
    loop {
        match stream.read(&mut block)? {
            0 => return Ok("ok".to_owned()),
            bytes => stream.write_all(&block[..bytes])?,
        }
    }
}

/// Sends one byte to an `echo` and awaits it, so many times; says how many nanoseconds each took.
fn ping(address: &str, count: u32) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let start = Instant::now();
    for _ in 0..count {
        stream.write_all(b"x")?;
        stream.read_exact(&mut [0])?;
    }
    Ok((start.elapsed().as_nanos() / u128::from(count)).to_string())
}

/// Takes so many connections, and when all are there sends back a byte on each, twice.
fn crowd(address: &str, count: usize) -> Result<String> {
    let listener = TcpListener::bind(address)?;
    let accepted: Result<Vec<_>> = (0..count).map(|_| Ok(listener.accept()?.0)).collect();
    let mut streams = accepted?;
    for _ in 0..2 {
        for stream in &mut streams {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            stream.write_all(&byte)?;
        }
    }
    Ok("ok".to_owned())
}

/// Opens so many connections to a `crowd` and asks on each; says `N open` then, keeps them until the name `end`
/// means something, and asks on each again. Says how many were answered.
fn many(address: &str, count: usize, end: &str) -> Result<String> {
    let connected: Result<Vec<_>> = (0..count).map(|_| TcpStream::connect(address)).collect();
    let mut streams = connected?;
    ask_all(&mut streams)?;
    println!("{count} open");
    while !(end, 1).to_socket_addrs().is_ok_and(|mut found| found.next().is_some()) {
        std::thread::sleep(Duration::from_millis(50));
    }
    ask_all(&mut streams).map(|count| count.to_string())
}

fn ask_all(streams: &mut [TcpStream]) -> Result<usize> {
    for stream in streams.iter_mut() {
        stream.write_all(b"x")?;
    }
    for stream in streams.iter_mut() {
        stream.read_exact(&mut [0])?;
    }
    Ok(streams.len())
}

fn options(address: &str) -> Result<String> {
    let listener = TcpListener::bind(address)?;
    let stream = TcpStream::connect(listener.local_addr()?)?;
    stream.set_nodelay(true)?;
    stream.set_ttl(12)?;
    stream.set_read_timeout(Some(Duration::from_millis(20)))?;
    let waited = (&stream).read(&mut [0]).map_err(|error| error.kind());
    Ok(format!("nodelay {} ttl {} read {waited:?}", stream.nodelay()?, stream.ttl()?))
}

fn nonblocking(address: &str) -> Result<String> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let nobody = listener.accept().map_err(|error| error.kind()).err();
    let mut near = TcpStream::connect(listener.local_addr()?)?;
    let (far, _) = listener.accept()?;
    far.set_nonblocking(true)?;
    let nothing = (&far).read(&mut [0; 4]).map_err(|error| error.kind()).err();
    near.write_all(b"text")?;
    let mut text = [0; 4];
    (&far).read_exact(&mut text)?;
    let mut full = 0;
    let error = loop {
        match (&far).write(&[0; 65536]) {
            Ok(bytes) => full += bytes,
            Err(error) => break error.kind(),
        }
    };
    Ok(format!("{nobody:?} {nothing:?} {text:?} {full} {error:?}"))
}

/// Takes one connection and drops it with bytes unread.
fn refuse_rest(address: &str) -> Result<String> {
    let listener = TcpListener::bind(address)?;
    let (mut stream, _) = listener.accept()?;
    stream.read_exact(&mut [0])?;
    drop(stream);
    Ok("ok".to_owned())
}

fn expect_reset(address: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"more than is read")?;
    let read = stream.read(&mut [0; 8]).map_err(|error| error.kind());
    let write = stream.write(b"x").map_err(|error| error.kind());
    Ok(format!("{read:?} {write:?}"))
}

fn udp_serve(address: &str, count: usize) -> Result<String> {
    let socket = UdpSocket::bind(address)?;
    let mut buffer = [0; 65536];
    for _ in 0..count {
        let (length, from) = socket.recv_from(&mut buffer)?;
        socket.send_to(&buffer[..length], from)?;
    }
    Ok("ok".to_owned())
}

/// Asks by datagram, first without a connection and then with one.
fn udp_ask(address: &str, text: &str) -> Result<String> {
    let own = if address.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
    let socket = UdpSocket::bind(own)?;
    socket.set_nonblocking(true)?;
    let mut buffer = [0; 65536];
    let (length, from) = until_answered(
        || socket.send_to(text.as_bytes(), address),
        || socket.recv_from(&mut buffer),
    )?;
    let first = String::from_utf8_lossy(&buffer[..length]).into_owned();
    socket.connect(address)?;
    let length = until_answered(|| socket.send(text.as_bytes()), || socket.recv(&mut buffer))?;
    Ok(format!("{first} from {from}, connected {}", String::from_utf8_lossy(&buffer[..length])))
}

/// Sends, and again for each second without an answer: a datagram may be lost. Rust's std has no timeout for
/// these sockets on WASI 0.2, so it looks and sleeps.
fn until_answered<T>(
    send: impl Fn() -> Result<usize>,
    mut receive: impl FnMut() -> Result<T>,
) -> Result<T> {
    loop {
        send()?;
        for _look in 0..100 {
            match receive() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                result => return result,
            }
        }
    }
}
