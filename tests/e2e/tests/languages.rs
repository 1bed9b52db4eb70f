//! Guests as users bring them: other languages, and images in every public layout, run unchanged.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use coracle_e2e::{Cluster, build_guests, eventually, get, guest_in, root};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// A pod that runs once: greets, reads a file of a ConfigMap, ends with a code.
fn command(name: &str, image: &str, code: &str) -> String {
    let container = json!({"name": "c", "image": image,
        "args": ["kubectl", "/etc/notes/note", code],
        "volumeMounts": [{"name": "notes", "mountPath": "/etc/notes"}]});
    let spec = json!({"restartPolicy": "Never", "containers": [container],
        "volumes": [{"name": "notes", "configMap": {"name": "notes"}}]});
    pod(name, &spec)
}

fn pod(name: &str, spec: &Value) -> String {
    let metadata = json!({"name": name, "labels": {"app": name}});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}).to_string()
}

/// A pod that serves, and a Service at a node port of the cluster.
fn server(cluster: &Cluster, name: &str, image: &str, index: u16) -> u16 {
    let port = cluster.node_port(index);
    let authority = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";
    let env = json!([{"name": "NAME", "value": "kubectl"}, {"name": "SSL_CERT_FILE", "value": authority}]);
    let container = json!({"name": "c", "image": image, "env": env,
        "ports": [{"containerPort": 8080}],
        "volumeMounts": [{"name": "notes", "mountPath": "/etc/notes"}]});
    let volumes = json!([{"name": "notes", "configMap": {"name": "notes"}},
        {"name": "kept", "emptyDir": {}}]);
    let spec = json!({"containers": [container], "volumes": volumes});
    let annotations = json!({"coracle.dev/keyvalue.c": "kept"});
    let metadata = json!({"name": name, "labels": {"app": name}, "annotations": annotations});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec});
    cluster.apply(&pod.to_string());
    let spec = json!({"type": "NodePort", "selector": {"app": name},
        "ports": [{"port": 80, "targetPort": 8080, "nodePort": port}]});
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": spec});
    cluster.apply(&service.to_string());
    port
}

fn ended(cluster: &Cluster, name: &str) -> i64 {
    eventually(&format!("{name} has ended"), || {
        let shown = cluster.get(&["pod", name]);
        let state = &shown["status"]["containerStatuses"][0]["state"];
        state["terminated"]["exitCode"].as_i64().ok_or_else(|| shown["status"].clone())
    })
}

fn answers(port: u16, path: &str, want: &str) {
    eventually(want, || match get(port, path) {
        Ok(answer) if answer.status == 200 && answer.body == want => Ok(()),
        other => Err(other),
    });
}

#[test]
fn programs_in_other_languages_run_as_their_tools_build_them() {
    let cluster = Cluster::start();
    cluster.apply(
        r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"notes"},"data":{"note":"read"}}"#,
    );
    for (language, said, code) in
        [("c", "hello from C, kubectl: read\n", 7), ("go", "hello from Go, kubectl: read\n", 9)]
    {
        cluster.push(&format!("{language}:1"), &guest_in(language));
        let image = format!("registry.coracle.internal/{language}:1");
        cluster.apply(&command(language, &image, &code.to_string()));
        assert_eq!(ended(&cluster, language), code, "{}", cluster.run(&["logs", language]));
        assert_eq!(cluster.run(&["logs", language]), said);
    }
    for (index, (language, said)) in [
        ("python", "hello from Python, kubectl\n"),
        ("javascript", "hello from JavaScript, /asked?for=it\n"),
        ("go-http", "hello from Go, kubectl\n"),
    ]
    .into_iter()
    .enumerate()
    {
        cluster.push(&format!("{language}:1"), &guest_in(language));
        let image = format!("registry.coracle.internal/{language}:1");
        let port = server(&cluster, language, &image, index as u16);
        answers(port, "/asked?for=it", said);
    }
    reads_mounts_and_speaks_to_the_api(cluster.node_port(0));
    reads_mounts_and_speaks_to_the_api(cluster.node_port(2));
    the_go_sdk_has_what_go_programs_expect(&cluster, cluster.node_port(2));
}

/// `net/http` both ways, goroutines that wait for the host and for the time, values, a heap that grows, a log.
fn the_go_sdk_has_what_go_programs_expect(cluster: &Cluster, port: u16) {
    answers(port, "/count", "7 7 [of]\n");
    answers(port, "/heap", "32 blocks\n");
    answers(port, "/both", "200 23 hello from Go,; 200 250000 echo echo echo; slept\n");
    eventually("a panic is an answer of its own, and in the log", || {
        let answer = get(port, "/panic");
        let log = cluster.run(&["logs", "go-http"]);
        let is_told = log.contains("panic while answering GET /panic: as asked");
        let is_logged = log.contains(r#"asked for=it"#);
        match answer {
            Ok(answer) if answer.status == 500 && is_told && is_logged => Ok(()),
            other => Err(format!("{other:?}: {log}")),
        }
    });
}

/// The pod's account has no rights: the API knows it by its token, and says so.
fn reads_mounts_and_speaks_to_the_api(port: u16) {
    answers(port, "/note", "read");
    let refused = "User \"system:serviceaccount:default:default\" cannot list resource \"pods\"";
    eventually("the API answers", || match get(port, "/pods") {
        Ok(answer) if answer.status == 403 && answer.body.contains(refused) => Ok(()),
        other => Err(other),
    });
}

/// All that the SDK for Rust has adds little to a guest, but for what the feature `kube` needs.
#[test]
fn the_sdk_adds_a_hundred_kilobytes_at_most() {
    build_guests("sdk/rust/size");
    let built = root().join("examples/target/wasm32-wasip2/release");
    let size = |name: &str| std::fs::metadata(built.join(name)).unwrap().len();
    let (with, without) = (size("sdk-size-with.wasm"), size("sdk-size-without.wasm"));
    assert!(with > without && with - without <= 100_000, "{with} - {without}");
}

/// What of the SDK for Go needs no host is tried where the tests run; all of it is looked at as it is built.
#[test]
fn the_go_sdk_passes_its_own_tests() {
    let go = |arguments: &[&str], system: &str, machine: &str| {
        let mut go = std::process::Command::new("go");
        go.args(arguments).envs([
            ("GOOS", system),
            ("GOARCH", machine),
            ("GOFLAGS", "-buildvcs=false"),
        ]);
        let output = go.current_dir(root().join("sdk/go")).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        said
    };
    let said = go(&["test", "./..."], "", "");
    assert!(
        said.contains("coracle.dev/sdk/kube") && said.contains("coracle.dev/sdk/config"),
        "{said}"
    );
    go(&["vet", "./..."], "wasip1", "wasm");
}

/// The leader of the SDK for JavaScript renews its lease while it works, and not after.
#[test]
fn a_lease_is_kept_for_as_long_as_the_work_takes() {
    let mut node = std::process::Command::new("node");
    let script = root().join("tests/languages/sdk/lease.mjs");
    let output = node.arg(script).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Some bytes that others find by their digest.
type Blobs = HashMap<String, Vec<u8>>;

/// A registry on this machine that has what it was made with, and takes nothing.
struct Registry {
    port: u16,
}

impl Registry {
    fn serve(content: Blobs) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that has gone is no concern of the others.
                let _ = answer(stream, &content);
            }
        });
        Self { port }
    }

    fn image(&self, name: &str) -> String {
        format!("127.0.0.1:{}/{name}", self.port)
    }
}

/// Answers one request by the last part of its path: a tag or a digest.
fn answer(mut stream: TcpStream, content: &Blobs) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let asked = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    let name = asked.split(' ').nth(1).unwrap_or_default().rsplit('/').next().unwrap_or_default();
    let (status, body) = match content.get(name) {
        Some(body) => ("200 OK", body.as_slice()),
        None if name.is_empty() => ("200 OK", &b"{}"[..]),
        None => ("404 Not Found", &b"{}"[..]),
    };
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let mut head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-type: {kind}\r\n");
    let _ = write!(head, "content-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes())?;
    if asked.starts_with("HEAD") { Ok(()) } else { stream.write_all(body) }
}

/// Keeps a blob under its digest, and gives its descriptor.
fn keep(content: &mut Blobs, media_type: &str, bytes: Vec<u8>) -> Value {
    let hash: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let (digest, size) = (format!("sha256:{hash}"), bytes.len());
    content.insert(digest.clone(), bytes);
    json!({"mediaType": media_type, "digest": digest, "size": size})
}

fn manifest(content: &mut Blobs, tag: &str, config: &Value, layers: &[Value]) {
    let manifest = json!({"schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config, "layers": layers});
    content.insert(tag.to_owned(), manifest.to_string().into_bytes());
}

/// The CNCF Wasm artifact: one layer, which is the component.
fn artifact(content: &mut Blobs, tag: &str, wasm: &Path) {
    let layer = keep(content, "application/wasm", std::fs::read(wasm).unwrap());
    let config = json!({"architecture": "wasm", "os": "wasip2",
        "layerDigests": [layer["digest"]], "created": "2025-01-01T00:00:00Z"});
    let kind = "application/vnd.wasm.config.v0+json";
    let config = keep(content, kind, config.to_string().into_bytes());
    manifest(content, tag, &config, &[layer]);
}

/// The container image that containerd's shims run: files in a layer, one of which is the entry point.
fn container_image(content: &mut Blobs, tag: &str, wasm: &Path) {
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_path_with_name(wasm, "app/hello.wasm").unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_size(4);
    header.set_mode(0o644);
    archive.append_data(&mut header, "etc/notes/note", &b"read"[..]).unwrap();
    let archive = archive.into_inner().unwrap();
    let layer = keep(content, "application/vnd.oci.image.layer.v1.tar", archive);
    let config = json!({"architecture": "wasm", "os": "wasip1",
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
        "config": {"Entrypoint": ["/app/hello.wasm"], "Cmd": ["image", "/etc/notes/note", "5"]}});
    let kind = "application/vnd.oci.image.config.v1+json";
    let config = keep(content, kind, config.to_string().into_bytes());
    manifest(content, tag, &config, &[layer]);
}

#[test]
fn images_of_each_public_layout_run_from_a_registry_that_is_not_ours() {
    let guests = build_guests("tests/guests");
    let mut content = Blobs::new();
    artifact(&mut content, "artifact", &guest_in("go"));
    container_image(&mut content, "container", &guest_in("c"));
    artifact(&mut content, "http", &guests.join("hello_http.wasm"));
    let registry = Registry::serve(content);
    let cluster = Cluster::start();
    cluster.apply(
        r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"notes"},"data":{"note":"read"}}"#,
    );
    cluster.apply(&command("artifact", &registry.image("go:artifact"), "4"));
    assert_eq!(ended(&cluster, "artifact"), 4);
    let container = json!({"name": "c", "image": registry.image("c:container")});
    let spec = json!({"restartPolicy": "Never", "containers": [container]});
    cluster.apply(&pod("container", &spec));
    assert_eq!(ended(&cluster, "container"), 5);
    assert_eq!(cluster.run(&["logs", "container"]), "hello from C, image: read\n");
    answers(server(&cluster, "http", &registry.image("hello:http"), 2), "/", "hello\n");
}
