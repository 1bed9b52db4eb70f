//! Tools that use the network: `wget`, `nc`, `nslookup`, `getent`. Without TLS, which is the host's affair.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::time::{Duration, Instant};

use super::args::Args;
use crate::io::Sink;
use crate::proc::{Done, Failure, Proc, reason};

/// Redirections that are followed.
const REDIRECTS_MAX: usize = 10;
/// Between two looks for a datagram: WASI 0.2 has no timeout for sockets.
const PAUSE: Duration = Duration::from_millis(10);
/// Bytes of a datagram at most.
const DATAGRAM_BYTES_MAX: usize = 64 << 10;
/// What `getent` ends with when it finds nothing.
const CODE_NOT_FOUND: i32 = 2;
/// Bytes of the lines before a body.
const HEAD_BYTES_MAX: u64 = 64 << 10;

pub(super) struct Url {
    pub(super) host: String,
    pub(super) port: u16,
    path: String,
}

pub(super) fn url(text: &str) -> Result<Url, String> {
    let rest = match text.split_once("://") {
        Some(("http", rest)) => rest,
        Some((scheme, _)) => return Err(format!("{scheme}: only http is supported")),
        None => text,
    };
    let (authority, path) = match rest.find('/') {
        Some(at) => (&rest[..at], rest[at..].to_owned()),
        None => (rest, "/".to_owned()),
    };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && !port.contains(']') => {
            (host, port.parse().map_err(|_| format!("bad port '{port}'"))?)
        }
        _ => (authority, 80),
    };
    Ok(Url { host: host.to_owned(), port, path })
}

pub(super) fn connect(
    host: &str,
    port: u16,
    timeout: Option<Duration>,
) -> Result<TcpStream, String> {
    let name = host.trim_matches(['[', ']']);
    let addresses = (name, port).to_socket_addrs();
    let addresses = addresses.map_err(|_| format!("bad address '{host}'"))?;
    let mut last = format!("bad address '{host}'");
    for address in addresses {
        match TcpStream::connect(address) {
            Ok(stream) => {
                // Not every host can do timeouts; without one the peer decides.
                let _ = stream.set_read_timeout(timeout);
                return Ok(stream);
            }
            Err(error) => last = format!("can't connect to {host} ({address}): {}", reason(&error)),
        }
    }
    Err(last)
}

pub(super) async fn wget(p: &mut Proc) -> Done {
    let mut headers = Vec::new();
    let mut words = Vec::new();
    let (mut spider, mut body) = (false, None);
    for word in &p.args[1..] {
        if let Some(header) = word.strip_prefix("--header=") {
            headers.push(header.to_owned());
        } else if let Some(data) = word.strip_prefix("--post-data=") {
            body = Some(data.to_owned());
        } else if word == "--spider" {
            spider = true;
        } else {
            words.push(word.clone());
        }
    }
    let long = [
        ("output-document", 'O'),
        ("quiet", 'q'),
        ("timeout", 'T'),
        ("header", 'H'),
        ("tries", 't'),
    ];
    let args = Args::read(&words, "qO:ST:H:ct:", &long)?;
    headers.extend(args.values('H').map(str::to_owned));
    let timeout = args.number('T')?.and_then(|n| u64::try_from(n).ok()).map(Duration::from_secs);
    let mut place = args.rest.first().ok_or("a URL is missing")?.clone();
    for _ in 0..REDIRECTS_MAX {
        let target = url(&place)?;
        let stream = connect(&target.host, target.port, timeout)?;
        let method = if body.is_some() { "POST" } else { "GET" };
        let asked = Asked { method, agent: "Wget", headers: &headers, body: body.as_deref() };
        let mut answer = ask(stream, &target, &asked)?;
        if args.has('S') {
            p.complain(&format!("  {}", answer.head.join("\n  "))).await;
        }
        if let (300..400, Some(next)) = (answer.code, answer.header("location")) {
            place = match next.starts_with('/') {
                true => format!("http://{}:{}{next}", target.host, target.port),
                false => next.to_owned(),
            };
            continue;
        }
        if answer.code >= 400 {
            return Err(format!("server returned error: {}", answer.head[0]).into());
        }
        if spider {
            return Ok(0);
        }
        let name = super::base(&target.path).to_owned();
        let name = if target.path.ends_with('/') { "index.html".to_owned() } else { name };
        let sink = match args.value('O') {
            Some("-") => p.stdout.clone(),
            Some(file) => Sink::file(File::create(p.path(file))?),
            None => Sink::file(File::create(p.path(&name))?),
        };
        answer.copy(&sink).await?;
        return Ok(0);
    }
    Err("too many redirections".into())
}

/// What is asked of a server, besides where.
pub(super) struct Asked<'a> {
    pub(super) method: &'a str,
    pub(super) agent: &'a str,
    pub(super) headers: &'a [String],
    pub(super) body: Option<&'a str>,
}

pub(super) struct Answer {
    pub(super) code: u16,
    /// The status line, then the headers.
    pub(super) head: Vec<String>,
    reader: BufReader<TcpStream>,
}

pub(super) fn ask(
    mut stream: TcpStream,
    target: &Url,
    asked: &Asked<'_>,
) -> Result<Answer, Failure> {
    let Asked { method, agent, headers, body } = *asked;
    let host = if target.port == 80 {
        target.host.clone()
    } else {
        format!("{}:{}", target.host, target.port)
    };
    let mut request = format!(
        "{method} {} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\nConnection: close\r\n",
        target.path
    );
    for header in headers {
        request.push_str(&format!("{header}\r\n"));
    }
    if let Some(body) = body {
        if !headers.iter().any(|header| header.to_ascii_lowercase().starts_with("content-type:")) {
            request.push_str("Content-Type: application/x-www-form-urlencoded\r\n");
        }
        request.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    request.push_str(&format!("\r\n{}", body.unwrap_or_default()));
    stream.write_all(request.as_bytes())?;
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    let mut lines = reader.by_ref().take(HEAD_BYTES_MAX);
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 {
            return Err("the server ended the connection without an answer".into());
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        head.push(line.to_owned());
    }
    let code =
        head.first().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    Ok(Answer { code: code.ok_or("the answer is not HTTP")?, head, reader })
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let value = |line: &'_ String| {
            let (known, _) = line.split_once(':')?;
            known.eq_ignore_ascii_case(name).then(|| known.len() + 1)
        };
        self.head.iter().find_map(|line| value(line).map(|at| line[at..].trim()))
    }

    pub(super) async fn copy(&mut self, sink: &Sink) -> Result<(), Failure> {
        let chunked =
            self.header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked"));
        if chunked {
            loop {
                let mut line = String::new();
                self.reader.read_line(&mut line)?;
                let size = line.trim().split(';').next().unwrap_or_default();
                let size = u64::from_str_radix(size, 16).map_err(|_| "bad chunk in the answer")?;
                if size == 0 {
                    return Ok(());
                }
                self.some(size, sink).await?;
                self.reader.read_line(&mut String::new())?;
            }
        }
        let length = self.header("content-length").and_then(|text| text.parse().ok());
        let left = self.some(length.unwrap_or(u64::MAX), sink).await?;
        if length.is_some() && left > 0 {
            return Err("the connection ended before the answer".into());
        }
        Ok(())
    }

    /// Copies up to `bytes`; gives how many did not come.
    async fn some(&mut self, mut bytes: u64, sink: &Sink) -> Result<u64, Failure> {
        let mut buffer = [0; 16 << 10];
        while bytes > 0 {
            let most = usize::try_from(bytes).unwrap_or(usize::MAX).min(buffer.len());
            let length = self.reader.read(&mut buffer[..most])?;
            if length == 0 {
                break;
            }
            sink.write(&buffer[..length]).await?;
            bytes -= length as u64;
        }
        Ok(bytes)
    }
}

pub(super) async fn nc(p: &mut Proc) -> Done {
    let args = Args::read(&p.args[1..], "zlvntuw:p:", &[])?;
    let timeout = args.number('w')?.and_then(|n| u64::try_from(n).ok()).map(Duration::from_secs);
    if args.has('u') {
        return nc_by_datagrams(p, &args, timeout).await;
    }
    let mut stream = if args.has('l') {
        let port =
            args.number('p')?.or_else(|| args.rest.last().and_then(|text| text.parse().ok()));
        let port = port.and_then(|port| u16::try_from(port).ok()).ok_or("a port is missing")?;
        TcpListener::bind(("0.0.0.0", port))?.accept()?.0
    } else {
        let [host, port] = &args.rest[..] else { return Err("usage: nc HOST PORT".into()) };
        let port = port.parse().map_err(|_| format!("bad port '{port}'"))?;
        let stream = connect(host, port, timeout)?;
        if args.has('v') {
            p.complain(&format!("{host} ({port}) open")).await;
        }
        stream
    };
    if args.has('z') {
        return Ok(0);
    }
    // One after the other: a guest has one thread. A peer that takes no more may have said something before.
    loop {
        let bytes = p.stdin.some().await?;
        if bytes.is_empty() || stream.write_all(&bytes).is_err() {
            break;
        }
    }
    let _gone = stream.shutdown(Shutdown::Write);
    let mut buffer = [0; 16 << 10];
    let mut came = 0;
    loop {
        let length = match stream.read(&mut buffer) {
            // It is gone without a farewell, after what it had to say.
            Err(_) if came > 0 => 0,
            other => other?,
        };
        if length == 0 {
            return Ok(0);
        }
        came += length;
        p.stdout.write(&buffer[..length]).await?;
    }
}

/// Sends what comes in, each piece as a datagram, and prints what comes back until nothing more does for as long
/// as `timeout` says.
async fn nc_by_datagrams(p: &mut Proc, args: &Args, timeout: Option<Duration>) -> Done {
    if args.has('l') {
        return Err("-l and -u: datagrams are only sent here".into());
    }
    let [host, port] = &args.rest[..] else { return Err("usage: nc -u HOST PORT".into()) };
    let port: u16 = port.parse().map_err(|_| format!("bad port '{port}'"))?;
    let name = host.trim_matches(['[', ']']);
    let found = (name, port).to_socket_addrs().ok().and_then(|mut all| all.next());
    let address: SocketAddr = found.ok_or_else(|| format!("bad address '{host}'"))?;
    let socket = UdpSocket::bind((if address.is_ipv4() { "0.0.0.0" } else { "::" }, 0))?;
    socket.connect(address)?;
    if args.has('v') {
        p.complain(&format!("{host} ({port}) open")).await;
    }
    if args.has('z') {
        return Ok(0);
    }
    loop {
        let bytes = p.stdin.some().await?;
        if bytes.is_empty() {
            break;
        }
        for datagram in bytes.chunks(DATAGRAM_BYTES_MAX) {
            socket.send(datagram)?;
        }
    }
    socket.set_nonblocking(true)?;
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    let mut last = Instant::now();
    while timeout.is_none_or(|timeout| last.elapsed() < timeout) {
        match socket.recv(&mut buffer) {
            Ok(length) => {
                p.stdout.write(&buffer[..length]).await?;
                crate::io::flush();
                last = Instant::now();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                crate::io::turn().await;
                std::thread::sleep(PAUSE);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(0)
}

/// `getent hosts|ahosts NAME…`: first what `/etc/hosts` says, then what name servers do.
pub(super) async fn getent(p: &mut Proc) -> Done {
    let Some("hosts" | "ahosts") = p.args.get(1).map(String::as_str) else {
        return Err("usage: getent hosts NAME...".into());
    };
    let file = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let mut code = 0;
    for name in p.args[2..].to_vec() {
        let mut lines = of_hosts(&file, &name);
        if lines.is_empty() {
            let found = (name.as_str(), 0).to_socket_addrs().into_iter().flatten();
            lines = found.map(|address| host_line(&address.ip().to_string(), &name)).collect();
            lines.dedup();
        }
        if lines.is_empty() {
            code = CODE_NOT_FOUND;
        }
        for line in lines {
            p.print(&line).await?;
        }
    }
    Ok(code)
}

/// The lines of `/etc/hosts` that have the name or address.
fn of_hosts(file: &str, name: &str) -> Vec<String> {
    let lines = file.lines().map(|line| line.split('#').next().unwrap_or_default());
    let words = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
    let named = words.filter(|words| words.iter().any(|word| word.eq_ignore_ascii_case(name)));
    named.filter(|words| words.len() > 1).map(|w| host_line(w[0], &w[1..].join(" "))).collect()
}

fn host_line(address: &str, names: &str) -> String {
    format!("{address:<15} {names}\n")
}

pub(super) async fn nslookup(p: &mut Proc) -> Done {
    let name = p.args.get(1).ok_or("a name is missing")?.clone();
    let Ok(addresses) = (name.as_str(), 0).to_socket_addrs() else {
        return Err(format!("can't resolve '{name}'").into());
    };
    p.print(&format!("Name:\t{name}\n")).await?;
    for address in addresses {
        p.print(&format!("Address: {}\n", address.ip())).await?;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_looked_for_in_the_hosts_file() {
        let file = "127.0.0.1 localhost\n# 10.0.0.9 web\n10.0.0.1\tweb.ns web # ours\nfe00::0\n";
        assert_eq!(of_hosts(file, "WEB"), ["10.0.0.1        web.ns web\n"]);
        assert_eq!(of_hosts(file, "127.0.0.1"), ["127.0.0.1       localhost\n"]);
        assert!(of_hosts(file, "we").is_empty() && of_hosts(file, "fe00::0").is_empty());
    }
}
