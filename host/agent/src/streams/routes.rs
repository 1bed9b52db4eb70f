//! Finds the pod that a stream is for, agrees with the client, and serves it.
//!
//! An edge: a stream is a task of its own, which ends with its client.
//!
//! *Source:* the kubelet's paths `/exec`, `/attach` and `/portForward`, with or without a uid.

use std::sync::Arc;

use futures::FutureExt as _;
use http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;

use super::command::{self, Options, Program};
use super::handshake::{Agreed, Refused, Speech, agree};
use super::portforward::{self, Target};
use crate::effects::{PodView, Shared};
use crate::runtime::ExecSpec;
use crate::server::Slot;
use crate::server::routes::{Body, ask, status_of, text};

/// Answers a request for a stream; `None` for other paths.
pub(crate) async fn answer(
    shared: &Arc<Shared>,
    path: &[&str],
    request: &mut Request<Incoming>,
) -> Option<Response<Body>> {
    let outcome = match path {
        ["exec", namespace, pod, container] | ["exec", namespace, pod, _, container] => {
            run(shared, (namespace, pod, container), request, Kind::Exec).await
        }
        ["attach", namespace, pod, container] | ["attach", namespace, pod, _, container] => {
            run(shared, (namespace, pod, container), request, Kind::Attach).await
        }
        ["portForward", namespace, pod] | ["portForward", namespace, pod, _] => {
            forward(shared, (namespace, pod), request).await
        }
        _ => return None,
    };
    Some(outcome.unwrap_or_else(|(code, why)| text(code, &why)))
}

#[derive(Clone, Copy)]
enum Kind {
    Exec,
    Attach,
}

async fn run(
    shared: &Arc<Shared>,
    (namespace, pod, container): (&str, &str, &str),
    request: &mut Request<Incoming>,
    kind: Kind,
) -> Result<Response<Body>, Refused> {
    let view = find(shared, namespace, pod).await?;
    let running = status_of(&view, container)
        .is_some_and(|status| status.state.as_ref().is_some_and(|state| state.running.is_some()));
    if !running {
        return Err((StatusCode::NOT_FOUND, format!("container not found (\"{container}\")")));
    }
    let bad = |why: String| (StatusCode::BAD_REQUEST, why);
    let options = Options::parse(request.uri().query().unwrap_or_default()).map_err(bad)?;
    let Agreed { speech, headers } = agree(request.headers(), command::SPOKEN)?;
    let (shared, container) = (shared.clone(), container.to_owned());
    let wanted = options.clone();
    let program = async move {
        match kind {
            Kind::Exec => exec(&shared, &view, &container, &wanted).await,
            Kind::Attach => attach(&shared, &view, &container),
        }
    };
    let program = program.boxed();
    Ok(upgrade(request, headers, move |connection| {
        command::serve(connection, speech, options, program)
    }))
}

async fn exec(
    shared: &Shared,
    view: &PodView,
    container: &str,
    options: &Options,
) -> Result<Program, String> {
    let spec = ExecSpec { argv: options.command.clone(), tty: options.tty, stdin: options.stdin };
    let exec = shared.runtime.exec(&view.key, container, spec).await;
    let exec = exec.map_err(|error| format!("error executing command in container: {error}"))?;
    let crate::runtime::Exec { stdin, stdout, stderr, handle } = exec;
    Ok(Program { stdin, stdout, stderr, handle: Some(handle) })
}

fn attach(shared: &Shared, view: &PodView, container: &str) -> Result<Program, String> {
    let attached = shared.runtime.attach(&view.key, container);
    let attached = attached.map_err(|error| format!("error attaching to container: {error}"))?;
    let crate::runtime::Attached { stdin, stdout, stderr } = attached;
    Ok(Program { stdin, stdout, stderr, handle: None })
}

async fn forward(
    shared: &Arc<Shared>,
    (namespace, pod): (&str, &str),
    request: &mut Request<Incoming>,
) -> Result<Response<Body>, Refused> {
    let view = find(shared, namespace, pod).await?;
    let target = target(shared, &view);
    let Agreed { speech, headers } = agree(request.headers(), portforward::SPOKEN)?;
    let named = portforward::ports(request.uri().query().unwrap_or_default());
    let bad = |why: String| (StatusCode::BAD_REQUEST, why);
    match speech {
        Speech::Raw => {
            let port = named.map_err(bad)?.first().copied().unwrap_or_default();
            let refused = |error: std::io::Error| (StatusCode::BAD_GATEWAY, error.to_string());
            let stream = target.dial(port).map_err(refused)?;
            Ok(upgrade(request, headers, move |connection| portforward::raw(connection, stream)))
        }
        Speech::WebSocket(protocol) if !protocol.starts_with("SPDY/") => {
            let ports = named.map_err(bad)?;
            Ok(upgrade(request, headers, move |connection| async move {
                portforward::serve(connection, speech, &ports, &target).await;
            }))
        }
        Speech::WebSocket(_) | Speech::Spdy(_) => {
            Ok(upgrade(request, headers, move |connection| async move {
                portforward::serve(connection, speech, &[], &target).await;
            }))
        }
    }
}

fn target(shared: &Shared, view: &PodView) -> Target {
    let status = view.status.as_ref();
    let all = status.and_then(|status| status.pod_ips.as_ref()).into_iter().flatten();
    let ips = all.filter_map(|ip| ip.ip.parse().ok()).collect();
    Target { key: view.key.clone(), ips, runtime: shared.runtime.clone() }
}

async fn find(shared: &Shared, namespace: &str, pod: &str) -> Result<PodView, Refused> {
    let one = Some((namespace.to_owned(), pod.to_owned()));
    let found = ask(shared, one).await.into_iter().next();
    found.ok_or_else(|| (StatusCode::NOT_FOUND, format!("pod \"{pod}\" not found")))
}

/// Says yes, and serves the connection as soon as the answer is out.
pub(super) fn upgrade<W>(
    request: &mut Request<Incoming>,
    headers: HeaderMap,
    serve: impl FnOnce(TokioIo<Upgraded>) -> W + Send + 'static,
) -> Response<Body>
where
    W: Future<Output = ()> + Send + 'static,
{
    let slot = request.extensions_mut().remove::<Slot>();
    let upgraded = hyper::upgrade::on(request);
    tokio::spawn(async move {
        match upgraded.await {
            Ok(connection) => serve(TokioIo::new(connection)).await,
            Err(error) => tracing::debug!(%error, "a client left before its stream began"),
        }
        drop(slot);
    });
    let mut response = text(StatusCode::SWITCHING_PROTOCOLS, "");
    *response.headers_mut() = headers;
    response
}
