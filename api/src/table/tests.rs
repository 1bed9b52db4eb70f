//! Rows of every kind, with the words of upstream's printers.

mod kinds;

use super::*;
use crate::registry;

const NOW: &str = "2026-01-02T00:00:00Z";

fn cells(group: &str, kind: &str, object: &Value) -> Vec<Value> {
    let kind = registry::by_kind(group, "v1", kind).expect("the kind is served");
    let row = row(kind, object, NOW.parse().unwrap());
    assert_eq!(row.len(), columns(kind).len(), "one cell for each column of {kind:?}");
    row
}

fn check(group: &str, kind: &str, mut object: Value, expected: &str) {
    object["metadata"]["name"] = json!("a");
    object["metadata"]["creationTimestamp"] = json!("2026-01-01T23:58:00Z");
    let shown: Vec<String> = cells(group, kind, &object)
        .iter()
        .map(|cell| cell.as_str().map_or_else(|| cell.to_string(), str::to_owned))
        .collect();
    assert_eq!(shown.join(" | "), expected);
}

#[test]
fn small_kinds() {
    check("", "Namespace", json!({"status": {"phase": "Active"}}), "a | Active | 2m");
    check("", "ConfigMap", json!({"data": {"x": ""}, "binaryData": {"y": ""}}), "a | 2 | 2m");
    check("", "Secret", json!({"type": "Opaque", "data": {"x": ""}}), "a | Opaque | 1 | 2m");
    check("", "ServiceAccount", json!({}), "a | 2m");
    check("coordination.k8s.io", "Lease", json!({"spec": {"holderIdentity": "n"}}), "a | n | 2m");
    check(
        "scheduling.k8s.io",
        "PriorityClass",
        json!({"value": 7, "preemptionPolicy": "Never"}),
        "a | 7 | false | 2m | Never",
    );
}

#[test]
fn services_and_slices() {
    check(
        "",
        "Service",
        json!({"spec": {"type": "NodePort", "clusterIPs": ["10.96.0.9"], "selector": {"app": "web"},
            "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}}),
        "a | NodePort | 10.96.0.9 | <none> | 80:30080/TCP,53/UDP | 2m | app=web",
    );
    check(
        "",
        "Service",
        json!({"spec": {"type": "LoadBalancer", "clusterIPs": ["None"]}}),
        "a | LoadBalancer | None | <pending> | <none> | 2m | <none>",
    );
    check(
        "",
        "Service",
        json!({"spec": {"type": "ExternalName", "externalName": "x.io"}}),
        "a | ExternalName | <none> | x.io | <none> | 2m | <none>",
    );
    let endpoint = |ip: &str| json!({"addresses": [ip]});
    check(
        "discovery.k8s.io",
        "EndpointSlice",
        json!({"addressType": "IPv4", "ports": [{"port": 80}],
            "endpoints": [endpoint("1"), endpoint("2"), endpoint("3"), endpoint("4")]}),
        "a | IPv4 | 80 | 1,2,3 + 1 more... | 2m",
    );
    check(
        "discovery.k8s.io",
        "EndpointSlice",
        json!({"addressType": "IPv4"}),
        "a | IPv4 | <unset> | <unset> | 2m",
    );
}

#[test]
fn workloads() {
    let spec = json!({"replicas": 3, "selector": {"matchLabels": {"app": "web"}},
        "template": {"spec": {"containers": [{"name": "x", "image": "i"}, {"name": "y", "image": "j"}]}}});
    check(
        "apps",
        "Deployment",
        json!({"spec": spec, "status": {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 1}}),
        "a | 2/3 | 3 | 1 | 2m | x,y | i,j | app=web",
    );
    check(
        "apps",
        "ReplicaSet",
        json!({"spec": spec, "status": {"replicas": 3, "readyReplicas": 2}}),
        "a | 3 | 3 | 2 | 2m | x,y | i,j | app=web",
    );
    check(
        "apps",
        "ControllerRevision",
        json!({"revision": 4, "metadata": {"ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "controller": true}]}}),
        "a | statefulset.apps/db | 4 | 2m",
    );
}

#[test]
fn nodes() {
    check(
        "",
        "Node",
        json!({
            "metadata": {"labels": {"node-role.kubernetes.io/worker": "", "kubernetes.io/role": "db"}},
            "spec": {"unschedulable": true},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "InternalIP", "address": "1.2.3.4"}],
                "nodeInfo": {"kubeletVersion": "v1.35.4", "containerRuntimeVersion": "wasmtime://48.0.8"},
            },
        }),
        "a | Ready,SchedulingDisabled | db,worker | 2m | v1.35.4 | 1.2.3.4 | <none> | <unknown> | <unknown> | wasmtime://48.0.8",
    );
    check(
        "",
        "Node",
        json!({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}),
        "a | NotReady | <none> | 2m |  | <none> | <none> | <unknown> | <unknown> | <unknown>",
    );
}

#[test]
fn events() {
    check(
        "",
        "Event",
        json!({"type": "Warning", "reason": "Failed", "message": " no \n", "count": 3,
            "firstTimestamp": "2026-01-01T23:00:00Z", "lastTimestamp": "2026-01-01T23:59:50Z",
            "involvedObject": {"kind": "Pod", "name": "p", "fieldPath": "spec.containers{c}"},
            "source": {"component": "kubelet", "host": "n"}}),
        "10s | Warning | Failed | pod/p | spec.containers{c} | kubelet, n | no | 60m | 3 | a",
    );
    check(
        "",
        "Event",
        json!({"type": "Normal", "reason": "Scheduled", "message": "m",
            "eventTime": "2026-01-01T23:59:00.000000Z",
            "involvedObject": {"kind": "Pod", "name": "p"},
            "reportingComponent": "default-scheduler"}),
        "60s | Normal | Scheduled | pod/p |  | default-scheduler | m | 60s | 1 | a",
    );
}

/// A Pod with one container per status.
fn pod(phase: &str, statuses: &[Value]) -> Value {
    let names: Vec<Value> = (0..statuses.len()).map(|i| json!({"name": format!("c{i}")})).collect();
    let statuses: Vec<Value> = statuses
        .iter()
        .enumerate()
        .map(|(i, status)| {
            let mut status = status.clone();
            status["name"] = json!(format!("c{i}"));
            status
        })
        .collect();
    json!({"spec": {"containers": names}, "status": {"phase": phase, "containerStatuses": statuses}})
}

fn running() -> Value {
    json!({"ready": true, "state": {"running": {}}})
}

fn waiting(reason: &str) -> Value {
    json!({"state": {"waiting": {"reason": reason}}})
}

fn ended(reason: &str, code: i64) -> Value {
    json!({"state": {"terminated": {"reason": reason, "exitCode": code}}})
}

fn check_pod(object: Value, expected: &str) {
    let status = pod_status(&object);
    assert_eq!(format!("{}/{} {}", status.ready, status.total, status.word), expected, "{object}");
}

#[test]
fn pod_words() {
    check_pod(json!({"spec": {"containers": [{}]}, "status": {"phase": "Pending"}}), "0/1 Pending");
    check_pod(pod("Running", &[running(), running()]), "2/2 Running");
    check_pod(pod("Pending", &[waiting("ContainerCreating")]), "0/1 ContainerCreating");
    check_pod(pod("Running", &[waiting("CrashLoopBackOff"), running()]), "1/2 CrashLoopBackOff");
    check_pod(pod("Succeeded", &[ended("Completed", 0)]), "0/1 Completed");
    check_pod(pod("Failed", &[ended("Error", 1)]), "0/1 Error");
    check_pod(pod("Running", &[ended("OOMKilled", 137), running()]), "1/2 OOMKilled");
    check_pod(pod("Failed", &[ended("", 3)]), "0/1 ExitCode:3");
    check_pod(pod("Running", &[ended("Completed", 0), running()]), "1/2 NotReady");
    check_pod(pod("Running", &[ended("Completed", 0), ended("Error", 1)]), "0/2 Error");
    let mut ready = pod("Running", &[ended("Completed", 0), running()]);
    ready["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]);
    check_pod(ready, "1/2 Running");
    let mut evicted = pod("Failed", &[]);
    evicted["status"]["reason"] = json!("Evicted");
    check_pod(evicted, "0/0 Evicted");
    let mut gated = pod("Pending", &[]);
    gated["status"]["conditions"] =
        json!([{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]);
    check_pod(gated, "0/0 SchedulingGated");
}

#[test]
fn deleted_pods() {
    let mut object = pod("Running", &[running()]);
    object["metadata"]["deletionTimestamp"] = json!(NOW);
    check_pod(object.clone(), "1/1 Terminating");
    object["status"]["reason"] = json!("NodeLost");
    check_pod(object, "1/1 Unknown");
    let mut done = pod("Succeeded", &[ended("Completed", 0)]);
    done["metadata"]["deletionTimestamp"] = json!(NOW);
    check_pod(done, "0/1 Completed");
}

fn with_init(inits: Value, statuses: Value) -> Value {
    let mut object = pod("Pending", &[waiting("PodInitializing")]);
    object["spec"]["initContainers"] = inits;
    object["status"]["initContainerStatuses"] = statuses;
    object
}

#[test]
fn init_containers() {
    let two = json!([{"name": "i"}, {"name": "j"}]);
    let state = |name: &str, state: Value| json!({"name": name, "state": state});
    let done = || state("i", json!({"terminated": {"exitCode": 0, "reason": "Completed"}}));
    check_pod(with_init(two.clone(), json!([state("i", json!({"running": {}}))])), "0/1 Init:0/2");
    check_pod(
        with_init(
            two.clone(),
            json!([done(), state("j", json!({"waiting": {"reason": "PodInitializing"}}))]),
        ),
        "0/1 Init:1/2",
    );
    check_pod(
        with_init(
            two.clone(),
            json!([state("i", json!({"waiting": {"reason": "CrashLoopBackOff"}}))]),
        ),
        "0/1 Init:CrashLoopBackOff",
    );
    check_pod(
        with_init(
            two.clone(),
            json!([state("i", json!({"terminated": {"exitCode": 2, "reason": "Error"}}))]),
        ),
        "0/1 Init:Error",
    );
    check_pod(
        with_init(two, json!([state("i", json!({"terminated": {"exitCode": 2}}))])),
        "0/1 Init:ExitCode:2",
    );
    let sidecar = json!([{"name": "s", "restartPolicy": "Always"}]);
    check_pod(
        with_init(
            sidecar.clone(),
            json!([{"name": "s", "started": true, "ready": true, "state": {"running": {}}}]),
        ),
        "1/2 PodInitializing",
    );
    check_pod(
        with_init(sidecar, json!([{"name": "s", "started": false, "state": {"running": {}}}])),
        "0/2 Init:0/1",
    );
}

#[test]
fn pod_rows() {
    let mut restarted = running();
    restarted["restartCount"] = json!(2);
    restarted["lastState"] = json!({"terminated": {"finishedAt": "2026-01-01T23:59:50Z"}});
    let mut object = pod("Running", &[restarted]);
    object["spec"]["nodeName"] = json!("n");
    object["spec"]["readinessGates"] = json!([{"conditionType": "x"}]);
    object["status"]["podIPs"] = json!([{"ip": "10.128.0.2"}]);
    check(
        "",
        "Pod",
        object,
        "a | 1/1 | Running | 2 (10s ago) | 2m | 10.128.0.2 | n | <none> | 0/1",
    );
}

#[test]
fn done_pods_say_so() {
    let kind = registry::by_kind("", "v1", "Pod").unwrap();
    let done = json!({"status": {"phase": "Succeeded"}});
    assert_eq!(row_conditions(kind, &done)[0]["reason"], "Succeeded");
    assert!(row_conditions(kind, &json!({"status": {"phase": "Running"}})).is_empty());
}
