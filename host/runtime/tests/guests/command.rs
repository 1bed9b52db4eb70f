//! Command containers: how they end, and what they are told of it.

use coracle_runtime::ExitReason;

use crate::world::Pod;

async fn check(guest: &str, args: &[&str], code: i32, reason: ExitReason, message: &str) {
    let pod = Pod::new();
    let exit = pod.start(guest, args).await.wait().await;
    assert_eq!((exit.code, exit.reason), (code, reason), "{guest} {args:?}: {exit:?}");
    assert!(exit.message.contains(message), "{guest} {args:?}: {exit:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_are_kept() {
    use ExitReason::{Completed, Error};
    for guest in ["behave", "behave-p1"] {
        check(guest, &["return"], 0, Completed, "").await;
        check(guest, &["fail"], 1, Error, "").await;
        check(guest, &["exit", "0"], 0, Completed, "").await;
        check(guest, &["exit", "7"], 7, Error, "").await;
        check(guest, &["exit", "200"], 200, Error, "").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn traps_have_their_codes_and_a_backtrace() {
    use ExitReason::Error;
    for guest in ["behave", "behave-p1"] {
        check(guest, &["panic"], 134, Error, "unreachable").await;
        check(guest, &["panic"], 134, Error, "wasm backtrace").await;
        check(guest, &["recurse"], 139, Error, "recurse").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_and_environment_arrive() {
    let pod = Pod::new();
    let mut spec = pod.spec("behave", &["environment"]).await;
    spec.env = vec![("A".to_owned(), "1".to_owned()), ("B".to_owned(), "two words".to_owned())];
    pod.sandbox.start(spec).await.unwrap().wait().await;
    let want = "stdout F args [\"main\", \"environment\"]\n\
                stdout F env [(\"A\", \"1\"), (\"B\", \"two words\")]\n";
    assert_eq!(pod.log(), want);
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_twice_and_late_gives_the_same_end() {
    let pod = Pod::new();
    let container = pod.start("behave", &["exit", "4"]).await;
    let (first, second) = tokio::join!(container.wait(), container.wait());
    assert_eq!(first, second);
    assert_eq!(container.wait().await, first);
    assert!(!container.is_running());
}
