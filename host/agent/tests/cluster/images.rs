//! Images: pulled from the built-in registry, refused when they cannot run.

use coracle_agent::images::store::digest_of;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::client::Body;
use serde_json::{Value, json};

use super::harness::{Cluster, container, pod};

impl Cluster {
    async fn put(
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

    async fn blob(&self, repository: &str, bytes: &[u8]) -> Value {
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
    let events = cluster.events().await;
    let back_off = "BackOff: Back-off pulling image \"registry.coracle.internal/none:1\"";
    assert!(events.iter().any(|event| event == back_off), "{events:#?}");
    let never = container(
        "app",
        json!({"image": "registry.coracle.internal/none:1", "imagePullPolicy": "Never"}),
    );
    cluster.create::<Pod>(pod("never", json!({"containers": [never]}))).await;
    cluster.shows("never", reason, "ErrImageNeverPull").await;
}
