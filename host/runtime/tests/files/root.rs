//! The root layer: the image's files under made-up ones under what the guest writes.

use crate::script::{check, tree};
use coracle_runtime::mounts::{Mount, MountTable, RootSpec};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use tempfile::TempDir;

/// An image with `/app/{bin,conf}`, `/app/sub/x`, `/etc/hosts` and a link `/var/run -> /run`.
fn image(disk: &Path) {
    let image = disk.join("image");
    for dir in ["app/sub", "etc", "run", "var", "empty"] {
        fs::create_dir_all(image.join(dir)).expect("create");
    }
    fs::write(image.join("app/bin"), "binary").expect("write");
    fs::write(image.join("app/conf"), "default").expect("write");
    fs::write(image.join("app/sub/x"), "x").expect("write");
    fs::write(image.join("etc/hosts"), "of the image").expect("write");
    symlink("/run", image.join("var/run")).expect("link");
    symlink("conf", image.join("app/link")).expect("link");
    fs::create_dir(disk.join("scratch")).expect("create");
}

fn table(disk: &Path, writable: bool) -> MountTable {
    let root = RootSpec {
        image: Some(disk.join("image")),
        files: vec![
            ("/etc/hosts".to_owned(), "127.0.0.1 localhost".into()),
            ("/etc/resolv.conf".to_owned(), "nameserver".into()),
        ],
        dirs: vec!["/tmp".to_owned()],
        scratch: writable.then(|| disk.join("scratch")),
        quota: None,
    };
    MountTable::builder()
        .root(root)
        .mount("/var/run/secrets/token", Mount::bytes("token"))
        .and_then(|table| table.build())
        .expect("sound")
}

fn entries(dir: &Path) -> usize {
    fs::read_dir(dir).expect("read").count()
}

#[test]
fn made_up_files_lie_over_the_image() {
    let disk = TempDir::new().expect("a directory");
    image(disk.path());
    let table = table(disk.path(), true);
    check(
        &tree(&table),
        "ls / => app/ dev/ empty/ etc/ run/ tmp/ var/
         cat /etc/hosts => 127.0.0.1 localhost
         ls /etc => hosts resolv.conf
         cat /app/link => default
         cat /var/run/secrets/token => token
         ls /var/run => secrets/
         stat /dev/null => device
         cat /dev/null =>
         append /dev/null lost
         cat /dev/null =>
         write /dev/null lost
         ls /tmp =>
         ls /app => bin conf link@ sub/",
    );
    assert_eq!(entries(&disk.path().join("scratch")), 0, "nothing was written");
}

#[test]
fn writes_are_copied_up_and_the_image_stays() {
    let disk = TempDir::new().expect("a directory");
    image(disk.path());
    let table = table(disk.path(), true);
    let first = tree(&table);
    check(
        &first,
        "append /app/conf !
         cat /app/conf => default!
         cat /app/link => default!
         write /app/link new
         cat /app/conf => new
         append /etc/hosts +
         cat /etc/hosts => 127.0.0.1 localhost+
         write /tmp/x y
         mkdir /app/made
         write /app/sub/y z
         ls /app/sub => x y
         ls /app => bin conf link@ made/ sub/
         touch /app/bin
         mtime /app/bin => 86400.5
         cat /app/bin => binary
         touch /app/sub
         mtime /app/sub => 86400.5",
    );
    check(&tree(&table), "cat /app/conf => new\n cat /tmp/x => y");
    let other = self::table(disk.path(), true);
    check(&tree(&other), "cat /app/conf => default\n cat /tmp/x => ENOENT");
    let conf = fs::read_to_string(disk.path().join("image/app/conf")).expect("read");
    assert_eq!(conf, "default");
    assert_eq!(entries(&disk.path().join("scratch")), 1);
    drop((first, table, other));
    assert_eq!(entries(&disk.path().join("scratch")), 0, "thrown away with the container");
}

#[test]
fn removed_entries_stay_away() {
    let disk = TempDir::new().expect("a directory");
    image(disk.path());
    let table = table(disk.path(), true);
    check(
        &tree(&table),
        "rm /app/conf
         cat /app/conf => ENOENT
         cat /app/link => ENOENT
         ls /app => bin link@ sub/
         rm /app/conf => ENOENT
         new /app/conf
         cat /app/conf =>
         rm /app/conf
         cat /app/conf => ENOENT
         rmdir /app/sub => ENOTEMPTY
         rm /app/sub/x
         ls /app/sub =>
         rmdir /app/sub
         stat /app/sub => ENOENT
         mkdir /app/sub
         ls /app/sub =>
         cat /app/sub/x => ENOENT
         rm /app/link
         rm /etc/hosts
         cat /etc/hosts => ENOENT
         write /etc/hosts mine
         cat /etc/hosts => mine
         rmdir /empty
         write /empty file
         cat /empty => file
         cat /empty/x => ENOTDIR
         ls /app => bin sub/",
    );
}

#[test]
fn renames_in_the_root_layer() {
    let disk = TempDir::new().expect("a directory");
    image(disk.path());
    let table = table(disk.path(), true);
    check(
        &tree(&table),
        "mv /app/conf /app/renamed
         cat /app/renamed => default
         cat /app/conf => ENOENT
         mv /app/renamed /tmp/conf
         cat /tmp/conf => default
         mv /app/bin /tmp/conf
         cat /tmp/conf => binary
         ls /app => link@ sub/
         mv /app/sub /app/other => EXDEV
         mkdir /app/new
         write /app/new/file 1
         mv /app/new /app/newer
         cat /app/newer/file => 1
         mv /app/newer /app/newer/below => EINVAL
         mv /app/newer /empty
         cat /empty/file => 1
         mv /empty /app/sub => ENOTEMPTY
         mv /tmp/conf /empty => EISDIR
         mv /empty /tmp/conf => ENOTDIR
         mv /app/link /app/moved
         readlink /app/moved => conf
         mv /nosuch /x => ENOENT
         ln /etc/resolv.conf /etc/linked
         cat /etc/linked => nameserver
         ln /etc/resolv.conf /etc/linked => EEXIST
         ln /app /applink => EPERM",
    );
}

#[test]
fn a_read_only_root_refuses_every_change() {
    let disk = TempDir::new().expect("a directory");
    image(disk.path());
    let table = table(disk.path(), false);
    check(
        &tree(&table),
        "cat /app/conf => default
         write /app/conf x => EROFS
         new /app/conf => EEXIST
         write /tmp/x y => EROFS
         mkdir /x => EROFS
         mkdir /app => EEXIST
         rm /app/conf => EROFS
         rm /nosuch => ENOENT
         rmdir /empty => EROFS
         mv /app/conf /x => EROFS
         ln /app/conf /x => EROFS
         symlink x /y => EROFS
         touch /app/conf => EROFS
         append /dev/null x",
    );
}

#[test]
fn without_an_image_the_root_is_what_was_granted() {
    let table = MountTable::empty();
    check(
        &tree(&table),
        "ls / => 
         cat /etc/hosts => ENOENT
         stat / => dir
         write /x y => EROFS",
    );
}
