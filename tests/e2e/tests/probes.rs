//! Probes through the real binary: what they ask, how often, and what follows from them.
#![expect(clippy::unwrap_used, reason = "a test")]

use coracle_e2e::{
    Cluster, HELLO, HTTP, build_guests, container, eventually, get, pod, service, sh,
};
use serde_json::{Value, json};

/// Rows `probe.*`.
#[test]
fn probes() {
    let guests = build_guests("tests/guests");
    let cluster = Cluster::start();
    cluster.push_guests(&guests);
    a_probe_is_periodic(&cluster);
    a_command_decides(&cluster);
    grpc_health_decides(&cluster);
    readiness_decides_about_the_service(&cluster);
    timings_are_shown(&cluster);
    liveness_looks_inside_alone(&cluster);
    a_rollout_waits_for_readiness(&cluster);
}

fn serving(image: &str, more: &Value) -> Value {
    let mut container = container("c", image, more);
    container["ports"] = json!([{"name": "http", "containerPort": 8080}]);
    container
}

/// Row `probe.periodic`: the app counts, the clock of its log says when.
fn a_probe_is_periodic(cluster: &Cluster) {
    let probe = json!({"readinessProbe": {"httpGet": {"port": "http", "path": "/log?probed"},
        "periodSeconds": 2, "timeoutSeconds": 30}});
    cluster.make(&[pod("periodic", &json!({"containers": [serving(HTTP, &probe)]}))]);
    let lines = eventually("it is probed five times", || {
        let log = cluster.kubectl(&["logs", "periodic", "--timestamps"]).stdout;
        if log.lines().count() >= 5 { Ok(log) } else { Err(log) }
    });
    let seconds = |line: &str| -> f64 {
        // 2026-01-01T00:00:01.5Z probed
        let time = line.split(['T', 'Z']).nth(1).unwrap();
        time.split(':').fold(0.0, |sum, part| sum * 60.0 + part.parse::<f64>().unwrap())
    };
    let times: Vec<f64> = lines.lines().take(5).map(seconds).collect();
    let gaps: Vec<f64> =
        times.windows(2).map(|pair| (pair[1] - pair[0]).rem_euclid(86_400.0)).collect();
    // None comes early; how late one is depends on the machine, but they are not ten seconds apart.
    assert!(gaps.iter().all(|gap| *gap >= 1.9), "{gaps:?}");
    assert!(gaps.iter().any(|gap| *gap < 9.0), "{gaps:?}");
}

/// Row `probe.exec`.
fn a_command_decides(cluster: &Cluster) {
    let probe = json!({"readinessProbe": {"exec": {"command": ["cat", "/tmp/healthy"]}, "periodSeconds": 1, "failureThreshold": 1},
        "volumeMounts": [{"name": "t", "mountPath": "/tmp"}]});
    let spec = json!({"containers": [sh("c", "touch /tmp/healthy; sleep 600", &probe)], "volumes": [{"name": "t", "emptyDir": {}}]});
    cluster.make(&[pod("command", &spec)]);
    cluster.ready("command");
    assert!(cluster.exec("command", "rm /tmp/healthy").ok);
    cluster.shows("pod/command", "/status/containerStatuses/0/ready", false);
    cluster.says(
        "pod/command",
        &["Readiness probe failed: cat: /tmp/healthy: No such file or directory"],
    );
}

/// Row `probe.grpc`.
fn grpc_health_decides(cluster: &Cluster) {
    let probe = |service: &str| json!({"readinessProbe": {"grpc": {"port": 8080, "service": service}, "periodSeconds": 1}});
    cluster.make(&[
        pod("serving", &json!({"containers": [serving(HTTP, &probe("up"))]})),
        pod("not-serving", &json!({"containers": [serving(HTTP, &probe("down"))]})),
    ]);
    cluster.ready("serving");
    cluster.says(
        "pod/not-serving",
        &["Readiness probe failed: service unhealthy (responded with \"NOT_SERVING\")"],
    );
    let shown = cluster.get(&["pod", "not-serving"]);
    assert_eq!(shown["status"]["containerStatuses"][0]["ready"], false);
}

/// Row `probe.readiness`.
fn readiness_decides_about_the_service(cluster: &Cluster) {
    let port = cluster.node_port(0);
    let probe = json!({"readinessProbe": {"exec": {"command": ["test", "-f", "/d/ready"]},
            "periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 30},
        "volumeMounts": [{"name": "d", "mountPath": "/d"}]});
    let spec =
        json!({"containers": [serving(HTTP, &probe)], "volumes": [{"name": "d", "emptyDir": {}}]});
    let mut toggled = service("toggled", 8080);
    toggled["spec"]["type"] = json!("NodePort");
    toggled["spec"]["ports"][0]["nodePort"] = json!(port);
    cluster.make(&[pod("toggled", &spec), toggled]);
    let slice = |wanted: &str| {
        let path = "jsonpath={.items[*].endpoints[*].conditions.ready}";
        eventually(&format!("the slice says {wanted}"), || {
            let selector = "kubernetes.io/service-name=toggled";
            let ready = cluster.run(&["get", "endpointslices", "-l", selector, "-o", path]);
            if ready == wanted { Ok(()) } else { Err(ready) }
        });
    };
    let touch = |script: &str| assert!(cluster.exec("toggled", script).ok);
    // Before the first success it is not ready.
    slice("false");
    touch("touch /d/ready");
    slice("true");
    eventually("the Service answers", || get(port, "/log?while-ready").map(drop));
    touch("rm /d/ready");
    slice("false");
    eventually("the Service is empty", || match get(port, "/log?late") {
        Err(_) => Ok(()),
        Ok(answer) => Err(answer),
    });
    for _ in 0..20 {
        assert!(get(port, "/log?not-ready").is_err());
    }
    let log = cluster.run(&["logs", "toggled"]);
    assert!(log.contains("while-ready") && !log.contains("not-ready"), "{log}");
    touch("touch /d/ready");
    slice("true");
    eventually("the Service answers again", || get(port, "/log?again").map(drop));
}

/// Row `probe.timing`.
fn timings_are_shown(cluster: &Cluster) {
    let probes = json!({"livenessProbe": {"httpGet": {"port": "http", "path": "/"}},
        "readinessProbe": {"tcpSocket": {"port": 8080}, "initialDelaySeconds": 1, "timeoutSeconds": 2, "periodSeconds": 3, "successThreshold": 4, "failureThreshold": 5}});
    cluster.make(&[pod("timed", &json!({"containers": [serving(HELLO, &probes)]}))]);
    cluster.says(
        "pod/timed",
        &[
            "http-get http://:http/ delay=0s timeout=1s period=10s #success=1 #failure=3",
            "tcp-socket :8080 delay=1s timeout=2s period=3s #success=4 #failure=5",
        ],
    );
}

/// Row `probe.liveness-internal`: the database is down; the front end is alive and not ready.
fn liveness_looks_inside_alone(cluster: &Cluster) {
    let probes = json!({
        "livenessProbe": {"httpGet": {"port": "http", "path": "/env?PORT"}, "periodSeconds": 1,
            "failureThreshold": 3, "timeoutSeconds": 30},
        "readinessProbe": {"exec": {"command": ["nc", "-z", "db", "5432"]}, "periodSeconds": 1, "failureThreshold": 1}});
    let mut db = service("db", 5432);
    db["spec"]["ports"][0]["port"] = json!(5432);
    cluster.make(&[db, pod("front", &json!({"containers": [serving(HTTP, &probes)]}))]);
    cluster.says("pod/front", &["Readiness probe failed: "]);
    let status = || cluster.get(&["pod", "front"])["status"]["containerStatuses"][0].clone();
    assert_eq!((&status()["ready"], &status()["restartCount"]), (&json!(false), &json!(0)));
    cluster.make(&[pod("db", &json!({"containers": [sh("c", "while true; do nc -l -p 5432 < /dev/null; done", &json!({}))]}))]);
    cluster.ready("front");
    assert_eq!(status()["restartCount"], 0);
}

/// Row `probe.ready-contract`: what starts slowly says when it can serve, and no request is lost.
fn a_rollout_waits_for_readiness(cluster: &Cluster) {
    let port = cluster.node_port(1);
    let probe = json!({"readinessProbe": {"exec": {"command": ["test", "-f", "/d/warm"]}, "periodSeconds": 1},
        "lifecycle": {"preStop": {"sleep": {"seconds": 15}}},
        "volumeMounts": [{"name": "d", "mountPath": "/d"}]});
    let warms = sh(
        "warms",
        "sleep 2; touch /d/warm; sleep 600",
        &json!({"volumeMounts": [{"name": "d", "mountPath": "/d"}]}),
    );
    let template = json!({"metadata": {"labels": {"app": "slow"}}, "spec": {"containers": [serving(HELLO, &probe), warms],
        "volumes": [{"name": "d", "emptyDir": {}}]}});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "slow"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "slow"}}, "template": template}});
    let mut outside = service("slow", 8080);
    outside["spec"]["type"] = json!("NodePort");
    outside["spec"]["ports"][0]["nodePort"] = json!(port);
    cluster.make(&[deployment, outside]);
    cluster.run(&["rollout", "status", "deploy/slow", "--timeout=180s"]);
    eventually("it answers", || get(port, "/").map(drop));
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut asked = 0;
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                let answer = get(port, "/");
                assert!(
                    answer.as_ref().is_ok_and(|answer| answer.status == 200),
                    "request {asked}: {answer:?}"
                );
                asked += 1;
            }
            asked
        });
        cluster.run(&["set", "env", "deploy/slow", "ROUND=2"]);
        let rolled = cluster.kubectl(&["rollout", "status", "deploy/slow", "--timeout=180s"]);
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(rolled.ok, "{rolled:?}");
        assert!(load.join().unwrap() > 20);
    });
}
