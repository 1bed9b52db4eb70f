//! Limits on what is written, and what gives room back.

use crate::script::{check, tree};
use coracle_runtime::mounts::{Mount, MountTable, Open, Quota, RootSpec, Tree};
use rustix::io::Errno;
use std::fs;
use std::sync::Arc;
use tempfile::TempDir;

#[test]
fn a_volume_is_full_at_its_limit() {
    let disk = TempDir::new().expect("a directory");
    let quota = Arc::new(Quota::new(1000, 0));
    let table = MountTable::builder()
        .mount("/data", Mount::host(disk.path()).quota(quota.clone()))
        .and_then(|table| table.build())
        .expect("sound");
    let tree = tree(&table);
    let used = |bytes: u64| assert_eq!(quota.used(), bytes);
    check(&tree, "fill /data/a 600\n fill /data/b 600 => ENOSPC\n fill /data/b 400");
    used(1000);
    check(&tree, "append /data/a x => ENOSPC\n write /data/a shorter");
    used(407);
    check(&tree, "write /data/a longer-text\n rm /data/b");
    used(11);
    check(&tree, "resize /data/a 1000\n resize /data/a 1001 => ENOSPC\n resize /data/a 10");
    used(10);
    check(&tree, "ln /data/a /data/c\n rm /data/a");
    used(10);
    check(&tree, "fill /data/d 90\n mv /data/d /data/c");
    used(90);
    check(&tree, "mv /data/c /data/c\n stat /data/c => file 90\n rm /data/c\n ls /data =>");
    used(0);
}

#[test]
fn the_copy_up_layer_is_charged() {
    let disk = TempDir::new().expect("a directory");
    let path = |name: &str| disk.path().join(name);
    fs::create_dir(path("image")).expect("create");
    fs::create_dir(path("scratch")).expect("create");
    fs::write(path("image/large"), vec![b'x'; 600]).expect("write");
    let pod = Arc::new(Quota::new(1000, 0));
    let root = RootSpec {
        image: Some(path("image")),
        scratch: Some(path("scratch")),
        quota: Some(pod.clone()),
        ..RootSpec::default()
    };
    let table = MountTable::builder().root(root).build().expect("sound");
    let tree = tree(&table);
    let used = |bytes: u64| assert_eq!(pod.used(), bytes);
    check(&tree, "fill /a 500\n append /large x => ENOSPC\n stat /large => file 600");
    used(500);
    check(&tree, "write /large y");
    used(501);
    check(&tree, "rm /a\n rm /large\n cat /large => ENOENT");
    used(0);
}

#[test]
fn open_files_are_bounded_for_the_container() {
    let disk = TempDir::new().expect("a directory");
    fs::write(disk.path().join("file"), "x").expect("write");
    let table = MountTable::builder()
        .mount("/data", Mount::host(disk.path()))
        .and_then(|table| table.mount("/text", Mount::bytes("text")))
        .and_then(|table| table.build())
        .expect("sound");
    let (one, two) = (tree(&table), tree(&table));
    let open = |tree: &Tree| {
        let how = Open { read: true, ..Open::default() };
        tree.open(&tree.root(), "/data/file", true, how)
    };
    let mut held: Vec<_> = (0..1024).map(|_| open(&one).expect("open")).collect();
    assert_eq!(open(&two).err(), Some(Errno::MFILE));
    held.pop();
    check(&two, "cat /data/file => x\n cat /text => text");
}
