//! Discovery: which groups, versions and resources are served.
//!
//! Everything is made from the registry of kinds and users' kinds whenever these change, with its `ETag`, and served as bytes: the aggregated
//! `APIGroupDiscoveryList` for clients that ask for it, the older lists for the others.
//! *Source:* Kubernetes API concepts, "Discovery API"; KEP-3352.

mod aggregated;
mod legacy;
mod remote;
mod usage;

pub(crate) use remote::Remote;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use coracle_api::registry::{self, Kind};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, VARY};
use http::{HeaderMap, StatusCode};
use parking_lot::{Mutex, RwLock};
use serde_json::Value;
use sha2::{Digest, Sha512};

use crate::negotiate::{self, Negotiated, header, media_ranges};
use crate::query::Query;
use crate::respond::{self, Answer};

/// `Content-Type` of an aggregated document.
const AGGREGATED_TYPE: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// All discovery documents, made anew whenever users' kinds change.
#[derive(Debug)]
pub struct Discovery {
    address: String,
    /// What other servers serve, and users' kinds.
    others: Mutex<(Vec<&'static Kind>, Vec<Remote>)>,
    documents: RwLock<Arc<Documents>>,
}

#[derive(Debug)]
struct Documents {
    aggregated: HashMap<&'static str, Document>,
    legacy: HashMap<String, Value>,
}

/// A document that is served as it is.
#[derive(Debug)]
struct Document {
    json: Bytes,
    etag: HeaderValue,
}

impl Discovery {
    /// Makes the documents of the built-in kinds. `address` is what `/api` names as the server's own address,
    /// `host:port`.
    pub fn new(address: &str) -> Discovery {
        let documents = RwLock::new(Arc::new(Documents::new(address, &[], &[])));
        Discovery { address: address.to_owned(), others: Mutex::default(), documents }
    }

    /// Makes the documents anew, with these kinds of users.
    pub fn publish(&self, custom: &[&'static Kind]) {
        self.change(|(kinds, _)| *kinds = custom.to_vec());
    }

    /// Makes the documents anew, with what other servers serve.
    pub(crate) fn publish_remotes(&self, remotes: &[Remote]) {
        self.change(|(_, known)| *known = remotes.to_vec());
    }

    fn change(&self, change: impl FnOnce(&mut (Vec<&'static Kind>, Vec<Remote>))) {
        let mut others = self.others.lock();
        change(&mut others);
        let documents = Documents::new(&self.address, &others.0, &others.1);
        *self.documents.write() = Arc::new(documents);
    }

    /// Answers a discovery path, `None` when the path is none.
    pub fn answer(&self, path: &str, headers: &HeaderMap, query: &Query) -> Option<Answer> {
        let documents = Arc::clone(&self.documents.read());
        let path = path.trim_end_matches('/');
        if let Some(document) = documents.aggregated.get(path).filter(|_| wants_aggregated(headers))
        {
            return Some(document.answer(headers, query));
        }
        let value = documents.legacy.get(path)?;
        Some(respond::value(StatusCode::OK, value, Negotiated::for_plain(headers, query)))
    }
}

impl Documents {
    fn new(address: &str, custom: &[&'static Kind], remotes: &[Remote]) -> Documents {
        let kinds: Vec<&Kind> = registry::kinds().iter().chain(custom.iter().copied()).collect();
        let mut groups = aggregated::groups(&kinds);
        remote::add_aggregated(&mut groups, remotes);
        let core = Document::new(&aggregated::core(&kinds));
        let mut legacy = legacy::documents(address, &kinds);
        remote::add_legacy(&mut legacy, remotes);
        let aggregated = [("/api", core), ("/apis", Document::new(&groups))];
        Documents { aggregated: HashMap::from(aggregated), legacy }
    }
}

/// The groups and versions of kinds, each once, in their order.
fn group_versions<'a>(kinds: &[&'a Kind]) -> Vec<(&'a str, &'a str)> {
    let mut found: Vec<(&str, &str)> = Vec::new();
    for kind in kinds {
        if !found.contains(&(kind.group, kind.version)) {
            found.push((kind.group, kind.version));
        }
    }
    found
}

/// Whether the client's first choice that can be made is the aggregated form.
fn wants_aggregated(headers: &HeaderMap) -> bool {
    let ranges = media_ranges(header(headers, http::header::ACCEPT));
    let first = ranges.iter().find(|range| match range.media_type {
        "application/json" => matches!(
            (range.param("g"), range.param("v"), range.param("as")),
            ("", "", "") | ("apidiscovery.k8s.io", "v2", "APIGroupDiscoveryList")
        ),
        "application/yaml" | "*/*" | "application/*" => true,
        _ => false,
    });
    first.is_some_and(|range| range.param("as") == "APIGroupDiscoveryList")
}

impl Document {
    fn new(value: &Value) -> Document {
        let json = value.to_string();
        let etag = HeaderValue::from_str(&format!("\"{}\"", sha512_hex(json.as_bytes())));
        Document { json: json.into(), etag: etag.unwrap_or(HeaderValue::from_static("\"0\"")) }
    }

    fn answer(&self, headers: &HeaderMap, query: &Query) -> Answer {
        let unchanged = headers.get(IF_NONE_MATCH).is_some_and(|value| *value == self.etag);
        let mut negotiated = Negotiated::for_plain(headers, query);
        negotiated.encoding = negotiate::Encoding::Json;
        let mut answer = if unchanged {
            respond::bytes(StatusCode::NOT_MODIFIED, Bytes::new(), negotiated)
        } else {
            respond::bytes(StatusCode::OK, self.json.clone(), negotiated)
        };
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(AGGREGATED_TYPE));
        headers.insert(ETAG, self.etag.clone());
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public"));
        headers.insert(VARY, HeaderValue::from_static("Accept"));
        answer
    }
}

/// The SHA-512 of bytes in upper-case hexadecimal, as discovery and OpenAPI use it for `ETag` and `hash`.
pub fn sha512_hex(bytes: &[u8]) -> String {
    Sha512::digest(bytes).iter().map(|byte| format!("{byte:02X}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(text: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::ACCEPT, text.parse().unwrap());
        headers
    }

    #[test]
    fn the_form_follows_accept() {
        let kubectl = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
             application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
        assert!(wants_aggregated(&accept(kubectl)));
        assert!(!wants_aggregated(&accept("application/json")));
        assert!(!wants_aggregated(&accept(
            "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
        )));
    }

    #[test]
    fn an_etag_that_matches_is_304() {
        let discovery = Discovery::new("127.0.0.1:6443");
        let mut headers = accept(AGGREGATED_TYPE);
        let first = discovery.answer("/apis", &headers, &Query::default()).unwrap();
        assert_eq!(first.status(), StatusCode::OK);
        headers.insert(IF_NONE_MATCH, first.headers()[ETAG].clone());
        let second = discovery.answer("/apis", &headers, &Query::default()).unwrap();
        assert_eq!(second.status(), StatusCode::NOT_MODIFIED);
    }

    #[test]
    fn legacy_documents_for_every_group_version() {
        let discovery = Discovery::new("127.0.0.1:6443");
        for path in [
            "/api",
            "/apis",
            "/api/v1",
            "/apis/apps",
            "/apis/apps/v1",
            "/apis/coordination.k8s.io/v1",
        ] {
            let answer = discovery.answer(path, &HeaderMap::new(), &Query::default());
            assert_eq!(answer.map(|a| a.status()), Some(StatusCode::OK), "{path}");
        }
        assert!(discovery.answer("/apis/nope", &HeaderMap::new(), &Query::default()).is_none());
    }
}
