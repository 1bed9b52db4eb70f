//! Pull policies, slow pulls and pulls side by side, against a registry that the test holds in its hands.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use coracle_agent::images::store::digest_of;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use super::harness::{Cluster, container, pod};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A registry on this machine.
struct Registry {
    address: String,
    state: Arc<State>,
    task: AbortHandle,
}

struct State {
    /// Component by repository; the tag is always `1`.
    images: Mutex<BTreeMap<String, &'static [u8]>>,
    /// Requests for manifests by repository, in order.
    asked: Mutex<Vec<String>>,
    /// Each answer with a blob takes one permit.
    blobs: Semaphore,
}

impl Registry {
    async fn start(blobs: usize) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(State {
            images: Mutex::default(),
            asked: Mutex::default(),
            blobs: Semaphore::new(blobs),
        });
        let serving = state.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = serving.clone();
                let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                    let state = state.clone();
                    async move { Ok::<_, Infallible>(answer(&state, request.uri().path()).await) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection);
            }
        });
        Self { address, state, task: task.abort_handle() }
    }

    fn put(&self, repository: &str, wasm: &'static [u8]) {
        self.state.images.lock().insert(repository.to_owned(), wasm);
    }

    fn image(&self, repository: &str) -> String {
        format!("{}/{repository}:1", self.address)
    }

    /// How often the manifest of a repository was asked for.
    fn asked(&self, repository: &str) -> usize {
        self.state.asked.lock().iter().filter(|asked| *asked == repository).count()
    }
}

async fn answer(state: &State, path: &str) -> http::Response<Full<Bytes>> {
    let parts: Vec<&str> = path.trim_start_matches("/v2/").split('/').collect();
    let missing = || http::Response::builder().status(404).body(Full::from("{}")).unwrap();
    match parts.as_slice() {
        [repository, "manifests", _] => {
            let Some(wasm) = state.images.lock().get(*repository).copied() else {
                return missing();
            };
            state.asked.lock().push((*repository).to_owned());
            let text = manifest(wasm).to_string();
            http::Response::builder()
                .header("content-type", MANIFEST)
                .header("docker-content-digest", digest_of(text.as_bytes()))
                .body(Full::from(text))
                .unwrap()
        }
        [repository, "blobs", digest] => {
            state.blobs.acquire().await.unwrap().forget();
            let wasm = state.images.lock().get(*repository).copied().unwrap_or_default();
            let is_it = digest_of(wasm) == *digest;
            if is_it { http::Response::new(Full::from(wasm)) } else { missing() }
        }
        [""] => http::Response::new(Full::from("{}")),
        _ => missing(),
    }
}

fn manifest(wasm: &[u8]) -> Value {
    json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.wasm.config.v0+json", "digest": digest_of(b"{}"), "size": 2},
        "layers": [{"mediaType": "application/wasm", "digest": digest_of(wasm), "size": wasm.len()}],
    })
}

impl Cluster {
    async fn pulls(&self, name: &str, image: &str, policy: &str) {
        let app = container("app", json!({"image": image, "imagePullPolicy": policy}));
        self.create::<Pod>(pod(name, json!({"containers": [app]}))).await;
    }

    fn runs(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.runtime.request(name, "app").unwrap().image.wasm).unwrap()
    }
}

#[tokio::test]
async fn always_asks_at_every_start_and_runs_what_the_tag_means_now() {
    let cluster = Cluster::start().await;
    let registry = Registry::start(9).await;
    registry.put("app", b"\0asm-one");
    cluster.pulls("web", &registry.image("app"), "Always").await;
    cluster.is_ready("web").await;
    assert_eq!((registry.asked("app"), cluster.runs("web")), (1, b"\0asm-one".to_vec()));
    registry.put("app", b"\0asm-two");
    assert!(cluster.runtime.exit("web", "app", 1));
    cluster.shows("web", "/status/containerStatuses/0/restartCount", 1).await;
    cluster.eventually("the new component runs", || cluster.runs("web") == b"\0asm-two").await;
    assert_eq!(registry.asked("app"), 2, "once for each start");
    let id = format!(
        "{}/app@{}",
        registry.address,
        digest_of(manifest(b"\0asm-two").to_string().as_bytes())
    );
    cluster.shows("web", "/status/containerStatuses/0/imageID", id).await;
}

#[tokio::test]
async fn if_not_present_starts_with_the_registry_gone() {
    let cluster = Cluster::start().await;
    let registry = Registry::start(9).await;
    registry.put("app", b"\0asm-one");
    cluster.pulls("first", &registry.image("app"), "IfNotPresent").await;
    cluster.is_ready("first").await;
    registry.task.abort();
    cluster.pulls("second", &registry.image("app"), "IfNotPresent").await;
    cluster.is_ready("second").await;
    assert_eq!((registry.asked("app"), cluster.runs("second")), (1, b"\0asm-one".to_vec()));
    let here =
        format!("Pulled: Container image \"{}\" already present on machine", registry.image("app"));
    cluster.told(&here).await;
}

#[tokio::test]
async fn a_slow_pull_is_waited_for_and_holds_up_no_other() {
    let cluster = Cluster::start().await;
    let (slow, quick) = (Registry::start(0).await, Registry::start(9).await);
    slow.put("big", b"\0asm-big");
    quick.put("small", b"\0asm-small");
    cluster.pulls("slow", &slow.image("big"), "Always").await;
    let said = cluster.event("Pulling").await;
    assert_eq!(said, format!("Pulling image \"{}\"", slow.image("big")));
    cluster.pulls("quick", &quick.image("small"), "Always").await;
    cluster.is_ready("quick").await;
    let reason = "/status/containerStatuses/0/state/waiting/reason";
    let shown = cluster.shows("slow", reason, "ContainerCreating").await;
    assert_eq!(shown["status"]["phase"], "Pending");
    slow.state.blobs.add_permits(9);
    cluster.is_ready("slow").await;
    let pulled = format!("Pulled: Successfully pulled image \"{}\" in ", slow.image("big"));
    let told = cluster.told(&pulled).await;
    assert!(told.ends_with("Image size: 8 bytes."), "{told}");
}
