//! Every admission plugin over a small cluster: what it fills in, and how it refuses.

use super::*;
use crate::audit::Notes;
use crate::cache::{encode, object_key};
use coracle_api::registry;
use coracle_store::{Guard, Store, Write};
use expect_test::{Expect, expect};
use serde_json::json;
use std::sync::Arc;

/// What is in the cluster of these tests.
fn cluster() -> Vec<Value> {
    let namespace =
        |name: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let mut leaving = namespace("leaving");
    leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let class = |name: &str, value: i64, default: bool| {
        json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name},
            "value": value, "globalDefault": default, "preemptionPolicy": "Never",
        })
    };
    vec![
        namespace("default"),
        leaving,
        class("high", 1000, false),
        class("usual", 5, true),
        json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot", "namespace": "default"},
            "imagePullSecrets": [{"name": "pull"}],
        }),
    ]
}

fn kind_of(object: &Value) -> &'static Kind {
    let version = object["apiVersion"].as_str().unwrap();
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    registry::by_kind(group, version, object["kind"].as_str().unwrap()).unwrap()
}

async fn caches() -> Arc<Caches> {
    let store = Store::memory();
    let caches = Caches::start(&store);
    for object in cluster() {
        let kind = kind_of(&object);
        let meta = &object["metadata"];
        let key = object_key(
            kind,
            meta["namespace"].as_str().unwrap_or(""),
            meta["name"].as_str().unwrap(),
        );
        store.commit(vec![Write::put(key, encode(kind, &object), Guard::Absent)]).await.unwrap();
    }
    caches
}

struct Case {
    user: UserInfo,
    operation: Operation,
    subresource: &'static str,
    old: Option<Value>,
}

const CREATE: fn() -> Case = || Case {
    user: UserInfo::component("kube-scheduler"),
    operation: Operation::Create,
    subresource: "",
    old: None,
};

fn by_node(operation: Operation, old: Option<Value>) -> Case {
    let user = UserInfo::new("system:node:n1", ["system:nodes"]);
    Case { user, operation, old, ..CREATE() }
}

fn check(case: Case, object: Value, expected: Expect) {
    expected.assert_eq(&admitted(case, object));
}

fn check_text(case: Case, object: Value, expected: &str) {
    assert_eq!(admitted(case, object), expected);
}

/// The object's spec as admission leaves it, or the refusal.
#[tokio::main(flavor = "current_thread")]
async fn admitted(case: Case, mut object: Value) -> String {
    let caches = caches().await;
    let (namespace, name) = (
        coracle_api::meta::namespace(&object).to_owned(),
        coracle_api::meta::name(&object).to_owned(),
    );
    let request = Request {
        user: &case.user,
        operation: case.operation,
        kind: kind_of(&object),
        subresource: case.subresource,
        namespace: &namespace,
        name: &name,
        notes: &Notes::default(),
    };
    let new = (case.operation != Operation::Delete).then_some(&mut object);
    match admit(&request, new, case.old.as_ref(), &caches) {
        Ok(()) => object["spec"].to_string(),
        Err(status) => format!("{}: {status}", status.code()),
    }
}

fn pod(namespace: &str, spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": namespace}, "spec": spec})
}

fn node(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": spec})
}

#[test]
fn namespaces_must_exist_and_stay() {
    check(CREATE(), pod("nowhere", json!({})), expect![[r#"404: namespaces "nowhere" not found"#]]);
    check(
        CREATE(),
        pod("leaving", json!({})),
        expect![[
            r#"403: pods "p" is forbidden: unable to create new content in namespace leaving because it is being terminated"#
        ]],
    );
    let case = Case { operation: Operation::Delete, ..CREATE() };
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}});
    check(
        case,
        namespace,
        expect![[
            r#"403: namespaces "kube-system" is forbidden: this namespace may not be deleted"#
        ]],
    );
}

#[test]
fn a_terminating_namespace_is_named_in_the_cause() {
    let request = Request {
        user: &UserInfo::default(),
        operation: Operation::Create,
        kind: registry::by_kind("", "v1", "Pod").unwrap(),
        subresource: "",
        namespace: "leaving",
        name: "p",
        notes: &Notes::default(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let caches = runtime.block_on(caches());
    let status = admit(&request, Some(&mut pod("leaving", json!({}))), None, &caches).unwrap_err();
    assert_eq!(status.to_value()["details"]["causes"][0]["reason"], "NamespaceTerminating");
}

#[test]
fn pods_get_account_priority_and_tolerations() {
    check(
        CREATE(),
        pod("default", json!({})),
        expect![[
            r#"{"preemptionPolicy":"Never","priority":5,"priorityClassName":"usual","serviceAccount":"default","serviceAccountName":"default","tolerations":[{"effect":"NoExecute","key":"node.kubernetes.io/not-ready","operator":"Exists","tolerationSeconds":300},{"effect":"NoExecute","key":"node.kubernetes.io/unreachable","operator":"Exists","tolerationSeconds":300}]}"#
        ]],
    );
    let spec = json!({
        "serviceAccountName": "robot",
        "priorityClassName": "high",
        "tolerations": [{"operator": "Exists"}],
    });
    check(
        CREATE(),
        pod("default", spec),
        expect![[
            r#"{"imagePullSecrets":[{"name":"pull"}],"preemptionPolicy":"Never","priority":1000,"priorityClassName":"high","serviceAccount":"robot","serviceAccountName":"robot","tolerations":[{"operator":"Exists"}]}"#
        ]],
    );
}

#[test]
fn pods_must_fit_their_account_and_class() {
    check(
        CREATE(),
        pod("default", json!({"serviceAccountName": "nobody"})),
        expect![[
            r#"403: pods "p" is forbidden: error looking up service account default/nobody: serviceaccount "nobody" not found"#
        ]],
    );
    check(
        CREATE(),
        pod("default", json!({"priorityClassName": "none"})),
        expect![[r#"403: pods "p" is forbidden: no PriorityClass with name none was found"#]],
    );
    check(
        CREATE(),
        pod("default", json!({"priorityClassName": "high", "priority": 7})),
        expect![[
            r#"403: pods "p" is forbidden: the integer value of priority (7) must not be provided in pod spec; priority admission controller computed 1000 from the given PriorityClass name"#
        ]],
    );
    check(
        CREATE(),
        pod("default", json!({"preemptionPolicy": "PreemptLowerPriority"})),
        expect![[
            r#"403: pods "p" is forbidden: the string value of PreemptionPolicy (PreemptLowerPriority) must not be provided in pod spec; priority admission controller computed Never from the given PriorityClass name"#
        ]],
    );
}

#[test]
fn one_priority_class_is_the_default() {
    let class = |name: &str| {
        json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
            "metadata": {"name": name}, "globalDefault": true,
        })
    };
    check(
        CREATE(),
        class("other"),
        expect![[
            r#"403: priorityclasses.scheduling.k8s.io "other" is forbidden: PriorityClass usual is already marked as default. Only one default can exist"#
        ]],
    );
    check(CREATE(), class("usual"), expect!["null"]);
}

#[test]
fn new_nodes_are_tainted_once() {
    check(
        CREATE(),
        node("n1", json!({})),
        expect![[r#"{"taints":[{"effect":"NoSchedule","key":"node.kubernetes.io/not-ready"}]}"#]],
    );
    let taints =
        json!({"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]});
    check(
        CREATE(),
        node("n1", taints),
        expect![[r#"{"taints":[{"effect":"NoSchedule","key":"node.kubernetes.io/not-ready"}]}"#]],
    );
}

#[test]
fn a_node_writes_about_itself() {
    check(
        by_node(Operation::Create, None),
        node("n1", json!({})),
        expect![[r#"{"taints":[{"effect":"NoSchedule","key":"node.kubernetes.io/not-ready"}]}"#]],
    );
    check(
        by_node(Operation::Create, None),
        node("n2", json!({})),
        expect![[r#"403: nodes "n2" is forbidden: node "n1" is not allowed to modify node "n2""#]],
    );
    let tainted = node("n1", json!({"taints": [{"key": "a", "effect": "NoSchedule"}]}));
    check(
        by_node(Operation::Update, Some(tainted)),
        node("n1", json!({})),
        expect![[r#"403: nodes "n1" is forbidden: node "n1" is not allowed to modify taints"#]],
    );
    let own = pod("default", json!({"nodeName": "n1"}));
    let other = pod("default", json!({"nodeName": "n2"}));
    let status = |old: &Value| Case {
        subresource: "status",
        ..by_node(Operation::Update, Some(old.clone()))
    };
    check(status(&own), own.clone(), expect![[r#"{"nodeName":"n1"}"#]]);
    check(
        status(&other),
        other.clone(),
        expect![[
            r#"403: pods "p" is forbidden: node "n1" can only write pod "p" when it is bound to that node"#
        ]],
    );
    check(
        by_node(Operation::Delete, Some(other.clone())),
        other,
        expect![[
            r#"403: pods "p" is forbidden: node "n1" can only write pod "p" when it is bound to that node"#
        ]],
    );
    check(
        by_node(Operation::Create, None),
        own,
        expect![[
            r#"403: pods "p" is forbidden: pod does not have "kubernetes.io/config.mirror" annotation, node "n1" can only create mirror pods"#
        ]],
    );
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "n2", "namespace": "default"}, "spec": {},
    });
    check(
        by_node(Operation::Create, None),
        lease,
        expect![[
            r#"403: leases.coordination.k8s.io "n2" is forbidden: node "n1" can only access a lease with the same name as the requesting node"#
        ]],
    );
}

#[test]
fn a_node_sets_only_the_labels_that_are_its_own() {
    let with = |label: &str| {
        let mut node = node("n1", json!({"taints": []}));
        node["metadata"]["labels"] = json!({label: "x"});
        node
    };
    let own = [
        "gpu",
        "example.com/gpu",
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
        "node.kubernetes.io/whatever",
        "a.kubelet.kubernetes.io/b",
        "notkubernetes.io/a",
    ];
    let none = || Some(node("n1", json!({"taints": []})));
    for label in own {
        let expected = expect![[r#"{"taints":[]}"#]];
        check(by_node(Operation::Update, none()), with(label), expected);
    }
    let refused = |old, label: &str, verb: &str| {
        let text = format!(
            "403: nodes \"n1\" is forbidden: node \"n1\" is not allowed to {verb} the following labels: {label}"
        );
        let operation = if verb == "set" { Operation::Create } else { Operation::Update };
        let new = if old { none().unwrap() } else { with(label) };
        let before = if old { Some(with(label)) } else { none().filter(|_| verb == "modify") };
        check_text(by_node(operation, before), new, &text);
    };
    for label in [
        "node-role.kubernetes.io/control-plane",
        "kubernetes.io/x",
        "x.k8s.io/y",
        "node-restriction.kubernetes.io/a",
    ] {
        refused(false, label, "set");
        refused(false, label, "modify");
        refused(true, label, "modify");
    }
}

#[test]
fn a_node_changes_no_labels_and_no_devices_with_a_status() {
    let own = pod("default", json!({"nodeName": "n1"}));
    let status = || Case { subresource: "status", ..by_node(Operation::Update, Some(own.clone())) };
    let mut labelled = own.clone();
    labelled["metadata"]["labels"] = json!({"app": "other"});
    check(
        status(),
        labelled,
        expect![[
            r#"403: pods "p" is forbidden: node "n1" cannot update labels through pod status"#
        ]],
    );
    let mut running = own.clone();
    running["status"] = json!({"phase": "Running"});
    check(status(), running.clone(), expect![[r#"{"nodeName":"n1"}"#]]);
    running["status"]["resourceClaimStatuses"] = json!([{"name": "a"}]);
    check(
        status(),
        running,
        expect![[r#"403: pods "p" is forbidden: node "n1" cannot update resource claim statuses"#]],
    );
}

#[test]
fn a_node_is_given_its_range() {
    let ranged = |range: &str| node("n1", json!({"podCIDR": range, "podCIDRs": [range]}));
    for (old, new) in [
        (None, ranged("10.128.0.0/18")),
        (Some(node("n1", json!({}))), ranged("10.128.0.0/18")),
        (Some(ranged("10.128.0.0/18")), ranged("10.128.64.0/18")),
    ] {
        let operation = if old.is_none() { Operation::Create } else { Operation::Update };
        check(
            by_node(operation, old),
            new,
            expect![[
                r#"403: nodes "n1" is forbidden: node "n1" is not allowed to choose its podCIDR: the control plane gives it one"#
            ]],
        );
    }
}

/// *Source:* the `NodeRestriction` and `ServiceAccount` plugins, for mirror pods.
#[test]
fn a_node_makes_mirrors_of_its_own_pods_alone() {
    let mirror = |spec: Value| {
        let mut pod = pod("default", spec);
        pod["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "hash"});
        pod["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u", "controller": true}]);
        pod
    };
    let made =
        |pod: Value, expected: Expect| check(by_node(Operation::Create, None), pod, expected);
    let bare = json!({"nodeName": "n1", "tolerations": [{"operator": "Exists"}]});
    made(
        mirror(bare),
        expect![[
            r#"{"nodeName":"n1","preemptionPolicy":"Never","priority":5,"priorityClassName":"usual","tolerations":[{"operator":"Exists"}]}"#
        ]],
    );
    made(
        mirror(json!({"nodeName": "n2"})),
        expect![[
            r#"403: pods "p" is forbidden: node "n1" can only create pods with spec.nodeName set to itself"#
        ]],
    );
    let volumes = json!([{"name": "v", "projected": {"sources": [{"secret": {"name": "s"}}]}}]);
    made(
        mirror(json!({"nodeName": "n1", "volumes": volumes})),
        expect![[
            r#"403: pods "p" is forbidden: node "n1" can not create pods that reference secrets ("p" does)"#
        ]],
    );
    made(
        mirror(json!({"nodeName": "n1", "serviceAccountName": "default"})),
        expect![[r#"403: pods "p" is forbidden: a mirror pod may not reference service accounts"#]],
    );
    let mut foreign = mirror(json!({"nodeName": "n1"}));
    foreign["metadata"]["ownerReferences"][0]["name"] = json!("n2");
    made(
        foreign,
        expect![[
            r#"403: pods "p" is forbidden: node "n1" can only create pods that it alone owns and controls"#
        ]],
    );
}

#[test]
fn the_system_s_priority_classes_stay() {
    let class = |name: &str| json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}});
    let case = || Case { operation: Operation::Delete, ..CREATE() };
    check(
        case(),
        class("system-node-critical"),
        expect![[
            r#"403: priorityclasses.scheduling.k8s.io "system-node-critical" is forbidden: this is a system priority class and cannot be deleted"#
        ]],
    );
    check(case(), class("high"), expect![[r#"null"#]]);
}
