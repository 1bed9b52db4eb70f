//! What a program asks a proxy for, and the words to answer it with. Pure.
//!
//! *Source:* RFC 1928 for SOCKS5; RFC 9110, section 9.3.6, and RFC 9112, section 3.2.2, for HTTP.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, bail};

/// The version of SOCKS, and the first byte of whoever speaks it.
pub(super) const SOCKS: u8 = 5;
/// No authentication is asked for; a connection is made.
pub(super) const GRANTED: u8 = 0;
/// Bytes of the head of a request.
pub(super) const HEAD_BYTES_MAX: usize = 64 * 1024;

/// How it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Way {
    Socks,
    /// By the method CONNECT.
    Connect,
    /// A request to pass on, of which this is the head for the other side.
    Pass(Vec<u8>),
}

/// Where a program wants to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    host: String,
    port: u16,
    way: Way,
}

impl Asked {
    /// The host, by its name or address.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Reads the address of a request of SOCKS5: a name, or an address by its bytes.
    pub(super) fn of_socks(address: &[u8], is_name: bool, port: u16) -> anyhow::Result<Self> {
        let host = if is_name {
            String::from_utf8(address.to_vec()).context("the host is no text")?
        } else if let Ok(v4) = <[u8; 4]>::try_from(address) {
            Ipv4Addr::from(v4).to_string()
        } else {
            let v6 = <[u8; 16]>::try_from(address).context("the address has an odd length")?;
            Ipv6Addr::from(v6).to_string()
        };
        Ok(Self { host, port, way: Way::Socks })
    }

    /// Reads the head of a request of HTTP.
    pub(super) fn of_http(head: &[u8]) -> anyhow::Result<Self> {
        let text = std::str::from_utf8(head).context("the head of the request is no text")?;
        let (line, rest) = text.split_once("\r\n").context("the request has no lines")?;
        let words: Vec<&str> = line.split(' ').collect();
        let [method, target, version] = words.as_slice() else { bail!("'{line}' is no request") };
        if *method == "CONNECT" {
            let (host, port) = authority(target, None)?;
            return Ok(Self { host, port, way: Way::Connect });
        }
        let after = target.strip_prefix("http://");
        let after = after.context("a proxy needs the whole URL, http://HOST/PATH")?;
        let (place, path) = after.split_once('/').unwrap_or((after, ""));
        let (host, port) = authority(place, Some(80))?;
        // One request for each connection: the next may be for another host.
        let headers = rest.split("\r\n").filter(|line| {
            let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
            !line.is_empty()
                && !matches!(
                    name.as_str(),
                    "connection" | "proxy-connection" | "proxy-authorization"
                )
        });
        let headers: String = headers.map(|line| format!("{line}\r\n")).collect();
        let head = format!("{method} /{path} {version}\r\n{headers}Connection: close\r\n\r\n");
        Ok(Self { host, port, way: Way::Pass(head.into_bytes()) })
    }

    /// What the program hears when it goes on.
    pub(super) fn granted(&self) -> &'static [u8] {
        match self.way {
            Way::Socks => &[SOCKS, GRANTED, 0, 1, 0, 0, 0, 0, 0, 0],
            Way::Connect => b"HTTP/1.1 200 Connection established\r\n\r\n",
            Way::Pass(_) => b"",
        }
    }

    /// What it hears when it does not.
    pub(super) fn refused(&self, why: &str) -> Vec<u8> {
        match self.way {
            // Host unreachable.
            Way::Socks => vec![SOCKS, 4, 0, 1, 0, 0, 0, 0, 0, 0],
            Way::Connect | Way::Pass(_) => {
                let length = why.len() + 1;
                format!("HTTP/1.1 502 Bad Gateway\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{why}\n")
                    .into_bytes()
            }
        }
    }

    /// What the other side is told first.
    pub(super) fn first(self) -> Vec<u8> {
        match self.way {
            Way::Socks | Way::Connect => Vec::new(),
            Way::Pass(head) => head,
        }
    }
}

fn authority(text: &str, otherwise: Option<u16>) -> anyhow::Result<(String, u16)> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()),
        _ => (text, otherwise),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = port.filter(|port| *port > 0);
    let port = port.with_context(|| format!("'{text}' must be HOST:PORT"))?;
    Ok((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_socks_name_hosts_and_addresses() {
        let check = |address: &[u8], is_name, wanted: Option<&str>| {
            let asked = Asked::of_socks(address, is_name, 80).ok();
            assert_eq!(asked.as_ref().map(Asked::host), wanted);
        };
        check(b"web.default", true, Some("web.default"));
        check(&[10, 96, 0, 1], false, Some("10.96.0.1"));
        check(&[0; 16], false, Some("::"));
        check(&[1, 2], false, None);
        check(&[0xff], true, None);
    }

    #[test]
    fn requests_of_http_are_passed_on_or_joined() {
        let check = |head: &str, wanted: Option<(&str, u16, &str)>| {
            let asked = Asked::of_http(head.as_bytes()).ok();
            let first = asked.clone().map(|asked| String::from_utf8(asked.first()).unwrap());
            let asked = asked.as_ref().zip(first.as_deref());
            assert_eq!(asked.map(|(asked, first)| (asked.host(), asked.port(), first)), wanted);
        };
        check("CONNECT web:443 HTTP/1.1\r\nHost: web\r\n\r\n", Some(("web", 443, "")));
        check("CONNECT [::1]:443 HTTP/1.1\r\n\r\n", Some(("::1", 443, "")));
        check("CONNECT web HTTP/1.1\r\n\r\n", None);
        let passed = "GET /a?b HTTP/1.1\r\nHost: web\r\nAccept: */*\r\nConnection: close\r\n\r\n";
        check(
            "GET http://web/a?b HTTP/1.1\r\nHost: web\r\nProxy-Connection: keep-alive\r\nAccept: */*\r\n\r\n",
            Some(("web", 80, passed)),
        );
        check(
            "GET http://web:81 HTTP/1.0\r\n\r\n",
            Some(("web", 81, "GET / HTTP/1.0\r\nConnection: close\r\n\r\n")),
        );
        check("GET /a HTTP/1.1\r\n\r\n", None);
        check("nonsense\r\n\r\n", None);
    }
}
