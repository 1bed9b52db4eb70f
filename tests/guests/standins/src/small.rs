//! The small subcommands.

use std::io::{Error, Result};

use axum::http::HeaderValue;
use axum::response::Response;
use futures_util::future::try_join_all;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use crate::flags::Flags;
use crate::logs::log;
use crate::serve::{Asked, http, text, udp};
use crate::tls::https_as;
use crate::{hostname, json};

/// `pause`: does nothing until it is stopped.
pub fn pause() -> ! {
    println!("Paused");
    loop {
        std::thread::sleep(std::time::Duration::from_secs(3_600));
    }
}

/// `serve-hostname`: tells the host name to everybody who asks.
pub async fn serve_hostname(flags: Flags) -> Result<()> {
    let port = flags.number("port", 9376) as u16;
    log(&format!("Serving on port {port}."));
    let (by_tcp, by_udp) = (flags.on("tcp", false), flags.on("udp", false));
    if !by_tcp && !by_udp {
        return http(port, |_| async { text(200, hostname()) }).await;
    }
    let datagrams =
        async { if by_udp { udp("0.0.0.0", port, |_, _| Some(hostname())).await } else { Ok(()) } };
    let connections = async { if by_tcp { tell_by_tcp(port).await } else { Ok(()) } };
    tokio::try_join!(datagrams, connections).map(|_| ())
}

async fn tell_by_tcp(port: u16) -> Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", port)).await?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        // Who has gone already is told nothing.
        let _ = stream.write_all(hostname().as_bytes()).await;
        let _ = stream.shutdown().await;
    }
}

/// What `porter` shows its TLS clients unless `CERT_FILE` and `KEY_FILE` name something better: of `localhost`, and
/// vouched for by nobody.
const CERTIFICATE: &[u8] = include_bytes!("localhost.crt");
const KEY: &[u8] = include_bytes!("localhost.key");

/// `porter`: answers with `SERVE_PORT_n` on port n, and with `SERVE_TLS_PORT_n` by TLS.
pub async fn porter(flags: Flags) -> Result<()> {
    let as_json = flags.on("json-response", false);
    let of = |prefix: &str| {
        let port = |(name, value): (String, String)| {
            let port: u16 = name.strip_prefix(prefix)?.parse().ok()?;
            Some((port, value))
        };
        std::env::vars().filter_map(port).collect::<Vec<_>>()
    };
    let file = |name: &str| std::env::var(name).ok().map(std::fs::read).transpose();
    let (certificate, key) = (file("CERT_FILE")?, file("KEY_FILE")?);
    let identity = (certificate.as_deref().unwrap_or(CERTIFICATE), key.as_deref().unwrap_or(KEY));
    let plain = of("SERVE_PORT_").into_iter();
    let plain =
        plain.map(|(port, value)| http(port, move |asked| said(asked, value.clone(), as_json)));
    let secret = of("SERVE_TLS_PORT_").into_iter();
    let secret = secret.map(|(port, value)| {
        https_as(port, identity, move |asked| said(asked, value.clone(), as_json))
    });
    let (plain, secret) = (try_join_all(plain), try_join_all(secret));
    futures_util::future::try_join(plain, secret).await?;
    std::future::pending().await
}

/// What `porter` answers. A value that begins with a tag is a page, as the original's server finds out.
async fn said(asked: Asked, value: String, as_json: bool) -> Response {
    let (kind, answer) = match (as_json, value.starts_with("<a ")) {
        (true, _) => {
            let method = asked.parts.method.as_str();
            let members = [("Method", json::string(method)), ("Body", json::string(&value))];
            ("application/json", json::object(members))
        }
        (false, true) => ("text/html; charset=utf-8", value),
        (false, false) => ("text/plain; charset=utf-8", value),
    };
    let mut answer = text(200, answer);
    answer.headers_mut().insert("content-type", HeaderValue::from_static(kind));
    answer
}

/// `dns-suffix` and `dns-server-list`: words of `/etc/resolv.conf`.
pub fn resolver(word: &str) -> Result<()> {
    let text = std::fs::read_to_string("/etc/resolv.conf")?;
    let lines = text.lines().filter_map(|line| line.strip_prefix(word));
    let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
    println!("{}", words.join(","));
    Ok(())
}

/// `connect`: says nothing when a TCP connection comes about, else in one word why not.
pub async fn connect(args: &[String]) -> Result<()> {
    let flags = Flags::read(args, &[]);
    let address = args.iter().find(|arg| !arg.starts_with('-') && arg.contains(':'));
    let address = address.ok_or_else(|| Error::other("connect HOST:PORT"))?;
    let (host, port) = address.rsplit_once(':').ok_or_else(|| Error::other("connect HOST:PORT"))?;
    let patience = flags.text("timeout").and_then(crate::logs::duration);
    let patience = patience.unwrap_or(std::time::Duration::from_secs(10));
    let Ok(address) = crate::client::resolve(host, port.parse().map_err(Error::other)?) else {
        return Err(Error::other("DNS"));
    };
    match tokio::time::timeout(patience, tokio::net::TcpStream::connect(address)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            Err(Error::other("REFUSED"))
        }
        Ok(Err(error)) => Err(error),
        Err(_) => Err(Error::other("TIMEOUT")),
    }
}
