//! The dashboard at `/ui`, in a real Chromium: one cluster with healthy and broken things in it, and somebody who looks
//! at them, changes them, and loses a host. The steps are in `tools/dashboard/dashboard.mjs`; what Headlamp asks of a
//! cluster is asked beside it, by `headlamp.mjs`.

use coracle_e2e::{
    Cluster, HELLO, HTTP, build_guests, container, eventually, in_chromium, in_node, pod, root,
    service, sh,
};
use serde_json::{Value, json};

/// Who may do everything, and who may only look at namespace `shop`.
const ADMIN: [&str; 2] = ["kube-system", "boss"];
const VIEWER: [&str; 2] = ["shop", "viewer"];

fn deployment(name: &str, replicas: u32, containers: &Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name},
                "annotations": {"coracle.dev/egress": "api.example.com:443"}},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": containers}}}})
}

fn within(namespace: &str, mut object: Value) -> Value {
    object["metadata"]["namespace"] = json!(namespace);
    object
}

fn web(greeting: &str) -> Value {
    let web = container(
        "web",
        HELLO,
        &json!({"ports": [{"containerPort": 8080}],
            "env": [{"name": "GREETING", "value": greeting}],
            "resources": {"requests": {"cpu": "10m"}, "limits": {"memory": "64Mi", "cpu": "500m"}}}),
    );
    let mut web = within("shop", deployment("web", 3, &json!([web])));
    web["metadata"]["labels"] = json!({"app.kubernetes.io/part-of": "storefront"});
    web["metadata"]["annotations"] = json!({
        "kubernetes.io/description": "Sells what the talkers praise",
        "coracle.dev/owner": "shop@example.com",
        "coracle.dev/depends-on": "talker.default, orphan, ghost",
    });
    web
}

/// Healthy and broken things in two namespaces.
fn furnish(cluster: &Cluster) {
    cluster.push_guests(&build_guests("tests/guests"));
    let talk = "i=0; while true; do i=$((i+1)); echo line $i of $HOSTNAME; sleep 0.5; done";
    let talk = sh("say", talk, &json!({"env": [{"name": "POD_WORD", "value": "inside"}]}));
    let missing = container("app", "registry.coracle.internal/missing:1", &json!({}));
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team"},
        "spec": {"hard": {"pods": "40"}}});
    let policy = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "only-talkers"}, "spec": {"podSelector": {"matchLabels": {"app": "web"}},
            "policyTypes": ["Ingress"], "ingress": [{"from": [{"namespaceSelector": {},
                "podSelector": {"matchLabels": {"app": "talker"}}}]}]}});
    let asked = container("asked", HTTP, &json!({"ports": [{"containerPort": 8080}]}));
    let way_in = json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"name": "front"}, "spec": {"rules": [{"host": "shop.example.com", "http": {
            "paths": [{"path": "/", "pathType": "Prefix",
                "backend": {"service": {"name": "asked", "port": {"number": 80}}}}]}}]}});
    let crash = json!({"containers": [sh("app", "echo going down; exit 3", &json!({}))]});
    cluster.run(&["create", "namespace", "shop"]);
    cluster.make(&[
        within("shop", quota),
        web("one"),
        within("shop", service("web", 8080)),
        within("shop", service("orphan", 80)),
        within("shop", deployment("broken", 1, &json!([missing]))),
        within("shop", policy),
        within("shop", deployment("asked", 1, &json!([asked]))),
        within("shop", service("asked", 8080)),
        within("shop", way_in),
        within("default", deployment("talker", 2, &json!([talk]))),
        within("default", service("talker", 80)),
        within("default", pod("crasher", &crash)),
    ]);
    cluster.run(&["-n", "shop", "rollout", "status", "deployment/web", "--timeout=180s"]);
    cluster.make(&[web("two")]);
    cluster.run(&["-n", "shop", "rollout", "status", "deployment/web", "--timeout=180s"]);
    cluster.run(&["rollout", "status", "deployment/talker", "--timeout=180s"]);
}

fn token([namespace, name]: [&str; 2]) -> impl Fn(&Cluster) -> String {
    let (namespace, name) = (namespace.to_owned(), name.to_owned());
    move |cluster| cluster.run(&["-n", &namespace, "create", "token", &name]).trim().to_owned()
}

/// Rows `obs.whats-running`, `obs.dashboard`, `obs.node-view`, `obs.log-viewer` and `obs.mem-check`, and the view of
/// `annot.convention`.
#[test]
fn the_dashboard_shows_and_does_it_all() {
    let cluster = Cluster::start();
    furnish(&cluster);
    for [namespace, name] in [ADMIN, VIEWER] {
        cluster.run(&["-n", namespace, "create", "serviceaccount", name]);
    }
    let boss = "--serviceaccount=kube-system:boss";
    cluster.run(&["create", "clusterrolebinding", "boss", "--clusterrole=cluster-admin", boss]);
    let viewer = "--serviceaccount=shop:viewer";
    cluster.run(&["-n", "shop", "create", "rolebinding", "viewer", "--clusterrole=view", viewer]);
    let node = cluster.run(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]);
    let given = json!({"url": format!("https://{}", cluster.registry()), "node": node,
        "admin": token(ADMIN)(&cluster), "viewer": token(VIEWER)(&cluster)});
    print!("{}", in_chromium("dashboard.mjs", &given));
    what_was_changed(&cluster);
    one_command_tells(&cluster, &node);
    print!("{}", in_chromium("headlamp.mjs", &given));

    let ended = cluster.coracle(&["host", "--shutdown"]);
    assert!(ended.ok, "{ended:?} {}", cluster.logs());
    let mut given = given;
    given["part"] = json!("node");
    print!("{}", in_chromium("dashboard.mjs", &given));
}

/// Numbers, YAML, comparisons, health, policies and the terminal, each by itself.
#[test]
fn the_pages_pure_rules_hold() {
    let web = root().join("dashboard/web");
    print!("{}", in_node("pure.mjs", &json!({"web": web})));
}

/// What the buttons did, as kubectl sees it.
fn what_was_changed(cluster: &Cluster) {
    let web = cluster.get(&["-n", "shop", "deployment", "web"]);
    let template = &web["spec"]["template"];
    assert_eq!(web["spec"]["replicas"], 2, "scaled");
    assert_eq!(web["spec"]["paused"], Value::Null, "resumed");
    assert_eq!(template["spec"]["containers"][0]["env"][0]["value"], "one", "undone");
    let restarted = &template["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"];
    assert!(restarted.is_string(), "restarted: {template}");
    let service = cluster.get(&["-n", "shop", "service", "web", "--show-managed-fields"]);
    assert_eq!(service["metadata"]["labels"]["seen"], "dashboard");
    let managers = service["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let applied =
        |each: &Value| each["manager"] == "coracle-dashboard" && each["operation"] == "Apply";
    assert!(managers.iter().any(applied), "{managers:?}");
}

/// Row `obs.whats-running` with kubectl: what runs, where, how it does, and its Service's name.
fn one_command_tells(cluster: &Cluster, node: &str) {
    eventually("one kubectl command tells it all", || {
        let told = cluster.run(&["get", "deployments,pods,services", "-n", "shop", "-o", "wide"]);
        let pods = told.lines().filter(|line| line.starts_with("pod/web-"));
        let healthy = pods.filter(|line| line.contains("1/1") && line.contains(node)).count();
        let named = told.lines().any(|line| line.starts_with("service/web "));
        if healthy == 2 && named { Ok(()) } else { Err(told) }
    });
    let logs = cluster.run(&["logs", "-l", "app=talker", "--prefix", "--tail=1"]);
    assert_eq!(logs.lines().filter(|line| line.starts_with("[pod/talker-")).count(), 2, "{logs}");
}
