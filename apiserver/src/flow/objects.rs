//! The FlowSchemas and PriorityLevelConfigurations that every cluster has. Pure.
//!
//! *Source:* `k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap`: names, numbers and subjects.

use serde_json::{Value, json};

const VERSION: &str = "flowcontrol.apiserver.k8s.io/v1";
/// The objects without which nothing works; their specs are kept as they are here.
pub(super) const MANDATORY: [&str; 2] = ["exempt", "catch-all"];

/// A level's name, shares, percentage that it lends, queues and hand size; 0 queues for one that refuses.
const LEVELS: [(&str, u64, u64, u64, u64); 7] = [
    ("catch-all", 5, 0, 0, 0),
    ("system", 30, 33, 64, 6),
    ("node-high", 40, 25, 64, 6),
    ("leader-election", 10, 0, 16, 4),
    ("workload-high", 40, 50, 128, 6),
    ("workload-low", 100, 90, 128, 6),
    ("global-default", 20, 50, 128, 6),
];

/// Requests that wait in one queue.
const QUEUE_LENGTH: u64 = 50;

/// All of them, levels first.
pub(crate) fn defaults() -> Vec<Value> {
    let mut all = vec![object(
        "PriorityLevelConfiguration",
        "exempt",
        json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}}),
    )];
    for (name, shares, lent, queues, hand) in LEVELS {
        let response = if queues == 0 {
            json!({"type": "Reject"})
        } else {
            json!({"type": "Queue", "queuing": {"queues": queues, "handSize": hand, "queueLengthLimit": QUEUE_LENGTH}})
        };
        let spec = json!({"type": "Limited", "limited": {
            "nominalConcurrencyShares": shares, "lendablePercent": lent, "limitResponse": response,
        }});
        all.push(object("PriorityLevelConfiguration", name, spec));
    }
    all.extend(schemas());
    all
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": VERSION, "kind": kind, "spec": spec,
        "metadata": {"name": name, "annotations": {"apf.kubernetes.io/autoupdate-spec": "true"}},
    })
}

fn group(name: &str) -> Value {
    json!({"kind": "Group", "group": {"name": name}})
}

fn user(name: &str) -> Value {
    json!({"kind": "User", "user": {"name": name}})
}

fn account(name: &str) -> Value {
    json!({"kind": "ServiceAccount", "serviceAccount": {"namespace": "kube-system", "name": name}})
}

fn everyone() -> Vec<Value> {
    vec![group("system:unauthenticated"), group("system:authenticated")]
}

/// Everything that can be asked.
fn everything(subjects: Vec<Value>) -> Value {
    json!({
        "subjects": subjects,
        "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true, "namespaces": ["*"]}],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    })
}

fn resources(subjects: Vec<Value>, rules: Vec<Value>) -> Value {
    json!({"subjects": subjects, "resourceRules": rules})
}

fn leases(namespace: &str) -> Value {
    json!({"verbs": ["get", "create", "update"], "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "namespaces": [namespace]})
}

fn schema(name: &str, precedence: u64, level: &str, by: &str, rules: Vec<Value>) -> Value {
    let mut spec = json!({
        "matchingPrecedence": precedence, "priorityLevelConfiguration": {"name": level}, "rules": rules,
    });
    if !by.is_empty() {
        spec["distinguisherMethod"] = json!({"type": by});
    }
    object("FlowSchema", name, spec)
}

fn schemas() -> Vec<Value> {
    let parts = || vec![user("system:kube-controller-manager"), user("system:kube-scheduler")];
    let endpoints = json!({"verbs": ["get", "create", "update"], "apiGroups": [""], "resources": ["endpoints"], "namespaces": ["*"]});
    let probes = json!({
        "subjects": everyone(),
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}],
    });
    let nodes = json!({"verbs": ["*"], "apiGroups": [""], "resources": ["nodes", "nodes/status"], "clusterScope": true, "namespaces": ["*"]});
    let node_leases = json!({"verbs": ["*"], "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "namespaces": ["*"]});
    let election = resources([parts(), vec![account("*")]].concat(), vec![leases("kube-system")]);
    let endpoint = resources(
        vec![account("endpoint-controller"), account("endpointslicemirroring-controller")],
        vec![endpoints],
    );
    let node_high = resources(vec![group("system:nodes")], vec![nodes, node_leases]);
    vec![
        schema("exempt", 1, "exempt", "", vec![everything(vec![group("system:masters")])]),
        schema("probes", 2, "exempt", "", vec![probes]),
        schema("system-leader-election", 100, "leader-election", "ByUser", vec![election]),
        schema("endpoint-controller", 150, "workload-high", "ByUser", vec![endpoint]),
        schema(
            "workload-leader-election",
            200,
            "leader-election",
            "ByUser",
            vec![resources(vec![account("*")], vec![leases("*")])],
        ),
        schema("system-node-high", 400, "node-high", "ByUser", vec![node_high]),
        schema(
            "system-nodes",
            500,
            "system",
            "ByUser",
            vec![everything(vec![group("system:nodes")])],
        ),
        schema(
            "kube-controller-manager",
            800,
            "workload-high",
            "ByNamespace",
            vec![everything(vec![user("system:kube-controller-manager")])],
        ),
        schema(
            "kube-scheduler",
            800,
            "workload-high",
            "ByNamespace",
            vec![everything(vec![user("system:kube-scheduler")])],
        ),
        schema(
            "kube-system-service-accounts",
            900,
            "workload-high",
            "ByNamespace",
            vec![everything(vec![account("*")])],
        ),
        schema(
            "service-accounts",
            9000,
            "workload-low",
            "ByUser",
            vec![everything(vec![group("system:serviceaccounts")])],
        ),
        schema("global-default", 9900, "global-default", "ByUser", vec![everything(everyone())]),
        schema("catch-all", 10000, "catch-all", "ByUser", vec![everything(everyone())]),
    ]
}
