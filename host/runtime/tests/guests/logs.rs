//! What containers write ends in their log, whole and in order.

use crate::world::Pod;

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_both_outputs_are_in_the_log_when_the_container_has_ended() {
    let pod = Pod::new();
    pod.start("behave", &["print", "to", "stdout"]).await.wait().await;
    pod.start("behave", &["complain", "to", "stderr"]).await.wait().await;
    pod.start("behave", &["partial"]).await.wait().await;
    let want = "stdout F to stdout\nstderr F to stderr\nstdout P no end of line\n";
    assert_eq!(pod.log(), want);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_rotated_and_its_end_is_kept() {
    let pod = Pod::new();
    let mut spec = pod.spec("behave", &["flood", "20000"]).await;
    let log = spec.log.as_mut().unwrap();
    (log.bytes_max, log.files_max) = (64 << 10, 3);
    let path = log.path.clone();
    pod.sandbox.start(spec).await.unwrap().wait().await;
    assert!(pod.log().ends_with("stdout F line 19999\n"));
    let size = |name: &str| std::fs::metadata(path.with_file_name(name)).map(|file| file.len());
    assert!(size("0.log.1").unwrap() > 0);
    assert!(size("0.log.2").unwrap() > 0);
    assert!(size("0.log.3").is_err());
}
