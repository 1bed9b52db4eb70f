//! Rollouts, Jobs and autoscalers with unmodified kubectl, and what a client of a Service notices of them: nothing.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coracle_e2e::{
    BEHAVE, Cluster, HELLO, build_guests, container, eventually, get, pod, root, service, sh,
};
use serde_json::{Value, json};

#[test]
fn rollouts() {
    let guests = build_guests("tests/guests");
    let cluster = Cluster::start();
    cluster.push_guests(&guests);
    cluster.push("hello:2", &guests.join("hello_http.wasm"));
    // Both need some time by themselves: they are looked at in the end.
    let cron = ["create", "cronjob", "minutely", "--image", BEHAVE, "--schedule=* * * * *"];
    cluster.run(&[&cron[..], &["--", "echo", "tick"]].concat());
    autoscaled(&cluster);

    a_pod_is_one_unit(&cluster);
    nobody_notices_a_rollout(&cluster);
    history_and_undo(&cluster);
    a_rollout_that_cannot_end(&cluster);
    split_as_the_page_says(&cluster);
    stateful_pods_keep_what_is_theirs(&cluster);
    jobs_of_one(&cluster);
    nodes_have_names_and_taints(&cluster);

    autoscalers_show_what_they_read(&cluster);
    cluster.push("agnhost:1", &guests.join("agnhost.wasm"));
    autoscalers_read_what_others_serve(&cluster);
    a_job_at_each_minute(&cluster);
}

/// A Deployment of the usual service, with fields of its spec.
fn web(name: &str, more: Value) -> Value {
    let container = container("hello", HELLO, &json!({"ports": [{"containerPort": 8080}]}));
    let mut spec = json!({"selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec})
}

/// Row `pod.group`.
fn a_pod_is_one_unit(cluster: &Cluster) {
    let address =
        json!({"env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]});
    let one = sh("one", "sleep 600", &address);
    let two = sh("two", "sleep 600", &address);
    cluster.make(&[pod("group", &json!({"containers": [one, two]}))]);
    let ip = cluster.ready("group")["status"]["podIP"].as_str().unwrap().to_owned();
    let row = cluster.run(&["get", "po", "group", "--no-headers"]);
    let row: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(row[1..3], ["2/2", "Running"]);
    for container in ["one", "two"] {
        let said = cluster.run(&["exec", "group", "-c", container, "--", "sh", "-c", "echo $IP"]);
        assert_eq!(said.trim(), ip);
    }
    cluster.run(&["delete", "pod", "group", "--wait=false"]);
}

/// Clients that ask one after the other until they are stopped.
struct Load {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    fn start(port: u16) -> Load {
        let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let client = |_| {
            let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
            std::thread::spawn(move || {
                let mut failed = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    asked.fetch_add(1, Ordering::Relaxed);
                    match get(port, "/") {
                        Ok(answer) if answer.status == 200 => {}
                        other => failed.push(format!("{other:?}")),
                    }
                }
                failed
            })
        };
        let clients = (0..2).map(client).collect();
        Load { stop, asked, clients }
    }

    /// Stops the clients, and gives how often they asked and what failed.
    fn stop(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let failed = self.clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        (self.asked.load(Ordering::Relaxed), failed)
    }
}

/// Row `ha.multi`, and each verb that changes a Deployment's pods.
fn nobody_notices_a_rollout(cluster: &Cluster) {
    let port = cluster.node_port(0);
    let mut outside = service("web", 8080);
    outside["spec"]["type"] = json!("NodePort");
    outside["spec"]["ports"][0]["nodePort"] = json!(port);
    cluster.make(&[web("web", json!({"replicas": 3})), outside]);
    cluster.run(&["rollout", "status", "deployment/web", "--timeout=180s"]);
    eventually("web answers", || match get(port, "/") {
        Ok(answer) if answer.status == 200 => Ok(()),
        other => Err(other),
    });
    let load = Load::start(port);
    cluster.run(&["set", "image", "deployment/web", "hello=registry.coracle.internal/hello:2"]);
    cluster.run(&["rollout", "status", "deployment/web", "--timeout=180s"]);
    cluster.run(&["scale", "deployment/web", "--replicas=5"]);
    cluster.run(&["rollout", "status", "deployment/web", "--timeout=180s"]);
    cluster.run(&["scale", "deployment/web", "--replicas=3"]);
    cluster.run(&["rollout", "status", "deployment/web", "--timeout=180s"]);
    cluster.run(&["rollout", "restart", "deployment/web"]);
    cluster.run(&["rollout", "status", "deployment/web", "--timeout=180s"]);
    let (asked, failed) = load.stop();
    assert!(failed.is_empty() && asked > 20, "{} of {asked}: {:?}", failed.len(), failed.first());

    // A pod that is killed without notice: what breaks is little, and the next try is answered.
    let load = Load::start(port);
    // The rollouts' last pods may still be on their way out.
    let pods = cluster.get(&["pods", "-l", "app=web"]);
    let stays = |pod: &&Value| pod["metadata"]["deletionTimestamp"].is_null();
    let first = pods["items"].as_array().unwrap().iter().find(stays).unwrap();
    let first = first["metadata"]["name"].as_str().unwrap();
    cluster.run(&["delete", "pod", first, "--force", "--grace-period=0"]);
    for _ in 0..20 {
        let answer = get(port, "/").or_else(|_| get(port, "/"));
        assert_eq!(answer.map(|answer| answer.status), Ok(200));
    }
    cluster.run(&["rollout", "status", "deployment/web", "--timeout=180s"]);
    eventually("many were asked", || {
        let asked = load.asked.load(Ordering::Relaxed);
        if asked >= 400 { Ok(()) } else { Err(asked) }
    });
    let (asked, failed) = load.stop();
    assert!(failed.len() * 100 < asked, "{} of {asked} failed: {failed:?}", failed.len());
}

fn images(cluster: &Cluster) -> String {
    let path = "jsonpath={.items[*].spec.containers[0].image}";
    cluster.run(&["get", "pods", "-l", "app=web", "-o", path])
}

/// The sizes of the Deployment's ReplicaSets that are not empty, by image.
fn sizes(cluster: &Cluster) -> Vec<(String, i64)> {
    let sets = cluster.get(&["rs", "-l", "app=web"]);
    let sets = sets["items"].as_array().unwrap().iter().map(|set| {
        let image = set["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap();
        (image.to_owned(), set["status"]["replicas"].as_i64().unwrap_or(0))
    });
    let mut sets: Vec<(String, i64)> = sets.filter(|(_, size)| *size > 0).collect();
    sets.sort();
    sets
}

/// Rows `deploy.history`, `deploy.record`, `deploy.to-revision`, `deploy.undo-mid`, `deploy.keep-rs`,
/// `rc.rolling-update`.
fn history_and_undo(cluster: &Cluster) {
    let named = ["annotate", "deployment/web", "kubernetes.io/change-cause=restarted for a test"];
    cluster.run(&named);
    // The cause is the revision's only once its ReplicaSet has it.
    eventually("the revision has its cause", || {
        let history = cluster.run(&["rollout", "history", "deployment/web"]);
        if history.contains("restarted for a test") { Ok(()) } else { Err(history) }
    });
    let one = "hello=registry.coracle.internal/hello:1";
    let recorded = cluster.kubectl(&["set", "image", "deployment/web", one, "--record"]);
    assert!(recorded.ok && recorded.stderr.contains("deprecated"), "{recorded:?}");
    cluster.run(&["rollout", "status", "deployment/web", "--timeout=180s"]);
    let history = eventually("the history names the causes", || {
        let history = cluster.run(&["rollout", "history", "deployment/web"]);
        let all = ["REVISION  CHANGE-CAUSE", "restarted for a test", "--record=true"];
        if all.iter().all(|part| history.contains(part)) { Ok(history) } else { Err(history) }
    });
    // The revision before the last one, whatever its number is.
    let row = history.lines().find(|line| line.contains("restarted for a test")).unwrap();
    let revision = row.split_whitespace().next().unwrap();
    let shown = cluster.run(&["rollout", "history", "deployment/web", "--revision", revision]);
    assert!(shown.contains("hello:2"), "{shown}");
    cluster.run(&["rollout", "undo", "deployment/web", "--to-revision", revision]);
    cluster.run(&["rollout", "status", "deployment/web", "--timeout=180s"]);
    let template = cluster.get(&["deployment", "web"])["spec"]["template"].clone();
    assert_eq!(template["spec"]["containers"][0]["image"], "registry.coracle.internal/hello:2");
    assert!(template["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"].is_string());

    // Half of it is new and cannot start; undo brings the old half back.
    let half = json!({"spec": {"replicas": 4, "strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "50%"}}}});
    cluster.run(&["patch", "deployment/web", "-p", &half.to_string()]);
    cluster.run(&["rollout", "status", "deployment/web", "--timeout=180s"]);
    let (old, bad) = ("registry.coracle.internal/hello:2", "registry.coracle.internal/nosuch:1");
    cluster.run(&["set", "image", "deployment/web", &format!("hello={bad}")]);
    let wanted = vec![(old.to_owned(), 2), (bad.to_owned(), 2)];
    eventually("half of it is new", || {
        let sizes = sizes(cluster);
        if sizes == wanted { Ok(()) } else { Err(sizes) }
    });
    // Whoever only looks on may go.
    let mut follows =
        cluster.kubectl_command(&["rollout", "status", "deployment/web"]).spawn().unwrap();
    cluster.run(&["rollout", "undo", "deployment/web"]);
    follows.kill().unwrap();
    follows.wait().unwrap();
    cluster.run(&["rollout", "status", "deployment/web", "--timeout=180s"]);
    eventually("only the old one is left", || {
        let sizes = sizes(cluster);
        if sizes == [(old.to_owned(), 4)] { Ok(()) } else { Err(sizes) }
    });
    eventually("all pods are old", || {
        let images = images(cluster);
        if images.matches(old).count() == 4 && !images.contains(bad) { Ok(()) } else { Err(images) }
    });
    let refused = cluster.kubectl(&["rolling-update", "web"]);
    assert!(!refused.ok && refused.stderr.contains("unknown command"), "{refused:?}");

    // Without its ReplicaSets a Deployment has no past.
    let empty = cluster.get(&["rs", "-l", "app=web"]);
    let empty =
        empty["items"].as_array().unwrap().iter().filter(|set| set["spec"]["replicas"] == 0);
    let names: Vec<String> =
        empty.map(|set| format!("rs/{}", set["metadata"]["name"].as_str().unwrap())).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    cluster.run(&[&["delete"], &names[..]].concat());
    let refused = cluster.kubectl(&["rollout", "undo", "deployment/web"]);
    assert!(!refused.ok && refused.stderr.contains("no rollout history found"), "{refused:?}");
    let page = std::fs::read_to_string(root().join("specs/workloads.md")).unwrap();
    assert!(page.contains("Do not delete them by hand"));
}

/// Row `deploy.status`; `rollout pause` and `resume`.
fn a_rollout_that_cannot_end(cluster: &Cluster) {
    cluster.run(&["rollout", "pause", "deployment/web"]);
    let bad = "hello=registry.coracle.internal/nosuch:2";
    cluster.run(&["set", "image", "deployment/web", bad]);
    cluster.run(&["patch", "deployment/web", "-p", r#"{"spec":{"progressDeadlineSeconds":2}}"#]);
    assert_eq!(sizes(cluster).len(), 1, "a paused one does not roll");
    cluster.run(&["rollout", "resume", "deployment/web"]);
    let status = cluster.kubectl(&["rollout", "status", "deployment/web", "--timeout=180s"]);
    assert!(!status.ok, "{status:?}");
    assert!(status.stderr.contains("exceeded its progress deadline"), "{status:?}");
    cluster.run(&["rollout", "undo", "deployment/web"]);
    // Until a pod is made anew the deployment still says that it was too slow, as upstream does.
    eventually("the deployment is rolled out again", || {
        let status = cluster.kubectl(&["rollout", "status", "deployment/web", "--timeout=180s"]);
        let done = status.ok && status.stdout.contains("successfully rolled out");
        if done { Ok(()) } else { Err(status) }
    });
    cluster.run(&["delete", "deployment/web", "service/web", "--wait=false"]);
}

/// Row `pod.compose-rule`: the examples of the page.
fn split_as_the_page_says(cluster: &Cluster) {
    let page = std::fs::read_to_string(root().join("specs/workloads.md")).unwrap();
    let mut examples =
        page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let (together, split) = (examples.next().unwrap(), examples.next().unwrap());
    cluster.apply(together);
    cluster.apply(split);
    for name in ["together", "front", "back"] {
        cluster.run(&["rollout", "status", &format!("deployment/{name}"), "--timeout=180s"]);
    }
    cluster.run(&["scale", "deployment/front", "--replicas=3"]);
    cluster.run(&["rollout", "status", "deployment/front", "--timeout=180s"]);
    let ready = "jsonpath={.items[*].status.readyReplicas}";
    assert_eq!(cluster.run(&["get", "deployment", "back", "front", "-o", ready]), "1 3");
    cluster.run(&["delete", "deployment", "together", "front", "back", "--wait=false"]);
}

/// Rows `sts.identity`, `sts.vct`, `sts.reattach`, `sts.petset`.
fn stateful_pods_keep_what_is_theirs(cluster: &Cluster) {
    let mount = json!({"volumeMounts": [{"name": "www", "mountPath": "/data"}]});
    let serves = container("hello", HELLO, &json!({"ports": [{"containerPort": 8080}]}));
    let containers = json!([sh("tools", "sleep 6000", &mount), serves]);
    let claim = json!({"metadata": {"name": "www"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Mi"}}}});
    let labels = json!({"app": "pets"});
    let set = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "pets"},
        "spec": {"replicas": 3, "serviceName": "pets", "selector": {"matchLabels": labels},
            "volumeClaimTemplates": [claim], "template": {"metadata": {"labels": labels}, "spec":
                {"terminationGracePeriodSeconds": 1, "containers": containers}}}});
    let mut headless = service("pets", 8080);
    headless["spec"]["clusterIP"] = json!("None");
    cluster.make(&[set, headless]);
    cluster.run(&["rollout", "status", "sts/pets", "--timeout=180s"]);
    let claims = || {
        let path =
            "jsonpath={range .items[*]}{.metadata.name} {.status.phase} {.spec.volumeName},{end}";
        cluster.run(&["get", "pvc", "-o", path])
    };
    let before = claims();
    for index in 0..3 {
        assert!(before.contains(&format!("www-pets-{index} Bound ")), "{before}");
    }
    assert!(cluster.exec("pets-0", "echo precious > /data/mine").ok);
    assert!(cluster.exec("pets-1", "echo of one > /data/mine").ok);
    let uid = |name: &str| cluster.get(&["pod", name])["metadata"]["uid"].clone();
    let uids = ["pets-0", "pets-1"].map(|name| (name, uid(name)));
    // Not waited for: kubectl watches for the end of a name, and misses it when the name is taken again at once.
    cluster.run(&["delete", "pod", "pets-0", "pets-1", "--wait=false"]);
    for (name, uid) in uids {
        eventually(&format!("{name} is back"), || {
            let shown = cluster.ready(name);
            if shown["metadata"]["uid"] == uid { Err(shown) } else { Ok(()) }
        });
        assert_eq!(cluster.exec(name, "hostname").stdout.trim(), name);
        // Found by its own name from another pod.
        let ask = format!("wget -q -O - http://{name}.pets.default.svc.cluster.local:8080/");
        cluster.exec_prints("pets-2", &ask, "hello");
    }
    cluster.exec_prints("pets-0", "cat /data/mine", "precious");
    cluster.exec_prints("pets-1", "cat /data/mine", "of one");
    cluster.run(&["scale", "sts/pets", "--replicas=1"]);
    cluster.run(&["wait", "--for=delete", "pod/pets-1", "pod/pets-2", "--timeout=180s"]);
    assert_eq!(claims(), before, "scaling down keeps the claims");
    let missing = cluster.kubectl(&["get", "petsets"]);
    assert!(missing.stderr.contains("doesn't have a resource type \"petsets\""), "{missing:?}");
    let page = std::fs::read_to_string(root().join("specs/workloads.md")).unwrap();
    assert!(page.contains("*PetSet*: the first name of StatefulSet"));
    cluster.run(&["delete", "sts/pets", "service/pets", "--wait=false"]);
}

/// Row `job.object`.
fn jobs_of_one(cluster: &Cluster) {
    cluster.run(&["create", "job", "single", "--image", BEHAVE, "--", "echo", "done"]);
    cluster.run(&["wait", "--for=condition=Complete", "job/single", "--timeout=180s"]);
    let table = cluster.run(&["get", "job", "single"]);
    let column = table.lines().next().unwrap().find("COMPLETIONS").unwrap();
    assert!(table.lines().nth(1).unwrap()[column..].starts_with("1/1"), "{table}");
    let row = cluster.run(&["get", "pods", "-l", "job-name=single", "--no-headers"]);
    assert_eq!(row.split_whitespace().nth(2), Some("Completed"), "{row}");
    assert_eq!(cluster.get(&["job", "single"])["spec"]["backoffLimit"], 6);
}

/// Rows `sched.hostname-label`, `sched.taint`.
fn nodes_have_names_and_taints(cluster: &Cluster) {
    let node = cluster.run(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]);
    let labels = cluster.run(&["get", "no", "--show-labels"]);
    assert!(labels.contains(&format!("kubernetes.io/hostname={node}")), "{labels}");
    cluster.run(&["taint", "node", &node, "mine=yes:NoSchedule", "soft=yes:PreferNoSchedule"]);
    let described = cluster.run(&["describe", "no", &node]);
    assert!(described.contains("mine=yes:NoSchedule"), "{described}");
    assert!(described.contains("soft=yes:PreferNoSchedule"), "{described}");
    let mut bears = json!({"containers": [sh("c", "sleep 600", &json!({}))],
        "nodeSelector": {"kubernetes.io/hostname": node}});
    cluster.make(&[pod("stranger", &bears)]);
    bears["tolerations"] = json!([{"key": "mine", "operator": "Exists"}]);
    cluster.make(&[pod("bears", &bears)]);
    cluster.ready("bears");
    cluster.says("pod/stranger", &["untolerated taint"]);
    assert_eq!(cluster.get(&["pod", "stranger"])["spec"].get("nodeName"), None);
    cluster.run(&["taint", "node", &node, "mine-"]);
    // What is only not preferred is taken when there is nothing else.
    cluster.ready("stranger");
    cluster.run(&["taint", "node", &node, "soft-"]);
    cluster.run(&["delete", "pod", "stranger", "bears", "--wait=false"]);
}

fn autoscaled(cluster: &Cluster) {
    let asks =
        json!({"ports": [{"containerPort": 8080}], "resources": {"requests": {"cpu": "100m"}}});
    let mut auto = web("auto", json!({"replicas": 1}));
    auto["spec"]["template"]["spec"]["containers"] = json!([container("hello", HELLO, &asks)]);
    cluster.make(&[auto]);
    let made = ["autoscale", "deployment/auto", "--cpu-percent=50", "--min=1", "--max=3"];
    cluster.run(&made);
}

/// Rows `hpa.get`, `hpa.heapster`.
fn autoscalers_show_what_they_read(cluster: &Cluster) {
    let table = eventually("the autoscaler has read its metric", || {
        let table = cluster.run(&["get", "hpa", "auto"]);
        if table.contains("<unknown>") || !table.contains("%/50%") { Err(table) } else { Ok(table) }
    });
    let header: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    let columns = ["NAME", "REFERENCE", "TARGETS", "MINPODS", "MAXPODS", "REPLICAS", "AGE"];
    assert_eq!(header, columns);
    let row: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..2], ["auto", "Deployment/auto"]);
    assert_eq!(row[row.len() - 4..row.len() - 1], ["1", "3", "1"]);
    eventually("the pod is measured", || {
        let top = cluster.kubectl(&["top", "po", "-l", "app=auto", "--no-headers"]);
        if top.stdout.contains("auto-") && top.stdout.contains("Mi") { Ok(()) } else { Err(top) }
    });
    cluster.run(&["delete", "hpa/auto", "deployment/auto", "--wait=false"]);
}

/// A pod that serves the metrics APIs, as adapters of monitoring systems do.
fn metrics_of_others(cluster: &Cluster) {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["metrics.default.svc".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    let served = |version: &str, group: &str| {
        json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": {"name": format!("{version}.{group}")}, "spec": {
                "group": group, "version": version, "groupPriorityMinimum": 100, "versionPriority": 10,
                "caBundle": STANDARD.encode(&certificate),
                "service": {"namespace": "default", "name": "metrics"}}})
    };
    let args = [
        "metrics-adapter",
        "--port=8443",
        "--tls-cert-file=/tls/tls.crt",
        "--tls-private-key-file=/tls/tls.key",
    ];
    let mounts =
        json!([{"name": "tls", "mountPath": "/tls"}, {"name": "values", "mountPath": "/metrics"}]);
    let container = container(
        "c",
        "registry.coracle.internal/agnhost:1",
        &json!({"args": args,
        "volumeMounts": mounts, "readinessProbe": {"tcpSocket": {"port": 8443}}}),
    );
    let mut adapter = service("metrics", 8443);
    adapter["spec"]["ports"][0]["port"] = json!(443);
    cluster.make(&[
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "metrics"}, "type": "kubernetes.io/tls",
            "stringData": {"tls.crt": &certificate, "tls.key": key.serialize_pem()}}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "metrics"},
            "data": {"queue_length": "6", "requests-per-second": "2500m"}}),
        pod("metrics", &json!({"containers": [container], "volumes": [
            {"name": "tls", "secret": {"secretName": "metrics"}},
            {"name": "values", "configMap": {"name": "metrics"}}]})),
        adapter,
        served("v1beta2", "custom.metrics.k8s.io"),
        served("v1beta1", "external.metrics.k8s.io"),
    ]);
}

/// Object and external metrics come from whoever serves their groups; what nobody knows is said.
fn autoscalers_read_what_others_serve(cluster: &Cluster) {
    metrics_of_others(cluster);
    let names = ["by-queue", "by-rate", "by-nothing"];
    let pods: Vec<Value> = names.iter().map(|name| web(name, json!({"replicas": 1}))).collect();
    cluster.make(&pods);
    let services =
        ["apiservice/v1beta2.custom.metrics.k8s.io", "apiservice/v1beta1.external.metrics.k8s.io"];
    for name in services {
        cluster.run(&["wait", "--for=condition=Available", name, "--timeout=180s"]);
    }
    for name in names {
        cluster.run(&["rollout", "status", &format!("deployment/{name}"), "--timeout=180s"]);
    }
    let described =
        |name: &str| json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": name});
    let external = |metric: &str| {
        json!({"type": "External", "external": {"metric": {"name": metric},
            "target": {"type": "AverageValue", "averageValue": "2"}}})
    };
    let object = json!({"type": "Object", "object": {"metric": {"name": "requests-per-second"},
        "describedObject": described("by-rate"), "target": {"type": "Value", "value": "1"}}});
    let autoscaler = |name: &str, metric: Value| {
        json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": name},
            "spec": {"scaleTargetRef": described(name), "maxReplicas": 3, "metrics": [metric]}})
    };
    cluster.make(&[
        autoscaler("by-queue", external("queue_length")),
        autoscaler("by-rate", object),
        autoscaler("by-nothing", external("nosuch")),
    ]);
    // Six of which each takes two; and two and a half times as many as one takes.
    for name in ["by-queue", "by-rate"] {
        cluster.shows(&format!("deployment/{name}"), "/spec/replicas", 3);
        cluster.says(&format!("hpa/{name}"), &["SuccessfulRescale", "New size: 3"]);
    }
    cluster
        .says("hpa/by-nothing", &["FailedGetExternalMetric", "could not find the metric nosuch"]);
    cluster.shows("deployment/by-nothing", "/spec/replicas", 1);
    let asked = "/namespaces/default/deployments.apps/by-rate/requests-per-second";
    eventually("the adapter tells what it was asked", || {
        let log = cluster.kubectl(&["logs", "metrics"]);
        if log.stdout.contains(asked) { Ok(()) } else { Err(log) }
    });
    let all: Vec<String> = names
        .iter()
        .flat_map(|name| [format!("hpa/{name}"), format!("deployment/{name}")])
        .collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    // First what leads to the pod, so that no group is there that nobody serves.
    cluster.run(&[&["delete"], &services[..]].concat());
    cluster
        .run(&[&["delete", "--wait=false", "pod/metrics", "service/metrics"], &all[..]].concat());
}

/// Row `cron.object`.
fn a_job_at_each_minute(cluster: &Cluster) {
    let made = cluster.run(&["create", "job", "by-hand", "--from=cronjob/minutely"]);
    assert_eq!(made, "job.batch/by-hand created\n");
    let due = eventually("the minute's Job has come", || {
        let jobs = cluster.get(&["jobs"]);
        let annotation = "batch.kubernetes.io/cronjob-scheduled-timestamp";
        let due =
            |job: &Value| job["metadata"]["annotations"][annotation].as_str().map(str::to_owned);
        jobs["items"].as_array().unwrap().iter().find_map(due).ok_or(jobs)
    });
    assert!(due.ends_with(":00Z"), "{due}");
    cluster.run(&["wait", "--for=condition=Complete", "job/by-hand", "--timeout=180s"]);
}
