//! Stopping: the notice, the drain, the deadline, the kill.

use std::io;
use std::time::Duration;

use coracle_runtime::ExitReason;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use crate::world::{Pod, fabric, until};

const LONG: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_takes_the_notice_ends_with_its_own_code() {
    let pod = Pod::new();
    let container = pod.start("lifecycle", &[]).await;
    until(|| pod.log().contains("waiting")).await;
    container.stop(LONG);
    let exit = container.wait().await;
    assert_eq!((exit.code, exit.reason), (3, ExitReason::Error), "{exit:?}");
    let want = "stdout F waiting, raised false\nstdout F raised true, within the grace true\n";
    assert_eq!(pod.log(), want);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_ignores_the_notice_is_cut_off_at_the_deadline() {
    let pod = Pod::new();
    let container = pod.start("lifecycle", &["ignore"]).await;
    container.stop(Duration::from_millis(100));
    let exit = container.wait().await;
    assert_eq!((exit.code, exit.reason), (137, ExitReason::Killed), "{exit:?}");
    assert!(exit.message.contains("grace period"), "{exit:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_serves_nothing_is_stopped_at_once() {
    let pod = Pod::new();
    for args in [&["sleep", "60000"][..], &["spin"]] {
        let container = pod.start("behave", args).await;
        container.stop(LONG);
        let exit = container.wait().await;
        assert_eq!((exit.code, exit.reason), (143, ExitReason::Stopped), "{args:?}: {exit:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tight_loop_is_killed() {
    let pod = Pod::new();
    let container = pod.start("behave", &["spin"]).await;
    until(|| container.usage().cpu_usec > 0).await;
    container.kill();
    let exit = container.wait().await;
    assert_eq!((exit.code, exit.reason), (137, ExitReason::Killed), "{exit:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_refuses_new_connections_and_awaits_those_that_move() {
    let pod = Pod::new();
    let mut spec = pod.spec("behave", &["listen", "80"]).await;
    // It has moved a moment ago, however long this test takes to say the next line.
    spec.quiet_max = LONG;
    let container = pod.sandbox.start(spec).await.unwrap();
    until(|| pod.netns.is_listening(pod.address(80))).await;
    let connect = || fabric().deliver(pod.address(80), ([192, 0, 2, 1], 5).into());
    let (read, mut write) = tokio::io::split(connect().unwrap());
    let mut read = BufReader::new(read);
    let mut answer = String::new();
    write.write_all(b"one\n").await.unwrap();
    read.read_line(&mut answer).await.unwrap();
    container.stop(LONG);
    until(|| connect().is_err()).await;
    assert_eq!(connect().unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    assert!(container.is_running());
    write.write_all(b"two\n").await.unwrap();
    read.read_line(&mut answer).await.unwrap();
    assert_eq!(answer, "answer\nanswer\n");
    drop((read, write));
    assert_eq!(container.wait().await.code, 143);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_awaits_no_connection_that_is_quiet() {
    let pod = Pod::new();
    let container = pod.start("behave", &["listen", "80"]).await;
    until(|| pod.netns.is_listening(pod.address(80))).await;
    let quiet = fabric().deliver(pod.address(80), ([192, 0, 2, 1], 5).into()).unwrap();
    // The grace ends long after this test's time limit.
    container.stop(60 * LONG);
    assert_eq!(container.wait().await.reason, ExitReason::Stopped);
    drop(quiet);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_container_leaves_its_port_free() {
    let pod = Pod::new();
    for _ in 0..2 {
        let container = pod.start("behave", &["listen", "81"]).await;
        until(|| pod.netns.is_listening(pod.address(81))).await;
        container.kill();
        container.wait().await;
        assert!(!pod.netns.is_listening(pod.address(81)));
    }
}
