//! Whom a request is for.

/// The host, port and scheme of a URI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// A name or an address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) is_tls: bool,
}

impl Target {
    /// Reads a URI; `None` when it has no host or its scheme is neither http nor https.
    pub(super) fn of(uri: &http::Uri) -> Option<Self> {
        let is_tls = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _other => return None,
        };
        let host = uri.host().filter(|host| !host.is_empty())?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        Some(Self { host, port, is_tls })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports() {
        let check = |uri: &str, want: Option<(&str, u16, bool)>| {
            let target = Target::of(&uri.parse().unwrap());
            let shown = target.as_ref().map(|t| (t.host.as_str(), t.port, t.is_tls));
            assert_eq!(shown, want, "{uri}");
        };
        check("http://web/x", Some(("web", 80, false)));
        check("https://web.shop.svc:8443", Some(("web.shop.svc", 8443, true)));
        check("https://10.0.0.1/", Some(("10.0.0.1", 443, true)));
        check("http://[::1]:81/", Some(("::1", 81, false)));
        check("ftp://web/", None);
        check("/path", None);
    }
}
