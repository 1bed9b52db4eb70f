//! Every endpoint that Prometheus scrapes, checked against the names that kubernetes-mixin and `examples/monitoring` use.
#![expect(clippy::expect_used, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use coracle_e2e::{BEHAVE, Cluster, HELLO, build_guests, container, eventually, pod, root, sh};
use serde_json::{Value, json};

/// The endpoints by the words of `kubernetes-mixin.txt`.
fn scrape(cluster: &Cluster, node: &str) -> BTreeMap<&'static str, String> {
    let raw = |path: &str| {
        eventually(path, || {
            let page = cluster.kubectl(&["get", "--raw", path]);
            if page.ok { Ok(page.stdout) } else { Err(page) }
        })
    };
    let proxied = |path: &str| raw(&format!("/api/v1/nodes/{node}/proxy/{path}"));
    BTreeMap::from([
        ("server", raw("/metrics")),
        ("kube-state", raw("/metrics/kube-state")),
        ("kubelet", proxied("metrics")),
        ("cadvisor", proxied("metrics/cadvisor")),
        ("resource", proxied("metrics/resource")),
    ])
}

/// Whether a page has a value of a metric.
fn has(page: &str, name: &str) -> bool {
    let value = |line: &str| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' '))
    };
    page.lines().any(value)
}

fn workload(kind: &str, name: &str, more: Value) -> Value {
    let template = json!({"metadata": {"labels": {"app": name}}, "spec": {"containers": [container(
        "web", HELLO, &json!({"ports": [{"containerPort": 8080}],
            "resources": {"requests": {"cpu": "10m"}, "limits": {"cpu": "500m", "memory": "64Mi"}}}))]}});
    let mut spec = json!({"selector": {"matchLabels": {"app": name}}, "template": template});
    if let (Some(spec), Value::Object(more)) = (spec.as_object_mut(), more) {
        spec.extend(more);
    }
    json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

/// One of each kind that metrics tell of.
fn furnish(cluster: &Cluster, node: &str) {
    cluster.push_guests(&build_guests("tests/guests"));
    let job = |name: &str, script: &str| {
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {
            "backoffLimit": 0, "template": {"spec": {"restartPolicy": "Never",
                "containers": [sh("c", script, &json!({}))]}}}})
    };
    let claim = json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "none",
        "resources": {"requests": {"storage": "1Mi"}}});
    let volume = json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "by-hand",
        "capacity": {"storage": "1Mi"}, "hostPath": {"path": "/nowhere"}});
    let object = |version: &str, kind: &str, name: &str, spec: Value| json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec});
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
    let missing = container("c", "registry.coracle.internal/missing:1", &json!({}));
    cluster.make(&[
        workload("Deployment", "web", json!({"replicas": 1})),
        workload("StatefulSet", "ordered", json!({"replicas": 1, "serviceName": "ordered"})),
        workload("DaemonSet", "each", json!({})),
        job("good", "sleep 600"),
        job("bad", "exit 1"),
        pod("stuck", &json!({"containers": [missing]})),
        pod(
            "busy",
            &json!({"containers": [sh("c", "while true; do echo; sleep 0.1; done",
            &json!({"image": BEHAVE, "resources": {"limits": {"cpu": "1", "memory": "64Mi"}},
                "volumeMounts": [{"name": "kept", "mountPath": "/kept"}]}))],
            "volumes": [{"name": "kept", "persistentVolumeClaim": {"claimName": "kept"}}]}),
        ),
        object(
            "v1",
            "PersistentVolumeClaim",
            "kept",
            json!({"accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Mi"}}}),
        ),
        object("v1", "ResourceQuota", "quota", json!({"hard": {"pods": "50"}})),
        object("v1", "PersistentVolume", "volume", volume),
        object("v1", "PersistentVolumeClaim", "claim", claim),
        object(
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            "web",
            json!({"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 1}),
        ),
        object(
            "policy/v1",
            "PodDisruptionBudget",
            "web",
            json!({"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}),
        ),
    ]);
    cluster.run(&["label", "node", node, "node-role.kubernetes.io/worker="]);
    cluster.run(&["taint", "node", node, "test=here:PreferNoSchedule"]);
}

/// The names of the list, by endpoint; those that nothing serves are left out.
fn mixin() -> Vec<(String, String)> {
    let list = std::fs::read_to_string(root().join("tests/e2e/kubernetes-mixin.txt"));
    let list = list.expect("the list is there");
    let lines = list.lines().filter(|line| !line.starts_with(['#', ' ']) && !line.is_empty());
    let words = lines.map(|line| line.split_once(' ').expect("an endpoint and a name"));
    words
        .filter(|(endpoint, _)| *endpoint != "none")
        .map(|(endpoint, name)| (endpoint.to_owned(), name.to_owned()))
        .collect()
}

/// The metrics that the expressions of the Grafana dashboard name.
fn dashboard_names() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("examples/monitoring/dashboard.json"));
    let dashboard: Value = serde_json::from_str(&text.expect("it is there")).expect("it is JSON");
    let panels = dashboard["panels"].as_array().cloned().unwrap_or_default();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().cloned());
    let words = targets.flatten().flat_map(|target| {
        let expression = target["expr"].as_str().unwrap_or_default().to_owned();
        let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        expression.split(|c| !is_part(c)).map(str::to_owned).collect::<Vec<_>>()
    });
    let prefixes = ["kube_", "container_", "coracle_", "http_", "apiserver_", "process_"];
    let mut names: Vec<String> =
        words.filter(|word| prefixes.iter().any(|prefix| word.starts_with(prefix))).collect();
    names.sort();
    names.dedup();
    names
}

#[test]
fn every_name_that_kubernetes_mixin_uses_is_served() {
    let cluster = Cluster::start();
    let node = cluster.run(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]);
    furnish(&cluster, &node);
    let (mixin, dashboard) = (mixin(), dashboard_names());
    assert!(mixin.len() > 70 && dashboard.len() > 15, "{} {dashboard:?}", mixin.len());
    let service = "/api/v1/namespaces/default/pods/";
    let web = eventually("a web pod runs", || {
        let pods = cluster.get(&["pods", "-l", "app=web"]);
        let running = pods["items"][0]["status"]["phase"] == "Running";
        if running { Ok(pods["items"][0]["metadata"]["name"].clone()) } else { Err(pods) }
    });
    let web = web.as_str().unwrap_or_default().to_owned();
    eventually("every name has a value", || {
        // A request through the proxy, so that there is one to count.
        let asked = cluster.kubectl(&["get", "--raw", &format!("{service}{web}:8080/proxy/")]);
        let pages = scrape(&cluster, &node);
        let missing = mixin.iter().filter(|(endpoint, name)| !has(&pages[endpoint.as_str()], name));
        let missing: Vec<_> =
            missing.map(|(endpoint, name)| format!("{endpoint} {name}")).collect();
        let unknown = |name: &&String| !pages.values().any(|page| has(page, name));
        let unseen: Vec<_> = dashboard.iter().filter(unknown).collect();
        if missing.is_empty() && unseen.is_empty() {
            Ok(())
        } else {
            Err((missing, unseen.len(), asked.ok))
        }
    });
    tells_the_truth(&cluster, &node);
    the_book_has_them_all(&scrape(&cluster, &node));
    whoever_scrapes_needs_no_more(&cluster);
}

/// A family of metrics, as a page tells it.
#[derive(Default)]
struct Family {
    kind: String,
    help: String,
    labels: BTreeSet<String>,
}

/// The families of a page, by name. A page names those that have no value yet, too.
fn families(page: &str) -> BTreeMap<String, Family> {
    let mut found: BTreeMap<String, Family> = BTreeMap::new();
    for line in page.lines() {
        let told = |rest: &str| {
            rest.split_once(' ').map(|(name, text)| (name.to_owned(), text.to_owned()))
        };
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(told) {
            found.entry(name).or_default().kind = kind;
        } else if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(told) {
            found.entry(name).or_default().help = help.trim_end_matches('.').to_owned();
        } else if let Some((name, rest)) = line.split_once('{') {
            let ends = ["", "_total", "_bucket", "_sum", "_count", "_info"];
            let family = ends.iter().find_map(|end| {
                let name = name.strip_suffix(end)?;
                found.contains_key(name).then(|| name.to_owned())
            });
            let labels = rest.split_once('}').map_or(rest, |(labels, _)| labels);
            let names =
                labels.split("\",").filter_map(|pair| Some(pair.split_once('=')?.0.to_owned()));
            if let Some(family) = family.and_then(|name| found.get_mut(&name)) {
                family.labels.extend(names.filter(|name| name != "le"));
            }
        }
    }
    found
}

/// The endpoints with what stands before their table, in the order of the book's page.
const ENDPOINTS: [(&str, &str); 5] = [
    (
        "server",
        "## The server: `/metrics`\n\nOf kube-apiserver's names, those that mean the same here.\n",
    ),
    (
        "kube-state",
        "## Objects: `/metrics/kube-state`\n\nkube-state-metrics' names, served by the server.\n",
    ),
    ("kubelet", "## A host: `/api/v1/nodes/NODE/proxy/metrics`\n"),
    ("cadvisor", "## Its containers: `/api/v1/nodes/NODE/proxy/metrics/cadvisor`\n"),
    ("resource", "## What they use: `/api/v1/nodes/NODE/proxy/metrics/resource`\n"),
];

/// The reference page of the book has every family that is served, and none besides, with type and help. Its labels are
/// those that were seen when it was written; not all have values here. `UPDATE_EXPECT=1` writes it anew.
fn the_book_has_them_all(pages: &BTreeMap<&'static str, String>) {
    let path = root().join("docs/src/reference/metrics.md");
    let mut page = "# Metrics\n\n\
        What Prometheus finds at each endpoint; `examples/monitoring` has its configuration, the role for it, and a\n\
        dashboard for Grafana. A counter's value has the name with `_total`, a histogram's `_bucket`, `_sum` and `_count`,\n\
        where the name does not end so already. Collectors of OpenTelemetry get others, see\n\
        [Send traces, metrics and logs](../tasks/telemetry.md).\n"
        .to_owned();
    for (endpoint, title) in ENDPOINTS {
        let _infallible =
            write!(page, "\n{title}\n| name | type | labels | |\n|---|---|---|---|\n");
        for (name, Family { kind, help, labels }) in families(&pages[endpoint]) {
            let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
            let _infallible =
                writeln!(page, "| `{name}` | {kind} | {} | {help} |", labels.join(", "));
        }
    }
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, &page).expect("write the page");
    }
    let written = std::fs::read_to_string(&path).expect("the page is there");
    // Everything but the labels.
    let told = |text: &str| -> Vec<String> {
        let cells = |line: &str| line.split(" | ").map(str::to_owned).collect::<Vec<_>>();
        let told = |line: &str| match cells(line).as_slice() {
            [name, kind, _labels, help @ ..] => format!("{name} {kind} {}", help.concat()),
            _other => line.to_owned(),
        };
        text.lines().map(told).collect()
    };
    let (written, served) = (told(&written), told(&page));
    let differs = |one: &[String], other: &[String]| -> Vec<String> {
        one.iter().filter(|line| !other.contains(line)).cloned().collect()
    };
    let (missing, gone) = (differs(&served, &written), differs(&written, &served));
    assert!(
        missing.is_empty() && gone.is_empty(),
        "UPDATE_EXPECT=1 writes {} anew: {missing:?} {gone:?}",
        path.display()
    );
}

/// Some values, as the objects have them in the end.
fn tells_the_truth(cluster: &Cluster, node: &str) {
    let lines = [
        r#"kube_deployment_spec_replicas{namespace="default",deployment="web"} 1"#.to_owned(),
        r#"kube_job_failed{namespace="default",job_name="bad",condition="true"} 1"#.to_owned(),
        r#"kube_resourcequota{resourcequota="quota",namespace="default",resource="pods",type="hard"} 50"#.to_owned(),
        format!(r#"kube_node_status_condition{{node="{node}",condition="Ready",status="true"}} 1"#),
        format!(r#"kube_node_spec_taint{{node="{node}",key="test",value="here",effect="PreferNoSchedule"}} 1"#),
    ];
    eventually("every value is as the objects have it", || {
        let page = scrape(cluster, node).remove("kube-state").unwrap_or_default();
        let missing = lines.iter().find(|line| !page.lines().any(|shown| shown == **line));
        missing.map_or(Ok(()), |line| Err(format!("{line}\n{page}")))
    });
}

/// The roles of `examples/monitoring/rbac.yaml` are enough, and are no more than that.
fn whoever_scrapes_needs_no_more(cluster: &Cluster) {
    let rbac = root().join("examples/monitoring/rbac.yaml");
    cluster.run(&["apply", "-f", &rbac.display().to_string()]);
    let who = "--as=system:serviceaccount:kube-system:prometheus";
    for path in ["/metrics", "/metrics/kube-state"] {
        assert!(!cluster.run(&["get", "--raw", path, who]).is_empty());
    }
    cluster.run(&["get", "nodes", who]);
    let refused = cluster.kubectl(&["get", "pods", who]);
    assert!(!refused.ok && refused.stderr.contains("cannot list"), "{refused:?}");
}
