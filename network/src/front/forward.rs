//! One request on its way: the rule that takes it, a backend, the answer.
//!
//! A backend that does not take the connection is passed over for another; a request that a waiting
//! connection has not sent, or that is safe to repeat, is sent again over a fresh one. One that is safe to
//! repeat and that a backend took without an answer is sent to another one, once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coracle_telemetry::{RequestId, Seen};
use http::header::{EXPECT, HOST, LOCATION};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;

use super::body::{Body, answer, boxed, empty, full};
use super::exchange::{Failed, exchange};
use super::filter::{Arrived, Filter, Mirror};
use super::headers::{strip_hop, tell_client, upgrade_of};
use super::hostname::host_of;
use super::routes::{Backend, Hit, Protocol, Target};
use super::state::Front;
use super::upgrade;
use super::upload::{Progress, Upload};

/// Backends that are tried for one request.
const BACKENDS_TRIED_MAX: usize = 8;

/// Bytes of a body that is copied to a mirror: it has to be held as a whole. Larger requests, and
/// those that do not say their length, have no copy.
const MIRRORED_BYTES_MAX: u64 = 64 * 1024;

/// Bytes of a body that nobody wants which are read all the same before the answer, and the time for it.
const UNREAD_BYTES_MAX: u64 = MIRRORED_BYTES_MAX;

/// As [`UNREAD_BYTES_MAX`]: whoever sends slower gets the answer in the middle of it.
const UNREAD_MAX: Duration = Duration::from_millis(500);

/// Time for a mirror to answer, whose answer nobody waits for.
const MIRROR_MAX: Duration = Duration::from_secs(30);

/// Where a request came in, and from whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct From {
    /// The client.
    pub(super) client: SocketAddr,
    /// The port by which it knows this entrance.
    pub(super) port: u16,
    /// Whether it spoke TLS.
    pub(super) secure: bool,
}

/// Who answered a request; beside the answer on its way through here.
#[derive(Debug, Clone, Copy)]
struct AnsweredBy(SocketAddr);

/// Answers a request. It has an id from here on, which the answer names, too.
#[expect(clippy::disallowed_methods, reason = "says how long a request took")]
pub(super) async fn serve(
    front: &Arc<Front>,
    from: From,
    request: Request<Incoming>,
) -> Response<Body> {
    let (mut head, body) = request.into_parts();
    let began = Instant::now();
    let mut seen = Seen::begin((&head.method, &head.uri), &mut head.headers, Some(from.client));
    head.extensions.insert(seen.id.clone());
    let (mut answered, rule) = answer_to(front, from, head, body).await;
    seen.id.write(answered.headers_mut());
    seen.backend = answered.extensions_mut().remove().map(|AnsweredBy(backend)| backend);
    seen.rule = rule;
    front.seen(seen.ended(Some(answered.status().as_u16()), began.elapsed()));
    answered
}

/// Gives the answer, and the rule that took the request.
async fn answer_to(
    front: &Arc<Front>,
    from: From,
    mut head: Parts,
    body: Incoming,
) -> (Response<Body>, Option<String>) {
    let line = format!("{} {}", head.method, head.uri);
    let host = match take_host(&mut head) {
        Ok(host) => host,
        Err(why) => return (answer(StatusCode::BAD_REQUEST, why), None),
    };
    let by = if from.secure { Protocol::Https } else { Protocol::Http };
    let hit = front.routes().find((from.port, by), &host, &head);
    let expects = head.headers.contains_key(EXPECT);
    let mut body = Some(body);
    let answered = match &hit {
        Some(hit) => follow(front, from, (hit, &host), head, &mut body).await,
        None => answer(StatusCode::NOT_FOUND, "no rule for this host and path"),
    };
    if let Some(unread) =
        body.filter(|body| !expects && body.size_hint().lower() <= UNREAD_BYTES_MAX)
    {
        // A client may take an answer that overtakes what it sends for a broken stream.
        let _rest_of_it = tokio::time::timeout(UNREAD_MAX, drain(boxed(unread))).await;
    }
    let rule = hit.map(|hit| hit.rule.origin.to_string());
    tracing::debug!(target: "coracle_access", client = %from.client.ip(), host, request = line,
        status = answered.status().as_u16(), rule, "answered");
    (answered, rule)
}

/// The host name that is asked for, which from here on stands in the header alone.
fn take_host(head: &mut Parts) -> Result<String, &'static str> {
    if let Some(authority) = head.uri.authority() {
        let value = HeaderValue::try_from(authority.as_str());
        head.headers.insert(HOST, value.map_err(|_| "the host is no host")?);
    }
    let path = head.uri.path_and_query().cloned();
    let path = path.ok_or("the target must be a path")?;
    head.uri = path.into();
    match head.headers.get(HOST).map(HeaderValue::to_str) {
        Some(Ok(authority)) => Ok(host_of(authority)),
        Some(Err(_)) => Err("the host is no host"),
        None => Ok(String::new()),
    }
}

async fn follow(
    front: &Arc<Front>,
    from: From,
    (hit, host): (&Hit, &str),
    mut head: Parts,
    body: &mut Option<Incoming>,
) -> Response<Body> {
    let rule = &hit.rule;
    if !rule.admits(from.client.ip()) {
        return answer(StatusCode::FORBIDDEN, "this client may not");
    }
    let most = rule.body_bytes_max;
    if body.as_ref().is_some_and(|body| body.size_hint().lower() > most) {
        return answer(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than allowed here");
    }
    let arrived = Arrived { host, secure: from.secure, port: from.port, prefix: &hit.prefix };
    if let Some(redirected) = redirect(&rule.filters, &head, &arrived) {
        return redirected;
    }
    let upgrade = upgrade_of(&head);
    strip_hop(&mut head.headers);
    if let Some(id) = head.extensions.get::<RequestId>() {
        id.write(&mut head.headers);
    }
    tell_client(&mut head.headers, from.client.ip(), from.secure);
    change_request(&rule.filters, &mut head, &hit.prefix);
    let backend = match rule.target(rand::random()) {
        Some(Target::Service(backend)) => backend,
        Some(Target::Nothing(status)) => {
            return answer(*status, "the rule's backend does not exist");
        }
        None => return answer(StatusCode::INTERNAL_SERVER_ERROR, "the rule has no backend"),
    };
    if let Some(redirected) = redirect(&backend.filters, &head, &arrived) {
        return redirected;
    }
    change_request(&backend.filters, &mut head, &hit.prefix);
    let Some(body) = body.take() else {
        return answer(StatusCode::INTERNAL_SERVER_ERROR, "the request was answered before");
    };
    let way = async {
        if let Some(protocol) = upgrade {
            return upgrade::through(front, from, backend, (head, body, protocol)).await;
        }
        let limit = usize::try_from(most).unwrap_or(usize::MAX);
        let all = rule.filters.iter().chain(&backend.filters);
        let (head, body) = match mirror(front, from, all, head, body).await {
            Ok((head, Copied::Whole(body))) => (head, body),
            Ok((head, Copied::Stream(body))) if body.is_end_stream() => (head, empty()),
            Ok((head, Copied::Stream(body))) => (head, boxed(Limited::new(body, limit))),
            Err(why) => return answer(StatusCode::BAD_REQUEST, &why),
        };
        let each = rule.timeouts.backend_request;
        send(front, from, backend, Request::from_parts(head, body), each).await
    };
    let mut answered = match rule.timeouts.request {
        Some(most) => match tokio::time::timeout(most, way).await {
            Ok(answered) => answered,
            Err(_elapsed) => answer(StatusCode::GATEWAY_TIMEOUT, "no answer in time"),
        },
        None => way.await,
    };
    for filter in rule.filters.iter().chain(&backend.filters) {
        if let Filter::ResponseHeaders(edit) = filter {
            edit.apply(answered.headers_mut());
        }
    }
    answered
}

fn redirect(filters: &[Filter], head: &Parts, arrived: &Arrived<'_>) -> Option<Response<Body>> {
    let redirect = filters.iter().find_map(|filter| match filter {
        Filter::Redirect(redirect) => Some(redirect),
        Filter::RequestHeaders(_)
        | Filter::ResponseHeaders(_)
        | Filter::Rewrite(_)
        | Filter::Mirror(_) => None,
    })?;
    let location = HeaderValue::try_from(redirect.location(head, arrived)).ok()?;
    let mut answered = Response::new(empty());
    *answered.status_mut() = redirect.status;
    answered.headers_mut().insert(LOCATION, location);
    Some(answered)
}

fn change_request(filters: &[Filter], head: &mut Parts, prefix: &str) {
    for filter in filters {
        match filter {
            Filter::RequestHeaders(edit) => edit.apply(&mut head.headers),
            Filter::Rewrite(rewrite) => rewrite.apply(head, prefix),
            Filter::ResponseHeaders(_) | Filter::Redirect(_) | Filter::Mirror(_) => {}
        }
    }
}

/// Sends a request to a backend of a Service port, to another one if that does not take it.
pub(super) async fn send(
    front: &Arc<Front>,
    from: From,
    backend: &Backend,
    request: Request<Body>,
    each: Option<Duration>,
) -> Response<Body> {
    let (mut request, upload) = Upload::watch(request);
    let mut refused = Vec::new();
    let mut why = "no backend is ready".to_owned();
    let mut lost = false;
    while refused.len() < BACKENDS_TRIED_MAX {
        let Some(address) = front.pick(backend, from.client.ip(), &refused).await else { break };
        if let Err(closed) = front.may_enter(from.client, address) {
            tracing::debug!(client = %from.client, %address, closed, "a request was refused");
            return answer(StatusCode::FORBIDDEN, "a network policy is in the way");
        }
        let exchanged = exchange(front, (address, from.client), backend.http2, request);
        let mut exchanged = std::pin::pin!(exchanged);
        let Some(exchanged) = within(each, exchanged.as_mut()).await else {
            // The exchange is still there and holds the upload, whose client may be the slow one.
            if upload.progress() == Progress::Over {
                front.answered(address, false);
            }
            return answer(StatusCode::GATEWAY_TIMEOUT, "the backend took too long");
        };
        match exchanged {
            Ok(mut answered) => {
                front.answered(address, !answered.status().is_server_error());
                answered.extensions_mut().insert(AnsweredBy(address));
                return answered;
            }
            Err(Failed::Unsent(back, error)) => {
                why = error.to_string();
                request = *back;
                refused.push(address);
            }
            Err(Failed::Lost(error, again)) => {
                tracing::debug!(%address, %error, "a backend gave no answer");
                if let Some(answered) = not_of_the_backend(&upload, &error) {
                    return answered;
                }
                front.answered(address, false);
                // The second time, it may be the request that no backend stands.
                let Some(again) = again.filter(|_| !lost) else { return no_answer() };
                lost = true;
                request = *again;
                refused.push(address);
            }
        }
    }
    if lost {
        return no_answer();
    }
    tracing::debug!(service = %backend.service, why, "no backend took a request");
    let mut answered = answer(StatusCode::SERVICE_UNAVAILABLE, "no backend is ready");
    answered.headers_mut().insert(http::header::RETRY_AFTER, HeaderValue::from_static("1"));
    answered
}

fn no_answer() -> Response<Body> {
    answer(StatusCode::BAD_GATEWAY, "the backend gave no answer")
}

/// Waits for as long as allowed.
async fn within<F: Future>(most: Option<Duration>, future: F) -> Option<F::Output> {
    match most {
        Some(most) => tokio::time::timeout(most, future).await.ok(),
        None => Some(future.await),
    }
}

/// Answers a request that came to nothing by no fault of the backend's, of which it then says nothing.
fn not_of_the_backend(upload: &Upload, error: &hyper::Error) -> Option<Response<Body>> {
    match upload.progress() {
        Progress::TooLarge => {
            let why = "the body is larger than allowed here";
            Some(answer(StatusCode::PAYLOAD_TOO_LARGE, why))
        }
        Progress::Broken => Some(answer(StatusCode::BAD_REQUEST, "the body broke off")),
        Progress::Underway | Progress::Over => error.is_user().then(no_answer),
    }
}

enum Copied {
    Whole(Body),
    Stream(Incoming),
}

/// Sends copies of a request to where its rule wants them, and gives it back.
async fn mirror<'a>(
    front: &Arc<Front>,
    from: From,
    filters: impl Iterator<Item = &'a Filter>,
    head: Parts,
    body: Incoming,
) -> Result<(Parts, Copied), String> {
    let hits: Vec<&Mirror> = filters
        .filter_map(|filter| match filter {
            Filter::Mirror(mirror) if mirror.is_hit(rand::random()) => Some(mirror),
            Filter::Mirror(_)
            | Filter::RequestHeaders(_)
            | Filter::ResponseHeaders(_)
            | Filter::Redirect(_)
            | Filter::Rewrite(_) => None,
        })
        .collect();
    let small = body.size_hint().upper().is_some_and(|most| most <= MIRRORED_BYTES_MAX);
    if hits.is_empty() || !small {
        return Ok((head, Copied::Stream(body)));
    }
    let bytes = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
    for mirror in hits {
        let copy = Request::from_parts(head.clone(), full(bytes.clone()));
        let (front, backend) = (Arc::clone(front), mirror.backend.clone());
        tokio::spawn(async move {
            let answered = send(&front, from, &backend, copy, Some(MIRROR_MAX)).await;
            drain(answered.into_body()).await;
        });
    }
    Ok((head, Copied::Whole(full(bytes))))
}

/// Reads what nobody wants, so that its connection is of use again; not all of it if it is much.
async fn drain(mut body: Body) {
    let mut read = 0;
    while read < MIRRORED_BYTES_MAX
        && let Some(Ok(frame)) = body.frame().await
    {
        read += frame.data_ref().map_or(0, |data| data.len() as u64);
    }
}

/// Whether a request may be sent twice: it changes nothing and has no body.
pub(super) fn is_repeatable(request: &Request<Body>) -> bool {
    let safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    safe && request.body().is_end_stream()
}

#[cfg(test)]
mod tests;
