//! Calling the operator's programs and webhooks.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use http::{Request, Uri};
use http_body_util::{BodyExt, Limited};
use kube::client::Body;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// How long a hook may take; a machine that is ordered comes later.
const HOOK_TIME_MAX: Duration = Duration::from_secs(300);

/// Characters of a hook's complaint that an event repeats.
const COMPLAINT_CHARS_MAX: usize = 300;

/// Bytes of a webhook's complaint that are read: more than is repeated, in any script.
const ANSWER_BYTES_MAX: usize = 4 * 1024;

/// What is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hook {
    /// A program. It gets JSON on its standard input, and says by its exit code whether it did its work; what it writes
    /// to standard error is its complaint.
    Program(PathBuf),
    /// An `http` or `https` URL. It gets a POST with JSON, and says by a status of 2xx that it did its work; the
    /// body of any other answer is its complaint.
    Webhook(Uri),
}

impl Hook {
    /// Calls it and waits for its end; a program gets the arguments too.
    ///
    /// # Errors
    /// What it complained of, or why it could not be called, in words for an event.
    pub(super) async fn call(&self, arguments: &[&str], input: &Value) -> Result<(), String> {
        let (name, called) = match self {
            Hook::Program(path) => {
                let called = run(path, arguments, input);
                (path.display().to_string(), tokio::time::timeout(HOOK_TIME_MAX, called).await)
            }
            // Without its query, which may hold a password.
            Hook::Webhook(uri) => {
                let authority = uri.authority().map_or("", |authority| authority.host());
                let name = format!("webhook {authority}{}", uri.path());
                (name, tokio::time::timeout(HOOK_TIME_MAX, post(uri, input)).await)
            }
        };
        match called {
            Err(_) => Err(format!("{name} took longer than {HOOK_TIME_MAX:?}")),
            Ok(Err(why)) => Err(format!("{name}: {why}")),
            Ok(Ok(())) => Ok(()),
        }
    }
}

/// Runs a program to its end; the error is what it complained of.
async fn run(program: &Path, arguments: &[&str], input: &Value) -> Result<(), String> {
    let mut command = Command::new(program);
    command.args(arguments).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read its input may end before it is written.
        let _ = stdin.write_all(input.to_string().as_bytes()).await;
    }
    let output = child.wait_with_output().await.map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ended with {}: {}", output.status, short(&output.stderr)))
}

/// Sends a POST; the error is what the answer said.
async fn post(uri: &Uri, input: &Value) -> Result<(), String> {
    let words = |error: &dyn std::fmt::Display| error.to_string();
    let parts = uri.clone().into_parts();
    let path = parts.path_and_query.as_ref().map_or("/", |path| path.as_str());
    let request = Request::post(path).header("content-type", "application/json");
    let request = request.body(Body::from(input.to_string().into_bytes()));
    let request = request.map_err(|error| words(&error))?;
    let mut config = kube::Config::new(root_of(uri).map_err(|error| words(&error))?);
    config.read_timeout = Some(HOOK_TIME_MAX);
    let client = kube::Client::try_from(config).map_err(|error| words(&error))?;
    let answer = client.send(request).await.map_err(|error| words(&error))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    Err(format!("answered with {status}: {}", short(&body)))
}

/// Scheme and authority of a URL.
fn root_of(uri: &Uri) -> Result<Uri, http::Error> {
    let mut root = Uri::builder().path_and_query("/");
    if let Some(scheme) = uri.scheme() {
        root = root.scheme(scheme.clone());
    }
    if let Some(authority) = uri.authority() {
        root = root.authority(authority.clone());
    }
    root.build()
}

fn short(complaint: &[u8]) -> String {
    let text = String::from_utf8_lossy(complaint);
    text.trim().chars().take(COMPLAINT_CHARS_MAX).collect()
}
