//! `metrics-adapter`: a server of `custom.metrics.k8s.io` and `external.metrics.k8s.io`, as autoscalers ask one. The
//! original has none; adapters of monitoring systems serve the same.
//!
//! A metric is a file in `/metrics` that is named as the metric is: its content is the value of whatever is asked about,
//! a quantity. One without a file is not known.

use std::io::Result;

use axum::body::Body;
use axum::response::Response;
use serde_json::{Value, json};

use crate::flags::Flags;
use crate::logs::log;
use crate::serve::Asked;
use crate::tls::https;

const CUSTOM: &str = "custom.metrics.k8s.io/v1beta2";
const EXTERNAL: &str = "external.metrics.k8s.io/v1beta1";

/// Serves both groups.
pub async fn run(flags: Flags) -> Result<()> {
    let port = flags.number("port", 443) as u16;
    https(port, &flags, |asked| async move {
        let (status, said) = said(&asked);
        log(&format!("{} {status}", asked.parts.uri));
        let builder = Response::builder().status(status).header("content-type", "application/json");
        builder.body(Body::from(said.to_string())).unwrap_or_default()
    })
    .await
}

fn said(asked: &Asked) -> (u16, Value) {
    let path = asked.path().trim_start_matches("/apis/");
    if path == CUSTOM || path == EXTERNAL {
        return (
            200,
            json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": path, "resources": []}),
        );
    }
    let parts: Vec<&str> = path.split('/').collect();
    let (name, described) = match parts.as_slice() {
        [group, version, "namespaces", space, resource, object, metric]
            if is(CUSTOM, group, version) =>
        {
            let kind = resource.split('.').next().unwrap_or_default();
            (*metric, json!({"kind": kind, "namespace": space, "name": object}))
        }
        [group, version, "namespaces", _, metric] if is(EXTERNAL, group, version) => {
            (*metric, Value::Null)
        }
        _ => return refused(path),
    };
    let Ok(value) = std::fs::read_to_string(format!("/metrics/{name}")) else {
        return refused(name);
    };
    let now = "2026-01-01T00:00:00Z";
    let (kind, version) = if described.is_null() {
        ("ExternalMetricValueList", EXTERNAL)
    } else {
        ("MetricValueList", CUSTOM)
    };
    let item = json!({"describedObject": described, "metric": {"name": name}, "metricName": name,
        "timestamp": now, "value": value.trim()});
    (200, json!({"kind": kind, "apiVersion": version, "metadata": {}, "items": [item]}))
}

fn is(wanted: &str, group: &str, version: &str) -> bool {
    wanted.split_once('/') == Some((group, version))
}

fn refused(what: &str) -> (u16, Value) {
    let message = format!("the server could not find the metric {what}");
    (
        404,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound",
        "code": 404, "message": message}),
    )
}
