//! Memory and CPU: limits hold, and neighbours notice nothing.

use std::time::{Duration, Instant};

use coracle_runtime::{ExitReason, Limits};

use crate::world::{Pod, until};

#[tokio::test(flavor = "multi_thread")]
async fn too_much_memory_is_oom_killed_and_given_back() {
    let pod = Pod::new();
    let mut spec = pod.spec("behave", &["allocate", "64"]).await;
    spec.limits = Limits { memory_bytes: Some(16 << 20), cpu_millis: None };
    let container = pod.sandbox.start(spec).await.unwrap();
    let exit = container.wait().await;
    assert_eq!((exit.code, exit.reason.as_str()), (137, "OOMKilled"), "{exit:?}");
    assert!(exit.message.contains("16777216"), "{exit:?}");
    assert_eq!(pod.sandbox.memory_bytes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn enough_memory_is_no_trouble() {
    let pod = Pod::new();
    let mut spec = pod.spec("behave", &["allocate", "8"]).await;
    spec.limits = Limits { memory_bytes: Some(16 << 20), cpu_millis: None };
    let exit = pod.sandbox.start(spec).await.unwrap().wait().await;
    assert_eq!(exit.reason, ExitReason::Completed, "{exit:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pods_limit_holds_for_all_containers() {
    let pod = Pod::with_memory(Some(16 << 20));
    let exit = pod.start("behave", &["allocate", "64"]).await.wait().await;
    assert_eq!(exit.reason, ExitReason::OomKilled, "{exit:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_needs_more_than_the_limit_is_oom_killed() {
    let pod = Pod::new();
    for guest in ["behave", "http_behave"] {
        let mut spec = pod.spec(guest, &["return"]).await;
        spec.limits.memory_bytes = Some(1 << 16);
        let exit = pod.sandbox.start(spec).await.unwrap().wait().await;
        assert_eq!(exit.reason, ExitReason::OomKilled, "{guest}: {exit:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "a share is one of the time that passes")]
async fn cpu_is_held_to_the_share() {
    let pod = Pod::new();
    let mut spec = pod.spec("behave", &["work", "1000"]).await;
    spec.limits.cpu_millis = Some(200);
    let begun = Instant::now();
    let container = pod.sandbox.start(spec).await.unwrap();
    container.wait().await;
    // A second of wall time, or more where others have the machine, at a fifth of a core; a slice more for each of
    // its periods. How little others leave it is not its limit's doing.
    let (used, wall) = (container.usage().cpu_usec, begun.elapsed().as_micros());
    assert!(used > 0 && u128::from(used) <= wall * 3 / 10 + 100_000, "{used} of {wall} µs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loops_share_the_workers_with_everyone() {
    let pod = Pod::new();
    let mut loops = Vec::new();
    for _ in 0..4 {
        loops.push(pod.start("behave", &["spin"]).await);
    }
    until(|| loops.iter().all(|container| container.usage().cpu_usec > 0)).await;
    let exit = pod.start("behave", &["return"]).await.wait().await;
    assert_eq!(exit.code, 0);
    tokio::time::sleep(Duration::from_millis(1)).await;
    for container in &loops {
        container.kill();
    }
    for container in loops {
        container.wait().await;
    }
}
