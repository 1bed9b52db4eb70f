//! The way to an API server: over HTTPS by a kubeconfig, or by calls within the process.
//!
//! A thin owner of `kube::Client`; whoever needs a verb that is not here takes [`Client::kube`].

use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{Request, Response};
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube::api::Api;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Config, Resource};
use tower::{BoxError, Service};

/// Namespace of requests that name none.
const NAMESPACE_DEFAULT: &str = "default";

/// Reaches one API server; cheap to clone, all clones share their connections.
#[derive(Clone)]
pub struct Client {
    kube: kube::Client,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The kubeconfig is missing, unreadable or names what it does not hold.
    #[error("read kubeconfig {path:?}")]
    Kubeconfig {
        /// The file as it was given.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<KubeconfigError>,
    },
    /// The server address or a certificate in the configuration does not serve.
    #[error("prepare the connection to the API server")]
    Connection(#[source] Box<kube::Error>),
}

impl Client {
    /// Makes a client from the current context of a kubeconfig file.
    ///
    /// Connects at the first request only. Needs a tokio runtime.
    ///
    /// # Errors
    /// `Kubeconfig` when the file cannot be used, `Connection` when its certificates cannot.
    pub async fn from_kubeconfig(path: &Path) -> Result<Client, ClientError> {
        let failed =
            |source| ClientError::Kubeconfig { path: path.to_owned(), source: Box::new(source) };
        let kubeconfig = Kubeconfig::read_from(path).map_err(failed)?;
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(failed)?;
        Client::from_config(config)
    }

    /// Makes a client from a ready `kube` configuration.
    ///
    /// # Errors
    /// `Connection` when a certificate or the address cannot be used.
    pub fn from_config(config: Config) -> Result<Client, ClientError> {
        let kube = kube::Client::try_from(config)
            .map_err(|error| ClientError::Connection(Box::new(error)))?;
        Ok(Client { kube })
    }

    /// Makes a client that calls a service of this process in place of a connection.
    ///
    /// Request paths come without scheme and authority (`/api/v1/pods?watch=true`). The service
    /// says by itself who is calling. Needs a tokio runtime.
    pub fn in_process<S, B>(service: S) -> Client
    where
        S: Service<Request<Body>, Response = Response<B>> + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Client { kube: kube::Client::new(service, NAMESPACE_DEFAULT) }
    }

    /// Gives the `kube` client underneath, for raw requests and streams.
    pub fn kube(&self) -> kube::Client {
        self.kube.clone()
    }

    /// Gives the typed verbs of a namespaced kind in one namespace.
    pub fn namespaced<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.kube.clone(), namespace)
    }

    /// Gives the typed verbs of a cluster-scoped kind.
    pub fn cluster<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = ClusterResourceScope>,
    {
        Api::all(self.kube.clone())
    }

    /// Gives the verbs of a kind over all namespaces: only list and watch make sense there.
    pub fn all<K: Resource<DynamicType = ()>>(&self) -> Api<K> {
        Api::all(self.kube.clone())
    }
}

/// What to think of a failed request; every caller asks the same few questions.
pub trait Failure {
    /// The object (or its namespace) is not there: 404.
    fn is_not_found(&self) -> bool;
    /// Somebody wrote in between, or the uid differs: 409 `Conflict`.
    fn is_conflict(&self) -> bool;
    /// An object of that name is there: 409 `AlreadyExists`.
    fn is_already_exists(&self) -> bool;
    /// The revision is no longer in the history: 410.
    fn is_gone(&self) -> bool;
    /// The server answered, so the request surely had no effect (4xx). `false`: unknown.
    fn is_refusal(&self) -> bool;
    /// The refused request's `Status.message`, or what went wrong on the way.
    fn message(&self) -> String;
}

fn status(error: &kube::Error) -> Option<&kube::core::Status> {
    if let kube::Error::Api(status) = error { Some(status) } else { None }
}

impl Failure for kube::Error {
    fn is_not_found(&self) -> bool {
        status(self).is_some_and(|s| s.code == 404)
    }

    fn is_conflict(&self) -> bool {
        status(self).is_some_and(|s| s.code == 409 && s.reason != "AlreadyExists")
    }

    fn is_already_exists(&self) -> bool {
        status(self).is_some_and(|s| s.code == 409 && s.reason == "AlreadyExists")
    }

    fn is_gone(&self) -> bool {
        status(self).is_some_and(|s| s.code == 410)
    }

    fn is_refusal(&self) -> bool {
        status(self).is_some_and(|s| (400..500).contains(&s.code))
    }

    fn message(&self) -> String {
        status(self).map_or_else(|| self.to_string(), |s| s.message.clone())
    }
}
