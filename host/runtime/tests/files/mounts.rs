//! Mounts in one another, single files, read-only ones, and what crosses between them.

use crate::script::{check, tree};
use coracle_runtime::mounts::{Mount, MountTable, RootSpec};
use std::fs;
use std::os::unix::fs::symlink;
use tempfile::TempDir;

struct World {
    disk: TempDir,
    table: MountTable,
}

/// `/data` and `/data/inner/deep` are volumes, `/etc/app.conf` and `/etc/pinned` single files,
/// `/ro` is read-only.
fn world() -> World {
    let disk = TempDir::new().expect("a directory");
    let path = |name: &str| disk.path().join(name);
    for name in ["data", "deep", "ro", "scratch"] {
        fs::create_dir(path(name)).expect("create");
    }
    fs::write(path("conf"), "one").expect("write");
    fs::write(path("pinned"), "pinned").expect("write");
    fs::write(path("ro/file"), "fixed").expect("write");
    fs::write(path("deep/file"), "deep").expect("write");
    let pinned = fs::File::options().read(true).write(true).open(path("pinned")).expect("open");
    let table = MountTable::builder()
        .root(RootSpec {
            scratch: Some(path("scratch")),
            dirs: vec!["/tmp".to_owned()],
            ..RootSpec::default()
        })
        .mount("/data", Mount::host(path("data")))
        .and_then(|table| table.mount("/data/inner/deep", Mount::host(path("deep"))))
        .and_then(|table| table.mount("/etc/app.conf", Mount::host(path("conf")).read_only()))
        .and_then(|table| table.mount("/etc/pinned", Mount::file(pinned)))
        .and_then(|table| table.mount("/etc/text", Mount::bytes("text")))
        .and_then(|table| table.mount("/ro", Mount::host(path("ro")).read_only()))
        .and_then(|table| table.build())
        .expect("sound mounts");
    World { disk, table }
}

#[test]
fn listings_show_mount_points() {
    let world = world();
    check(
        &tree(&world.table),
        "ls / => data/ dev/ etc/ ro/ tmp/
         ls /etc => app.conf pinned text
         write /data/a x
         ls /data => a inner/
         ls /data/inner => deep/
         ls /data/inner/deep => file
         ls /dev => null%
         stat /data/inner => dir
         stat /data/inner/deep/file => file 4
         ls /ro/file => ENOTDIR
         ls /nosuch => ENOENT",
    );
}

#[test]
fn dots_and_links_cross_mounts_as_on_linux() {
    let world = world();
    check(
        &tree(&world.table),
        "write /data/a hello
         cat /data/inner/../a => hello
         cat /data/inner/deep/../../a => hello
         cat /../../data/./a => hello
         cat data//a => hello
         in /data/inner/deep cat ../../a => hello
         in /data cat inner/deep/file => deep
         symlink /data/a /tmp/absolute
         cat /tmp/absolute => hello
         symlink ../data/inner /tmp/relative
         cat /tmp/relative/deep/file => deep
         ls /tmp/relative/ => deep/
         symlink deep/../deep /data/inner/x => ENOENT
         readlink /tmp/absolute => /data/a
         readlink /data/a => EINVAL
         lstat /tmp/absolute => link
         symlink nowhere /tmp/dangling
         cat /tmp/dangling => ENOENT
         write /tmp/dangling made
         cat /tmp/nowhere => made
         symlink loop /tmp/loop
         cat /tmp/loop => ELOOP
         lstat /tmp/loop => link
         new /tmp/loop => EEXIST
         cat /data/a/.. => ENOTDIR
         cat /data/a/ => ENOTDIR
         cat /nosuch/../data/a => ENOENT",
    );
}

#[test]
fn nothing_moves_between_mounts() {
    let world = world();
    check(
        &tree(&world.table),
        "write /data/a x
         mv /data/a /tmp/a => EXDEV
         mv /data/a /data/inner/deep/a => EXDEV
         ln /data/a /tmp/a => EXDEV
         mv /data/a /data/b
         cat /data/b => x
         mv /data /tmp/data => EBUSY
         mv /data/inner /data/outer => EBUSY
         rmdir /data => EBUSY
         rmdir /data/inner => EBUSY
         rm /etc/app.conf => EBUSY
         mv /data/b /etc/pinned => EBUSY
         rmdir / => EBUSY
         mkdir /data => EEXIST
         mkdir /data/inner => EEXIST
         mkdir / => EBUSY",
    );
}

#[test]
fn single_files() {
    let world = world();
    let tree = tree(&world.table);
    check(
        &tree,
        "cat /etc/app.conf => one
         stat /etc/app.conf => file 3
         write /etc/app.conf two => EROFS
         cat /etc/app.conf/x => ENOTDIR
         cat /etc/text => text
         append /etc/text more => EROFS
         cat /etc/pinned => pinned
         write /etc/pinned changed
         cat /etc/pinned => changed
         new /etc/pinned => EEXIST
         mkdir /etc/pinned => EEXIST",
    );
    fs::remove_file(world.disk.path().join("pinned")).expect("remove");
    check(&tree, "cat /etc/pinned => changed");
}

#[test]
fn read_only_mounts_refuse_every_change() {
    let world = world();
    check(
        &tree(&world.table),
        "cat /ro/file => fixed
         write /ro/file x => EROFS
         write /ro/new x => EROFS
         append /ro/file x => EROFS
         new /ro/file => EEXIST
         mkdir /ro/dir => EROFS
         mkdir /ro/file => EEXIST
         rm /ro/file => EROFS
         rmdir /ro/dir => EROFS
         mv /ro/file /ro/other => EROFS
         ln /ro/file /ro/other => EROFS
         symlink x /ro/link => EROFS
         touch /ro/file => EROFS
         ls /ro => file",
    );
}

#[test]
fn files_come_and_go_in_a_volume() {
    let world = world();
    check(
        &tree(&world.table),
        "new /data/a
         new /data/a => EEXIST
         append /data/a one
         append /data/a two
         cat /data/a => onetwo
         write /data/a x
         cat /data/a => x
         ln /data/a /data/b
         rm /data/a
         cat /data/b => x
         touch /data/b
         mtime /data/b => 86400.5
         mkdir /data/d
         rm /data/d => EISDIR
         rmdir /data/b => ENOTDIR
         write /data/d/x y
         rmdir /data/d => ENOTEMPTY
         mv /data/d /data/e
         cat /data/e/x => y
         rm /data/e/x
         rmdir /data/e
         write /data/e x/ => ok
         write /data/nosuch/x y => ENOENT
         cat /data => EISDIR
         write /data x => EISDIR
         ls /data => b e inner/",
    );
}

#[test]
fn a_config_map_is_swapped_under_a_running_guest() {
    let world = world();
    let volume = world.disk.path().join("ro");
    fs::create_dir(volume.join("..1")).expect("create");
    fs::write(volume.join("..1/key"), "old").expect("write");
    symlink("..1", volume.join("..data")).expect("link");
    symlink("..data/key", volume.join("key")).expect("link");
    let tree = tree(&world.table);
    check(&tree, "cat /ro/key => old");
    fs::create_dir(volume.join("..2")).expect("create");
    fs::write(volume.join("..2/key"), "new").expect("write");
    symlink("..2", volume.join("..data_tmp")).expect("link");
    fs::rename(volume.join("..data_tmp"), volume.join("..data")).expect("swap");
    fs::remove_dir_all(volume.join("..1")).expect("remove");
    check(
        &tree,
        "cat /ro/key => new
         cat /ro/..data/key => new
         ls /ro => ..2/ ..data@ file key@",
    );
}

#[test]
fn bad_grants_are_refused() {
    let refused = |path: &str| MountTable::builder().mount(path, Mount::bytes("")).err();
    for path in ["", "/", "relative", "/a/../b", "/a/..", "/nul\0"] {
        assert!(refused(path).is_some(), "{path:?}");
    }
    let twice = MountTable::builder()
        .mount("/a/b", Mount::bytes(""))
        .and_then(|table| table.mount("//a/./b/", Mount::bytes("")))
        .err();
    assert_eq!(twice.expect("refused").to_string(), "mount point '//a/./b/' is taken twice");
    let file = RootSpec { files: vec![("etc/hosts".to_owned(), "".into())], ..RootSpec::default() };
    let refused = MountTable::builder().root(file).build().expect_err("refused").to_string();
    assert_eq!(refused, "file 'etc/hosts' must be an absolute path below '/' without '..'");
}
