//! Hostile http containers, and hostile clients of sound ones.

use std::time::Duration;

use coracle_runtime::{Container, HttpLimits, Isolation, Limits};

use crate::world::{Neighbour, Pod, ask, image, kill};

async fn start(pod: &Pod, limits: HttpLimits, isolation: Isolation) -> Container {
    let mut spec = pod.spec(image("hostile_http").await, &[]);
    spec.http = limits;
    spec.isolation = isolation;
    spec.limits = Limits { memory_bytes: Some(256 << 20), cpu_millis: None };
    pod.sandbox.start(spec).await.unwrap()
}

fn short() -> HttpLimits {
    HttpLimits {
        request_timeout: Duration::from_millis(500),
        concurrency_max: 8,
        queue_max: 16,
        queue_timeout: Duration::from_millis(500),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_answers_stay_whole() {
    let neighbour = Neighbour::start().await;
    let pod = Pod::new();
    let container = start(&pod, short(), Isolation::Request).await;
    for (path, status, text) in [
        ("/head", "HTTP/1.0 502", "the guest failed"),
        ("/split", "HTTP/1.0 200", "refused true"),
        ("/twice", "HTTP/1.0 200", "true false"),
        ("/spin", "HTTP/1.0 502", "did not answer in time"),
        ("/", "HTTP/1.0 200", "hostile"),
    ] {
        let answer = ask(pod.address(80), path).await;
        assert!(answer.starts_with(status) && answer.contains(text), "{path}: {answer:.300}");
        assert!(!answer.contains("x-evil: 1\r\n"), "{path}: {answer:.300}");
        neighbour.answers(path).await;
    }
    assert!(container.is_running());
    kill(&container, "odd answers").await;
}

/// Each request asks for two more of its kind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_multiply_end_at_the_containers_limit() {
    let neighbour = Neighbour::start().await;
    let pod = Pod::new();
    let container = start(&pod, short(), Isolation::Request).await;
    let path = format!("/fork?{}", pod.address(80));
    for _ in 0..3 {
        let answer = ask(pod.address(80), &path).await;
        assert!(answer.starts_with("HTTP/1.0 "), "{answer}");
        assert!(container.usage().instances <= 8, "{:?}", container.usage());
        neighbour.answers("/fork").await;
    }
    kill(&container, "/fork").await;
}

/// A memory limit holds for all instances together: those that do not fit wait, then 503.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_share_one_memory_limit() {
    let neighbour = Neighbour::start().await;
    let pod = Pod::with("", Some(64 << 20));
    let container = start(&pod, HttpLimits { concurrency_max: 64, ..short() }, Isolation::Request);
    let container = container.await;
    let asked = (0..16).map(|_| ask(pod.address(80), "/hold?16"));
    for answer in futures::future::join_all(asked).await {
        let is_sound = ["200", "502", "503"].iter().any(|code| answer[9..].starts_with(code));
        assert!(is_sound, "{answer}");
    }
    neighbour.answers("/hold").await;
    kill(&container, "/hold").await;
    assert_eq!(pod.sandbox.memory_bytes(), 0);
}

/// Clients that ask for an endless response and never read it must not hold the places of others:
/// one over a socket, one from within another http container.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_do_not_read_are_given_up() {
    let neighbour = Neighbour::start().await;
    let (victim, attacker, other) = (Pod::new(), Pod::new(), Pod::new());
    let container = start(&victim, short(), Isolation::Request).await;
    let attack = format!("net unread {}", victim.address(80));
    let mut sockets = Vec::new();
    for _ in 0..4 {
        sockets.push(attacker.start("hostile", &[&attack]).await);
    }
    let patient = HttpLimits { request_timeout: Duration::from_secs(3600), ..short() };
    let within = start(&other, patient, Isolation::Request).await;
    let path = format!("/unread?{},4", victim.address(80));
    let address = other.address(80);
    let asking = tokio::spawn(async move { ask(address, &path).await });
    other.says("holding 4").await;
    // All eight places are taken; they come free although nobody reads.
    loop {
        let answer = ask(victim.address(80), "/").await;
        if answer.ends_with("hostile\n") {
            break;
        }
        assert!(answer.starts_with("HTTP/1.0 503"), "{answer}");
        neighbour.answers("unread").await;
    }
    asking.abort();
    for container in sockets.iter().chain([&container, &within]) {
        kill(container, "unread").await;
    }
}

/// Resident containers end with their instance; nobody else does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resident_container_that_loops_ends_alone() {
    let neighbour = Neighbour::start().await;
    let pod = Pod::new();
    let container = start(&pod, short(), Isolation::Resident).await;
    let answer = ask(pod.address(80), "/spin").await;
    assert!(answer.starts_with("HTTP/1.0 502") || answer.starts_with("cut off"), "{answer}");
    let exit = crate::world::end(&container, "resident").await;
    assert_eq!(exit.code, 137, "{exit:?}");
    neighbour.answers("resident").await;
}
