//! The small subcommands.

use std::io::{Error, Result};

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use crate::flags::Flags;
use crate::logs::log;
use crate::serve::{http, text, udp};
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
    let datagrams = async {
        if by_udp { udp("0.0.0.0", port, |_, _| Some(hostname())).await } else { Ok(()) }
    };
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

/// `porter`: answers with `SERVE_PORT_n` on port n.
pub async fn porter(flags: Flags) -> Result<()> {
    let as_json = flags.on("json-response", false);
    let port = |(name, value): (String, String)| {
        let port: u16 = name.strip_prefix("SERVE_PORT_")?.parse().ok()?;
        Some((port, value))
    };
    let servers = std::env::vars().filter_map(port).map(|(port, value)| {
        http(port, move |asked| {
            let method = asked.parts.method.to_string();
            let answer = if as_json {
                json::object([("Method", json::string(&method)), ("Body", json::string(&value))])
            } else {
                value.clone()
            };
            async move { text(200, answer) }
        })
    });
    if std::env::vars().any(|(name, _)| name.starts_with("SERVE_TLS_PORT_")) {
        log("SERVE_TLS_PORT_n is not served: this stand-in has no TLS");
    }
    futures_util::future::try_join_all(servers).await?;
    std::future::pending().await
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
