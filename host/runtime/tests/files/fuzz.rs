//! Any sequence of calls on a file tree, over a volume that others have filled with links: nothing
//! outside is read or changed, the quota never runs under or over, and nothing panics.
//!
//! `PROPTEST_CASES` makes it go on for longer.

use coracle_runtime::mounts::{
    Handle, Mount, MountTable, Open, Quota, RootSpec, SetTime, Times, Tree,
};
use proptest::prelude::*;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

/// What lies outside.
const SECRET: &[u8] = b"secret";

/// What the image and the read-only volume hold.
const GIVEN: &[u8] = b"given";

/// Bytes that the volume may hold.
const BYTES_MAX: u64 = 4096;

#[derive(Clone, Debug)]
enum Call {
    Read(String),
    Write(String, usize),
    Stat(String, bool),
    List(String),
    MakeDir(String),
    RemoveDir(String),
    Unlink(String),
    Symlink(String, String),
    Rename(String, String),
    Link(String, String),
    SetTimes(String, bool),
}

/// Paths of few names, so that calls meet; `OUT` is the folder outside as the host knows it.
fn path() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "a", "b", "c", ".", "..", "data", "ro", "one", "planted", "up", "self", "OUT", "secret",
        "", "tmp", "image",
    ]);
    (any::<bool>(), prop::collection::vec(name, 1..7)).prop_map(|(absolute, names)| {
        let path = names.join("/");
        if absolute { format!("/{path}") } else { path }
    })
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        path().prop_map(Call::Read),
        (path(), 0..6000_usize).prop_map(|(path, bytes)| Call::Write(path, bytes)),
        (path(), any::<bool>()).prop_map(|(path, follow)| Call::Stat(path, follow)),
        path().prop_map(Call::List),
        path().prop_map(Call::MakeDir),
        path().prop_map(Call::RemoveDir),
        path().prop_map(Call::Unlink),
        (path(), path()).prop_map(|(target, path)| Call::Symlink(target, path)),
        (path(), path()).prop_map(|(from, to)| Call::Rename(from, to)),
        (path(), path()).prop_map(|(from, to)| Call::Link(from, to)),
        (path(), any::<bool>()).prop_map(|(path, follow)| Call::SetTimes(path, follow)),
    ]
}

/// The host's folders and the tree over them.
struct Ground {
    folder: TempDir,
    quota: Arc<Quota>,
    table: MountTable,
}

impl Ground {
    fn new() -> Self {
        let folder = TempDir::new().expect("a directory");
        let at = |name: &str| folder.path().join(name);
        for name in ["outside", "data", "ro", "image", "scratch"] {
            fs::create_dir(at(name)).expect("create");
        }
        fs::write(at("outside/secret"), SECRET).expect("write");
        for name in ["ro/a", "image/image"] {
            fs::write(at(name), GIVEN).expect("write");
        }
        symlink(at("outside"), at("data/planted")).expect("link");
        symlink("../outside", at("data/up")).expect("link");
        symlink("/proc/self/cwd", at("data/self")).expect("link");
        let quota = Arc::new(Quota::new(BYTES_MAX, 0));
        let root = RootSpec {
            image: Some(at("image")),
            dirs: vec!["/tmp".to_owned()],
            scratch: Some(at("scratch")),
            quota: Some(Arc::new(Quota::new(BYTES_MAX, 0))),
            ..RootSpec::default()
        };
        let table = MountTable::builder()
            .root(root)
            .mount("/data", Mount::host(at("data")).quota(quota.clone()))
            .and_then(|table| table.mount("/ro", Mount::host(at("ro")).read_only()))
            .and_then(|table| table.mount("/data/one", Mount::bytes("one")))
            .and_then(|table| table.build())
            .expect("sound");
        Self { folder, quota, table }
    }

    fn outside(&self) -> String {
        self.folder.path().join("outside").to_string_lossy().trim_start_matches('/').to_owned()
    }

    /// Makes one call; gives what was read of a file that is not the tree's own.
    fn make(&self, tree: &Tree, call: &Call) -> Option<Vec<u8>> {
        let root = tree.root();
        let real = |path: &str| path.replace("OUT", &self.outside());
        match call {
            Call::Read(path) => {
                let how = Open { read: true, ..Open::default() };
                let Ok(Handle::File(file)) = tree.open(&root, &real(path), true, how) else {
                    return None;
                };
                return file.read(64, 0).ok().map(|bytes| bytes.to_vec());
            }
            Call::Write(path, bytes) => {
                let how = Open { write: true, create: true, ..Open::default() };
                if let Ok(Handle::File(file)) = tree.open(&root, &real(path), true, how) {
                    let _ = file.write(&vec![b'x'; *bytes], None);
                }
            }
            Call::Stat(path, follow) => {
                let _ = tree.stat(&root, &real(path), *follow);
            }
            Call::List(path) => {
                let how = Open { read: true, directory: true, ..Open::default() };
                if let Ok(Handle::Dir(dir)) = tree.open(&root, &real(path), true, how) {
                    let _ = tree.listing(&dir);
                }
            }
            Call::MakeDir(path) => {
                let _ = tree.make_dir(&root, &real(path));
            }
            Call::RemoveDir(path) => {
                let _ = tree.remove_dir(&root, &real(path));
            }
            Call::Unlink(path) => {
                let _ = tree.unlink(&root, &real(path));
            }
            Call::Symlink(target, path) => {
                let _ = tree.symlink(&real(target), &root, &real(path));
            }
            Call::Rename(from, to) => {
                let _ = tree.rename(&root, &real(from), &root, &real(to));
            }
            Call::Link(from, to) => {
                let _ = tree.link(&root, &real(from), &root, &real(to));
            }
            Call::SetTimes(path, follow) => {
                let times = Times { accessed: SetTime::Now, modified: SetTime::Keep };
                let _ = tree.set_times(&root, &real(path), *follow, times);
            }
        }
        None
    }
}

/// Bytes of the regular files below a folder; a file with two names counts once.
fn bytes_below(folder: &Path, seen: &mut Vec<u64>) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let mut sum = 0;
    for entry in fs::read_dir(folder).expect("list") {
        let entry = entry.expect("an entry");
        let facts = entry.metadata().expect("facts");
        if facts.is_dir() {
            sum += bytes_below(&entry.path(), seen);
        } else if facts.is_file() && !seen.contains(&facts.ino()) {
            seen.push(facts.ino());
            sum += facts.len();
        }
    }
    sum
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_calls_lead_outside(calls in prop::collection::vec(call(), 1..40)) {
        let ground = Ground::new();
        let tree = Tree::new(ground.table.clone());
        for call in &calls {
            let read = ground.make(&tree, call);
            if let Some(read) = read {
                // What it was given, as it was or with its own bytes appended, and its own bytes.
                let rest = [&b"one"[..], GIVEN].iter().find_map(|given| read.strip_prefix(*given));
                let is_own = rest.unwrap_or(&read).iter().all(|byte| *byte == b'x');
                prop_assert!(is_own, "{call:?} read {read:?}");
            }
        }
        let at = |name: &str| ground.folder.path().join(name);
        let untouched =
            [("outside", "secret", SECRET), ("ro", "a", GIVEN), ("image", "image", GIVEN)];
        for (folder, file, text) in untouched {
            prop_assert_eq!(fs::read_dir(at(folder)).expect("list").count(), 1, "{}", folder);
            prop_assert_eq!(fs::read(at(folder).join(file)).expect("read"), text);
        }
        let held = bytes_below(&at("data"), &mut Vec::new());
        prop_assert_eq!(ground.quota.used(), held, "the quota knows what the volume holds");
        prop_assert!(held <= BYTES_MAX);
    }
}
