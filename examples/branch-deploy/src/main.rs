//! Gives every branch of a git repository a URL: `http://BRANCH.DOMAIN`. What is pushed is served; what is
//! deleted is gone.
//!
//! A branch holds what is to run: a component, `app.wasm`, which is pushed to the cluster's registry under
//! the commit's name, or the name of an image that somebody else has built, in the file `image`.

use std::collections::BTreeMap;

use coracle_sdk::kube::{Client, Error};
use git_remote::{File, Remote};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sidecars::{api, variable};
use wstd::task::sleep;
use wstd::time::Duration;

/// Under which name the fields are ours; also the label of all that is made.
const MANAGER: &str = "branch-deploy";

/// The annotation of a Deployment with the commit that it serves.
const COMMIT: &str = "branch-deploy/commit";

/// Most characters of a branch's name in names of objects: a label of DNS has 63.
const NAME_CHARS_MAX: usize = 40;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// What is looked after.
struct Site {
    client: Client,
    remote: Remote,
    /// Branches are served below this domain.
    domain: String,
    /// The name of the application: what is made begins with it.
    app: String,
}

#[wstd::main]
async fn main() -> Result<(), Error> {
    let remote = Remote::new(&variable("REPOSITORY", "")).authorization(&variable("AUTHORIZATION", ""));
    let (domain, app) = (variable("DOMAIN", "local"), variable("APP", "app"));
    let site = Site { client: Client::in_cluster()?, remote, domain, app };
    let seconds = variable("EVERY_SECONDS", "10").parse().unwrap_or(10);
    loop {
        if let Err(error) = site.round().await {
            println!("again after: {error}");
        }
        sleep(Duration::from_secs(seconds)).await;
    }
}

impl Site {
    /// Brings the cluster to what the branches are. Nothing is removed unless all branches were read.
    async fn round(&self) -> Result<(), String> {
        let branches = self.remote.branches().await?;
        let there = self.deployed().await?;
        let wanted: BTreeMap<String, (&String, &String)> =
            branches.iter().map(|(branch, commit)| (label(branch), (branch, commit))).collect();
        for (name, (branch, commit)) in &wanted {
            if there.get(name) != Some(*commit) {
                match self.deploy(name, commit).await {
                    Ok(image) => println!("{branch}: http://{name}.{} runs {image}", self.domain),
                    Err(error) => println!("{branch}: {error}"),
                }
            }
        }
        for name in there.keys().filter(|name| !wanted.contains_key(*name)) {
            self.remove(name).await?;
            println!("{name}: gone");
        }
        Ok(())
    }

    /// The branches that are served, and the commit of each.
    async fn deployed(&self) -> Result<BTreeMap<String, String>, String> {
        let list = format!("{}?labelSelector={MANAGER}%3D{}", self.path("apps/v1", "deployments", ""), self.app);
        let list = self.client.get(&list).await.map_err(|error| error.to_string())?;
        let items = list["items"].as_array().into_iter().flatten();
        let pairs = items.map(|item| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let meta = &item["metadata"];
            (text(&meta["labels"]["branch"]), text(&meta["annotations"][COMMIT]))
        });
        Ok(pairs.collect())
    }

    async fn deploy(&self, name: &str, commit: &str) -> Result<String, String> {
        let files = self.remote.files(commit).await?;
        let find = |path: &str| files.iter().find(|file| file.path == path);
        let image = match (find("app.wasm"), find("image")) {
            (Some(component), _) => self.push(component, commit).await?,
            (None, Some(file)) => String::from_utf8_lossy(&file.bytes).trim().to_owned(),
            (None, None) => return Err("has neither a file 'app.wasm' nor one 'image'".to_owned()),
        };
        // The Deployment comes last: its annotation says that all is there.
        let objects = [
            ("v1", "services", self.service(name)),
            ("networking.k8s.io/v1", "ingresses", self.ingress(name)),
            ("apps/v1", "deployments", self.deployment(name, commit, &image)),
        ];
        for (version, plural, object) in objects {
            let path = self.path(version, plural, &self.name(name));
            self.client.apply(&path, MANAGER, &object).await.map_err(|error| error.to_string())?;
        }
        Ok(image)
    }

    async fn remove(&self, name: &str) -> Result<(), String> {
        // The Deployment goes last: by it the next round knows what is left.
        for (version, plural) in
            [("networking.k8s.io/v1", "ingresses"), ("v1", "services"), ("apps/v1", "deployments")]
        {
            match self.client.delete(&self.path(version, plural, &self.name(name))).await {
                Ok(_) => {}
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(())
    }

    fn name(&self, branch: &str) -> String {
        format!("{}-{branch}", self.app)
    }

    fn path(&self, version: &str, plural: &str, name: &str) -> String {
        let base = if version.contains('/') { "apis" } else { "api" };
        let path = format!("/{base}/{version}/namespaces/{}/{plural}", self.client.namespace());
        if name.is_empty() { path } else { format!("{path}/{name}") }
    }

    fn object(&self, version: &str, kind: &str, name: &str, spec: Value) -> Value {
        json!({"apiVersion": version, "kind": kind, "spec": spec,
            "metadata": {"name": self.name(name), "labels": self.labels(name)}})
    }

    fn labels(&self, name: &str) -> Value {
        json!({MANAGER: self.app, "app": self.app, "branch": name})
    }

    fn deployment(&self, name: &str, commit: &str, image: &str) -> Value {
        let container = json!({"name": "app", "image": image,
            "ports": [{"name": "http", "containerPort": 8080}],
            "env": [{"name": "BRANCH", "value": name}, {"name": "COMMIT", "value": commit}],
            "resources": {"limits": {"memory": "64Mi"}}});
        let mut object = self.object(
            "apps/v1",
            "Deployment",
            name,
            json!({"replicas": 1, "selector": {"matchLabels": self.labels(name)},
                "template": {"metadata": {"labels": self.labels(name)}, "spec": {"containers": [container]}}}),
        );
        object["metadata"]["annotations"] = json!({COMMIT: commit});
        object
    }

    fn service(&self, name: &str) -> Value {
        let ports = json!([{"port": 80, "targetPort": "http"}]);
        self.object("v1", "Service", name, json!({"selector": self.labels(name), "ports": ports}))
    }

    fn ingress(&self, name: &str) -> Value {
        let backend = json!({"service": {"name": self.name(name), "port": {"number": 80}}});
        let paths = json!([{"path": "/", "pathType": "Prefix", "backend": backend}]);
        let rule = json!({"host": format!("{name}.{}", self.domain), "http": {"paths": paths}});
        self.object("networking.k8s.io/v1", "Ingress", name, json!({"rules": [rule]}))
    }

    /// Pushes a component to the cluster's own registry, with the pod's own rights.
    async fn push(&self, component: &File, commit: &str) -> Result<String, String> {
        let repository = format!("{}/{}", self.client.namespace(), self.app);
        let config = json!({"architecture": "wasm", "os": "wasip2", "layerDigests": [digest(&component.bytes)]});
        let config = config.to_string().into_bytes();
        for blob in [&component.bytes, &config] {
            let path = format!("/v2/{repository}/blobs/uploads/?digest={}", digest(blob));
            send("POST", &path, "application/octet-stream", blob.clone()).await?;
        }
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.wasm.config.v0+json",
                "digest": digest(&config), "size": config.len()},
            "layers": [{"mediaType": "application/wasm",
                "digest": digest(&component.bytes), "size": component.bytes.len()}]});
        let path = format!("/v2/{repository}/manifests/{commit}");
        send("PUT", &path, MANIFEST, manifest.to_string().into_bytes()).await?;
        Ok(format!("registry.coracle.internal/{repository}:{commit}"))
    }
}

async fn send(method: &str, path: &str, content_type: &str, body: Vec<u8>) -> Result<(), String> {
    let headers = [("content-type".to_owned(), content_type.to_owned())];
    let mut answer = api::send(method, path, &headers, body).await?;
    if answer.status().is_success() {
        return Ok(());
    }
    let status = answer.status();
    let said = answer.body_mut().str_contents().await.unwrap_or_default();
    Err(format!("{method} {path}: the registry answered {status}: {said}"))
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// A branch's name as a label of DNS: `Feat/X` is `feat-x-` and some digits, so that no two are the same.
fn label(branch: &str) -> String {
    let plain = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' };
    let text: String = branch.to_ascii_lowercase().chars().map(plain).take(NAME_CHARS_MAX).collect();
    let text = text.trim_matches('-');
    if text == branch { text.to_owned() } else { format!("{text}-{}", &digest(branch.as_bytes())[7..13]) }
}
