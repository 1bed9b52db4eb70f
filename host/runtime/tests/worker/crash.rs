//! The end of a worker is its containers' end, and no more than that.

use coracle_runtime::ExitReason;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::world::{Pod, until};

fn pid(pod: &Pod) -> Pid {
    let pid = pod.sandbox.worker_pid().unwrap();
    Pid::from_raw(pid.cast_signed()).unwrap()
}

/// A line of `/proc/<pid>/status`.
fn status(pid: Pid, field: &str) -> String {
    let path = format!("/proc/{}/status", pid.as_raw_nonzero());
    let text = std::fs::read_to_string(path).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    line.unwrap().trim_start_matches(':').trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_is_an_exit_and_the_next_start_has_a_new_one() {
    let pod = Pod::new();
    let server = pod.start("http_behave", &[]).await;
    let command = pod.start("behave", &["sleep", "60000"]).await;
    assert!(pod.netns.is_listening(pod.address(80)));
    let old = pid(&pod);
    kill_process(old, Signal::KILL).unwrap();
    for container in [server, command] {
        let exit = container.wait().await;
        assert_eq!((exit.code, exit.reason), (137, ExitReason::Killed), "{exit:?}");
        assert_eq!(exit.reason.as_str(), "Error");
        assert!(exit.message.contains("worker process ended: signal: 9"), "{exit:?}");
    }
    assert!(!pod.netns.is_listening(pod.address(80)));
    assert_eq!(pod.sandbox.worker_pid(), None);
    let exit = pod.start("behave", &["exit", "7"]).await.wait().await;
    assert_eq!(exit.code, 7);
    assert_ne!(pid(&pod), old);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_confined_and_ends_with_its_sandbox() {
    let pod = Pod::new();
    let container = pod.start("behave", &["sleep", "60000"]).await;
    let worker = pid(&pod);
    assert_eq!(status(worker, "Seccomp"), "2");
    assert_eq!(status(worker, "NoNewPrivs"), "1");
    drop(pod);
    let exit = container.wait().await;
    assert_eq!(exit.code, 137, "{exit:?}");
    until(|| test_kill_process(worker).is_err()).await;
}
