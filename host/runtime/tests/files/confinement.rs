//! No path leads out of its mount, whatever links and `..` say.

use crate::script::{check, tree};
use coracle_runtime::mounts::{DirHandle, Handle, Mount, MountTable, Open, RootSpec, Tree};
use proptest::prelude::*;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;

/// A volume in a directory beside a secret.
fn table(disk: &Path) -> MountTable {
    for dir in ["volume/dir", "scratch", "image"] {
        fs::create_dir_all(disk.join(dir)).expect("create");
    }
    fs::write(disk.join("secret"), "secret").expect("write");
    fs::write(disk.join("volume/file"), "mine").expect("write");
    let root = RootSpec {
        image: Some(disk.join("image")),
        scratch: Some(disk.join("scratch")),
        ..RootSpec::default()
    };
    MountTable::builder()
        .root(root)
        .mount("/volume", Mount::host(disk.join("volume")))
        .and_then(|table| table.build())
        .expect("sound")
}

#[test]
fn links_of_the_host_lead_nowhere() {
    let disk = TempDir::new().expect("a directory");
    let table = table(disk.path());
    let secret = disk.path().join("secret");
    symlink(&secret, disk.path().join("volume/absolute")).expect("link");
    symlink("../secret", disk.path().join("volume/relative")).expect("link");
    symlink("..", disk.path().join("volume/up")).expect("link");
    symlink("/", disk.path().join("image/slash")).expect("link");
    symlink(disk.path(), disk.path().join("image/out")).expect("link");
    check(
        &tree(&table),
        "cat /volume/absolute => ENOENT
         cat /volume/relative => ENOENT
         cat /volume/up/secret => ENOENT
         cat /volume/../secret => ENOENT
         cat /volume/dir/../../secret => ENOENT
         cat /slash/volume/file => mine
         ls /slash => dev/ out@ slash@ volume/
         cat /out/secret => ENOENT
         write /volume/relative mine
         cat /secret => mine
         in /volume/dir cat ../../../../../secret => mine",
    );
    assert_eq!(fs::read_to_string(secret).expect("read"), "secret");
}

#[test]
fn a_sub_path_stays_in_its_volume() {
    let disk = TempDir::new().expect("a directory");
    let volume = disk.path().join("volume");
    fs::create_dir_all(volume.join("real/below")).expect("create");
    fs::create_dir(disk.path().join("outside")).expect("create");
    fs::write(volume.join("real/file"), "mine").expect("write");
    symlink("real", volume.join("inside")).expect("link");
    symlink("../outside", volume.join("up")).expect("link");
    symlink(disk.path().join("outside"), volume.join("absolute")).expect("link");
    let table = ["inside", "up", "absolute", "real/file", "real/../../outside", "nosuch"]
        .iter()
        .enumerate()
        .try_fold(MountTable::builder(), |table, (index, sub_path)| {
            table.mount(&format!("/m{index}"), Mount::sub_path(&volume, sub_path))
        })
        .and_then(|table| table.build())
        .expect("sound");
    check(
        &tree(&table),
        "ls /m0 => below/ file
         ls /m1 => EXDEV
         ls /m2 => EXDEV
         cat /m3 => mine
         ls /m4 => EXDEV
         ls /m5 => ENOENT",
    );
}

#[test]
fn pipes_and_devices_of_the_host_are_not_opened() {
    let disk = TempDir::new().expect("a directory");
    let table = table(disk.path());
    let pipe = disk.path().join("volume/pipe");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0)
        .expect("a pipe");
    check(
        &tree(&table),
        "stat /volume/pipe => other
         cat /volume/pipe => ENXIO
         ls /volume => dir/ file pipe?",
    );
}

/// One thread turns a directory into a link to the outside and back; the other walks through it.
#[test]
fn a_race_with_a_link_does_not_lead_out() {
    let disk = TempDir::new().expect("a directory");
    let table = table(disk.path());
    let inside = disk.path().join("volume/race");
    let aside = disk.path().join("volume/aside");
    fs::create_dir(&inside).expect("create");
    fs::write(inside.join("secret"), "mine").expect("write");
    symlink(disk.path(), disk.path().join("volume/evil")).expect("link");
    let evil = disk.path().join("volume/evil");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                fs::rename(&inside, &aside).expect("rename");
                fs::rename(&evil, &inside).expect("rename");
                fs::rename(&inside, &evil).expect("rename");
                fs::rename(&aside, &inside).expect("rename");
            }
        });
        let tree = tree(&table);
        let read = Open { read: true, ..Open::default() };
        for _ in 0..20_000 {
            let opened = tree.open(&tree.root(), "/volume/race/secret", true, read);
            if let Ok(Handle::File(file)) = opened {
                assert_eq!(&file.read(64, 0).expect("read")[..], b"mine");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

/// Paths of a few names, links and dots.
fn path() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        Just("a"),
        Just("b"),
        Just(".."),
        Just("."),
        Just("volume"),
        Just("secret"),
        Just("l"),
        Just(""),
    ];
    prop::collection::vec(name, 1..6).prop_map(|names| names.join("/"))
}

#[derive(Clone, Debug)]
enum Act {
    Write(String),
    Dir(String),
    Symlink(String, String),
    Rename(String, String),
    Remove(String),
    RemoveDir(String),
    Link(String, String),
    List(String),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        path().prop_map(Act::Write),
        path().prop_map(Act::Dir),
        (path(), path()).prop_map(|(target, path)| Act::Symlink(target, path)),
        (path(), path()).prop_map(|(from, to)| Act::Rename(from, to)),
        path().prop_map(Act::Remove),
        path().prop_map(Act::RemoveDir),
        (path(), path()).prop_map(|(from, to)| Act::Link(from, to)),
        path().prop_map(Act::List),
    ]
}

fn perform(tree: &Tree, act: &Act) {
    let root: DirHandle = tree.root();
    let write = Open { write: true, create: true, ..Open::default() };
    match act {
        Act::Write(path) => {
            if let Ok(Handle::File(file)) = tree.open(&root, path, true, write) {
                let _ = file.write(b"guest", None);
            }
        }
        Act::Dir(path) => drop(tree.make_dir(&root, path)),
        Act::Symlink(target, path) => drop(tree.symlink(target, &root, path)),
        Act::Rename(from, to) => drop(tree.rename(&root, from, &root, to)),
        Act::Remove(path) => drop(tree.unlink(&root, path)),
        Act::RemoveDir(path) => drop(tree.remove_dir(&root, path)),
        Act::Link(from, to) => drop(tree.link(&root, from, &root, to)),
        Act::List(path) => {
            let read = Open { read: true, directory: true, ..Open::default() };
            if let Ok(Handle::Dir(dir)) = tree.open(&root, path, true, read) {
                let names = tree.list(&dir).expect("an open directory");
                assert!(names.iter().all(|(name, _)| name != "scratch" && name != "image"));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn nothing_outside_is_read_or_changed(acts in prop::collection::vec(act(), 1..40)) {
        let disk = TempDir::new().expect("a directory");
        let table = table(disk.path());
        let tree = tree(&table);
        for act in &acts {
            perform(&tree, act);
        }
        let names = |dir: &Path| {
            let mut names: Vec<_> = fs::read_dir(dir).expect("read").map(|entry| entry.expect("entry").file_name()).collect();
            names.sort();
            names
        };
        prop_assert_eq!(names(disk.path()), ["image", "scratch", "secret", "volume"]);
        prop_assert_eq!(fs::read_to_string(disk.path().join("secret")).expect("read"), "secret");
        prop_assert!(names(&disk.path().join("image")).is_empty());
    }
}

#[test]
fn a_sub_path_is_resolved_while_others_rename() {
    let disk = TempDir::new().expect("a directory");
    let volume = disk.path().join("volume");
    fs::create_dir_all(volume.join("real")).expect("create");
    fs::write(volume.join("real/file"), "mine").expect("write");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (one, other) = (disk.path().join("one"), disk.path().join("other"));
            fs::write(&one, "").expect("write");
            for _ in 0..20_000 {
                fs::rename(&one, &other).expect("rename");
                fs::rename(&other, &one).expect("rename");
            }
        });
        for _ in 0..300 {
            let mount = Mount::sub_path(&volume, "real/../real/file");
            let table = MountTable::builder().mount("/m", mount).and_then(|table| table.build());
            check(&tree(&table.expect("sound")), "cat /m => mine");
        }
    });
}
