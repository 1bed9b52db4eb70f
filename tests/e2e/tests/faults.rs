//! kill -9 of the server and of the host: nothing acknowledged is lost, and pods serve.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use coracle_e2e::{Cluster, build_guests, eventually, get, pod, sh};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::PostParams;
use kube::{Api, Client, Config};
use serde_json::{Value, json};

fn serve_hello(cluster: &Cluster) -> u16 {
    let guests = build_guests("tests/guests");
    cluster.push("hello:1", &guests.join("hello_http.wasm"));
    let port = cluster.node_port(0);
    let template = json!({"metadata": {"labels": {"app": "hello"}}, "spec": {"containers": [
        {"name": "hello", "image": "registry.coracle.internal/hello:1", "ports": [{"containerPort": 8080}]}]}});
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "hello"},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "hello"}}, "template": template}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "hello"}, "spec": {"type": "NodePort",
            "selector": {"app": "hello"}, "ports": [{"port": 80, "targetPort": 8080, "nodePort": port}]}}]});
    cluster.apply(&list.to_string());
    cluster.run(&["rollout", "status", "deployment/hello", "--timeout=180s"]);
    eventually("hello answers", || answers(port));
    port
}

fn answers(port: u16) -> Result<(), String> {
    let answer = get(port, "/")?;
    if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
}

/// Creates ConfigMaps one after another until the server is gone; the names that were acknowledged.
async fn write_until_it_ends(client: Client, writer: usize, acknowledged: Arc<Mutex<Vec<String>>>) {
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    for number in 0..100_000 {
        let name = format!("map-{writer}-{number}");
        let map: ConfigMap =
            serde_json::from_value(json!({"metadata": {"name": name}, "data": {"n": name}}))
                .unwrap();
        match maps.create(&PostParams::default(), &map).await {
            Ok(_) => acknowledged.lock().unwrap().push(name),
            Err(_) => return,
        }
    }
}

#[test]
fn a_killed_server_loses_no_acknowledged_write_and_pods_serve_all_along() {
    let mut cluster = Cluster::start();
    let port = serve_hello(&cluster);
    let (serving, failures) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU32::new(0)));
    let asked = Arc::new(AtomicU32::new(0));
    let asker = thread::spawn({
        let (serving, failures, asked) =
            (Arc::clone(&serving), Arc::clone(&failures), Arc::clone(&asked));
        move || {
            while serving.load(Ordering::Relaxed) {
                asked.fetch_add(1, Ordering::Relaxed);
                failures.fetch_add(u32::from(answers(port).is_err()), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(5));
            }
        }
    });
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let kubeconfig = kube::config::Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
    let client = runtime.block_on(async {
        let config = Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
        Client::try_from(config).unwrap()
    });
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            runtime.spawn(write_until_it_ends(client.clone(), writer, Arc::clone(&acknowledged)))
        })
        .collect();
    eventually("writes are under way", || {
        let count = acknowledged.lock().unwrap().len();
        if count > 300 { Ok(()) } else { Err(count) }
    });
    cluster.kill_server();
    runtime.block_on(async {
        for writer in writers {
            writer.await.unwrap();
        }
    });
    thread::sleep(Duration::from_millis(300));
    cluster.start_server();
    cluster.wait_ready();
    serving.store(false, Ordering::Relaxed);
    asker.join().unwrap();
    assert_eq!(
        failures.load(Ordering::Relaxed),
        0,
        "of {} requests",
        asked.load(Ordering::Relaxed)
    );
    let names = cluster.run(&["get", "configmaps", "-o", "jsonpath={.items[*].metadata.name}"]);
    let there: std::collections::BTreeSet<&str> = names.split(' ').collect();
    let acknowledged = acknowledged.lock().unwrap();
    let lost: Vec<_> = acknowledged.iter().filter(|name| !there.contains(name.as_str())).collect();
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), acknowledged.len());
}

fn pods(cluster: &Cluster) -> Vec<(String, String, u64)> {
    let pods = cluster.get(&["pods", "-l", "app=hello"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut found: Vec<_> = pods["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pod| {
            let status = &pod["status"];
            let restarts = status["containerStatuses"][0]["restartCount"].as_u64().unwrap();
            (text(&pod["metadata"]["uid"]), text(&status["podIP"]), restarts)
        })
        .collect();
    found.sort();
    found
}

/// A pod that writes down each of its starts into a volume of its own, and one that was done before.
fn leave_traces(cluster: &Cluster) {
    cluster.push("behave:1", &build_guests("tests/guests").join("behave.wasm"));
    let mounts = json!({"volumeMounts": [{"name": "v", "mountPath": "/d"}]});
    let volumes = json!([{"name": "v", "emptyDir": {}}]);
    let starts = "echo started >> /d/starts; while true; do sleep 1; done";
    let stays = json!({"containers": [sh("c", starts, &mounts)], "volumes": volumes});
    let once = json!({"restartPolicy": "Never", "containers": [sh("c", "echo once", &json!({}))]});
    cluster.make(&[pod("stays", &stays), pod("once", &once)]);
    cluster.ready("stays");
    cluster.shows("pod/once", "/status/phase", "Succeeded");
    eventually("its start is written down", || starts_of(cluster, 1));
}

fn starts_of(cluster: &Cluster, wanted: usize) -> Result<(), String> {
    let read = cluster.kubectl(&["exec", "stays", "--", "cat", "/d/starts"]);
    if read.stdout == "started\n".repeat(wanted) { Ok(()) } else { Err(format!("{read:?}")) }
}

/// Rows `cp.host-restart` and `node.syncloop`: what ran runs again, once, with its data; what was done is not done
/// again; and then the host goes on with what it is told.
#[test]
fn a_killed_host_brings_its_pods_back_by_itself() {
    let cluster = Cluster::start();
    let port = serve_hello(&cluster);
    leave_traces(&cluster);
    let done = cluster.get(&["pod", "once"])["status"].clone();
    let before = pods(&cluster);
    cluster.kill_host();
    eventually("the pods serve again", || answers(port));
    let expected: Vec<_> =
        before.iter().map(|(uid, ip, restarts)| (uid.clone(), ip.clone(), restarts + 1)).collect();
    let is_as_expected = || {
        let now = pods(&cluster);
        if now == expected { Ok(()) } else { Err((now, expected.clone())) }
    };
    eventually("same pods and addresses, one restart more", is_as_expected);
    cluster.shows("pod/stays", "/status/containerStatuses/0/restartCount", 1);
    eventually("its data is there, and one start more", || starts_of(&cluster, 2));
    // What comes next is made; by then whatever the host would have done once more is done.
    cluster.make(&[pod("next", &json!({"containers": [sh("c", "sleep 3600", &json!({}))]}))]);
    cluster.ready("next");
    cluster.run(&["delete", "pod", "next", "--grace-period=0", "--force"]);
    is_as_expected().unwrap();
    eventually("there is no third start", || starts_of(&cluster, 2));
    let now = cluster.get(&["pod", "once"])["status"].clone();
    assert_eq!(now["containerStatuses"], done["containerStatuses"], "what was done is left alone");
}

#[test]
fn a_killed_host_comes_back_with_no_server_reachable() {
    let mut cluster = Cluster::start();
    let port = serve_hello(&cluster);
    let ips: Vec<String> = pods(&cluster).into_iter().map(|(_, ip, _)| ip).collect();
    cluster.saved_as_ready(&ips);
    cluster.kill_server();
    cluster.kill_host();
    eventually("the pods serve again without a server", || answers(port));
    cluster.start_server();
    cluster.wait_ready();
    answers(port).unwrap();
}

/// Asks a path of a port without a pause, until it is told to stop.
struct Asking {
    on: Arc<AtomicBool>,
    thread: thread::JoinHandle<(u32, Vec<String>)>,
}

impl Asking {
    fn begin(port: u16, path: String, wanted: &'static str) -> Self {
        let on = Arc::new(AtomicBool::new(true));
        let goes_on = Arc::clone(&on);
        let thread = thread::spawn(move || {
            let (mut asked, mut failed) = (0, Vec::new());
            while goes_on.load(Ordering::Relaxed) {
                asked += 1;
                match get(port, &path) {
                    Ok(answer) if answer.status == 200 && answer.body.contains(wanted) => {}
                    other => failed.push(format!("{other:?}")),
                }
                thread::sleep(Duration::from_millis(5));
            }
            (asked, failed)
        });
        Self { on, thread }
    }

    /// Every single request was answered as it should be.
    fn end(self, what: &str) {
        self.on.store(false, Ordering::Relaxed);
        let (asked, failed) = self.thread.join().unwrap();
        assert!(
            asked > 0 && failed.is_empty(),
            "{what}: {} of {asked} failed: {failed:?}",
            failed.len()
        );
    }
}

/// The pods that the host has, by the folders that each of them is given.
fn folders_of_pods(cluster: &Cluster) -> std::collections::BTreeSet<String> {
    let folders = std::fs::read_dir(cluster.data().join("host/pods")).unwrap().flatten();
    folders.map(|folder| folder.file_name().to_string_lossy().into_owned()).collect()
}

/// Seconds since the beginning of 1970.
fn seconds() -> u64 {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// Row `cp.down-apps-run`. It lasts over the beginning of a minute, at which a CronJob is due; longer by an
/// environment variable (`CORACLE_DOWN_SECONDS`).
#[test]
fn apps_run_on_while_the_control_plane_is_down() {
    let mut cluster = Cluster::start();
    let port = serve_hello(&cluster);
    let guests = build_guests("tests/guests");
    cluster.push("http-behave:1", &guests.join("http_behave.wasm"));
    cluster.push("behave:1", &guests.join("behave.wasm"));
    let asker = cluster.node_port(1);
    let container = |image: &str, more: Value| {
        let mut container = json!({"name": "c", "image": image});
        container.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        container
    };
    let once = json!({"restartPolicy": "Never", "containers": [container(coracle_e2e::BEHAVE, json!({"args": ["exit", "0"]}))]});
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "asker", "labels": {"app": "asker"}}, "spec": {
            "containers": [container(coracle_e2e::HTTP, json!({"ports": [{"containerPort": 8080}]}))]}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "asker"}, "spec": {"type": "NodePort",
            "selector": {"app": "asker"}, "ports": [{"port": 80, "targetPort": 8080, "nodePort": asker}]}},
        {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "tick"}, "spec": {"schedule": "* * * * *",
            "jobTemplate": {"spec": {"template": {"spec": once}}}}}]});
    cluster.apply(&list.to_string());
    // A pod asks by name, which takes the cluster's names and the Service's address.
    let by_name = "/call?hello.default.svc.cluster.local/".to_owned();
    eventually("a pod reaches the other by its name", || match get(asker, &by_name) {
        Ok(answer) if answer.body.contains("hello") => Ok(()),
        other => Err(other),
    });

    cluster.kill_server();
    let due = seconds() / 60 + 1;
    let from_outside = Asking::begin(port, "/".to_owned(), "hello");
    let from_a_pod = Asking::begin(asker, by_name, "hello");
    assert!(!cluster.kubectl(&["get", "pods", "--request-timeout=5s"]).ok);
    assert!(!cluster.kubectl(&["create", "configmap", "edit", "--request-timeout=5s"]).ok);
    let more = std::env::var("CORACLE_DOWN_SECONDS").ok().and_then(|text| text.parse().ok());
    let end = (due * 60 + 4).max(seconds() + more.unwrap_or(0));
    let wait_until = |moment: u64| {
        while seconds() < moment {
            thread::sleep(Duration::from_millis(100));
        }
    };
    // What was asked for at the minute before has begun long since.
    wait_until(due * 60 - 1);
    let before = folders_of_pods(&cluster);
    wait_until(end);
    from_outside.end("from outside");
    from_a_pod.end("from a pod, by name");
    let new: Vec<_> = folders_of_pods(&cluster).difference(&before).cloned().collect();
    assert!(new.is_empty(), "pods that nobody could ask for: {new:?}");
    // It was due all the same, and is made up for.
    cluster.start_server();
    cluster.wait_ready();
    eventually("the CronJob fires", || {
        let jobs = cluster.get(&["jobs"]);
        let items = jobs["items"].as_array().unwrap();
        let minute = |job: &Value| -> u64 {
            let name = job["metadata"]["name"].as_str().unwrap();
            name.strip_prefix("tick-").unwrap().parse().unwrap()
        };
        let late: Vec<_> = items.iter().filter(|job| minute(job) >= due).collect();
        for job in &late {
            let made: Time =
                serde_json::from_value(job["metadata"]["creationTimestamp"].clone()).unwrap();
            assert!(made.0.as_second() >= end.cast_signed(), "{job}");
        }
        if late.is_empty() { Err(jobs.clone()) } else { Ok(()) }
    });
}

/// Connections of no sense at each port that a process listens on.
fn garbage(place: SocketAddr, count: usize) {
    use std::io::Write as _;
    let kinds: [&[u8]; 5] = [
        b"",
        b"GET / HTTP/1.1\r\n\r\n\r\n",
        // The beginning of a TLS greeting that promises more than comes.
        b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        &[0xa5; 4096],
    ];
    let mut open = Vec::new();
    for number in 0..count {
        let Ok(mut stream) = std::net::TcpStream::connect(place) else { continue };
        let _refused = stream.write_all(kinds[number % kinds.len()]);
        // Some stay open and say no more.
        if number % 4 == 0 {
            open.push(stream);
        }
    }
}

/// Where a process listens for TCP, by what the kernel says of its descriptors.
fn listening(pid: u32) -> Vec<SocketAddr> {
    let links = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let sockets: std::collections::BTreeSet<String> = links
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .filter_map(|link| {
            let link = link.to_string_lossy().into_owned();
            Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
        })
        .collect();
    let mut ports = Vec::new();
    for table in ["tcp", "tcp6"] {
        let text = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (Some(local), Some(&"0A"), Some(inode)) =
                (words.get(1), words.get(3), words.get(9))
            else {
                continue;
            };
            if !sockets.contains(*inode) {
                continue;
            }
            let (address, port) = local.split_once(':').unwrap();
            let port = u16::from_str_radix(port, 16).unwrap();
            // An IPv4 address is a number in the machine's order; for "all" any will do.
            let number = u32::from_str_radix(address, 16).unwrap_or(0).swap_bytes();
            let address = if number == 0 { Ipv4Addr::LOCALHOST } else { Ipv4Addr::from(number) };
            ports.push(SocketAddr::from((address, port)));
        }
    }
    ports.sort_unstable();
    ports.dedup();
    ports
}

fn pid_of(cluster: &Cluster, role: &str) -> u32 {
    let text = std::fs::read_to_string(cluster.data().join(format!("{role}.lock"))).unwrap();
    text.trim().parse().unwrap()
}

#[test]
fn a_thousand_senseless_connections_at_each_port_harm_nobody() {
    let cluster = Cluster::start();
    let port = serve_hello(&cluster);
    let processes = ["server", "host"].map(|role| pid_of(&cluster, role));
    let places: Vec<SocketAddr> = processes.into_iter().flat_map(listening).collect();
    assert!(places.iter().any(|place| place.port() == port) && places.len() >= 3, "{places:?}");
    for place in places {
        garbage(place, 1000);
    }
    eventually("the pods serve", || answers(port));
    eventually("the server is ready", || {
        let ready = cluster.kubectl(&["get", "--raw", "/readyz"]);
        if ready.ok { Ok(()) } else { Err(ready) }
    });
    cluster.run(&["create", "configmap", "after"]);
    // Nobody had to be started again.
    assert_eq!(["server", "host"].map(|role| pid_of(&cluster, role)), processes);
}

/// Seconds for which processes are killed; more by an environment variable.
fn fault_seconds() -> u64 {
    let given = std::env::var("CORACLE_FAULT_SECONDS").ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(8)
}

/// Row `cp.stateless`: whatever was killed and however often, the cluster is in the end as if nothing had been.
#[test]
fn processes_that_are_killed_in_turn_lose_nothing() {
    let mut cluster = Cluster::start();
    let port = serve_hello(&cluster);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let kubeconfig = kube::config::Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
    let client = runtime.block_on(async {
        let config = Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
        Client::try_from(config).unwrap()
    });
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let begin = std::time::Instant::now();
    let mut round = 0;
    while begin.elapsed() < Duration::from_secs(fault_seconds()) {
        let writer = write_until_it_ends(client.clone(), round, Arc::clone(&acknowledged));
        let writing = runtime.spawn(writer);
        let replicas = 2 + round % 3;
        cluster.run(&["scale", "deployment", "hello", &format!("--replicas={replicas}")]);
        if round % 2 == 1 {
            cluster.kill_host();
        }
        cluster.kill_server();
        runtime.block_on(writing).unwrap();
        cluster.start_server();
        cluster.wait_ready();
        round += 1;
    }
    cluster.run(&["scale", "deployment", "hello", "--replicas=3"]);
    cluster.run(&["rollout", "status", "deployment/hello", "--timeout=180s"]);
    eventually("three pods, each Running and Ready, and no other", || {
        let all = cluster.get(&["pods", "-l", "app=hello"]);
        let pods = all["items"].as_array().unwrap();
        let ready = |pod: &Value| {
            let status = &pod["status"]["containerStatuses"][0];
            pod["status"]["phase"] == "Running" && status["ready"] == true
        };
        if pods.len() == 3 && pods.iter().all(ready) { Ok(()) } else { Err(all) }
    });
    eventually("the pods serve", || answers(port));
    let names = cluster.run(&["get", "configmaps", "-o", "jsonpath={.items[*].metadata.name}"]);
    let there: std::collections::BTreeSet<&str> = names.split(' ').collect();
    let acknowledged = acknowledged.lock().unwrap();
    let lost: Vec<_> = acknowledged.iter().filter(|name| !there.contains(name.as_str())).collect();
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), acknowledged.len());
}
