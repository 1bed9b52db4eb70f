//! What people do on their first day: one command makes a service, one file makes an application, and both look after
//! themselves, on one host and on two.

use coracle_e2e::{Cluster, HELLO, Machines, build_guests, container, eventually, sh};
use serde_json::{Value, json};

fn object(version: &str, kind: &str, name: &str, rest: Value) -> Value {
    let mut made = json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}});
    if let (Some(made), Value::Object(rest)) = (made.as_object_mut(), rest) {
        made.extend(rest);
    }
    made
}

/// An application of ten kinds, in one file: its job reads what a ConfigMap and a Secret hold, and asks its web server
/// through a Service.
fn application() -> Value {
    let labels = json!({"app": "shop"});
    let web = container("web", HELLO, &json!({"ports": [{"containerPort": 8080}]}));
    let reads = sh(
        "report",
        "echo $(cat /etc/shop/motto) $PASSWORD $(wget -q -O - http://shop)",
        &json!({"env": [{"name": "PASSWORD",
                "valueFrom": {"secretKeyRef": {"name": "shop", "key": "password"}}}],
            "volumeMounts": [{"name": "config", "mountPath": "/etc/shop"}]}),
    );
    let job = json!({"restartPolicy": "Never", "serviceAccountName": "shop",
        "volumes": [{"name": "config", "configMap": {"name": "shop"}}], "containers": [reads]});
    let group = "rbac.authorization.k8s.io";
    json!({"apiVersion": "v1", "kind": "List", "items": [
        object("v1", "ConfigMap", "shop", json!({"data": {"motto": "buy"}})),
        object("v1", "Secret", "shop", json!({"stringData": {"password": "low"}})),
        object("v1", "ServiceAccount", "shop", json!({})),
        object("rbac.authorization.k8s.io/v1", "Role", "shop",
            json!({"rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]})),
        object("rbac.authorization.k8s.io/v1", "RoleBinding", "shop",
            json!({"roleRef": {"apiGroup": group, "kind": "Role", "name": "shop"},
                "subjects": [{"kind": "ServiceAccount", "name": "shop"}]})),
        object("v1", "Service", "shop",
            json!({"spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]}})),
        object("apps/v1", "Deployment", "shop",
            json!({"spec": {"replicas": 2, "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [web]}}}})),
        object("policy/v1", "PodDisruptionBudget", "shop",
            json!({"spec": {"minAvailable": 1, "selector": {"matchLabels": labels}}})),
        object("networking.k8s.io/v1", "NetworkPolicy", "shop",
            json!({"spec": {"podSelector": {"matchLabels": labels},
                "ingress": [{"ports": [{"port": 8080}]}]}})),
        object("batch/v1", "Job", "shop",
            json!({"spec": {"backoffLimit": 20, "template": {"spec": job}}})),
    ]})
}

/// Rows `ux.new-service` and `ux.many-parts`.
#[test]
fn one_command_makes_a_service_and_one_file_an_application() {
    let cluster = Cluster::start();
    cluster.push_guests(&build_guests("tests/guests"));
    cluster.run(&["run", "web", &format!("--image={HELLO}"), "--port=8080", "--expose"]);
    eventually("the new service answers", || {
        let path = "/api/v1/namespaces/default/services/web:8080/proxy/";
        let answer = cluster.kubectl(&["get", "--raw", path]);
        if answer.stdout.contains("hello") { Ok(()) } else { Err(answer) }
    });
    let file = cluster.folder().join("shop.json");
    std::fs::write(&file, application().to_string()).expect("a file");
    let made = cluster.run(&["apply", "-f", &file.display().to_string()]);
    assert_eq!(made.lines().filter(|line| line.ends_with(" created")).count(), 10, "{made}");
    cluster.run(&["wait", "--for=condition=complete", "job/shop", "--timeout=60s"]);
    let said = cluster.run(&["logs", "job/shop"]);
    assert!(said.contains("buy low hello"), "{said}");
    let gone = cluster.run(&["delete", "-f", &file.display().to_string(), "--wait=false"]);
    assert_eq!(gone.lines().count(), 10, "{gone}");
}

/// Row `ux.auto-run`: what is killed comes back; what has no room says what lacks, and runs when a host is added.
#[test]
fn it_runs_by_itself_as_long_as_there_is_room() {
    let mut machines = Machines::start(3);
    let hello = build_guests("tests/guests").join("hello_http.wasm");
    let pushed = machines.coracle(&["push", "hello:1", &hello.display().to_string()]);
    assert!(pushed.ok, "{pushed:?}");
    let mut words = machines.token();
    words.push("--max-pods=2".to_owned());
    machines.start_host(1, &words);
    machines.wait_ready(1);
    machines.run(&["create", "deployment", "web", &format!("--image={HELLO}"), "--replicas=3"]);
    let ready = |machines: &Machines, wanted: u64| {
        eventually(&format!("{wanted} are ready"), || {
            let web = machines.get(&["deployment", "web"]);
            let found = web["status"]["readyReplicas"].as_u64().unwrap_or(0);
            if found == wanted { Ok(()) } else { Err((web["status"].clone(), machines.logs())) }
        });
    };
    ready(&machines, 2);
    eventually("the third says what lacks", || {
        let told = machines.run(&["get", "events", "--field-selector=reason=FailedScheduling"]);
        if told.contains("Too many pods") { Ok(()) } else { Err(told) }
    });
    let pods = machines.get(&["pods", "--field-selector=spec.nodeName!="]);
    let first = pods["items"][0]["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    machines.run(&["delete", "pod", &first, "--wait=false"]);
    ready(&machines, 2);
    machines.start_host(2, &words);
    ready(&machines, 3);
    let there = machines.kubectl(&["get", "pod", &first]);
    assert!(!there.ok, "what was deleted stays so: {there:?}");
}
