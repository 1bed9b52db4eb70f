//! Health check node ports: what load balancers ask to learn which nodes have endpoints of a Service
//! with `externalTrafficPolicy: Local`.
//!
//! *Source:* kube-proxy's answers: 200 where there are endpoints, else 503, with a small JSON body.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

use crate::network::Network;
use crate::table::Table;

/// How long to wait before a port that something else holds is tried again, and after a failed
/// accept.
const BIND_RETRY: Duration = Duration::from_secs(5);
/// Connections to one port at once; one more waits. Load balancers have a few.
const CONNECTIONS_MAX: usize = 64;
/// Time for the head of a request, so that silent connections give their place back.
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
/// Tells load balancers that share traffic by weight how many endpoints are here.
const WEIGHT: &str = "x-load-balancing-endpoint-weight";

/// The open health check ports of this host, each with the task that serves it.
#[derive(Debug, Default)]
pub(crate) struct HealthPorts {
    tasks: HashMap<u16, JoinHandle<()>>,
}

impl HealthPorts {
    /// Opens and closes ports until just the table's are open.
    pub(crate) fn follow(&mut self, network: &Arc<Network>) {
        let wanted = network.read(Table::health_ports);
        self.tasks.retain(|port, task| {
            let keep = wanted.contains(port);
            if !keep {
                task.abort();
            }
            keep
        });
        for port in wanted {
            self.tasks
                .entry(port)
                .or_insert_with(|| tokio::spawn(serve(port, Arc::clone(network))));
        }
    }
}

impl Drop for HealthPorts {
    fn drop(&mut self) {
        for task in self.tasks.values() {
            task.abort();
        }
    }
}

/// Serves one port until the task is ended; its connections end with it.
async fn serve(port: u16, network: Arc<Network>) {
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let listener = loop {
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(error) => {
                tracing::warn!(port, %error, "cannot open a health check node port; trying again");
                tokio::time::sleep(BIND_RETRY).await;
            }
        }
    };
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut serving = JoinSet::new();
    loop {
        while serving.try_join_next().is_some() {}
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(port, %error, "accept on a health check node port");
                tokio::time::sleep(BIND_RETRY).await;
                continue;
            }
        };
        let network = Arc::clone(&network);
        serving.spawn(async move {
            let service = service_fn(|_request| {
                let answer = network.read(|table| answer(table, port));
                async move { Ok::<_, Infallible>(answer) }
            });
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME_MAX);
            let served = builder.serve_connection(TokioIo::new(stream), service).await;
            if let Err(error) = served {
                tracing::debug!(port, %error, "a health check ended");
            }
            drop(slot);
        });
    }
}

/// What is said at a health check port.
fn answer(table: &Table, port: u16) -> Response<Full<Bytes>> {
    let Some((service, count)) = table.health(port) else {
        return respond(StatusCode::NOT_FOUND, 0, "{}".to_owned());
    };
    let body = json!({
        "service": {"namespace": service.namespace, "name": service.name},
        "localEndpoints": count,
        "serviceProxyHealthy": true,
    });
    let status = if count > 0 { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    respond(status, count, body.to_string())
}

fn respond(status: StatusCode, weight: usize, body: String) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    let nosniff = header::HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    headers.insert(WEIGHT, weight.into());
    answer
}
