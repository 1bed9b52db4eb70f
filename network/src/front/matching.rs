//! What a rule asks of a request, and which of several rules that fit goes first. Pure.

use std::cmp::Ordering;

use http::request::Parts;
use http::{HeaderName, Method};
use regex::Regex;

/// Bytes that a compiled regular expression of a route may take, so that no route can fill a host.
const REGEX_BYTES_MAX: usize = 64 * 1024;

/// What a path is compared with.
#[derive(Debug, Clone)]
pub enum PathMatch {
    /// This path and no other.
    Exact(String),
    /// Paths that begin with these elements; without a final slash, so empty for every path.
    Prefix(String),
    /// Paths that the expression matches as a whole.
    Regex(Regex),
}

impl PathMatch {
    /// Paths that begin with the elements of `path`, whether or not it ends with a slash.
    #[must_use]
    pub fn prefix(path: &str) -> Self {
        Self::Prefix(path.trim_end_matches('/').to_owned())
    }

    /// Paths that an expression matches as a whole; `None` if it is none, or too large.
    #[must_use]
    pub fn regex(text: &str) -> Option<Self> {
        whole(text).map(Self::Regex)
    }

    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(wanted) => wanted == path,
            Self::Prefix(prefix) => path
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            Self::Regex(regex) => regex.is_match(path),
        }
    }

    /// Exact paths first, then the longest.
    fn rank(&self) -> (u8, usize) {
        match self {
            Self::Exact(path) => (2, path.len()),
            Self::Regex(regex) => (1, regex.as_str().len()),
            Self::Prefix(path) => (0, path.len()),
        }
    }
}

/// What the value of a header or a query parameter is compared with.
#[derive(Debug, Clone)]
pub enum ValueMatch {
    /// This value.
    Exact(String),
    /// Values that the expression matches as a whole.
    Regex(Regex),
}

impl ValueMatch {
    /// Values that an expression matches as a whole; `None` if it is none, or too large.
    #[must_use]
    pub fn regex(text: &str) -> Option<Self> {
        whole(text).map(Self::Regex)
    }

    fn matches(&self, value: &str) -> bool {
        match self {
            Self::Exact(wanted) => wanted == value,
            Self::Regex(regex) => regex.is_match(value),
        }
    }
}

fn whole(text: &str) -> Option<Regex> {
    let mut builder = regex::RegexBuilder::new(&format!("^(?:{text})$"));
    builder.size_limit(REGEX_BYTES_MAX).dfa_size_limit(REGEX_BYTES_MAX).build().ok()
}

/// Everything that one match of a rule asks; all of it must hold.
#[derive(Debug, Clone)]
pub struct Match {
    /// The path.
    pub path: PathMatch,
    /// The method; `None` for all.
    pub method: Option<Method>,
    /// Headers, by name.
    pub headers: Vec<(HeaderName, ValueMatch)>,
    /// Query parameters, by name; of several of one name the first counts.
    pub query: Vec<(String, ValueMatch)>,
}

impl Match {
    /// A match of a path alone.
    #[must_use]
    pub fn path(path: PathMatch) -> Self {
        Self { path, method: None, headers: Vec::new(), query: Vec::new() }
    }

    /// Whether a request is meant. The path is compared as it was sent, percent signs and all.
    #[must_use]
    pub fn matches(&self, request: &Parts) -> bool {
        self.path.matches(request.uri.path())
            && self.method.as_ref().is_none_or(|method| *method == request.method)
            && self.headers.iter().all(|(name, wanted)| {
                // Several lines of one header are one value with commas (RFC 9110, section 5.3).
                let lines: Option<Vec<&str>> =
                    request.headers.get_all(name).iter().map(|line| line.to_str().ok()).collect();
                lines.is_some_and(|lines| !lines.is_empty() && wanted.matches(&lines.join(",")))
            })
            && (self.query.is_empty() || self.query_matches(request.uri.query().unwrap_or("")))
    }

    fn query_matches(&self, query: &str) -> bool {
        self.query.iter().all(|(name, wanted)| {
            let mut pairs = form_urlencoded::parse(query.as_bytes());
            pairs.find(|(own, _)| own == name).is_some_and(|(_, value)| wanted.matches(&value))
        })
    }

    /// Orders matches of one host name: whichever comes first is asked first.
    ///
    /// *Source:* Gateway API `HTTPRouteRule.matches`: exact path, longest path, a method, most
    /// headers, most query parameters. For Ingress (longest path, then exact before prefix) it is
    /// the same order, as an exact path is never shorter than a prefix that matches with it.
    #[must_use]
    pub fn first(&self, other: &Self) -> Ordering {
        other.rank().cmp(&self.rank())
    }

    fn rank(&self) -> (u8, usize, bool, usize, usize) {
        let (kind, length) = self.path.rank();
        (kind, length, self.method.is_some(), self.headers.len(), self.query.len())
    }

    /// The elements that a prefix has matched; empty for other matches of paths.
    #[must_use]
    pub fn matched_prefix(&self) -> &str {
        match &self.path {
            PathMatch::Prefix(prefix) => prefix,
            PathMatch::Exact(_) | PathMatch::Regex(_) => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    /// The table of networking.k8s.io's page on Ingress, row by row.
    #[test]
    fn paths_match_as_the_table_of_ingress_says() {
        let check = |path: PathMatch, request: &str, wanted: bool| {
            let found = Match::path(path.clone()).matches(&parts("GET", request, &[]));
            assert_eq!(found, wanted, "{path:?} {request}");
        };
        let exact = |path: &str| PathMatch::Exact(path.to_owned());
        let prefix = PathMatch::prefix;
        check(prefix("/"), "/any/thing", true);
        check(exact("/foo"), "/foo", true);
        check(exact("/foo"), "/bar", false);
        check(exact("/foo"), "/foo/", false);
        check(exact("/foo/"), "/foo", false);
        check(prefix("/foo"), "/foo", true);
        check(prefix("/foo"), "/foo/", true);
        check(prefix("/foo/"), "/foo", true);
        check(prefix("/foo/"), "/foo/", true);
        check(prefix("/aaa/bb"), "/aaa/bbb", false);
        check(prefix("/aaa/bbb"), "/aaa/bbb", true);
        check(prefix("/aaa/bbb/"), "/aaa/bbb", true);
        check(prefix("/aaa/bbb"), "/aaa/bbb/", true);
        check(prefix("/aaa/bbb"), "/aaa/bbb/ccc?x=1", true);
        check(prefix("/aaa/bbb"), "/aaa/bbbxyz", false);
        check(PathMatch::regex("/v[0-9]+").unwrap(), "/v12", true);
        check(PathMatch::regex("/v[0-9]+").unwrap(), "/v12/x", false);
    }

    #[test]
    fn all_that_a_match_asks_must_hold() {
        let mut all = Match::path(PathMatch::prefix("/"));
        all.method = Some(Method::POST);
        all.headers = vec![(HeaderName::from_static("version"), ValueMatch::Exact("2".to_owned()))];
        all.query = vec![("animal".to_owned(), ValueMatch::regex("wh.le").unwrap())];
        let check = |method, uri, headers: &[_], wanted| {
            assert_eq!(
                all.matches(&parts(method, uri, headers)),
                wanted,
                "{method} {uri} {headers:?}"
            );
        };
        check("POST", "/?animal=whale", &[("Version", "2")], true);
        check("POST", "/?animal=wh%61le&animal=cat", &[("Version", "2")], true);
        check("POST", "/?animal=cat&animal=whale", &[("Version", "2")], false);
        check("GET", "/?animal=whale", &[("Version", "2")], false);
        check("POST", "/?animal=whale", &[("Version", "2"), ("Version", "3")], false);
        check("POST", "/?animal=whale", &[], false);
        check("POST", "/", &[("Version", "2")], false);
    }

    #[test]
    fn an_expression_that_is_too_large_is_none() {
        assert!(PathMatch::regex("(").is_none());
        assert!(PathMatch::regex("((a{100}){100}){100}").is_none());
    }
}
