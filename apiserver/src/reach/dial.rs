//! Opens byte streams to the places behind a Service.
//!
//! An edge: nodes and addresses are dialled, one after another from a place drawn at random.

use std::time::Duration;

use coracle_api::registry;
use coracle_api::selector::{FieldSelector, LabelSelector};
use rand::Rng as _;
use serde_json::Value;
use tokio::net::TcpStream;

use super::endpoints::{Endpoint, Unreachable, endpoints};
use crate::cache::Selection;
use crate::node_dialer::Duplex;
use crate::server::Core;

/// The label by which an EndpointSlice belongs to a Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Places that are tried before the Service counts as unreachable; more would outlast the caller's patience.
const PLACES_TRIED_MAX: usize = 3;
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

impl Core {
    /// Opens a stream to a port of a Service.
    ///
    /// # Errors
    /// When there is no such Service or port, or nothing behind it can be reached.
    pub(crate) async fn dial_service(
        &self,
        namespace: &str,
        name: &str,
        port: u16,
    ) -> Result<Box<dyn Duplex>, Unreachable> {
        let places = self.places(namespace, name, port)?;
        let first = rand::rng().random_range(0..places.len().max(1));
        let turned = places.iter().cycle().skip(first).take(places.len().min(PLACES_TRIED_MAX));
        let mut last = "there is nothing behind it".to_owned();
        for place in turned {
            match tokio::time::timeout(CONNECT_TIMEOUT, self.dial_place(namespace, place)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(why)) => last = why,
                Err(_elapsed) => "the connection took too long".clone_into(&mut last),
            }
        }
        let words = format!("service/{name} in {namespace:?} cannot be reached: {last}");
        Err(Unreachable::new("FailedDiscoveryCheck", words))
    }

    fn places(&self, namespace: &str, name: &str, port: u16) -> Result<Vec<Endpoint>, Unreachable> {
        let service = self.caches.get("", "services", namespace, name).ok_or_else(|| {
            let words = format!("service/{name} in {namespace:?} is not present");
            Unreachable::new("ServiceNotFound", words)
        })?;
        endpoints(&service.value(), &self.slices_of(namespace, name), port)
    }

    fn slices_of(&self, namespace: &str, name: &str) -> Vec<Value> {
        let kind = registry::by_resource("discovery.k8s.io", "v1", "endpointslices");
        let selector = LabelSelector::parse(&format!("{SERVICE_NAME}={name}")).ok();
        let found = kind.zip(selector).and_then(|(kind, selector)| {
            let all = FieldSelector::default();
            let selection = Selection::new(kind, Some(namespace), selector, all).ok()?;
            Some(self.objects(kind).ok()?.select(&selection))
        });
        found.unwrap_or_default().iter().map(|slice| slice.value()).collect()
    }

    async fn dial_place(
        &self,
        namespace: &str,
        place: &Endpoint,
    ) -> Result<Box<dyn Duplex>, String> {
        match place {
            Endpoint::Pod { name, port } => {
                let pod = self.caches.get("", "pods", namespace, name);
                let pod = pod.ok_or_else(|| format!("pod {name:?} is gone"))?;
                self.dial_pod(&pod.value(), *port).await.map_err(|status| status.to_string())
            }
            Endpoint::Address { address, port } => connect(&address.to_string(), *port).await,
            Endpoint::Name { host, port } => connect(host, *port).await,
        }
    }
}

/// Connects to a host of the outside.
pub(super) async fn connect(host: &str, port: u16) -> Result<Box<dyn Duplex>, String> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, port)).await;
    let stream = stream.map_err(|error| format!("dial tcp {host}:{port}: {error}"))?;
    // A small request must not wait for a larger one.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps its delay");
    }
    Ok(Box::new(stream))
}
