//! What a request that fails says of its backend.

use std::convert::Infallible;

use bytes::Bytes;
use coracle_client::{Client, Recorder};
use coracle_vnet::{Fabric, NetNs, NetNsSpec, NsTag};
use futures::StreamExt as _;
use http_body::Frame;
use http_body_util::StreamBody;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::json;

use super::*;
use crate::cidr::Cidr;
use crate::front::body::BodyError;
use crate::front::certificates::Certificates;
use crate::network::{Answers, Network};
use crate::switch::Ranges;
use crate::table::ServiceKey;

/// Bytes that a rule of these tests allows.
const ALLOWED_BYTES: usize = 8;

/// What a client sends after the first piece of its body.
#[derive(Clone, Copy)]
enum Rest {
    Nothing,
    Pause,
    Break,
    TooMuch,
}

fn body(rest: Rest) -> Body {
    let piece = || futures::stream::iter([Ok(Frame::data(Bytes::from_static(b"piece")))]);
    let rest = match rest {
        Rest::Nothing => futures::stream::empty().boxed(),
        Rest::Pause => futures::stream::pending().boxed(),
        Rest::Break => futures::stream::iter([Err(BodyError::from("gone"))]).boxed(),
        Rest::TooMuch => piece().boxed(),
    };
    boxed(Limited::new(StreamBody::new(piece().chain(rest)), ALLOWED_BYTES))
}

/// A Service with one pod, which takes every request and answers none.
struct World {
    network: Arc<Network>,
    front: Arc<Front>,
    service: ServiceKey,
    _pod: Arc<NetNs>,
}

impl World {
    fn new() -> Self {
        let ranges = || Ranges {
            pods: Cidr::parse_families("10.128.0.0/9,fd63:6f72::/32").unwrap(),
            services: Cidr::parse_families("10.96.0.0/12,fd63:6f73::/108").unwrap(),
            host: [].into(),
        };
        let (network, _refusals) = Network::new(ranges());
        let service = ServiceKey { namespace: "default".to_owned(), name: "web".to_owned() };
        let object = json!({"spec": {"clusterIP": "10.96.0.20", "ports": [{"port": 80}]}});
        let slice = json!({
            "metadata": {"labels": {"kubernetes.io/service-name": "web"}}, "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.128.0.5"]}], "ports": [{"port": 8080}],
        });
        network.change(|table| {
            table.set_service(&service, &serde_json::from_value(object).unwrap());
            table.set_slice("default", "web-a", &serde_json::from_value(slice).unwrap());
        });
        let answers = Arc::new(Answers(Arc::clone(&network)));
        let fabric = Fabric::new(answers.clone(), answers);
        let pod = silent_pod(&fabric);
        let client = Client::in_process(tower::service_fn(async |_| {
            Ok::<_, Infallible>(Response::new(kube::client::Body::empty()))
        }));
        let recorder = Arc::new(Recorder::new(&client, "coracle-front", ""));
        let certificates = Certificates::new(client, recorder);
        let front = Arc::new(Front::new(&network, &fabric, ranges(), certificates));
        Self { network, front, service, _pod: pod }
    }

    /// The failures that were counted until now.
    fn failures(&self) -> String {
        let metrics = self.network.metrics();
        let name = "coracle_network_backend_failures_total ";
        metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned()
    }
}

fn silent_pod(fabric: &Arc<Fabric>) -> Arc<NetNs> {
    let spec = NetNsSpec::new(NsTag::new("web", "web"), vec!["10.128.0.5".parse().unwrap()]);
    let pod = fabric.add(spec).unwrap();
    let port = pod.bind_tcp("10.128.0.5:8080".parse().unwrap()).unwrap();
    let listener = port.listen(64, None).unwrap();
    tokio::spawn(async move {
        while let Ok(stream) = listener.accept().await {
            let silence = service_fn(|_: Request<Incoming>| {
                std::future::pending::<Result<Response<Body>, Infallible>>()
            });
            tokio::spawn(async move {
                let builder = auto::Builder::new(TokioExecutor::new());
                let _ended = builder.serve_connection(TokioIo::new(stream), silence).await;
            });
        }
    });
    pod
}

/// Sends one request with HTTP/1 and one with HTTP/2; both are answered with `status`, and `failures` of the two
/// are the backend's.
async fn check(rest: Rest, status: u16, failures: &str) {
    let world = World::new();
    let from = From { client: "203.0.113.9:40000".parse().unwrap(), port: 80, secure: false };
    for http2 in [false, true] {
        let service = world.service.clone();
        let backend = Backend { service, port: 80, http2, filters: Vec::new() };
        let request = Request::post("/").header(HOST, "web").body(body(rest)).unwrap();
        let each = Some(Duration::from_secs(60));
        let answered = send(&world.front, from, &backend, request, each).await;
        assert_eq!(answered.status().as_u16(), status, "http2: {http2}");
    }
    assert_eq!(world.failures(), failures);
}

#[tokio::test(start_paused = true)]
async fn what_the_client_does_wrong_is_no_failure_of_the_backend() {
    check(Rest::Break, 400, "0").await;
    check(Rest::TooMuch, 413, "0").await;
    check(Rest::Pause, 504, "0").await;
}

#[tokio::test(start_paused = true)]
async fn silence_after_a_whole_request_is_the_backends_failure() {
    check(Rest::Nothing, 504, "2").await;
}
