//! Which rule takes a request, against a model that knows nothing of sorting or indexes.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::cmp::Reverse;
use std::sync::Arc;

use coracle_network::front::hostname::{HostPattern, Star};
use coracle_network::front::matching::{Match, PathMatch, ValueMatch};
use coracle_network::front::routes::{
    Backend, Entry, Listener, Origin, Protocol, Routes, Rule, Target,
};
use coracle_network::table::ServiceKey;
use http::request::Parts;
use http::{HeaderName, Method, StatusCode};
use proptest::prelude::*;
use proptest::sample::select;

const HOSTS: &[&str] = &["", "a.b", "*.b", "c.a.b", "*.a.b"];
const PATHS: &[&str] = &["/", "/a", "/a/b", "/a/b/c"];
const ASKED: &[&str] = &["/", "/a", "/a/", "/a/b", "/a/bb", "/a/b/c/d", "/x"];

/// A rule as a person would write it down.
#[derive(Debug, Clone)]
struct Written {
    host: &'static str,
    path: &'static str,
    exact: bool,
    method: Option<Method>,
    headers: usize,
    created: u8,
}

fn written() -> impl Strategy<Value = Written> {
    let method = prop_oneof![Just(None), Just(Some(Method::GET)), Just(Some(Method::POST))];
    (select(HOSTS), select(PATHS), any::<bool>(), method, 0..3_usize, 0..2_u8).prop_map(
        |(host, path, exact, method, headers, created)| Written {
            host,
            path,
            exact,
            method,
            headers,
            created,
        },
    )
}

fn header(index: usize) -> HeaderName {
    HeaderName::try_from(format!("h{index}")).unwrap()
}

fn entry(index: usize, one: &Written) -> Entry {
    let path =
        if one.exact { PathMatch::Exact(one.path.to_owned()) } else { PathMatch::prefix(one.path) };
    let value = || ValueMatch::Exact("1".to_owned());
    let matching = Match {
        path,
        method: one.method.clone(),
        headers: (0..one.headers).map(|index| (header(index), value())).collect(),
        query: Vec::new(),
    };
    let name = format!("{index:03}");
    let origin = Origin { kind: "HTTPRoute", namespace: "n".to_owned(), name };
    let rule = Arc::new(Rule::to(origin, Vec::new()));
    let host = HostPattern::parse(Some(one.host), Star::Labels);
    Entry { host, matching, created: format!("2026-01-0{}", one.created + 1), rule }
}

/// What the model says: of all that fit, the one that the spec puts first.
fn model(all: &[Written], host: &str, asked: &Parts) -> Option<usize> {
    let path = asked.uri.path();
    let fits = |one: &Written| {
        let by_host = match one.host.strip_prefix('*') {
            Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
            None => one.host.is_empty() || one.host == host,
        };
        let by_path = if one.exact {
            path == one.path
        } else {
            one.path == "/" || path == one.path || path.starts_with(&format!("{}/", one.path))
        };
        let by_method = one.method.as_ref().is_none_or(|method| *method == asked.method);
        let by_headers = (0..one.headers).all(|index| asked.headers.contains_key(header(index)));
        by_host && by_path && by_method && by_headers
    };
    let order = |(index, one): &(usize, &Written)| {
        let kind = if one.host.is_empty() { 0 } else { 2 - usize::from(one.host.starts_with('*')) };
        let path = one.path.trim_end_matches('/').len();
        (
            (kind, one.host.len()),
            one.exact,
            path,
            one.method.is_some(),
            one.headers,
            Reverse(one.created),
            Reverse(*index),
        )
    };
    all.iter().enumerate().filter(|(_, one)| fits(one)).max_by_key(order).map(|(index, _)| index)
}

proptest! {
    #[test]
    fn the_rule_that_the_spec_puts_first_takes_the_request(
        all in proptest::collection::vec(written(), 0..12),
        host in select(&["a.b", "x.b", "c.a.b", "d.a.b", "z"][..]),
        path in select(ASKED),
        post in any::<bool>(),
        headers in 0..3_usize,
    ) {
        let listener = Listener {
            port: 80,
            protocol: Protocol::Http,
            host: HostPattern::Any,
            ends: true,
            certificates: Vec::new(),
            entries: all.iter().enumerate().map(|(index, one)| entry(index, one)).collect(),
        };
        let method = if post { Method::POST } else { Method::GET };
        let mut asked = http::Request::builder().method(method).uri(path);
        for index in 0..headers {
            asked = asked.header(header(index), "1");
        }
        let asked = asked.body(()).unwrap().into_parts().0;
        let found = Routes::new(vec![listener]).find((80, Protocol::Http), host, &asked);
        let found = found.map(|hit| hit.rule.origin.name.parse::<usize>().unwrap());
        prop_assert_eq!(found, model(&all, host, &asked));
    }

    #[test]
    fn shares_are_exact(shares in proptest::collection::vec(0..20_u32, 1..5)) {
        let origin = Origin { kind: "HTTPRoute", namespace: String::new(), name: String::new() };
        let target = |index: usize| Target::Service(Backend {
            service: ServiceKey { namespace: String::new(), name: index.to_string() },
            port: 80,
            http2: false,
            filters: Vec::new(),
        });
        let targets = shares.iter().enumerate().map(|(index, share)| (*share, target(index)));
        let rule = Rule::to(origin, targets.collect());
        let total: u32 = shares.iter().sum();
        let mut counts = vec![0; shares.len()];
        for random in 0..u64::from(total) {
            match rule.target(random) {
                Some(Target::Service(backend)) => counts[backend.service.name.parse::<usize>().unwrap()] += 1,
                Some(Target::Nothing(status)) => prop_assert_eq!(*status, StatusCode::OK),
                None => prop_assert!(false, "{random} of {total} falls on nothing"),
            }
        }
        prop_assert_eq!(counts, shares);
        prop_assert!(total > 0 || rule.target(7).is_none());
    }
}

/// A listener of a Gateway for a closer name keeps its requests to itself; rules of Ingresses do not.
#[test]
fn listeners_for_closer_names_keep_their_requests() {
    let listener = |host: &str, ends: bool, path: &str, name: &str| {
        let origin = Origin { kind: "x", namespace: String::new(), name: name.to_owned() };
        let entry = Entry {
            host: HostPattern::Any,
            matching: Match::path(PathMatch::prefix(path)),
            created: String::new(),
            rule: Arc::new(Rule::to(origin, Vec::new())),
        };
        let host = HostPattern::parse(Some(host), Star::Labels);
        let certificates = Vec::new();
        Listener {
            port: 80,
            protocol: Protocol::Http,
            host,
            ends,
            certificates,
            entries: vec![entry],
        }
    };
    let routes = Routes::new(vec![
        listener("", true, "/", "any"),
        listener("*.b", true, "/wild", "wild"),
        listener("a.b", true, "/exact", "exact"),
        listener("i.b", false, "/ingress", "ingress"),
        listener("", false, "/", "rest"),
    ]);
    let check = |host: &str, path: &str, wanted: Option<&str>| {
        let asked = http::Request::builder().uri(path).body(()).unwrap().into_parts().0;
        let found = routes.find((80, Protocol::Http), host, &asked);
        assert_eq!(
            found.as_ref().map(|hit| hit.rule.origin.name.as_str()),
            wanted,
            "{host} {path}"
        );
    };
    check("z", "/x", Some("any"));
    check("c.b", "/wild", Some("wild"));
    check("c.b", "/x", Some("rest"));
    check("a.b", "/exact", Some("exact"));
    check("a.b", "/wild", Some("rest"));
    check("i.b", "/ingress", Some("ingress"));
    check("i.b", "/wild", Some("wild"));
}
