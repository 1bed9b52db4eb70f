//! Paths, links, renames and races that try to leave their mounts.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coracle_runtime::mounts::{Mount, MountTable, Quota, RootSpec};
use rustix::fs::{CWD, FileType, Mode};

use crate::world::{Neighbour, PATIENCE, Pod, end, image, shown};

/// What the attacker must neither read nor change: a folder beside its volumes.
pub(crate) const SECRET: &str = "the neighbour's secret";

/// Commands of `fs-probe`, one a line, and what must come of each.
///
/// `OUTSIDE` is the path of the neighbour's folder on the host; `!` is any refusal.
const CASES: [(&str, &str); 21] = [
    ("dots", "cat /../../../../../../OUTSIDE/secret => NotFound"),
    ("dots below a mount", "cat /data/../../../../OUTSIDE/secret => NotFound"),
    ("absolute link", "symlink OUTSIDE/secret /data/l => ok\n cat /data/l => NotFound"),
    (
        "climbing link",
        "symlink ../../../../../../../../OUTSIDE/secret /data/l => ok\n cat /data/l => NotFound",
    ),
    (
        "link through proc",
        "symlink /proc/self/root/etc/passwd /data/l => ok\n cat /data/l => NotFound\n \
         cat /proc/1/root/etc/passwd => NotFound",
    ),
    (
        "links that somebody else left",
        "cat /data/planted => NotFound\n ls /data/planted-dir => NotFound\n \
         cat /data/planted-dir/secret => NotFound\n write /data/planted-dir/evil x => NotFound",
    ),
    (
        "writing through a link",
        "symlink OUTSIDE/new /data/l => ok\n write /data/l x => NotFound\n \
         rm /data/l => ok\n symlink ../../outside/new /data/l => ok\n write /data/l x => NotFound",
    ),
    ("hard link over the border", "ln /ro/file /data/f => CrossesDevices"),
    ("hard link to a link", "ln /data/planted /data/f => ok\n cat /data/f => NotFound"),
    ("rename over the border", "write /data/f x => ok\n mv /data/f /tmp/f => CrossesDevices"),
    ("rename of a mount", "mv /data /elsewhere => ResourceBusy\n mv /tmp /data => ResourceBusy"),
    (
        "read only",
        "write /ro/file x => ReadOnlyFilesystem\n mkdir /ro/d => ReadOnlyFilesystem\n \
         rm /ro/file => ReadOnlyFilesystem\n symlink x /ro/l => ReadOnlyFilesystem\n \
         mv /ro/file /ro/other => ReadOnlyFilesystem\n ln /ro/file /ro/other => ReadOnlyFilesystem",
    ),
    ("a pipe without a reader", "cat /data/pipe => !\n write /data/pipe x => !"),
    ("a socket", "cat /data/socket => !"),
    (
        "a circle of links",
        "symlink /data/b /data/a => ok\n symlink /data/a /data/b => ok\n \
         cat /data/a => FilesystemLoop\n write /data/b x => FilesystemLoop",
    ),
    (
        "a single file",
        "rm /one => ResourceBusy\n mkdir /one => !\n cat /one/below => NotADirectory\n \
         mv /one /two => ResourceBusy",
    ),
    ("a mount point", "rmdir /data => ResourceBusy\n rm-r /data => ResourceBusy"),
    ("the image's own", "cat /app => image\n write /app x => ok\n cat /app => x"),
    ("a name below a file", "cat /app/../app => NotADirectory"),
    ("a sub path that is a link", "ls /sub => !\n write /sub/evil x => !\n cat /sub/secret => !"),
    ("dev", "cat /dev/null => \n write /dev/null x => ok\n cat /dev/sda => NotFound"),
];

/// The host's side of one case.
pub(crate) struct Ground {
    folder: tempfile::TempDir,
}

impl Ground {
    pub(crate) fn new() -> Self {
        let ground = Self { folder: tempfile::tempdir().unwrap() };
        for folder in ["outside", "data", "ro", "image", "scratch"] {
            fs::create_dir(ground.at(folder)).unwrap();
        }
        fs::write(ground.at("outside/secret"), SECRET).unwrap();
        fs::write(ground.at("ro/file"), "read only").unwrap();
        fs::write(ground.at("image/app"), "image").unwrap();
        symlink(ground.at("outside/secret"), ground.at("data/planted")).unwrap();
        symlink(ground.at("outside"), ground.at("data/planted-dir")).unwrap();
        for (name, kind) in [("pipe", FileType::Fifo), ("socket", FileType::Socket)] {
            let path = ground.at("data").join(name);
            rustix::fs::mknodat(CWD, &path, kind, Mode::from_raw_mode(0o666), 0).unwrap();
        }
        ground
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn mounts(&self, quota_bytes: u64) -> MountTable {
        let quota = Arc::new(Quota::new(quota_bytes, 0));
        let root = RootSpec {
            image: Some(self.at("image")),
            dirs: vec!["/tmp".to_owned()],
            scratch: Some(self.at("scratch")),
            quota: Some(Arc::new(Quota::new(quota_bytes, 0))),
            ..RootSpec::default()
        };
        MountTable::builder()
            .root(root)
            .mount("/data", Mount::host(self.at("data")).quota(quota))
            .and_then(|table| table.mount("/ro", Mount::host(self.at("ro")).read_only()))
            .and_then(|table| table.mount("/one", Mount::host(self.at("ro/file"))))
            .and_then(|table| table.mount("/sub", Mount::sub_path(self.at("data"), "planted-dir")))
            .and_then(|table| table.build())
            .unwrap()
    }

    /// Nothing of the neighbour's was changed.
    pub(crate) fn check(&self, case: &str) {
        let left: Vec<_> = fs::read_dir(self.at("outside")).unwrap().collect();
        assert_eq!(left.len(), 1, "{case}: {left:?}");
        assert_eq!(fs::read_to_string(self.at("outside/secret")).unwrap(), SECRET, "{case}");
        assert_eq!(fs::read_to_string(self.at("ro/file")).unwrap(), "read only", "{case}");
        assert_eq!(fs::read_to_string(self.at("image/app")).unwrap(), "image", "{case}");
    }
}

/// Runs a guest of ours on the ground, and gives what it said.
pub(crate) async fn run(
    ground: &Ground,
    guest: &str,
    commands: &[&str],
    quota_bytes: u64,
) -> String {
    let pod = Pod::new();
    let mut spec = pod.spec(image(guest).await, commands);
    spec.mounts = ground.mounts(quota_bytes);
    let container = pod.sandbox.start(spec).await.unwrap();
    let exit = end(&container, &commands.join("; ")).await;
    format!("{}{}", pod.log(), shown(&exit))
}

fn is_as_wanted(line: &str, wanted: &str) -> bool {
    match wanted.strip_suffix("=> !") {
        Some(command) => line.strip_prefix(command).is_some_and(|said| {
            said.starts_with("=> ") && said != "=> ok" && !said.contains(SECRET)
        }),
        None => line.trim_end() == wanted.trim_end(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_path_leads_out_of_its_mounts() {
    let neighbour = Neighbour::start().await;
    for (case, script) in CASES {
        let ground = Ground::new();
        let outside = ground.at("outside").to_string_lossy().trim_start_matches('/').to_owned();
        let script: Vec<String> =
            script.lines().map(|line| line.trim_start().replace("OUTSIDE", &outside)).collect();
        let commands: Vec<&str> =
            script.iter().map(|line| line.split_once(" =>").unwrap().0).collect();
        let said = run(&ground, "fs-probe", &commands, 1 << 20).await;
        let mut lines = said.lines();
        for wanted in &script {
            let line = lines.next().unwrap_or_default();
            assert!(is_as_wanted(line, wanted), "{case}: wanted '{wanted}', got '{line}'");
        }
        assert_eq!(lines.collect::<Vec<_>>(), ["0 Completed"], "{case}");
        ground.check(case);
        neighbour.answers(case).await;
    }
}

/// Bombs of `hostile files`, and what must come of each.
const BOMBS: [(&str, &str); 10] = [
    ("files empty /data", "1024 then StorageFull"),
    ("files dirs /data", "1024 then StorageFull"),
    ("files links /tmp", "1024 then StorageFull"),
    ("files fill /data/f", "1048576 bytes"),
    ("files fill /tmp/f", "1048576 bytes"),
    ("files open /app", "1024 then OutOfMemory"),
    ("files extend /data/f 1099511627776", "StorageFull"),
    ("files maze /data", "FilesystemLoop"),
    ("files long 5000", "InvalidFilename"),
    ("files orphans /data", "256 then InputOutputError"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_bounded_in_number_and_size() {
    let neighbour = Neighbour::start().await;
    for (bomb, want) in BOMBS {
        let ground = Ground::new();
        let said = run(&ground, "hostile", &[bomb], 1 << 20).await;
        assert_eq!(said, format!("{bomb} => {want}\n0 Completed"));
        ground.check(bomb);
        neighbour.answers(bomb).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tree_that_is_deeper_than_any_path_is_removed_with_its_container() {
    let neighbour = Neighbour::start().await;
    let ground = Ground::new();
    let said = run(&ground, "hostile", &["files deep /tmp 20"], 64 << 20).await;
    assert_eq!(said, "files deep /tmp 20 => made\n0 Completed");
    let gone = async {
        // The container's last instance goes when its task does, right after its end is told.
        while fs::read_dir(ground.at("scratch")).unwrap().count() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
    let said = run(&ground, "hostile", &["files deep /data 20"], 64 << 20).await;
    assert_eq!(said, "files deep /data 20 => made\n0 Completed");
    coracle_runtime::mounts::remove_tree(&ground.at("data")).unwrap();
    assert!(!ground.at("data").exists());
    neighbour.answers("a deep tree").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_is_paid_for_with_the_containers_memory() {
    let neighbour = Neighbour::start().await;
    let ground = Ground::new();
    let pod = Pod::with("", Some(24 << 20));
    let commands = ["files many /data 20000", "files listings /data"];
    let mut spec = pod.spec(image("hostile").await, &commands);
    spec.mounts = ground.mounts(64 << 20);
    let container = pod.sandbox.start(spec).await.unwrap();
    let exit = end(&container, "listings").await;
    let log = pod.log();
    assert!(log.contains("files listings /data => refused true"), "{log}{exit:?}");
    assert_eq!(pod.sandbox.memory_bytes(), 0, "given back");
    neighbour.answers("listings").await;
}

/// One container lets a name be a directory and a link to the outside, in turns; the other reads
/// through it all the while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_race_of_renames_opens_nothing_outside() {
    let neighbour = Neighbour::start().await;
    let ground = Ground::new();
    let data = ground.at("data");
    fs::create_dir(data.join("moving")).unwrap();
    fs::write(data.join("moving/secret"), "inside").unwrap();
    symlink(ground.at("outside"), data.join("link")).unwrap();
    symlink(Path::new("../outside"), data.join("relative")).unwrap();
    let pod = Pod::new();
    let mut containers = Vec::new();
    for (name, attack) in
        [("swap", "files swap /data 3000"), ("peek", "files peek /data/moving/secret 6000")]
    {
        let mut spec = pod.spec(image("hostile").await, &[attack]);
        spec.name = name.to_owned();
        spec.log = Some(coracle_runtime::LogSpec::new(pod.folder.path().join(name)));
        spec.mounts = ground.mounts(1 << 20);
        containers.push(pod.sandbox.start(spec).await.unwrap());
    }
    for container in &containers {
        assert_eq!(end(container, "race").await.code, 0);
    }
    let said = fs::read_to_string(pod.folder.path().join("peek")).unwrap();
    assert!(said.contains("nothing else") && !said.contains("SAW"), "{said}");
    ground.check("race");
    neighbour.answers("race").await;
}
