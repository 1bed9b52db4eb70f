//! What a machine has to have for Coracle: next to nothing. Server and host as a user without any right,
//! on a machine whose disks are read-only but for the data directory, with no other program to call and
//! no container engine.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use coracle_e2e::{
    HELLO, KUBECTL_NEW, build_guests, cache, container, coracle, eventually, free_port, guest_in,
    kubectl, pod,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// Nobody, by the number that it has everywhere.
const USER: u32 = 65_534;

/// Makes the machine: `FOLDER` holds the data directory, the program and the tools. Everything else is
/// read-only, `/run` and `/var/run`, where the sockets of container engines lie, are empty, and what is
/// in `/dev/shm` is this machine's own memory.
const MACHINE: &str = r#"
set -eu
mount --make-rprivate /
mount -t tmpfs -o ro,size=4k none /run
[ -L /var/run ] || mount -t tmpfs -o ro,size=4k none /var/run
mount -t tmpfs -o size=64m,mode=1777 none /dev/shm
mount --bind "$FOLDER/data" "$FOLDER/data"
touch "$FOLDER/coracle"
mount --bind "$PROGRAM" "$FOLDER/coracle"
mount --bind "$TOOLS" "$FOLDER/tools"
cut -d' ' -f5 /proc/self/mountinfo | while read -r place; do
    case "$place" in
        "$FOLDER/data"|/dev|/dev/*|/proc|/proc/*|/sys|/sys/*|/run/*|/var/run/*) ;;
        *) mount -o remount,bind,ro "$place" ;;
    esac
done
exec setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all --ambient-caps=-all \
    --bounding-set=-all --no-new-privs env -i HOME="$FOLDER/data" \
    XDG_CONFIG_HOME="$FOLDER/data/config" PATH="$FOLDER/no-such-folder" \
    "$FOLDER/coracle" --data-dir "$FOLDER/data/state" "$@"
"#;

/// A server with its host, on such a machine.
struct Machine {
    folder: tempfile::TempDir,
    server: Child,
}

impl Machine {
    fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("coracle-e2e-").tempdir().unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        for name in ["data", "tools"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        chown(folder.path().join("data"), Some(USER), Some(USER)).unwrap();
        let log = std::fs::File::create(folder.path().join("server.log")).unwrap();
        let listen = format!("127.0.0.1:{}", free_port());
        let server = Command::new("unshare")
            .args(["--mount", "--", "sh", "-c", MACHINE, "machine", "server", "--listen", &listen])
            .env("FOLDER", folder.path())
            .env("PROGRAM", coracle())
            .env("TOOLS", zig())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { folder, server }
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("data/state")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("server.log")).unwrap()
    }

    /// The processes of the cluster, which all must be there.
    fn processes(&self) -> [i32; 3] {
        ["server", "host", "supervisor"].map(|role| {
            let path = self.state().join(format!("{role}.lock"));
            std::fs::read_to_string(path).unwrap().trim().parse().unwrap()
        })
    }

    /// Runs a program of the machine as its user, with `path` to look for others.
    fn run(&self, folder: &Path, path: &Path, arguments: &[&str]) -> Output {
        let server = self.server.id().to_string();
        Command::new("nsenter")
            .args(["--mount", "--target", &server, "setpriv", "--reuid=65534", "--regid=65534"])
            .args(["--clear-groups", "--inh-caps=-all", "--ambient-caps=-all"])
            .args(["--bounding-set=-all", "--no-new-privs", "env", "-i", "-C"])
            .arg(folder)
            .arg(format!("PATH={}", path.display()))
            .arg(format!("HOME={}", self.folder.path().join("data").display()))
            .arg(format!("KUBECONFIG={}", self.state().join("kubeconfig").display()))
            .arg(self.folder.path().join("coracle"))
            .args(arguments)
            .output()
            .unwrap()
    }

    fn kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new(kubectl(KUBECTL_NEW))
            .args(arguments)
            .env("KUBECONFIG", self.state().join("kubeconfig"))
            .env("HOME", self.folder.path())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Makes an object, and gives it once it has a value at a JSON path.
    fn shows(&self, object: &Value, name: &str, path: &str, wanted: &str) {
        let file = self.folder.path().join("object.json");
        std::fs::write(&file, object.to_string()).unwrap();
        self.kubectl(&["apply", "-f", file.to_str().unwrap()]).unwrap();
        eventually(&format!("{name} has {wanted}"), || {
            match self.kubectl(&["get", name, "-o", &format!("jsonpath={{{path}}}")]) {
                Ok(value) if value == wanted => Ok(()),
                other => Err((other, self.log())),
            }
        });
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for role in ["supervisor", "server", "host"] {
            let pid = std::fs::read_to_string(self.state().join(format!("{role}.lock")));
            let pid = pid.ok().and_then(|pid| Pid::from_raw(pid.trim().parse().ok()?));
            if let Some(pid) = pid {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// The folder of the Zig compiler that the guests in C are built with.
fn zig() -> PathBuf {
    let libraries = std::fs::read_dir(cache().join("languages-python/lib")).unwrap();
    let folders = libraries.map(|python| python.unwrap().path().join("site-packages/ziglang"));
    folders.into_iter().find(|folder| folder.join("zig").exists()).unwrap()
}

/// Rows `os.criteria`, `os.immutable`, `cri.docker`, `ci.dind`.
#[test]
fn nothing_is_needed_but_a_folder() {
    let _ = guest_in("c");
    let hello = build_guests("tests/guests").join("hello_http.wasm");
    let machine = Machine::start();
    eventually("the node is Ready", || {
        let path = "jsonpath={.items[*].status.conditions[?(@.type=='Ready')].status}";
        match machine.kubectl(&["get", "nodes", "-o", path]) {
            Ok(ready) if ready == "True" => Ok(()),
            other => Err((other, machine.log())),
        }
    });
    for process in machine.processes() {
        has_no_rights(process);
        writes_to_one_folder(process, machine.folder.path());
        sees_no_container_engine(process);
    }
    let bin = machine.folder.path().join("data/bin");
    let copied = machine.folder.path().join("data/hello.wasm");
    std::fs::create_dir(&bin).unwrap();
    std::fs::copy(hello, &copied).unwrap();
    let pushed =
        machine.run(&machine.state(), &bin, &["push", "hello:1", copied.to_str().unwrap()]);
    assert!(pushed.status.success(), "{pushed:?}");
    let web = container("web", HELLO, &json!({"ports": [{"containerPort": 8080}]}));
    let web = pod("web", &json!({"containers": [web]}));
    machine.shows(&web, "pod/web", ".status.containerStatuses[0].ready", "true");
    builds_and_pushes(&machine, &bin);
}

/// Rows `os.criteria`: no user id but nobody's, and not one capability, now or to come.
fn has_no_rights(process: i32) {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let value = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_start_matches(':').split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    for ids in ["Uid", "Gid"] {
        assert_eq!(value(ids), ["65534"; 4], "{status}");
    }
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(value(set), ["0000000000000000"], "{set} of {status}");
    }
    assert_eq!((value("NoNewPrivs"), value("Groups").len()), (vec!["1".to_owned()], 0));
}

/// Row `os.immutable`: of all file systems on disks only the data directory's can be written.
fn writes_to_one_folder(process: i32, folder: &Path) {
    let mounts = std::fs::read_to_string(format!("/proc/{process}/mountinfo")).unwrap();
    let writable: Vec<&str> = mounts
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            let below = |root: &str| fields[4].starts_with(&format!("{root}/"));
            let is_kernels = ["/dev", "/proc", "/sys"].iter().any(|r| fields[4] == *r || below(r));
            // An empty file system lies over whatever is mounted there.
            let is_covered = below("/run") || below("/var/run");
            let can_be = !fields[5].split(',').any(|option| option == "ro");
            (can_be && !is_kernels && !is_covered).then_some(fields[4])
        })
        .collect();
    assert_eq!(writable, [folder.join("data").to_str().unwrap()], "{mounts}");
}

/// Row `cri.docker`: neither Docker nor containerd, nor a program that could call them.
fn sees_no_container_engine(process: i32) {
    let root = PathBuf::from(format!("/proc/{process}/root"));
    for socket in ["run/docker.sock", "run/containerd/containerd.sock", "run/crio/crio.sock"] {
        assert!(!root.join(socket).exists(), "{socket}");
    }
    let environment = std::fs::read_to_string(format!("/proc/{process}/environ")).unwrap();
    let path = environment.split('\0').find_map(|line| line.strip_prefix("PATH=")).unwrap();
    assert!(!root.join(path.trim_start_matches('/')).exists(), "{path}");
}

/// Row `ci.dind`: a component is built and pushed by the same user, and then runs.
fn builds_and_pushes(machine: &Machine, bin: &Path) {
    let folder = machine.folder.path();
    let script = format!(
        "#!/bin/sh\nexport ZIG_GLOBAL_CACHE_DIR={0}/data/zig ZIG_LOCAL_CACHE_DIR={0}/data/zig\n\
         exec {0}/tools/zig \"$@\"\n",
        folder.display()
    );
    std::fs::write(bin.join("zig"), script).unwrap();
    std::fs::set_permissions(bin.join("zig"), PermissionsExt::from_mode(0o755)).unwrap();
    let (work, kept) = (folder.join("data/work"), folder.join("data/zig"));
    std::fs::create_dir(&work).unwrap();
    // What Zig has compiled of the C library before: the guest in C was built with it a moment ago.
    let before = cache().parent().unwrap().join("zig");
    let copied = Command::new("cp").arg("-r").args([&before, &kept]).status().unwrap();
    assert!(copied.success() || !before.exists());
    let owned = Command::new("chown").args(["-R", "65534:65534"]).args([&work, &kept]).status();
    assert!(owned.unwrap().success() || !kept.exists());
    let path = PathBuf::from(format!("{}:/usr/bin:/bin", bin.display()));
    for (within, arguments) in [
        (work.clone(), &["new", "c-command", "built"][..]),
        (work.join("built"), &["build"]),
        (work.join("built"), &["push", "built:1", "built.wasm"]),
    ] {
        let output = machine.run(&within, &path, arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
    let image = "registry.coracle.internal/built:1";
    let spec = json!({"restartPolicy": "Never", "containers": [container("c", image, &json!({}))]});
    machine.shows(&pod("built", &spec), "pod/built", ".status.phase", "Succeeded");
}
