//! Headers that belong to one connection alone, and those that tell a backend of the client. Pure.

use std::net::IpAddr;

use http::header::{
    CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION,
    TE, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::{Method, Version};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Removes what is for the next hop alone; `te: trailers` stays, as gRPC asks for it end to end.
///
/// *Source:* RFC 9110, section 7.6.1.
pub(super) fn strip_hop(headers: &mut HeaderMap) {
    let lines = headers.get_all(CONNECTION).iter().filter_map(|line| line.to_str().ok());
    let named = lines.flat_map(|line| line.split(','));
    let named: Vec<HeaderName> = named.filter_map(|name| name.trim().parse().ok()).collect();
    let trailers = headers.get(TE).is_some_and(|value| value == "trailers");
    for name in named.iter().chain(&[
        CONNECTION,
        KEEP_ALIVE,
        PROXY_CONNECTION,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRANSFER_ENCODING,
        UPGRADE,
    ]) {
        headers.remove(name);
    }
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// The protocol that a request asks to go on with, such as `websocket`.
///
/// *Source:* RFC 9110, section 7.8.
pub(super) fn upgrade_of(request: &Parts) -> Option<HeaderValue> {
    if request.version != Version::HTTP_11 || request.method == Method::CONNECT {
        return None;
    }
    let lines = request.headers.get_all(CONNECTION).iter().filter_map(|line| line.to_str().ok());
    let mut named = lines.flat_map(|line| line.split(','));
    let asked = named.any(|name| name.trim().eq_ignore_ascii_case("upgrade"));
    request.headers.get(UPGRADE).filter(|_| asked).cloned()
}

/// Asks to go on with another protocol.
pub(super) fn ask_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
}

/// Tells the backend who asks, and how. What the client says of itself there is not believed.
pub(super) fn tell_client(headers: &mut HeaderMap, client: IpAddr, secure: bool) {
    if let Ok(client) = HeaderValue::try_from(client.to_string()) {
        headers.insert(FORWARDED_FOR, client);
    }
    headers
        .insert(FORWARDED_PROTO, HeaderValue::from_static(if secure { "https" } else { "http" }));
    match headers.get(HOST).cloned() {
        Some(host) => drop(headers.insert(FORWARDED_HOST, host)),
        None => drop(headers.remove(FORWARDED_HOST)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        lines.iter().map(line).collect()
    }

    #[test]
    fn what_is_for_one_connection_goes_no_further() {
        let mut all = headers(&[
            ("connection", "x-own, close"),
            ("x-own", "1"),
            ("keep-alive", "3"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("accept", "*/*"),
        ]);
        strip_hop(&mut all);
        assert_eq!(all, headers(&[("te", "trailers"), ("accept", "*/*")]));
    }

    #[test]
    fn an_upgrade_is_asked_for_by_both_headers_of_http_1_1() {
        let check = |version, lines: &[(&'static str, &'static str)], wanted: bool| {
            let mut request = http::Request::builder().version(version).body(()).unwrap();
            *request.headers_mut() = headers(lines);
            assert_eq!(upgrade_of(&request.into_parts().0).is_some(), wanted, "{lines:?}");
        };
        let both = [("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")];
        check(Version::HTTP_11, &both, true);
        check(Version::HTTP_11, &both[..1], false);
        check(Version::HTTP_11, &both[1..], false);
        check(Version::HTTP_2, &both, false);
        check(Version::HTTP_10, &both, false);
    }

    #[test]
    fn a_client_cannot_speak_for_another() {
        let mut all = headers(&[("x-forwarded-for", "203.0.113.1"), ("host", "a.b")]);
        tell_client(&mut all, "192.0.2.1".parse().unwrap(), true);
        let wanted = [
            ("x-forwarded-for", "192.0.2.1"),
            ("host", "a.b"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "a.b"),
        ];
        assert_eq!(all, headers(&wanted));
    }
}
