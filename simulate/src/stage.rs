//! What a scenario can do and see: requests of an administrator, the store's objects, the clock, the hosts.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use coracle_client::Client;
use http::{Method, Request};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::host::Host;
use crate::objects::{Objects, PODS, is_active, is_ready, text};
use crate::world::World;

/// How often the store is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How often a request is sent whose answer does not come.
const TRIES_MAX: usize = 100;

/// Where users' objects are made.
const CORE: &str = "/api/v1/namespaces/default";

/// Something that has to be so after every event of the store.
pub struct Rule {
    /// What is broken when it is not so.
    pub name: String,
    /// Tells whether it is so.
    pub holds: Box<dyn Fn(&Objects) -> bool + Send>,
}

impl fmt::Debug for Rule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Rule({})", self.name)
    }
}

/// A scenario's world.
pub struct Stage {
    /// All of it.
    pub world: Arc<World>,
    /// The machines, all up at first.
    pub hosts: Arc<Vec<Host>>,
    client: Client,
}

impl Stage {
    /// A stage with an administrator's client.
    pub fn new(world: &Arc<World>, hosts: &Arc<Vec<Host>>, client: Client) -> Stage {
        Stage { world: Arc::clone(world), hosts: Arc::clone(hosts), client }
    }

    /// Sends a request until an answer comes; gives its status and body. A request may have had its effect though its
    /// answer was lost.
    pub async fn send(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        for _ in 0..TRIES_MAX {
            if let Some(answer) = self.try_send(method.clone(), path, body).await {
                note!(self.world, "stage: {method} {path}: {}", answer.0);
                return answer;
            }
            sleep(Duration::from_millis(500)).await;
        }
        (0, Value::Null)
    }

    async fn try_send(&self, method: Method, path: &str, body: &Value) -> Option<(u16, Value)> {
        let media_type = if method == Method::PATCH {
            "application/merge-patch+json"
        } else {
            "application/json"
        };
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = Request::builder().method(method).uri(path);
        let request = request.header("content-type", media_type).body(Body::from(bytes)).ok()?;
        let answer = self.client.kube().send(request).await.ok()?;
        let code = answer.status().as_u16();
        let bytes = answer.into_body().collect().await.ok()?.to_bytes();
        Some((code, serde_json::from_slice(&bytes).unwrap_or_default()))
    }

    /// Makes an object; one that is there already is as good.
    pub async fn make(&self, path: &str, object: Value) -> Result<(), String> {
        let (code, answer) = self.send(Method::POST, path, &object).await;
        if matches!(code, 201 | 409) { Ok(()) } else { Err(format!("{path}: {code} {answer}")) }
    }

    /// Makes a workload of the `apps` group with pods that are labelled with its name.
    pub async fn workload(&self, kind: &str, name: &str, spec: Value) -> Result<(), String> {
        let mut spec = spec;
        spec["selector"] = json!({"matchLabels": {"app": name}});
        spec["template"] = json!({"metadata": {"labels": {"app": name}},
            "spec": pod_spec(&spec["template"]["spec"], "sim/1")});
        let object = json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name},
            "spec": spec});
        let plural = format!("{}s", kind.to_lowercase());
        self.make(&format!("/apis/apps/v1/namespaces/default/{plural}"), object).await
    }

    /// Makes a Service of the pods that are labelled with its name.
    pub async fn service(&self, name: &str) -> Result<(), String> {
        let object = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"selector": {"app": name}, "ports": [{"port": 80}]}});
        self.make(&format!("{CORE}/services"), object).await
    }

    /// Makes a pod that is labelled with its name.
    pub async fn pod(&self, name: &str, spec: &Value) -> Result<(), String> {
        let object = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "labels": {"app": name}}, "spec": pod_spec(spec, "sim/1")});
        self.make(&format!("{CORE}/pods"), object).await
    }

    /// Merges into an object; what was there is changed whatever answers are lost.
    pub async fn patch(&self, path: &str, patch: Value) -> Result<(), String> {
        let (code, answer) = self.send(Method::PATCH, path, &patch).await;
        if code == 200 { Ok(()) } else { Err(format!("{path}: {code} {answer}")) }
    }

    /// Has something hold after every event from now on.
    pub fn always(&self, name: &str, holds: impl Fn(&Objects) -> bool + Send + 'static) {
        let rule = Rule { name: name.to_owned(), holds: Box::new(holds) };
        self.world.oracle.lock().always.push(rule);
    }

    /// Waits until the store shows something, and gives it.
    ///
    /// # Errors
    /// That it did not within a time, or that a promise was broken meanwhile.
    pub async fn until<T>(
        &self,
        what: &str,
        within: Duration,
        look: impl Fn(&Objects) -> Option<T>,
    ) -> Result<T, String> {
        let began = Instant::now();
        loop {
            {
                let oracle = self.world.oracle.lock();
                if !oracle.broken.is_empty() {
                    return Err(format!("it waits for {what}"));
                }
                if let Some(found) = look(&oracle.objects) {
                    return Ok(found);
                }
            }
            if began.elapsed() > within {
                return Err(format!("not within {within:?}: {what}"));
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until so many pods with a label `app` are ready.
    pub async fn until_ready(&self, app: &str, wanted: usize) -> Result<(), String> {
        let what = format!("{wanted} pods of {app} are ready");
        let limit = Duration::from_secs(120);
        self.until(&what, limit, |all| (n_ready(all, app) == wanted).then_some(())).await
    }

    /// The host of a name.
    pub fn host(&self, name: &str) -> Result<&Host, String> {
        let found = self.hosts.iter().find(|host| host.name == name);
        found.ok_or_else(|| format!("there is no host '{name}'"))
    }

    /// One object, as it is now.
    pub fn get(&self, key: &str) -> Result<Value, String> {
        let oracle = self.world.oracle.lock();
        oracle.objects.get(key).cloned().ok_or_else(|| format!("there is no {key}"))
    }
}

/// The spec of a pod with one container that asks for little; `more` adds fields.
fn pod_spec(more: &Value, image: &str) -> Value {
    let mut spec = json!({"containers": [{"name": "main", "image": image,
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}]});
    if let (Some(spec), Some(more)) = (spec.as_object_mut(), more.as_object()) {
        spec.extend(more.clone());
    }
    spec
}

/// The pods with a label `app`.
pub fn pods_of<'a>(objects: &'a Objects, app: &'a str) -> impl Iterator<Item = &'a Value> {
    let all = objects.below(PODS).map(|(_, pod)| pod);
    all.filter(move |pod| text(pod, "/metadata/labels/app") == app)
}

/// How many pods with a label `app` serve.
pub fn n_ready(objects: &Objects, app: &str) -> usize {
    pods_of(objects, app).filter(|pod| is_ready(pod) && is_active(pod)).count()
}
