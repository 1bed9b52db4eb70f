//! Deleting with unmodified kubectl: what becomes of the objects that a deleted one owns.

use coracle_e2e::{Cluster, build_guests, eventually};

fn deployment(name: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{{name: web, image: 'registry.coracle.internal/hello:1', ports: [{{containerPort: 8080}}]}}]
"
    )
}

fn start(cluster: &Cluster, name: &str) {
    cluster.apply(&deployment(name));
    cluster.run(&["rollout", "status", &format!("deployment/{name}"), "--timeout=180s"]);
}

fn owned(cluster: &Cluster, name: &str) -> usize {
    let selector = format!("app={name}");
    let found = cluster.run(&["get", "replicasets,pods", "-l", &selector, "-o", "name"]);
    found.lines().count()
}

#[test]
fn dependents_are_orphaned_or_deleted() {
    let guests = build_guests("tests/guests");
    let cluster = Cluster::start();
    cluster.push("hello:1", &guests.join("hello_http.wasm"));

    start(&cluster, "kept");
    cluster.run(&["delete", "deployment", "kept", "--cascade=orphan"]);
    assert_eq!(owned(&cluster, "kept"), 3);
    let sets = cluster.get(&["replicasets", "-l", "app=kept"]);
    assert_eq!(sets["items"][0]["metadata"].get("ownerReferences"), None);

    start(&cluster, "gone");
    cluster.run(&["delete", "deployment", "gone"]);
    eventually("what it owned is deleted", || match owned(&cluster, "gone") {
        0 => Ok(()),
        left => Err(left),
    });

    start(&cluster, "last");
    cluster.run(&["delete", "deployment", "last", "--cascade=foreground", "--timeout=180s"]);
    // It went after everything that it owned.
    assert_eq!(owned(&cluster, "last"), 0);
    assert_eq!(owned(&cluster, "kept"), 3);

    let selected = ["delete", "pods,replicasets", "-l", "app=kept", "--wait=false"];
    let answer = cluster.run(&selected);
    assert_eq!(answer.lines().filter(|line| line.contains("deleted")).count(), 3, "{answer}");
    let dry = cluster.run(&["create", "configmap", "only-tried", "--dry-run=server"]);
    assert_eq!(dry, "configmap/only-tried created (server dry run)\n");
    assert!(!cluster.kubectl(&["get", "configmap", "only-tried"]).ok);
}
