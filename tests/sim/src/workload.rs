//! Users at work: they make, scale, roll out and delete Deployments, edit ConfigMaps, delete pods and nodes.

use std::sync::Arc;
use std::time::Duration;

use coracle_client::Client;
use coracle_simulate::note;
use coracle_simulate::objects::{NODES, PODS, name_of};
use coracle_simulate::world::World;
use http::{Method, Request};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::sleep;

/// Namespace of everything that users make.
const NAMESPACE: &str = "default";

/// How many of each there may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Deployments.
    pub(crate) deployments: usize,
    /// Replicas of a Deployment.
    pub(crate) replicas: usize,
    /// ConfigMaps.
    pub(crate) config_maps: usize,
}

/// A user.
pub(crate) struct Workload {
    world: Arc<World>,
    client: Client,
    size: Size,
    /// Makes each template and each value different.
    counter: usize,
}

impl Workload {
    /// A user with a client.
    pub(crate) fn new(world: &Arc<World>, client: Client, size: Size) -> Workload {
        Workload { world: Arc::clone(world), client, size, counter: 0 }
    }

    /// Makes everything that there may be.
    pub(crate) async fn fill(&mut self) {
        for index in 0..self.size.deployments {
            let replicas = self.size.replicas;
            while !self.create(NAMESPACE, index, replicas).await {
                sleep(Duration::from_secs(1)).await;
            }
            self.serve(index).await;
        }
    }

    /// Makes a Service for a Deployment, whether that is there or not.
    async fn serve(&mut self, index: usize) {
        let name = format!("d{index}");
        let body = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"selector": {"app": name}, "ports": [{"port": 80}]}});
        let path = format!("/api/v1/namespaces/{NAMESPACE}/services");
        self.send(Method::POST, path, Some(body)).await;
    }

    /// Does one thing after the other, for ever.
    pub(crate) async fn run(mut self) {
        loop {
            self.act().await;
            sleep(self.world.millis(50.0..20_000.0)).await;
        }
    }

    async fn act(&mut self) {
        self.counter += 1;
        let index = self.world.pick(0..self.size.deployments);
        match self.world.pick(0..31) {
            28..=30 => self.job().await,
            20..=22 => self.stateful_set().await,
            23 => self.serve(index).await,
            24 => {
                self.delete(
                    format!("/api/v1/namespaces/{NAMESPACE}/services/d{index}"),
                    Value::Null,
                )
                .await
            }
            25 | 26 => self.make_namespace().await,
            27 => self.delete(format!("/api/v1/namespaces/{}", self.other()), Value::Null).await,
            0..=3 => {
                let replicas = self.world.pick(0..self.size.replicas + 1);
                self.create(NAMESPACE, index, replicas).await;
            }
            4..=8 => self.scale(index).await,
            9..=11 => self.roll_out(index).await,
            12 => self.delete(deployment_path(index), propagation(&self.world)).await,
            13..=15 => self.config_map().await,
            16..=18 => self.delete_one(PODS).await,
            _ => self.delete_one(NODES).await,
        }
    }

    /// One of the namespaces that come and go.
    fn other(&self) -> String {
        format!("t{}", self.world.pick(0..2))
    }

    async fn make_namespace(&mut self) {
        let name = self.other();
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.send(Method::POST, "/api/v1/namespaces".to_owned(), Some(body)).await;
        self.create(&name, 0, 2).await;
    }

    /// Makes, scales, rolls out or deletes a StatefulSet.
    async fn stateful_set(&mut self) {
        let name = format!("s{}", self.world.pick(0..2));
        let all = format!("/apis/apps/v1/namespaces/{NAMESPACE}/statefulsets");
        let one = format!("{all}/{name}");
        let replicas = self.world.pick(0..4);
        let container = self.container();
        match self.world.pick(0..6) {
            0 => self.delete(one, propagation(&self.world)).await,
            1 | 2 => {
                let body = json!({"spec": {"replicas": replicas}});
                self.send(Method::PATCH, one, Some(body)).await;
            }
            3 => {
                let body = json!({"spec": {"template": {"spec": {"containers": [container]}}}});
                self.send(Method::PATCH, one, Some(body)).await;
            }
            _ => {
                let labels = json!({"app": name});
                let body = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name},
                    "spec": {"replicas": replicas, "serviceName": name, "selector": {"matchLabels": labels},
                        "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}}}});
                self.send(Method::POST, all, Some(body)).await;
            }
        }
    }

    /// Makes or deletes a Job.
    async fn job(&mut self) {
        let name = format!("j{}", self.world.pick(0..3));
        let all = format!("/apis/batch/v1/namespaces/{NAMESPACE}/jobs");
        if self.world.chance(0.3) {
            return self.delete(format!("{all}/{name}"), propagation(&self.world)).await;
        }
        let body = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
            "spec": {"completions": self.world.pick(1..5), "parallelism": self.world.pick(1..4),
                "backoffLimit": 3, "template": {"spec": {"restartPolicy": "Never",
                    "containers": [self.container()]}}}});
        self.send(Method::POST, all, Some(body)).await;
    }

    /// A container of one of a few images, so that a roll-out also goes back to one that was there before.
    fn container(&self) -> Value {
        json!({"name": "main", "image": format!("sim/{}", self.world.pick(0..4)),
            "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}})
    }

    async fn create(&mut self, namespace: &str, index: usize, replicas: usize) -> bool {
        let surge = [json!(1), json!(0), json!("25%"), json!("50%")];
        let surge = surge[self.world.pick(0..4)].clone();
        let unavailable = if surge == 0 { json!(1) } else { json!(self.world.pick(0..2)) };
        let strategy = json!({"type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}});
        let labels = json!({"app": format!("d{index}")});
        let container = self.container();
        let body = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": format!("d{index}")},
            "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "strategy": strategy,
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}}},
        });
        let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments");
        self.send(Method::POST, path, Some(body)).await.is_some_and(|code| code < 500)
    }

    async fn scale(&mut self, index: usize) {
        let replicas = self.world.pick(0..self.size.replicas + 1);
        let body = json!({"spec": {"replicas": replicas}});
        self.send(Method::PATCH, deployment_path(index), Some(body)).await;
    }

    async fn roll_out(&mut self, index: usize) {
        let container = self.container();
        let body = json!({"spec": {"template": {"spec": {"containers": [container]}}}});
        self.send(Method::PATCH, deployment_path(index), Some(body)).await;
    }

    async fn config_map(&mut self) {
        let name = format!("c{}", self.world.pick(0..self.size.config_maps));
        let all = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
        let data = json!({"value": self.counter.to_string()});
        let patched =
            self.send(Method::PATCH, format!("{all}/{name}"), Some(json!({"data": data}))).await;
        if patched == Some(404) {
            let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data});
            self.send(Method::POST, all, Some(body)).await;
        }
    }

    /// Deletes one of the objects below a prefix, whichever.
    async fn delete_one(&mut self, prefix: &str) {
        let keys: Vec<String> = {
            let oracle = self.world.oracle.lock();
            oracle.objects.below(prefix).map(|(key, _)| key.to_owned()).collect()
        };
        if keys.is_empty() {
            return;
        }
        let key = &keys[self.world.pick(0..keys.len())];
        self.world.oracle.lock().known.deleted_by_user.insert(key.clone());
        let path = match key.strip_prefix(PODS).and_then(|place| place.split_once('/')) {
            Some((namespace, name)) => format!("/api/v1/namespaces/{namespace}/pods/{name}"),
            None => format!("/api/v1/nodes/{}", name_of(key)),
        };
        self.delete(path, Value::Null).await;
    }

    async fn delete(&mut self, path: String, options: Value) {
        let options = Some(options).filter(|options| !options.is_null());
        self.send(Method::DELETE, path, options).await;
    }

    /// Sends a request; gives the status code, `None` when no answer came.
    async fn send(&self, method: Method, path: String, body: Option<Value>) -> Option<u16> {
        let media_type = if method == Method::PATCH {
            "application/merge-patch+json"
        } else {
            "application/json"
        };
        let body = body.map_or(Vec::new(), |body| body.to_string().into_bytes());
        let request = Request::builder().method(&method).uri(&path);
        let request = request.header("content-type", media_type).body(Body::from(body)).ok()?;
        let answer = self.client.kube().send(request).await;
        let code = answer.ok().map(|answer| answer.status().as_u16());
        note!(self.world, "user: {method} {path}: {code:?}");
        code
    }
}

fn deployment_path(index: usize) -> String {
    format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments/d{index}")
}

fn propagation(world: &World) -> Value {
    let policy = ["Background", "Foreground", "Background"][world.pick(0..3)];
    json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy})
}
