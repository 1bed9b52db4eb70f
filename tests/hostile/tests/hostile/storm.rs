//! Everything at once: a neighbour's requests go on being answered, each of them, and well.

use std::time::Duration;

use coracle_runtime::{HttpLimits, Limits};

use crate::world::{Neighbour, Pod, ask, end, image, kill};

/// Requests that the neighbour is asked meanwhile.
const REQUESTS: usize = 300;

/// Attacks that never end by themselves.
const ENDLESS: [&str; 4] = ["spin", "flood 1000000", "line 1000000", "spin"];

/// Attacks that end, and are begun again and again.
const AGAIN: [&str; 6] =
    ["eat", "recurse", "fields 30000", "random 1099511627776", "net udp", "pollables"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_neighbour_is_answered_in_the_storm() {
    let neighbour = Neighbour::start().await;
    let hostile = image("hostile").await;
    let pod = Pod::with("", Some(256 << 20));
    let mut endless = Vec::new();
    for attack in ENDLESS {
        endless.push(pod.sandbox.start(pod.spec(hostile.clone(), &[attack])).await.unwrap());
    }
    let half = format!("net half {}", neighbour.pod.address(80));
    endless.push(pod.sandbox.start(pod.spec(hostile.clone(), &[&half])).await.unwrap());
    let again = tokio::spawn(async move {
        let pod = Pod::new();
        loop {
            for attack in AGAIN {
                let mut spec = pod.spec(hostile.clone(), &[attack]);
                spec.limits = Limits { memory_bytes: Some(32 << 20), cpu_millis: None };
                let container = pod.sandbox.start(spec).await.unwrap();
                end(&container, attack).await;
            }
        }
    });
    let forks = tokio::spawn(async move {
        let pod = Pod::new();
        let mut spec = pod.spec(image("hostile_http").await, &[]);
        spec.http = HttpLimits { request_timeout: Duration::from_secs(1), ..spec.http };
        let container = pod.sandbox.start(spec).await.unwrap();
        let path = format!("/fork?{}", pod.address(80));
        while container.is_running() {
            ask(pod.address(80), &path).await;
        }
    });
    for number in 0..REQUESTS {
        neighbour.answers(&format!("request {number} in the storm")).await;
    }
    assert!(!again.is_finished() && !forks.is_finished(), "the storm has blown all the while");
    again.abort();
    forks.abort();
    for container in &endless {
        kill(container, "storm").await;
    }
    neighbour.answers("the storm").await;
}
