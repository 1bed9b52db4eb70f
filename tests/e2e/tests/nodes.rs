//! Several hosts as kubectl sees them: where pods go, what a DaemonSet makes of a new host, and draining under a budget.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use coracle_e2e::{
    BEHAVE, HELLO, KUBECTL_NEW, Machines, Output, build_guests, container, coracle, eventually,
    kubectl, sh,
};
use serde_json::{Value, json};

#[test]
fn nodes() {
    let guests = build_guests("tests/guests");
    let mut machines = Machines::start(6);
    for (image, file) in [(BEHAVE, "behave.wasm"), (HELLO, "hello_http.wasm")] {
        let tag = image.rsplit('/').next().unwrap();
        let pushed = machines.coracle(&["push", tag, guests.join(file).to_str().unwrap()]);
        assert!(pushed.ok, "{pushed:?}");
    }
    let words = machines.token();
    let share = machines.folder().join("share");
    std::fs::create_dir_all(share.join("team")).unwrap();
    let mut with_share = words.clone();
    with_share.push(format!("--nfs=files.example:/exports={}", share.display()));
    for index in 1..4 {
        machines.start_host(index, if index < 3 { &with_share } else { &words });
    }
    (1..4).for_each(|index| machines.wait_ready(index));
    everything_is_there_without_a_flag(&machines, &guests);
    containers_stay_together(&machines);
    a_share_is_there_where_it_is_mounted(&machines, &share);
    hosts_answer_whom_they_know(&machines);
    daemons_and_the_control_plane(&mut machines, &words);
    let machines = Arc::new(machines);
    drained_under_a_budget(&machines);
    changes_reach_all_pods_together(&machines);
    let mut machines = Arc::into_inner(machines).unwrap();
    hosts_come_and_go_as_they_are_needed(&mut machines, &words);
}

fn make(machines: &Machines, object: &Value) {
    machines.apply(&object.to_string());
}

/// Row `pod.colocated`.
fn containers_stay_together(machines: &Machines) {
    let containers = ["a", "b", "c"].map(|name| sh(name, "sleep 600", &json!({})));
    make(
        machines,
        &json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "three"},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": containers}}),
    );
    machines.run(&["wait", "--for=condition=Ready", "pod/three", "--timeout=180s"]);
    let pod = machines.get(&["pod", "three"]);
    let node = pod["spec"]["nodeName"].as_str().unwrap();
    assert_eq!(pod["status"]["containerStatuses"].as_array().unwrap().len(), 3);
    let path = format!("/api/v1/nodes/{node}/proxy/stats/summary");
    eventually("the host itself says that it runs all three", || {
        let stats = machines.kubectl(&["get", "--raw", &path]);
        let told: Value = serde_json::from_str(&stats.stdout).unwrap_or_default();
        let mut pods = told["pods"].as_array().into_iter().flatten();
        let own = pods.find(|pod| pod["podRef"]["name"] == "three");
        let containers = own.and_then(|own| own["containers"].as_array()).into_iter().flatten();
        let mut names: Vec<&str> = containers.filter_map(|c| c["name"].as_str()).collect();
        names.sort_unstable();
        if names == ["a", "b", "c"] { Ok(()) } else { Err(stats) }
    });
    machines.run(&["delete", "pod", "three", "--wait=false"]);
}

/// Row `vol.nfs`: two hosts have the share, the third was not told of it.
fn a_share_is_there_where_it_is_mounted(machines: &Machines, share: &Path) {
    let on = |name: &str, node: &str, script: &str, source: Value| {
        let mounts = json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]});
        let mut volume = source;
        volume.as_object_mut().unwrap().insert("name".to_owned(), json!("v"));
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
            "restartPolicy": "Never", "nodeSelector": {"kubernetes.io/hostname": node},
            "containers": [sh("c", script, &mounts)], "volumes": [volume]}})
    };
    let team = json!({"nfs": {"server": "files.example", "path": "/exports/team"}});
    let fixed =
        json!({"nfs": {"server": "files.example", "path": "/exports/team", "readOnly": true}});
    let printed = |name: &str| {
        eventually(&format!("{name} is done"), || {
            let pod = machines.get(&["pod", name]);
            if pod["status"]["phase"] == "Succeeded" { Ok(()) } else { Err(pod["status"].clone()) }
        });
        machines.run(&["logs", name])
    };
    make(machines, &on("writes", "host-1", "echo from one > /v/file", team.clone()));
    assert_eq!(printed("writes"), "");
    machines.run(&["delete", "pod", "writes"]);
    let script = "cat /v/file; (echo x > /v/other) 2>/dev/null || echo refused";
    make(machines, &on("reads", "host-2", script, fixed));
    assert_eq!(printed("reads"), "from one\nrefused\n");
    // By a claim of a volume that an administrator made; and back to the first host.
    let meta = json!({"name": "team"});
    let modes = json!(["ReadWriteMany"]);
    make(
        machines,
        &json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": meta, "spec": {"storageClassName": "",
            "capacity": {"storage": "1Mi"}, "accessModes": modes, "nfs": team["nfs"]}},
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": {"storageClassName": "",
            "volumeName": "team", "accessModes": modes, "resources": {"requests": {"storage": "1Mi"}}}}]}),
    );
    let claim = json!({"persistentVolumeClaim": {"claimName": "team"}});
    make(machines, &on("claims", "host-2", "cat /v/file; echo from two > /v/file", claim));
    assert_eq!(printed("claims"), "from one\n");
    make(machines, &on("again", "host-1", "cat /v/file", team.clone()));
    assert_eq!(printed("again"), "from two\n");
    make(machines, &on("elsewhere", "host-3", "true", team));
    eventually("it says why it waits", || {
        let described = machines.run(&["describe", "pod", "elsewhere"]);
        let words =
            ["FailedMount", "ContainerCreating", "--nfs files.example:/exports/team=FOLDER"];
        if words.iter().all(|word| described.contains(word)) { Ok(()) } else { Err(described) }
    });
    let pods = ["reads", "claims", "again", "elsewhere", "--grace-period=0", "--force"];
    machines.run(&[&["delete", "pod"][..], &pods].concat());
    assert_eq!(std::fs::read_to_string(share.join("team/file")).unwrap(), "from two\n");
}

/// Row `node.daemon`. A host listens at no port for this: it is asked over a connection that it made, by the server alone.
fn hosts_answer_whom_they_know(machines: &Machines) {
    let path = "/api/v1/nodes/host-1/proxy/healthz";
    eventually("the host is asked", || {
        let said = machines.kubectl(&["get", "--raw", path]);
        if said.stdout == "ok" { Ok(()) } else { Err(said) }
    });
    let stranger = |server: &str| {
        // With a word that nobody knows: without any, kubectl would ask for one.
        let flags = ["--kubeconfig=/dev/null", "--token=nobody", "--insecure-skip-tls-verify"];
        let flags = [&flags[..], &["--server", server]].concat();
        machines.kubectl(&[&flags[..], &["get", "--raw", path]].concat())
    };
    let closed = stranger(&format!("https://{}:10250", machines.address(1)));
    assert!(!closed.ok && closed.stderr.contains("refused"), "{closed:?}");
    let unknown = stranger(&machines.url());
    assert!(!unknown.ok, "{unknown:?}");
    let words = ["Unauthorized", "Forbidden", "forbidden", "must be logged in"];
    assert!(words.iter().any(|word| unknown.stderr.contains(word)), "{unknown:?}");
}

fn daemon_nodes(machines: &Machines) -> Vec<String> {
    let path = "jsonpath={range .items[?(@.status.phase=='Running')]}{.spec.nodeName} {end}";
    let nodes = machines.run(&["get", "pods", "-l", "app=daemon", "-o", path]);
    let mut nodes: Vec<String> = nodes.split_whitespace().map(str::to_owned).collect();
    nodes.sort();
    nodes
}

fn until_daemons_on(machines: &Machines, wanted: &[&str]) {
    eventually(&format!("daemons on {wanted:?}"), || {
        let nodes = daemon_nodes(machines);
        if nodes == wanted { Ok(()) } else { Err((nodes, machines.logs())) }
    });
}

/// Rows `ds.object`, `sched.master-taint`.
fn daemons_and_the_control_plane(machines: &mut Machines, words: &[String]) {
    let labels = json!({"app": "daemon"});
    let spec = json!({"terminationGracePeriodSeconds": 0, "tolerations": [{"operator": "Exists"}],
        "containers": [sh("c", "sleep 6000", &json!({}))]});
    make(
        machines,
        &json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "daemon"},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec}}}),
    );
    until_daemons_on(machines, &["host-1", "host-2", "host-3"]);
    let mut tainted = words.to_vec();
    tainted.push(
        "--register-with-taints=node-role.kubernetes.io/control-plane=:NoSchedule".to_owned(),
    );
    machines.start_host(4, &tainted);
    until_daemons_on(machines, &["host-1", "host-2", "host-3", "host-4"]);
    let described = machines.run(&["describe", "node", "host-4"]);
    assert!(described.contains("node-role.kubernetes.io/control-plane:NoSchedule"), "{described}");

    // The pods of users go to the others.
    let labels = json!({"app": "web"});
    let hello = container(
        "hello",
        HELLO,
        &json!({"ports": [{"containerPort": 8080}],
        "volumeMounts": [{"name": "d", "mountPath": "/d"}]}),
    );
    let spread = json!([{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {"matchLabels": labels}}]);
    make(
        machines,
        &json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": 6, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
            "spec": {"topologySpreadConstraints": spread, "containers": [hello],
                "volumes": [{"name": "d", "emptyDir": {}}]}}}}),
    );
    machines.run(&["rollout", "status", "deployment/web", "--timeout=180s"]);
    let nodes = web_nodes(machines);
    assert!(nodes.len() == 6 && !nodes.contains(&"host-4".to_owned()), "{nodes:?}");

    machines.kill_host(4);
    machines.run(&["delete", "node", "host-4"]);
    until_daemons_on(machines, &["host-1", "host-2", "host-3"]);
}

fn web_nodes(machines: &Machines) -> Vec<String> {
    let nodes =
        machines.run(&["get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].spec.nodeName}"]);
    nodes.split_whitespace().map(str::to_owned).collect()
}

/// How many pods of the Deployment serve.
fn n_serving(machines: &Machines) -> usize {
    let pods = machines.get(&["pods", "-l", "app=web"]);
    let serves = |pod: &&Value| {
        let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
        pod["metadata"]["deletionTimestamp"].is_null()
            && conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True")
    };
    pods["items"].as_array().unwrap().iter().filter(serves).count()
}

/// Row `node.drain`.
fn drained_under_a_budget(machines: &Arc<Machines>) {
    machines.run(&["create", "pdb", "web", "--selector=app=web", "--min-available=5"]);
    machines.run(&[
        "wait",
        "--for=jsonpath={.status.disruptionsAllowed}=1",
        "pdb/web",
        "--timeout=180s",
    ]);
    let refused = machines.kubectl(&["drain", "host-1", "--timeout=5s"]);
    assert!(!refused.ok && refused.stderr.contains("--ignore-daemonsets"), "{refused:?}");
    assert!(refused.stderr.contains("--delete-emptydir-data"), "{refused:?}");
    let over = Arc::new(AtomicBool::new(false));
    let watcher = std::thread::spawn({
        let (machines, over) = (Arc::clone(machines), Arc::clone(&over));
        move || {
            let mut least = usize::MAX;
            while !over.load(Ordering::Relaxed) {
                least = least.min(n_serving(&machines));
            }
            least
        }
    });
    let drain =
        ["drain", "host-1", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=180s"];
    let said = machines.run(&drain);
    over.store(true, Ordering::Relaxed);
    assert!(said.ends_with("drained\n"), "{said}");
    assert!(watcher.join().unwrap() >= 5, "the budget was broken");
    machines.run(&["rollout", "status", "deployment/web", "--timeout=180s"]);
    eventually("all serve elsewhere", || {
        let nodes = web_nodes(machines);
        let away = nodes.len() == 6 && !nodes.contains(&"host-1".to_owned());
        if away && n_serving(machines) == 6 { Ok(()) } else { Err(nodes) }
    });
    assert_eq!(daemon_nodes(machines), ["host-1", "host-2", "host-3"], "daemons stay");
    assert_eq!(machines.run(&["uncordon", "host-1"]), "node/host-1 uncordoned\n");
}

/// Rows `ca.scale-up`, `ca.scale-down`.
fn hosts_come_and_go_as_they_are_needed(machines: &mut Machines, words: &[String]) {
    let folder = machines.folder().to_path_buf();
    let (asked, removed) = (folder.join("asked.json"), folder.join("removed"));
    restart_with_hooks(machines, &folder);
    let labels = json!({"app": "large"});
    let request = json!({"resources": {"requests": {"memory": "20Mi"}}});
    let large = json!({"terminationGracePeriodSeconds": 0, "nodeSelector": {"size": "large"},
        "containers": [sh("c", "sleep 6000", &request)]});
    make(
        machines,
        &json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "large"},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": large}}}),
    );
    let told = eventually("the program was called for the pod without room", || {
        std::fs::read_to_string(&asked).map_err(|error| (error, machines.logs()))
    });
    let told: Value = serde_json::from_str(&told).unwrap();
    let pod = &told["pods"][0];
    assert!(pod["name"].as_str().unwrap().starts_with("large-"), "{told}");
    assert_eq!(pod["requests"]["memory"], "20971520");
    assert!(pod["message"].as_str().unwrap().contains("nodes are available"), "{told}");
    eventually("the pod's owner is told", || {
        let events = machines.run(&["get", "events", "-o", "jsonpath={.items[*].reason}"]);
        if events.contains("TriggeredScaleUp") { Ok(()) } else { Err(events) }
    });
    // The host that was asked for.
    let labelled = [words, &["--node-labels=size=large".to_owned()]].concat();
    machines.start_host(4, &labelled);
    let pid = machines.host_pid(4).to_string();
    std::fs::write(folder.join("pid-host-4"), pid).unwrap();
    machines.run(&["rollout", "status", "deployment/large", "--timeout=180s"]);
    let at = "jsonpath={.items[*].spec.nodeName}";
    assert_eq!(machines.run(&["get", "pods", "-l", "app=large", "-o", at]), "host-4");

    // Its pod has no room elsewhere. As soon as it has, the host is drained and goes.
    assert!(!removed.exists());
    machines.run(&["label", "node", "host-2", "size=large"]);
    let gone = |node: &str| {
        eventually(&format!("{node} is removed"), || {
            let said = std::fs::read_to_string(&removed).unwrap_or_default();
            let nodes = machines.run(&["get", "nodes", "-o", "name"]);
            let gone = said.lines().any(|line| line == node) && !nodes.contains(node);
            if gone { Ok(()) } else { Err((said, nodes, machines.logs())) }
        });
    };
    gone("host-4");
    eventually("its pod runs elsewhere", || {
        let path = "jsonpath={.items[*].spec.nodeName} {.items[*].status.phase}";
        let pods = machines.run(&["get", "pods", "-l", "app=large", "-o", path]);
        if pods == "host-2 Running" { Ok(()) } else { Err(pods) }
    });
    // The bare pod has held its host, which is idle in all else, all along.
    assert_eq!(std::fs::read_to_string(&removed).unwrap(), "host-4\n");
    assert_eq!(machines.run(&["get", "pod", "bare", "-o", "jsonpath={.status.phase}"]), "Running");
    machines.run(&["delete", "pod", "bare", "--grace-period=0", "--force"]);
    gone("host-1");
}

/// A bare pod on a host that is idle but for it, and a server that calls programs which add and remove hosts.
fn restart_with_hooks(machines: &mut Machines, folder: &Path) {
    let program = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        format!("--{name}-host-hook={}", path.display())
    };
    let folder = folder.display();
    let adds = format!("cat > {folder}/asked.new && mv {folder}/asked.new {folder}/asked.json");
    let removes = format!("kill -9 $(cat {folder}/pid-$1) && echo $1 >> {folder}/removed");
    let (adds, removes) = (program("add", &adds), program("remove", &removes));
    for index in 1..4 {
        let pid = machines.host_pid(index).to_string();
        std::fs::write(format!("{folder}/pid-host-{index}"), pid).unwrap();
    }
    make(
        machines,
        &json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bare"},
        "spec": {"nodeName": "host-1", "containers": [sh("c", "sleep 6000", &json!({}))]}}),
    );
    machines.run(&["wait", "--for=condition=Ready", "pod/bare", "--timeout=180s"]);
    let times = ["--host-check-interval=1s", "--idle-host-after=3s"];
    machines.restart_server(&[&[adds.as_str(), removes.as_str()], &times[..]].concat());
}

/// Row `cm.skew`: twenty pods on three hosts see a change; whoever wants to know how far apart reads their logs.
fn changes_reach_all_pods_together(machines: &Machines) {
    let live = |value: &str| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "live"},
        "data": {"value": value}})
    };
    make(machines, &live("one"));
    let script =
        "until [ \"$(cat /live/value)\" = two ]; do sleep 0.1; done; echo seen; sleep 6000";
    let mount = json!({"volumeMounts": [{"name": "live", "mountPath": "/live"}]});
    let labels = json!({"app": "live"});
    // On all three, whatever the scheduler knows of a host that was just uncordoned.
    let spread = json!([{"maxSkew": 5, "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": labels}}]);
    let spec = json!({"terminationGracePeriodSeconds": 0, "containers": [sh("c", script, &mount)],
        "topologySpreadConstraints": spread, "volumes": [{"name": "live", "configMap": {"name": "live"}}]});
    make(
        machines,
        &json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "live"},
        "spec": {"replicas": 20, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec}}}),
    );
    machines.run(&["rollout", "status", "deployment/live", "--timeout=180s"]);
    let path = "jsonpath={.items[*].spec.nodeName}";
    let nodes = machines.run(&["get", "pods", "-l", "app=live", "-o", path]);
    let nodes: std::collections::BTreeSet<&str> = nodes.split_whitespace().collect();
    assert_eq!(nodes.len(), 3, "{nodes:?}");
    make(machines, &live("two"));
    let logs = ["logs", "-l", "app=live", "--tail=-1", "--timestamps", "--max-log-requests=20"];
    let mut seen = eventually("all have seen it", || {
        let lines = machines.kubectl(&logs);
        let at: Vec<f64> = lines.stdout.lines().filter_map(seconds_of_day).collect();
        if at.len() == 20 { Ok(at) } else { Err(lines) }
    });
    seen.sort_by(f64::total_cmp);
    // Over midnight the last ones seem to be a day before the first.
    let skew = (seen[19] - seen[0]).min(86_400.0 - (seen[19] - seen[0]));
    assert!(skew < 10.0, "the change reached twenty pods within {skew:.3} s: {seen:?}");
    machines.run(&["delete", "deployment/live", "configmap/live", "--wait=false"]);
}

/// The time of day that a line of a log begins with, such as `2026-01-01T12:00:01.5Z seen`.
fn seconds_of_day(line: &str) -> Option<f64> {
    let (date, word) = line.split_once(' ')?;
    let time = date.split_once('T')?.1.strip_suffix('Z')?;
    let mut parts = time.split(':').map(|part| part.parse::<f64>().ok());
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    (word == "seen").then_some(hour * 3600.0 + minute * 60.0 + second)
}

/// A server that was started with no flag at all, on a machine of its own.
struct Plain<'a> {
    machines: &'a Machines,
    /// The machine's number.
    at: usize,
    folder: String,
}

impl Plain<'_> {
    fn run(&self, words: &[&str]) -> Output {
        let data = format!("CORACLE_DATA_DIR={}/plain", self.folder);
        let kubeconfig = format!("KUBECONFIG={}/plain/kubeconfig", self.folder);
        let home = format!("HOME={}", self.folder);
        self.machines.program(self.at, &[&["env", &data, &kubeconfig, &home], words].concat())
    }

    fn kubectl(&self, words: &[&str]) -> Output {
        let kubectl = kubectl(KUBECTL_NEW);
        self.run(&[&[kubectl.to_str().unwrap()], words].concat())
    }

    fn coracle(&self, words: &[&str]) -> Output {
        self.run(&[&[coracle().to_str().unwrap()], words].concat())
    }

    fn until(&self, what: &str, words: &[&str], is_so: impl Fn(&str) -> bool) {
        eventually(what, || {
            let got = self.kubectl(words);
            if got.ok && is_so(&got.stdout) { Ok(()) } else { Err(got) }
        });
    }
}

impl Drop for Plain<'_> {
    fn drop(&mut self) {
        let ended = self.coracle(&["down", "--data"]);
        let _ended = self.run(&["sh", "-c", &format!("kill -9 $(cat {}/plain.pid)", self.folder)]);
        assert!(ended.ok || std::thread::panicking(), "down: {ended:?}");
    }
}

/// Row `cp.managed-defaults`.
fn everything_is_there_without_a_flag(machines: &Machines, guests: &Path) {
    let folder = machines.folder().to_str().unwrap().to_owned();
    let plain = Plain { machines, at: 5, folder };
    let begin = format!(
        "{} server > {}/plain.log 2>&1 & echo $! > {}/plain.pid",
        coracle().display(),
        plain.folder,
        plain.folder
    );
    assert!(plain.run(&["sh", "-c", &begin]).ok);
    let ready = "jsonpath={.items[*].status.conditions[?(@.type=='Ready')].status}";
    plain.until("the node is Ready", &["get", "nodes", "-o", ready], |said| said == "True");
    // The registry.
    for (image, file) in [(BEHAVE, "behave.wasm"), (HELLO, "hello_http.wasm")] {
        let tag = image.rsplit('/').next().unwrap();
        let pushed = plain.coracle(&["push", tag, guests.join(file).to_str().unwrap()]);
        assert!(pushed.ok, "{pushed:?}");
    }
    // The host may hear of the pod before it hears of the Service.
    let script = "until nslookup web.default.svc.cluster.local; do sleep 0.2; done";
    let names = sh("c", script, &json!({}));
    let web = json!({"name": "c", "image": HELLO, "ports": [{"containerPort": 8080}]});
    let rule = json!({"host": "web.example", "http": {"paths": [{"path": "/", "pathType": "Prefix",
        "backend": {"service": {"name": "web", "port": {"number": 80}}}}]}});
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
            "spec": {"clusterIP": "10.96.7.7", "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "labels": {"app": "web"}},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [web]}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "names"},
            "spec": {"restartPolicy": "Never", "containers": [names]}},
        {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "web"},
            "spec": {"rules": [rule]}}]});
    let file = format!("{}/plain.json", plain.folder);
    std::fs::write(&file, list.to_string()).unwrap();
    let applied = plain.kubectl(&["apply", "-f", &file]);
    assert!(applied.ok, "{applied:?}");
    // Names, metrics, storage, and the way in.
    plain.until("a Service has a name", &["logs", "names"], |said| said.contains("10.96.7.7"));
    plain.until("the node is measured", &["top", "node"], |said| said.contains('%'));
    let default =
        r"jsonpath={.items[*].metadata.annotations.storageclass\.kubernetes\.io/is-default-class}";
    plain.until("storage", &["get", "sc", "-o", default], |said| said == "true");
    eventually("the Ingress leads to the pod", || {
        let request = "GET / HTTP/1.1\r\nHost: web.example\r\nConnection: close\r\n\r\n";
        let answer = machines.ask_outside(0, &machines.address(5), 80, request);
        if answer.as_ref().is_ok_and(|text| text.contains("hello")) { Ok(()) } else { Err(answer) }
    });
}
