//! The requests of the last while, found by their ids. Nothing here waits.
//!
//! Whoever answers requests notes each in a [`Seen`]; one ring per process keeps the last of them, and what they were
//! answered by. A request has an id from the first part that sees it on, which writes it into the request for all that
//! come after it.
//!
//! *Source:* `x-request-id` has no standard; nginx, Envoy and HAProxy agree on its name, and that it is handed on.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, Uri};
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry_sdk::trace::{IdGenerator as _, RandomIdGenerator};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::headers;
use crate::post::now_nanos;
use crate::request_lines::RequestLines;
use crate::span::method;

/// Requests that one process remembers; with one more it forgets the oldest. Some 500 bytes each, so that the whole
/// costs about four megabytes, and twelve at most, when strangers choose the longest texts for all.
pub const REQUESTS_KEPT_MAX: usize = 8192;

/// Requests that are found by one id: whoever gives all of theirs the same gets the last ones.
pub const REQUESTS_FOUND_MAX: usize = 64;

/// Bytes of an id; a longer one is replaced.
const ID_BYTES_MAX: usize = 128;

/// Bytes that are kept of a path and of a host name, which strangers choose.
const TEXT_BYTES_MAX: usize = 256;

/// Bytes that are kept of what has a length of its own: the id of a trace, a method.
const WORD_BYTES_MAX: usize = 32;

const NAME: HeaderName = HeaderName::from_static("x-request-id");

/// The id of a request: letters, digits and `-_.=+/@~`, at most 128 of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RequestId(
    // Its own copy: a header's value keeps alive all that was read with it.
    Arc<str>,
);

/// A text that is no id of a request.
#[derive(Debug, thiserror::Error)]
#[error("a request's id has 1 to {ID_BYTES_MAX} letters, digits and -_.=+/@~")]
pub struct NoRequestId;

impl RequestId {
    /// The id of a request with these headers, which name it from now on: the one that they named, else the id of the
    /// trace that they are part of, else a new one.
    pub fn take(headers: &mut HeaderMap) -> Self {
        let named = headers.get(NAME).and_then(|value| value.to_str().ok());
        if let Some(named) = named.filter(|named| is_id(named.as_bytes())) {
            return Self(named.into());
        }
        let text = trace(headers)
            .unwrap_or_else(|| RandomIdGenerator::default().new_trace_id().to_string());
        let made = Self(text.into());
        headers.insert(NAME, made.value());
        made
    }

    /// Names it in headers that name none.
    pub fn write(&self, headers: &mut HeaderMap) {
        headers.entry(NAME).or_insert_with(|| self.value());
    }

    fn value(&self) -> HeaderValue {
        // What an id is made of is always a value.
        HeaderValue::from_str(&self.0).unwrap_or(HeaderValue::from_static("0"))
    }

    /// Gives it as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RequestId {
    type Error = NoRequestId;

    fn try_from(text: String) -> Result<Self, NoRequestId> {
        if !is_id(text.as_bytes()) {
            return Err(NoRequestId);
        }
        Ok(Self(text.into()))
    }
}

impl From<RequestId> for String {
    fn from(id: RequestId) -> Self {
        id.as_str().to_owned()
    }
}

fn is_id(text: &[u8]) -> bool {
    let is_fit = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.=+/@~".contains(byte);
    (1..=ID_BYTES_MAX).contains(&text.len()) && text.iter().all(is_fit)
}

/// The trace that headers name, in hexadecimal.
fn trace(headers: &HeaderMap) -> Option<String> {
    if !headers.contains_key("traceparent") {
        return None;
    }
    let context = headers::read(headers);
    let span = context.span().span_context().clone();
    span.is_valid().then(|| span.trace_id().to_string())
}

/// What is kept of one request. Neither its query nor its other headers, which may hold secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// Its id.
    pub id: RequestId,
    /// The trace that it belongs to, in hexadecimal.
    pub trace: Option<String>,
    /// When it came, in microseconds since 1970.
    pub began_micros: u64,
    /// Microseconds from then to its end.
    pub took_micros: u64,
    /// Its method; `_OTHER` for one that is not known.
    pub method: Cow<'static, str>,
    /// The host that it was for, by its own words.
    pub host: Option<String>,
    /// Its path.
    pub path: String,
    /// The status that it was answered with; `None` when nobody waited for it any more.
    pub status: Option<u16>,
    /// Who asked; `None` for a neighbour in the same process.
    pub peer: Option<SocketAddr>,
    /// It says of itself that it is a kubelet's probe.
    pub is_probe: bool,
    /// At a way in: the rule that took it.
    pub rule: Option<String>,
    /// At a way in: who answered it.
    pub backend: Option<SocketAddr>,
}

impl Seen {
    /// Begins with the head of a request, which names its id from now on.
    pub fn begin(
        (method_of, uri): (&Method, &Uri),
        headers: &mut HeaderMap,
        peer: Option<SocketAddr>,
    ) -> Self {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let host = uri.host().or_else(|| text(http::header::HOST)).map(cut);
        let is_probe = text(USER_AGENT).is_some_and(|agent| agent.starts_with("kube-probe/"));
        Self {
            id: RequestId::take(headers),
            trace: trace(headers),
            began_micros: now_nanos() / 1000,
            took_micros: 0,
            method: Cow::Borrowed(method(method_of)),
            host,
            path: cut(uri.path()),
            status: None,
            peer,
            is_probe,
            rule: None,
            backend: None,
        }
    }

    /// The same with its end.
    #[must_use]
    pub fn ended(self, status: Option<u16>, took: Duration) -> Self {
        Self { status, took_micros: u64::try_from(took.as_micros()).unwrap_or(u64::MAX), ..self }
    }

    /// The same as one may keep it that came from elsewhere: texts are no longer than here, and take no more memory than
    /// they are long; it has ended by now.
    #[must_use]
    pub fn bounded(self) -> Self {
        let now_micros = now_nanos() / 1000;
        let began_micros = self.began_micros.min(now_micros);
        let word = |text: &str| cut_to(text, WORD_BYTES_MAX).to_owned();
        Self {
            began_micros,
            took_micros: self.took_micros.min(now_micros - began_micros),
            path: cut(&self.path),
            method: Cow::Owned(word(&self.method)),
            host: self.host.as_deref().map(cut),
            trace: self.trace.as_deref().map(word),
            rule: self.rule.as_deref().map(cut),
            ..self
        }
    }

    fn is(&self, id: &str) -> bool {
        self.id.as_str() == id || self.trace.as_deref() == Some(id)
    }
}

fn cut(text: &str) -> String {
    cut_to(text, TEXT_BYTES_MAX).to_owned()
}

/// The beginning of a text, no more bytes than this.
pub(crate) fn cut_to(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max)).unwrap_or_default()
}

/// Takes requests that have ended.
#[derive(Clone)]
pub struct RequestSink(Arc<dyn Fn(Seen) + Send + Sync>);

impl RequestSink {
    /// A sink that does this with each; it must not wait.
    pub fn new(take: impl Fn(Seen) + Send + Sync + 'static) -> Self {
        Self(Arc::new(take))
    }

    /// Takes one.
    pub fn take(&self, seen: Seen) {
        (self.0)(seen);
    }
}

impl std::fmt::Debug for RequestSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RequestSink")
    }
}

/// The last requests of a process, each with what answered it, and the last lines that were written for such. Cheap to
/// clone.
#[derive(Debug)]
pub struct Requests<T>(Arc<Both<T>>);

#[derive(Debug)]
struct Both<T> {
    ring: Mutex<Ring<T>>,
    lines: Mutex<RequestLines<T>>,
}

#[derive(Debug)]
struct Ring<T> {
    kept: VecDeque<(Seen, Arc<T>)>,
    since_micros: u64,
}

/// How far back a process remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reach {
    /// Requests that it remembers now.
    pub kept: usize,
    /// Requests that it remembers at most.
    pub kept_max: usize,
    /// It has forgotten none that ended after this, in microseconds since 1970.
    pub since_micros: u64,
}

impl<T> Clone for Requests<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Requests<T> {
    fn default() -> Self {
        let since_micros = now_nanos() / 1000;
        let ring = Mutex::new(Ring { kept: VecDeque::new(), since_micros });
        Self(Arc::new(Both { ring, lines: Mutex::default() }))
    }
}

impl<T> Requests<T> {
    /// Remembers one, and forgets the oldest when there are too many.
    pub fn keep(&self, seen: Seen, of: &Arc<T>) {
        let mut ring = self.0.ring.lock();
        if ring.kept.len() >= REQUESTS_KEPT_MAX
            && let Some((old, _)) = ring.kept.pop_front()
        {
            let ended = old.began_micros.saturating_add(old.took_micros);
            ring.since_micros = ring.since_micros.max(ended);
        }
        ring.kept.push_back((seen, of.clone()));
    }

    /// Those with this id, or of the trace with this id; the last [`REQUESTS_FOUND_MAX`], the oldest first.
    #[must_use]
    pub fn find(&self, id: &str) -> Vec<(Seen, Arc<T>)> {
        let ring = self.0.ring.lock();
        let found = ring.kept.iter().rev().filter(|(seen, _)| seen.is(id));
        let mut found: Vec<_> = found.take(REQUESTS_FOUND_MAX).cloned().collect();
        found.reverse();
        found
    }

    /// Says how far back it remembers.
    #[must_use]
    pub fn reach(&self) -> Reach {
        let ring = self.0.ring.lock();
        Reach {
            kept: ring.kept.len(),
            kept_max: REQUESTS_KEPT_MAX,
            since_micros: ring.since_micros,
        }
    }

    /// Remembers a line, with its time and stream, that was written for the request with this id; forgets the oldest
    /// when they are more than [`crate::REQUEST_LINES_BYTES_MAX`].
    pub fn keep_line(&self, id: RequestId, line: &str, of: &Arc<T>) {
        self.0.lines.lock().keep(id, line, of);
    }

    /// The lines that this one wrote for requests with this id: the first [`crate::REQUEST_LINES_FOUND_MAX`].
    #[must_use]
    pub fn lines(&self, id: &RequestId, of: &Arc<T>) -> Vec<String> {
        self.0.lines.lock().find(id, of)
    }

    /// No line is forgotten that was written after this, in microseconds since 1970.
    #[must_use]
    pub fn lines_since_micros(&self) -> u64 {
        self.0.lines.lock().since_micros()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    fn seen(headers: &mut HeaderMap) -> Seen {
        Seen::begin((&Method::GET, &Uri::from_static("http://shop.test/a?secret=1")), headers, None)
    }

    #[test]
    fn a_request_has_one_id_from_the_first_who_sees_it() {
        let check = |lines: &[(&'static str, &str)], wanted: Option<&str>| {
            let mut headers: HeaderMap = lines
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
                .collect();
            let first = RequestId::take(&mut headers);
            assert_eq!(RequestId::take(&mut headers), first, "{lines:?}");
            assert_ne!(headers[NAME].as_bytes().as_ptr(), first.as_str().as_ptr(), "it is shared");
            assert_eq!(headers.get_all(NAME).iter().count(), 1);
            match wanted {
                Some(wanted) => assert_eq!(first.as_str(), wanted),
                None => assert!(first.as_str().len() == 32 && first.as_str() != TRACE, "{first:?}"),
            }
        };
        let parent = format!("00-{TRACE}-b7ad6b7169203331-01");
        check(&[("x-request-id", "order-7/a")], Some("order-7/a"));
        check(&[("x-request-id", "order-7"), ("traceparent", &parent)], Some("order-7"));
        check(&[("traceparent", &parent)], Some(TRACE));
        check(&[("x-request-id", "two words")], None);
        check(&[("x-request-id", "tag:7")], None);
        check(&[("x-request-id", "")], None);
        check(&[("x-request-id", &"x".repeat(ID_BYTES_MAX + 1))], None);
        check(&[], None);
    }

    #[test]
    fn what_is_kept_of_a_request_is_bounded_and_no_secret() {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static("kube-probe/1.35"));
        let one = seen(&mut headers);
        assert!(one.is_probe);
        let text = serde_json::to_string(&one).unwrap();
        assert!(text.contains(r#""host":"shop.test","path":"/a""#) && !text.contains("secret"));
        assert_eq!(serde_json::from_str::<Seen>(&text).unwrap(), one);
        let long = || "é".repeat(9999);
        let texts = [Some(long()), Some(long()), Some(long())];
        let [host, trace, rule] = texts;
        let huge = Seen { path: long(), method: long().into(), host, trace, rule, ..one };
        let short = huge.bounded();
        let [host, trace, rule] = [&short.host, &short.trace, &short.rule].map(Option::as_ref);
        let Cow::Owned(method) = &short.method else { panic!("{short:?}") };
        assert_eq!((short.path.len(), method.len()), (TEXT_BYTES_MAX, WORD_BYTES_MAX));
        let texts = [Some(&short.path), host, rule, trace, Some(method)];
        let capacity: usize = texts.into_iter().flatten().map(String::capacity).sum();
        assert_eq!(capacity, 3 * TEXT_BYTES_MAX + 2 * WORD_BYTES_MAX);
        let each = size_of::<(Seen, Arc<()>)>() + ID_BYTES_MAX + 2 * size_of::<usize>() + capacity;
        assert!(each * REQUESTS_KEPT_MAX <= 12 << 20, "{each}");
        let text = text.replace(short.id.as_str(), "no id");
        assert!(serde_json::from_str::<Seen>(&text).is_err());
    }

    #[test]
    fn what_comes_from_elsewhere_has_ended_by_now() {
        let begin = now_nanos() / 1000;
        let one = seen(&mut HeaderMap::new());
        for (began_micros, took_micros) in [(u64::MAX, 1), (u64::MAX, u64::MAX), (7, u64::MAX)] {
            let one = Seen { began_micros, took_micros, ..one.clone() }.bounded();
            let ended = one.began_micros + one.took_micros;
            assert!((begin..=now_nanos() / 1000).contains(&ended), "{one:?}");
        }
        let true_one = Seen { began_micros: 7, took_micros: 5, ..one };
        assert_eq!(true_one.clone().bounded(), true_one);
    }

    #[test]
    fn one_more_than_is_kept_is_forgotten_and_said_so() {
        let requests = Requests::default();
        let (of, begin) = (Arc::new("web"), requests.reach().since_micros);
        let named = |id: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(NAME, HeaderValue::try_from(id).unwrap());
            seen(&mut headers).ended(Some(200), Duration::from_micros(5))
        };
        requests.keep(named("first"), &of);
        for _ in 1..REQUESTS_KEPT_MAX {
            requests.keep(named("other"), &of);
        }
        assert_eq!(requests.find("first").len(), 1);
        assert_eq!(requests.find("other").len(), REQUESTS_FOUND_MAX);
        assert_eq!(requests.reach().since_micros, begin, "nothing is forgotten yet");
        requests.keep(named("last"), &of);
        assert!(requests.find("first").is_empty());
        let reach = requests.reach();
        assert_eq!((reach.kept, reach.kept_max), (REQUESTS_KEPT_MAX, REQUESTS_KEPT_MAX));
        assert!(reach.since_micros >= begin + 5);
        let (found, by) = requests.find("last").remove(0);
        assert_eq!((found.status, found.took_micros, *by), (Some(200), 5, "web"));
    }
}
