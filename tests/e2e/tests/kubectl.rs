//! Unmodified kubectl: the commands that a new user types, one after another, and what they print.
//! Every verb in the newest and the oldest version is in `kubectl_verbs`.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::io::{BufRead as _, BufReader};

use coracle_e2e::{Cluster, KUBECTL_NEW, build_guests, eventually, get};
use serde_json::json;

#[test]
fn the_newest_kubectl() {
    let guests = build_guests("tests/guests");
    let cluster = Cluster::start_with(KUBECTL_NEW);
    cluster.push("hello:1", &guests.join("hello_http.wasm"));
    cluster.push("hello:2", &guests.join("hello_http.wasm"));
    about_the_cluster(&cluster);
    apply_and_create(&cluster);
    get_in_every_form(&cluster);
    watch_sees_changes(&cluster);
    labels_and_annotations(&cluster);
    a_deployment_serves(&cluster);
    rollouts(&cluster);
    describe_and_events(&cluster);
    deletion(&cluster);
}

fn about_the_cluster(cluster: &Cluster) {
    assert!(cluster.run(&["version"]).contains("Server Version: v1.35."));
    assert!(cluster.run(&["cluster-info"]).contains("Kubernetes control plane"));
    assert_eq!(cluster.run(&["get", "--raw", "/readyz"]), "ok");
    let ready = cluster.run(&["get", "--raw", "/readyz?verbose"]);
    assert!(ready.contains("[+]") && ready.ends_with("readyz check passed\n"), "{ready}");
    let resources = cluster.run(&["api-resources"]);
    for row in ["configmaps", "deployments", "endpointslices", "priorityclasses"] {
        assert!(resources.lines().any(|line| line.starts_with(row)), "{row}: {resources}");
    }
    let explained = cluster.run(&["explain", "deployment.spec.strategy.rollingUpdate"]);
    assert!(explained.contains("maxSurge") && explained.contains("IntOrString"), "{explained}");
    assert!(explained.contains("maximum number of pods"), "descriptions are missing: {explained}");
    let namespaces = cluster.run(&["get", "namespaces", "-o", "name"]);
    let expected = ["default", "kube-node-lease", "kube-public", "kube-system"];
    assert_eq!(namespaces, expected.map(|name| format!("namespace/{name}\n")).concat());
    let service = cluster.run(&["get", "service", "kubernetes"]);
    assert!(service.contains("ClusterIP   10.96.0.1") && service.contains("443/TCP"), "{service}");
    let nodes = cluster.run(&["get", "nodes", "-o", "wide"]);
    assert!(nodes.contains("Ready") && nodes.contains("wasmtime://48.0."), "{nodes}");
}

fn apply_and_create(cluster: &Cluster) {
    let two = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\ndata: {key: value}\n---\n\
        apiVersion: v1\nkind: Secret\nmetadata: {name: two}\nstringData: {key: value}\n";
    assert_eq!(cluster.apply(two), "configmap/one created\nsecret/two created\n");
    // A Secret with `stringData` is sent again by every apply: the server never gives that back.
    assert_eq!(cluster.apply(two), "configmap/one unchanged\nsecret/two configured\n");
    let changed = two.replace("data: {key: value}\n---", "data: {other: value}\n---");
    assert!(cluster.apply(&changed).starts_with("configmap/one configured\n"));
    assert_eq!(cluster.get(&["configmap", "one"])["data"], json!({"other": "value"}));
    let secret = cluster.run(&["get", "secret", "two", "-o", "jsonpath={.data.key}"]);
    assert_eq!(secret, "dmFsdWU=");

    let list = r#"{"apiVersion":"v1","kind":"List","items":[
        {"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","labels":{"set":"list"}}},
        {"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"b","labels":{"set":"list"}}}]}"#;
    assert_eq!(cluster.apply(list), "configmap/a created\nconfigmap/b created\n");
    let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {generateName: made-}\n";
    let created = cluster.kubectl_with(&["create", "-f", "-"], manifest);
    assert!(created.ok && created.stdout.starts_with("configmap/made-"), "{created:?}");
    let again = cluster.kubectl_with(&["create", "-f", "-"], list);
    assert!(!again.ok && again.stderr.contains("configmaps \"a\" already exists"), "{again:?}");
    let dry = cluster.kubectl_with(
        &["apply", "--dry-run=server", "-f", "-"],
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: dry}\n",
    );
    assert_eq!(dry.stdout, "configmap/dry created (server dry run)\n");
    assert!(!cluster.kubectl(&["get", "configmap", "dry"]).ok);
}

fn get_in_every_form(cluster: &Cluster) {
    let table = cluster.run(&["get", "configmap", "one"]);
    let header: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(header, ["NAME", "DATA", "AGE"]);
    assert!(
        cluster.run(&["get", "configmap", "one", "-o", "yaml"]).contains("\nkind: ConfigMap\n")
    );
    assert_eq!(cluster.get(&["configmap", "one"])["kind"], "ConfigMap");
    assert_eq!(cluster.run(&["get", "cm", "one", "-o", "name"]), "configmap/one\n");
    let path = "jsonpath={.items[*].metadata.name}";
    assert_eq!(cluster.run(&["get", "cm", "-l", "set=list", "-o", path]), "a b");
    assert_eq!(cluster.run(&["get", "cm", "-l", "set in (list),set notin (x)", "-o", path]), "a b");
    let field = ["get", "cm", "--field-selector", "metadata.name=b", "-o", path];
    assert_eq!(cluster.run(&field), "b");
    let all = cluster.run(&["get", "configmaps", "-A", "--no-headers"]);
    assert!(all.lines().any(|line| line.starts_with("default") && line.contains(" one ")), "{all}");
    let bad = cluster.kubectl(&["get", "pods", "--field-selector", "spec.nosuch=x"]);
    assert!(bad.stderr.contains("field label not supported: spec.nosuch"), "{bad:?}");
    let missing = cluster.kubectl(&["get", "pod", "nosuch"]);
    assert!(missing.stderr.contains("pods \"nosuch\" not found"), "{missing:?}");
}

fn watch_sees_changes(cluster: &Cluster) {
    let mut watch =
        cluster.kubectl_command(&["get", "cm", "-w", "-l", "set=list"]).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    assert!(next().starts_with("NAME"));
    assert!(next().starts_with('a') && next().starts_with('b'));
    let patch = r#"{"data":{"x":"1","y":"2"}}"#;
    cluster.run(&["patch", "cm", "b", "--type=merge", "-p", patch]);
    let row = next();
    assert_eq!(row.split_whitespace().take(2).collect::<Vec<_>>(), ["b", "2"]);
    watch.kill().unwrap();
    watch.wait().unwrap();
}

fn labels_and_annotations(cluster: &Cluster) {
    assert_eq!(cluster.run(&["label", "cm", "one", "team=blue"]), "configmap/one labeled\n");
    assert_eq!(cluster.run(&["get", "cm", "-l", "team=blue", "-o", "name"]), "configmap/one\n");
    let refused = cluster.kubectl(&["label", "cm", "one", "team=red"]);
    assert!(refused.stderr.contains("already has a value"), "{refused:?}");
    assert_eq!(cluster.run(&["label", "cm", "one", "team-"]), "configmap/one unlabeled\n");
    assert_eq!(cluster.run(&["annotate", "cm", "one", "note=x"]), "configmap/one annotated\n");
    assert_eq!(cluster.get(&["cm", "one"])["metadata"]["annotations"]["note"], "x");
}

fn deployment(port: u16) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "hello"}, "spec": {
            "replicas": 2, "selector": {"matchLabels": {"app": "hello"}},
            "template": {"metadata": {"labels": {"app": "hello"}}, "spec": {"containers": [
                {"name": "hello", "image": "registry.coracle.internal/hello:1",
                 "ports": [{"name": "http", "containerPort": 8080}]}]}}}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "hello"}, "spec": {
            "type": "NodePort", "selector": {"app": "hello"},
            "ports": [{"port": 80, "targetPort": "http", "nodePort": port}]}},
    ]})
    .to_string()
}

fn a_deployment_serves(cluster: &Cluster) {
    let port = cluster.node_port(0);
    cluster.apply(&deployment(port));
    let status = cluster.run(&["rollout", "status", "deployment/hello", "--timeout=180s"]);
    assert!(status.ends_with("deployment \"hello\" successfully rolled out\n"), "{status}");
    let answer = eventually("hello answers", || get(port, "/"));
    assert_eq!((answer.status, answer.body.as_str()), (200, "hello\n"));
    let table = cluster.run(&["get", "deployment,replicaset,pods", "-o", "wide"]);
    assert!(table.contains("2/2") && table.contains("Running"), "{table}");
    let slices = cluster.run(&["get", "endpointslices", "-l", "kubernetes.io/service-name=hello"]);
    assert!(slices.contains("8080"), "{slices}");
    assert_eq!(
        cluster.run(&["scale", "deployment/hello", "--replicas=4"]),
        "deployment.apps/hello scaled\n"
    );
    cluster.run(&[
        "wait",
        "--for=jsonpath={.status.readyReplicas}=4",
        "deployment/hello",
        "--timeout=180s",
    ]);
    cluster.run(&["wait", "--for=condition=Available", "deployment/hello", "--timeout=180s"]);
    let pods = cluster.run(&["get", "pods", "-l", "app=hello", "-o", "name"]);
    assert_eq!(pods.lines().count(), 4);
}

fn rollouts(cluster: &Cluster) {
    let image = ["set", "image", "deployment/hello", "hello=registry.coracle.internal/hello:2"];
    assert_eq!(cluster.run(&image), "deployment.apps/hello image updated\n");
    cluster.run(&["rollout", "status", "deployment/hello", "--timeout=180s"]);
    let history = cluster.run(&["rollout", "history", "deployment/hello"]);
    assert!(
        history.contains("REVISION") && history.lines().any(|line| line.starts_with('2')),
        "{history}"
    );
    cluster.run(&["rollout", "undo", "deployment/hello"]);
    cluster.run(&["rollout", "status", "deployment/hello", "--timeout=180s"]);
    let path = "jsonpath={.spec.template.spec.containers[0].image}";
    let image = cluster.run(&["get", "deployment", "hello", "-o", path]);
    assert_eq!(image, "registry.coracle.internal/hello:1");
    let before = cluster.run(&["get", "pods", "-l", "app=hello", "-o", "name"]);
    assert_eq!(
        cluster.run(&["rollout", "restart", "deployment/hello"]),
        "deployment.apps/hello restarted\n"
    );
    cluster.run(&["rollout", "status", "deployment/hello", "--timeout=180s"]);
    eventually("all pods are new", || {
        let after = cluster.run(&["get", "pods", "-l", "app=hello", "-o", "name"]);
        let kept = after.lines().any(|pod| before.contains(pod));
        if kept || after.lines().count() != 4 { Err(after) } else { Ok(()) }
    });
}

fn describe_and_events(cluster: &Cluster) {
    // Events are told beside the work, so they come when they come.
    let says = |command: &[&str], parts: &[&str]| {
        eventually(&command.join(" "), || {
            let said = cluster.run(command);
            if parts.iter().all(|part| said.contains(part)) { Ok(()) } else { Err(said) }
        });
    };
    let all = "4 desired | 4 updated | 4 total | 4 available";
    says(&["describe", "deployment", "hello"], &[all, "ScalingReplicaSet"]);
    let parts = ["Status:           Running", "Scheduled", "Pulled", "Created", "Started"];
    says(&["describe", "pods", "-l", "app=hello"], &parts);
    let described = cluster.run(&["describe", "nodes"]);
    assert!(
        described.contains("Allocated resources") && described.contains("wasmtime://"),
        "{described}"
    );
    says(&["events", "--for", "deployment/hello"], &["ScalingReplicaSet"]);
    says(&["get", "events"], &["Successfully assigned"]);
}

fn deletion(cluster: &Cluster) {
    let pod = cluster.run(&[
        "get",
        "pods",
        "-l",
        "app=hello",
        "-o",
        "jsonpath={.items[0].metadata.name}",
    ]);
    assert!(cluster.run(&["delete", "pod", &pod]).contains("deleted"));
    eventually("the pod is replaced", || {
        let pods = cluster.run(&["get", "pods", "-l", "app=hello", "-o", "name"]);
        if pods.lines().count() == 4 && !pods.contains(&pod) { Ok(()) } else { Err(pods) }
    });
    cluster.run(&["delete", "deployment", "hello"]);
    eventually("its pods are gone", || {
        let left = cluster.run(&["get", "pods,replicasets", "-l", "app=hello", "-o", "name"]);
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
    cluster.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: gone}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: gone}\n");
    assert!(cluster.run(&["delete", "namespace", "gone"]).contains("\"gone\" deleted"));
    assert!(!cluster.kubectl(&["get", "namespace", "gone"]).ok);
}
