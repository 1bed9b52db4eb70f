//! Rows about the API, namespaces, accounts and what a pod may be, each from the first command to what comes of it.
#![expect(clippy::unwrap_used, reason = "a test")]

use coracle_e2e::{Cluster, HELLO, Output, build_guests, container, eventually, pod, sh};
use serde_json::{Value, json};

#[test]
fn one_cluster_for_many() {
    let guests = build_guests("tests/guests");
    let cluster = Cluster::start();
    cluster.push_guests(&guests);
    what_is_declared_becomes_so(&cluster);
    names_are_of_a_namespace(&cluster);
    a_namespace_has_a_budget(&cluster);
    an_account_may_little(&cluster);
    who_runs_a_container_is_nobody(&cluster);
    levels_of_security(&cluster);
    how_many_run_in_a_zone(&cluster);
}

/// A Deployment of the smallest HTTP service in a namespace, with resources.
fn deployment(namespace: &str, name: &str, replicas: u32) -> Value {
    let template = json!({"metadata": {"labels": {"app": name}},
        "spec": {"containers": [container("web", HELLO, &json!({}))], "terminationGracePeriodSeconds": 1}});
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}})
}

fn names(cluster: &Cluster, kind: &str, label: &str) -> Vec<String> {
    let listed =
        cluster.run(&["get", kind, "-l", label, "-o", "jsonpath={.items[*].metadata.name}"]);
    listed.split_whitespace().map(str::to_owned).collect()
}

/// Row `api.declarative`.
fn what_is_declared_becomes_so(cluster: &Cluster) {
    cluster.make(&[deployment("default", "kept", 2)]);
    cluster.run(&["rollout", "status", "deployment/kept", "--timeout=180s"]);
    let settles = |what: &str, gone: &[String]| {
        eventually(what, || {
            let pods = names(cluster, "pods", "app=kept");
            let status = cluster.get(&["deployment", "kept"])["status"].clone();
            let settled = pods.len() == 2 && status["readyReplicas"] == 2;
            if settled && !gone.iter().any(|name| pods.contains(name)) {
                Ok(())
            } else {
                Err((pods, status))
            }
        });
    };
    let before = names(cluster, "pods", "app=kept");
    cluster.run(&["delete", "pod", &before[0]]);
    settles("a pod that somebody deleted is replaced", &before[..1]);
    let before = names(cluster, "pods", "app=kept");
    let set = names(cluster, "replicasets", "app=kept").remove(0);
    cluster.run(&["scale", "replicaset", &set, "--replicas=5"]);
    cluster.shows(&format!("replicaset/{set}"), "/spec/replicas", 2);
    settles("more than asked for go", &[]);
    cluster.run(&["delete", "replicaset", &set]);
    settles("a replica set that somebody deleted comes back with new pods", &before);
    cluster.run(&["delete", "deployment", "kept"]);
}

/// Row `ns.unique`.
fn names_are_of_a_namespace(cluster: &Cluster) {
    for namespace in ["first", "second"] {
        cluster.run(&["create", "namespace", namespace]);
        cluster.make(&[deployment(namespace, "web", 1)]);
    }
    for namespace in ["first", "second"] {
        cluster.run(&["rollout", "status", "deployment/web", "-n", namespace, "--timeout=180s"]);
    }
    let again = cluster.kubectl(&["create", "deployment", "web", "-n", "first", "--image=none"]);
    assert!(again.stderr.contains("deployments.apps \"web\" already exists"), "{again:?}");
    cluster.run(&["delete", "deployment", "web", "-n", "first"]);
    assert_eq!(
        cluster.run(&["get", "deployments", "-A", "-o", "jsonpath={.items[*].metadata.namespace}"]),
        "second"
    );
    cluster.run(&["delete", "deployment", "web", "-n", "second"]);
    // Its pods go after it, and count until then.
    eventually("the pods are gone, too", || {
        let left = cluster.run(&["get", "pods", "-A", "-l", "app=web", "-o", "name"]);
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
}

/// Row `ns.quota`.
fn a_namespace_has_a_budget(cluster: &Cluster) {
    let limits = json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "each", "namespace": "first"},
        "spec": {"limits": [{"type": "Container", "default": {"memory": "64Mi"},
            "defaultRequest": {"cpu": "100m", "memory": "32Mi"}, "max": {"memory": "128Mi"}}]}});
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "all", "namespace": "first"},
        "spec": {"hard": {"requests.cpu": "250m", "limits.memory": "192Mi", "pods": "5"}}});
    cluster.make(&[limits, quota]);
    let hard = "jsonpath={.status.hard.pods}";
    eventually("the quota is counted", || {
        let shown = cluster.run(&["get", "quota", "all", "-n", "first", "-o", hard]);
        if shown == "5" { Ok(()) } else { Err(shown) }
    });
    let run = |name: &str, more: &Value| {
        let mut pod = pod(name, &json!({"containers": [container("c", HELLO, more)]}));
        pod["metadata"]["namespace"] = json!("first");
        cluster.kubectl_with(&["create", "-f", "-"], &pod.to_string())
    };
    for name in ["a", "b"] {
        let made = run(name, &json!({}));
        assert!(made.ok, "{made:?}");
    }
    let refused = |output: &Output, words: &str| {
        assert!(!output.ok && output.stderr.contains(words), "{words}: {output:?}");
    };
    let words = "is forbidden: exceeded quota: all, requested: requests.cpu=100m, used: requests.cpu=200m, limited: requests.cpu=250m";
    refused(&run("c", &json!({})), words);
    let large = json!({"resources": {"limits": {"memory": "256Mi"}}});
    refused(&run("d", &large), "maximum memory usage per Container is 128Mi, but limit is 256Mi");
    // What has no room in the budget waits for it: a Deployment says so.
    let mut more = deployment("first", "more", 1);
    more["spec"]["template"]["spec"]["containers"][0]["resources"] =
        json!({"requests": {"cpu": "200m"}});
    cluster.make(&[more]);
    eventually("the deployment says why it has no pod", || {
        let shown = cluster.run(&["describe", "replicaset", "-n", "first", "-l", "app=more"]);
        if shown.contains("exceeded quota: all") { Ok(()) } else { Err(shown) }
    });
    let wanted =
        [["limits.memory", "128Mi", "192Mi"], ["pods", "2", "5"], ["requests.cpu", "200m", "250m"]];
    eventually("the quota tells what is used", || {
        let described = cluster.run(&["describe", "quota", "all", "-n", "first"]);
        let mut rows = described.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let rows: Vec<_> = rows.by_ref().collect();
        if wanted.iter().all(|row| rows.iter().any(|shown| shown[..] == *row)) {
            Ok(())
        } else {
            Err(described)
        }
    });
    cluster.run(&["delete", "deployment,pod", "--all", "-n", "first", "--now"]);
}

/// kubectl with a token and nothing else.
fn as_token(cluster: &Cluster, token: &str, arguments: &[&str]) -> Output {
    let admin: Value =
        serde_json::from_str(&cluster.run(&["config", "view", "--raw", "-o", "json"])).unwrap();
    let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": admin["clusters"][0]["cluster"]}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]});
    let path = cluster.folder().join("account.kubeconfig");
    std::fs::write(&path, config.to_string()).unwrap();
    let config = ["--kubeconfig", path.to_str().unwrap()];
    cluster.kubectl(&[&config[..], arguments].concat())
}

/// Row `sa.least`: the token that a pod has opens nothing by itself, and need not be there.
fn an_account_may_little(cluster: &Cluster) {
    let sleeps = json!({"containers": [sh("c", "sleep 6000", &json!({}))], "terminationGracePeriodSeconds": 1});
    let bare = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "bare"},
        "automountServiceAccountToken": false});
    let mut without = sleeps.clone();
    without["serviceAccountName"] = json!("bare");
    cluster.make(&[bare, pod("usual", &sleeps), pod("without", &without)]);
    cluster.ready("usual");
    cluster.ready("without");
    let file = "/var/run/secrets/kubernetes.io/serviceaccount/token";
    let token = cluster.exec("usual", &format!("cat {file}")).stdout;
    let refused = as_token(cluster, token.trim(), &["get", "--raw", "/api/v1/pods"]);
    let words = "(Forbidden): pods is forbidden: User \"system:serviceaccount:default:default\" cannot list resource \
                 \"pods\" in API group \"\" at the cluster scope";
    assert!(!refused.ok && refused.stderr.contains(words), "{refused:?}");
    let me = as_token(
        cluster,
        token.trim(),
        &["auth", "whoami", "-o", "jsonpath={.status.userInfo.extra}"],
    );
    assert!(me.stdout.contains("\"authentication.kubernetes.io/pod-name\":[\"usual\"]"), "{me:?}");
    assert!(!cluster.exec("without", &format!("ls {file}")).ok);
    cluster.run(&["delete", "pod", "usual", "without", "--now"]);
}

/// The user that the host's process runs as, and its groups.
fn host_user(cluster: &Cluster) -> String {
    let pid = std::fs::read_to_string(cluster.data().join("host.lock")).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.trim())).unwrap();
    status
        .lines()
        .filter(|l| l.starts_with("Uid:") || l.starts_with("Gid:") || l.starts_with("Groups:"))
        .collect()
}

/// Rows `sec.run-as-user` and `sec.fsgroup`: kept and shown, and nothing comes of them.
fn who_runs_a_container_is_nobody(cluster: &Cluster) {
    let before = host_user(cluster);
    let context = json!({"runAsUser": 1234, "runAsGroup": 2345, "fsGroup": 3456, "supplementalGroups": [4567],
        "fsGroupChangePolicy": "OnRootMismatch"});
    let own = json!({"securityContext": {"runAsUser": 5678}, "volumeMounts": [{"name": "d", "mountPath": "/d"}]});
    let spec = json!({"securityContext": context, "volumes": [{"name": "d", "emptyDir": {}}],
        "containers": [sh("c", "echo x > /d/file; sleep 6000", &own)], "terminationGracePeriodSeconds": 1});
    let made = cluster.kubectl_with(&["apply", "-f", "-"], &pod("somebody", &spec).to_string());
    assert!(made.ok, "{made:?}");
    for field in ["runAsUser", "fsGroup", "supplementalGroups", "runAsGroup"] {
        let words = format!("Warning: spec.securityContext.{field}: has no effect on Coracle");
        assert!(made.stderr.contains(&words), "{words}: {made:?}");
    }
    let shown = cluster.ready("somebody");
    assert_eq!(shown["spec"]["securityContext"], context);
    assert_eq!(shown["spec"]["containers"][0]["securityContext"], json!({"runAsUser": 5678}));
    cluster.exec_prints("somebody", "cat /d/file", "x");
    assert_eq!(host_user(cluster), before);
    let refused = cluster.kubectl_with(
        &["apply", "-f", "-"],
        &pod("nobody", &json!({"securityContext": {"runAsUser": -1}, "containers": [sh("c", "true", &json!({}))]})).to_string(),
    );
    let words = "spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive";
    assert!(!refused.ok && refused.stderr.contains(words), "{refused:?}");
    // Row `sec.non-root`.
    let container = |more: &Value| sh("c", "sleep 6000", more);
    let fine =
        json!({"securityContext": {"runAsNonRoot": true}, "containers": [container(&json!({}))]});
    let root = json!({"securityContext": {"runAsNonRoot": true},
        "containers": [container(&json!({"securityContext": {"runAsUser": 0}}))]});
    cluster.make(&[pod("anybody", &fine), pod("root", &root)]);
    let reason = "/status/containerStatuses/0/state/waiting/reason";
    cluster.shows("pod/root", reason, "CreateContainerConfigError");
    cluster.says("pod/root", &["container's runAsUser breaks non-root policy"]);
    cluster.ready("anybody");
    cluster.run(&["delete", "pod", "somebody", "anybody", "root", "--now"]);
}

/// Rows `sec.psp` and `sec.privileged`.
fn levels_of_security(cluster: &Cluster) {
    let create = |namespace: &str, name: &str, spec: &Value| {
        let mut pod = pod(name, spec);
        pod["metadata"]["namespace"] = json!(namespace);
        cluster.kubectl_with(&["create", "--dry-run=server", "-f", "-"], &pod.to_string())
    };
    let label = |namespace: &str, label: &str| {
        let label = format!("pod-security.kubernetes.io/{label}");
        cluster.kubectl(&["label", "--overwrite", "namespace", namespace, &label])
    };
    let host_path = json!({"containers": [container("c", HELLO, &json!({}))],
        "volumes": [{"name": "h", "hostPath": {"path": "/"}}]});
    assert!(create("second", "open", &host_path).ok);
    label("second", "warn=restricted");
    let warned = create("second", "warned", &host_path);
    assert!(
        warned.ok
            && warned.stderr.contains("Warning: would violate PodSecurity \"restricted:latest\""),
        "{warned:?}"
    );
    label("second", "enforce=restricted");
    let refused = create("second", "refused", &host_path);
    let words = "violates PodSecurity \"restricted:latest\"";
    assert!(
        !refused.ok && refused.stderr.contains(words) && refused.stderr.contains("hostPath"),
        "{refused:?}"
    );

    let privileged = json!({"containers": [container("c", HELLO, &json!({"securityContext": {"privileged": true}}))]});
    label("first", "enforce=baseline");
    let refused = create("first", "strong", &privileged);
    let words = "pods \"strong\" is forbidden: violates PodSecurity \"baseline:latest\": privileged (container \"c\" must not set securityContext.privileged=true)";
    assert!(!refused.ok && refused.stderr.contains(words), "{refused:?}");
    let warned = create("default", "strong", &privileged);
    let words = "Warning: spec.containers[0].securityContext.privileged: has no effect on Coracle: components have no privileges to gain";
    assert!(warned.ok && warned.stderr.contains(words), "{warned:?}");
}

/// Row `api.query`: one question, whose answer is a number.
fn how_many_run_in_a_zone(cluster: &Cluster) {
    let node = cluster.run(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]);
    cluster.run(&["label", "node", &node, "topology.kubernetes.io/zone=a"]);
    cluster.make(&[deployment("default", "nginx", 2)]);
    cluster.run(&["create", "namespace", "elsewhere"]);
    cluster.make(&[deployment("elsewhere", "nginx", 1)]);
    for namespace in ["default", "elsewhere"] {
        cluster.run(&["rollout", "status", "deployment/nginx", "-n", namespace, "--timeout=180s"]);
    }
    let count = |zone: &str| {
        let label = format!("app=nginx,topology.kubernetes.io/zone={zone}");
        cluster.run(&["get", "pods", "-A", "-l", &label, "-o", "name"]).lines().count()
    };
    assert_eq!((count("a"), count("b")), (3, 0));
    let wide = cluster.run(&[
        "get",
        "pods",
        "-A",
        "-l",
        "app=nginx",
        "-L",
        "topology.kubernetes.io/zone",
        "-o",
        "wide",
    ]);
    assert!(wide.contains("ZONE") && wide.contains(&node), "{wide}");
}
