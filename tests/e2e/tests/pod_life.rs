//! Pods as units: what their containers share and what not, how they start, crash and end.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

use std::time::{Duration, Instant};

use coracle_e2e::{
    BEHAVE, Cluster, HELLO, HTTP, build_guests, container, eventually, pod, service, sh, within,
};
use serde_json::{Value, json};

fn cluster() -> Cluster {
    let guests = build_guests("tests/guests");
    let cluster = Cluster::start();
    cluster.push_guests(&guests);
    cluster
}

fn data(path: &str) -> Value {
    json!({"volumeMounts": [{"name": "d", "mountPath": path}]})
}

fn with_data(containers: &Value) -> Value {
    json!({"containers": containers, "volumes": [{"name": "d", "emptyDir": {}}]})
}

fn ip(shown: &Value) -> String {
    shown["status"]["podIP"].as_str().unwrap().to_owned()
}

fn column(cluster: &Cluster, name: &str, index: usize) -> String {
    let row = cluster.run(&["get", "pod", name, "--no-headers"]);
    row.split_whitespace().nth(index).unwrap().to_owned()
}

/// Rows `pod.*`.
#[test]
fn pods_are_units() {
    let cluster = cluster();
    one_and_many_containers(&cluster);
    pods_share_nothing_with_each_other(&cluster);
    the_sandbox_outlives_its_containers(&cluster);
    a_side_car_restarts_alone(&cluster);
    a_side_car_that_dies_again_and_again_harms_nobody(&cluster);
    a_side_car_ships_logs(&cluster);
    conditions_move_when_they_change(&cluster);
    a_replaced_pod_is_another_one(&cluster);
    a_manifest_as_people_write_it(&cluster);
    phases_as_they_come(&cluster);
}

/// Row `pod.single-multi`.
fn one_and_many_containers(cluster: &Cluster) {
    let sleeps = |name: &str| sh(name, "sleep 600", &json!({}));
    cluster.make(&[
        pod("one", &json!({"containers": [sleeps("a")]})),
        pod("three", &json!({"containers": [sleeps("a"), sleeps("b"), sleeps("c")]})),
    ]);
    cluster.ready("one");
    cluster.ready("three");
    assert_eq!(
        (column(cluster, "one", 1), column(cluster, "three", 1)),
        ("1/1".into(), "3/3".into())
    );
}

/// Rows `pod.logical` and `pod.ns-words`.
fn pods_share_nothing_with_each_other(cluster: &Cluster) {
    let serves = container("web", HELLO, &json!({"ports": [{"containerPort": 8080}]}));
    let tools = sh("tools", "echo mine > /d/mine; sleep 600", &data("/d"));
    let both = || with_data(&json!([serves, tools]));
    let client = sh("tools", "sleep 600", &data("/d"));
    // Two servers of one namespace have the same port, each its own.
    cluster.make(&[
        pod("left", &both()),
        pod("right", &both()),
        pod("client", &with_data(&json!([client]))),
    ]);
    let addresses = [ip(&cluster.ready("left")), ip(&cluster.ready("right"))];
    cluster.ready("client");
    assert_ne!(addresses[0], addresses[1]);
    for address in &addresses {
        cluster.exec_prints("client", &format!("wget -q -O - http://{address}:8080/"), "hello");
    }
    let inside = cluster.kubectl(&[
        "exec",
        "left",
        "-c",
        "tools",
        "--",
        "wget",
        "-q",
        "-O",
        "-",
        "http://127.0.0.1:8080/",
    ]);
    assert_eq!(inside.stdout, "hello\n", "{inside:?}");
    let foreign = cluster.exec("client", "wget -q -O - http://127.0.0.1:8080/");
    assert!(!foreign.ok && foreign.stderr.contains("refused"), "{foreign:?}");
    assert_eq!(cluster.exec("client", "ls /d").stdout, "");
}

/// Row `pod.pause`.
fn the_sandbox_outlives_its_containers(cluster: &Cluster) {
    let crashes = |name: &str| {
        let script = format!(
            "echo {name} >> /d/starts; test -f /d/{name} && sleep 600; touch /d/{name}; sleep 5; exit 1"
        );
        sh(name, &script, &data("/d"))
    };
    cluster.make(&[pod("crashes", &with_data(&json!([crashes("a"), crashes("b")])))]);
    let before = cluster.ready("crashes");
    cluster.shows("pod/crashes", "/status/containerStatuses/0/restartCount", 1);
    cluster.shows("pod/crashes", "/status/containerStatuses/1/restartCount", 1);
    let after = cluster.ready("crashes");
    assert_eq!(ip(&before), ip(&after));
    cluster.exec_prints("crashes", "sort /d/starts", "a\na\nb\nb");
    let sandbox = condition(&after, "PodReadyToStartContainers");
    assert_eq!(sandbox["status"], "True");
    assert_eq!(sandbox, condition(&before, "PodReadyToStartContainers"));
}

fn condition(pod: &Value, kind: &str) -> Value {
    let all = pod["status"]["conditions"].as_array().unwrap();
    all.iter().find(|condition| condition["type"] == kind).cloned().unwrap()
}

/// Row `pod.sidecar.lifecycle`.
fn a_side_car_restarts_alone(cluster: &Cluster) {
    let waits =
        sh("side", "while ! test -f /d/die; do sleep 1; done; rm /d/die; exit 1", &data("/d"));
    let mut side = waits;
    side["restartPolicy"] = json!("Always");
    let spec = json!({"initContainers": [side], "containers": [sh("main", "sleep 600", &data("/d"))],
        "volumes": [{"name": "d", "emptyDir": {}}]});
    cluster.make(&[pod("sidecar", &spec)]);
    let before = cluster.ready("sidecar");
    assert_eq!(column(cluster, "sidecar", 1), "2/2");
    assert!(cluster.exec("sidecar", "touch /d/die").ok);
    let after = cluster.shows("pod/sidecar", "/status/initContainerStatuses/0/restartCount", 1);
    let main = |pod: &Value| pod["status"]["containerStatuses"][0].clone();
    assert_eq!(main(&after)["restartCount"], 0);
    assert_eq!(main(&after)["state"]["running"], main(&before)["state"]["running"]);
}

/// Row `pod.sidecar.fate`.
fn a_side_car_that_dies_again_and_again_harms_nobody(cluster: &Cluster) {
    let limit = json!({"args": ["allocate", "64"], "resources": {"limits": {"memory": "24Mi"}}});
    let bomb = container("bomb", BEHAVE, &limit);
    let serves = container("web", HELLO, &json!({"ports": [{"containerPort": 8080}]}));
    cluster.make(&[pod("fate", &json!({"containers": [serves, bomb]})), service("fate", 8080)]);
    let shown = cluster.shows(
        "pod/fate",
        "/status/containerStatuses/1/lastState/terminated/reason",
        "OOMKilled",
    );
    // At the pod's own address: no Service has it now.
    let address = ip(&shown);
    let script = format!(
        "for i in $(seq 1 200); do wget -q -O - http://{address}:8080/; done | sort | uniq -c"
    );
    let asked = cluster.exec("client", &script);
    assert_eq!(asked.stdout.split_whitespace().collect::<Vec<_>>(), ["200", "hello"], "{asked:?}");
    let shown = cluster.shows("pod/fate", "/status/containerStatuses/1/ready", false);
    let statuses = shown["status"]["containerStatuses"].as_array().unwrap();
    let web = statuses.iter().find(|status| status["name"] == "web").unwrap();
    assert_eq!((&web["restartCount"], &web["ready"]), (&json!(0), &json!(true)));
    // Ready is the whole pod's: the Service has it only while both are.
    let path = "jsonpath={.items[*].endpoints[*].conditions.ready}";
    eventually("the slice follows the condition", || {
        let slices = cluster.run(&[
            "get",
            "endpointslices",
            "-l",
            "kubernetes.io/service-name=fate",
            "-o",
            path,
        ]);
        if slices == "false" { Ok(()) } else { Err(slices) }
    });
}

/// Row `pod.sidecar.log`.
fn a_side_car_ships_logs(cluster: &Cluster) {
    let writes = "for i in $(seq 1 20); do echo entry-$i >> /d/log; done; sleep 600";
    let ships = "n=0; while true; do all=$(cat /d/log | wc -l); while [ $n -lt $all ]; do n=$((n+1)); \
        wget -q -O /dev/null \"http://sink/log?$(sed -n ${n}p /d/log)\" || n=$((n-1)); done; sleep 1; done";
    let spec =
        with_data(&json!([sh("app", writes, &data("/d")), sh("shipper", ships, &data("/d"))]));
    let sink = container("web", HTTP, &json!({"ports": [{"containerPort": 8080}]}));
    cluster.make(&[service("sink", 8080), pod("sink", &json!({"containers": [sink]}))]);
    cluster.ready("sink");
    cluster.make(&[pod("ships", &spec)]);
    eventually("every line has arrived once", || {
        let got = cluster.run(&["logs", "sink"]);
        let wanted: String = (1..=20).map(|n| format!("entry-{n}\n")).collect();
        if got == wanted {
            Ok(())
        } else {
            Err((got, cluster.kubectl(&["logs", "ships", "-c", "shipper"])))
        }
    });
}

/// Row `pod.conditions`.
fn conditions_move_when_they_change(cluster: &Cluster) {
    let ready = json!({"readinessProbe": {"exec": {"command": ["test", "-f", "/d/ready"]},
        "periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 30},
        "volumeMounts": data("/d")["volumeMounts"]});
    let spec = with_data(&json!([sh("a", "touch /d/ready; sleep 600", &ready)]));
    cluster.make(&[pod("moves", &spec)]);
    cluster.run(&["wait", "--for=condition=Ready", "pod/moves", "--timeout=180s"]);
    let first = cluster.ready("moves");
    assert_eq!(condition(&first, "PodScheduled")["lastProbeTime"], Value::Null);
    assert!(cluster.exec("moves", "sleep 1; rm /d/ready").ok);
    let second = eventually("it is not ready", || {
        let shown = cluster.get(&["pod", "moves"]);
        if condition(&shown, "Ready")["status"] == "False" { Ok(shown) } else { Err(shown) }
    });
    let moved = |kind: &str| {
        condition(&first, kind)["lastTransitionTime"]
            != condition(&second, kind)["lastTransitionTime"]
    };
    for (kind, wanted) in [
        ("Ready", true),
        ("ContainersReady", true),
        ("Initialized", false),
        ("PodScheduled", false),
        ("PodReadyToStartContainers", false),
    ] {
        assert_eq!(moved(kind), wanted, "{kind}: {first} {second}");
    }
}

/// Row `pod.ephemeral`.
fn a_replaced_pod_is_another_one(cluster: &Cluster) {
    let template = json!({"metadata": {"labels": {"app": "herd"}},
        "spec": with_data(&json!([sh("a", "ls /d; touch /d/kept; sleep 600", &data("/d"))]))});
    cluster.make(&[json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "herd"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "herd"}}, "template": template}})]);
    cluster.run(&["rollout", "status", "deploy/herd", "--timeout=180s"]);
    let names = || {
        cluster.run(&["get", "pods", "-l", "app=herd", "-o", "jsonpath={.items[*].metadata.name}"])
    };
    let old = names();
    let before = cluster.ready(&old);
    cluster.run(&["delete", "pod", &old, "--grace-period=1"]);
    let new = eventually("another one", || {
        let name = names();
        if name != old && !name.is_empty() { Ok(name) } else { Err(name) }
    });
    let after = cluster.ready(&new);
    assert_ne!(ip(&before), ip(&after));
    assert_eq!(cluster.run(&["logs", &new]), "", "its emptyDir is empty at first");
}

/// Row `pod.manifest`.
fn a_manifest_as_people_write_it(cluster: &Cluster) {
    let manifest = format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: single\n  labels:\n    app: single\nspec:\n  nodeSelector:\n    \
         kubernetes.io/os: linux\n  containers:\n  - name: app\n    image: {BEHAVE}\n    imagePullPolicy: Always\n    \
         args: [\"environment\"]\n    ports:\n    - containerPort: 8080\n    env:\n    - name: GREETING\n      value: hello\n    \
         - name: TARGET\n      value: \"10.1.2.3\"\n  restartPolicy: Never\n"
    );
    let made = cluster.kubectl_with(&["create", "-f", "-"], &manifest);
    assert!(made.ok, "{made:?}");
    let printed = cluster.printed("single");
    assert!(printed.contains("(\"GREETING\", \"hello\")"), "{printed}");
    assert!(printed.contains("(\"TARGET\", \"10.1.2.3\")"), "{printed}");
}

/// Row `pod.phase`. On a lost node a pod keeps its phase and is not Ready (`Unknown` is not set any more).
fn phases_as_they_come(cluster: &Cluster) {
    let ends = |code: &str| json!({"restartPolicy": "Never", "containers": [container("c", BEHAVE, &json!({"args": ["exit", code]}))]});
    let sleeps = |more: &Value| {
        let mut spec = json!({"containers": [sh("c", "sleep 6000", &json!({}))]});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    cluster.make(&[
        pod("phase-nowhere", &sleeps(&json!({"nodeSelector": {"disk": "none"}}))),
        pod("phase-runs", &sleeps(&json!({}))),
        pod("phase-well", &ends("0")),
        pod("phase-badly", &ends("3")),
    ]);
    for (name, phase) in
        [("nowhere", "Pending"), ("runs", "Running"), ("well", "Succeeded"), ("badly", "Failed")]
    {
        let object = format!("pod/phase-{name}");
        cluster.shows(&object, "/status/phase", phase);
        assert_eq!(cluster.run(&["get", &object, "-o", "jsonpath={.status.phase}"]), phase);
    }
    cluster.ready("phase-runs");
    cluster.lose_host();
    let shown = within(Duration::from_secs(180), "the pod of a lost node is not Ready", || {
        let shown = cluster.get(&["pod", "phase-runs"]);
        if condition(&shown, "Ready")["status"] == "False" {
            Ok(shown)
        } else {
            Err(shown["status"].clone())
        }
    });
    assert_eq!(shown["status"]["phase"], "Running");
}

/// Rows `ctr.*` about the ways in which a container starts.
#[test]
fn containers_start_and_crash() {
    let cluster = cluster();
    states_say_why(&cluster);
    ports_are_information(&cluster);
    post_start_holds_the_pod_back(&cluster);
    a_failed_post_start_is_told(&cluster);
    init_containers_prepare_the_ground(&cluster);
    what_a_container_may_use(&cluster);
    ephemeral_containers_come_and_end(&cluster);
}

/// Row `ctr.states`.
fn states_say_why(cluster: &Cluster) {
    let ends = |code: &str| container("c", BEHAVE, &json!({"args": ["exit", code]}));
    let bomb = container(
        "c",
        BEHAVE,
        &json!({"args": ["allocate", "64"], "resources": {"limits": {"memory": "24Mi"}}}),
    );
    let once = |container: Value| json!({"restartPolicy": "Never", "containers": [container]});
    let missing = container("c", "registry.coracle.internal/nosuch:1", &json!({}));
    let secret = json!({"containers": [sh("c", "sleep 600", &json!({}))], "volumes": [{"name": "s", "secret": {"secretName": "later"}}]});
    cluster.make(&[
        pod("fine", &once(ends("0"))),
        pod("wrong", &once(ends("3"))),
        pod("again", &json!({"containers": [ends("4")]})),
        pod("bomb", &once(bomb)),
        pod("missing", &once(missing)),
        pod("waits", &secret),
    ]);
    cluster.says(
        "pod/fine",
        &["State:          Terminated", "Reason:       Completed", "Exit Code:    0"],
    );
    cluster.says(
        "pod/wrong",
        &["State:          Terminated", "Reason:       Error", "Exit Code:    3"],
    );
    cluster.says("pod/bomb", &["Reason:       OOMKilled", "Exit Code:    137"]);
    cluster.says(
        "pod/again",
        &[
            "State:          Waiting",
            "Reason:       CrashLoopBackOff",
            "Last State:     Terminated",
            "Exit Code:    4",
        ],
    );
    cluster.says(
        "pod/missing",
        &["State:          Waiting", "Failed to pull image", "Error: ErrImagePull"],
    );
    cluster.says(
        "pod/waits",
        &["State:          Waiting", "Reason:       ContainerCreating", "FailedMount"],
    );
    // Applying a Secret is one of the things that it waits for.
    cluster.run(&["create", "secret", "generic", "later", "--from-literal=a=b"]);
    cluster.ready("waits");
    cluster.says("pod/waits", &["State:          Running"]);
}

/// Rows `ctr.ports-info` and `ctr.ports-named`.
fn ports_are_information(cluster: &Cluster) {
    let listens = container("c", BEHAVE, &json!({"args": ["listen", "9000"]}));
    let ports =
        json!([{"name": "other", "containerPort": 9}, {"name": "http", "containerPort": 8181}]);
    let probe = json!({"httpGet": {"port": "http", "path": "/env?PORT"}, "periodSeconds": 1});
    let named = container("c", HTTP, &json!({"ports": ports, "readinessProbe": probe}));
    cluster.make(&[
        pod("undeclared", &json!({"containers": [listens]})),
        pod("named", &json!({"containers": [named]})),
        pod("caller", &json!({"containers": [sh("c", "sleep 600", &json!({}))]})),
    ]);
    let address = ip(&cluster.ready("undeclared"));
    cluster.ready("caller");
    cluster.exec_prints("caller", &format!("echo question | nc {address} 9000"), "answer");
    cluster.ready("named");
}

/// Row `ctr.post-start`, first half.
fn post_start_holds_the_pod_back(cluster: &Cluster) {
    // It lasts until there is a Service that answers.
    let script = "until wget -q -O /dev/null http://gate:8080/env?PORT; do sleep 1; done";
    let hook = json!({"lifecycle": {"postStart": {"exec": {"command": ["sh", "-c", script]}}}});
    let ports = json!({"ports": [{"containerPort": 8080}]});
    cluster.make(&[
        pod("gate", &json!({"containers": [container("c", HTTP, &ports)]})),
        pod("slow", &json!({"containers": [sh("c", "sleep 600", &hook)]})),
    ]);
    cluster.says("pod/slow", &["Started"]);
    let reason = "/status/containerStatuses/0/state/waiting/reason";
    let shown = cluster.shows("pod/slow", reason, "ContainerCreating");
    assert_eq!(shown["status"]["phase"], "Pending", "{shown}");
    cluster.run(&["expose", "pod", "gate", "--port=8080"]);
    cluster.ready("slow");
    let hook = json!({"lifecycle": {"postStart": {"sleep": {"seconds": 3}}}});
    let begun = Instant::now();
    cluster.make(&[pod("sleeps", &json!({"containers": [sh("c", "sleep 600", &hook)]}))]);
    cluster.ready("sleeps");
    assert!(begun.elapsed().as_secs() >= 3, "{:?}", begun.elapsed());
}

/// Rows `ctr.post-start`, second half, and `ctr.hook-debug`.
fn a_failed_post_start_is_told(cluster: &Cluster) {
    let script = "echo tried >> /d/hook; echo the database does not answer; exit 7";
    let more = json!({"lifecycle": {"postStart": {"exec": {"command": ["sh", "-c", script]}}},
        "volumeMounts": data("/d")["volumeMounts"]});
    let looks = sh("looks", "sleep 600", &data("/d"));
    cluster.make(&[pod("broken", &with_data(&json!([sh("c", "sleep 600", &more), looks])))]);
    // The events carry what the hook wrote, though the container is gone by then.
    cluster.says(
        "pod/broken",
        &["FailedPostStartHook", "exited with 7", "the database does not answer"],
    );
    let shown = cluster.shows("pod/broken", "/status/containerStatuses/0/restartCount", 1);
    let last = &shown["status"]["containerStatuses"][0]["lastState"]["terminated"];
    assert!(last["exitCode"] == 143 || last["exitCode"] == 137, "{shown}");
    eventually("it was tried", || {
        let kept = cluster.kubectl(&["exec", "broken", "-c", "looks", "--", "cat", "/d/hook"]);
        if kept.stdout.starts_with("tried\n") { Ok(()) } else { Err(kept) }
    });
}

/// Row `ctr.init-uses`: wait for a Service, register, wait a while, fetch into a volume, render a
/// template.
fn init_containers_prepare_the_ground(cluster: &Cluster) {
    let ports = json!({"ports": [{"containerPort": 8080}]});
    cluster.make(&[pod("registry", &json!({"containers": [container("c", HTTP, &ports)]}))]);
    cluster.ready("registry");
    let init = |name: &str, script: &str| sh(name, script, &data("/d"));
    let inits = json!([
        init("wait", "until wget -q -O /dev/null http://registry:8080/env?PORT; do sleep 1; done"),
        init("register", "wget -q -O /dev/null \"http://registry:8080/log?registered-$HOSTNAME\""),
        init("pause", "sleep 1"),
        init("fetch", "wget -q -O /d/port http://registry:8080/env?PORT"),
        init(
            "render",
            "printf 'listen @PORT@\\n' > /d/tmpl; sed \"s/@PORT@/$(cat /d/port)/\" /d/tmpl > /d/conf"
        ),
    ]);
    let spec = json!({"restartPolicy": "Never", "initContainers": inits,
        "containers": [sh("app", "cat /d/conf", &data("/d"))], "volumes": [{"name": "d", "emptyDir": {}}]});
    cluster.make(&[pod("prepared", &spec)]);
    eventually("it waits for the Service", || {
        let status = column(cluster, "prepared", 2);
        if status == "Init:0/5" { Ok(()) } else { Err(status) }
    });
    cluster.run(&["expose", "pod", "registry", "--port=8080"]);
    assert_eq!(cluster.printed("prepared"), "listen 8080\n");
    assert_eq!(cluster.run(&["logs", "registry"]), "registered-prepared\n");
}

/// Row `ctr.resources`: memory is held, CPU is capped (`kubectl top` says how much it takes).
fn what_a_container_may_use(cluster: &Cluster) {
    let limits = |cpu: &str| json!({"args": ["spin"], "resources": {"limits": {"cpu": cpu, "memory": "64Mi"}}});
    cluster.make(&[pod(
        "spins",
        &json!({"terminationGracePeriodSeconds": 1,
        "containers": [container("c", BEHAVE, &limits("100m"))]}),
    )]);
    cluster.ready("spins");
    // A machine that stands still for a moment shows more or less over the moments around it.
    eventually("its use is known, and is what its limit allows", || {
        let row = cluster.kubectl(&["top", "pod", "spins", "--no-headers"]);
        let milli = row
            .stdout
            .split_whitespace()
            .nth(1)
            .and_then(|text| text.strip_suffix('m')?.parse::<u32>().ok());
        milli.filter(|milli| (20..=130).contains(milli)).ok_or(row)
    });
    cluster.run(&["delete", "pod", "spins"]);
}

/// Ephemeral containers: they see what the pod sees, end alone, and count for nothing.
fn ephemeral_containers_come_and_end(cluster: &Cluster) {
    let before = cluster.ready("caller");
    let debugged = cluster.kubectl(&[
        "debug",
        "caller",
        "--image",
        BEHAVE,
        "-c",
        "looks",
        "--",
        "sh",
        "-c",
        "hostname; exit 5",
    ]);
    assert!(debugged.ok, "{debugged:?}");
    let shown = cluster.shows(
        "pod/caller",
        "/status/ephemeralContainerStatuses/0/state/terminated/exitCode",
        5,
    );
    assert_eq!(cluster.run(&["logs", "caller", "-c", "looks"]), "caller\n");
    let status = &shown["status"];
    assert_eq!(status["ephemeralContainerStatuses"][0]["restartCount"], 0);
    assert_eq!(status["containerStatuses"], before["status"]["containerStatuses"]);
    let ready = |pod: &Value| {
        let ready = condition(pod, "Ready");
        (ready["status"].clone(), ready["lastTransitionTime"].clone())
    };
    assert_eq!(ready(&shown), ready(&before));
    assert_eq!(status["phase"], "Running");
}
