//! The built-in registry with the clients that people push with.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;

use coracle_e2e::{Cluster, build_guests, eventually, oras};
use serde_json::json;

/// Runs oras against the cluster's registry, logged in with a token; the error is what it said.
fn run_oras(
    cluster: &Cluster,
    token: &str,
    folder: &Path,
    arguments: &[&str],
) -> Result<String, String> {
    let registry = cluster.registry();
    let arguments = arguments.iter().map(|part| part.replace("REGISTRY", &registry));
    let output = Command::new(oras())
        .args(arguments)
        .arg("--ca-file")
        .arg(cluster.data().join("pki/ca.crt"))
        .args(["--username", "token", "--password", token])
        .current_dir(folder)
        .env("HOME", cluster.folder())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = text(&output.stdout);
    if output.status.success() { Ok(said) } else { Err(said + &text(&output.stderr)) }
}

#[test]
fn oras_pushes_what_runs_and_rights_are_the_namespaces() {
    let guests = build_guests("tests/guests");
    let cluster = Cluster::start();
    cluster.run(&["create", "namespace", "shop"]);
    cluster.run(&["create", "namespace", "stock"]);
    cluster.run(&["-n", "shop", "create", "serviceaccount", "pusher"]);
    cluster.run(&[
        "-n",
        "shop",
        "create",
        "rolebinding",
        "pusher",
        "--clusterrole=edit",
        "--serviceaccount=shop:pusher",
    ]);
    let token = cluster.run(&["-n", "shop", "create", "token", "pusher"]);
    let token = token.trim();
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(guests.join("hello_http.wasm"), folder.path().join("app.wasm")).unwrap();
    std::fs::write(folder.path().join("config.json"), "{}").unwrap();
    let config = "config.json:application/vnd.wasm.config.v0+json";
    let push = |name: &str| {
        run_oras(
            &cluster,
            token,
            folder.path(),
            &["push", name, "--config", config, "app.wasm:application/wasm"],
        )
    };
    // Roles are summed up by a controller, a moment after the start.
    let said = eventually("the role allows it", || push("REGISTRY/shop/hello:1"));
    let digest = said.lines().find_map(|line| line.strip_prefix("Digest: ")).unwrap().to_owned();
    let refused = push("REGISTRY/stock/hello:1").unwrap_err();
    assert!(refused.contains("403") || refused.to_lowercase().contains("denied"), "{refused}");
    let run = |arguments: &[&str]| {
        run_oras(&cluster, token, folder.path(), arguments)
            .unwrap_or_else(|said| panic!("{arguments:?}: {said}"))
    };
    run(&["tag", "REGISTRY/shop/hello:1", "stable"]);
    assert_eq!(run(&["repo", "tags", "REGISTRY/shop/hello"]), "1\nstable\n");
    assert_eq!(run(&["resolve", "REGISTRY/shop/hello:stable"]).trim(), digest);
    std::fs::write(folder.path().join("sbom.json"), "{\"packages\":[]}").unwrap();
    run(&[
        "attach",
        "REGISTRY/shop/hello:1",
        "--artifact-type",
        "application/spdx+json",
        "sbom.json:application/json",
    ]);
    assert!(run(&["discover", "REGISTRY/shop/hello:1"]).contains("application/spdx+json"));
    run(&["pull", "REGISTRY/shop/hello:1", "--output", "pulled"]);
    let pulled = std::fs::read(folder.path().join("pulled/app.wasm")).unwrap();
    assert_eq!(pulled, std::fs::read(guests.join("hello_http.wasm")).unwrap());

    cluster.run(&[
        "-n",
        "shop",
        "run",
        "hello",
        "--image=registry.coracle.internal/shop/hello:1",
        "--port=80",
    ]);
    cluster.run(&["-n", "shop", "wait", "--for=condition=Ready", "pod/hello", "--timeout=60s"]);
    let id = cluster.run(&[
        "-n",
        "shop",
        "get",
        "pod",
        "hello",
        "-o",
        "jsonpath={.status.containerStatuses[0].imageID}",
    ]);
    assert!(id.ends_with(&format!("@{digest}")), "{id} {digest}");

    // The node takes images from a registry, and from nobody else.
    let node = cluster.run(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]);
    let upload = format!("/api/v1/nodes/{node}/proxy/v2/shop/hello/blobs/uploads/");
    let pushed = cluster.kubectl_with(&["create", "--raw", &upload, "-f", "-"], "{}");
    assert!(!pushed.ok && pushed.stderr.contains("MethodNotAllowed"), "{pushed:?}");

    // A tag that means one image for good.
    cluster.run(&["annotate", "namespace", "shop", "registry.coracle.dev/immutable-tags=true"]);
    std::fs::copy(guests.join("behave.wasm"), folder.path().join("app.wasm")).unwrap();
    let locked = eventually("the tag is locked", || match push("REGISTRY/shop/hello:1") {
        Ok(said) => Err(said),
        Err(said) => Ok(said),
    });
    assert!(locked.contains("409") || locked.contains("is locked"), "{locked}");
    let raw = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "again", "namespace": "shop"},
        "spec": {"containers": [{"name": "c", "image": "registry.coracle.internal/shop/hello:1", "imagePullPolicy": "Always"}]}});
    cluster.apply(&raw.to_string());
    cluster.run(&["-n", "shop", "wait", "--for=condition=Ready", "pod/again", "--timeout=60s"]);
    let id = cluster.run(&[
        "-n",
        "shop",
        "get",
        "pod",
        "again",
        "-o",
        "jsonpath={.status.containerStatuses[0].imageID}",
    ]);
    assert!(id.ends_with(&format!("@{digest}")), "{id} {digest}");
}
