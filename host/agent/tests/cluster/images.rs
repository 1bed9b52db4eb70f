//! Images: pulled from the built-in registry, refused when they cannot run.

use coracle_agent::images::store::digest_of;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::client::Body;
use serde_json::{Value, json};

use super::harness::{Cluster, container, pod};

impl Cluster {
    pub(crate) async fn put(
        &self,
        method: &str,
        path: &str,
        media_type: &str,
        body: Vec<u8>,
    ) -> http::response::Parts {
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", media_type)
            .header("content-length", body.len())
            .body(Body::from(body))
            .unwrap();
        let answer = self.admin.kube().send(request).await.unwrap();
        assert!(answer.status().is_success(), "{method} {path}: {}", answer.status());
        answer.into_parts().0
    }

    pub(crate) async fn blob(&self, repository: &str, bytes: &[u8]) -> Value {
        let digest = digest_of(bytes);
        let path = format!("/v2/{repository}/blobs/uploads/");
        let begun = self.put("POST", &path, "application/octet-stream", Vec::new()).await;
        let place = begun.headers["location"].to_str().unwrap();
        let place = place.find("/v2/").map_or(place, |at| &place[at..]);
        let joint = if place.contains('?') { '&' } else { '?' };
        let path = format!("{place}{joint}digest={digest}");
        self.put("PUT", &path, "application/octet-stream", bytes.to_vec()).await;
        json!({"digest": digest, "size": bytes.len()})
    }

    /// Pushes an image of one layer.
    async fn push(&self, repository: &str, config: (&str, &[u8]), layer: (&str, &[u8])) {
        let with = |mut blob: Value, media_type: &str| {
            blob["mediaType"] = media_type.into();
            blob
        };
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media_type,
            "config": with(self.blob(repository, config.1).await, config.0),
            "layers": [with(self.blob(repository, layer.1).await, layer.0)],
        });
        let path = format!("/v2/{repository}/manifests/1");
        self.put("PUT", &path, media_type, serde_json::to_vec(&manifest).unwrap()).await;
    }
}

/// A registry on this machine that wants a password and has one image, `team/app:1`.
async fn private_registry(wasm: &'static [u8]) -> String {
    use http_body_util::Full;
    use hyper::service::service_fn;
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.wasm.config.v0+json", "digest": digest_of(b"{}"), "size": 2},
        "layers": [{"mediaType": "application/wasm", "digest": digest_of(wasm), "size": wasm.len()}],
    })
    .to_string();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let manifest = manifest.clone();
            let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let manifest = manifest.clone();
                async move {
                    let path = request.uri().path().to_owned();
                    let known = request
                        .headers()
                        .get("authorization")
                        .is_some_and(|h| h == "Basic bWU6c2VjcmV0");
                    let answer = http::Response::builder();
                    let answer = match path.as_str() {
                        _ if !known => answer
                            .status(401)
                            .header("www-authenticate", "Basic realm=\"private\"")
                            .body(Full::from("{}")),
                        "/v2/" => answer.body(Full::from("{}")),
                        "/v2/team/app/manifests/1" => answer
                            .header("content-type", "application/vnd.oci.image.manifest.v1+json")
                            .header("docker-content-digest", digest_of(manifest.as_bytes()))
                            .body(Full::from(manifest)),
                        path if path.ends_with(&digest_of(wasm)) => answer.body(Full::from(wasm)),
                        _ => answer.status(404).body(Full::from("{}")),
                    };
                    answer.map(|answer| answer.map(|body: Full<bytes::Bytes>| body))
                }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(hyper_util::rt::TokioIo::new(stream), service),
            );
        }
    });
    address.to_string()
}

#[tokio::test]
async fn a_private_registry_wants_the_pull_secret() {
    let cluster = Cluster::start().await;
    let registry = private_registry(b"\0asm5678").await;
    let image = format!("{registry}/team/app:1");
    let app = json!([container("app", json!({"image": image}))]);
    cluster.create::<Pod>(pod("without", json!({"containers": app}))).await;
    let reason = "/status/containerStatuses/0/state/waiting/reason";
    let shown = cluster.shows("without", reason, "ErrImagePull").await;
    let message =
        shown["status"]["containerStatuses"][0]["state"]["waiting"]["message"].as_str().unwrap();
    assert!(message.contains("imagePullSecrets"), "{message}");
    let config = json!({"auths": {registry: {"username": "me", "password": "secret"}}}).to_string();
    cluster
        .create::<Secret>(
            json!({"metadata": {"name": "reg"}, "type": "kubernetes.io/dockerconfigjson",
            "stringData": {".dockerconfigjson": config}}),
        )
        .await;
    let spec = json!({"containers": app, "imagePullSecrets": [{"name": "reg"}]});
    cluster.create::<Pod>(pod("with", spec)).await;
    cluster.is_ready("with").await;
    let image = cluster.runtime.request("with", "app").unwrap().image;
    assert_eq!(std::fs::read(image.wasm).unwrap(), b"\0asm5678");
}

#[tokio::test]
async fn an_artifact_comes_from_the_built_in_registry() {
    let cluster = Cluster::start().await;
    let config = ("application/vnd.wasm.config.v0+json", &b"{}"[..]);
    cluster.push("team/hello", config, ("application/wasm", b"\0asm1234")).await;
    let app = container("app", json!({"image": "registry.coracle.internal/team/hello:1"}));
    cluster.create::<Pod>(pod("web", json!({"containers": [app]}))).await;
    cluster.is_ready("web").await;
    let said = cluster.event("Pulled").await;
    assert!(
        said.starts_with("Successfully pulled image \"registry.coracle.internal/team/hello:1\" in"),
        "{said}"
    );
    let image = cluster.runtime.request("web", "app").unwrap().image;
    assert_eq!(std::fs::read(image.wasm).unwrap(), b"\0asm1234");
}

#[tokio::test]
async fn a_linux_image_is_refused_with_what_to_do() {
    let cluster = Cluster::start().await;
    let config = br#"{"os":"linux","architecture":"amd64","config":{"Cmd":["nginx"]}}"#;
    let config = ("application/vnd.oci.image.config.v1+json", &config[..]);
    cluster.push("nginx", config, ("application/vnd.oci.image.layer.v1.tar", b"tar")).await;
    let app = container("app", json!({"image": "registry.coracle.internal/nginx:1"}));
    cluster.create::<Pod>(pod("web", json!({"containers": [app]}))).await;
    let reason = "/status/containerStatuses/0/state/waiting/reason";
    let shown = cluster.shows("web", reason, "ErrImageNotWasm").await;
    let message =
        shown["status"]["containerStatuses"][0]["state"]["waiting"]["message"].as_str().unwrap();
    assert!(message.contains("Linux image (linux/amd64) that runs 'nginx'"), "{message}");
    assert!(message.contains("wasm32-wasip2"), "{message}");
}

#[tokio::test]
async fn a_missing_image_backs_off() {
    let cluster = Cluster::start().await;
    let app = container("app", json!({"image": "registry.coracle.internal/none:1"}));
    cluster.create::<Pod>(pod("web", json!({"containers": [app]}))).await;
    let reason = "/status/containerStatuses/0/state/waiting/reason";
    cluster.shows("web", reason, "ErrImagePull").await;
    cluster.shows("web", reason, "ImagePullBackOff").await;
    cluster.told("BackOff: Back-off pulling image \"registry.coracle.internal/none:1\"").await;
    let never = container(
        "app",
        json!({"image": "registry.coracle.internal/none:1", "imagePullPolicy": "Never"}),
    );
    cluster.create::<Pod>(pod("never", json!({"containers": [never]}))).await;
    cluster.shows("never", reason, "ErrImageNeverPull").await;
}

/// A layer of one file.
fn tarball(path: &str, content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_data(&mut header, path, content).unwrap();
    builder.into_inner().unwrap()
}

fn shows_image(name: &str, reference: &str, policy: &str, sub_path: &str) -> Value {
    let mount = json!([{"name": "data", "mountPath": "/data", "subPath": sub_path}]);
    let app = container("app", json!({"volumeMounts": mount}));
    let image = json!({"reference": reference, "pullPolicy": policy});
    pod(name, json!({"containers": [app], "volumes": [{"name": "data", "image": image}]}))
}

/// Image volumes. *Source:* KEP-4639.
#[tokio::test]
async fn the_files_of_an_image_are_a_volume() {
    use coracle_agent::runtime::MountSource;
    let mut cluster = Cluster::start().await;
    let config = br#"{"os":"linux","architecture":"arm64","config":{"Cmd":["/bin/serve"]}}"#;
    let config_type = "application/vnd.oci.image.config.v1+json";
    let layer_type = "application/vnd.oci.image.layer.v1.tar";
    let layer = tarball("models/tiny/weights", b"1 2 3");
    cluster.push("models", (config_type, config), (layer_type, &layer)).await;
    let reference = "registry.coracle.internal/models:1";
    let never = shows_image("never", reference, "Never", "");
    cluster.create::<Pod>(never).await;
    let said = cluster.event("FailedMount").await;
    assert!(said.contains("ErrImageNeverPull"), "{said}");
    cluster.delete("never", Some(0)).await;

    cluster.create::<Pod>(shows_image("whole", reference, "IfNotPresent", "")).await;
    cluster.create::<Pod>(shows_image("part", reference, "Always", "models/tiny")).await;
    cluster.is_ready("whole").await;
    cluster.is_ready("part").await;
    let mount = |name: &str| cluster.runtime.request(name, "app").unwrap().mounts.remove(0);
    let MountSource::SubPath { volume, path } = mount("whole").source else {
        panic!("no sub path")
    };
    assert_eq!(std::fs::read(volume.join("models/tiny/weights")).unwrap(), b"1 2 3");
    assert_eq!(path, "");
    assert!(mount("whole").read_only && mount("whole").quota.is_none());
    assert_eq!(mount("part").source, MountSource::SubPath { volume, path: "models/tiny".into() });

    // A program is what it is not.
    let runs =
        json!([container("app", json!({"image": reference, "imagePullPolicy": "IfNotPresent"}))]);
    cluster.create::<Pod>(pod("runs", json!({"containers": runs}))).await;
    let reason = "/status/containerStatuses/0/state/waiting/reason";
    cluster.shows("runs", reason, "ErrImageNotWasm").await;

    // It is there after a start without the registry.
    let whole = cluster.is_ready("whole").await;
    cluster.saved(whole["metadata"]["uid"].as_str().unwrap()).await;
    cluster.kill_agent().await;
    cluster.gate.shut.store(true, std::sync::atomic::Ordering::SeqCst);
    cluster.start_agent();
    cluster.heard("start part/app").await;
    cluster.gate.shut.store(false, std::sync::atomic::Ordering::SeqCst);
}

/// What is no archive has no files.
#[tokio::test]
async fn an_image_without_files_is_no_volume() {
    let cluster = Cluster::start().await;
    let wasm_type = "application/vnd.wasm.config.v0+json";
    cluster.push("artifact", (wasm_type, b"{}"), ("application/wasm", b"\0asm9999")).await;
    let reference = "registry.coracle.internal/artifact:1";
    cluster.create::<Pod>(shows_image("web", reference, "IfNotPresent", "")).await;
    let said = cluster.event("FailedMount").await;
    assert!(said.contains("image has no layer with files"), "{said}");
}

/// Row `ctr.command-args`.
#[tokio::test]
async fn the_images_entry_point_and_arguments_are_what_a_container_changes() {
    let cluster = Cluster::start().await;
    let config = br#"{"os":"wasip2","architecture":"wasm","config":{"Entrypoint":["/app.wasm"],"Cmd":["--default"]}}"#;
    let mut layer = tar::Builder::new(Vec::new());
    for path in ["app.wasm", "bin/other.wasm"] {
        let mut header = tar::Header::new_gnu();
        header.set_size(8);
        header.set_mode(0o644);
        layer.append_data(&mut header, path, &b"\0asm1111"[..]).unwrap();
    }
    let layer = layer.into_inner().unwrap();
    let config_type = "application/vnd.oci.image.config.v1+json";
    let layer_type = "application/vnd.oci.image.layer.v1.tar";
    cluster.push("app2", (config_type, config), (layer_type, &layer)).await;
    let image = "registry.coracle.internal/app2:1";
    let env = json!([{"name": "MY_ENV", "value": "value"}]);
    let rows = [
        (json!({}), json!(["/app.wasm", "--default"])),
        (json!({"args": ["one", "two"]}), json!(["/app.wasm", "one", "two"])),
        (
            json!({"args": ["$(MY_ENV)", "$$(X)", "$(NONE)"]}),
            json!(["/app.wasm", "value", "$(X)", "$(NONE)"]),
        ),
        (json!({"command": ["/bin/other.wasm"]}), json!(["/bin/other.wasm"])),
        (json!({"command": ["/bin/other.wasm"], "args": ["a"]}), json!(["/bin/other.wasm", "a"])),
    ];
    for (number, (more, wanted)) in rows.into_iter().enumerate() {
        let mut app = container("app", more);
        app["image"] = image.into();
        app["env"] = env.clone();
        let name = format!("args-{number}");
        cluster.create::<Pod>(pod(&name, json!({"containers": [app]}))).await;
        cluster.is_ready(&name).await;
        let request = cluster.runtime.request(&name, "app").unwrap();
        assert_eq!(json!(request.argv), wanted, "{number}");
        let other = wanted[0] == "/bin/other.wasm";
        assert_eq!(request.image.wasm.ends_with("bin/other.wasm"), other);
    }
}
