//! What the host keeps for a guest: values to read, buckets, objects; and its structured log.

use std::sync::Arc;
use std::time::Duration;

use coracle_runtime::StartError;
use coracle_runtime::mounts::{Mount, MountTable, MountTableBuilder, Quota, Service};
use tempfile::TempDir;

use crate::redis::{self, Redis};
use crate::world::Pod;

/// Bytes that the volume of a test may hold.
const VOLUME_BYTES: u64 = 8 << 20;

/// Runs a script of calls in one guest and compares the whole of what it wrote to stdout.
async fn check(disk: &TempDir, script: &str) {
    check_with(granted(disk), script).await;
}

/// The same in other places.
async fn check_with(mounts: MountTable, script: &str) {
    let pod = Pod::new();
    let lines: Vec<&str> = script.lines().map(str::trim).collect();
    let calls: Vec<&str> =
        lines.iter().map(|line| line.split_once(" =>").map_or(*line, |(words, _)| words)).collect();
    let mut spec = pod.spec("keeper", &calls).await;
    spec.mounts = mounts;
    let exit = pod.sandbox.start(spec).await.unwrap().wait().await;
    assert_eq!(exit.code, 0, "{exit:?}");
    let expected: String = lines.iter().map(|line| format!("stdout F {line}\n")).collect();
    let written: String = pod.log().lines().map(|line| format!("{}\n", line.trim_end())).collect();
    assert_eq!(written, expected);
}

/// A volume for values and one for objects under one limit, and a folder of configuration.
fn granted(disk: &TempDir) -> MountTable {
    let quota = Arc::new(Quota::new(VOLUME_BYTES, 0));
    let place = |name: &str| {
        let path = disk.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Mount::host(path)
    };
    drop(place("config/..data"));
    std::fs::write(disk.path().join("config/..data/title"), "Shop").unwrap();
    let link = disk.path().join("config/title");
    if !link.exists() {
        std::os::unix::fs::symlink("..data/title", link).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", disk.path().join("config/outside")).unwrap();
    }
    MountTable::builder()
        .service(Service::Config, place("config").read_only())
        .and_then(|table| table.service(Service::KeyValue, place("kv").quota(quota.clone())))
        .and_then(|table| table.service(Service::Blobstore, place("blobs").quota(quota)))
        .and_then(MountTableBuilder::build)
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn values_outlive_their_guest_and_keep_to_their_limits() {
    let disk = TempDir::new().unwrap();
    check(
        &disk,
        "kv shop get a => None
        kv shop set a 1 => ok
        kv shop set user:../7 Ada => ok
        kv shop get user:../7 => Some(\"Ada\")
        kv shop exists a => true
        kv shop keys => a user:../7
        kv shop delete a => ok
        kv shop delete a => ok
        kv shop exists a => false
        kv other keys =>
        kv shop many 1500 => false true 1
        kv other many 1500 => true true 0
        kv shop increment n 5 => 5
        kv shop increment n -7 => -2
        kv shop append list x => ok
        kv shop append list y => ok
        kv shop get list => Some(\"xy\")
        kv1 increment n 41 => 41
        kv1 increment n 1 => 42
        kv1 keys => n None
        kv1 pair n m => [true, false]
        kv1 increment n 18446744073709551615 => Error::Other(\"'n' would be out of range\")
        kv shop fill big 1048576 => ok
        kv shop fill big 1048577 => a value must have at most 1048576 bytes",
    )
    .await;
    check(
        &disk,
        "kv shop get list => Some(\"xy\")
        kv default get n => Some(\"42\")
        kv default increment n 1 => 43",
    )
    .await;
    assert_eq!(std::fs::read_to_string(disk.path().join("kv/default/n")).unwrap(), "43");
}

/// Places of which that of the values names a Redis.
fn elsewhere(disk: &TempDir, url: &str) -> MountTable {
    let place = |name: &str| {
        let path = disk.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    };
    // As a Secret is mounted.
    std::fs::write(place("redis/..data").join("url"), url).unwrap();
    let link = disk.path().join("redis/url");
    if !link.is_symlink() {
        std::os::unix::fs::symlink("..data/url", link).unwrap();
    }
    MountTable::builder()
        .service(Service::KeyValue, Mount::host(place("redis")).read_only())
        .and_then(|table| table.service(Service::Blobstore, Mount::host(place("blobs"))))
        .and_then(MountTableBuilder::build)
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_in_a_redis_that_the_place_names() {
    let (redis, disk) = (Redis::start().await, TempDir::new().unwrap());
    let at = format!("pod-{}:{}", redis.pod.number, redis::PORT);
    check_with(
        elsewhere(&disk, &format!("redis://:p%40ss@{at}/2\n")),
        "kv shop get a => None
        kv shop set a 1 => ok
        kv shop set user:../7 Ada => ok
        kv shop get user:../7 => Some(\"Ada\")
        kv shop exists a => true
        kv shop delete a => ok
        kv shop delete a => ok
        kv shop exists a => false
        kv shop keys => user:../7
        kv other keys =>
        kv other many 1500 => false true 0
        kv shop increment n 5 => 5
        kv shop increment n -7 => -2
        kv shop append list x => ok
        kv shop append list y => ok
        kv shop get list => Some(\"xy\")
        kv1 increment n 41 => 41
        kv1 keys => n None
        kv1 pair n m => [true, false]
        kv shop fill big 1048576 => ok
        kv shop fill big 1048577 => a value must have at most 1048576 bytes",
    )
    .await;
    assert_eq!(redis.said(2, &["GET", "shop:user:../7"]), "Ada");
    assert_eq!(redis.said(2, &["STRLEN", "shop:big"]), "1048576");
    assert_eq!(redis.said(0, &["DBSIZE"]), "0");
    redis.said(2, &["SET", "shop:big", &"x".repeat(100)]);
    redis.said(2, &["SETRANGE", "shop:big", "1048576", "x"]);
    check_with(
        elsewhere(&disk, &format!("redis://default:p%40ss@{at}/2")),
        "kv shop get big => it holds more than 1048576 bytes
        kv shop get list => Some(\"xy\")",
    )
    .await;
    let wrong = format!(
        "kv shop get list => redis {at}/0: WRONGPASS invalid username-password pair or user is disabled."
    );
    check_with(elsewhere(&disk, &format!("redis://:wrong@{at}")), &wrong).await;
    check_with(
        elsewhere(&disk, "http://elsewhere"),
        "kv shop get list => the volume's file \"url\": it must begin with redis:// or rediss://",
    )
    .await;
}

/// A Redis closes connections that are idle for long, and a password changes: the guest notices neither.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_may_close_the_connection_and_have_another_password() {
    let (redis, disk) = (Redis::start().await, TempDir::new().unwrap());
    let at = format!("pod-{}:{}", redis.pod.number, redis::PORT);
    let pod = Pod::new();
    let script = ["kv shop increment n 5", "blob go await on", "kv shop increment n 1"];
    let mut spec = pod.spec("keeper", &script).await;
    spec.mounts = elsewhere(&disk, &format!("redis://:p%40ss@{at}"));
    let guest = pod.sandbox.start(spec).await.unwrap();
    // The second call makes it: the first one is answered.
    while !disk.path().join("blobs/go").exists() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    redis.forget("another").await;
    elsewhere(&disk, &format!("redis://:another@{at}"));
    std::fs::write(disk.path().join("blobs/go/on"), "").unwrap();
    let exit = guest.wait().await;
    assert_eq!(exit.code, 0, "{exit:?}");
    let last = pod.log().lines().last().unwrap().to_owned();
    assert_eq!(last, "stdout F kv shop increment n 1 => 6");
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_appear_whole_and_stay_while_they_are_read() {
    let disk = TempDir::new().unwrap();
    check(
        &disk,
        "blob photos exists => false
        blob photos write a/cat meow => ok
        blob photos read a/cat => meow
        blob photos part a/cat 1 2 => eo
        blob photos size a/cat => 4
        blob photos abandon half => ok
        blob photos has half => false
        blob photos replaced x => old new
        blob photos names => a/cat x
        blob other write y 1 => ok
        blob photos copy a/cat other cat => ok
        blob other rename cat photos z => ok
        blob other names => y
        blob photos read z => meow
        blob photos remove z => ok
        blob photos read z => there is no object 'z' in 'photos'
        blob photos fill big 5000000 => ok
        blob photos size big => 5000000
        blob photos fill more 5000000 => the volume is full
        blob photos delete => ok
        blob photos exists => false
        blob photos fill more 5000000 => ok",
    )
    .await;
    let left = std::fs::read_dir(disk.path().join("blobs")).unwrap();
    let mut left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["other", "photos"], "nothing half-written is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn configuration_is_a_granted_folder_or_the_environment() {
    let disk = TempDir::new().unwrap();
    check(
        &disk,
        "config title => Some(\"Shop\")
        config ../config/title => None
        config outside => None
        config missing => None
        config => title=Shop",
    )
    .await;
    let pod = Pod::new();
    let mut spec = pod.spec("keeper", &["config TITLE", "config NONE"]).await;
    spec.env = vec![("TITLE".to_owned(), "Env".to_owned())];
    let mounts = MountTable::builder();
    let place = || Mount::host(disk.path());
    spec.mounts = mounts
        .service(Service::KeyValue, place())
        .and_then(|table| table.service(Service::Blobstore, place()))
        .and_then(MountTableBuilder::build)
        .unwrap();
    pod.sandbox.start(spec).await.unwrap().wait().await;
    let want = "stdout F config TITLE => Some(\"Env\")\nstdout F config NONE => None\n";
    assert_eq!(pod.log(), want);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_lines_of_json_in_the_log() {
    let disk = TempDir::new().unwrap();
    let pod = Pod::new();
    let mut spec = pod.spec("keeper", &["log cart empty", "log - plain"]).await;
    spec.mounts = granted(&disk);
    pod.sandbox.start(spec).await.unwrap().wait().await;
    let mut lines: Vec<_> = pod.log().lines().map(str::to_owned).collect();
    lines.sort();
    let want = [
        "stderr F {\"level\":\"warn\",\"message\":\"empty\",\"context\":\"cart\"}",
        "stderr F {\"level\":\"warn\",\"message\":\"plain\"}",
        "stdout F log - plain => ok",
        "stdout F log cart empty => ok",
    ];
    assert_eq!(lines, want);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_granted_no_place_is_not_started() {
    let pod = Pod::new();
    let spec = pod.spec("keeper", &[]).await;
    let error = pod.sandbox.start(spec).await.unwrap_err();
    let StartError::NotGranted { service: Service::KeyValue, imports, .. } = &error else {
        panic!("{error}")
    };
    assert!(imports.contains(&"wasi:keyvalue/atomics@0.2.0-draft2".to_owned()), "{imports:?}");
    assert!(error.to_string().starts_with("imports that nothing satisfies: wasi:keyvalue/"));
    let disk = TempDir::new().unwrap();
    let mut spec = pod.spec("keeper", &[]).await;
    let table = MountTable::builder().service(Service::KeyValue, Mount::host(disk.path()));
    spec.mounts = table.and_then(MountTableBuilder::build).unwrap();
    let error = pod.sandbox.start(spec).await.unwrap_err();
    assert!(matches!(error, StartError::NotGranted { service: Service::Blobstore, .. }), "{error}");
}
