//! Server-side apply with unmodified kubectl: conflicts and how they are settled, going over from
//! client-side apply, and seeing beforehand what would change.
#![expect(clippy::unwrap_used, reason = "a test")]

use coracle_e2e::{Cluster, KUBECTL_NEW, KUBECTL_OLD, Output};
use serde_json::{Value, json};

#[test]
fn the_newest_kubectl_applies_on_the_server() {
    all(KUBECTL_NEW);
}

#[test]
fn the_oldest_kubectl_applies_on_the_server() {
    all(KUBECTL_OLD);
}

fn all(version: &str) {
    let cluster = Cluster::start_with(version);
    conflicts_are_named_and_forced(&cluster);
    what_is_left_out_goes(&cluster);
    the_same_again_changes_nothing(&cluster);
    client_side_apply_goes_over(&cluster);
    commands_own_what_they_set(&cluster);
    diff_shows_what_would_change(&cluster);
    drift_is_seen_and_undone(&cluster);
    labels_by_hand_and_by_manifest(&cluster);
    mistakes_are_refused(&cluster);
}

fn apply_as(cluster: &Cluster, manager: &str, manifest: &str, more: &[&str]) -> Output {
    let field_manager = format!("--field-manager={manager}");
    let mut arguments = vec!["apply", "--server-side", field_manager.as_str(), "-f", "-"];
    arguments.extend(more);
    cluster.kubectl_with(&arguments, manifest)
}

fn applied(cluster: &Cluster, manager: &str, manifest: &str) -> String {
    let output = apply_as(cluster, manager, manifest, &[]);
    assert!(output.ok, "{output:?}");
    output.stdout
}

fn config(name: &str, data: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {data}\n")
}

/// Managers by the way they came to their fields: `Apply alice`.
fn managers(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap().to_owned();
    entries
        .iter()
        .map(|entry| format!("{} {}", text(entry, "operation"), text(entry, "manager")))
        .collect()
}

fn with_owners(cluster: &Cluster, kind: &str, name: &str) -> Value {
    let text = cluster.run(&["get", kind, name, "-o", "json", "--show-managed-fields"]);
    serde_json::from_str(&text).unwrap()
}

fn conflicts_are_named_and_forced(cluster: &Cluster) {
    let first = config("shared", "{key: one, other: one}");
    assert_eq!(applied(cluster, "alice", &first), "configmap/shared serverside-applied\n");
    let second = config("shared", "{key: two}");
    let refused = apply_as(cluster, "bob", &second, &[]);
    let said = "Apply failed with 1 conflict: conflict with \"alice\": .data.key\n";
    assert!(!refused.ok && refused.stderr.contains(said), "{refused:?}");
    assert!(refused.stderr.contains("--force-conflicts"), "{refused:?}");
    let forced = apply_as(cluster, "bob", &second, &["--force-conflicts"]);
    assert!(forced.ok, "{forced:?}");
    let object = with_owners(cluster, "configmap", "shared");
    assert_eq!(object["data"], json!({"key": "two", "other": "one"}));
    assert_eq!(managers(&object), ["Apply alice", "Apply bob"]);
}

fn what_is_left_out_goes(cluster: &Cluster) {
    applied(cluster, "carol", &config("less", "{a: '1', b: '1'}"));
    applied(cluster, "carol", &config("less", "{a: '1'}"));
    assert_eq!(cluster.get(&["configmap", "less"])["data"], json!({"a": "1"}));
    // Owned by two, it stays until the second lets go of it, too.
    applied(cluster, "dave", &config("less", "{a: '1'}"));
    applied(cluster, "carol", &config("less", "{}"));
    assert_eq!(cluster.get(&["configmap", "less"])["data"], json!({"a": "1"}));
    applied(cluster, "dave", &config("less", "{}"));
    assert_eq!(cluster.get(&["configmap", "less"])["data"]["a"], Value::Null);
}

const DEPLOYMENT: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: registry.example/web:1
        ports: [{containerPort: 80}]
        resources: {requests: {cpu: 0.5}}
";

fn the_same_again_changes_nothing(cluster: &Cluster) {
    applied(cluster, "kubectl", DEPLOYMENT);
    let version = || {
        // The controller writes the status once; what an apply writes is what is looked at.
        let object = with_owners(cluster, "deployment", "web");
        let own = object["metadata"]["managedFields"][0].clone();
        assert_eq!(managers(&object)[0], "Apply kubectl");
        (object["metadata"]["generation"].clone(), own)
    };
    let before = version();
    applied(cluster, "kubectl", DEPLOYMENT);
    assert_eq!(version(), before);
}

fn client_side_apply_goes_over(cluster: &Cluster) {
    cluster.apply(&config("moved", "{a: '1', b: '1'}"));
    assert_eq!(
        managers(&with_owners(cluster, "configmap", "moved")),
        ["Update kubectl-client-side-apply"]
    );
    // No conflict with itself, and what is left out goes although client-side apply set it.
    applied(cluster, "kubectl", &config("moved", "{a: '2'}"));
    let object = with_owners(cluster, "configmap", "moved");
    assert_eq!(object["data"], json!({"a": "2"}));
    // The second is kubectl's own, for its annotation.
    assert_eq!(managers(&object), ["Apply kubectl", "Apply kubectl-last-applied"]);
    // And back again.
    assert_eq!(cluster.apply(&config("moved", "{a: '3'}")), "configmap/moved configured\n");
    assert_eq!(cluster.get(&["configmap", "moved"])["data"], json!({"a": "3"}));
}

fn commands_own_what_they_set(cluster: &Cluster) {
    cluster.run(&["scale", "deployment", "web", "--replicas=1"]);
    let refused = apply_as(cluster, "flux", &DEPLOYMENT.replace("replicas: 0", "replicas: 2"), &[]);
    // Without `--field-manager` a command goes by the name of its program.
    let said = "\" with subresource \"scale\" using apps/v1: .spec.replicas";
    assert!(!refused.ok && refused.stderr.contains(said), "{refused:?}");
    cluster.run(&["scale", "deployment", "web", "--replicas=0"]);
}

fn diff_shows_what_would_change(cluster: &Cluster) {
    let changed = DEPLOYMENT.replace("web:1", "web:2");
    let difference = cluster.kubectl_with(&["diff", "--server-side", "-f", "-"], &changed);
    let lines =
        ["-      - image: registry.example/web:1", "+      - image: registry.example/web:2"];
    for line in lines {
        assert!(difference.stdout.lines().any(|found| found == line), "{difference:?}");
    }
    let same = cluster.kubectl_with(&["diff", "--server-side", "-f", "-"], DEPLOYMENT);
    assert!(!same.stdout.contains("image"), "{same:?}");
    let image = "jsonpath={.spec.template.spec.containers[0].image}";
    let image = cluster.run(&["get", "deployment", "web", "-o", image]);
    assert_eq!(image, "registry.example/web:1");
}

fn drift_is_seen_and_undone(cluster: &Cluster) {
    let manifest = DEPLOYMENT.replace("name: web}\nspec", "name: drift}\nspec");
    cluster.apply(&manifest);
    let set = ["set", "image", "deployment/drift", "web=registry.example/web:9"];
    cluster.run(&set);
    let difference = cluster.kubectl_with(&["diff", "-f", "-"], &manifest);
    let gone = "-      - image: registry.example/web:9";
    assert!(difference.stdout.lines().any(|line| line == gone), "{difference:?}");
    cluster.apply(&manifest);
    let image = ["get", "deployment", "drift", "-o", "jsonpath={..image}"];
    assert_eq!(cluster.run(&image), "registry.example/web:1");
    cluster.run(&set);
    let refused = apply_as(cluster, "flux", &manifest, &[]);
    let said = "using apps/v1: .spec.template.spec.containers[name=\"web\"].image";
    assert!(!refused.ok && refused.stderr.contains(said), "{refused:?}");
}

/// What neither manifest nor last-applied names is kept; what the manifest names, it wins.
fn labels_by_hand_and_by_manifest(cluster: &Cluster) {
    let pod = |labels: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: labelled, labels: {labels}}}\nspec:\n  \
             containers: [{{name: a, image: 'registry.example/a:1'}}]\n"
        )
    };
    let label =
        |cluster: &Cluster| cluster.get(&["pod", "labelled"])["metadata"]["labels"]["rel"].clone();
    cluster.apply(&pod("{app: a}"));
    cluster.run(&["label", "pod", "labelled", "rel=stable"]);
    cluster.apply(&pod("{app: b}"));
    assert_eq!(label(cluster), "stable");
    cluster.apply(&pod("{app: b, rel: beta}"));
    assert_eq!(label(cluster), "beta");
    let refused = apply_as(cluster, "flux", &pod("{rel: stable}"), &[]);
    let said = "using v1: .metadata.labels.rel";
    assert!(!refused.ok && refused.stderr.contains(said), "{refused:?}");
}

fn mistakes_are_refused(cluster: &Cluster) {
    let unknown = apply_as(cluster, "kubectl", &DEPLOYMENT.replace("replicas:", "replica:"), &[]);
    let said = ".spec.replica: field not declared in schema";
    assert!(!unknown.ok && unknown.stderr.contains(said), "{unknown:?}");
    let twice = DEPLOYMENT.replace(
        "      - name: web\n",
        "      - name: web\n        tty: true\n      - name: web\n",
    );
    let twice = apply_as(cluster, "kubectl", &twice, &[]);
    let said = ".spec.template.spec.containers: duplicate entries for key [name=\"web\"]";
    assert!(!twice.ok && twice.stderr.contains(said), "{twice:?}");
}
