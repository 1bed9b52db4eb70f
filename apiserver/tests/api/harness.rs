//! Runs a script of requests and writes down what came back.
//!
//! A script is requests separated by empty lines: `METHOD PATH [| POINTER…]`, then `Header: value` lines, then the
//! body. What is written per request: the status code, `Warning` headers, and the body as compact JSON, or only the
//! values at the JSON pointers. Whole bodies come without `managedFields`. Uids, times and revisions are replaced, because they differ from run to run.

use std::sync::Arc;

use bytes::Bytes;
use coracle_apiserver::authn::{Tokens, UserInfo};
use coracle_apiserver::body::Body;
use coracle_apiserver::{ApiServer, Config, InProcess, NodeDialer};
use coracle_store::Store;
use expect_test::Expect;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tower::ServiceExt;

/// A server with its own folder.
pub(crate) struct Session {
    pub(crate) server: ApiServer,
    pub(crate) store: Store,
    pub(crate) folder: tempfile::TempDir,
    service: InProcess,
}

impl Session {
    /// Starts a server, asked as an administrator.
    pub(crate) async fn start() -> Session {
        Session::with(|_| {}).await
    }

    /// Starts a server with its nodes behind a dialer.
    pub(crate) async fn with_nodes(nodes: Arc<dyn NodeDialer>) -> Session {
        Session::with(|config| config.nodes = nodes).await
    }

    /// Starts a server over a store that another one filled.
    pub(crate) async fn over(store: Store) -> Session {
        Session::of(store, |_| {}).await
    }

    /// Starts a server with a changed configuration.
    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Session {
        Session::of(Store::memory(), change).await
    }

    async fn of(store: Store, change: impl FnOnce(&mut Config)) -> Session {
        let folder = tempfile::tempdir().unwrap();
        let mut config =
            Config::new("10.0.0.1:6443".parse().unwrap(), folder.path().join("registry"));
        config.tokens = Tokens::parse("secret,alice,1\nadmin,root,2,system:masters\n").unwrap();
        change(&mut config);
        let server = ApiServer::new(config, store.clone()).await.unwrap();
        let service = server.in_process(UserInfo::new("admin", ["system:masters"]));
        Session { server, store, folder, service }
    }

    /// Sends a request of a script.
    pub(crate) async fn send(&self, text: &str) -> Response<Body> {
        self.service.clone().oneshot(parse(text).0).await.unwrap()
    }

    /// Sends a request and reads its JSON answer.
    pub(crate) async fn value(&self, text: &str) -> Value {
        let answer = self.send(text).await;
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&body).unwrap()
    }

    /// Runs a script; gives what came back.
    pub(crate) async fn run(&self, script: &str) -> String {
        self.run_by(self.service.clone(), script).await
    }

    /// Runs a script in the name of a user; gives what came back.
    pub(crate) async fn run_as(&self, user: UserInfo, script: &str) -> String {
        self.run_by(self.server.in_process(user), script).await
    }

    async fn run_by(&self, service: InProcess, script: &str) -> String {
        let mut out = String::new();
        for text in script.trim().split("\n\n") {
            let (request, pointers) = parse(text);
            let answer = service.clone().oneshot(request).await.unwrap();
            out.push_str(&written(answer, &pointers).await);
            out.push('\n');
        }
        out
    }
}

/// Runs a script on a fresh server and compares what came back.
pub(crate) async fn check(script: &str, expected: Expect) {
    let session = Session::start().await;
    expected.assert_eq(&session.run(script).await);
}

/// Runs a script in the name of a user without groups and compares what came back.
pub(crate) async fn check_as(session: &Session, user: &str, script: &str, expected: Expect) {
    expected.assert_eq(&session.run_as(UserInfo::new(user, []), script).await);
}

fn parse(text: &str) -> (Request<Full<Bytes>>, Vec<String>) {
    let mut lines = text.trim().lines().map(str::trim).peekable();
    let first = lines.next().unwrap();
    let (request_line, pointers) = first.split_once(" | ").unwrap_or((first, ""));
    let (method, uri) = request_line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(uri.trim());
    while let Some(line) = lines.peek() {
        let is_header = line.split_once(": ").is_some_and(|(name, _)| {
            !name.is_empty()
                && name.chars().all(|c| c.is_ascii_alphabetic() || c == '-')
                && name.contains(char::is_uppercase)
        });
        let Some((name, value)) = line.split_once(": ").filter(|_| is_header) else { break };
        request = request.header(name, value);
        lines.next();
    }
    let body: Vec<&str> = lines.collect();
    let pointers = pointers.split_whitespace().map(str::to_owned).collect();
    (request.body(Full::new(Bytes::from(body.join("\n")))).unwrap(), pointers)
}

async fn written(answer: Response<Body>, pointers: &[String]) -> String {
    let (parts, body) = answer.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let mut out = parts.status.as_u16().to_string();
    for warning in parts.headers.get_all("warning") {
        out.push_str(&format!("\n  ! {}", warning.to_str().unwrap()));
    }
    let Ok(mut value) = serde_json::from_slice::<Value>(&bytes) else {
        return format!("{out} {}", normal(&String::from_utf8_lossy(&bytes)));
    };
    if pointers.is_empty() || parts.status.as_u16() >= 300 {
        without_owners(&mut value);
        let shown = if value["kind"] == "Status" { status(&value) } else { value.to_string() };
        return format!("{out} {}", normal(&shown));
    }
    for pointer in pointers {
        let found = found(&value, pointer).map_or("-".to_owned(), Value::to_string);
        out.push_str(&format!("\n  {pointer} {}", normal(&found)));
    }
    out
}

/// What a pointer shows: a JSON pointer (RFC 6901), but an entry of `managedFields` is named by its manager. The entries'
/// order tells whether a second began between two writes.
fn found<'a>(value: &'a Value, pointer: &str) -> Option<&'a Value> {
    let Some(manager) = pointer.strip_prefix("/metadata/managedFields/") else {
        return value.pointer(pointer);
    };
    let (manager, rest) = manager.split_once('/').unwrap_or((manager, ""));
    let entries = value.pointer("/metadata/managedFields")?.as_array()?;
    let entry = entries.iter().find(|entry| entry["manager"] == manager)?;
    if rest.is_empty() { Some(entry) } else { entry.pointer(&format!("/{rest}")) }
}

/// Leaves out `managedFields`, which every object has and few tests are about.
fn without_owners(value: &mut Value) {
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    for list in ["items", "rows"] {
        for item in value.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            without_owners(if item.get("object").is_some() { &mut item["object"] } else { item });
        }
    }
}

/// A failure without the parts that all failures share.
fn status(value: &Value) -> String {
    let mut text = format!(
        "{}: {}",
        value["reason"].as_str().unwrap_or("Success"),
        value["message"].as_str().unwrap_or("")
    );
    if !value["details"].is_null() {
        text.push_str(&format!("\n  {}", value["details"]));
    }
    text
}

/// Replaces what differs from run to run.
fn normal(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let replaced = if is_uuid(rest) {
            Some((36, "UID"))
        } else if is_time(rest) {
            Some((20, "TIME"))
        } else if let Some((words, after)) = revision_at(rest) {
            let digits = after.bytes().take_while(u8::is_ascii_digit).count();
            out.push_str(words);
            rest = after;
            Some((digits, if digits > 0 { "RV" } else { "" }))
        } else {
            None
        };
        match replaced {
            Some((length, word)) => {
                out.push_str(word);
                rest = &rest[length..];
            }
            None => {
                let next = rest.chars().next().unwrap();
                out.push(next);
                rest = &rest[next.len_utf8()..];
            }
        }
    }
    out
}

/// The words before a revision, and what follows them: in JSON, in YAML, and in a message.
fn revision_at(text: &str) -> Option<(&'static str, &str)> {
    let words =
        ["\"resourceVersion\":\"", "resourceVersion: \"", "resource version: 99999, current: "];
    words.into_iter().find_map(|words| Some((words, text.strip_prefix(words)?)))
}

fn is_uuid(text: &str) -> bool {
    let pattern = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    text.len() >= 36
        && text
            .bytes()
            .zip(pattern.bytes())
            .all(|(b, p)| if p == b'-' { b == b'-' } else { b.is_ascii_hexdigit() })
}

fn is_time(text: &str) -> bool {
    let pattern = "dddd-dd-ddTdd:dd:ddZ";
    text.len() >= 20
        && text
            .bytes()
            .zip(pattern.bytes())
            .all(|(b, p)| if p == b'd' { b.is_ascii_digit() } else { b == p })
}

/// A header's value as text.
pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

/// The whole body of an answer, which must have this status.
pub(crate) async fn body_of(answer: Response<Body>, code: StatusCode) -> Bytes {
    assert_eq!(answer.status(), code);
    answer.into_body().collect().await.unwrap().to_bytes()
}
