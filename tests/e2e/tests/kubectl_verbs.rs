//! Every verb of kubectl as a script with golden output, in the newest and the oldest version that have to work.
//!
//! `verbs/VERB.txt` holds remarks (`#: `), commands (`$ `, their further lines `> `) and what they print; what differs in the older
//! version is in `verbs/VERB@1.32.txt`. `UPDATE_EXPECT=1` writes what was printed.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::RwLock;

use coracle_e2e::{
    BEHAVE, Cluster, HELLO, KUBECTL_NEW, KUBECTL_OLD, build_guests, container, eventually, kubectl,
    sh,
};
use expect_test::expect_file;
use regex::Regex;
use serde_json::{Value, json};

/// Scripts that touch the node, on which the other version's pods are.
const ALONE: [&str; 4] = ["cordon", "drain", "taint", "uncordon"];

/// Verbs without a script: they ask no server.
const CLIENT_ONLY: [&str; 2] = ["kustomize", "plugin"];

/// What differs from run to run, and what stands for it.
const VARIABLE: [(&str, &str); 21] = [
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UID"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
    (r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", "TIME"),
    (r"sha256:[0-9a-f]{64}", "DIGEST"),
    (r"(X509SHA256=)[0-9a-f]{64}", "${1}DIGEST"),
    (r"wasmtime://[0-9a-f]{64}", "CONTAINER"),
    (r"127\.0\.0\.1:\d+", "ADDRESS"),
    (r"\b10\.(9[6-9]|10\d|11[01])\.\d+\.\d+", "CLUSTER-IP"),
    (r"\b10\.\d+\.\d+\.\d+", "POD-IP"),
    (r"\bfd[0-9a-f]{2}:[0-9a-f:]+", "POD-IP6"),
    (r"(wasi:[a-z/-]+)@\d+\.\d+\.\d+", "$1"),
    (r"NODE/\d+\.\d+\.\d+\.\d+", "NODE/IP"),
    (r"(kube-api-access)-[0-9a-z]{5}\b", "$1-RAND"),
    // The older kubectl does not say where.
    (r" deleted from NS namespace", " deleted"),
    (r#"(resourceVersion"?: )"\d+""#, "${1}\"N\""),
    (r"\b((\d+m)?\d+s|\d+m ago|just now)\b", "AGE"),
    (r"(:)3\d{4}(/TCP)", "${1}PORT${2}"),
    (r"(NodePort: .*)\b3\d{4}(/TCP)", "${1}PORT${2}"),
    (r"-[0-9a-z]{8,10}-[0-9a-z]{5}\b", "-HASH-RAND"),
    (r"(node-debugger-\S+)-[0-9a-z]{5}\b", "$1-RAND"),
    // Columns are as wide as what is in them.
    (r"(\S)  +", "$1  "),
];

/// One version of kubectl with a namespace of its own.
struct Client<'a> {
    cluster: &'a Cluster,
    folder: PathBuf,
    namespace: String,
    node: String,
    minor: &'static str,
    variable: Vec<(Regex, &'static str)>,
}

#[test]
fn every_verb() {
    let guests = build_guests("tests/guests");
    let cluster = Cluster::start();
    cluster.push_guests(&guests);
    // The last of the kinds that are made after the start.
    let conditions = "jsonpath={.status.conditions[?(@.type=='Established')].status}";
    for last in ["tlsroutes.gateway.networking.k8s.io", "capabilitypolicies.policy.coracle.dev"] {
        eventually("the kinds of the cluster's own are there", || {
            let crd = cluster.kubectl(&["get", "crd", last, "-o", conditions]);
            if crd.stdout == "True" { Ok(()) } else { Err(crd) }
        });
    }
    let node = cluster.get(&["nodes"])["items"][0]["metadata"]["name"].as_str().unwrap().to_owned();
    let clients =
        [KUBECTL_NEW, KUBECTL_OLD].map(|version| Client::new(&cluster, version, node.clone()));
    for client in &clients {
        every_verb_has_a_script(client);
        client.prepare();
    }
    let [new, old] = &clients;
    let node_lock = RwLock::new(());
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    std::thread::scope(|scope| {
        // The old version's files are written only where they differ from the new one's.
        let newest = scope.spawn(|| new.all(&node_lock));
        let newest = if update { Some(newest.join()) } else { None }.is_none_or(|end| end.is_ok());
        assert!(newest, "a script of the newest kubectl failed");
        old.all(&node_lock);
    });
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verbs")
}

/// The names of all scripts, in order.
fn scripts() -> BTreeSet<String> {
    let name = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let all = fs::read_dir(folder()).unwrap().map(|entry| name(entry.unwrap().path()));
    all.filter(|name| !name.contains('@')).collect()
}

fn every_verb_has_a_script(client: &Client<'_>) {
    let help = client.shell(client.folder.as_path(), "kubectl --help");
    let named = Regex::new(r"(?m)^  ([a-z-]+) {2,}\S").unwrap();
    let verbs: Vec<&str> = named.captures_iter(&help).map(|c| c.get(1).unwrap().as_str()).collect();
    assert!(verbs.len() > 40, "{help}");
    let scripts = scripts();
    let missing: Vec<_> = verbs
        .into_iter()
        .filter(|verb| !CLIENT_ONLY.contains(verb) && !scripts.contains(*verb))
        .collect();
    assert_eq!(missing, Vec::<&str>::new(), "verbs without a script");
}

impl<'a> Client<'a> {
    fn new(cluster: &'a Cluster, version: &str, node: String) -> Self {
        let minor = if version == KUBECTL_NEW { "1.35" } else { "1.32" };
        let namespace = format!("v{}", minor.replace('.', ""));
        let folder = cluster.folder().join(&namespace);
        fs::create_dir_all(&folder).unwrap();
        std::os::unix::fs::symlink(kubectl(version), folder.join("kubectl")).unwrap();
        fs::copy(cluster.kubeconfig(), folder.join("kubeconfig")).unwrap();
        let variable = VARIABLE.map(|(pattern, text)| (Regex::new(pattern).unwrap(), text));
        Self { cluster, folder, namespace, node, minor, variable: variable.into() }
    }

    /// Makes the namespace, and in it the pods that many scripts use.
    fn prepare(&self) {
        let namespace = &self.namespace;
        self.cluster.run(&["create", "namespace", namespace]);
        let set = format!("kubectl config set-context --current --namespace={namespace}");
        self.shell(&self.folder, &set);
        let tools = sh("tools", "echo begun; sleep 6000", &json!({}));
        let web =
            container("web", HELLO, &json!({"ports": [{"name": "http", "containerPort": 8080}]}));
        let pod = |name: &str, container: &Value| {
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace,
                "labels": {"app": name}}, "spec": {"containers": [container], "terminationGracePeriodSeconds": 1}})
        };
        self.cluster.make(&[pod("shell", &tools), pod("web", &web)]);
        self.cluster.run(&[
            "wait",
            "-n",
            namespace,
            "--for=condition=Ready",
            "pod/shell",
            "pod/web",
            "--timeout=180s",
        ]);
        // A container runs before it has said anything.
        eventually("the shell has begun", || {
            let said = self.cluster.kubectl(&["logs", "-n", namespace, "shell"]);
            if said.stdout == "begun\n" { Ok(()) } else { Err(said) }
        });
    }

    fn all(&self, node: &RwLock<()>) {
        for name in scripts() {
            if ALONE.contains(&name.as_str()) {
                let _alone = node.write().unwrap();
                self.script(&name);
            } else {
                let _together = node.read().unwrap();
                self.script(&name);
            }
        }
    }

    /// Runs a script and compares what it printed.
    fn script(&self, name: &str) {
        let common = folder().join(format!("{name}.txt"));
        let own = folder().join(format!("{name}@{}.txt", self.minor));
        let text = fs::read_to_string(&common).unwrap();
        let work = self.folder.join("work").join(name);
        fs::create_dir_all(&work).unwrap();
        let mut shown = String::new();
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            if line.starts_with("#: ") {
                shown += &format!("{line}\n");
            }
            let Some(first) = line.strip_prefix("$ ") else { continue };
            shown += &format!("{line}\n");
            let mut command = first.to_owned();
            while let Some(more) = lines.peek().and_then(|line| line.strip_prefix("> ")) {
                command += &format!("\n{more}");
                shown += &format!("> {more}\n");
                lines.next();
            }
            shown += &self.normal(&self.shell(&work, &command));
        }
        // The older version has a file of its own only where it prints something else.
        let updates = std::env::var_os("UPDATE_EXPECT").is_some() && self.minor == "1.32";
        let expected = if own.exists() || (updates && text != shown) { own } else { common };
        expect_file![expected].assert_eq(&shown);
    }

    /// Runs a command line in a folder; gives all that it prints, and its exit code when that is not 0.
    fn shell(&self, folder: &Path, command: &str) -> String {
        let path = std::env::var_os("PATH").unwrap().into_string().unwrap();
        let output = Command::new("bash")
            .args(["-c", &format!("set -o pipefail\nexec 2>&1\n{command}")])
            .env("PATH", format!("{}:{path}", self.folder.display()))
            .env("KUBECONFIG", self.folder.join("kubeconfig"))
            .env("HOME", &self.folder)
            .env("NS", &self.namespace)
            .env("NODE", &self.node)
            .env("BEHAVE", BEHAVE)
            .env("HELLO", HELLO)
            .env_remove("EDITOR")
            .current_dir(folder)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let mut text = String::from_utf8(output.stdout).unwrap();
        if !text.is_empty() && !text.ends_with('\n') {
            text += "\n";
        }
        match output.status.code() {
            Some(0) => text,
            code => {
                format!("{text}[{}]\n", code.map_or("signal".to_owned(), |code| code.to_string()))
            }
        }
    }

    /// What was printed, without what differs from run to run.
    fn normal(&self, printed: &str) -> String {
        let own = printed
            .replace(&self.namespace, "NS")
            .replace(&*self.folder.to_string_lossy(), "FOLDER");
        let node = Regex::new(&format!(r"\b{}\b", regex::escape(&self.node))).unwrap();
        let mut text = node.replace_all(&own, "NODE").into_owned();
        for (pattern, stands) in &self.variable {
            text = pattern.replace_all(&text, *stands).into_owned();
        }
        text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
    }
}
