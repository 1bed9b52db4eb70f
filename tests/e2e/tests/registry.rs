//! The built-in registry with the clients that people push with.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::PathBuf;
use std::process::Command;

use coracle_e2e::{Cluster, build_guests, eventually, oras};
use serde_json::json;
use tempfile::TempDir;

/// A cluster with an account that may push into the namespace `shop`.
struct Shop {
    cluster: Cluster,
    token: String,
    folder: TempDir,
    guests: PathBuf,
}

const IMAGE: &str = "registry.coracle.internal/shop/hello:1";

impl Shop {
    fn open() -> Self {
        let guests = build_guests("tests/guests");
        let cluster = Cluster::start();
        cluster.run(&["create", "namespace", "shop"]);
        cluster.run(&["create", "namespace", "stock"]);
        cluster.run(&["-n", "shop", "create", "serviceaccount", "pusher"]);
        let (role, account) = ("--clusterrole=edit", "--serviceaccount=shop:pusher");
        cluster.run(&["-n", "shop", "create", "rolebinding", "pusher", role, account]);
        let token = cluster.run(&["-n", "shop", "create", "token", "pusher"]).trim().to_owned();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), "{}").unwrap();
        Self { cluster, token, folder, guests }
    }

    /// Runs oras, logged in with the account's token; the error is what it said.
    fn oras(&self, arguments: &[&str]) -> Result<String, String> {
        let registry = self.cluster.registry();
        let arguments = arguments.iter().map(|part| part.replace("REGISTRY", &registry));
        let output = Command::new(oras())
            .args(arguments)
            .arg("--ca-file")
            .arg(self.cluster.data().join("pki/ca.crt"))
            .args(["--username", "token", "--password", &self.token])
            .current_dir(self.folder.path())
            .env("HOME", self.cluster.folder())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let said = text(&output.stdout);
        if output.status.success() { Ok(said) } else { Err(said + &text(&output.stderr)) }
    }

    /// Runs oras, which has to succeed.
    fn run(&self, arguments: &[&str]) -> String {
        self.oras(arguments).unwrap_or_else(|said| panic!("{arguments:?}: {said}"))
    }

    fn push(&self, name: &str, guest: &str) -> Result<String, String> {
        let component = self.folder.path().join("app.wasm");
        std::fs::copy(self.guests.join(guest), component).unwrap();
        let config = "config.json:application/vnd.wasm.config.v0+json";
        self.oras(&["push", name, "--config", config, "app.wasm:application/wasm"])
    }

    /// Waits for a pod, and gives the digest that it runs.
    fn runs(&self, pod: &str) -> String {
        let name = format!("pod/{pod}");
        let wait = ["-n", "shop", "wait", "--for=condition=Ready", &name, "--timeout=180s"];
        self.cluster.run(&wait);
        let path = "jsonpath={.status.containerStatuses[0].imageID}";
        let id = self.cluster.run(&["-n", "shop", "get", &name, "-o", path]);
        id.split_once('@').unwrap().1.to_owned()
    }
}

#[test]
fn oras_pushes_what_runs_and_rights_are_the_namespaces() {
    let shop = Shop::open();
    // Roles are summed up by a controller, a moment after the start.
    let push = || shop.push("REGISTRY/shop/hello:1", "hello_http.wasm");
    let said = eventually("the role allows it", push);
    let digest = said.lines().find_map(|line| line.strip_prefix("Digest: ")).unwrap().to_owned();
    let refused = shop.push("REGISTRY/stock/hello:1", "hello_http.wasm").unwrap_err();
    assert!(refused.contains("403") || refused.to_lowercase().contains("denied"), "{refused}");

    shop.run(&["tag", "REGISTRY/shop/hello:1", "stable"]);
    assert_eq!(shop.run(&["repo", "tags", "REGISTRY/shop/hello"]), "1\nstable\n");
    assert_eq!(shop.run(&["resolve", "REGISTRY/shop/hello:stable"]).trim(), digest);
    std::fs::write(shop.folder.path().join("sbom.json"), "{\"packages\":[]}").unwrap();
    let (kind, file) = ("application/spdx+json", "sbom.json:application/json");
    shop.run(&["attach", "REGISTRY/shop/hello:1", "--artifact-type", kind, file]);
    assert!(shop.run(&["discover", "REGISTRY/shop/hello:1"]).contains(kind));
    shop.run(&["pull", "REGISTRY/shop/hello:1", "--output", "pulled"]);
    let pulled = std::fs::read(shop.folder.path().join("pulled/app.wasm")).unwrap();
    assert_eq!(pulled, std::fs::read(shop.guests.join("hello_http.wasm")).unwrap());

    let image = format!("--image={IMAGE}");
    shop.cluster.run(&["-n", "shop", "run", "hello", &image, "--port=80"]);
    assert_eq!(shop.runs("hello"), digest);

    // The node takes images from a registry, and from nobody else.
    let node = shop.cluster.run(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]);
    let upload = format!("/api/v1/nodes/{node}/proxy/v2/shop/hello/blobs/uploads/");
    let pushed = shop.cluster.kubectl_with(&["create", "--raw", &upload, "-f", "-"], "{}");
    assert!(!pushed.ok && pushed.stderr.contains("MethodNotAllowed"), "{pushed:?}");
}

#[test]
fn a_tag_may_mean_one_image_for_good() {
    let shop = Shop::open();
    let push = || shop.push("REGISTRY/shop/hello:1", "hello_http.wasm");
    let said = eventually("the role allows it", push);
    let digest = said.lines().find_map(|line| line.strip_prefix("Digest: ")).unwrap().to_owned();
    let lock = "registry.coracle.dev/immutable-tags=true";
    shop.cluster.run(&["annotate", "namespace", "shop", lock]);
    let locked = shop.push("REGISTRY/shop/hello:1", "behave.wasm").unwrap_err();
    assert!(locked.contains("409") || locked.contains("is locked"), "{locked}");
    let container = json!({"name": "c", "image": IMAGE, "imagePullPolicy": "Always"});
    let pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "again", "namespace": "shop"}, "spec": {"containers": [container]}});
    shop.cluster.apply(&pod.to_string());
    assert_eq!(shop.runs("again"), digest);
}
