//! Copies one forwarded connection.
//!
//! An edge.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use crate::pods::plan::PodKey;
use crate::runtime::{Duplex, Runtime};
use crate::streams::channel::{Input, Output};
use crate::streams::idle::LINGER_MAX;

/// Whose ports are reached.
#[derive(Clone)]
pub(crate) struct Target {
    /// The pod.
    pub(crate) key: PodKey,
    /// Its addresses, as its status has them.
    pub(crate) ips: Vec<IpAddr>,
    /// What runs it.
    pub(crate) runtime: Arc<dyn Runtime>,
}

impl Target {
    /// Opens a connection to a port: on loopback, as other runtimes do, else at the pod's own
    /// addresses, where some servers listen only.
    ///
    /// # Errors
    /// Those of the last address, when none answers.
    pub(crate) fn dial(&self, port: u16) -> io::Result<Box<dyn Duplex>> {
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        let mut failure = io::Error::from(io::ErrorKind::ConnectionRefused);
        for ip in loopback.into_iter().chain(self.ips.iter().copied()) {
            match self.runtime.dial(&self.key, SocketAddr::new(ip, port)) {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// What a client reads when a connection failed.
    ///
    /// *Source:* the kubelet's wording.
    fn failure(&self, port: u16, error: &io::Error) -> String {
        let PodKey { name, uid, .. } = &self.key;
        let why = if error.kind() == io::ErrorKind::ConnectionRefused {
            format!("connect: connection refused: nothing in the pod listens on port {port}")
        } else {
            error.to_string()
        };
        format!(
            "error forwarding port {port} to pod {name}, uid {uid}: failed to connect to localhost:{port} inside the pod: {why}"
        )
    }
}

/// Forwards one connection until both halves are closed; what went wrong goes to `error`. A client
/// that does not see the pod's end, as over numbered channels, has [`LINGER_MAX`] after it.
pub(crate) async fn forward(
    target: &Target,
    port: u16,
    (from_client, to_client): (Input, Output),
    error: Output,
) {
    match target.dial(port) {
        Ok(stream) => {
            let (reader, writer) = tokio::io::split(stream);
            let up = from_client.copy_to(writer);
            let down = to_client.copy_from(reader);
            tokio::pin!(up, down);
            tokio::select! {
                // A client that is gone is noticed where its connection is read.
                _gone = &mut down => {
                    let _elapsed = tokio::time::timeout(LINGER_MAX, up).await;
                }
                () = &mut up => {
                    let _gone = down.await;
                }
            }
        }
        Err(failure) => {
            let text = target.failure(port, &failure);
            // As above.
            let _gone = error.send(text.into_bytes().into()).await;
            to_client.end().await;
        }
    }
    error.end().await;
}

/// Tells a client that it has too many connections.
pub(crate) async fn refuse(port: u16, max: usize, to_client: Output, error: Output) {
    let text = format!("error forwarding port {port}: at most {max} connections at once");
    // A client that is gone is noticed where its connection is read.
    let _gone = error.send(text.into_bytes().into()).await;
    to_client.end().await;
    error.end().await;
}
