//! A server over many objects that are there already: its start and its memory, controllers and scheduler included.
//!
//! One object is made through the API; the store is filled with copies of its bytes that differ in names and uids alone,
//! of the same length, so that every place in them stays where it is.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use coracle_store::{Kv, Snapshot};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;

use super::{Plane, hosts, node_name, pod_spec};
use crate::process::Process;

const HOSTS: usize = 100;
const PODS: usize = 150_000;
const MAPS: usize = 10_000;

/// What ConfigMaps hold, so that one is 750 bytes as it is served.
const MAP_BYTES: usize = 256;

/// How long a server may take until it answers.
const READY_MAX: Duration = Duration::from_secs(300);

/// How often an idle server is looked at, and the CPU below which it counts as idle.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const IDLE_CPU: Duration = Duration::from_millis(50);
/// How many looks in a row have to find it so.
const IDLE_LOOKS: u32 = 3;
/// By when it is measured all the same: nobody speaks for its nodes, and after 40 s it would say so in every pod.
const SETTLED_MAX: Duration = Duration::from_secs(35);

/// Pods that run, and a second line for ConfigMaps.
pub(crate) async fn measure() -> anyhow::Result<Vec<String>> {
    let pods = of_many("pods", PODS, pod().await?).await?;
    let maps = of_many("ConfigMaps", MAPS, config_map().await?).await?;
    Ok(vec![format!("{pods} (promised 3 s and 1,229 MiB)"), format!("{maps} (promised 60 MiB)")])
}

/// What a store holds beside the objects, and the object that is copied.
struct Sample {
    rest: Snapshot,
    object: Kv,
    /// Its name, which ends in zeros.
    name: String,
}

/// Takes the one object of a resource out of all that a server holds.
async fn sample(plane: &Plane, resource: &str, name: String) -> anyhow::Result<Sample> {
    let mut rest = plane.store.snapshot().await.context("read the store")?;
    let key = format!("/registry/core/{resource}/default/{name}");
    let at = rest.items.iter().position(|kv| kv.key == key.as_bytes());
    let object = rest.items.remove(at.with_context(|| format!("no {key} in the store"))?);
    Ok(Sample { rest, object, name })
}

/// A pod that is bound and says that it is Ready.
async fn pod() -> anyhow::Result<Sample> {
    let plane = Plane::start().await?;
    plane.nodes(HOSTS, PODS).await?;
    // With what most pods have, so that it comes to some 4 KiB.
    let container = json!({
        "name": "web", "image": "registry.coracle.internal/web:1",
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
        "env": [{"name": "LOG_LEVEL", "value": "info"},
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}},
    });
    let spec = pod_spec(&json!({"nodeName": node_name(0), "containers": [container]}));
    plane.pods(1, |_| json!({"spec": spec})).await?;
    let name = "web-000000".to_owned();
    let pods = plane.client().namespaced::<Pod>("default");
    let status = Patch::Merge(hosts::running(0, 1));
    pods.patch_status(&name, &PatchParams::default(), &status).await.context("say that it runs")?;
    sample(&plane, "pods", name).await
}

async fn config_map() -> anyhow::Result<Sample> {
    let plane = Plane::start().await?;
    let name = "map-000000".to_owned();
    let map: ConfigMap = serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"group": "7"}}, "data": {"value": "x".repeat(MAP_BYTES)},
    }))?;
    let maps = plane.client().namespaced::<ConfigMap>("default");
    maps.create(&PostParams::default(), &map).await.context("create a ConfigMap")?;
    sample(&plane, "configmaps", name).await
}

impl Sample {
    /// The object with a number in its name, its uid and its node.
    fn copy(&self, number: usize) -> anyhow::Result<Kv> {
        let text = std::str::from_utf8(&self.object.value).context("read the object")?;
        let uid = text.split_once("\"uid\":\"").context("an object without a uid")?.1;
        let uid = uid.get(..36).context("a uid that is too short")?;
        let name = format!("{}{number:06}", self.name.trim_end_matches('0'));
        let value = text
            .replace(&self.name, &name)
            .replace(uid, &format!("{number:08x}{}", &uid[8..]))
            .replace(&node_name(0), &node_name(number % HOSTS));
        anyhow::ensure!(value.len() == text.len(), "a copy of another length");
        let key = std::str::from_utf8(&self.object.key)?.replace(&self.name, &name);
        Ok(Kv { key: Bytes::from(key), value: Bytes::from(value), ..self.object.clone() })
    }

    /// Makes a store of so many copies.
    fn fill(self, count: usize, path: &Path) -> anyhow::Result<()> {
        let copies: Vec<Kv> = (0..count).map(|n| self.copy(n)).collect::<anyhow::Result<_>>()?;
        let mut all = self.rest;
        all.items.extend(copies);
        all.items.sort_by(|one, other| one.key.cmp(&other.key));
        all.restore(path).context("make the store")?;
        Ok(())
    }
}

/// Fills a store, starts a server on it, and tells what that took.
async fn of_many(what: &str, count: usize, sample: Sample) -> anyhow::Result<String> {
    let folder = tempfile::tempdir().context("make a folder")?;
    let bytes = sample.object.value.len();
    sample.fill(count, &folder.path().join("store.redb"))?;
    let mut server = Server::start(folder.path())?;
    let (wall, cpu) = server.ready().await?;
    let resident = server.settled(wall).await?;
    Ok(format!(
        "server over {count} {what} of {bytes} bytes: ready after {:.1} s and {:.1} s of CPU, {:.0} MiB when all is seen",
        wall.as_secs_f64(),
        cpu.as_secs_f64(),
        resident as f64 / f64::from(1 << 20),
    ))
}

/// A server of its own process.
struct Server {
    child: Child,
    began: Instant,
    kubeconfig: std::path::PathBuf,
}

impl Server {
    fn start(data: &Path) -> anyhow::Result<Server> {
        let listen = format!("127.0.0.1:{}", coracle_e2e::free_port());
        let child = Command::new(coracle_e2e::coracle())
            .args(["server", "--no-host", "--log", "warn", "--listen", &listen, "--data-dir"])
            .arg(data)
            .stdin(Stdio::null())
            .spawn();
        let child = child.context("start the server")?;
        Ok(Server { child, began: Instant::now(), kubeconfig: data.join("kubeconfig") })
    }

    fn process(&self) -> Process {
        Process(self.child.id())
    }

    /// Waits until it says that it is ready; gives the time and the CPU since its start.
    async fn ready(&mut self) -> anyhow::Result<(Duration, Duration)> {
        while self.began.elapsed() < READY_MAX {
            let ended = self.child.try_wait().context("look at the server")?;
            anyhow::ensure!(ended.is_none(), "the server ended: {ended:?}");
            if self.kubeconfig.exists() && self.is_ready().await.is_ok() {
                return Ok((self.began.elapsed(), self.process().cpu()?));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        anyhow::bail!("not ready after {} s", READY_MAX.as_secs())
    }

    async fn is_ready(&self) -> anyhow::Result<()> {
        let kubeconfig = kube::config::Kubeconfig::read_from(&self.kubeconfig)?;
        let options = kube::config::KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?;
        let request = http::Request::get("/readyz").body(Vec::new())?;
        kube::Client::try_from(config)?.request_text(request).await?;
        Ok(())
    }

    /// Its memory once it has nothing to do.
    async fn settled(&self, ready_after: Duration) -> anyhow::Result<u64> {
        let (mut before, mut quiet) = (self.process().cpu()?, 0);
        while quiet < IDLE_LOOKS && self.began.elapsed() < ready_after + SETTLED_MAX {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = self.process().cpu()?;
            quiet = if now - before < IDLE_CPU { quiet + 1 } else { 0 };
            before = now;
        }
        self.process().resident_bytes()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already, or there is nothing left to be done about it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
