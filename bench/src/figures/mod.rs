//! One file for each figure; each gives the lines of its report.

pub(crate) mod api;
pub(crate) mod comeback;
pub(crate) mod control;
pub(crate) mod crowd;
pub(crate) mod density;
pub(crate) mod hello;
pub(crate) mod idle;
pub(crate) mod neighbour;
pub(crate) mod network;
pub(crate) mod probes;
pub(crate) mod ready;
pub(crate) mod runtime;
pub(crate) mod schedule;
pub(crate) mod simulation;
pub(crate) mod watches;
pub(crate) mod zero;

use std::path::PathBuf;

/// The smallest http guest, built.
fn hello_wasm() -> PathBuf {
    coracle_e2e::build_guests("tests/guests").join("hello_http.wasm")
}

/// A pod of the hello guest.
fn hello_pod(name: &str) -> serde_json::Value {
    serde_json::json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "hello"}},
        "spec": {"containers": [{
            "name": "hello", "image": "registry.coracle.internal/hello:1",
            "ports": [{"name": "http", "containerPort": 8080}],
        }]},
    })
}
