//! Answers the kubelet's paths.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coracle_network::trace::{Question, Trace};
use futures::FutureExt as _;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use k8s_openapi::api::core::v1::ContainerStatus;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::configz::configz;
use super::select::{LogOptions, decode};
use super::{logs, stats};
use crate::clock::now;
use crate::effects::start::log_path;
use crate::effects::{Message, PodView, Shared};
use crate::requests;
use crate::streams;

/// Pieces of a log that wait for a slow reader.
const LOG_PIECES_MAX: usize = 8;

pub(crate) type Body = BoxBody<Bytes, Infallible>;

/// Answers one request.
pub(crate) async fn answer(shared: Arc<Shared>, mut request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let parts: Vec<String> = path.split('/').skip(1).map(decode).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    if let Some(answer) = streams::routes::answer(&shared, &parts, &mut request).await {
        return answer;
    }
    if request.method() != Method::GET {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is served");
    }
    match parts.as_slice() {
        ["healthz"] => health(&shared, "healthz").await,
        ["livez"] => health(&shared, "livez").await,
        ["readyz"] => health(&shared, "readyz").await,
        ["configz"] => json_answer(&configz(&shared.config)),
        ["pods"] => json_answer(&pods(&shared).await),
        ["stats", "summary"] => {
            json_answer(&summary(&shared, request.uri().query().unwrap_or_default()).await)
        }
        ["metrics"] => {
            let sample = stats::sample(&shared).await;
            let own = stats::kubelet(&sample, &shared.config.kubelet_version);
            let volumes = stats::volumes(&stats::disk_seen(&shared), sample.at);
            metrics(&(own + &volumes + &shared.runtime.network_metrics()))
        }
        ["metrics", "slis"] => metrics(&shared.checks.lock().text()),
        ["metrics", "resource"] => metrics(&stats::resource(&stats::sample(&shared).await)),
        ["metrics", "cadvisor"] => {
            let wanted = stats::Wanted::parse(request.uri().query().unwrap_or_default());
            metrics(&stats::cadvisor(&stats::sample(&shared).await, &wanted))
        }
        ["containerLogs", namespace, pod, container] => {
            let query = request.uri().query().unwrap_or_default().to_owned();
            match container_logs(&shared, namespace, pod, container, &query).await {
                Ok(pieces) => streams::logs::answer(&mut request, pieces),
                Err((code, message)) => text(code, &message),
            }
        }
        ["requests"] => match requests::find(&shared, &asked_id(request.uri())) {
            Some(found) => json_answer(&json!(found)),
            None => text(StatusCode::NOT_FOUND, "this host remembers no requests"),
        },
        ["trace", namespace, pod] => {
            let query = request.uri().query().unwrap_or_default();
            match trace(&shared, (namespace, pod), query).await {
                Ok(trace) => json_answer(&json!(trace)),
                Err((code, message)) => text(code, &message),
            }
        }
        _ => text(StatusCode::NOT_FOUND, "404 page not found\n"),
    }
}

type Refusal = (StatusCode, String);

/// How long the loop over the pods may take to answer before it counts as stuck.
///
/// *Source:* kubelet's check `syncloop` allows as much as two rounds of its own, which are a minute each.
const LOOP_ANSWERS_MAX: Duration = Duration::from_secs(30);

/// Answers a health check: that there is an answer at all, and that the loop over the pods goes round.
async fn health(shared: &Shared, endpoint: &'static str) -> Response<Body> {
    let nobody = Some((String::new(), String::new()));
    let goes_round = tokio::time::timeout(LOOP_ANSWERS_MAX, ask(shared, nobody)).await.is_ok();
    let mut checks = shared.checks.lock();
    checks.note(endpoint, "ping", true);
    checks.note(endpoint, "syncloop", goes_round);
    if goes_round {
        return text(StatusCode::OK, "ok");
    }
    let failed =
        format!("[+]ping ok\n[-]syncloop failed: reason withheld\n{endpoint} check failed\n");
    text(StatusCode::INTERNAL_SERVER_ERROR, &failed)
}

/// What is used; without walks over disks where the query says `only_cpu_and_memory=true`.
///
/// *Source:* the kubelet's `/stats/summary`.
async fn summary(shared: &Arc<Shared>, query: &str) -> Value {
    let rated = stats::with_rates(shared).await;
    if query.split('&').any(|pair| pair == "only_cpu_and_memory=true") {
        return stats::summary(&rated, None);
    }
    stats::summary(&rated, Some(&*stats::disk(shared).await))
}

/// The id of a request that is asked for: `id` of the query.
fn asked_id(uri: &http::Uri) -> String {
    let pairs = uri.query().unwrap_or_default().split('&');
    pairs.filter_map(|pair| pair.strip_prefix("id=")).map(decode).next().unwrap_or_default()
}

/// Traces a connection from a pod of this host.
async fn trace(
    shared: &Shared,
    (namespace, pod): (&str, &str),
    query: &str,
) -> Result<Trace, Refusal> {
    let question = Question::parse(query).map_err(|why| (StatusCode::BAD_REQUEST, why))?;
    let one = Some((namespace.to_owned(), pod.to_owned()));
    let view = ask(shared, one).await.into_iter().next();
    let view = view.ok_or_else(|| (StatusCode::NOT_FOUND, format!("pod \"{pod}\" not found")))?;
    Ok(shared.runtime.trace(&view.key, &question).await)
}

async fn container_logs(
    shared: &Arc<Shared>,
    namespace: &str,
    pod: &str,
    container: &str,
    query: &str,
) -> Result<mpsc::Receiver<Bytes>, Refusal> {
    let bad = |message: String| (StatusCode::BAD_REQUEST, message);
    let options = LogOptions::parse(query, now()).map_err(bad)?;
    let one = Some((namespace.to_owned(), pod.to_owned()));
    let view = ask(shared, one.clone())
        .await
        .into_iter()
        .next()
        .ok_or_else(|| (StatusCode::NOT_FOUND, format!("pod \"{pod}\" not found")))?;
    let life = life(&view, container, options.previous).map_err(bad)?;
    let path = log_path(&shared.config.data_dir, &view.key, container, life);
    let (name, asked) = (container.to_owned(), shared.clone());
    let is_live: logs::IsLive = Arc::new(move || {
        let (name, one, asked) = (name.clone(), one.clone(), asked.clone());
        async move { ask(&asked, one).await.iter().any(|view| is_running(view, &name, life)) }
            .boxed()
    });
    let (sender, receiver) = mpsc::channel(LOG_PIECES_MAX);
    tokio::spawn(async move {
        if let Err(error) = logs::stream(path.clone(), options, is_live, sender).await {
            tracing::debug!(?path, %error, "log stream ended");
        }
    });
    Ok(receiver)
}

/// Answers with the pieces of a log.
pub(crate) fn pieces(receiver: mpsc::Receiver<Bytes>) -> Response<Body> {
    let pieces = futures::stream::unfold(receiver, |mut receiver| async move {
        let bytes: Bytes = receiver.recv().await?;
        Some((Ok::<_, Infallible>(Frame::data(bytes)), receiver))
    });
    respond(StatusCode::OK, "text/plain", BodyExt::boxed(StreamBody::new(pieces)))
}

/// Finds which life's log is asked for.
///
/// *Source:* kubelet's `validateContainerLogStatus`, whose sentences these are.
fn life(view: &PodView, container: &str, previous: bool) -> Result<u32, String> {
    let pod = &view.key.name;
    let known = crate::pods::plan::containers(&view.pod).any(|(_, spec)| spec.name == container);
    if !known {
        return Err(format!("container {container} is not valid for pod {pod}"));
    }
    let waiting = |reason: &str| {
        format!("container \"{container}\" in pod \"{pod}\" is waiting to start: {reason}")
    };
    let Some(status) = status_of(view, container) else {
        return Err(waiting("ContainerCreating"));
    };
    let count = u32::try_from(status.restart_count).unwrap_or(0);
    let ended = status.last_state.as_ref().is_some_and(|state| state.terminated.is_some());
    let waits = status.state.as_ref().and_then(|state| state.waiting.as_ref());
    match (previous, waits) {
        (false, Some(waits)) if !ended => Err(waiting(waits.reason.as_deref().unwrap_or_default())),
        (false, _) => Ok(count),
        (true, Some(_)) if ended => Ok(count),
        (true, None) if count > 0 => Ok(count - 1),
        (true, _) => {
            Err(format!("previous terminated container \"{container}\" in pod \"{pod}\" not found"))
        }
    }
}

fn is_running(view: &PodView, container: &str, life: u32) -> bool {
    status_of(view, container).is_some_and(|status| {
        let running = status.state.as_ref().is_some_and(|state| state.running.is_some());
        running && u32::try_from(status.restart_count) == Ok(life)
    })
}

pub(crate) fn status_of<'a>(view: &'a PodView, container: &str) -> Option<&'a ContainerStatus> {
    let status = view.status.as_ref()?;
    let apps = status.container_statuses.iter().flatten();
    let init = status.init_container_statuses.iter().flatten();
    let ephemeral = status.ephemeral_container_statuses.iter().flatten();
    apps.chain(init).chain(ephemeral).find(|status| status.name == container)
}

async fn pods(shared: &Shared) -> Value {
    let items: Vec<Value> = ask(shared, None)
        .await
        .into_iter()
        .map(|view| {
            let mut pod = (*view.pod).clone();
            pod.status = view.status;
            serde_json::to_value(pod).unwrap_or_default()
        })
        .collect();
    json!({ "kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items })
}

pub(crate) async fn ask(shared: &Shared, one: Option<(String, String)>) -> Vec<PodView> {
    let (answer, answered) = oneshot::channel();
    let _ = shared.news.send(Message::Ask { one, answer });
    answered.await.unwrap_or_default()
}

pub(crate) fn text(code: StatusCode, text: &str) -> Response<Body> {
    respond(code, "text/plain; charset=utf-8", Full::from(text.to_owned()).boxed())
}

fn metrics(text: &str) -> Response<Body> {
    // The version is part of the exposition format's media type.
    respond(StatusCode::OK, "text/plain; version=0.0.4", Full::from(text.to_owned()).boxed())
}

fn json_answer(value: &Value) -> Response<Body> {
    respond(StatusCode::OK, "application/json", Full::from(value.to_string()).boxed())
}

fn respond(code: StatusCode, media_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    let value = http::HeaderValue::from_static(media_type);
    response.headers_mut().insert(http::header::CONTENT_TYPE, value);
    response
}
