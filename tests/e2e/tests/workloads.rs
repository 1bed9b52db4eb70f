//! Workloads of every kind with unmodified kubectl: rollouts in order, Jobs to their end, and what
//! becomes of pods when their node is cordoned, drained or tainted.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::io::{BufRead as _, BufReader};

use coracle_e2e::{Cluster, build_guests, eventually};

#[test]
fn workloads() {
    let guests = build_guests("tests/guests");
    let cluster = Cluster::start();
    cluster.push("hello:1", &guests.join("hello_http.wasm"));
    cluster.push("hello:2", &guests.join("hello_http.wasm"));
    cluster.push("behave:1", &guests.join("behave.wasm"));
    stateful_sets(&cluster);
    daemon_sets(&cluster);
    replication_controllers(&cluster);
    jobs(&cluster);
    cron_jobs(&cluster);
    quotas(&cluster);
    autoscalers(&cluster);
    nodes(&cluster);
}

const HELLO: &str = "registry.coracle.internal/hello:1";
const BEHAVE: &str = "registry.coracle.internal/behave:1";

fn template(app: &str) -> String {
    format!(
        "{{metadata: {{labels: {{app: {app}}}}}, spec: {{terminationGracePeriodSeconds: 1, \
         containers: [{{name: hello, image: {HELLO}, ports: [{{containerPort: 8080}}]}}]}}}}"
    )
}

fn stateful_set() -> String {
    format!(
        "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: db}}\nspec:\n  replicas: 3\n  \
         serviceName: db\n  selector: {{matchLabels: {{app: db}}}}\n  template: {}\n",
        template("db")
    )
}

fn names(cluster: &Cluster, label: &str) -> String {
    cluster.run(&["get", "pods", "-l", label, "-o", "jsonpath={.items[*].metadata.name}"])
}

fn stateful_sets(cluster: &Cluster) {
    cluster.apply(&stateful_set());
    let status = cluster.run(&["rollout", "status", "sts/db", "--timeout=180s"]);
    assert!(
        status.contains("partitioned roll out complete: 3 new pods have been updated")
            || status.contains("statefulset rolling update complete 3 pods at revision db-"),
        "{status}"
    );
    assert_eq!(names(cluster, "app=db"), "db-0 db-1 db-2");
    let made = "jsonpath={.items[*].metadata.creationTimestamp}";
    let times = cluster.run(&["get", "pods", "-l", "app=db", "-o", made]);
    assert!(times.split(' ').is_sorted(), "they came in order: {times}");
    let index = "jsonpath={.metadata.labels.apps\\.kubernetes\\.io/pod-index} {.spec.hostname}";
    assert_eq!(cluster.run(&["get", "pod", "db-2", "-o", index]), "2 db-2");

    let image = "hello=registry.coracle.internal/hello:2";
    cluster.run(&["set", "image", "sts/db", image]);
    cluster.run(&["rollout", "status", "sts/db", "--timeout=180s"]);
    let images = "jsonpath={.items[*].spec.containers[0].image}";
    let images = cluster.run(&["get", "pods", "-l", "app=db", "-o", images]);
    assert!(images.split(' ').all(|image| image.ends_with("hello:2")), "{images}");
    let history = cluster.run(&["rollout", "history", "sts/db"]);
    assert!(history.contains("REVISION") && history.contains("\n2"), "{history}");
    cluster.run(&["rollout", "undo", "sts/db"]);
    cluster.run(&["rollout", "status", "sts/db", "--timeout=180s"]);
    let image = "jsonpath={.spec.containers[0].image}";
    assert_eq!(cluster.run(&["get", "pod", "db-0", "-o", image]), HELLO);

    let uid = || cluster.run(&["get", "pod", "db-1", "-o", "jsonpath={.metadata.uid}"]);
    let before = uid();
    // Not waited for: kubectl watches for the end of a name, and misses it when the name is taken again at once.
    cluster.run(&["delete", "pod", "db-1", "--wait=false"]);
    eventually("db-1 is back", || {
        let pod = cluster.kubectl(&["get", "pod", "db-1", "-o", "jsonpath={.metadata.uid}"]);
        if pod.ok && !pod.stdout.is_empty() && pod.stdout != before { Ok(()) } else { Err(pod) }
    });
    cluster.run(&["rollout", "status", "sts/db", "--timeout=180s"]);
    assert_eq!(cluster.run(&["scale", "sts/db", "--replicas=1"]), "statefulset.apps/db scaled\n");
    eventually("one is left", || {
        let left = names(cluster, "app=db");
        if left == "db-0" { Ok(()) } else { Err(left) }
    });
    eventually("its status says so", || {
        let table = cluster.run(&["get", "sts", "db"]);
        if table.contains("1/1") { Ok(()) } else { Err(table) }
    });
    cluster.run(&["delete", "sts", "db", "--wait"]);
}

fn daemon_sets(cluster: &Cluster) {
    let set = format!(
        "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {{name: log}}\nspec:\n  \
         selector: {{matchLabels: {{app: log}}}}\n  template: {}\n",
        template("log")
    );
    let node = cluster.run(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]);
    // Even a cordoned node gets its pod: the mark only keeps others away.
    cluster.run(&["cordon", &node]);
    cluster.apply(&set);
    let status = cluster.run(&["rollout", "status", "ds/log", "--timeout=180s"]);
    assert!(status.ends_with("daemon set \"log\" successfully rolled out\n"), "{status}");
    cluster.run(&["uncordon", &node]);
    let before = names(cluster, "app=log");
    assert_eq!(cluster.run(&["rollout", "restart", "ds/log"]), "daemonset.apps/log restarted\n");
    cluster.run(&["rollout", "status", "ds/log", "--timeout=180s"]);
    assert_ne!(names(cluster, "app=log"), before);
    let table = cluster.run(&["get", "ds", "log", "--no-headers"]);
    let row: Vec<&str> = table.split_whitespace().collect();
    assert_eq!(row.get(..6).unwrap(), ["log", "1", "1", "1", "1", "1"], "{table}");
    let history = cluster.run(&["rollout", "history", "ds/log"]);
    assert!(history.lines().any(|line| line.starts_with('2')), "{history}");
    cluster.run(&["delete", "ds", "log", "--wait"]);
    // Pods of a DaemonSet that is gone would stop whoever drains.
    eventually("its pods have gone", || {
        let left = names(cluster, "app=log");
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
}

fn replication_controllers(cluster: &Cluster) {
    cluster.apply(&format!(
        "apiVersion: v1\nkind: ReplicationController\nmetadata: {{name: old}}\nspec:\n  \
         replicas: 2\n  selector: {{app: old}}\n  template: {}\n",
        template("old")
    ));
    cluster.run(&["wait", "--for=jsonpath={.status.readyReplicas}=2", "rc/old", "--timeout=180s"]);
    assert_eq!(
        cluster.run(&["scale", "rc/old", "--replicas=1"]),
        "replicationcontroller/old scaled\n"
    );
    cluster.run(&["wait", "--for=jsonpath={.status.replicas}=1", "rc/old", "--timeout=180s"]);
    cluster.run(&["delete", "rc", "old", "--wait"]);
}

fn jobs(cluster: &Cluster) {
    let made = cluster.run(&["create", "job", "once", "--image", BEHAVE, "--", "echo", "done"]);
    assert_eq!(made, "job.batch/once created\n");
    cluster.run(&["wait", "--for=condition=Complete", "job/once", "--timeout=180s"]);
    let table = cluster.run(&["get", "job", "once", "--no-headers"]);
    let row: Vec<&str> = table.split_whitespace().collect();
    assert_eq!(row.get(..3).unwrap(), ["once", "Complete", "1/1"], "{table}");

    let job = |name: &str, spec: &str, arguments: &str| {
        format!(
            "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: {name}}}\nspec:\n  {spec}\n  \
             template: {{spec: {{restartPolicy: Never, containers: \
             [{{name: c, image: {BEHAVE}, args: [{arguments}]}}]}}}}\n"
        )
    };
    let indexed = "completions: 4\n  parallelism: 2\n  completionMode: Indexed";
    cluster.apply(&job("each", indexed, "environment"));
    cluster.run(&["wait", "--for=condition=Complete", "job/each", "--timeout=180s"]);
    let done = "jsonpath={.status.completedIndexes} {.status.succeeded}";
    assert_eq!(cluster.run(&["get", "job", "each", "-o", done]), "0-3 4");
    let label = "batch.kubernetes.io/job-completion-index=3,job-name=each";
    let logs = cluster.run(&["logs", "-l", label]);
    assert!(logs.contains(r#"("JOB_COMPLETION_INDEX", "3")"#), "{logs}");

    let policy = "backoffLimit: 6\n  podFailurePolicy: {rules: [{action: FailJob, \
        onExitCodes: {operator: In, values: [42]}}]}";
    cluster.apply(&job("hopeless", policy, "exit, '42'"));
    cluster.run(&["wait", "--for=condition=Failed", "job/hopeless", "--timeout=180s"]);
    let why = "jsonpath={.status.conditions[?(@.type=='Failed')].reason} {.status.failed}";
    assert_eq!(cluster.run(&["get", "job", "hopeless", "-o", why]), "PodFailurePolicy 1");

    cluster.apply(&job("brief", "ttlSecondsAfterFinished: 0", "return"));
    eventually("the Job has gone with its pods", || {
        let job = cluster.kubectl(&["get", "job", "brief"]);
        let pods = names(cluster, "job-name=brief");
        if !job.ok && pods.is_empty() { Ok(()) } else { Err((job, pods)) }
    });
    let always = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: bad}\nspec: {template: {spec: \
        {restartPolicy: Always, containers: [{name: c, image: c}]}}}\n";
    let refused = cluster.kubectl_with(&["apply", "-f", "-"], always);
    assert!(!refused.ok && refused.stderr.contains("restartPolicy"), "{refused:?}");
    cluster.run(&["delete", "job", "--all", "--wait"]);
}

fn cron_jobs(cluster: &Cluster) {
    let schedule = "--schedule=0 0 1 1 *";
    let arguments = ["create", "cronjob", "tick", "--image", BEHAVE, schedule, "--", "echo"];
    let made = cluster.run(&[&arguments[..], &["tick"]].concat());
    assert_eq!(made, "cronjob.batch/tick created\n");
    assert_eq!(
        cluster.run(&["create", "job", "now", "--from=cronjob/tick"]),
        "job.batch/now created\n"
    );
    cluster.run(&["wait", "--for=condition=Complete", "job/now", "--timeout=180s"]);
    // One that is due at once: a schedule of every second.
    let patch = r#"{"spec":{"schedule":"@every 1s","successfulJobsHistoryLimit":1}}"#;
    cluster.run(&["patch", "cronjob", "tick", "--type=merge", "-p", patch]);
    eventually("a Job of the schedule succeeded", || {
        let last = ["get", "cronjob", "tick", "-o", "jsonpath={.status.lastSuccessfulTime}"];
        let last = cluster.run(&last);
        if last.is_empty() { Err(cluster.run(&["get", "jobs"])) } else { Ok(()) }
    });
    cluster.run(&["delete", "cronjob", "tick", "--wait"]);
}

fn quotas(cluster: &Cluster) {
    cluster.run(&["create", "namespace", "small"]);
    let made =
        cluster.run(&["create", "quota", "few", "--hard=configmaps=3,pods=1", "-n", "small"]);
    assert_eq!(made, "resourcequota/few created\n");
    let used = |wanted: &str| {
        eventually("the quota is counted", || {
            let path = "jsonpath={.status.used.configmaps} {.status.used.pods}";
            let used = cluster.run(&["get", "quota", "few", "-n", "small", "-o", path]);
            if used == wanted { Ok(()) } else { Err(used) }
        });
    };
    used("1 0");
    cluster.run(&["create", "configmap", "a", "-n", "small"]);
    cluster.run(&["create", "configmap", "b", "-n", "small"]);
    let refused = cluster.kubectl(&["create", "configmap", "c", "-n", "small"]);
    assert!(!refused.ok && refused.stderr.contains("exceeded quota: few"), "{refused:?}");
    cluster.run(&["delete", "configmap", "a", "-n", "small"]);
    used("2 0");
    cluster.run(&["create", "configmap", "c", "-n", "small"]);
    cluster.run(&["delete", "namespace", "small", "--wait"]);
}

fn autoscalers(cluster: &Cluster) {
    cluster.apply(&format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: auto}}\nspec:\n  replicas: 1\n  \
         selector: {{matchLabels: {{app: auto}}}}\n  template: {}\n",
        template("auto")
    ));
    let autoscale = ["autoscale", "deployment/auto", "--cpu-percent=50", "--min=2", "--max=3"];
    let made = cluster.run(&autoscale);
    assert!(made.contains("horizontalpodautoscaler.autoscaling/auto autoscaled"), "{made}");
    // Bounds hold whatever the metrics say.
    cluster.run(&[
        "wait",
        "--for=jsonpath={.spec.replicas}=2",
        "deployment/auto",
        "--timeout=180s",
    ]);
    cluster.run(&["rollout", "status", "deployment/auto", "--timeout=180s"]);
    let table = cluster.run(&["get", "hpa", "auto", "--no-headers"]);
    assert!(table.contains("Deployment/auto") && table.contains("/50%"), "{table}");
    let able = "jsonpath={.status.conditions[?(@.type=='AbleToScale')].status}";
    eventually("its status says what it did", || {
        let able = cluster.run(&["get", "hpa", "auto", "-o", able]);
        if able == "True" { Ok(()) } else { Err(able) }
    });
    cluster.run(&["delete", "hpa/auto", "deployment/auto", "--wait"]);
}

fn nodes(cluster: &Cluster) {
    let node = cluster.run(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]);
    cluster.apply(&format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  replicas: 2\n  \
         selector: {{matchLabels: {{app: web}}}}\n  template: {}\n",
        template("web")
    ));
    cluster.run(&["rollout", "status", "deployment/web", "--timeout=180s"]);
    let made = cluster.run(&["create", "pdb", "web", "--selector=app=web", "--min-available=2"]);
    assert_eq!(made, "poddisruptionbudget.policy/web created\n");
    let allowed = |wanted: &str| {
        eventually("the budget is counted", || {
            let path = "jsonpath={.status.currentHealthy} {.status.disruptionsAllowed}";
            let now = cluster.run(&["get", "pdb", "web", "-o", path]);
            if now == wanted { Ok(()) } else { Err(now) }
        });
    };
    allowed("2 0");
    a_budget_holds_a_drain_up(cluster, &node);
    let table = cluster.run(&["get", "node", &node]);
    assert!(table.contains("SchedulingDisabled"), "{table}");
    cluster.run(&["patch", "pdb", "web", "-p", r#"{"spec":{"minAvailable":0}}"#]);
    allowed("2 2");
    let before = names(cluster, "app=web");
    let drain = ["drain", &node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=180s"];
    let drained = cluster.run(&drain);
    assert!(drained.ends_with("drained\n"), "{drained}");
    eventually("new pods wait for a node", || {
        let phases = ["get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].status.phase}"];
        let phases = cluster.run(&phases);
        if phases == "Pending Pending" { Ok(()) } else { Err(phases) }
    });
    assert_eq!(cluster.run(&["uncordon", &node]), format!("node/{node} uncordoned\n"));
    let ready = ["wait", "--for=condition=Ready", "pod", "-l", "app=web", "--timeout=180s"];
    cluster.run(&ready);
    assert_ne!(names(cluster, "app=web"), before);

    // A taint drives out who does not bear it, and nobody else comes.
    let before = names(cluster, "app=web");
    cluster.run(&["taint", "node", &node, "mine=yes:NoExecute"]);
    eventually("the pods were driven out", || {
        let now = names(cluster, "app=web");
        let kept = now.split(' ').any(|pod| before.contains(pod));
        if kept || now.is_empty() { Err(now) } else { Ok(()) }
    });
    cluster.run(&["taint", "node", &node, "mine:NoExecute-"]);
    cluster.run(&["rollout", "status", "deployment/web", "--timeout=180s"]);
    cluster.run(&["delete", "deployment/web", "pdb/web", "--wait"]);
}

/// Drains until the first pod is refused, and gives up then.
fn a_budget_holds_a_drain_up(cluster: &Cluster, node: &str) {
    let drain = ["drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=180s"];
    let mut drains = cluster.kubectl_command(&drain).spawn().unwrap();
    let mut said = Vec::new();
    let refused = BufReader::new(drains.stderr.take().unwrap()).lines().any(|line| {
        said.push(line.unwrap());
        said.last().is_some_and(|line| line.contains("disruption budget"))
    });
    drains.kill().unwrap();
    drains.wait().unwrap();
    assert!(refused, "{said:?}");
}
