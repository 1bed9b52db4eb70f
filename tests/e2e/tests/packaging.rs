//! What a release holds, packed from the binary under test.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::path::Path;
use std::process::Command;

use coracle_e2e::{coracle, oras, root};

/// Runs a program, which has to succeed, and gives what it printed.
fn run(program: impl AsRef<Path>, arguments: &[&str], folder: &Path) -> String {
    let program = program.as_ref();
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).env("HOME", folder);
    command.env("GZIP_LEVEL", "1").env("SOURCE_DATE_EPOCH", "1700000000");
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// The arguments with which a unit starts the program.
fn started(unit: &str) -> Vec<String> {
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/coracle "));
    line.unwrap().split(' ').map(str::to_owned).collect()
}

/// Row `ci.branching`: what people run is a tagged version of a release branch, and nothing else is packed as one.
#[test]
fn only_a_tagged_commit_of_a_release_branch_is_a_release() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let cargo = |version: &str| {
        let text =
            format!("[workspace.package]\nversion = \"{version}\"\n\n[a]\nversion = \"9.9.9\"\n");
        std::fs::write(folder.join("Cargo.toml"), text).unwrap();
    };
    let git = |line: &str| {
        let who =
            ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"];
        run("git", &[&who[..], &line.split(' ').collect::<Vec<_>>()].concat(), folder)
    };
    let says = || {
        let mut command = Command::new(root().join("packaging/version"));
        let output = command.arg(folder).env("HOME", folder).output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.success(), text)
    };
    let refused = |words: &str| {
        let (good, said) = says();
        assert!(!good && said.starts_with("error: ") && said.contains(words), "{said}");
    };
    cargo("1.2.0");
    git("init --quiet --initial-branch=main");
    refused("not committed");
    git("add Cargo.toml");
    git("commit --quiet --message=one");
    git("tag v1.2.0");
    refused("not on the branch release-1.2");
    git("switch --quiet --create release-1.2");
    assert_eq!(says(), (true, "1.2.0\n".to_owned()));

    // A mend is another version, which its tag says as well.
    cargo("1.2.1");
    git("commit --quiet --all --message=two");
    refused("no tag v1.2.1");
    git("tag v1.2.1");
    assert_eq!(says(), (true, "1.2.1\n".to_owned()));
    // Work goes on elsewhere, whatever tag somebody gives it.
    git("switch --quiet main");
    cargo("1.3.0");
    git("commit --quiet --all --message=three");
    git("tag v1.3.0");
    refused("not on the branch release-1.3");
}

#[test]
fn a_release_holds_what_people_install() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    run("strip", &["-o", "coracle", coracle().to_str().unwrap()], folder);
    let pack = root().join("packaging/pack.py");
    let target = "x86_64-unknown-linux-musl";
    run(&pack, &["coracle", target, "dist"], folder);

    let dist = folder.join("dist");
    run("sha256sum", &["--check", "--strict", "SHA256SUMS"], &dist);
    let version = env!("CARGO_PKG_VERSION");
    let archive = format!("coracle-{version}-{target}.tar.gz");
    run("tar", &["xf", &archive, "--strip-components=1"], &dist);
    let said = run(dist.join("bin/coracle"), &["--version"], &dist);
    assert_eq!(said.split_whitespace().take(2).collect::<Vec<_>>(), ["coracle", version]);
    for file in ["man/man1/coracle-server.1", "completions/coracle.bash", "LICENSE"] {
        assert!(dist.join(file).metadata().unwrap().len() > 0, "{file}");
    }
    for unit in ["systemd/coracle.service", "systemd/coracle-host.service"] {
        let mut line = started(&std::fs::read_to_string(dist.join(unit)).unwrap());
        line.push("--help".to_owned());
        let line: Vec<&str> = line.iter().map(String::as_str).collect();
        run(dist.join("bin/coracle"), &line, &dist);
    }

    // A real client takes the image: it judges every digest and size.
    let image = format!("coracle-{version}-{target}.oci.tar:{version}");
    let copy = ["copy", "--from-oci-layout", &image, "--to-oci-layout", "taken:it"];
    run(oras(), &copy, &dist);
    let config = run(oras(), &["manifest", "fetch-config", "--oci-layout", "taken:it"], &dist);
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["config"]["Entrypoint"], serde_json::json!(["/coracle"]));
    assert_eq!(config["architecture"], "amd64");
}
