//! What the tracking of owners costs beside the work that every write has anyway: prints microseconds
//! for each. Run it with `--release`; `bench/api` measures whole requests.
#![expect(clippy::print_stdout, reason = "its output is what it is for")]
#![expect(clippy::unwrap_used, reason = "a measurement that cannot be made should say so")]

use std::hint::black_box;

use coracle_api::apply::{Builtin, Configuration, Manager, Tracked, apply, track};
use coracle_api::decode::{self, FieldValidation};
use coracle_api::schema;
use serde_json::{Value, json};

const ROUNDS: u32 = 2000;
const NOW: &str = "2026-01-01T00:00:00Z";

fn main() {
    let data = "x".repeat(256);
    measure(
        "ConfigMap",
        &json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "c", "namespace": "default", "labels": {"app": "web"}}, "data": {"key": data}}),
    );
    let container = |name: &str| {
        json!({"name": name, "image": "i", "ports": [{"containerPort": 80, "protocol": "TCP"}],
        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]})
    };
    measure(
        "Deployment",
        &json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "d", "namespace": "default", "labels": {"app": "web"}},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [container("a"), container("b"), container("c")]}}}}),
    );
}

fn measure(kind: &str, object: &Value) {
    let api_version = object["apiVersion"].as_str().unwrap();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let ty = schema::lookup(group, version, kind).unwrap();
    let object = decode::conform(object.clone(), ty, FieldValidation::Ignore).unwrap().value;
    let bytes = object.to_string();
    let manager = |name| Manager { name, api_version, subresource: "" };
    let write = |old| Tracked { old, sent: None, manager: manager("a"), excluded: &[], now: NOW };
    time(&format!("{kind}: read, check and write {} bytes", bytes.len()), || {
        let read: Value = serde_json::from_str(&bytes).unwrap();
        decode::conform(read, ty, FieldValidation::Ignore).unwrap().value.to_string()
    });
    time(&format!("{kind}: track a create (and copy)"), || {
        let mut new = object.clone();
        track(Builtin::Object(ty), &mut new, &write(None));
        new
    });
    let mut old = object.clone();
    track(Builtin::Object(ty), &mut old, &write(None));
    let mut changed = object.clone();
    changed["metadata"]["labels"]["app"] = json!("other");
    time(&format!("{kind}: track an update of one label (and copy)"), || {
        let mut new = changed.clone();
        track(
            Builtin::Object(ty),
            &mut new,
            &Tracked { manager: manager("b"), ..write(Some(&old)) },
        );
        new
    });
    let config = |object| Configuration {
        object,
        manager: manager("b"),
        force: true,
        excluded: &[],
        now: NOW,
    };
    let applied = apply(Builtin::Object(ty), Some(&old), &config(&object)).unwrap();
    time(&format!("{kind}: apply a change of one label"), || {
        apply(Builtin::Object(ty), Some(&applied), &config(&changed)).unwrap()
    });
}

#[expect(clippy::disallowed_methods, reason = "durations are what is measured")]
fn time<T>(what: &str, mut work: impl FnMut() -> T) {
    let began = std::time::Instant::now();
    for _ in 0..ROUNDS {
        black_box(work());
    }
    println!("{what}: {:.1} µs", began.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS));
}
