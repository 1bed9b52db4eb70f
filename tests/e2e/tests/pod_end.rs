//! How containers end: the notice and what comes before it, who ignores it, what is in flight.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::time::Instant;

use coracle_e2e::{Cluster, HTTP, LIFECYCLE, build_guests, container, eventually, pod, service};
use serde_json::json;

/// Seconds that an end may take at most, far more than any here does: whoever waits for them all fails.
const GRACE: u64 = 150;

fn cluster() -> Cluster {
    let guests = build_guests("tests/guests");
    let cluster = Cluster::start();
    cluster.push_guests(&guests);
    cluster
}

/// Rows `ctr.*` about how a container ends.
#[test]
fn containers_end() {
    let cluster = cluster();
    the_notice_comes_after_pre_stop(&cluster);
    a_failed_pre_stop_stops_nothing(&cluster);
    who_ignores_the_notice_is_cut_off(&cluster);
    what_is_in_flight_is_finished(&cluster);
}

/// Rows `ctr.pre-stop` and `ctr.entrypoint-forms`: the guest itself hears the notice, with no shell
/// in between, and only when `preStop` is over.
fn the_notice_comes_after_pre_stop(cluster: &Cluster) {
    let hook = json!({"lifecycle": {"preStop": {"exec": {"command": ["sleep", "3"]}}}});
    cluster.make(&[pod(
        "ends",
        &json!({"terminationGracePeriodSeconds": GRACE,
        "containers": [container("c", LIFECYCLE, &hook)]}),
    )]);
    cluster.ready("ends");
    let mut follow = cluster.kubectl_command(&["logs", "-f", "ends"]).spawn().unwrap();
    let mut log = BufReader::new(follow.stdout.take().unwrap());
    let mut said = String::new();
    log.read_line(&mut said).unwrap();
    assert_eq!(said, "waiting, raised false\n");
    let begun = Instant::now();
    let mut delete = cluster.kubectl_command(&["delete", "pod", "ends"]).spawn().unwrap();
    log.read_to_string(&mut said).unwrap();
    let noticed = begun.elapsed();
    assert!(said.contains("raised true, within the grace true"), "{said}");
    assert!(noticed.as_secs() >= 3, "the notice came after {noticed:?}");
    assert!(delete.wait().unwrap().success());
    assert!(begun.elapsed().as_secs() < GRACE, "{:?}", begun.elapsed());
    follow.wait().unwrap();
}

/// Row `ctr.pre-stop-failure`.
fn a_failed_pre_stop_stops_nothing(cluster: &Cluster) {
    let hook = json!({"lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", "echo no way; exit 1"]}}}});
    cluster.make(&[pod(
        "fails",
        &json!({"terminationGracePeriodSeconds": GRACE,
        "containers": [container("c", LIFECYCLE, &hook)]}),
    )]);
    cluster.ready("fails");
    let begun = Instant::now();
    cluster.run(&["delete", "pod", "fails"]);
    assert!(begun.elapsed().as_secs() < GRACE, "{:?}", begun.elapsed());
    eventually("the event says why", || {
        let events =
            cluster.run(&["get", "events", "--field-selector", "involvedObject.name=fails"]);
        let told = events.contains("FailedPreStopHook") && events.contains("no way");
        if told { Ok(()) } else { Err(events) }
    });
}

/// Row `ctr.sigterm`, second half.
fn who_ignores_the_notice_is_cut_off(cluster: &Cluster) {
    let stubborn = container("c", LIFECYCLE, &json!({"args": ["ignore"]}));
    cluster.make(&[pod(
        "stubborn",
        &json!({"terminationGracePeriodSeconds": 2, "containers": [stubborn]}),
    )]);
    cluster.ready("stubborn");
    let path = "jsonpath={.status.containerStatuses[0].state.terminated.exitCode}{\"\\n\"}";
    // It ends by itself, should the code never come.
    let watch = ["get", "pod", "stubborn", "-w", "--request-timeout=120s", "-o", path];
    let mut watch = cluster.kubectl_command(&watch).spawn().unwrap();
    let mut codes = BufReader::new(watch.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(codes.next().as_deref(), Some(""), "it runs, and is watched");
    cluster.run(&["delete", "pod", "stubborn"]);
    let seen = codes.find(|code| !code.is_empty());
    assert_eq!(seen.as_deref(), Some("137"));
    watch.kill().unwrap();
    watch.wait().unwrap();
}

/// Row `ctr.sigterm`, first half: a request of three seconds that is in flight.
fn what_is_in_flight_is_finished(cluster: &Cluster) {
    let port = cluster.node_port(0);
    let echo = container("c", HTTP, &json!({"ports": [{"containerPort": 8080}]}));
    let mut outside = service("flight", 8080);
    outside["spec"]["type"] = json!("NodePort");
    outside["spec"]["ports"][0]["nodePort"] = json!(port);
    let spec = json!({"terminationGracePeriodSeconds": GRACE, "containers": [echo]});
    cluster.make(&[pod("flight", &spec), outside]);
    cluster.ready("flight");
    eventually("it answers", || coracle_e2e::get(port, "/env?PORT").map(drop));
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(GRACE))).unwrap();
    let write = |stream: &mut std::net::TcpStream, text: &str| {
        std::io::Write::write_all(stream, text.as_bytes()).unwrap();
    };
    write(&mut stream, "POST /echo HTTP/1.0\r\nhost: x\r\ncontent-length: 10\r\n\r\nfirst");
    // It sends back what it gets as it comes: now it has the request.
    let mut answer = Vec::new();
    while !answer.ends_with(b"first") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    let mut answer = String::from_utf8(answer).unwrap();
    let mut delete = cluster.kubectl_command(&["delete", "pod", "flight"]).spawn().unwrap();
    let begun = Instant::now();
    cluster.says("pod/flight", &["Stopping container c"]);
    eventually("it is three seconds under way", || match begun.elapsed() {
        time if time.as_secs() < 3 => Err(time),
        _ => Ok(()),
    });
    write(&mut stream, "-last");
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with("first-last"), "{answer}");
    assert!(delete.wait().unwrap().success());
}
