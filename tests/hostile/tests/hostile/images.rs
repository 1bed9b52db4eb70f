//! Manifests, indexes and blobs that are not what they say.

use serde_json::{Value, json};

use crate::registry::{Evil, Host, TAR};
use crate::world::Neighbour;

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const WASM: &str = "application/wasm";

/// A digest of nothing that there is.
fn nobody() -> String {
    format!("sha256:{}", "0".repeat(64))
}

fn config(evil: &mut Evil, program: &str) -> Value {
    let config =
        json!({"os": "wasip1", "architecture": "wasm", "config": {"Entrypoint": [program]}});
    evil.blob(CONFIG, config.to_string().into_bytes())
}

fn layers(evil: &mut Evil, layers: Value) {
    let config = config(evil, "/app.wasm");
    evil.manifest("1", &json!({"config": config, "layers": layers}));
}

fn descriptor(digest: &str, size: u64) -> Value {
    json!({"mediaType": TAR, "digest": digest, "size": size})
}

/// A case: what the registry has, and the beginning of what the pod's owner is told.
type Case = (&'static str, fn(&mut Evil), &'static str);

const CASES: [Case; 22] = [
    ("no JSON", |evil| evil.raw_manifest("1", b"<html>".to_vec()), "parse manifest"),
    ("nothing", |evil| evil.raw_manifest("1", Vec::new()), "parse manifest"),
    ("JSON in JSON", |evil| evil.raw_manifest("1", b"[".repeat(200_000)), "parse manifest"),
    ("no config", |evil| evil.manifest("1", &json!({"layers": []})), "manifest names no config"),
    (
        "a size below nothing",
        |evil| {
            evil.manifest("1", &json!({"config": {"mediaType": CONFIG, "digest": "x", "size": -1}}))
        },
        "parse manifest",
    ),
    (
        "a digest that is a path",
        |evil| layers(evil, json!([descriptor("sha256:../../../../etc/passwd", 1)])),
        "digest \"sha256:../../../../etc/passwd\" must be a sha256 digest",
    ),
    (
        "a digest of another kind",
        |evil| layers(evil, json!([descriptor(&format!("md5:{}", "0".repeat(32)), 1)])),
        "digest \"md5:",
    ),
    (
        "an endless digest",
        |evil| layers(evil, json!([descriptor(&"x".repeat(1_000_000), 1)])),
        "digest \"xxx",
    ),
    (
        "an index that leads to a path",
        |evil| {
            let entry = descriptor("../../../../api/v1/secrets", 1);
            evil.manifest("1", &json!({"manifests": [entry]}));
        },
        "digest \"../../../../api/v1/secrets\" must be",
    ),
    (
        "an index that leads to itself",
        |evil| {
            let entry = descriptor(&nobody(), 1);
            evil.manifest("1", &json!({"manifests": [entry.clone()]}));
            evil.manifest(&nobody(), &json!({"manifests": [entry]}));
        },
        "manifest names no config",
    ),
    (
        "an index for others",
        |evil| {
            let mut entry = descriptor(&nobody(), 1);
            entry["platform"] = json!({"os": "linux", "architecture": "amd64"});
            evil.manifest("1", &json!({"manifests": [entry]}));
        },
        "image is for linux/amd64 only",
    ),
    (
        "a layer that is not there",
        |evil| layers(evil, json!([descriptor(&nobody(), 1)])),
        "not found",
    ),
    (
        "content of another digest",
        |evil| {
            evil.lie(&nobody(), vec![1]);
            layers(evil, json!([descriptor(&nobody(), 1)]));
        },
        "content of sha256:0000",
    ),
    (
        "more than it says",
        |evil| {
            let mut layer = evil.blob(TAR, vec![0; 4096]);
            layer["size"] = json!(10);
            layers(evil, json!([layer]));
        },
        "blob sha256:",
    ),
    (
        "sizes that overflow",
        |evil| {
            let layer = descriptor(&nobody(), u64::MAX);
            layers(evil, json!([layer.clone(), layer]));
        },
        "image has 18446744073709551615 bytes; must have at most",
    ),
    (
        "a thousand layers",
        |evil| layers(evil, json!(vec![descriptor(&nobody(), 1); 1000])),
        "image has 1000 layers; must have at most 128",
    ),
    (
        "a config as large as a disk",
        |evil| {
            let mut config = config(evil, "/app.wasm");
            config["size"] = json!(1_u64 << 40);
            evil.manifest("1", &json!({"config": config, "layers": []}));
        },
        "image config has 1099511627776 bytes; must have at most",
    ),
    (
        "a config that is a layer",
        |evil| {
            let mut config = evil.blob(CONFIG, vec![b' '; 8 << 20]);
            config["size"] = json!(10);
            evil.manifest("1", &json!({"config": config, "layers": []}));
        },
        "blob sha256:",
    ),
    (
        "a config of the wrong shape",
        |evil| {
            let config = evil.blob(CONFIG, br#"{"config":{"Entrypoint":"sh"}}"#.to_vec());
            evil.manifest("1", &json!({"config": config, "layers": []}));
        },
        "parse image config",
    ),
    (
        "a Linux image",
        |evil| {
            let config = json!({"os": "linux", "architecture": "amd64",
                "config": {"Entrypoint": ["/bin/sh"]}});
            let config = evil.blob(CONFIG, config.to_string().into_bytes());
            evil.manifest("1", &json!({"config": config, "layers": []}));
        },
        "image is a Linux image (linux/amd64) that runs '/bin/sh'",
    ),
    (
        "no entry point",
        |evil| {
            let config = evil.blob(CONFIG, b"{}".to_vec());
            evil.manifest("1", &json!({"config": config, "layers": []}));
        },
        "image (/) has no entry point",
    ),
    (
        "an artifact that is not there",
        |evil| {
            let config = evil.blob("application/vnd.wasm.config.v0+json", b"{}".to_vec());
            let layer = json!({"mediaType": WASM, "digest": nobody(), "size": 1});
            evil.manifest("1", &json!({"config": config, "layers": [layer]}));
        },
        "not found",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn images_that_are_not_what_they_say_are_refused_in_words() {
    let neighbour = Neighbour::start().await;
    for (case, make, want) in CASES {
        let mut evil = Evil::default();
        make(&mut evil);
        let host = Host::new(evil);
        let why = match host.pull().await {
            Err(why) => why,
            Ok(image) => panic!("{case}: was pulled as {image:?}"),
        };
        assert!(why.starts_with(want) && why.len() < 1000, "{case}: {why:.500}");
        assert_eq!(host.left(), Vec::<String>::new(), "{case}");
        neighbour.answers(case).await;
    }
}
