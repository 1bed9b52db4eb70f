//! Whether a request comes from a page of another server. Pure.
//!
//! Browsers send a client certificate by themselves, and let pages of any server open a WebSocket and read it. What they
//! tell is the page's origin.
//!
//! *Source:* RFC 6455 section 10.2; RFC 6454 section 7.

use http::HeaderMap;
use http::header::{HOST, HeaderValue, ORIGIN};
use http::uri::{Authority, Scheme, Uri};

/// The port of `http` where none is named.
const HTTP_PORT: u16 = 80;
/// The port of `https`, which this server speaks, where none is named.
const HTTPS_PORT: u16 = 443;

/// Whether an `Origin` header names another host or port than `Host` does. Programs send none, and are never foreign;
/// `null` and what cannot be read always are.
pub(crate) fn is_foreign(headers: &HeaderMap) -> bool {
    let own = headers.get(HOST).and_then(asked);
    headers.get_all(ORIGIN).iter().any(|origin| own.is_none() || page(origin) != own)
}

/// Host and port of a `Host` header.
fn asked(host: &HeaderValue) -> Option<(String, u16)> {
    Some(place(&Authority::try_from(host.as_bytes()).ok()?, HTTPS_PORT))
}

/// Host and port of an `Origin` header.
fn page(origin: &HeaderValue) -> Option<(String, u16)> {
    let uri = Uri::try_from(origin.as_bytes()).ok()?;
    let port = if uri.scheme()? == &Scheme::HTTP { HTTP_PORT } else { HTTPS_PORT };
    Some(place(uri.authority()?, port))
}

fn place(authority: &Authority, port: u16) -> (String, u16) {
    (authority.host().to_ascii_lowercase(), authority.port_u16().unwrap_or(port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: Option<&str>, origins: &[&str], expected: bool) {
        let mut headers = HeaderMap::new();
        if let Some(host) = host {
            headers.insert(HOST, host.parse().unwrap());
        }
        for origin in origins {
            headers.append(ORIGIN, origin.parse().unwrap());
        }
        assert_eq!(is_foreign(&headers), expected, "{host:?} {origins:?}");
    }

    #[test]
    fn an_origin_is_the_host_or_foreign() {
        check(Some("a:6443"), &[], false);
        check(None, &[], false);
        check(Some("a:6443"), &["https://a:6443"], false);
        check(Some("A.example"), &["https://a.example:443"], false);
        check(Some("[::1]:6443"), &["https://[::1]:6443"], false);
        check(Some("a:6443"), &["https://b:6443"], true);
        check(Some("a:6443"), &["https://a"], true);
        check(Some("a"), &["http://a"], true);
        check(Some("a:6443"), &["https://a:6443@b"], true);
        check(Some("a:6443"), &["https://a:6443", "https://b"], true);
        for origin in ["null", "", "a:6443", "file://"] {
            check(Some("a:6443"), &[origin], true);
            check(None, &[origin], true);
        }
    }
}
