//! Who may do what, a line for each request.

use super::*;
use crate::authn::NODES;
use crate::cache::{encode, object_key};
use coracle_api::registry;
use coracle_store::{Guard, Store, Write};
use expect_test::{Expect, expect};
use serde_json::{Value, json};

/// One pod on each of two nodes, which refer to everything that a pod can refer to.
fn pods() -> Vec<Value> {
    let pod = |node: &str| {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("on-{node}"), "namespace": "default"},
            "spec": {
                "nodeName": node,
                "serviceAccountName": format!("{node}-account"),
                "imagePullSecrets": [{"name": format!("{node}-pull")}],
                "volumes": [
                    {"name": "a", "configMap": {"name": format!("{node}-volume")}},
                    {"name": "b", "secret": {"secretName": format!("{node}-volume")}},
                    {"name": "c", "projected": {"sources": [
                        {"configMap": {"name": format!("{node}-projected")}},
                        {"secret": {"name": format!("{node}-projected")}},
                    ]}},
                ],
                "initContainers": [{"name": "i", "envFrom": [{"secretRef": {"name": format!("{node}-init")}}]}],
                "containers": [{"name": "c", "env": [
                    {"name": "E", "valueFrom": {"configMapKeyRef": {"name": format!("{node}-env"), "key": "k"}}},
                ]}],
            },
        })
    };
    vec![pod("n1"), pod("n2")]
}

/// Ann reads pods of `qa`, a robot of `qa` may read one Secret everywhere, and one binding leads nowhere.
fn roles() -> Vec<Value> {
    let object = |kind: &str, namespace: &str, name: &str, rest: Value| {
        let mut object = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": name},
        });
        if !namespace.is_empty() {
            object["metadata"]["namespace"] = json!(namespace);
        }
        object.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        object
    };
    let bind = |kind: &str, role: &str, subject: Value| json!({"roleRef": {"kind": kind, "name": role}, "subjects": [subject]});
    let rules = |resource: &str, names: Value, verbs: Value| json!({"rules": [{"apiGroups": [""], "resources": [resource], "resourceNames": names, "verbs": verbs}]});
    let robot = json!({"kind": "ServiceAccount", "name": "robot", "namespace": "qa"});
    let ann = || json!({"kind": "User", "name": "ann"});
    vec![
        object("Role", "qa", "pods", rules("pods", json!([]), json!(["get", "list"]))),
        object("RoleBinding", "qa", "ann-pods", bind("Role", "pods", ann())),
        object(
            "RoleBinding",
            "qa",
            "lost",
            bind("Role", "none", json!({"kind": "Group", "name": "lost"})),
        ),
        object("ClusterRole", "", "one-secret", rules("secrets", json!(["one"]), json!(["get"]))),
        object("ClusterRoleBinding", "", "robot", bind("ClusterRole", "one-secret", robot)),
    ]
}

/// Ingresses with certificates: of a class that nodes serve, and of a foreign one.
fn entrances() -> Vec<Value> {
    let class = |name: &str, controller: &str| {
        json!({"kind": "IngressClass", "metadata": {"name": name},
        "spec": {"controller": controller}})
    };
    let ingress = |name: &str, class: &str, secret: &str| {
        json!({"kind": "Ingress",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"ingressClassName": class, "tls": [{"secretName": secret}]}})
    };
    vec![
        class("coracle", "coracle.dev/ingress"),
        class("other", "example.com/ingress"),
        ingress("own", "coracle", "served"),
        ingress("foreign", "other", "not-served"),
    ]
}

async fn authorizer() -> Authorizer {
    let store = Store::memory();
    let caches = Caches::start(&store);
    let kind = registry::by_kind("", "v1", "Pod").unwrap();
    let mut writes = Vec::new();
    for pod in pods() {
        let key = object_key(kind, "default", pod["metadata"]["name"].as_str().unwrap());
        writes.push(Write::put(key, encode(kind, &pod), Guard::Absent));
    }
    for object in policy::objects().into_iter().chain(roles()) {
        let kind = object["kind"].as_str().unwrap();
        let kind = registry::by_kind(rbac::GROUP, "v1", kind).unwrap();
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        let key = object_key(kind, namespace, object["metadata"]["name"].as_str().unwrap());
        writes.push(Write::put(key, encode(kind, &object), Guard::Absent));
    }
    for object in entrances() {
        let kind = object["kind"].as_str().unwrap();
        let kind = registry::by_kind("networking.k8s.io", "v1", kind).unwrap();
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        let key = object_key(kind, namespace, object["metadata"]["name"].as_str().unwrap());
        writes.push(Write::put(key, encode(kind, &object), Guard::Absent));
    }
    store.commit(writes).await.unwrap();
    Authorizer::new(caches)
}

/// Reads `VERB RESOURCE[.GROUP][/SUBRESOURCE] [NAMESPACE/]NAME`, or `VERB /PATH`; `-` stands for no name.
fn parse(line: &str) -> Attributes<'_> {
    let mut words = line.split(' ');
    let mut next = || words.next().unwrap_or_default();
    let (verb, what, place) = (next(), next(), next());
    if what.starts_with('/') {
        return Attributes { verb, path: what, ..Attributes::default() };
    }
    let (resource, subresource) = what.split_once('/').unwrap_or((what, ""));
    let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
    let (namespace, name) = place.split_once('/').unwrap_or(("", place));
    let name = if name == "-" { "" } else { name };
    let node_name = words.next();
    Attributes { verb, group, resource, subresource, namespace, name, node_name, path: "" }
}

/// Checks each line of `requests`, and shows `yes` or why not.
#[tokio::main(flavor = "current_thread")]
async fn check(user: &UserInfo, requests: &[&str], expected: Expect) {
    let authorizer = authorizer().await;
    let mut text = String::new();
    for request in requests {
        let answer = match authorizer.check(user, &parse(request)) {
            Ok(()) => "yes".to_owned(),
            Err(status) => format!("{}: {status}", status.code()),
        };
        text.push_str(&format!("{request}: {answer}\n"));
    }
    expected.assert_eq(&text);
}

#[test]
fn masters_may_do_everything() {
    let requests = ["delete nodes n1", "get /metrics", "list secrets kube-system/-"];
    check(
        &UserInfo::new("admin", [MASTERS]),
        &requests,
        expect![[r#"
        delete nodes n1: yes
        get /metrics: yes
        list secrets kube-system/-: yes
    "#]],
    );
    check(
        &UserInfo::component("kube-scheduler"),
        &requests,
        expect![[r#"
        delete nodes n1: yes
        get /metrics: yes
        list secrets kube-system/-: yes
    "#]],
    );
}

#[test]
fn others_may_look_at_the_api_and_nothing_else() {
    let requests = [
        "get /version",
        "get /apis/apps/v1",
        "get /openapi/v3",
        "get /healthz",
        "get /readyz/ping",
        "get /metrics",
        "post /version",
        "get /apiserver",
        "list pods default/-",
        "get pods/log default/x",
        "get deployments.apps default/x",
        "create namespaces -",
    ];
    check(
        &UserInfo::new("jane", ["dev"]),
        &requests,
        expect![[r#"
        get /version: yes
        get /apis/apps/v1: yes
        get /openapi/v3: yes
        get /healthz: yes
        get /readyz/ping: 403: forbidden: User "jane" cannot get path "/readyz/ping"
        get /metrics: 403: forbidden: User "jane" cannot get path "/metrics"
        post /version: 403: forbidden: User "jane" cannot post path "/version"
        get /apiserver: 403: forbidden: User "jane" cannot get path "/apiserver"
        list pods default/-: 403: pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the namespace "default"
        get pods/log default/x: 403: pods "x" is forbidden: User "jane" cannot get resource "pods/log" in API group "" in the namespace "default"
        get deployments.apps default/x: 403: deployments.apps "x" is forbidden: User "jane" cannot get resource "deployments" in API group "apps" in the namespace "default"
        create namespaces -: 403: namespaces is forbidden: User "jane" cannot create resource "namespaces" in API group "" at the cluster scope
    "#]],
    );
}

fn node() -> UserInfo {
    UserInfo::new("system:node:n1", [NODES])
}

#[test]
fn a_node_keeps_itself() {
    let requests = [
        "create nodes -",
        "get nodes n2",
        "watch nodes -",
        "update nodes n1",
        "patch nodes/status n1",
        "patch nodes/status n2",
        "delete nodes n1",
        "create leases.coordination.k8s.io kube-node-lease/-",
        "update leases.coordination.k8s.io kube-node-lease/n1",
        "update leases.coordination.k8s.io kube-node-lease/n2",
        "update leases.coordination.k8s.io default/n1",
        "get nodes/proxy n1",
    ];
    check(
        &node(),
        &requests,
        expect![[r#"
        create nodes -: yes
        get nodes n2: yes
        watch nodes -: yes
        update nodes n1: yes
        patch nodes/status n1: yes
        patch nodes/status n2: 403: nodes "n2" is forbidden: User "system:node:n1" cannot patch resource "nodes/status" in API group "" at the cluster scope
        delete nodes n1: 403: nodes "n1" is forbidden: User "system:node:n1" cannot delete resource "nodes" in API group "" at the cluster scope
        create leases.coordination.k8s.io kube-node-lease/-: yes
        update leases.coordination.k8s.io kube-node-lease/n1: yes
        update leases.coordination.k8s.io kube-node-lease/n2: 403: leases.coordination.k8s.io "n2" is forbidden: User "system:node:n1" cannot update resource "leases" in API group "coordination.k8s.io" in the namespace "kube-node-lease"
        update leases.coordination.k8s.io default/n1: 403: leases.coordination.k8s.io "n1" is forbidden: User "system:node:n1" cannot update resource "leases" in API group "coordination.k8s.io" in the namespace "default"
        get nodes/proxy n1: 403: nodes "n1" is forbidden: User "system:node:n1" cannot get resource "nodes/proxy" in API group "" at the cluster scope
    "#]],
    );
}

#[test]
fn a_node_runs_its_own_pods() {
    let requests = [
        "list pods -",
        "watch pods - n2",
        "watch pods - n1",
        "get pods default/on-n1",
        "get pods default/on-n2",
        "get pods default/gone",
        "patch pods/status default/on-n1",
        "patch pods/status default/on-n2",
        "update pods default/on-n1",
        "delete pods default/on-n1",
        "delete pods default/on-n2",
        "create pods default/-",
        "create pods/binding default/on-n1",
    ];
    check(
        &node(),
        &requests,
        expect![[r#"
            list pods -: yes
            watch pods - n2: yes
            watch pods - n1: yes
            get pods default/on-n1: yes
            get pods default/on-n2: yes
            get pods default/gone: yes
            patch pods/status default/on-n1: yes
            patch pods/status default/on-n2: 403: pods "on-n2" is forbidden: User "system:node:n1" cannot patch resource "pods/status" in API group "" in the namespace "default": no relationship found between node 'n1' and pods 'on-n2'
            update pods default/on-n1: 403: pods "on-n1" is forbidden: User "system:node:n1" cannot update resource "pods" in API group "" in the namespace "default"
            delete pods default/on-n1: yes
            delete pods default/on-n2: 403: pods "on-n2" is forbidden: User "system:node:n1" cannot delete resource "pods" in API group "" in the namespace "default": no relationship found between node 'n1' and pods 'on-n2'
            create pods default/-: yes
            create pods/binding default/on-n1: 403: pods "on-n1" is forbidden: User "system:node:n1" cannot create resource "pods/binding" in API group "" in the namespace "default"
        "#]],
    );
}

#[test]
fn a_node_reads_what_its_pods_refer_to() {
    let requests = [
        "get configmaps default/n1-volume",
        "watch configmaps default/n1-projected",
        "list configmaps default/n1-env",
        "get secrets default/n1-volume",
        "get secrets default/n1-projected",
        "get secrets default/n1-init",
        "get secrets default/n1-pull",
        "get serviceaccounts default/n1-account",
        "get configmaps default/n2-volume",
        "get secrets default/n1-env",
        "get secrets other/n1-volume",
        "get serviceaccounts default/n2-account",
        "list secrets default/-",
        "watch configmaps -",
        "update configmaps default/n1-volume",
        "watch secrets default/served",
        "get secrets other/served",
        "get secrets default/not-served",
    ];
    check(
        &node(),
        &requests,
        expect![[r#"
        get configmaps default/n1-volume: yes
        watch configmaps default/n1-projected: yes
        list configmaps default/n1-env: yes
        get secrets default/n1-volume: yes
        get secrets default/n1-projected: yes
        get secrets default/n1-init: yes
        get secrets default/n1-pull: yes
        get serviceaccounts default/n1-account: yes
        get configmaps default/n2-volume: 403: configmaps "n2-volume" is forbidden: User "system:node:n1" cannot get resource "configmaps" in API group "" in the namespace "default": no relationship found between node 'n1' and configmaps 'n2-volume'
        get secrets default/n1-env: 403: secrets "n1-env" is forbidden: User "system:node:n1" cannot get resource "secrets" in API group "" in the namespace "default": no relationship found between node 'n1' and secrets 'n1-env'
        get secrets other/n1-volume: 403: secrets "n1-volume" is forbidden: User "system:node:n1" cannot get resource "secrets" in API group "" in the namespace "other": no relationship found between node 'n1' and secrets 'n1-volume'
        get serviceaccounts default/n2-account: 403: serviceaccounts "n2-account" is forbidden: User "system:node:n1" cannot get resource "serviceaccounts" in API group "" in the namespace "default": no relationship found between node 'n1' and serviceaccounts 'n2-account'
        list secrets default/-: 403: secrets is forbidden: User "system:node:n1" cannot list resource "secrets" in API group "" in the namespace "default": can only read namespaced object of this type by name
        watch configmaps -: 403: configmaps is forbidden: User "system:node:n1" cannot watch resource "configmaps" in API group "" at the cluster scope: can only read namespaced object of this type by name
        update configmaps default/n1-volume: 403: configmaps "n1-volume" is forbidden: User "system:node:n1" cannot update resource "configmaps" in API group "" in the namespace "default": can only read resources of this type
        watch secrets default/served: yes
        get secrets other/served: 403: secrets "served" is forbidden: User "system:node:n1" cannot get resource "secrets" in API group "" in the namespace "other": no relationship found between node 'n1' and secrets 'served'
        get secrets default/not-served: 403: secrets "not-served" is forbidden: User "system:node:n1" cannot get resource "secrets" in API group "" in the namespace "default": no relationship found between node 'n1' and secrets 'not-served'
    "#]],
    );
}

#[test]
fn a_node_routes_and_reports() {
    let requests = [
        "watch services -",
        "watch endpointslices.discovery.k8s.io -",
        "watch namespaces -",
        "update services default/x",
        "create events default/-",
        "patch events default/x",
        "list events default/-",
        "get /v2/app/manifests/1",
        "put /v2/app/manifests/1",
        "list deployments.apps -",
        "watch ingresses.networking.k8s.io -",
        "update ingresses.networking.k8s.io default/x",
        "watch gateways.gateway.networking.k8s.io -",
    ];
    check(
        &node(),
        &requests,
        expect![[r#"
        watch services -: yes
        watch endpointslices.discovery.k8s.io -: yes
        watch namespaces -: yes
        update services default/x: 403: services "x" is forbidden: User "system:node:n1" cannot update resource "services" in API group "" in the namespace "default"
        create events default/-: yes
        patch events default/x: yes
        list events default/-: 403: events is forbidden: User "system:node:n1" cannot list resource "events" in API group "" in the namespace "default"
        get /v2/app/manifests/1: yes
        put /v2/app/manifests/1: 403: forbidden: User "system:node:n1" cannot put path "/v2/app/manifests/1"
        list deployments.apps -: 403: deployments.apps is forbidden: User "system:node:n1" cannot list resource "deployments" in API group "apps" at the cluster scope
        watch ingresses.networking.k8s.io -: yes
        update ingresses.networking.k8s.io default/x: 403: ingresses.networking.k8s.io "x" is forbidden: User "system:node:n1" cannot update resource "ingresses" in API group "networking.k8s.io" in the namespace "default"
        watch gateways.gateway.networking.k8s.io -: yes
    "#]],
    );
}

#[test]
fn a_role_counts_where_it_is_bound() {
    check(
        &UserInfo::new("ann", []),
        &[
            "get pods qa/x",
            "list pods qa/-",
            "delete pods qa/x",
            "get pods default/x",
            "list pods -",
        ],
        expect![[r#"
            get pods qa/x: yes
            list pods qa/-: yes
            delete pods qa/x: 403: pods "x" is forbidden: User "ann" cannot delete resource "pods" in API group "" in the namespace "qa"
            get pods default/x: 403: pods "x" is forbidden: User "ann" cannot get resource "pods" in API group "" in the namespace "default"
            list pods -: 403: pods is forbidden: User "ann" cannot list resource "pods" in API group "" at the cluster scope
        "#]],
    );
    check(
        &UserInfo::new("system:serviceaccount:qa:robot", []),
        &[
            "get secrets default/one",
            "get secrets qa/two",
            "list secrets default/-",
            "list secrets default/one",
        ],
        expect![[r#"
            get secrets default/one: yes
            get secrets qa/two: 403: secrets "two" is forbidden: User "system:serviceaccount:qa:robot" cannot get resource "secrets" in API group "" in the namespace "qa"
            list secrets default/-: 403: secrets is forbidden: User "system:serviceaccount:qa:robot" cannot list resource "secrets" in API group "" in the namespace "default"
            list secrets default/one: 403: secrets "one" is forbidden: User "system:serviceaccount:qa:robot" cannot list resource "secrets" in API group "" in the namespace "default"
        "#]],
    );
}

#[test]
fn a_binding_to_nothing_is_named() {
    check(
        &UserInfo::new("x", ["lost"]),
        &["get pods qa/x", "get pods default/x"],
        expect![[r#"
            get pods qa/x: 403: pods "x" is forbidden: User "x" cannot get resource "pods" in API group "" in the namespace "qa": RBAC: role.rbac.authorization.k8s.io "none" not found
            get pods default/x: 403: pods "x" is forbidden: User "x" cannot get resource "pods" in API group "" in the namespace "default"
        "#]],
    );
}
