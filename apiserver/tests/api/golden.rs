//! What a real kube-apiserver answered, request by request, against what this server answers.
//!
//! `apiserver/tests/golden/*.golden` holds the pairs; `tests/golden/README.md` says how they read and how they are
//! recorded. Compared are status, `Content-Type`, `Warning`, `Retry-After`, `Allow` and the whole body, after both
//! sides have lost what differs from run to run ([`mod@normal`]).

mod normal;
mod pairs;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use coracle_apiserver::InProcess;
use coracle_apiserver::authn::UserInfo;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tower::ServiceExt;

use crate::harness::Session;
use pairs::{Answer, Pair};

/// The files, each with a test below.
const FILES: [&str; 10] = [
    "access",
    "admission",
    "cluster",
    "configmaps",
    "custom",
    "discovery",
    "pods",
    "secrets",
    "services",
    "workloads",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Replays a file on a fresh server; fails with every difference that the file does not name, and with every
/// difference that it names and that is none.
async fn replay(file: &str) {
    let text = std::fs::read_to_string(folder().join(format!("{file}.golden"))).unwrap();
    let session = Session::start().await;
    let service = session.server.in_process(UserInfo::new("admin", ["system:masters"]));
    let mut kept = Kept::default();
    let mut failures = Vec::new();
    for pair in pairs::read(&text) {
        let ours = ask(&service, &kept.filled(&pair)).await;
        kept.keep(&pair, &ours);
        let found = differences(&pair.answer, &ours);
        failures.extend(judged(&pair, found).map(|line| format!("{} {line}", pair.at(file))));
    }
    assert!(failures.is_empty(), "{} differences:\n{}", failures.len(), failures.join("\n"));
}

/// Values of earlier answers that later requests name as `${NAME}`: those of the recording, and ours.
#[derive(Default)]
struct Kept(BTreeMap<String, String>);

impl Kept {
    fn filled(&self, pair: &Pair) -> Pair {
        let mut pair = pair.clone();
        for (name, value) in &self.0 {
            let name = format!("${{{name}}}");
            pair.path = pair.path.replace(&name, value);
            pair.body = pair.body.replace(&name, value);
        }
        pair
    }

    fn keep(&mut self, pair: &Pair, ours: &Answer) {
        for (name, pointer) in &pair.keep {
            let value = ours.body.first().and_then(|body| body.pointer(pointer));
            let value = value.and_then(Value::as_str).unwrap_or_default();
            self.0.insert(name.clone(), value.to_owned());
        }
    }
}

async fn ask(service: &InProcess, pair: &Pair) -> Answer {
    let mut request = Request::builder()
        .method(pair.method.as_str())
        .uri(&pair.path)
        .header("User-Agent", "golden/1");
    for (name, value) in &pair.headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(pair.body.clone().into())).unwrap();
    let (parts, body) = service.clone().oneshot(request).await.unwrap().into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    Answer {
        status: parts.status.as_u16(),
        headers: pairs::COMPARED_HEADERS.map(|name| all(&parts.headers, name)).to_vec(),
        body: pairs::body(String::from_utf8_lossy(&bytes).lines()),
    }
}

fn all(headers: &HeaderMap, name: &str) -> Vec<String> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

/// Where two answers differ: a place, and both values.
fn differences(theirs: &Answer, ours: &Answer) -> Vec<(String, String)> {
    let mut found = Vec::new();
    if theirs.status != ours.status {
        found.push(("status".to_owned(), format!("{} not {}", theirs.status, ours.status)));
    }
    for ((name, theirs), ours) in
        pairs::COMPARED_HEADERS.iter().zip(&theirs.headers).zip(&ours.headers)
    {
        if theirs != ours {
            found.push(((*name).to_owned(), format!("{theirs:?} not {ours:?}")));
        }
    }
    let (theirs, ours) = (normal::lines(&theirs.body), normal::lines(&ours.body));
    compare("", &theirs, &ours, &mut found);
    found
}

fn compare(at: &str, theirs: &Value, ours: &Value, found: &mut Vec<(String, String)>) {
    match (theirs, ours) {
        (Value::Object(a), Value::Object(b)) => {
            let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let at = format!("{at}/{key}");
                match (a.get(key), b.get(key)) {
                    (Some(a), Some(b)) => compare(&at, a, b, found),
                    (a, b) => found.push((at, format!("{} not {}", shown(a), shown(b)))),
                }
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                compare(&format!("{at}/{index}"), a, b, found);
            }
        }
        (a, b) if a != b => {
            let at = if at.is_empty() { "body" } else { at };
            found.push((at.to_owned(), format!("{a}\n      not {b}")));
        }
        (_, _) => {}
    }
}

fn shown(value: Option<&Value>) -> String {
    value.map_or("nothing".to_owned(), Value::to_string)
}

/// What is wrong with a pair: differences that it does not name, and named ones that are none.
fn judged(pair: &Pair, found: Vec<(String, String)>) -> impl Iterator<Item = String> {
    let covers = |named: &str, at: &str| {
        at == named || at.strip_prefix(named).is_some_and(|rest| rest.starts_with('/'))
    };
    let stale: Vec<String> = pair
        .differs_at
        .iter()
        .filter(|named| !found.iter().any(|(at, _)| covers(named, at)))
        .map(|named| format!("is said to differ at {named} and does not"))
        .collect();
    let named = pair.differs_at.clone();
    found
        .into_iter()
        .filter(move |(at, _)| !named.iter().any(|named| covers(named, at)))
        .map(|(at, what)| format!("{at}: {what}"))
        .chain(stale)
}

#[test]
fn every_file_is_replayed_and_says_where_it_comes_from() {
    let mut files: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    files.sort();
    assert_eq!(files, FILES);
    for file in files {
        let text = std::fs::read_to_string(folder().join(format!("{file}.golden"))).unwrap();
        assert!(text.starts_with("# Recorded against kube-apiserver v1.35."), "{file}");
        assert!(pairs::read(&text).len() > 15, "{file}");
    }
}

#[tokio::test]
async fn who_may_do_what() {
    replay("access").await;
}

#[tokio::test]
async fn admission_plugins() {
    replay("admission").await;
}

#[tokio::test]
async fn kinds_without_a_namespace() {
    replay("cluster").await;
}

#[tokio::test]
async fn a_namespaced_kind_with_every_verb() {
    replay("configmaps").await;
}

#[tokio::test]
async fn definitions_and_their_objects() {
    replay("custom").await;
}

#[tokio::test]
async fn which_kinds_there_are() {
    replay("discovery").await;
}

#[tokio::test]
async fn pods_and_their_subresources() {
    replay("pods").await;
}

#[tokio::test]
async fn secrets() {
    replay("secrets").await;
}

#[tokio::test]
async fn services_and_the_way_in() {
    replay("services").await;
}

#[tokio::test]
async fn kinds_that_make_pods() {
    replay("workloads").await;
}
