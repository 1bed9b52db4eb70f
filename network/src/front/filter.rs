//! What is changed of a request or an answer on its way: headers, names and paths. Pure.
//!
//! *Source:* Gateway API `HTTPRouteFilter`.

use http::request::Parts;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};

use super::routes::Backend;

/// One change.
#[derive(Debug, Clone)]
pub enum Filter {
    /// Changes headers of the request.
    RequestHeaders(HeaderEdit),
    /// Changes headers of the answer.
    ResponseHeaders(HeaderEdit),
    /// Answers with a redirect.
    Redirect(Redirect),
    /// Changes the request's host name, its path or both.
    Rewrite(Rewrite),
    /// Sends a copy of the request elsewhere as well; what comes back is dropped.
    Mirror(Mirror),
}

/// Headers to set, to add and to remove, in this order.
#[derive(Debug, Clone, Default)]
pub struct HeaderEdit {
    /// Takes the place of all values of the name.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Comes behind the values of the name.
    pub add: Vec<(HeaderName, HeaderValue)>,
    /// Names to remove.
    pub remove: Vec<HeaderName>,
}

impl HeaderEdit {
    /// Makes the changes.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name, value.clone());
        }
        for name in &self.remove {
            headers.remove(name);
        }
    }
}

/// How a path changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathEdit {
    /// All of it.
    Full(String),
    /// The elements that the rule's prefix has matched.
    Prefix(String),
}

impl PathEdit {
    /// The new path for `path`, of which `prefix` was matched.
    #[must_use]
    pub fn apply(&self, path: &str, prefix: &str) -> String {
        match self {
            Self::Full(full) => full.clone(),
            Self::Prefix(new) => {
                let rest = path.strip_prefix(prefix).unwrap_or(path).trim_start_matches('/');
                let new = new.trim_end_matches('/');
                let ends = rest.is_empty() && !path.ends_with('/');
                if ends && !new.is_empty() { new.to_owned() } else { format!("{new}/{rest}") }
            }
        }
    }
}

/// A redirect; what it does not say stays as it was in the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// `http` or `https`.
    pub scheme: Option<String>,
    /// The host name.
    pub hostname: Option<String>,
    /// The path.
    pub path: Option<PathEdit>,
    /// The port.
    pub port: Option<u16>,
    /// Such as 302.
    pub status: StatusCode,
}

/// How a request came in.
#[derive(Debug, Clone, Copy)]
pub struct Arrived<'a> {
    /// Its host name.
    pub host: &'a str,
    /// Whether over TLS.
    pub secure: bool,
    /// The port of the listener.
    pub port: u16,
    /// The elements of its path that the rule's prefix has matched.
    pub prefix: &'a str,
}

impl Redirect {
    /// Where to: an absolute URL.
    ///
    /// The port is the one given, else the well-known one of a given scheme, else the listener's; a
    /// scheme's well-known port is not written.
    #[must_use]
    pub fn location(&self, request: &Parts, arrived: &Arrived<'_>) -> String {
        let scheme =
            self.scheme.as_deref().unwrap_or(if arrived.secure { "https" } else { "http" });
        let known = if scheme == "https" { 443 } else { 80 };
        let unsaid = if self.scheme.is_some() { known } else { arrived.port };
        let port = self.port.unwrap_or(unsaid);
        let host = self.hostname.as_deref().unwrap_or(arrived.host);
        let path = request.uri.path();
        let path = match &self.path {
            Some(edit) => edit.apply(path, arrived.prefix),
            None => path.to_owned(),
        };
        let query = request.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        let port = if port == known { String::new() } else { format!(":{port}") };
        format!("{scheme}://{host}{port}{path}{query}")
    }
}

/// Another host name, another path, or both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// The `Host` that the backend sees.
    pub hostname: Option<HeaderValue>,
    /// The path that the backend sees.
    pub path: Option<PathEdit>,
}

impl Rewrite {
    /// Makes the changes. A path that would be none leaves the request as it was.
    pub fn apply(&self, request: &mut Parts, prefix: &str) {
        if let Some(hostname) = &self.hostname {
            request.headers.insert(http::header::HOST, hostname.clone());
        }
        let Some(edit) = &self.path else { return };
        let path = edit.apply(request.uri.path(), prefix);
        let whole = match request.uri.query() {
            Some(query) => format!("{path}?{query}"),
            None => path,
        };
        let Ok(whole) = whole.parse::<PathAndQuery>() else { return };
        let mut uri = request.uri.clone().into_parts();
        uri.path_and_query = Some(whole);
        if uri.authority.is_some() && uri.scheme.is_none() {
            uri.scheme = Some(Scheme::HTTP);
        }
        if let Ok(uri) = Uri::from_parts(uri) {
            request.uri = uri;
        }
    }
}

/// Where copies go, and of how many requests.
#[derive(Debug, Clone)]
pub struct Mirror {
    /// Who gets the copies.
    pub backend: Backend,
    /// So many...
    pub numerator: u32,
    /// ...out of so many requests; at least 1.
    pub denominator: u32,
}

impl Mirror {
    /// Whether a request is copied; `random` is any number.
    #[must_use]
    pub fn is_hit(&self, random: u64) -> bool {
        random % u64::from(self.denominator.max(1)) < u64::from(self.numerator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(uri: &str) -> Parts {
        http::Request::builder().uri(uri).body(()).unwrap().into_parts().0
    }

    /// The table of Gateway API `HTTPPathModifier.replacePrefixMatch`, row by row.
    #[test]
    fn a_matched_prefix_is_replaced_as_the_table_says() {
        let check = |path: &str, prefix: &str, new: &str, wanted: &str| {
            let edit = PathEdit::Prefix(new.to_owned());
            let prefix = prefix.trim_end_matches('/');
            assert_eq!(edit.apply(path, prefix), wanted, "{path} {prefix} {new}");
        };
        check("/foo/bar", "/foo", "/xyz", "/xyz/bar");
        check("/foo/bar", "/foo", "/xyz/", "/xyz/bar");
        check("/foo/bar", "/foo/", "/xyz", "/xyz/bar");
        check("/foo/bar", "/foo/", "/xyz/", "/xyz/bar");
        check("/foo", "/foo", "/xyz", "/xyz");
        check("/foo/", "/foo", "/xyz", "/xyz/");
        check("/foo/bar", "/foo", "", "/bar");
        check("/foo/", "/foo", "", "/");
        check("/foo", "/foo", "", "/");
        check("/foo/", "/foo", "/", "/");
        check("/foo", "/foo", "/", "/");
    }

    #[test]
    fn a_redirect_says_no_more_of_the_port_than_it_must() {
        let plain = Redirect {
            scheme: None,
            hostname: None,
            path: None,
            port: None,
            status: StatusCode::FOUND,
        };
        let check = |redirect: &Redirect, port, secure, wanted: &str| {
            let arrived = Arrived { host: "a.b", secure, port, prefix: "/old" };
            assert_eq!(redirect.location(&parts("/old/x?q=1"), &arrived), wanted);
        };
        check(&plain, 80, false, "http://a.b/old/x?q=1");
        check(&plain, 8080, false, "http://a.b:8080/old/x?q=1");
        check(&plain, 443, true, "https://a.b/old/x?q=1");
        let https = Redirect { scheme: Some("https".to_owned()), ..plain.clone() };
        check(&https, 8080, false, "https://a.b/old/x?q=1");
        let path = Some(PathEdit::Prefix("/new".to_owned()));
        let all = Redirect { hostname: Some("c.d".to_owned()), port: Some(8443), path, ..https };
        check(&all, 80, false, "https://c.d:8443/new/x?q=1");
    }

    #[test]
    fn a_rewrite_keeps_the_query() {
        let mut request = parts("/old/x?q=1");
        let path = Some(PathEdit::Full("/y".to_owned()));
        let hostname = Some(HeaderValue::from_static("c.d"));
        Rewrite { hostname, path }.apply(&mut request, "/old");
        assert_eq!(request.uri, "/y?q=1");
        assert_eq!(request.headers["host"], "c.d");
    }

    #[test]
    fn headers_are_set_added_and_removed() {
        let name = |text: &'static str| HeaderName::from_static(text);
        let pair = |of, value| (name(of), HeaderValue::from_static(value));
        let edit = HeaderEdit {
            set: vec![pair("a", "2")],
            add: vec![pair("b", "3")],
            remove: vec![name("c")],
        };
        let mut headers: HeaderMap =
            [pair("a", "1"), pair("b", "1"), pair("c", "1")].into_iter().collect();
        edit.apply(&mut headers);
        let all: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{name}={}", value.to_str().unwrap()))
            .collect();
        assert_eq!(all.join(" "), "a=2 b=1 b=3");
    }
}
