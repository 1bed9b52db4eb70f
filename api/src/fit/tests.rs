//! Requests of pods and whether they fit, in a small notation: `cpu=500m,memory=1Gi`.

use super::*;
use k8s_openapi::api::core::v1::PodSpec;
use proptest::prelude::*;
use serde_json::{Value, json};

fn list(text: &str) -> Value {
    text.split(',')
        .filter_map(|pair| pair.split_once('='))
        .map(|(k, v)| (k.to_owned(), json!(v)))
        .collect()
}

fn container(requests: &str) -> Value {
    json!({"name": "c", "resources": {"requests": list(requests)}})
}

fn sidecar(requests: &str) -> Value {
    let mut sidecar = container(requests);
    sidecar["restartPolicy"] = json!("Always");
    sidecar
}

fn request(spec: Value) -> PodRequest {
    let spec: PodSpec = serde_json::from_value(spec).unwrap();
    PodRequest::from_spec(&spec)
}

fn plain(requests: &str) -> PodRequest {
    request(json!({"containers": [container(requests)]}))
}

fn node(allocatable: &str) -> NodeState {
    let status = serde_json::from_value(json!({"allocatable": list(allocatable)})).unwrap();
    NodeState::new(NodeCapacity::from_status(&status))
}

fn check_request(spec: Value, cpu_millis: i64) {
    assert_eq!(request(spec.clone()).resources.cpu_millis, cpu_millis, "{spec}");
}

#[test]
fn containers_add_up_and_init_containers_do_not() {
    check_request(json!({"containers": [container("cpu=1"), container("cpu=500m")]}), 1500);
    check_request(
        json!({"containers": [container("cpu=1")], "initContainers": [container("cpu=3"), container("cpu=2")]}),
        3000,
    );
    check_request(
        json!({"containers": [container("cpu=1")], "initContainers": [container("cpu=500m")]}),
        1000,
    );
}

#[test]
fn sidecars_run_beside_all_that_comes_later() {
    check_request(
        json!({"containers": [container("cpu=1")], "initContainers": [sidecar("cpu=1")]}),
        2000,
    );
    check_request(
        json!({"containers": [container("cpu=1")], "initContainers": [sidecar("cpu=1"), container("cpu=4")]}),
        5000,
    );
    check_request(
        json!({"containers": [container("cpu=1")], "initContainers": [container("cpu=4"), sidecar("cpu=1")]}),
        4000,
    );
}

#[test]
fn overhead_and_pod_level_requests() {
    check_request(json!({"containers": [container("cpu=1")], "overhead": {"cpu": "250m"}}), 1250);
    check_request(
        json!({"containers": [container("cpu=1")], "resources": {"requests": {"cpu": "3"}}}),
        3000,
    );
}

fn check_fit(pod: &PodRequest, node: &NodeState, expected: &str) {
    let lacks: Vec<String> = fits(pod, node).iter().map(Lack::to_string).collect();
    assert_eq!(lacks.join(", "), expected);
}

#[test]
fn what_is_lacking() {
    let mut small = node("cpu=1,memory=1Gi,pods=2");
    check_fit(&plain("cpu=1,memory=1Gi"), &small, "");
    check_fit(
        &plain("cpu=1001m,memory=2Gi,x.io/gpu=1"),
        &small,
        "Insufficient cpu, Insufficient memory, Insufficient x.io/gpu",
    );
    small.add(&plain("cpu=600m"));
    check_fit(&plain("cpu=400m"), &small, "");
    check_fit(&plain("cpu=401m"), &small, "Insufficient cpu");
    small.add(&plain(""));
    check_fit(&plain(""), &small, "Too many pods");
    assert_eq!(node("cpu=1").capacity.pods, 110);
}

#[test]
fn ports_of_the_host() {
    let with_port = |port: Value| request(json!({"containers": [{"name": "c", "ports": [port]}]}));
    let mut busy = node("pods=10");
    busy.add(&with_port(json!({"containerPort": 1, "hostPort": 80, "protocol": "TCP"})));
    let words = "node(s) didn't have free ports for the requested pod ports";
    check_fit(
        &with_port(json!({"containerPort": 2, "hostPort": 80, "protocol": "TCP"})),
        &busy,
        words,
    );
    check_fit(
        &with_port(
            json!({"containerPort": 2, "hostPort": 80, "hostIP": "1.2.3.4", "protocol": "TCP"}),
        ),
        &busy,
        words,
    );
    check_fit(
        &with_port(json!({"containerPort": 2, "hostPort": 80, "protocol": "UDP"})),
        &busy,
        "",
    );
    check_fit(&with_port(json!({"containerPort": 80, "protocol": "TCP"})), &busy, "");
}

#[test]
fn a_port_is_free_when_the_last_pod_that_has_it_goes() {
    let port = json!({"containerPort": 1, "hostPort": 80, "protocol": "TCP"});
    let pod = request(json!({"containers": [{"name": "c", "ports": [port]}]}));
    let empty = node("pods=10");
    let mut busy = empty.clone();
    busy.add(&pod);
    busy.add(&pod);
    busy.remove(&pod);
    check_fit(&pod, &busy, "node(s) didn't have free ports for the requested pod ports");
    busy.remove(&pod);
    check_fit(&pod, &busy, "");
    assert_eq!(busy, empty);
}

#[test]
fn pods_without_requests_count_for_scores() {
    let scoring = plain("cpu=50m").scoring;
    assert_eq!((scoring.cpu_millis, scoring.memory_bytes), (50, 200 << 20));
}

proptest! {
    /// Counting pods in and out in any order leaves the node as it was.
    #[test]
    fn counting_in_and_out_is_exact(
        cpus in proptest::collection::vec(0_i64..4000, 1..8),
    ) {
        let pods: Vec<PodRequest> = cpus
            .iter()
            .map(|cpu| plain(&format!("cpu={cpu}m,memory=1Mi,x.io/gpu=1")))
            .collect();
        let empty = node("cpu=16,memory=1Gi,pods=100,x.io/gpu=100");
        let mut full = empty.clone();
        pods.iter().for_each(|pod| full.add(pod));
        pods.iter().rev().for_each(|pod| full.remove(pod));
        full.requested.others.retain(|_, amount| *amount != 0);
        prop_assert_eq!(full, empty);
    }

    /// Whatever fits can be counted in without the node being overfull.
    #[test]
    fn what_fits_never_overfills(
        cpus in proptest::collection::vec(1_i64..4000, 1..20),
    ) {
        let mut state = node("cpu=8,pods=10");
        for cpu in cpus {
            let pod = plain(&format!("cpu={cpu}m"));
            if fits(&pod, &state).is_empty() {
                state.add(&pod);
            }
        }
        prop_assert!(state.requested.cpu_millis <= 8000);
        prop_assert!(state.pods <= 10);
    }
}
