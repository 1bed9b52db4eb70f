//! A client of the cluster's API, with the token that every pod has.
//!
//! It speaks HTTPS by `wasi:http`. The pod trusts the cluster's authority when its manifest says so:
//!
//! ```yaml
//! env:
//!   - {name: SSL_CERT_FILE, value: /var/run/secrets/kubernetes.io/serviceaccount/ca.crt}
//! ```
//!
//! What it may do is what a Role grants to its ServiceAccount.

use std::collections::VecDeque;
use std::fmt;

use serde_json::Value;
use wstd::http::body::util::BodyExt as _;
use wstd::http::body::{Bytes, HttpBody};
use wstd::http::{Body, Method, Request};

/// Where a pod finds its token and namespace. *Source:* Kubernetes, ServiceAccount admission.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The API server's name within the cluster.
const SERVER: &str = "https://kubernetes.default.svc";

/// Most bytes of one event of a watch: more than an object can have.
const EVENT_BYTES_MAX: usize = 4 << 20;

/// Why a request was not answered as it was meant.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The pod has no token: `automountServiceAccountToken` is off, or this is no pod.
    NoAccount(std::io::Error),
    /// The server was not reached, or the connection broke off.
    Connection(String),
    /// The server refused.
    Status {
        /// HTTP status, such as 403.
        code: u16,
        /// What it said.
        message: String,
    },
    /// The server's answer is no JSON.
    Answer(serde_json::Error),
}

impl Error {
    /// Whether the object is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Error::Status { code: 404, .. })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoAccount(error) => write!(f, "read the pod's token in {ACCOUNT}: {error}"),
            Error::Connection(what) => write!(f, "reach {SERVER}: {what}"),
            Error::Status { code, message } => write!(f, "{message} ({code})"),
            Error::Answer(error) => write!(f, "read the server's answer: {error}"),
        }
    }
}

impl std::error::Error for Error {}

/// A client with the pod's own rights. Paths are those of the API, such as
/// `/api/v1/namespaces/default/pods`.
///
/// ```no_run
/// # async fn list() -> Result<(), coracle_sdk::kube::Error> {
/// let client = coracle_sdk::kube::Client::in_cluster()?;
/// let path = format!("/api/v1/namespaces/{}/pods", client.namespace());
/// for pod in client.get(&path).await?["items"].as_array().into_iter().flatten() {
///     println!("{}", pod["metadata"]["name"]);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Client {
    namespace: String,
}

impl Client {
    /// Makes a client of the pod that this runs in.
    ///
    /// # Errors
    /// [`Error::NoAccount`] when the pod has no token.
    pub fn in_cluster() -> Result<Self, Error> {
        token()?;
        let namespace = std::fs::read_to_string(format!("{ACCOUNT}/namespace"));
        Ok(Self { namespace: namespace.map_err(Error::NoAccount)?.trim().to_owned() })
    }

    /// Gives the pod's namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Reads an object or a list.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub async fn get(&self, path: &str) -> Result<Value, Error> {
        self.json(Method::GET, path, "application/json", Vec::new()).await
    }

    /// Makes an object so that it has the fields given, as `manager`; makes it if it is not there. Other
    /// fields stay as others have set them. *Source:* Kubernetes, server-side apply.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub async fn apply(&self, path: &str, manager: &str, object: &Value) -> Result<Value, Error> {
        let path = format!("{path}?fieldManager={manager}&force=true");
        let body = object.to_string().into_bytes();
        self.json(Method::PATCH, &path, "application/apply-patch+yaml", body).await
    }

    /// Makes a new object in a collection.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub async fn create(&self, path: &str, object: &Value) -> Result<Value, Error> {
        self.json(Method::POST, path, "application/json", object.to_string().into_bytes()).await
    }

    /// Puts an object in the place of what is there, if that is still of the same
    /// `metadata.resourceVersion`.
    ///
    /// # Errors
    /// As [`Error`] says; 409 when somebody else was faster.
    pub async fn replace(&self, path: &str, object: &Value) -> Result<Value, Error> {
        self.json(Method::PUT, path, "application/json", object.to_string().into_bytes()).await
    }

    /// Changes an object by a merge patch (RFC 7386).
    ///
    /// # Errors
    /// As [`Error`] says.
    pub async fn merge(&self, path: &str, patch: &Value) -> Result<Value, Error> {
        let body = patch.to_string().into_bytes();
        self.json(Method::PATCH, path, "application/merge-patch+json", body).await
    }

    /// Deletes an object, and in the background what it owns.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub async fn delete(&self, path: &str) -> Result<Value, Error> {
        self.json(Method::DELETE, path, "application/json", Vec::new()).await
    }

    /// Follows a collection: first what is there, then each change.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub async fn watch(&self, path: &str) -> Result<Watch, Error> {
        let list = self.get(path).await?;
        let version = list["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        let path = format!("{path}?watch=true&resourceVersion={version}");
        let body = self.send(Method::GET, &path, "application/json", Vec::new()).await?;
        let body: Box<dyn HttpBody<Data = Bytes, Error = wstd::http::Error> + Unpin> =
            Box::new(body.into_boxed_body());
        let items = list["items"].as_array().cloned().unwrap_or_default();
        let waiting = items.into_iter().map(Event::Applied).collect();
        Ok(Watch { body, waiting, unread: Vec::new() })
    }

    async fn json(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Vec<u8>,
    ) -> Result<Value, Error> {
        let mut body = self.send(method, path, content_type, body).await?;
        serde_json::from_slice(body.contents().await.map_err(broken)?).map_err(Error::Answer)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Vec<u8>,
    ) -> Result<Body, Error> {
        // The token is renewed while the pod runs, so it is read each time.
        let request = Request::builder()
            .method(method)
            .uri(format!("{SERVER}{path}"))
            .header("authorization", format!("Bearer {}", token()?))
            .header("content-type", content_type)
            .header("accept", "application/json")
            .body(Body::from(body))
            .map_err(|error| Error::Connection(error.to_string()))?;
        let answer = wstd::http::Client::new().send(request).await.map_err(broken)?;
        let code = answer.status();
        let mut body = answer.into_body();
        if code.is_success() {
            return Ok(body);
        }
        let text = body.str_contents().await.map_err(broken)?;
        let status: Value = serde_json::from_str(text).unwrap_or_default();
        let message = status["message"].as_str().unwrap_or(text).to_owned();
        Err(Error::Status { code: code.as_u16(), message })
    }
}

fn token() -> Result<String, Error> {
    let token = std::fs::read_to_string(format!("{ACCOUNT}/token"));
    Ok(token.map_err(Error::NoAccount)?.trim().to_owned())
}

fn broken(error: wstd::http::Error) -> Error {
    Error::Connection(format!("{error:?}"))
}

/// What became of an object of a collection.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// It is there, like this: it was there at first, is new, or has changed.
    Applied(Value),
    /// It is gone; this is how it was.
    Deleted(Value),
}

/// The changes of a collection.
pub struct Watch {
    body: Box<dyn HttpBody<Data = Bytes, Error = wstd::http::Error> + Unpin>,
    waiting: VecDeque<Event>,
    unread: Vec<u8>,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}

impl Watch {
    /// Gives the next change; `None` when the server has ended the watch, as it does from time to time:
    /// then begin a new one.
    ///
    /// # Errors
    /// As [`Error`] says; after one, begin a new watch.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(Some(event));
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            if let Ok(data) = frame.map_err(broken)?.into_data() {
                self.unread.extend_from_slice(&data);
                self.take_lines()?;
            }
        }
    }

    fn take_lines(&mut self) -> Result<(), Error> {
        while let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.unread.drain(..=end).collect();
            let mut event: Value = serde_json::from_slice(&line).map_err(Error::Answer)?;
            let object = event["object"].take();
            match event["type"].as_str().unwrap_or_default() {
                "ADDED" | "MODIFIED" => self.waiting.push_back(Event::Applied(object)),
                "DELETED" => self.waiting.push_back(Event::Deleted(object)),
                "ERROR" => return Err(refused(&object)),
                _ => {}
            }
        }
        if self.unread.len() > EVENT_BYTES_MAX {
            return Err(Error::Connection(format!(
                "an event of more than {EVENT_BYTES_MAX} bytes"
            )));
        }
        Ok(())
    }
}

/// The Status in an event.
fn refused(status: &Value) -> Error {
    let code = status["code"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or(500);
    Error::Status { code, message: status["message"].as_str().unwrap_or_default().to_owned() }
}
