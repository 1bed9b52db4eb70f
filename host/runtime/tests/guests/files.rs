//! The container's file tree as Rust's std sees it.

use std::sync::Arc;
use std::time::Duration;

use coracle_runtime::mounts::{Mount, MountTable, Quota, RootSpec};
use tempfile::TempDir;

use crate::world::Pod;

/// Runs a script of commands in one guest and compares the whole of its output.
async fn check(mounts: MountTable, script: &str) {
    let pod = Pod::new();
    let lines: Vec<&str> = script.lines().map(str::trim).collect();
    let commands: Vec<&str> = lines
        .iter()
        .map(|line| line.split_once(" => ").map_or(*line, |(words, _)| words))
        .collect();
    let mut spec = pod.spec("fs-probe", &commands).await;
    spec.mounts = mounts;
    let exit = pod.sandbox.start(spec).await.unwrap().wait().await;
    assert_eq!(exit.code, 0, "{exit:?}");
    let expected: String = lines.iter().map(|line| format!("stdout F {line}\n")).collect();
    assert_eq!(pod.log(), expected);
}

/// An image with `/app/conf`, a writable `/data`, a read-only `/config/key`, made-up files.
fn mounts(disk: &TempDir) -> MountTable {
    let path = |name: &str| disk.path().join(name);
    for dir in ["image/app", "data", "config", "scratch"] {
        std::fs::create_dir_all(path(dir)).unwrap();
    }
    std::fs::write(path("image/app/conf"), "default").unwrap();
    std::fs::write(path("config/key"), "value").unwrap();
    std::fs::write(path("secret"), "secret").unwrap();
    let root = RootSpec {
        image: Some(path("image")),
        files: vec![("/etc/hosts".to_owned(), "127.0.0.1 localhost".into())],
        dirs: vec!["/tmp".to_owned()],
        scratch: Some(path("scratch")),
        quota: None,
    };
    MountTable::builder()
        .root(root)
        .mount("/data", Mount::host(path("data")))
        .and_then(|table| table.mount("/data/config", Mount::host(path("config")).read_only()))
        .and_then(|table| table.mount("/etc/one.txt", Mount::host(path("config/key")).read_only()))
        .and_then(|table| table.build())
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_reads_writes_lists_and_links() {
    let disk = TempDir::new().unwrap();
    check(
        mounts(&disk),
        "ls / => app/ data/ dev/ etc/ tmp/
        cat /etc/hosts => 127.0.0.1 localhost
        cat /etc/one.txt => value
        ls /etc => hosts one.txt
        ls /data => config/
        write /data/a hello => ok
        append /data/a -world => ok
        cat data/../data/./a => hello-world
        cat /data/config/../a => hello-world
        seek /data/b => 89 012abc6
        new /data/b => AlreadyExists
        cp /data/a /tmp/copy => 11
        stat /tmp/copy => file 11
        mkdir /data/x/y => ok
        ls /data => a b config/ x/
        symlink /data/a /tmp/link => ok
        cat /tmp/link => hello-world
        lstat /tmp/link => link
        readlink /tmp/link => /data/a
        ln /data/a /data/c => ok
        rm /data/a => ok
        cat /data/c => hello-world
        rm-r /data/x => ok
        mv /data/c /data/d => ok
        ls /data => b config/ d
        write /dev/null gone => ok
        stat /dev/null => other",
    )
    .await;
    assert_eq!(std::fs::read_to_string(disk.path().join("data/d")).unwrap(), "hello-world");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_is_told_why_not() {
    let disk = TempDir::new().unwrap();
    check(
        mounts(&disk),
        "cat /nosuch => NotFound
        cat /data => IsADirectory
        write /data/config/key x => ReadOnlyFilesystem
        write /etc/one.txt x => ReadOnlyFilesystem
        write /data/a x => ok
        mv /data/a /tmp/a => CrossesDevices
        rmdir /data => ResourceBusy
        mkdir /tmp/d/e => ok
        rmdir /tmp/d => DirectoryNotEmpty
        cat /data/a/b => NotADirectory
        symlink self /tmp/self => ok
        cat /tmp/self => FilesystemLoop",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_stays_in_its_mounts() {
    let disk = TempDir::new().unwrap();
    let table = mounts(&disk);
    let link = |target: &str, name: &str| {
        std::os::unix::fs::symlink(target, disk.path().join("data").join(name)).unwrap();
    };
    link("../secret", "relative");
    link(disk.path().join("secret").to_str().unwrap(), "absolute");
    link("..", "up");
    check(
        table,
        "cat /data/relative => NotFound
        cat /data/absolute => NotFound
        cat /data/up/secret => NotFound
        cat /data/../../../secret => NotFound
        cat ../../secret => NotFound
        symlink ../../../../etc/passwd /tmp/passwd => ok
        cat /tmp/passwd => NotFound
        write /data/relative mine => ok
        cat /secret => mine",
    )
    .await;
    assert_eq!(std::fs::read_to_string(disk.path().join("secret")).unwrap(), "secret");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_copy_up_layer_belongs_to_one_container() {
    let disk = TempDir::new().unwrap();
    let table = mounts(&disk);
    check(
        table.clone(),
        "append /app/conf +mine => ok
        cat /app/conf => default+mine
        rm /etc/hosts => ok
        ls /etc => one.txt",
    )
    .await;
    check(table, "cat /app/conf => default+mine").await;
    let root = RootSpec {
        image: Some(disk.path().join("image")),
        scratch: Some(disk.path().join("scratch")),
        ..RootSpec::default()
    };
    let other = MountTable::builder().root(root).build().unwrap();
    check(other, "cat /app/conf => default").await;
    // The last holder of a container's files removes them, which may be the task that ran its guest, a
    // moment after it told the end.
    let left = || std::fs::read_dir(disk.path().join("scratch")).unwrap().count();
    let gone = async {
        while left() > 0 {
            tokio::task::yield_now().await;
        }
    };
    let thrown_away = tokio::time::timeout(Duration::from_secs(30), gone).await;
    thrown_away.expect("the copy-up layers are thrown away with the containers");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_volume_stops_the_writer() {
    let disk = TempDir::new().unwrap();
    let quota = Arc::new(Quota::new(10 << 20, 0));
    let table = MountTable::builder()
        .mount("/data", Mount::host(disk.path()).quota(quota.clone()))
        .and_then(|table| table.build())
        .unwrap();
    let pod = Pod::new();
    let fill =
        ["fill /data/a 6000000", "fill /data/b 6000000", "rm /data/b", "fill /data/c 4000000"];
    let mut spec = pod.spec("fs-probe", &fill).await;
    spec.mounts = table;
    assert_eq!(pod.sandbox.start(spec).await.unwrap().wait().await.code, 0);
    let log = pod.log();
    let said: Vec<&str> = log.lines().filter_map(|line| Some(line.split_once(" => ")?.1)).collect();
    assert_eq!((said[0], said[2], said[3]), ("ok", "ok", "ok"), "{log}");
    assert_ne!(said[1], "ok", "{log}");
    assert_eq!(quota.used(), 10_000_000);
}
