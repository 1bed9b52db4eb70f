//! Unmodified Helm 3: a chart is installed, upgraded, rolled back and uninstalled, with running pods.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::process::Command;

use coracle_e2e::{Cluster, Output, build_guests, eventually, helm, root};
use serde_json::{Value, json};

/// Runs Helm on a cluster, with files of its own in the cluster's folder.
fn run(cluster: &Cluster, arguments: &[&str]) -> Output {
    let home = cluster.folder().join("helm");
    let output = Command::new(helm())
        .args(arguments)
        .env("KUBECONFIG", cluster.kubeconfig())
        .env("HELM_CACHE_HOME", home.join("cache"))
        .env("HELM_CONFIG_HOME", home.join("config"))
        .env("HELM_DATA_HOME", home.join("data"))
        .output()
        .unwrap();
    Output {
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        ok: output.status.success(),
    }
}

fn succeeds(cluster: &Cluster, arguments: &[&str]) -> String {
    let output = run(cluster, arguments);
    assert!(output.ok, "{arguments:?}: {output:?} {}", cluster.run(&["get", "pods,events"]));
    output.stdout
}

fn history(cluster: &Cluster) -> Vec<(i64, String)> {
    let text = succeeds(cluster, &["history", "site", "-o", "json"]);
    let revisions: Vec<Value> = serde_json::from_str(&text).unwrap();
    let status = |revision: &Value| revision["status"].as_str().unwrap().to_owned();
    revisions.iter().map(|r| (r["revision"].as_i64().unwrap(), status(r))).collect()
}

/// The flags by which Helm reaches the built-in registry as the administrator.
fn registry_flags(cluster: &Cluster) -> Vec<String> {
    let file = |name: &str, part: &str| {
        let template = format!("go-template={{{{{part} | base64decode}}}}");
        let text = cluster.run(&["config", "view", "--raw", "-o", &template]);
        let path = cluster.folder().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let user = "(index .users 0).user";
    let ca = file("ca.crt", "index (index .clusters 0).cluster \"certificate-authority-data\"");
    let certificate = file("c.crt", &format!("index {user} \"client-certificate-data\""));
    let key = file("c.key", &format!("index {user} \"client-key-data\""));
    vec![
        format!("--ca-file={ca}"),
        format!("--cert-file={certificate}"),
        format!("--key-file={key}"),
    ]
}

fn charts_come_from_the_built_in_registry(cluster: &Cluster) {
    let flags = registry_flags(cluster);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let folder = cluster.folder().to_str().unwrap();
    let chart = root().join("tests/e2e/charts/web");
    succeeds(cluster, &["package", chart.to_str().unwrap(), "-d", folder]);
    let server = cluster.run(&["config", "view", "-o", "jsonpath={.clusters[0].cluster.server}"]);
    let charts = format!("{}/charts", server.replace("https://", "oci://"));
    let package = format!("{folder}/web-1.0.0.tgz");
    succeeds(cluster, &[&["push", package.as_str(), charts.as_str()], &flags[..]].concat());
    std::fs::remove_file(&package).unwrap();

    let name = format!("{charts}/web");
    let pull = ["pull", name.as_str(), "--version=1.0.0", "-d", folder];
    succeeds(cluster, &[&pull[..], &flags[..]].concat());
    assert!(std::path::Path::new(&package).exists());
    let install = ["install", "pulled", name.as_str(), "--version=1.0.0", "--set=replicas=0"];
    let installed = succeeds(cluster, &[&install[..], &flags[..]].concat());
    assert!(installed.contains("STATUS: deployed"), "{installed}");
    assert_eq!(cluster.get(&["configmap", "pulled"])["data"]["greeting"], "hello");
}

/// `helm test` runs a pod to its end and gives its log; one that fails fails the command.
fn hooks_test_the_release(cluster: &Cluster, chart: &str) {
    let tested = succeeds(cluster, &["test", "site", "--logs", "--timeout=180s"]);
    assert!(tested.contains("Phase:          Succeeded"), "{tested}");
    assert!(tested.contains("POD LOGS: site-answers\nhello\n"), "{tested}");
    let away =
        ["install", "away", chart, "--set=replicas=0", "--set=testPath=:1/", "--set=testTries=1"];
    succeeds(cluster, &away);
    let tested = run(cluster, &["test", "away", "--timeout=180s"]);
    assert!(!tested.ok && tested.stdout.contains("Phase:          Failed"), "{tested:?}");
    succeeds(cluster, &["uninstall", "away", "--wait", "--timeout=180s"]);
    cluster.run(&["delete", "pod", "site-answers", "away-answers", "--now"]);
}

#[test]
fn install_upgrade_roll_back_uninstall() {
    let guests = build_guests("tests/guests");
    let cluster = Cluster::start();
    cluster.push("hello:1", &guests.join("hello_http.wasm"));
    cluster.push("behave:1", &guests.join("behave.wasm"));
    let chart = root().join("tests/e2e/charts/web");
    let chart = chart.to_str().unwrap();

    let dry = succeeds(&cluster, &["install", "site", chart, "--dry-run=server"]);
    assert!(dry.contains("kind: Deployment"), "{dry}");
    let installed = succeeds(&cluster, &["install", "site", chart, "--wait", "--timeout=180s"]);
    assert!(installed.contains("STATUS: deployed"), "{installed}");
    assert!(installed.contains("site says hello."), "{installed}");
    // Helm waits for the ReplicaSet; the Deployment's own count may come after.
    cluster.shows("deployment/site", "/status/readyReplicas", 1);
    let hook = cluster.get(&["configmap", "site-before"]);
    assert_eq!(hook["data"], json!({"revision": "1"}));
    // The chart's own kind came before its objects, with its defaults.
    assert_eq!(cluster.get(&["page", "site"])["spec"], json!({"title": "hello", "draft": false}));
    let again = run(&cluster, &["install", "site", chart]);
    assert!(!again.ok && again.stderr.contains("cannot re-use a name"), "{again:?}");

    hooks_test_the_release(&cluster, chart);

    let values = ["--set=replicas=2", "--set=greeting=hi"];
    let upgrade = ["upgrade", "site", chart, "--wait", "--timeout=180s"];
    succeeds(&cluster, &[&upgrade[..], &values[..]].concat());
    cluster.shows("deployment/site", "/status/readyReplicas", 2);
    assert_eq!(cluster.get(&["configmap", "site"])["data"]["greeting"], "hi");
    assert_eq!(cluster.get(&["configmap", "site-before"])["data"]["revision"], "2");

    succeeds(&cluster, &["rollback", "site", "1", "--wait", "--timeout=180s"]);
    assert_eq!(cluster.get(&["deployment", "site"])["spec"]["replicas"], 1);
    assert_eq!(cluster.get(&["configmap", "site"])["data"]["greeting"], "hello");
    let expected = [(1, "superseded"), (2, "superseded"), (3, "deployed")];
    assert_eq!(history(&cluster), expected.map(|(number, status)| (number, status.to_owned())));
    let manifest = succeeds(&cluster, &["get", "manifest", "site"]);
    assert!(manifest.contains("replicas: 1"), "{manifest}");

    succeeds(&cluster, &["uninstall", "site", "--wait", "--timeout=180s"]);
    assert!(!cluster.kubectl(&["get", "page", "site"]).ok);
    assert!(cluster.kubectl(&["get", "crd", "pages.web.example.com"]).ok, "Helm keeps definitions");
    // What is deleted in the background, the pods, goes after the release.
    eventually("nothing of it is left", || {
        let left = cluster.run(&["get", "deployment,service,secret,pods", "-o", "name"]);
        if left == "service/kubernetes\n" { Ok(()) } else { Err(left) }
    });
    assert_eq!(succeeds(&cluster, &["list", "--short"]), "");
    charts_come_from_the_built_in_registry(&cluster);
}
