//! A connection to one cluster and namespace, with the requests that verbs make of it.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use http::{Method, Request, header};
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::Value;

use crate::config::{ClusterFlags, DataDir};

/// What objects are asked for in.
const JSON: &str = "application/json";

/// A cluster and a namespace of it.
pub(crate) struct Session {
    /// The client that all requests go by.
    pub(crate) client: kube::Client,
    /// Where objects without a namespace are looked for.
    pub(crate) namespace: String,
}

impl Session {
    /// Opens the cluster that the flags, the environment or the data directory name.
    pub(crate) async fn open(data: &DataDir, flags: &ClusterFlags) -> anyhow::Result<Self> {
        let path = kubeconfig(data, flags);
        let kubeconfig = Kubeconfig::read_from(&path).with_context(|| {
            format!(
                "read {}: start a server with `coracle server` or `coracle up`, or name a kubeconfig by --kubeconfig or $KUBECONFIG",
                path.display()
            )
        })?;
        let options =
            KubeConfigOptions { context: flags.context.clone(), ..KubeConfigOptions::default() };
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
        let config = config.with_context(|| format!("use {}", path.display()))?;
        let namespace = flags.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = kube::Client::try_from(config);
        let client = client.with_context(|| format!("make a client of {}", path.display()))?;
        Ok(Self { client, namespace })
    }

    /// `GET` of a path, as JSON.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.get_as(path, JSON).await
    }

    /// `GET` of a path in the form that an Accept header asks for.
    pub(crate) async fn get_as(&self, path: &str, accept: &str) -> anyhow::Result<Value> {
        let request = Request::get(path).header(header::ACCEPT, accept).body(Vec::new())?;
        self.client.request(request).await.map_err(told)
    }

    /// The object at a path; `None` if it is not there.
    pub(crate) async fn get_opt(&self, path: &str) -> anyhow::Result<Option<Value>> {
        let request = Request::get(path).header(header::ACCEPT, JSON).body(Vec::new())?;
        match self.client.request(request).await {
            Ok(value) => Ok(Some(value)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(told(error)),
        }
    }

    /// A merge patch.
    pub(crate) async fn patch(&self, path: &str, patch: &Value) -> anyhow::Result<Value> {
        let kind = "application/merge-patch+json";
        self.send(Method::PATCH, path, kind, patch).await
    }

    /// A JSON patch: all of it or nothing.
    pub(crate) async fn json_patch(&self, path: &str, patch: &Value) -> anyhow::Result<Value> {
        let kind = "application/json-patch+json";
        self.send(Method::PATCH, path, kind, patch).await
    }

    /// A request with a JSON body.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: &Value,
    ) -> anyhow::Result<Value> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::ACCEPT, JSON)
            .header(header::CONTENT_TYPE, content_type)
            .body(serde_json::to_vec(body)?)?;
        self.client.request(request).await.map_err(told)
    }
}

/// The flag's file, else the first of `$KUBECONFIG` that is there, else the data directory's.
fn kubeconfig(data: &DataDir, flags: &ClusterFlags) -> PathBuf {
    if let Some(path) = &flags.kubeconfig {
        return path.clone();
    }
    let named = std::env::var_os("KUBECONFIG").unwrap_or_default();
    let named: Vec<PathBuf> =
        std::env::split_paths(&named).filter(|path| !path.as_os_str().is_empty()).collect();
    let there = named.iter().find(|path| path.exists());
    there.or(named.first()).cloned().unwrap_or_else(|| data.kubeconfig())
}

/// What the server said, as `kubectl` shows it, or why it was not reached.
pub(crate) fn told(error: kube::Error) -> anyhow::Error {
    if let kube::Error::Api(status) = &error {
        return anyhow!("{} ({})", status.message, status.reason);
    }
    anyhow::Error::new(error).context("reach the server")
}
