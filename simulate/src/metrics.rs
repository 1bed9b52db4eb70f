//! What pods use, as `metrics.k8s.io` would tell: a load that is shared by all ready pods with one label `app`.

use coracle_apiserver::body::{self, Body};
use http::Response;
use serde_json::{Value, json};

use crate::objects::{PODS, is_active, is_ready, text};
use crate::world::World;

/// Where pods' use is read, before the namespace.
const ROOT: &str = "/apis/metrics.k8s.io/v1beta1/namespaces/";

/// Answers a request for the use of a namespace's pods; `None` for any other, and while nobody has said what is used.
pub(crate) fn answer(world: &World, path: &str) -> Option<Response<Body>> {
    let namespace = path.strip_prefix(ROOT)?.strip_suffix("/pods")?;
    let load = world.load.lock().clone();
    if load.is_empty() {
        return None;
    }
    let oracle = world.oracle.lock();
    let place = format!("{PODS}{namespace}/");
    let pods: Vec<&Value> = oracle
        .objects
        .below(&place)
        .map(|(_, pod)| pod)
        .filter(|pod| is_ready(pod) && is_active(pod))
        .collect();
    let mut items = Vec::new();
    for (app, millis) in &load {
        let own: Vec<&&Value> =
            pods.iter().filter(|pod| text(pod, "/metadata/labels/app") == app).collect();
        let Some(share) = millis.checked_div(own.len() as u64) else { continue };
        items.extend(own.into_iter().map(|pod| {
            json!({"metadata": {"name": pod["metadata"]["name"], "namespace": namespace,
                    "labels": pod["metadata"]["labels"]},
                "timestamp": "2026-01-01T00:00:00Z", "window": "15s",
                "containers": [{"name": "main", "usage": {"cpu": format!("{share}m"), "memory": "1Mi"}}]})
        }));
    }
    let list = json!({"kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1",
        "metadata": {}, "items": items});
    let body = body::full(list.to_string());
    Response::builder().header("content-type", "application/json").body(body).ok()
}
